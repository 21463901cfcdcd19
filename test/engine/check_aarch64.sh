#!/bin/sh
# Build the engine for AArch64 and run t_kernels, t_kernels_small and t_bits in
# qemu's user mode, once with and once without the dot product. Last line:
# "N passed, N failed".
#
#	test/engine/check_aarch64.sh BUILD_FOLDER
#
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user (Debian).
# Models are converted here, since no cJSON is built for AArch64.
set -eu
export DLM_TEST_QUICK=1

out=${1:?usage: check_aarch64.sh BUILD_FOLDER}
cc=${AARCH64_CC:-aarch64-linux-gnu-gcc}
ar=${AARCH64_AR:-aarch64-linux-gnu-ar}
qemu=${QEMU_AARCH64:-qemu-aarch64}
models="context paper"
mkdir -p "$out/models" "$out/engine"
rm -f "$out"/models/*.dlm "$out"/engine/*.o "$out/engine.a"
make build/test/t_bits
build/test/t_bits --write "$out/models" $models >/dev/null

# the engine's own flags (Makefile), and static so that qemu needs no foreign root
flags="-std=c11 -D_GNU_SOURCE -O3 -ffp-contract=off -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter"
for source in src/engine/*.c; do
	"$cc" $flags -Isrc/engine -c "$source" -o "$out/engine/$(basename "$source" .c).o"
done
"$ar" rcs "$out/engine.a" "$out"/engine/*.o

passed=0
failed=0
for program in t_kernels t_kernels_small t_bits; do
	"$cc" $flags -DDLM_TEST_NO_LOADER -static -Isrc/engine -Itest/engine -o "$out/$program" "test/engine/$program.c" \
		"$out/engine.a" -lm
	argument=
	[ "$program" = t_bits ] && argument=$out/models
	for cpu in max cortex-a57; do
		last=$("$qemu" -cpu "$cpu" "$out/$program" $argument | tee "$out/log" | tail -1) || true
		grep -v "^$program" "$out/log" | sed "s/^/$cpu $program: /"
		# shellcheck disable=SC2086
		set -- $last
		if [ "${3-}" != "passed," ] || ! grep -q '^table neon' "$out/log"; then
			echo "FAILED $cpu $program: no result"
			failed=$((failed + 1))
			continue
		fi
		echo "$cpu $last"
		passed=$((passed + $2))
		failed=$((failed + $4))
	done
done
echo "aarch64: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
