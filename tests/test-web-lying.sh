#!/usr/bin/env bash
# A server that sends far more or far less than it promised gets no further than
# its promise, or EIO, in bounded time.
# tap
. "${srcdir:-.}/tests/web.sh"

mkdir -p "$served/d"
truncate -s 10G "$served/d/more.bin"
printf 0123456789 >"$served/d/less.bin"
printf 0123456789 >"$served/d/part.bin"
make_file "$served/d/shifted.bin" 200K
mount_web timeout=seconds=2,max_unsized=16M

check_more() {
    set_faults '[{"match": "more", "ignore_range": true, "overrun": true,
        "length_delta": -10737418230}]'
    assert_equal "size" 10 "$(stat -c %s "$url/d/more.bin")"
    assert_equal "bytes" 10 "$(wc -c <"$url/d/more.bin")"
    [ "$(body_bytes --path more)" -lt 20000000 ] || fail "all of it was taken"
}
check_more_unsized() {
    set_faults '[{"match": "more", "ignore_range": true,
        "drop_header": "Content-Length"}]'
    assert_error "File too large" stat "$mnt/web/$(single "$web/d/more.bin?x")"
}
check_less() {
    set_faults '[{"match": "less", "ignore_range": true,
        "length_delta": 10737418230}]'
    assert_equal "size" 10737418240 "$(stat -c %s "$url/d/less.bin")"
    assert_error "Input/output error" cat "$url/d/less.bin"
}
check_less_part() {
    set_faults '[{"match": "part", "length_delta": 10737418230}]'
    assert_error "Input/output error" cat "$url/d/part.bin"
}
check_shifted() {
    set_faults '[{"match": "shifted", "wrong_range": 100}]'
    assert_error "Input/output error" cat "$url/d/shifted.bin"
}
run_case "10 GB where it promised 10 bytes" check_more
run_case "10 GB without a promise" check_more_unsized
run_case "10 bytes where it promised 10 GB" check_less
run_case "10 bytes of a range of 10 GB" check_less_part
run_case "another range" check_shifted
unmount "$mnt"
end_cases
