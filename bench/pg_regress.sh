#!/usr/bin/env bash
# By hand: PostgreSQL's own regression suite, and ours, on a server built from
# source with assertions, with dlm preloaded and batching on.
#
#   bench/pg_regress.sh SOURCE PREFIX
#
# SOURCE: PostgreSQL's source tree, configured with --enable-cassert
# --prefix=PREFIX, built and installed, with contrib/file_fdw and
# contrib/auto_explain. Everything runs as user postgres, in a
# copy of this tree, so that the objects of the ordinary build stay.
set -euo pipefail
cd "$(dirname "$0")/.."
source_tree=$1
prefix=$2
log=$PWD/build/pg_regress
mkdir -p "$log"
copy=$(mktemp -d "${TMPDIR:-/tmp}/dlm-assert-XXXXXX")
trap 'cluster_stop "$home" || true; rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
mkdir -p "$copy/build"
cp build/dlm-135m.dlm "$copy/build/"
make -s -j2 -C "$copy" PG_CONFIG="$prefix/bin/pg_config" install >"$log/build.log" 2>&1

. test/cluster.sh
pg_bin=$prefix/bin
home=$(cluster_home "$copy/cluster")
cluster_start "$home" "fsync = off" "shared_preload_libraries = 'dlm'" "max_prepared_transactions = 2"
[ "$(id -u)" -ne 0 ] || chown -R postgres "$copy" "$source_tree/src/test/regress"
run_as() { as_pg env PATH="$pg_bin:$PATH" PGHOST="$home" PGPORT="$PGPORT" PGUSER=postgres "$@"; }
report() { echo "$1: $(grep -cE '\.\.\. ok|^ok ' "$2") ok, $(grep -cE 'FAILED|^not ok' "$2") failed"; }

"$pg_bin/psql" -XAt -d postgres -c "SELECT version()" -c "SHOW debug_assertions" -c "SHOW shared_preload_libraries"
run_as make -s -C "$source_tree/src/test/regress" installcheck-parallel >"$log/postgresql.log" 2>&1 || true
report "PostgreSQL's suite" "$log/postgresql.log"
grep -E 'FAILED|^not ok' "$log/postgresql.log" || true
run_as make -s -C "$copy" PG_CONFIG="$prefix/bin/pg_config" installcheck >"$log/dlm.log" 2>&1 || true
cp "$copy/regression.diffs" "$log/" 2>/dev/null || true
report "our suite" "$log/dlm.log"
grep -E 'FAILED|^not ok' "$log/dlm.log" || true
echo "assertions that failed: $(grep -c 'TRAP:' "$home/server.log" || true)"
