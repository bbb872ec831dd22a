#!/usr/bin/env bash
# An original that changes while it is fetched: bytes are never mixed, and the
# next look-up has the new file, however fresh the old one was.
# tap
. "${srcdir:-.}/tests/web.sh"
mount_web web_expiry=forever

# replaced SIZE: reads a part of a 4 MiB file, which then becomes another one.
check_replaced() {
    local name=$1.bin
    make_file "$served/d/$name" 4M old
    set_faults "[{\"match\": \"$name\", \"truncate_at\": 1000000,
        \"stall_body_at\": 1000000, \"stall\": -1, \"times\": 2}]"
    exec {fd}<"$url/d/$name"
    head -c 100000 <&"$fd" | cmp - <(head -c 100000 "$served/d/$name")
    make_file "$served/d/new" "$1" new
    mv "$served/d/new" "$served/d/$name"
    touch "$origin_root/release"
    clear_faults
    ! cat <&"$fd" >"$tmp/rest" 2>/dev/null ||
        assert_same "$tmp/rest" <(make_file "$tmp/old" 4M old; tail -c +100001 "$tmp/old")
    exec {fd}<&-
    rm -f "$origin_root/release"
    wait_until 10 cmp -s "$served/d/$name" "$url/d/$name"
}
# The rest of what came before it changed is not taken from the new one.
check_first_piece() {
    make_file "$served/d/first.bin" 400K old
    stat "$url/d/first.bin" >/dev/null
    origin_log clear
    set_faults '[{"match": "first", "truncate_at": 100000, "times": 1},
        {"match": "first", "stall_headers": -1, "times": 1}]'
    cat "$url/d/first.bin" >"$tmp/first" 2>/dev/null &
    reader=$!
    wait_requests --path first --count 2 --timeout 20
    make_file "$served/d/new" 400K new
    cp "$served/d/first.bin" "$tmp/first.old"
    mv "$served/d/new" "$served/d/first.bin"
    touch "$origin_root/release"
    wait "$reader" && {
        cmp -s "$tmp/first" "$served/d/first.bin" ||
            assert_same "$tmp/first" "$tmp/first.old"
    }
    rm -f "$origin_root/release"
    wait_until 10 cmp -s "$served/d/first.bin" "$url/d/first.bin"
}
check_gone() {
    make_file "$served/d/gone.bin" 4M
    stat "$url/d/gone.bin" >/dev/null
    rm "$served/d/gone.bin"
    cat "$url/d/gone.bin" >/dev/null 2>&1 && fail "it is not there"
    wait_until 10 test ! -e "$url/d/gone.bin"
}
run_case "by one of the same size" check_replaced 4M
run_case "by a shorter one" check_replaced 3M
run_case "by a longer one" check_replaced 5M
run_case "within its first 256 KiB" check_first_piece
run_case "by nothing" check_gone
unmount "$mnt"
end_cases
