#!/usr/bin/env bash
# Whole tables through the batch node, beside dlm-model run and beside the
# scalar path on the same rows and threads; bench/batch.py does the measuring.
#
#   bench/batch.sh [PYTHON] [options of bench/batch.py]
#
# The extension of this tree runs in a copy of the PostgreSQL installation, as
# in bench/sql.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
[ $# -gt 0 ] && shift
. test/cluster.sh
home=$(cluster_home "${TMPDIR:-/tmp}/dlm-batch-$$")
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
# where the server's user can read it
cp -R test/models/llama "$home/tiny"
chmod -R a+rX "$home/tiny"
cluster_start "$home" "fsync = off" "autovacuum = off" "jit = off" "max_wal_size = 8GB" "max_parallel_workers = 8"
export PGDATABASE=postgres
psql -qX -f examples/demo.sql
psql -qXAt -c "SELECT dlm_load_model('tiny', '$home/tiny')" >/dev/null
"$python" bench/batch.py "$@"
