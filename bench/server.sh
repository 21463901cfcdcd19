# server.sh - a server with this tree's extension, for benchmarks; sourced.
#
# The extension runs in a copy of the PostgreSQL installation under a private
# folder, so nothing is installed on the machine: the server finds its files
# relative to its program.

. test/cluster.sh

# bench_install NAME: builds, and installs into a private copy; gone when the script ends. Sets bench_home, bench_prefix, pg_bin.
bench_install() {
    local folder
    bench_home=$(cluster_home "${TMPDIR:-/tmp}/dlm-$1-$$")
    bench_prefix=$bench_home/prefix
    trap 'cluster_stop "$bench_home"; rm -rf "$bench_home"' EXIT
    for folder in "$(pg_config --bindir)" "$(pg_config --pkglibdir)" "$(pg_config --sharedir)"; do
        mkdir -p "$bench_prefix$folder"
        cp -RL "$folder/." "$bench_prefix$folder"
    done
    make -s install DESTDIR="$bench_prefix" >"$bench_home/install.log" 2>&1 || { tail -n 20 "$bench_home/install.log" >&2; return 1; }
    chmod -R a+rX "$bench_prefix"
    pg_bin=$bench_prefix$(pg_config --bindir)
}

# bench_server NAME 'line of postgresql.conf'...: the same, and starts it.
bench_server() {
    local name=$1
    shift
    bench_install "$name"
    cluster_start "$bench_home" "fsync = off" "$@"
    export PGDATABASE=postgres
}
