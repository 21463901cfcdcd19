#!/usr/bin/env bash
# Rows per second of dlm_classify and dlm_infill on one and two threads, and the
# memory of one and of eight backends with the weights counted once (PSS), on
# the installed extension. Prints markdown; a private cluster, about 3 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. test/cluster.sh
home=$(cluster_home "${TMPDIR:-/tmp}/dlm-bench-$$")
cluster_start "$home" "fsync = off" "max_parallel_workers_per_gather = 0"
trap 'cluster_stop "$home"; rm -rf "$home"' EXIT
export PGDATABASE=postgres
psql -qX -f examples/demo.sql

labels="ARRAY['weather', 'alarm', 'book flight', 'pay bill', 'recipe', 'directions', 'translate', 'shopping list', 'credit score', 'tell joke']"

# rate THREADS LIMIT SQL: rows per second of a query over `LIMIT` rows, after one row of warming up
rate() {
    psql -qXAt <<SQL | tail -n 1
SET dlm.max_threads = $1;
SELECT count(a) FROM (SELECT $3 AS a FROM messages WHERE kind = '$4' ORDER BY id LIMIT 1) q;
SELECT clock_timestamp() AS t0 \gset
SELECT count(a) FROM (SELECT $3 AS a FROM messages WHERE kind = '$4' ORDER BY id LIMIT $2) q;
SELECT round(($2 / extract(epoch FROM clock_timestamp() - :'t0'::timestamptz))::numeric, 1);
SQL
}

# batch THREADS LIMIT: the text[] form
batch() {
    psql -qXAt <<SQL | tail -n 1
SET dlm.max_threads = $1;
SELECT dlm_classify('warm', $labels) IS NULL;
SELECT clock_timestamp() AS t0 \gset
SELECT cardinality(dlm_classify(array_agg(body), $labels)) FROM (SELECT body FROM messages WHERE kind = 'label' ORDER BY id LIMIT $2) q;
SELECT round(($2 / extract(epoch FROM clock_timestamp() - :'t0'::timestamptz))::numeric, 1);
SQL
}

classify="dlm_classify(body, $labels)"
gap="dlm_infill_gaps(dlm_quote(body) || E'\\nCity: [MASK:city:2]')"
range="dlm_infill_gaps(dlm_quote(body) || E'\\nCity: [MASK:city:1-4]')"
echo "| rows/s | 1 thread | 2 threads |"
echo "|---|---|---|"
echo "| dlm_classify, ten labels | $(rate 1 50 "$classify" label) | $(rate 2 50 "$classify" label) |"
echo "| dlm_classify(text[]), ten labels | $(batch 1 100) | $(batch 2 100) |"
echo "| dlm_infill, gap of 2 tokens | $(rate 1 25 "$gap" infill) | $(rate 2 25 "$gap" infill) |"
echo "| dlm_infill, gap of 1 to 4 tokens | $(rate 1 15 "$range" infill) | $(rate 2 15 "$range" infill) |"
echo

pss() {                 # kB of PSS of all processes of the cluster
    local total=0 pid part
    for pid in $(pgrep -P "$(head -n 1 "$home/data/postmaster.pid")") $(head -n 1 "$home/data/postmaster.pid"); do
        part=$(awk '$1 == "Pss:" {print $2}' "/proc/$pid/smaps_rollup" 2>/dev/null || echo 0)
        total=$((total + ${part:-0}))
    done
    echo "$total"
}

backends() {            # backends N: PSS while N sessions have computed and wait
    local i before after
    before=$(pss)
    for ((i = 0; i < $1; i++)); do
        psql -qXAt -c "SELECT dlm_classify(body, $labels) FROM messages WHERE id = $((i + 1))" -c "SELECT pg_sleep(30)" >/dev/null 2>&1 &
    done
    sleep 15
    after=$(pss)
    psql -qXAt -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()" >/dev/null
    wait || true
    echo "$(((after - before) / 1024)) MB"
}

echo "| memory (PSS) | 1 backend | 8 backends |"
echo "|---|---|---|"
echo "| sessions that have classified a row | $(backends 1) | $(backends 8) |"
