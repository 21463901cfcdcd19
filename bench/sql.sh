#!/usr/bin/env bash
# One SQL statement over a table against the same rows already in Python, run
# through the peers of bench/contenders.py (bench/sql.py does the measuring).
#
#   bench/sql.sh [PYTHON] [options of bench/sql.py]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
[ $# -gt 0 ] && shift
. bench/server.sh
bench_server sql "max_parallel_workers_per_gather = 0"
psql -qX -f examples/demo.sql
"$python" bench/sql.py "$@"
