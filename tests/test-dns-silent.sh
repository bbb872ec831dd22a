#!/usr/bin/env bash
# timeout: 60
# A DNS server that never answers delays look-ups by their budget, and nothing
# else: the root, local files and the unmount do not wait for it.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_command unshare
[ "$(id -u)" = 0 ] || skip "only root can bind a resolv.conf"
unshare -m true 2>/dev/null || skip "no mount namespace can be made"

# It takes what is sent to port 53 of an address of its own, and is silent.
"$python" - "$tmp/dns" <<'EOS' &
import os, signal, socket, sys
for last in range(2, 250):
    try:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((f"127.0.53.{last}", 53))
        break
    except OSError:
        udp.close()
else:
    sys.exit("no address to bind")
with open(sys.argv[1] + ".tmp", "w") as f:
    f.write(f"nameserver 127.0.53.{last}\noptions timeout:30 attempts:5\n")
os.rename(sys.argv[1] + ".tmp", sys.argv[1])
udp.recv(512)
open(sys.argv[1] + ".asked", "w").close()
signal.pause()
EOS
dns=$!
on_exit kill "$dns"
wait_until 20 test -s "$tmp/dns" || skip "port 53 can't be bound"
printf 'hosts: files dns\n' >"$tmp/nsswitch"

mkdir "$tmp/mnt"
cat >"$tmp/inside.sh" <<'EOS'
. "$srcdir/tests/functions.sh"
tmp=$1
mount --bind "$tmp/dns" /etc/resolv.conf
mount --bind "$tmp/nsswitch" /etc/nsswitch.conf
export HF_ENDPOINT=http://hub.example HF_HUB_ETAG_TIMEOUT=5
mount_ready "$tmp/store" "$tmp/mnt"
cat "$tmp/mnt/hf/hub/models--org--name/refs/main" 2>"$tmp/said" &
reader=$!
wait_until 20 test -e "$tmp/dns.asked"
ls "$tmp/mnt" "$tmp/mnt/hf" >/dev/null
echo note >"$tmp/mnt/hf/note"
stat -f "$tmp/mnt" >/dev/null
kill -0 "$reader" || fail "local operations waited as long as the look-up"
wait "$reader" && fail "a silent DNS server gave an answer"
grep -Eq "timed out|Input/output error|No route" "$tmp/said" ||
    fail "another error: $(cat "$tmp/said")"
cat "$tmp/mnt/hf/hub/models--org--other/refs/main" 2>/dev/null &
reader=$!
begin=${EPOCHREALTIME/[.,]/}
unmount "$tmp/mnt"
[ $((${EPOCHREALTIME/[.,]/} - begin)) -lt 5000000 ] ||
    fail "the unmount waited for DNS"
wait "$reader" || true
EOS
unshare -m bash "$tmp/inside.sh" "$tmp"
