#!/usr/bin/env bash
# make bench: build, install the peers from PyPI under build/bench/venv, measure
# everything side by side, print the tables and write bench/results and the
# plots of docs/performance. A step that fails is named and the others go on.
#
#   bench/run.sh [--quick]       (make bench BENCH=--quick)
set -uo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/build/bench/venv
logs=$PWD/build/bench/log
failed=()
mkdir -p "$logs"
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE      # a machine's own settings would slow the peers down

say() { printf '\n%s\n\n' "$*"; }

# step NAME COMMAND...: what it prints goes to the screen; its log's end too when it fails.
step() {
    local name=$1
    shift
    if ! "$@" 2>"$logs/$name.log"; then
        echo "$name failed; the end of $logs/$name.log:"
        tail -n 15 "$logs/$name.log"
        failed+=("$name")
        return 1
    fi
}

build() {
    make -s >&2 && make -s build/bench/forward build/bench/kernels build/bench/peak >&2
}

peers() {               # a venv that was made from these very requirements is kept
    cmp -s bench/requirements.txt "$venv/requirements.txt" && return
    if ! python3 -m venv "$venv" >&2; then
        .ci/packages bench >&2
        rm -rf "$venv"
        python3 -m venv "$venv" >&2 || return 1
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r bench/requirements.txt >&2 &&
        cp bench/requirements.txt "$venv/requirements.txt"
}

echo "building, and installing the peers from PyPI (the first time only)"
step build build && step venv peers || exit 1
python=$venv/bin/python
say "The engine beside its peers"
step peers "$python" bench/peers.py "$@"
say "Kernels against OpenBLAS and the peak"
step kernels "$python" bench/blas.py "$@"
say "One SQL statement against rows already in Python"
step sql bench/sql.sh "$python" "$@"
say "Rows a second over clients and plans"
step clients bench/clients.sh
step plots "$python" bench/plot.py
say "results in bench/results, plots in docs/performance"
[ "${#failed[@]}" -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
