#!/usr/bin/env bash
# Offline, what is cached works without a request, and nothing else is there.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
for name in read unread; do
    make_file "$tmp/repo/$name.bin" 2M
done
echo '{}' >"$tmp/repo/config.json"
sha=$(make_repo model someone/tiny --from "$tmp/repo")
make_repo model someone/other --from "$tmp/repo" >/dev/null
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--someone--tiny
assert_equal "refs/main" "$sha" "$(cat "$repo/refs/main")"
assert_same "$tmp/repo/read.bin" "$repo/snapshots/$sha/read.bin"
unmount "$tmp/mnt"

origin_log clear
mount_ready "$tmp/store" "$tmp/mnt" offline
assert_equal "refs/main" "$sha" "$(cat "$repo/refs/main")"
assert_same "$tmp/repo/read.bin" "$repo/snapshots/$sha/read.bin"
assert_error "No such file" cat "$repo/snapshots/$sha/unread.bin"
assert_error "No such file" stat -L "$repo/snapshots/$sha/config.json"
assert_error "No such file" stat "$tmp/mnt/hf/hub/models--someone--other"
assert_error "No such file" stat "$repo/refs/other"
assert_error "No such file" \
    stat "$repo/snapshots/0123456789012345678901234567890123456789"
assert_equal "listing of the commit" read.bin "$(ls "$repo/snapshots/$sha")"
assert_equal "listing of hub" models--someone--tiny "$(ls "$tmp/mnt/hf/hub")"
echo note >"$tmp/mnt/hf/note"
assert_equal "requests" 0 "$(count_requests)"
unmount "$tmp/mnt"
