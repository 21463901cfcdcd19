# cluster.sh - start and stop a private PostgreSQL cluster; sourced by the demo and the tests.
#
# The server listens on a Unix socket in a folder that only its owner may
# enter, never on the network. Root may not run a server, so as root
# everything runs as user postgres.

pg_bin=$(pg_config --bindir)

as_pg() {
    if [ "$(id -u)" -eq 0 ]; then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# cluster_home DIR: a folder that the server's user can use, DIR itself if possible; prints it.
cluster_home() {
    local dir=$1
    mkdir -p "$dir"
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$dir"
    fi
    if ! as_pg test -w "$dir" || [ "${#dir}" -gt 80 ]; then
        # a parent may not be entered by user postgres, or the socket's path would be too long
        if ! [ -s "$dir/elsewhere" ]; then
            as_pg mktemp -d "${TMPDIR:-/tmp}/dlm-cluster-XXXXXX" >"$dir/elsewhere"
        fi
        dir=$(cat "$dir/elsewhere")
    fi
    echo "$dir"
}

# cluster_start HOME 'line of postgresql.conf'...: sets PGHOST, PGPORT, PGUSER.
cluster_start() {
    local home=$1 line
    shift
    chmod 700 "$home"
    PGPORT=$(free_port)
    PGHOST=$home
    PGUSER=postgres
    export PGHOST PGPORT PGUSER
    if ! [ -d "$home/data" ]; then
        as_pg "$pg_bin/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$home.initdb.log" 2>&1 ||
            { cat "$home.initdb.log" >&2; return 1; }
        rm -f "$home.initdb.log"
    fi
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$home'"
        echo "port = $PGPORT"
        for line in "$@"; do echo "$line"; done
    } | as_pg tee "$home/data/postgresql.auto.conf" >/dev/null
    as_pg "$pg_bin/pg_ctl" -D "$home/data" -l "$home/server.log" -w -t 60 start >/dev/null ||
        { as_pg tail -n 20 "$home/server.log" >&2; return 1; }
}

cluster_stop() {
    local home=$1
    if [ -f "$home/data/postmaster.pid" ]; then
        as_pg "$pg_bin/pg_ctl" -D "$home/data" -m fast -w stop >/dev/null 2>&1
    fi
}
