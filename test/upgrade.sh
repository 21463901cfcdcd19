#!/usr/bin/env bash
# pg_upgrade of a cluster with dlm, from one PostgreSQL to another: test/upgrade.sh OLD_PG_CONFIG NEW_PG_CONFIG
#
# Both have the extension installed. The old cluster begins with version 0.1, an own model, a job's row, a calibration and an
# index over answers; the new one must give the same bits. It shows what it does (docs/upgrade.md has the output), last line
# "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."
old_bin=$("${1:?usage: test/upgrade.sh OLD_PG_CONFIG NEW_PG_CONFIG}" --bindir)
new_bin=$("${2:?usage: test/upgrade.sh OLD_PG_CONFIG NEW_PG_CONFIG}" --bindir)
# shellcheck source=test/cluster.sh
. test/cluster.sh
work=$(cluster_home "$(mktemp -d "${TMPDIR:-/tmp}/dlm-upgrade-XXXXXX")")
chmod 755 "$work"
passed=0 failed=0
trap 'pg_bin=$old_bin cluster_stop "$work/old"; pg_bin=$new_bin cluster_stop "$work/new"; rm -rf "$work"' EXIT
cp -r test/models/llama "$work/model"
for side in old new; do as_pg mkdir "$work/$side"; done

# show SQL: run it where the environment says, and print both
show() {
    printf '=# %s\n' "$1"
    "$old_bin/psql" -Xqd postgres -c "$1" 2>&1 | sed '/^$/d' || true
}

ask() { "$old_bin/psql" -XAtqd postgres -v ON_ERROR_STOP=1 -c "$1"; }

# expect NAME WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        printf 'FAILED %s: wanted "%s", got "%s"\n' "$1" "$2" "$3" >&2
    fi
}

answers="SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'mine'), dlm_score('a text', model => 'mine'), dlm_classify('I lost my card', ARRAY['card', 'loan']), (SELECT array_agg(label) FROM r)"
kept="SELECT (SELECT array_agg(r.* ORDER BY id) FROM r), (SELECT array_agg(c.*) FROM dlm_calibration AS c), (SELECT array_agg(state || counts::text) FROM dlm_jobs)"

pg_bin=$old_bin
cluster_start "$work/old" "fsync = off"
show "SELECT version()" | sed 's/ on .*//'
show "CREATE EXTENSION dlm VERSION '0.1'"
digest=$(ask "SELECT dlm_load_model('mine', '$work/model')")
show "ALTER EXTENSION dlm UPDATE"
ask "CREATE TABLE r (id int PRIMARY KEY, body text, label text CHECK (label IN ('wet', 'dry')));
     INSERT INTO r VALUES (1, 'rain', 'wet'), (2, 'sun', NULL), (3, 'snow', NULL);
     CREATE INDEX answers ON r (dlm_classify_pinned('$digest', body, '{wet,dry}'))"
ask "SELECT dlm_calibrate('weather', 'SELECT body AS input, coalesce(label, ''dry'') AS target, ''{wet,dry}''::text[] AS labels FROM r', model => 'mine')" >/dev/null
ask "CALL dlm_infill_table('r', '{label}', model => 'mine')" >/dev/null
before=$(ask "$answers")
rows=$(ask "$kept")
cluster_stop "$work/old"

echo "\$ pg_upgrade"
checksums=$("$old_bin/pg_controldata" -D "$work/old/data" | sed -n 's/^Data page checksum version: *//p')
case $("$new_bin/initdb" --help) in *no-data-checksums*) [ "$checksums" != 0 ] || sums=--no-data-checksums ;; esac
as_pg "$new_bin/initdb" -D "$work/new/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N ${sums:-} >/dev/null
(cd "$work/new" && as_pg "$new_bin/pg_upgrade" -b "$old_bin" -B "$new_bin" -d "$work/old/data" -D "$work/new/data" -U postgres -s "$work/new") \
    >"$work/log" 2>&1 || { cat "$work/log" "$work"/new/data/pg_upgrade_output.d/*/log/*dump_*.log >&2 || true; exit 1; }
grep -A 1 '^Upgrade Complete' "$work/log"
pg_bin=$new_bin
cluster_start "$work/new" "fsync = off"
show "SELECT version()" | sed 's/ on .*//'
show "SELECT name, left(digest, 12) AS digest, problem IS NULL AS usable FROM dlm_models"
show "SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'mine')"
echo "\$ cp OLD/dlm_models/*.dlm NEW/dlm_models/"
as_pg mkdir -p "$work/new/data/dlm_models"
as_pg sh -c "cp '$work'/old/data/dlm_models/*.dlm '$work/new/data/dlm_models/'"
show "SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'mine')"
expect "the same bits" "$before" "$(ask "$answers")"
expect "rows, calibrations, jobs" "$rows" "$(ask "$kept")"
expect "the index gives what the model gives" "$(ask "SET enable_indexscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM r WHERE dlm_classify_pinned('$digest', body, '{wet,dry}') = 'wet'")" \
    "$(ask "SET enable_seqscan = off; SELECT count(*) FROM r WHERE dlm_classify_pinned('$digest', body, '{wet,dry}') = 'wet'")"
expect "the newest version" "$(ask "SELECT default_version FROM pg_available_extensions WHERE name = 'dlm'")" "$(ask "SELECT extversion FROM pg_extension WHERE extname = 'dlm'")"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
