#!/usr/bin/env bash
# Build the Debian package of the committed tree, install it, use it, remove it: `make check-package`, as root.
#
# It installs and removes postgresql-15-dlm on this machine. What `make install` has put into the same places is gone afterwards: install again.
# MODEL_BASE=FILE gives the base weights to a build without network. Last line: "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
[ "$(id -u)" -eq 0 ] || { echo "check-package installs a package: run it as root" >&2; exit 2; }
.ci/packages package
work=$(mktemp -d)
passed=0 failed=0

# shellcheck source=test/cluster.sh
. test/cluster.sh
home=$(cluster_home "$work/cluster")
chmod 755 "$work"
trap 'cluster_stop "$home" >/dev/null 2>&1 || true; rm -rf "$work" "$home"' EXIT

# expect NAME WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        printf 'FAILED %s: wanted "%s", got "%s"\n' "$1" "$2" "$3" >&2
    fi
}

ask() { psql -XAtq -d postgres -v ON_ERROR_STOP=1 -c "$1"; }

git archive --prefix=dlm/ HEAD | tar -x -C "$work"
base=${MODEL_BASE:-$(echo "$root"/models/base/*.gguf)}
if [ -f "$base" ]; then export MODEL_BASE=$base; fi
(cd "$work/dlm" && dpkg-buildpackage -b -us -uc) >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; exit 1; }
package=$(echo "$work"/postgresql-15-dlm_*.deb)
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" dlm.control)
digest=$(cat models/dlm-135m/DIGEST)

files=$(dpkg-deb -c "$package" | awk '{print $6}')
for file in usr/lib/postgresql/15/lib/dlm.so usr/share/postgresql/15/extension/dlm.control "usr/share/postgresql/15/extension/dlm--$version.sql" \
    "usr/share/postgresql/15/dlm/$digest.dlm" usr/lib/postgresql/15/bin/dlm-model usr/share/doc/postgresql-15-dlm/copyright; do
    expect "the package has $file" 1 "$(grep -cx "./$file" <<<"$files" || grep -cx "./$file.gz" <<<"$files" || true)"
done
expect "the version of Debian's changelog begins with META.json's" "$(python3 -c 'import json; print(json.load(open("META.json"))["version"])')" \
    "$(dpkg-deb -f "$package" Version | sed 's/-.*//')"

dpkg -i "$package" >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2; exit 1; }
cluster_start "$home" "dlm.max_threads = 2"
ask 'CREATE EXTENSION dlm'
expect "the extension's version" "$version" "$(ask "SELECT extversion FROM pg_extension WHERE extname = 'dlm'")"
expect "the model's digest" "$digest" "$(ask 'SELECT digest FROM dlm_models')"
expect "the README's first answer" "Berlin is the capital of Germany, and Paris is the capital of France." \
    "$(ask "SELECT dlm_infill('Berlin is the [MASK] of Germany, and Paris is the [MASK] of [MASK].')")"
expect "the answer of the program" "$digest" "$(/usr/lib/postgresql/15/bin/dlm-model inspect "/usr/share/postgresql/15/dlm/$digest.dlm" | awk '$1 == "digest" {print $2}')"
ask 'DROP EXTENSION dlm'
cluster_stop "$home"
dpkg -r postgresql-15-dlm >/dev/null
expect "nothing is left" no "$([ -e /usr/lib/postgresql/15/lib/dlm.so ] && echo yes || echo no)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
