#!/usr/bin/env bash
# What is expired is not shown when its server can't be reached, but with
# stale=on-error; offline nothing is asked at all.
# tap
. "${srcdir:-.}/tests/web.sh"

make_file "$served/d/big.bin" 1M
echo one >"$served/d/a.txt"
mount_web web_expiry=minutes=10
cp "$url/d/a.txt" "$url/d/big.bin" "$tmp/"
unmount "$mnt"

check_offline() {
    local before
    before=$(count_requests)
    mount_web web_expiry=minutes=10,offline
    assert_equal "cached" one "$(cat "$url/d/a.txt")"
    assert_same "$served/d/big.bin" "$url/d/big.bin"
    assert_error "No such file" cat "$url/d/b.txt"
    assert_equal "requests" "$before" "$(count_requests)"
    unmount "$mnt"
}
check_fails() { # MESSAGE
    assert_error "$1" cat "$url/d/a.txt"
    assert_error "$1" cat "$url/d/big.bin"
}
is_denied() {
    [[ $(LC_ALL=C cat "$url/d/a.txt" 2>&1) == *"Permission denied"* ]]
}
check_status() {
    mount_web web_expiry=minutes=10
    set_faults '[{"server": "web", "status": 500}]'
    check_fails "Input/output error"
    clear_faults
    set_faults '[{"server": "web", "match": "d/", "status": 403}]'
    # What failed a moment ago is not asked again at once.
    wait_until 15 is_denied
    clear_faults
    unmount "$mnt"
}
check_stale() {
    mount_web web_expiry=minutes=10,stale=on-error
    assert_equal "stale" one "$(cat "$url/d/a.txt")"
    assert_same "$tmp/big.bin" "$url/d/big.bin"
    assert_error "Input/output error" cat "$url/d/b.txt"
    unmount "$mnt"
}
check_never() {
    mount_web web_expiry=minutes=10
    check_fails "Input/output error"
    unmount "$mnt"
}
run_case "offline" check_offline
set_clock 1700000700
run_case "a server that fails" check_status
stop_origin
run_case "stale=on-error" check_stale
run_case "stale=never" check_never
mount_web web_expiry=minutes=10,offline
assert_error "No such file" cat "$url/d/a.txt"
unmount "$mnt"
end_cases
