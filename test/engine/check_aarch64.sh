#!/bin/sh
# Build the kernels and t_kernels for AArch64 and run them in qemu's user mode,
# once with and once without the dot product. Last line: "N passed, N failed".
#
#	test/engine/check_aarch64.sh BUILD_FOLDER
#
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user (Debian).
set -eu

out=${1:?usage: check_aarch64.sh BUILD_FOLDER}
cc=${AARCH64_CC:-aarch64-linux-gnu-gcc}
qemu=${QEMU_AARCH64:-qemu-aarch64}
mkdir -p "$out"

# the engine's own flags (Makefile), and static so that qemu needs no foreign root
"$cc" -std=c11 -D_GNU_SOURCE -O3 -ffp-contract=off -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter \
	-static -Isrc/engine -Itest/engine -o "$out/t_kernels" test/engine/t_kernels.c \
	src/engine/kernels_*.c src/engine/cpu.c src/engine/fmath.c src/engine/hadamard.c -lm

passed=0
failed=0
for cpu in max cortex-a57; do
	last=$("$qemu" -cpu "$cpu" "$out/t_kernels" | tee "$out/log" | tail -1) || true
	grep -v '^t_kernels' "$out/log" | sed "s/^/$cpu: /"
	# shellcheck disable=SC2086
	set -- $last
	if [ "${3-}" != "passed," ] || ! grep -q '^table neon' "$out/log"; then
		echo "FAILED $cpu: no result"
		failed=$((failed + 1))
		continue
	fi
	passed=$((passed + $2))
	failed=$((failed + $4))
done
echo "aarch64: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
