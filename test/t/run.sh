#!/usr/bin/env bash
# Run the TAP tests against the installed extension: test/t/run.sh [FILE...]
#
# They start their own clusters, which root may not do: as root everything runs
# as user postgres, in a folder of its own with a copy of what the tests read
# (a clone may lie where that user cannot go).
#
#   DLM_CANCELS=500   moments of 002_cancel (default 60)
#   DLM_TEST_CONF     lines for postgresql.conf of every cluster
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
pgxs=$(cd "$(dirname "$(pg_config --pgxs)")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/dlm-tap-XXXXXX")
full_disk=

clean() {
    if [ -n "$full_disk" ]; then umount -l "$full_disk"; fi
    rm -rf "$work"
}
trap clean EXIT

cp -r "$here" "$work/t"
cp -r "$root/test/models" "$work/models"
# an example that starts clusters of its own
cp -r "$root/examples" "$work/examples"
mkdir "$work/test"
cp "$root/test/cluster.sh" "$work/test"
# the default model's base weights, where make has fetched them: a conversion long enough to be cancelled
gguf=${MODEL_BASE:-$(ls "$root"/models/base/*.gguf 2>/dev/null | head -n 1)}
if [ -n "$gguf" ]; then
    cp "$gguf" "$work/base.gguf"
    gguf=$work/base.gguf
    cp -r "$root/models/dlm-135m" "$work/adapter"
fi
cd "$work"

as_postgres=()
if [ "$(id -u)" -eq 0 ]; then
    as_postgres=(runuser -u postgres --)
    # a file system that is full soon, for 008_disk_full; smaller than any model
    mkdir "$work/full"
    if mount -t tmpfs -o size=96k,mode=700,uid="$(id -u postgres)" tmpfs "$work/full"; then
        full_disk=$work/full
    fi
    chown -R postgres "$work"
fi

tests=()
for test in "$@"; do tests+=("t/$(basename "$test")"); done
[ "${#tests[@]}" -gt 0 ] || tests=(t/*.pl)

"${as_postgres[@]}" env \
    PATH="$(pg_config --bindir):$PATH" PERL5LIB="$pgxs/src/test/perl:$work/t" \
    PG_REGRESS="$pgxs/src/test/regress/pg_regress" \
    TESTDIR="$work" TESTDATADIR="$work/tmp_check" TESTLOGDIR="$work/log" LC_ALL=C.UTF-8 \
    PG_TEST_TIMEOUT_DEFAULT=1800 DLM_TEST_MODELS="$work/models" DLM_TEST_FULL_DISK="$full_disk" DLM_CANCELS="${DLM_CANCELS:-60}" \
    DLM_TEST_GGUF="$gguf" DLM_TEST_ADAPTER="$work/adapter" DLM_TEST_CONF="${DLM_TEST_CONF:-}" \
    prove -v "${tests[@]}" || { status=$?; tail -n 40 "$work"/tmp_check/log/*.log >&2 || true; exit "$status"; }
