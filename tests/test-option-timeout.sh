#!/usr/bin/env bash
# A read of a file of which no byte comes for timeout= fails then, not before.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
make_file "$tmp/source/model.bin" 3M
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
file=$tmp/mnt/hf/hub/models--org--name/snapshots/$commit/model.bin
set_faults '[{"server": "cdn", "match": "^GET", "stall_headers": -1}]'
mount_ready "$tmp/store" "$tmp/mnt" timeout=seconds=3
stat -L "$file" >/dev/null
begin=${EPOCHREALTIME/[.,]/}
if said=$(cat "$file" 2>&1 >/dev/null); then
    fail "a read without bytes succeeded"
fi
took=$((${EPOCHREALTIME/[.,]/} - begin))
assert_match "the error" "Input/output error|Connection timed out" "$said"
[ "$took" -ge 2500000 ] || fail "it gave up after $took us instead of 3 s"
[ "$took" -lt 15000000 ] || fail "it gave up only after $took us"
clear_faults
touch "$origin_root/release"
wait_until 15 cmp -s "$file" "$tmp/source/model.bin" ||
    fail "the file cannot be read when the server is well again"
unmount "$tmp/mnt"
