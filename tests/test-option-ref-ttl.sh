#!/usr/bin/env bash
# A branch is believed for hf_ref_ttl, then answered at once and asked again.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo one >"$tmp/source/config.json"
start_origin "$tmp/origin"
first=$(make_repo model org/name --from "$tmp/source")
ref=$tmp/mnt/hf/hub/models--org--name/refs/main
date +%s >"$tmp/clock"

is_now() {
    [ "$(cat "$ref")" = "$1" ]
}

set_clock() { # SECONDS from now
    echo $(($(cat "$tmp/clock") + $1)) >"$tmp/clock.new"
    mv "$tmp/clock.new" "$tmp/clock"
}

mount_ready "$tmp/store" "$tmp/mnt" \
    "clock_file=$tmp/clock,hf_ref_ttl=minutes=2"
assert_equal "main" "$first" "$(cat "$ref")"
echo two >"$tmp/source/config.json"
second=$(make_repo model org/name --from "$tmp/source")
origin_log clear
set_clock 100
assert_equal "main within its time" "$first" "$(cat "$ref")"
assert_equal "requests within its time" 0 "$(count_requests --server hub)"
set_clock 30
wait_until 10 is_now "$second" || fail "main stays what it was"
unmount "$tmp/mnt"

echo three >"$tmp/source/config.json"
third=$(make_repo model org/name --from "$tmp/source")
mount_ready "$tmp/store" "$tmp/mnt" \
    "clock_file=$tmp/clock,hf_ref_ttl=forever"
set_clock 100000000
origin_log clear
assert_equal "main, believed forever" "$second" "$(cat "$ref")"
assert_equal "requests with forever" 0 "$(count_requests --server hub)"
unmount "$tmp/mnt"

mount_ready "$tmp/store" "$tmp/mnt" \
    "clock_file=$tmp/clock,hf_ref_ttl=seconds=0"
wait_until 10 is_now "$third" || fail "hf_ref_ttl=seconds=0 never asks"
unmount "$tmp/mnt"
