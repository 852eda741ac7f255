#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Private servers for the tests: on unix sockets in one directory, as user
# postgres when we are root, ended when the process OWNER ends, however it ends.
#
#   services.sh postgres  DIR OWNER TEMPLATE [-c NAME=VALUE…]
#                                              serves until OWNER ends; DIR/ready when up
#   services.sh server    DIR OWNER            serves DIR/data until it is stopped
#   services.sh pgbouncer DIR OWNER HOST SIZE  a transaction pooler in front of HOST (the
#                                              directory of a socket), SIZE sessions a pool
set -eu
umask 077

bindir() {
    if [ -n "${NEAP_PG_BINDIR:-}" ]; then
        echo "$NEAP_PG_BINDIR"
        return
    fi
    for dir in /usr/lib/postgresql/*/bin; do
        [ -x "$dir/initdb" ] && echo "$dir"
    done | sort -t/ -k5 -n | tail -n 1
}

# Becomes the command, as the server's user; its end follows its parent's. In a
# subshell, so that $! is the server and not a shell in between.
exec_server() {
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups --pdeathsig KILL "$@"
    else
        exec setpriv --pdeathsig KILL "$@"
    fi
}

# initdb once per build directory; a tar keeps owners and needs no path that the
# server's user can enter.
make_template() {
    [ -f "$template" ] && return 0
    work=$(mktemp -d /tmp/neap-template-XXXXXX)
    [ "$(id -u)" != 0 ] || chown postgres "$work"
    (cd "$work" && exec_server "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 \
        --locale=C.UTF-8 --wal-segsize=1 --no-sync >"$work/log" 2>&1) || {
        cat "$work/log" >&2
        rm -rf "$work"
        exit 1
    }
    tar -cf "$template.half" -C "$work" data
    mv "$template.half" "$template"
    rm -rf "$work"
}

# Waits for OWNER, not for the server: a trap on our own end stops it.
serve_until() {
    owner=$1
    tail --pid="$owner" -s 0.2 -f /dev/null &
    wait $! || true
}

postgres() {
    dir=$1 owner=$2 template=$3
    shift 3
    bin=$(bindir)
    [ -n "$bin" ] || { echo "no PostgreSQL server is installed" >&2; exit 1; }
    mkdir -p "$(dirname "$template")"
    [ -f "$template" ] || flock "$template.lock" "$0" template "$template"
    if [ "$(id -u)" = 0 ]; then
        chmod 0711 "$dir"
        mkdir "$dir/pg"
        chown postgres "$dir/pg"
    else
        mkdir "$dir/pg"
    fi
    tar -xf "$template" -C "$dir/pg"
    cd "$dir/pg"
    (exec_server "$bin/postgres" -D "$dir/pg/data" -c unix_socket_directories="$dir/pg" \
        -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
        -c max_connections=200 -c max_prepared_transactions=10 -c shared_buffers=32MB \
        -c log_line_prefix='%m [%p] %a ' "$@" >"$dir/postgres.log" 2>&1) &
    server=$!
    trap 'kill -QUIT $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir"; exit 0' \
        TERM INT EXIT
    until grep -q '^ready' "$dir/pg/data/postmaster.pid" 2>/dev/null; do
        kill -0 "$server" || { cat "$dir/postgres.log" >&2; exit 1; }
        sleep 0.02
    done
    echo "$bin" >"$dir/ready.half"
    mv "$dir/ready.half" "$dir/ready"
    serve_until "$owner"
}

# A test's own, which the test itself stops and starts again.
server() {
    dir=$1 owner=$2
    bin=$(bindir)
    cd "$dir"
    (exec_server "$bin/postgres" -D "$dir/data" -c unix_socket_directories="$dir" \
        -c listen_addresses= >>"$dir/log" 2>&1) &
    server=$!
    trap 'kill -QUIT $server 2>/dev/null; wait $server 2>/dev/null; exit 0' TERM INT
    {
        tail --pid="$owner" -s 0.2 -f /dev/null
        kill -QUIT $server 2>/dev/null
    } &
    watcher=$!
    wait $server || true
    kill $watcher 2>/dev/null || true
}

pgbouncer() {
    dir=$1 owner=$2 host=$3 size=$4 idle=600
    # A pool a database: those of earlier trials would fill the server.
    [ "$size" = 1 ] || idle=2
    work="$dir/bouncer"
    mkdir "$work"
    [ "$(id -u)" != 0 ] || chmod 0711 "$dir"
    cat >"$work/pgbouncer.ini" <<EOF
[databases]
* = host=$host
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $work
auth_type = trust
auth_file = $work/users
pool_mode = transaction
default_pool_size = $size
server_idle_timeout = $idle
max_client_conn = 300
admin_users = postgres
logfile = $work/log
pidfile = $work/pid
EOF
    # The roles of `neap help roles`, too.
    for role in postgres neap_migrator neap_host; do echo "\"$role\" \"\""; done >"$work/users"
    [ "$(id -u)" != 0 ] || chown -R postgres "$work"
    cd "$work"
    (exec_server "$(command -v pgbouncer || echo /usr/sbin/pgbouncer)" -q "$work/pgbouncer.ini" \
        >"$dir/pgbouncer.log" 2>&1) &
    server=$!
    trap 'kill -TERM $server 2>/dev/null; wait $server 2>/dev/null; exit 0' TERM INT EXIT
    until [ -S "$work/.s.PGSQL.6432" ]; do
        kill -0 "$server" || { cat "$dir/pgbouncer.log" "$work/log" >&2; exit 1; }
        sleep 0.02
    done
    : >"$dir/ready-pgbouncer"
    serve_until "$owner"
}

command=$1
shift
case $command in
postgres) postgres "$@" ;;
pgbouncer) pgbouncer "$@" ;;
server) server "$@" ;;
template)
    template=$1 bin=$(bindir)
    make_template
    ;;
*) echo "usage: services.sh postgres|pgbouncer DIR OWNER [MORE]" >&2 && exit 2 ;;
esac
