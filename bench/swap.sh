#!/usr/bin/env bash
# What replacing a model costs those who use it: two sessions label texts with the default model's weights, first in peace, then
# with a dlm_load_model(..., replace => true) every five seconds, in turns. Prints markdown; a private cluster.
#
#   bench/swap.sh [ROUNDS] [SECONDS]      default 3 rounds of 2 x 20 s
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
seconds=${2:-20}
# shellcheck source=bench/server.sh
. bench/server.sh
bench_server swap "shared_preload_libraries = 'dlm'" "dlm.max_threads = 1"
work=$bench_home/work
mkdir -p "$work/adapter"

# two models of one speed: the second has another content-free text, so another digest
cp -r models/dlm-135m/. "$work/adapter"
sed -i 's/"content_free": "N\/A"/"content_free": "none"/' "$work/adapter/dlm.json"
build/dlm-model convert "${MODEL_BASE:-models/base/SmolLM2-135M-Instruct.Q4_1.gguf}" "$work/second.dlm" --lora "$work/adapter" --weights "$(cat models/dlm-135m/WEIGHTS)" >/dev/null
cp build/dlm-135m.dlm "$work/first.dlm"
chmod -R a+rX "$bench_home"
psql -qX -c "CREATE EXTENSION dlm" -c "SELECT dlm_load_model('m', '$work/first.dlm')" >/dev/null
echo "SELECT dlm_classify('The flight was late and nobody told us why.', ARRAY['praise', 'complaint'], model => 'm');" >"$work/call.sql"

# replace every five seconds until killed; its own times go to a file
swapper() {
    local file
    while true; do
        for file in second first; do
            psql -qXAt -c '\timing on' -c "SELECT dlm_load_model('m', '$work/$file.dlm', replace => true)" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' >>"$work/swaps"
            sleep 5
        done
    done
}

# round NAME: calls a second and every call's time (us) into NAME.times
round() {
    local name=$1
    (cd "$work" && pgbench -n -c 2 -j 1 -T "$seconds" -f call.sql -l --log-prefix="$name" postgres >>"$name.out" 2>&1)
    cat "$work/$name".[0-9]* | awk '{print $3}' >>"$work/$name.times"
    rm -f "$work/$name".[0-9]*
}

for _ in $(seq "$rounds"); do
    round calm
    swapper &
    swap_pid=$!
    round swapped
    kill "$swap_pid" 2>/dev/null
    wait "$swap_pid" 2>/dev/null || true
done

# figures NAME: calls, mean, median, 99 %, longest (ms)
figures() {
    sort -n "$work/$1.times" | awk '{v[NR] = $1; s += $1} END {
        printf "%d | %.0f | %.0f | %.0f | %.0f", NR, s / NR / 1000, v[int((NR + 1) / 2)] / 1000, v[int(NR * 0.99 + 0.999)] / 1000, v[NR] / 1000}'
}

echo "| two sessions | calls | mean ms | median | 99 % | longest |"
echo "|---|---|---|---|---|---|"
echo "| in peace | $(figures calm) |"
echo "| a swap every five seconds | $(figures swapped) |"
echo
awk -v calm="$(wc -l <"$work/calm.times")" -v swapped="$(wc -l <"$work/swapped.times")" '{s += $1; if ($1 > most) most = $1} END {
    printf "Calls in the same time: %.3f of those in peace. %d swaps, %.1f s each, %.1f s the longest (the file is read, checked and written anew).\n", swapped / calm, NR, s / NR / 1000, most / 1000}' "$work/swaps"
grep -h "number of failed" "$work"/*.out | sort | uniq -c
psql -qXAt -c "SELECT 'errors of these calls: ' || sum(errors) FROM dlm_stats"
