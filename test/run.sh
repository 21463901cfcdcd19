#!/usr/bin/env bash
# make check: every test track. Last line "N passed, N failed".
#
#   test/run.sh              all tracks
#   test/run.sh lint engine  only these (build, lint, engine, train, aarch64, avx512-model, regress, docs, versions, tap, sanitize, fuzz)
#
# A track reports each of its checks once; its output goes to build/check/TRACK.log,
# of which the end is shown when something failed.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
logs=$root/build/check
mkdir -p "$logs"
passed=0
failed=0
failures=$logs/failures         # what failed, said again at the end: a CI page may show that alone
: >"$failures"
fuzz_seconds=${FUZZ_SECONDS:-20}

count() {               # count NAME PASSED FAILED LOG
    passed=$((passed + $2))
    failed=$((failed + $3))
    printf '%-44s %5d passed, %d failed  (%s s)\n' "$1" "$2" "$3" "$SECONDS"
    if [ "$3" -gt 0 ]; then
        grep -E 'FAILED|not ok|ERROR|error:|SUMMARY' "$4" | head -n 30
        echo "--- end of $4"
        tail -n 30 "$4"
        { echo "FAILED: $1"; grep -E 'FAILED|not ok|error:|SUMMARY' "$4" | head -n 10; } >>"$failures"
    fi
}

