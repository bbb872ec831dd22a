#!/usr/bin/env bash
# Thousands of files are listed, and freed when they expire, though nobody looks
# them up.
# timeout: 300
. "${srcdir:-.}/tests/web.sh"

n=10000
[ "${MLC_TEST_SLOWNESS:-1}" = 1 ] || n=1000
"$python" - "$served/many" "$n" <<'EOS'
import os, sys
os.makedirs(sys.argv[1])
for i in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/{i}.txt", "w") as f:
        f.write(f"{i}\n")
EOS
mount_web web_expiry=hours=1
"$python" - "$url/many" "$n" <<'EOS'
import sys
from concurrent.futures import ThreadPoolExecutor
def read(i):
    with open(f"{sys.argv[1]}/{i}.txt") as f:
        assert f.read() == f"{i}\n"
with ThreadPoolExecutor(16) as pool:
    list(pool.map(read, range(int(sys.argv[2]))))
EOS
assert_equal "listed" "$n" "$(find "$url/many" -type f | wc -l)"
assert_equal "bodies" "$n" "$(bodies)"
unmount "$mnt"

before=$(count_requests)
mount_web web_expiry=hours=1
assert_equal "listed after a remount" "$n" "$(find "$url/many" -type f | wc -l)"
assert_equal "requests" "$before" "$(count_requests)"
# Just expired: kept for those who come a little late.
set_clock 1700003700
cat "$mnt/.mlcachefs/status.json" >/dev/null
assert_equal "listed when expired" "" "$(ls "$url" 2>/dev/null)"
set_clock 1700010000
cat "$mnt/.mlcachefs/status.json" >/dev/null
wait_until 20 bodies_are 0
unmount "$mnt"
[ "$(wc -c <"$store/.mlcachefs/web/index")" -lt 1000 ] ||
    fail "the index was not written anew"
