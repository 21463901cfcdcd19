#!/usr/bin/env bash
# Three PostgreSQL clusters on this machine share one table by postgres_fdw:
# the model is called where the rows lie, on all nodes at the same time, and
# the answers are the bits that one node gives. docs/scale-out.md explains it.
#
#   examples/scale_out.sh [ROWS]      at most 250 of the demo's messages (default 90)
#
#   SCALE_MODEL=/path/to/checkpoint   another model than the default one
#
# It needs the extension installed (make install), and removes what it started.
set -euo pipefail
cd "$(dirname "$0")/.."
. test/cluster.sh
rows=${1:-90}
nodes=(1 2 3)
labels='{weather,alarm,book flight,pay bill,recipe,directions,translate,shopping list,credit score,tell joke}'
homes=()
hosts=()
ports=()

say() { printf '\n%s\n' "$*"; }

clean() {
    local home
    for home in "${homes[@]}"; do
        cluster_stop "$home"
        rm -rf "$home"
    done
}
trap clean EXIT

# on NODE [OPTION of psql...]
on() {
    local node=$1
    shift
    psql -qXAt -v ON_ERROR_STOP=1 -h "${hosts[node]}" -p "${ports[node]}" -U postgres -d postgres "$@"
}

# Node 1 is asked by clients, and has a third of the rows as the others do.
start_nodes() {
    local node home
    for node in "${nodes[@]}"; do
        home=$(cluster_home "$(mktemp -d "${TMPDIR:-/tmp}/dlm-node-XXXXXX")")
        homes+=("$home")
        # one thread a node: a node is one core, however many there are
        cluster_start "$home" "shared_preload_libraries = 'dlm'" "dlm.max_threads = 1" "fsync = off"
        hosts[node]=$PGHOST
        ports[node]=$PGPORT
    done
}

# The same model on every node: a digest says that it is.
make_shards() {
    local node
    for node in "${nodes[@]}"; do
        on "$node" -c "CREATE EXTENSION dlm" -c "CREATE TABLE shard (id int PRIMARY KEY, body text NOT NULL, label text, vector real[])"
        if [ -n "${SCALE_MODEL:-}" ]; then
            on "$node" -c "SELECT dlm_load_model('scale', '$SCALE_MODEL')" >/dev/null
        fi
        digest=$(on "$node" -c "SELECT digest FROM dlm_models ORDER BY name = 'scale' DESC LIMIT 1")
        on "$node" -c "CREATE VIEW shard_seen AS SELECT id, public.$(call) AS label, public.$(vector) AS vector FROM public.shard"
    done
}

call() { echo "dlm_classify_pinned('$digest', body, '$labels')"; }
vector() { echo "dlm_embed_pinned('$digest', body)"; }

make_table() {
    local node
    on 1 -c "CREATE EXTENSION postgres_fdw" \
        -c "CREATE TABLE message (id int, body text, label text, vector real[]) PARTITION BY HASH (id)" \
        -c "CREATE TABLE seen (id int, label text, vector real[]) PARTITION BY HASH (id)" \
        -c "CREATE TABLE alone (id int PRIMARY KEY, body text NOT NULL, label text, vector real[])"
    for node in "${nodes[@]}"; do
        on 1 -c "CREATE SERVER node$node FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '${hosts[node]}', port '${ports[node]}',
                     dbname 'postgres', extensions 'dlm', async_capable 'true', fetch_size '1000', batch_size '1000')" \
            -c "CREATE USER MAPPING FOR postgres SERVER node$node OPTIONS (user 'postgres')" \
            -c "CREATE FOREIGN TABLE message$node PARTITION OF message FOR VALUES WITH (MODULUS 3, REMAINDER $((node - 1)))
                     SERVER node$node OPTIONS (table_name 'shard')" \
            -c "CREATE FOREIGN TABLE seen$node PARTITION OF seen FOR VALUES WITH (MODULUS 3, REMAINDER $((node - 1)))
                     SERVER node$node OPTIONS (table_name 'shard_seen')"
    done
    on 1 -c "CREATE TEMP TABLE row (id int, kind text, instruction text, body text, truth text)" \
        -c "\copy row FROM 'examples/messages.tsv'" \
        -c "INSERT INTO alone SELECT id, body FROM row WHERE kind = 'label' ORDER BY id LIMIT $rows" \
        -c "INSERT INTO message SELECT id, body FROM alone"
}

