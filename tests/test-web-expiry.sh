#!/usr/bin/env bash
# Expiry is applied at the look-up: renewed by 304 without a body, replaced by
# 200 while old handles keep the old bytes, removed by 404.
# tsan
. "${srcdir:-.}/tests/web.sh"

make_file "$served/d/big.bin" 3M
echo one >"$served/d/small.txt"
echo gone >"$served/d/gone.txt"
echo bare >"$served/d/plain.txt"
mount_web web_expiry=seconds=60

check_fresh() {
    local before
    cat "$url/d/big.bin" "$url/d/small.txt" "$url/d/gone.txt" \
        "$url/_/plain/d/plain.txt" >/dev/null
    before=$(count_requests)
    set_clock 1700000059
    cat "$url/d/big.bin" "$url/d/small.txt" >/dev/null
    assert_equal "requests" "$before" "$(count_requests)"
}
check_renewed() {
    local before bytes ino
    before=$(count_requests --path 'd/(big|small)')
    bytes=$(body_bytes --path 'd/(big|small)')
    ino=$(stat -c %i "$url/d/big.bin")
    set_clock 1700000100
    assert_same "$served/d/big.bin" "$url/d/big.bin"
    assert_same "$served/d/small.txt" "$url/d/small.txt"
    assert_equal "requests" $((before + 2)) "$(count_requests --path 'd/(big|small)')"
    assert_equal "body bytes" "$bytes" "$(body_bytes --path 'd/(big|small)')"
    assert_equal "inode" "$ino" "$(stat -c %i "$url/d/big.bin")"
    set_clock 1700000150
    cat "$url/d/big.bin" >/dev/null
    assert_equal "requests" $((before + 2)) "$(count_requests --path 'd/(big|small)')"
}
check_replaced() {
    local old new
    old=$(sha256sum <"$served/d/big.bin")
    exec {fd}<"$url/d/big.bin"
    head -c 1000 <&"$fd" >"$tmp/head"
    make_file "$served/d/big.new" 2M another
    new=$(sha256sum <"$served/d/big.new")
    mv "$served/d/big.new" "$served/d/big.bin"
    echo second >"$served/d/small.new"
    mv "$served/d/small.new" "$served/d/small.txt"
    set_clock 1700000220
    assert_equal "the new size" 2097152 "$(stat -c %s "$url/d/big.bin")"
    assert_equal "the new bytes" "$new" "$(sha256sum <"$url/d/big.bin")"
    assert_equal "the new bytes" second "$(cat "$url/d/small.txt")"
    assert_equal "the old handle" "$old" \
        "$({ cat "$tmp/head"; cat <&"$fd"; } | sha256sum)"
    exec {fd}<&-
}
check_removed() {
    rm "$served/d/gone.txt"
    set_clock 1700000300
    assert_absent "$url/d/gone.txt"
    # A negative answer ends, too.
    echo back >"$served/d/gone.txt"
    assert_absent "$url/d/gone.txt"
    set_clock 1700000370
    assert_equal "it is back" back "$(cat "$url/d/gone.txt")"
}
check_same_bytes() {
    local ino
    cat "$url/_/plain/d/plain.txt" >/dev/null
    ino=$(stat -c %i "$url/_/plain/d/plain.txt")
    set_clock 1700000450
    assert_equal "without validators" bare "$(cat "$url/_/plain/d/plain.txt")"
    assert_equal "inode" "$ino" "$(stat -c %i "$url/_/plain/d/plain.txt")"
}
check_back() {
    local before
    cat "$url/d/small.txt" >/dev/null
    before=$(count_requests --path small)
    set_clock 1600000000
    cat "$url/d/small.txt" >/dev/null
    assert_equal "requests after the clock was set back" $((before + 1)) \
        "$(count_requests --path small)"
}
check_remount() {
    local before
    unmount "$mnt"
    before=$(count_requests --path small)
    mount_web web_expiry=seconds=60
    cat "$url/d/small.txt" >/dev/null
    assert_equal "requests while it is fresh" "$before" \
        "$(count_requests --path small)"
    set_clock 1600000061
    cat "$url/d/small.txt" >/dev/null
    assert_equal "requests when it is not" $((before + 1)) \
        "$(count_requests --path small)"
    unmount "$mnt"
}
check_forever() {
    local before
    unmount "$mnt"
    mount_web web_expiry=forever
    set_clock 1900000000
    before=$(count_requests --path small)
    cat "$url/d/small.txt" >/dev/null
    set_clock 100
    cat "$url/d/small.txt" >/dev/null
    assert_equal "requests" "$before" "$(count_requests --path small)"
    unmount "$mnt"
}
check_at_once() {
    mount_web web_expiry=seconds=0
    assert_equal "bytes" second "$(cat "$url/d/small.txt")"
    echo third >"$served/d/small.new"
    mv "$served/d/small.new" "$served/d/small.txt"
    wait_until 5 content_is "$url/d/small.txt" third
    assert_same "$served/d/big.bin" "$url/d/big.bin"
    unmount "$mnt"
}
check_fresh
check_renewed
check_replaced
check_removed
check_same_bytes
check_back
check_remount
mount_web web_expiry=seconds=60
check_forever
check_at_once
