#!/usr/bin/env bash
# A branch that moves is seen after hf_ref_ttl, never in pieces, and stays as it
# is while the Hub can't be reached.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

now=2000000000
set_clock() {
    echo $((now += $1)) >"$tmp/clock.new"
    mv "$tmp/clock.new" "$tmp/clock"
}

main_is() {
    [ "$(cat "$repo/refs/main")" = "$1" ]
}

set_clock 0
start_origin
mkdir "$tmp/old" "$tmp/new"
make_file "$tmp/old/model.bin" 2M old
make_file "$tmp/new/model.bin" 2M new
old=$(make_repo model someone/moves --from "$tmp/old")
mount_ready "$tmp/store" "$tmp/mnt" "clock_file=$tmp/clock"
repo=$tmp/mnt/hf/hub/models--someone--moves
assert_equal "refs/main" "$old" "$(cat "$repo/refs/main")"

new=$(make_repo model someone/moves --from "$tmp/new")
origin_log clear
set_clock 299
assert_equal "refs/main, still believed" "$old" "$(cat "$repo/refs/main")"
assert_equal "requests" 0 "$(count_requests)"
set_clock 2
wait_until 10 main_is "$new" || fail "the branch's new commit is never seen"
assert_same "$tmp/old/model.bin" "$repo/snapshots/$old/model.bin"
assert_same "$tmp/new/model.bin" "$repo/snapshots/$new/model.bin"
assert_equal "requests for the branch" 1 "$(count_requests --path /revision/)"

# A commit that the Hub has but nobody named before.
direct=$(make_repo model someone/moves --from "$tmp/old" --branch other)
assert_same "$tmp/old/model.bin" "$repo/snapshots/$direct/model.bin"
assert_error "No such file" \
    stat "$repo/snapshots/0123456789012345678901234567890123456789"

# Failing, not answering, gone: the ref stays.
set_faults '[{"server": "hub", "match": "/revision/", "status": 401}]'
set_clock 400
# The kernel, whose clock is another, asks once a second at most.
is_asked_again() {
    assert_equal "refs/main when refused" "$new" "$(cat "$repo/refs/main")"
    [ "$(count_requests --path /revision/main)" -ge 2 ]
}
wait_until 10 is_asked_again
clear_faults
stop_origin
set_clock 400
assert_equal "refs/main, Hub gone" "$new" "$(cat "$repo/refs/main")"
unmount "$tmp/mnt"
set_clock 400
mount_ready "$tmp/store" "$tmp/mnt" "clock_file=$tmp/clock"
assert_equal "refs/main, Hub gone, remounted" "$new" "$(cat "$repo/refs/main")"
assert_same "$tmp/new/model.bin" "$repo/snapshots/$new/model.bin"
unmount "$tmp/mnt"
