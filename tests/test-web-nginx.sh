#!/usr/bin/env bash
# A real nginx: ranges, pages of directories, compression on the fly.
# tap
. "${srcdir:-.}/tests/web.sh"
requires_command nginx

make_file "$served/d/big.bin" 20M
"$python" -c 'print("text to be compressed " * 20000)' >"$served/d/long.txt"
: >"$served/d/empty.bin"
mkdir -p "$served/d/v1.0"
echo one >"$served/d/v1.0/a.txt"
"$python" "$srcdir/tests/bench/nginx.py" --root "$served" --work "$tmp/nginx" \
    --info "$tmp/nginx.url" --gzip --log >"$tmp/nginx.log" 2>&1 &
origin_pids[$tmp/nginx]=$!
wait_until 20 test -s "$tmp/nginx.url" || fail "nginx did not start"
server=$(cat "$tmp/nginx.url")
url=$mnt/web/$server
mount_web web_expiry=hours=1

check_file() {
    assert_same "$served/d/big.bin" "$url/d/big.bin"
    tail -c 1000 "$url/d/big.bin" | cmp - <(tail -c 1000 "$served/d/big.bin")
    assert_equal "empty" 0 "$(stat -c %s "$url/d/empty.bin")"
    assert_equal "empty" "" "$(cat "$url/d/empty.bin")"
    assert_equal "mtime" "$(stat -c %Y "$served/d/big.bin")" \
        "$(stat -c %Y "$url/d/big.bin")"
}
check_directory() {
    [ -d "$url/d/v1.0" ] || fail "a directory"
    assert_equal "below it" one "$(cat "$url/d/v1.0/a.txt")"
    assert_absent "$url/d/none.txt"
}
check_text() {
    assert_same "$served/d/long.txt" "$url/d/long.txt"
}
# Renewed without a byte of a body.
check_expired() {
    : >"$tmp/nginx/access.log"
    set_clock 1700003700
    assert_same "$served/d/big.bin" "$url/d/big.bin"
    assert_same "$served/d/long.txt" "$url/d/long.txt"
    assert_equal "answers" "304 0 /d/big.bin 304 0 /d/long.txt" \
        "$(grep '[.]' "$tmp/nginx/access.log" | sort | paste -sd ' ')"
}
run_case "files" check_file
run_case "directories" check_directory
run_case "text" check_text
run_case "an expired file" check_expired
unmount "$mnt"
end_cases
