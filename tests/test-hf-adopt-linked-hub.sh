#!/usr/bin/env bash
# A hub/ that is a symbolic link is followed: what it leads to is the cache.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
sha=$(make_repo model someone/tiny --from "$tmp/repo")
oid=$(sha256sum "$tmp/repo/model.bin" | cut -c 1-64)
repo=$tmp/mnt/hf/hub/models--someone--tiny

check() { # STORE TARGET CACHE
    mkdir -p "$1/hf" "$3"
    ln -s "$2" "$1/hf/hub"
    mount_ready "$1" "$tmp/mnt"
    assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
    assert_equal "hub is a" directory "$(stat -c %F "$tmp/mnt/hf/hub")"
    assert_equal "hf/ lists" hub "$(ls "$tmp/mnt/hf")"
    assert_error "Is a directory" rm "$tmp/mnt/hf/hub"
    echo note >"$tmp/mnt/hf/hub/note"
    unmount "$tmp/mnt"
    assert_same "$tmp/repo/model.bin" \
        "$3/models--someone--tiny/blobs/$oid"
    assert_exists "$3/note"
    assert_equal "the link" "$2" "$(readlink "$1/hf/hub")"

    origin_log clear
    mount_ready "$1" "$tmp/mnt"
    assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
    unmount "$tmp/mnt"
    assert_equal "requests" 0 "$(count_requests)"
}

check "$tmp/absolute" "$tmp/disk" "$tmp/disk"
check "$tmp/relative" ../elsewhere "$tmp/relative/elsewhere"

# Into nothing, or into the mount: it stays what it is.
for target in "$tmp/nothing" "$tmp/mnt/hf/hub"; do
    rm -rf "$tmp/store"
    mkdir -p "$tmp/store/hf"
    ln -s "$target" "$tmp/store/hf/hub"
    mount_ready "$tmp/store" "$tmp/mnt"
    assert_equal "the link" "$target" "$(readlink "$tmp/mnt/hf/hub")"
    unmount "$tmp/mnt"
done