# one NAME COMMAND...: a check that is its exit status.
one() {
    local name=$1 log=$logs/${1//[^a-zA-Z0-9_]/_}.log
    shift
    if "$@" >"$log" 2>&1; then count "$name" 1 0 "$log"; else count "$name" 0 1 "$log"; fi
}

lint() {
    local script
    for script in test/lint/*.sh; do
        one "lint $(basename "$script" .sh)" bash "$script"
    done
}

build() {
    one "build" make -j"$(nproc)"
    one "install" make install
}

# on_all_cpus COMMAND...: run it for each line of standard input, as many at once as there are CPUs.
on_all_cpus() { xargs -r -d '\n' -P "$(nproc)" -I{} bash -c '"$@"' _ "$@" {}; }

# logged LABEL PROGRAM: its output goes to a log of its own.
logged() { timeout 600 "$2" >"$logs/$1_$(basename "$2").log" 2>&1; true; }
export -f logged
export logs

# A test program ends in "NAME: N passed, N failed"; one that dies before counts as failed. None but *_speed looks at
# the clock (others at their own CPU time), so all cores may run them; those run alone, and not under a
# sanitizer, whose times are its own.
programs() {            # programs LABEL FOLDER
    local program log line
    ls "$2"/t_* | grep -vE '_speed$|\.d$' | on_all_cpus logged "$1"
    for program in "$2"/t_*; do
        [ -x "$program" ] || continue
        if [ "$1" = sanitize ] && [[ $program == *_speed ]]; then continue; fi
        log=$logs/$1_$(basename "$program").log
        if [[ $program == *_speed ]]; then logged "$1" "$program"; fi
        line=$(tail -n 1 "$log" | sed -n 's/^t_[a-z0-9_]*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
        if [ -n "$line" ]; then
            count "$1 $(basename "$program")" ${line% *} ${line#* } "$log"
        else
            count "$1 $(basename "$program") died" 0 1 "$log"
        fi
    done
}

engine() {
    one "engine tests build" make -j"$(nproc)" engine-tests
    programs engine build/test
}

train() {
    one "train tests build" make -j"$(nproc)" train-tests
    programs train build/test-train
}

# The same programs, inputs and vectors under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
sanitize() {
    one "sanitizer build" make -j"$(nproc)" BUILD=build/asan SANITIZE="-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined" engine-tests train-tests
    export DLM_TEST_QUICK=1 ASAN_OPTIONS=detect_leaks=1 OMP_NUM_THREADS=2
    programs sanitize build/asan/test
    programs sanitize build/asan/test-train
    unset DLM_TEST_QUICK ASAN_OPTIONS OMP_NUM_THREADS
}

# emulated NAME SCRIPT: tables that this CPU cannot run, against the plain C definition and the checked-in bits.
emulated() {
    local log=$logs/$1.log line
    timeout 1800 sh "$2" "build/$1" >"$log" 2>&1
    line=$(sed -n "s/^$1: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p" "$log" | tail -n 1)
    if [ -n "$line" ]; then count "$1" ${line% *} ${line#* } "$log"; else count "$1 died" 0 1 "$log"; fi
    sed -n 's/^\(.*: \)*table \(.*\)/\2/p' "$log" | sort -u | sed "s/^/$1 ran /"
}

# The engine for AArch64, cross-compiled and run under qemu.
aarch64() { emulated aarch64 test/engine/check_aarch64.sh; }

# AVX-512, VNNI and AVX2 with their intrinsics modelled in plain C.
avx512-model() { emulated avx512-model test/engine/check_model.sh; }

regress_results() {     # regress_results NAME LOG
    count "$1" "$(grep -cE '^(test|ok|     ).* (\.\.\.)? *ok +[0-9]+ ms|^ok [0-9]+' "$2")" \
        "$(grep -cE '\.\.\. FAILED|^not ok' "$2")" "$2"
}

# pg_regress against private clusters: as installed, and with every query forced into a parallel worker. Tests make workers dear, which
# would have every such plan compiled: that alone was most of this run's time, and batch_session asks for it where it matters.
regress() {
    local mode home log
    . test/cluster.sh
    for mode in plain preload parallel; do
        home=$(cluster_home "${TMPDIR:-/tmp}/dlm-regress-$$-$mode")
        log=$logs/regress_$mode.log
        case $mode in
            plain) cluster_start "$home" "fsync = off" ;;
            preload) cluster_start "$home" "fsync = off" "shared_preload_libraries = 'dlm'" "dlm.preload_models = 'dlm-135m'" ;;
            parallel) cluster_start "$home" "fsync = off" "force_parallel_mode = regress" "jit = off" ;;
        esac
        make installcheck >"$log" 2>&1
        if ! grep -q 'tests passed\|tests failed' "$log"; then count "regress $mode did not run" 0 1 "$log"; fi
        [ -s regression.diffs ] && cat regression.diffs >>"$log" && rm -f regression.diffs
        regress_results "regress $mode" "$log"
        cluster_stop "$home"
        rm -rf "$home"
    done
}

# Other versions of PostgreSQL: the regress files that lean on planner, executor or catalogs; `make check-versions` runs all.
versions() {
    local log=$logs/versions.log line
    DLM_HEADERS="17 trixie" test/versions.sh arguments attributes batch_branch batch_errors batch_explain batch_filter batch_modify batch_parallel batch_place \
        batch_session cache contrib examples finetune infill_row infill_table lengths models options_errors pinned pinned_shards planner \
        privileges resolution settings >"$log" 2>&1
    line=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
    if [ -n "$line" ]; then count versions ${line% *} ${line#* } "$log"; else count "versions died" 0 1 "$log"; fi
    grep -E '^(PostgreSQL|pg_upgrade)' "$log" || true
}

# The documents' examples, on the default model: what they say is what is printed.
docs() {
    local home log=$logs/docs.log line
    . test/cluster.sh
    home=$(cluster_home "${TMPDIR:-/tmp}/dlm-docs-$$")
    cluster_start "$home" "fsync = off"
    python3 test/docs/examples.py >"$log" 2>&1
    line=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log")
    if [ -n "$line" ]; then count docs ${line% *} ${line#* } "$log"; else count "docs died" 0 1 "$log"; fi
    cluster_stop "$home"
    rm -rf "$home"
}

tap() {
    local log=$logs/tap.log
    if test/t/run.sh >"$log" 2>&1; then status=0; else status=1; fi
    local ok not_ok
    ok=$(grep -cE '^ok [0-9]+' "$log")
    not_ok=$(grep -cE '^not ok [0-9]+' "$log")
    if [ "$status" -ne 0 ] && [ "$not_ok" -eq 0 ]; then not_ok=1; fi
    # a skipped check is a check that did not run
    grep -E '^ok [0-9]+.* # skip|skipped:' "$log"
    not_ok=$((not_ok + $(grep -cE '^ok [0-9]+.* # skip|skipped:' "$log")))
    count "tap" "$ok" "$not_ok" "$log"
}

# fuzz_one TARGET: from a copy of its corpus, which it may write to; its exit status is the last line of its log.
fuzz_one() {
    local name corpus
    name=$(basename "$1")
    corpus=$(mktemp -d)
    if [ -d "test/fuzz/corpus/$name" ]; then cp -r "test/fuzz/corpus/$name/." "$corpus"; fi
    if [ "$name" = fuzz_tokenizer_json ]; then cp test/models/tokenizers/*.json "$corpus"; fi
    "$1" -max_total_time="$fuzz_seconds" -rss_limit_mb=4096 -timeout=10 -artifact_prefix="$logs/" "$corpus" >"$logs/$name.log" 2>&1
    echo "exit $?" >>"$logs/$name.log"
    rm -rf "$corpus"
}
export -f fuzz_one
export fuzz_seconds

fuzz() {
    local target name
    one "fuzzers build" make -j"$(nproc)" fuzzers
    ls build/fuzz/fuzz_* | on_all_cpus fuzz_one
    for target in build/fuzz/fuzz_*; do
        [ -x "$target" ] || continue
        name=$(basename "$target")
        if [ "$(tail -n 1 "$logs/$name.log")" = "exit 0" ]; then
            count "$name for $fuzz_seconds s" 1 0 "$logs/$name.log"
        else
            count "$name for $fuzz_seconds s" 0 1 "$logs/$name.log"
        fi
    done
}

tracks=("$@")
[ "${#tracks[@]}" -gt 0 ] || tracks=(build lint engine train aarch64 avx512-model regress docs versions tap sanitize fuzz)
for track in "${tracks[@]}"; do "$track"; done
cat "$failures"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
