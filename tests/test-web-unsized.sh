#!/usr/bin/env bash
# A body without a length is fetched at the look-up, up to max_unsized.
# tap
. "${srcdir:-.}/tests/web.sh"

make_file "$served/d/small.bin" 1K
make_file "$served/d/mid.bin" 5M
make_file "$served/d/large.bin" 9M
make_file "$served/d/x.tar.gz" 300K
mount_web max_unsized=8M,timeout=seconds=5,web_expiry=hours=1

check_kind() { # KIND
    assert_equal "size" 5242880 "$(stat -c %s "$url/_/$1/d/mid.bin")"
    assert_same "$served/d/mid.bin" "$url/_/$1/d/mid.bin"
    assert_same "$served/d/small.bin" "$url/_/$1/d/small.bin"
}
check_raw() {
    # A name that says so: the bytes as they are sent.
    [ "$(head -c 2 "$url/_/gzip/d/x.tar.gz" | od -An -tx1)" = " 1f 8b" ] ||
        fail "was decompressed"
}
check_large() {
    assert_error "File too large" stat "$url/_/chunked/d/large.bin"
    assert_error "File too large" stat "$url/_/gzip/d/large.bin"
    grep -q 'max_unsized' "$tmp/daemon.log" || fail "no line in the log"
    assert_equal "bodies left" 5 "$(bodies)"
}
check_renewed() {
    local before
    before=$(body_bytes --path mid)
    set_clock 1700004000
    assert_same "$served/d/mid.bin" "$url/_/chunked/d/mid.bin"
    assert_equal "body bytes" "$before" "$(body_bytes --path mid)"
}
# Nothing comes any more, and nobody waits: not for timeout= either.
check_interrupt() {
    local pid
    # The first request tells that there is no length; the second one stalls.
    set_faults '[{"match": "chunked/d/mid", "stall_body_at": 200000, "stall": -1}]'
    "$python" -c 'import os, sys; os.stat(sys.argv[1])' \
        "$url/_/chunked/d/mid.bin?1" 2>/dev/null &
    pid=$!
    wait_requests --count 2 --path 'mid\.bin\?1' --timeout 20
    kill -KILL "$pid"
    wait_until 10 pid_is_gone "$pid" || fail "it hangs"
    wait "$pid" 2>/dev/null || true
    clear_faults
    assert_equal "requests that ended" 2 \
        "$(count_requests --path 'mid\.bin\?1' --settle 30)"
    assert_same "$served/d/mid.bin" "$url/_/chunked/d/mid.bin?1"
}
check_broken_once() {
    # The look-up's own request is cut, too.
    set_faults '[{"match": "chunked/d/mid\\.bin\\?4", "truncate_at": 300000, "times": 2}]'
    assert_same "$served/d/mid.bin" "$url/_/chunked/d/mid.bin?4"
    assert_equal "requests" 3 "$(count_requests --path 'mid\.bin\?4')"
    clear_faults
}
check_busy() {
    set_faults '[{"match": "chunked/d/mid\\.bin\\?5", "stall_body_at": 100000, "stall": 0, "times": 1},
        {"match": "chunked/d/mid\\.bin\\?5", "status": 503, "times": 2}]'
    assert_same "$served/d/mid.bin" "$url/_/chunked/d/mid.bin?5"
    clear_faults
}
check_broken() {
    set_faults '[{"match": "chunked/d/mid\\.bin\\?2", "truncate_at": 300000}]'
    assert_error "Input/output error" stat "$url/_/chunked/d/mid.bin?2"
    clear_faults
}
check_stalled() {
    set_faults '[{"match": "chunked/d/mid\\.bin\\?3", "stall_body_at": 300000, "stall": -1}]'
    assert_error "Connection timed out" stat "$url/_/chunked/d/mid.bin?3"
    clear_faults
}
run_case "chunked" check_kind chunked
run_case "compressed" check_kind gzip
run_case "compressed by its name" check_raw
run_case "beyond max_unsized" check_large
run_case "renewed by 304" check_renewed
run_case "cut short once" check_broken_once
run_case "cut short always" check_broken
run_case "a server that is busy in between" check_busy
run_case "stalled" check_stalled
unmount "$mnt"
mount_web max_unsized=8M
run_case "after a remount" check_kind chunked
run_case "interrupted" check_interrupt
unmount "$mnt"
end_cases
