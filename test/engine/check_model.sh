#!/bin/sh
# Run the x86 kernels whose instructions this CPU may lack, on any x86-64: their
# intrinsics are compiled as portable C (SIMDe and test/engine/simde), and the
# engine is told that the CPU has them all. What is checked is the kernels'
# own arithmetic, not the instructions. Last line: "N passed, N failed".
#
#	test/engine/check_model.sh BUILD_FOLDER
#
# Needs libsimde-dev (Debian).
set -eu
export DLM_TEST_QUICK=1

out=${1:?usage: check_model.sh BUILD_FOLDER}
cc=${CC:-cc}
models="context paper"
mkdir -p "$out/models"
rm -f "$out"/*.o "$out"/models/*.dlm
make build/libdlm_engine.a build/test/t_bits
build/test/t_bits --write "$out/models" $models >/dev/null

# the engine's own flags (Makefile), less optimised: SIMDe's bodies take a minute at -O2
flags="-std=c11 -D_GNU_SOURCE -O1 -ffp-contract=off -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter -Wno-psabi"
for source in src/engine/kernels_avx*.c src/engine/kernels_vnni*.c; do
	"$cc" $flags -DDLM_TEST_NO_TARGET -isystem test/engine/simde -Isrc/engine -c "$source" -o "$out/$(basename "$source" .c).o"
done
if objdump -d "$out"/kernels_*.o | grep -E '%[yz]mm|%k[0-7]|vfmadd'; then
	echo "FAILED the instructions above are not the baseline's"
	exit 1
fi
# every flag of dlm.h; whichever tables there are, some mask gives them
"$cc" $flags -DDLM_TEST_CPU=0xffu -Isrc/engine -c src/engine/cpu.c -o "$out/cpu.o"

passed=0
failed=0
for program in t_kernels t_kernels_small t_bits; do
	# objects named here are taken instead of the library's
	"$cc" $flags -DDLM_TEST_NO_LOADER -Isrc/engine -Itest/engine -o "$out/$program" "test/engine/$program.c" \
		"$out"/*.o build/libdlm_engine.a -lm
	argument=
	[ "$program" = t_bits ] && argument=$out/models
	last=$("$out/$program" $argument | tee "$out/log" | tail -1) || true
	grep -v "^$program" "$out/log" | sed "s/^/$program: /"
	# shellcheck disable=SC2086
	set -- $last
	if [ "${3-}" != "passed," ] || ! grep -q '^table avx512-vnni' "$out/log"; then
		echo "FAILED $program: no result"
		failed=$((failed + 1))
		continue
	fi
	echo "$last"
	passed=$((passed + $2))
	failed=$((failed + $4))
done
echo "avx512-model: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
