#!/usr/bin/env bash
# kill -9: what was known is known, half a file goes on, a torn index and wrong
# bytes are not believed.
. "${srcdir:-.}/tests/web.sh"

make_file "$served/d/big.bin" 8M
echo one >"$served/d/a.txt"
echo two >"$served/d/b.txt"
mount_web
cat "$url/d/a.txt" "$url/d/b.txt" >/dev/null
set_faults '[{"match": "big", "stall_body_at": 6000000, "stall": -1}]'
exec {fd}<"$url/d/big.bin"
head -c 5000000 <&"$fd" >/dev/null
kill_daemon "$mnt"
exec {fd}<&-
clear_faults

printf 'F\thttp%%3A/torn' >>"$store/.mlcachefs/web/index"
for body in "$store/.mlcachefs/web/bodies/"*; do
    [ "$(cat "$body")" != two ] || echo owt >"$body"
done
touch "$store/.mlcachefs/web/bodies/0123456789abcdef"
before=$(body_bytes --path big)
mount_web
assert_equal "known" one "$(cat "$url/d/a.txt")"
assert_equal "asked once" 1 "$(count_requests --path 'a\.txt')"
assert_equal "wrong bytes are fetched anew" two "$(cat "$url/d/b.txt")"
assert_same "$served/d/big.bin" "$url/d/big.bin"
[ $(($(body_bytes --path big) - before)) -lt 6000000 ] || fail "it began anew"
assert_absent "$store/.mlcachefs/web/bodies/0123456789abcdef"
unmount "$mnt"
mount_web
assert_equal "known" one "$(cat "$url/d/a.txt")"
assert_equal "asked once" 1 "$(count_requests --path 'a\.txt')"

# What was replaced while somebody read it is freed at the next start.
make_file "$served/d/old.bin" 8M
set_faults '[{"match": "old", "stall_body_at": 6000000, "stall": -1}]'
exec {fd}<"$url/d/old.bin"
head -c 5000000 <&"$fd" >/dev/null
make_file "$served/d/new" 7M new
mv "$served/d/new" "$served/d/old.bin"
set_clock 1700050000
assert_equal "the new size" 7340032 "$(stat -c %s "$url/d/old.bin")"
[ -n "$(names_in "$store/.mlcachefs/objects")" ] || fail "this shows nothing"
kill_daemon "$mnt"
exec {fd}<&-
clear_faults
mount_web
assert_equal "partial bytes" "" "$(names_in "$store/.mlcachefs/objects")"
assert_same "$served/d/old.bin" "$url/d/old.bin"
unmount "$mnt"

# A NUL in the middle of the index costs what stands behind it, once.
"$python" -c '
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(file.read().index(b"a.txt"))
    file.write(b"\0")' "$store/.mlcachefs/web/index"
mount_web
echo three >"$served/d/c.txt"
assert_equal "fetched behind it" three "$(cat "$url/d/c.txt")"
unmount "$mnt"
mount_web
assert_equal "known" three "$(cat "$url/d/c.txt")"
assert_equal "asked once" 1 "$(count_requests --path 'c\.txt')"
unmount "$mnt"
