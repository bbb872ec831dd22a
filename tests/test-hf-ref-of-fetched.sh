#!/usr/bin/env bash
# A ref that is asked for when the files of its commit are there already is kept
# on disk too: without the mount, a client finds them by that name.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
echo one >"$tmp/repo/config.json"
cache=hf/hub/models--someone--tiny
sha=$(make_repo model someone/tiny --from "$tmp/repo" --tag release/1)
ref=$cache/refs/release/1

mount_ready "$tmp/store" "$tmp/mnt"
assert_equal "main" "$sha" "$(cat "$tmp/mnt/$cache/refs/main")"
assert_same "$tmp/repo/config.json" \
    "$tmp/mnt/$cache/snapshots/$sha/config.json"
wait_until 10 test -e "$tmp/store/$cache/refs/main"
assert_equal "the tag" "$sha" "$(cat "$tmp/mnt/$ref")"
# Known by now, and what lies on disk says the same.
assert_equal "the tag" "$sha" "$(cat "$tmp/mnt/$ref")"
unmount "$tmp/mnt"
assert_equal "main on disk" "$sha" "$(cat "$tmp/store/$cache/refs/main")"
assert_equal "the tag on disk" "$sha" "$(cat "$tmp/store/$ref")"

# Nothing of it is there: nothing is made.
rm -rf "$tmp/store"
mount_ready "$tmp/store" "$tmp/mnt"
assert_equal "the tag" "$sha" "$(cat "$tmp/mnt/$ref")"
unmount "$tmp/mnt"
assert_absent "$tmp/store/$cache"
