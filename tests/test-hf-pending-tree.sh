#!/usr/bin/env bash
# While the pages of a long listing are coming, single paths are asked for by
# themselves, and none is said to be absent because its page is not there yet.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin "$tmp/origin" --page-size 10
mkdir -p "$tmp/repo/z/deep"
for ((i = 0; i < 30; i++)); do
    echo "$i" >"$tmp/repo/a$i.txt"
done
make_file "$tmp/repo/z/deep/model.bin" 2M
echo '{}' >"$tmp/repo/z/deep/a + b#1.json"
sha=$(make_repo model someone/long --from "$tmp/repo")
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--someone--long
snapshot=$repo/snapshots/$sha

set_faults '[{"server": "hub", "match": "cursor=", "stall_headers": -1}]'
[ -d "$snapshot" ] || fail "the commit is not there"
wait_requests --path cursor= --count 1
assert_equal "the commit is listed" "$sha" "$(ls "$repo/snapshots")"
assert_same "$tmp/repo/z/deep/model.bin" "$snapshot/z/deep/model.bin"
assert_same "$tmp/repo/z/deep/a + b#1.json" "$snapshot/z/deep/a + b#1.json"
assert_same "$tmp/repo/a3.txt" "$snapshot/a3.txt"
assert_absent "$snapshot/z/none.txt"
assert_absent "$repo/.no_exist/$sha/z/deep/model.bin"
assert_absent "$repo/.no_exist/$sha/none.txt"
assert_equal "requests for single paths" 6 "$(count_requests --path paths-info)"
assert_same "$tmp/repo/a3.txt" "$snapshot/a3.txt"
[ -d "$snapshot/z/deep" ] || fail "a directory is none"
assert_equal "requests for single paths" 6 "$(count_requests --path paths-info)"
assert_equal "requests for other pages" 0 "$(count_requests --settle 0 \
    --path cursor=)"

# A listing waits for all of them.
find "$snapshot" -type l >"$tmp/found" &
lister=$!
touch "$origin_root/release"
wait "$lister"
assert_equal "files found" 32 "$(wc -l <"$tmp/found")"
assert_exists "$repo/.no_exist/$sha/none.txt"
assert_equal "listing requests" 4 "$(count_requests --path '/tree/')"
unmount "$tmp/mnt"

# An unmount in the middle of it loses nothing but the listing.
origin_log clear
rm "$origin_root/release"
echo more >"$tmp/repo/more.txt"
sha=$(make_repo model someone/long --from "$tmp/repo")
mount_ready "$tmp/store" "$tmp/mnt"
assert_same "$tmp/repo/more.txt" "$repo/snapshots/$sha/more.txt"
assert_equal "requests for other pages" 0 "$(count_requests --settle 0 \
    --path cursor=)"
unmount "$tmp/mnt"
touch "$origin_root/release"
mount_ready "$tmp/store" "$tmp/mnt"
assert_equal "files found" 33 "$(find "$repo/snapshots/$sha" -type l | wc -l)"
unmount "$tmp/mnt"
sha=${snapshot##*/}

# What was fetched meanwhile can be found by who reads the store.
assert_same "$tmp/repo/z/deep/model.bin" \
    "$tmp/store/hf/hub/models--someone--long/snapshots/$sha/z/deep/model.bin"