# Plans are shown without what is long.
plan() {
    on 1 -c "EXPLAIN (VERBOSE, COSTS OFF) $1" |
        sed -e 's/[0-9a-f]\{64\}/DIGEST/g' -e "s/'{weather,alarm,[^']*}'/LABELS/g" -e 's/, NULL::text, NULL::text\[\], NULL::jsonb, NULL::jsonb/, .../g'
}

# timed NODES NAME COMMAND...: rows per second, and what every node computed meanwhile
timed() {
    local n=$1 name=$2 cores node started seconds computed
    shift 2
    cores=$(($(nproc) < n ? $(nproc) : n))
    for node in "${nodes[@]}"; do on "$node" -c "SELECT dlm_stats_reset()" >/dev/null; done
    started=$(date +%s.%N)
    "$@" >/dev/null
    seconds=$(date +%s.%N | awk -v a="$started" '{ printf "%.2f", $1 - a }')
    computed=$(for node in "${nodes[@]}"; do on "$node" -c "SELECT round((coalesce(sum(ms), 0) / 1000)::numeric, 3) FROM dlm_stats"; done | paste -sd '+')
    awk -v name="$name" -v n="$n" -v s="$seconds" -v rows="$rows" -v cores="$cores" -v computed="$computed" 'BEGIN {
        printf "%-32s %d node%s %6.2f s  %6.2f rows/s  %6.2f rows/s a core (%d)   computed: %s s\n",
            name, n, (n > 1 ? "s" : " "), s, rows / s, rows / s / cores, cores, computed }'
}

label_alone() { on 1 -c "UPDATE alone SET label = $(call)"; }

# A shipped UPDATE visits its shards in turn: one session a shard, all at the same time.
label_shards() {
    local node jobs=()
    for node in "${nodes[@]}"; do
        on 1 -c "UPDATE message$node SET label = $(call)" &
        jobs+=($!)
    done
    for node in "${jobs[@]}"; do wait "$node"; done
}

# same NAME QUERY: the query of table `alone` and of the sharded one give the same bits
same() {
    local one three
    one=$(on 1 -c "SELECT md5(string_agg(q::text, ',' ORDER BY q)) FROM ($2) AS q")
    three=$(on 1 -c "SELECT md5(string_agg(q::text, ',' ORDER BY q)) FROM ($3) AS q")
    printf '%-32s one node %s  three nodes %s\n' "$1" "$one" "$three"
    [ -n "$one" ] && [ "$one" = "$three" ]
}

main() {
    local where
    start_nodes
    make_shards
    make_table
    where="$(call) IN ('weather', 'alarm')"
    say "rows of a node:"
    on 1 -c "SELECT tableoid::regclass, count(*) FROM message GROUP BY 1 ORDER BY 1"
    say "EXPLAIN UPDATE message SET label = dlm_classify_pinned(...)"
    plan "UPDATE message SET label = $(call)"
    say "EXPLAIN SELECT count(*) FROM message WHERE dlm_classify_pinned(...) IN ('weather', 'alarm')"
    plan "SELECT count(*) FROM message WHERE $where"
    say "EXPLAIN SELECT id, label, vector FROM seen          -- foreign tables over views of the shards"
    plan "SELECT id, label, vector FROM seen"
    say "$rows rows, one thread a node, $(nproc) cores for all of them:"
    timed 1 "UPDATE" label_alone
    timed 3 "UPDATE, a session a shard" label_shards
    timed 1 "SELECT ... WHERE" on 1 -c "SELECT count(*) FROM alone WHERE $where"
    timed 3 "SELECT ... WHERE, async" on 1 -c "SELECT count(*) FROM message WHERE $where"
    timed 1 "embeddings" on 1 -c "UPDATE alone SET vector = $(vector)"
    timed 3 "embeddings, views, async" on 1 -c "CREATE TABLE collected AS SELECT id, vector FROM seen"
    say "the same bits (md5 of all rows in order):"
    same labels "SELECT id, label FROM alone" "SELECT id, label FROM message"
    same "rows found" "SELECT id FROM alone WHERE $where" "SELECT id FROM message WHERE $where"
    same vectors "SELECT id, vector FROM alone" "SELECT id, vector FROM collected"
}

main
