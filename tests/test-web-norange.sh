#!/usr/bin/env bash
# A server without ranges: the look-up ends at the headers, then one stream
# brings the file, and who reads further on waits for it.
. "${srcdir:-.}/tests/web.sh"

make_file "$served/d/big.bin" 8M
make_file "$served/d/small.bin" 20K
mount_web
file=$url/_/norange/d/big.bin
assert_equal "the size" 8388608 "$(stat -c %s "$file")"
[ "$(body_bytes --path 'big\.bin')" -lt 2000000 ] || fail "the look-up took the body"
exec {fd}<"$file"
cmp <(tail -c 1000 "$file") <(tail -c 1000 "$served/d/big.bin")
assert_same "$served/d/big.bin" "$file"
exec {fd}<&-
assert_equal "requests" 2 "$(count_requests --path 'big\.bin')"
assert_same "$served/d/small.bin" "$url/_/norange/d/small.bin"
assert_equal "requests" 1 "$(count_requests --path 'small\.bin')"
unmount "$mnt"
