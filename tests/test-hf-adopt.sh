#!/usr/bin/env bash
# A cache that was there before is used where it is: whole blobs are not fetched
# again, cut ones are, also on another file system.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir -p "$tmp/repo/sub"
for name in whole cut sub/new; do
    make_file "$tmp/repo/$name.bin" 2M
done
echo '{}' >"$tmp/repo/config.json"
sha=$(make_repo model someone/tiny --from "$tmp/repo")

# put NAME BYTES: as a client left it, pointer and all.
put() {
    local oid
    oid=$(sha256sum "$tmp/repo/$1" | cut -c 1-64)
    mkdir -p "$cache"/{blobs,refs,"snapshots/$sha"}
    head -c "$2" "$tmp/repo/$1" >"$cache/blobs/$oid"
    ln -s "../../blobs/$oid" "$cache/snapshots/$sha/$1"
    printf %s "$sha" >"$cache/refs/main"
}

# check OPTIONS HUB: a cache in HUB is used and completed.
check() {
    local repo=$tmp/mnt/hf/hub/models--someone--tiny
    cache=$2/models--someone--tiny
    put whole.bin 2M
    put cut.bin 1M
    before=$(stat -c %i "$cache/blobs/"*)
    origin_log clear
    mount_ready "$tmp/store" "$tmp/mnt" "$1"
    assert_equal "refs/main" "$sha" "$(cat "$repo/refs/main")"
    assert_same "$tmp/repo/whole.bin" "$repo/snapshots/$sha/whole.bin"
    assert_equal "requests for the whole file" 0 "$(count_requests --server cdn)"
    assert_equal "size of the cut file" 2097152 \
        "$(stat -L -c %s "$repo/snapshots/$sha/cut.bin")"
    assert_same "$tmp/repo/cut.bin" "$repo/snapshots/$sha/cut.bin"
    assert_same "$tmp/repo/sub/new.bin" "$repo/snapshots/$sha/sub/new.bin"
    assert_same "$tmp/repo/config.json" "$repo/snapshots/$sha/config.json"
    assert_equal "bytes fetched" $((4 << 20)) "$(body_bytes --server cdn)"
    unmount "$tmp/mnt"
    # All of it lies there, as the stock tools want it.
    assert_same_tree "$tmp/repo" "$cache/snapshots/$sha"
    assert_equal "blobs" 4 "$(find "$cache/blobs" -type f | wc -l)"
    [[ $before == *$(stat -L -c %i "$cache/snapshots/$sha/whole.bin")* ]] ||
        fail "the whole blob was replaced"
    rm -r "$tmp/store"
}

mkdir -p "$tmp/here"
check "hf_home=$tmp/here" "$tmp/here/hub"

if [ -w /dev/shm ] && [ "$(stat -c %d /dev/shm)" != "$(stat -c %d "$tmp")" ]
then
    other=$(mktemp -d /dev/shm/mlc.XXXXXX)
    on_exit rm -rf "$other"
    check "hf_home=$other" "$other/hub"
    # Nothing that another program would take for a file of the cache.
    assert_equal "what else is there" ".mlcachefs hub" \
        "$(find "$other" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs)"
else
    echo "/dev/shm is no other file system: not tested" >&2
fi
