#!/usr/bin/env bash
# 200 look-ups of one expired name at once cost one conditional request.
# tsan
. "${srcdir:-.}/tests/web.sh"

mkdir -p "$served/d"
echo one >"$served/d/a.txt"
mount_web web_expiry=minutes=10
cat "$url/d/a.txt" >/dev/null
before=$(count_requests --path 'a\.txt')
set_clock 1700000700
set_faults '[{"server": "web", "match": "a\\.txt", "stall_headers": -1}]'
"$python" - "$url/d/a.txt" 200 <<'EOS' &
import os, sys, threading
path, n = sys.argv[1], int(sys.argv[2])
gate = threading.Barrier(n)
bad = []
def look():
    gate.wait()
    try:
        os.stat(path)
    except OSError as e:
        bad.append(e)
threads = [threading.Thread(target=look) for _ in range(n)]
for t in threads: t.start()
for t in threads: t.join()
sys.exit(1 if bad else 0)
EOS
readers=$!
wait_requests --path 'a\.txt' --count $((before + 1)) --timeout 20 ||
    fail "nobody asked"
touch "$origin_root/release"
wait "$readers" || fail "a look-up failed"
assert_equal "conditional requests" $((before + 1)) "$(count_requests --path 'a\.txt')"
unmount "$mnt"
