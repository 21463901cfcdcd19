#!/usr/bin/env bash
# One SQL statement over a table against the same rows already in Python, run
# through the peers of bench/contenders.py (bench/sql.py does the measuring).
#
#   bench/sql.sh [PYTHON] [options of bench/sql.py]
#
# The extension of this tree runs in a copy of the PostgreSQL installation
# under a private folder, so nothing is installed on the machine: the server
# finds its files relative to its program.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
[ $# -gt 0 ] && shift
. test/cluster.sh
home=$(cluster_home "${TMPDIR:-/tmp}/dlm-sql-$$")
prefix=$home/prefix
finish() {
    cluster_stop "$home"
    rm -rf "$home"
}
trap finish EXIT
for folder in "$(pg_config --bindir)" "$(pg_config --pkglibdir)" "$(pg_config --sharedir)"; do
    mkdir -p "$prefix$folder"
    cp -RL "$folder/." "$prefix$folder"
done
make -s install DESTDIR="$prefix" >"$home/install.log" 2>&1 || { tail -n 20 "$home/install.log" >&2; exit 1; }
chmod -R a+rX "$prefix"
pg_bin=$prefix$pg_bin
cluster_start "$home" "fsync = off" "max_parallel_workers_per_gather = 0"
export PGDATABASE=postgres
psql -qX -f examples/demo.sql
"$python" bench/sql.py "$@"
