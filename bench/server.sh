# server.sh - a server with this tree's extension, for benchmarks; sourced.
#
# The extension runs in a copy of the PostgreSQL installation under a private
# folder, so nothing is installed on the machine: the server finds its files
# relative to its program.

. test/cluster.sh

# bench_server NAME 'line of postgresql.conf'...: builds, installs, starts; gone when the script ends.
bench_server() {
    local name=$1 folder
    shift
    bench_home=$(cluster_home "${TMPDIR:-/tmp}/dlm-$name-$$")
    local prefix=$bench_home/prefix
    trap 'cluster_stop "$bench_home"; rm -rf "$bench_home"' EXIT
    for folder in "$(pg_config --bindir)" "$(pg_config --pkglibdir)" "$(pg_config --sharedir)"; do
        mkdir -p "$prefix$folder"
        cp -RL "$folder/." "$prefix$folder"
    done
    make -s install DESTDIR="$prefix" >"$bench_home/install.log" 2>&1 || { tail -n 20 "$bench_home/install.log" >&2; return 1; }
    chmod -R a+rX "$prefix"
    pg_bin=$prefix$(pg_config --bindir)
    cluster_start "$bench_home" "fsync = off" "$@"
    export PGDATABASE=postgres
}
