#!/usr/bin/env bash
# Append to bench/isa.log what t_bits, t_kernels and t_kernels_small gave on this
# machine: CPU, commit, the tables that really ran on its own instructions, and
# t_bits' hash of all results. Same hash = same bits. Run on each kind of CPU at
# hand when a kernel changes.
set -euo pipefail
cd "$(dirname "$0")/.."
git diff --quiet HEAD -- src test/engine test/models || { echo "uncommitted changes: a log line names a commit" >&2; exit 1; }
make build/test/t_bits build/test/t_kernels build/test/t_kernels_small >/dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program in t_kernels t_kernels_small t_bits; do
    "build/test/$program" >"$log" || { tail -n 20 "$log" >&2; exit 1; }
done
cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
family=$(awk -F': *' '/^cpu family/ {f = $2} /^model\t/ {m = $2} f && m {print "family " f " model " m; exit}' /proc/cpuinfo)
[ -n "$cpu" ] || cpu=$(uname -m)
tables=$(sed -n 's/^table //p' "$log" | paste -sd ' ')
hash=$(sed -n 's/^\([0-9]*\) models.*: \([0-9a-f]*\)$/\2 (\1 models)/p' "$log")
printf '%s | %s%s | %s | ran: %s | %s\n' "$(date -u +%F)" "$cpu" "${family:+, $family}" "$(git rev-parse --short=12 HEAD)" "$tables" "$hash" |
    tee -a bench/isa.log
