#!/usr/bin/env bash
# Where one connection is slow, several are used, and the file comes sooner.
# timeout: 180
. "${srcdir:-.}/tests/fetch.sh"
PATH=$PATH:/usr/sbin
requires_command nginx

port=$("$python" -c 'import socket
s = socket.socket()
s.bind(("127.0.0.2", 0))
print(s.getsockname()[1])')
serve --cdn-url "http://127.0.0.2:$port" -- big.bin=128M
mkdir "$tmp/nginx"
cat >"$tmp/nginx.conf" <<EOS
$([ "$(id -u)" != 0 ] || echo 'user root;')
daemon off;
worker_processes 1;
pid $tmp/nginx/pid;
error_log $tmp/nginx/error.log;
events { }
http {
    access_log $tmp/nginx/access.log;
    client_body_temp_path $tmp/nginx;
    proxy_temp_path $tmp/nginx;
    fastcgi_temp_path $tmp/nginx;
    uwsgi_temp_path $tmp/nginx;
    scgi_temp_path $tmp/nginx;
    server {
        listen 127.0.0.2:$port;
        root $origin_root/objects;
        limit_rate 24m;
    }
}
EOS
nginx -c "$tmp/nginx.conf" -p "$tmp/nginx" &
on_exit end_process $! 5
nginx_answers() {
    "$python" -c 'import socket, sys
socket.create_connection(("127.0.0.2", int(sys.argv[1])))' "$port" 2>/dev/null
}
wait_until 10 nginx_answers

timed() { # CONNECTIONS
    local begin
    mount_ready "$tmp/store$1" "$mnt" "connections=$1"
    stat -L "$files/big.bin" >/dev/null
    : >"$tmp/nginx/access.log"
    begin=$(now_ms)
    reader many 1 "$source/big.bin" "$files/big.bin"
    took=$(($(now_ms) - begin))
    requests=$(wc -l <"$tmp/nginx/access.log")
    unmount "$mnt"
}

timed 1
one=$took
timed 4
echo "1 connection: $one ms; 4: $took ms ($requests requests);" \
    "$((one * 100 / took))% of the speed"
[ "$requests" -gt 1 ] || fail "only one connection was used"
