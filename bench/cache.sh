#!/usr/bin/env bash
# Labelling a table again after it has grown, without and with dlm.cache_mem, on
# the installed extension: 200 rows, then all 210 of them; and what a row costs
# whose answer is known. Prints markdown; a private cluster, two to six minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. test/cluster.sh
home=$(cluster_home "${TMPDIR:-/tmp}/dlm-bench-$$")
cluster_start "$home" "fsync = off" "max_parallel_workers_per_gather = 0" "dlm.max_threads = 2"
trap 'cluster_stop "$home"; rm -rf "$home"' EXIT
export PGDATABASE=postgres
psql -qX -f examples/demo.sql

labels="ARRAY['weather', 'alarm', 'book flight', 'pay bill', 'recipe', 'directions', 'translate', 'shopping list', 'credit score', 'tell joke']"
update="UPDATE news SET label = dlm_classify(body, $labels);"

# the demo's texts, each made distinct
rows() { echo "SELECT i, m.body || ' (' || i || ')' FROM generate_series($1, $2) AS i, (SELECT array_agg(body ORDER BY id) AS bodies FROM messages WHERE kind = 'label') AS b, LATERAL (SELECT bodies[1 + i % cardinality(bodies)] AS body) AS m"; }

# seconds SQL, in the session of the script around it
seconds() { printf '%s\n' "SELECT clock_timestamp() AS t0 \\gset" "$1" "SELECT round(extract(epoch FROM clock_timestamp() - :'t0'::timestamptz), 3);"; }

# labelled MEM: seconds of 200 rows, of all after 10 more have come, of all once more; md5 of the labels
labelled() {
    { psql -qX -c "LOAD 'dlm'" -c "ALTER SYSTEM SET dlm.cache_mem = '$1'" -c "SELECT pg_reload_conf()"; sleep 1; } >/dev/null
    psql -qXAt <<SQL | grep -v '^$' | paste -sd ' '
SET client_min_messages = warning;
DROP TABLE IF EXISTS news;
CREATE TABLE news (id int PRIMARY KEY, body text, label text);
INSERT INTO news $(rows 1 200);
SELECT dlm_classify('warm', $labels) AS warm \gset
$(seconds "$update")
INSERT INTO news $(rows 201 210);
$(seconds "$update")
$(seconds "$update")
SELECT md5(string_agg(label, ',' ORDER BY id)) FROM news;
SQL
}

# known: microseconds of a row whose answer is known, in batches and row by row; 100 statements of 200 rows
known() {
    local again="DO 'BEGIN FOR i IN 1 .. 100 LOOP PERFORM count(dlm_classify(body, ${labels//\'/\'\'})) FROM news WHERE id <= 200; END LOOP; END';"
    psql -qXAt <<SQL | grep -v '^$' | awk '{printf "%.1f ", $1 / 20000 * 1e6}'
SELECT count(dlm_classify(body, $labels)) AS warm FROM news \gset
$(seconds "$again")
SET dlm.enable_batching = off;
$(seconds "$again")
SQL
}

read -r off1 off2 off3 off_md5 <<<"$(labelled 0)"
read -r on1 on2 on3 on_md5 <<<"$(labelled 16MB)"
read -r batch single <<<"$(known)"
[ "$off_md5" = "$on_md5" ] || { echo "the labels differ" >&2; exit 1; }

echo "| seconds | \`dlm.cache_mem\` 0 | 16 MB |"
echo "|---|---|---|"
echo "| 200 rows, ten labels each | $off1 | $on1 |"
echo "| all again after 10 were added | $off2 | $on2 |"
echo "| all once more | $off3 | $on3 |"
echo
echo "A row whose answer is known: $batch us in batches, $single us row by row. Same labels."
