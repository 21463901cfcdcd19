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
. bench/server.sh
bench_server batch "autovacuum = off" "jit = off" "max_wal_size = 8GB" "max_parallel_workers = 8"
# where the server's user can read it
cp -R test/models/llama "$bench_home/tiny"
chmod -R a+rX "$bench_home/tiny"
psql -qX -f examples/demo.sql
psql -qXAt -c "SELECT dlm_load_model('tiny', '$bench_home/tiny')" >/dev/null
"$python" bench/batch.py "$@"
