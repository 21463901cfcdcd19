#!/usr/bin/env bash
# Rows a second over the number of clients and over plans (bench/clients.py).
#
#   bench/clients.sh [options of bench/clients.py]
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/server.sh
bench_server clients "max_connections = 100"
psql -qX -f examples/demo.sql
python3 bench/clients.py "$@"
