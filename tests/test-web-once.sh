#!/usr/bin/env bash
# The bytes that came with a look-up are not fetched again, nor mixed with those
# of a file that changed since.
# tap
. "${srcdir:-.}/tests/web.sh"

make_file "$served/d/mid.bin" 100K
make_file "$served/d/big.bin" 3M
make_file "$served/d/tail.bin" 3M
make_file "$served/d/plain.bin" 1M
mount_web

came() { # NAME BYTES
    assert_equal "bytes of $1" "$2" "$(body_bytes --path "$1")"
}
check_whole() {
    assert_same "$served/d/mid.bin" "$url/d/mid.bin"
    came mid 102400
    assert_same "$served/d/big.bin" "$url/d/big.bin"
    came big 3145728
}
check_from_the_end() {
    tail -c 100000 "$url/d/tail.bin" | cmp - <(tail -c 100000 "$served/d/tail.bin")
    assert_same "$served/d/tail.bin" "$url/d/tail.bin"
}
# Nothing tells whether they still belong together.
check_no_validator() {
    assert_same "$served/d/plain.bin" "$url/_/plain/d/plain.bin"
}
check_changed() {
    make_file "$served/d/changed.bin" 1M old
    stat "$url/d/changed.bin" >/dev/null
    make_file "$served/d/new" 1M new
    mv "$served/d/new" "$served/d/changed.bin"
    assert_same "$served/d/changed.bin" "$url/d/changed.bin"
}
check_many() {
    local i
    for i in {1..20}; do
        make_file "$served/d/many$i.bin" 80K
    done
    stat "$url/d/many"{1..20}.bin >/dev/null
    for i in {1..20}; do
        assert_same "$served/d/many$i.bin" "$url/d/many$i.bin"
    done
}
run_case "a file read from its beginning" check_whole
run_case "a file read from its end" check_from_the_end
run_case "a file without validators" check_no_validator
run_case "a file that changed since" check_changed
run_case "more files than heads are kept of" check_many
unmount "$mnt"
end_cases
