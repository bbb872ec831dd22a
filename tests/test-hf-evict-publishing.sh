#!/usr/bin/env bash
# rm -r right after the last byte was read, while the file is on its way home,
# succeeds, and nothing of it comes back by itself.  (Large: moving home must
# take a moment.)
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir -p "$tmp/source"
make_file "$tmp/source/big.bin" 600M
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
mount_ready "$tmp/store" "$tmp/mnt"
hub=$tmp/mnt/hf/hub
repo=$hub/models--org--name

nothing_on_disk() {
    [ -z "$(find "$tmp/store/hf/hub" "$tmp/store/.mlcachefs/objects" \
        -type f)" ]
}

cat "$repo/snapshots/$commit/big.bin" >"$tmp/got"
assert_same "$tmp/source/big.bin" "$tmp/got"
rm -r "$repo" || fail "rm -r failed"
wait_until 20 nothing_on_disk
assert_equal "the hub" "" "$(names_in "$hub")"
unmount "$tmp/mnt"
