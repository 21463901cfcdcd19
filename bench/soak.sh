#!/usr/bin/env bash
# Soak: mixed calls of many sessions with cancels, timeouts, ended sessions, model
# swaps and changed settings, all at once, on tiny models, in a private cluster.
#
#   bench/soak.sh [--asan] [MINUTES]     default 30 minutes; last line "N passed, N failed"
#
# What is done and checked: bench/soak/soak.py. --asan builds the extension with
# AddressSanitizer in build/soak-asan (minutes, once) and lets no report pass.
# Samples and the server's log stay in build/soak.
set -euo pipefail
cd "$(dirname "$0")/.."
asan=
if [ "${1:-}" = --asan ]; then
    asan=1
    shift
fi
minutes=${1:-30}
. bench/server.sh

# The extension of this tree under AddressSanitizer, built in a copy of the tree: PGXS leaves its objects beside the sources.
asan_extension() {
    local tree=build/soak-asan
    mkdir -p "$tree"
    git ls-files -z Makefile dlm.control src model_loader sql models | xargs -0 cp --parents -pu -t "$tree"
    make -s -C "$tree" SANITIZE="-O1 -fsanitize=address" COPT="-fsanitize=address" with_llvm=no dlm.so
    install -m 755 "$tree/dlm.so" "$bench_prefix$(pg_config --pkglibdir)/dlm.so"
    gcc -shared -fPIC -Wl,-z,initfirst -o "$bench_home/early.so" bench/soak/early.c
    chmod a+rX "$bench_home/early.so"
}

rm -rf build/soak
mkdir -p build/soak
bench_install soak
cp -r test/models "$bench_home/models"
chmod -R a+rX "$bench_home/models"
conf=("fsync = off" "shared_preload_libraries = 'dlm'" "max_connections = 40" "max_worker_processes = 8" "max_parallel_workers = 4" "jit = off"
    "restart_after_crash = off" "log_line_prefix = '%e %p %a '" "dlm.max_threads = 2" "dlm.cache_mem = '256kB'")
export PGDATABASE=postgres
if [ -n "$asan" ]; then
    asan_extension
    # no leak check at exit: a backend's caches are never freed. The reports of a process go to a file of its own
    export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:log_path=$bench_home/asan"
    LD_PRELOAD="$(realpath "$(gcc -print-file-name=libasan.so)") $bench_home/early.so" cluster_start "$bench_home" "${conf[@]}"
else
    cluster_start "$bench_home" "${conf[@]}"
fi
export PATH=$pg_bin:$PATH PYTHONPATH=bench PGCLIENTENCODING=UTF8
psql -qX -v ON_ERROR_STOP=1 -f bench/soak/schema.sql
status=0
python3 bench/soak/soak.py --minutes "$minutes" --home "$bench_home" --out build/soak ${asan:+--asan} || status=$?
exit "$status"
