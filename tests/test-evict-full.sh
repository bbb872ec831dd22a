#!/usr/bin/env bash
# On a full disk what was fetched before goes first, for who fetches and for who
# writes a file of his own; ENOSPC comes when nothing is left that could go.
. "${srcdir:-.}/tests/fetch.sh"
[ "$(id -u)" = 0 ] || skip "a small file system can be mounted by root only"

serve -- a.bin=12M b.bin=12M c.bin=12M
mkdir "$store"
mount -t tmpfs -o size=32M tmpfs "$store" || skip "no tmpfs can be mounted"
on_exit umount -l "$store"
blobs=$store/hf/hub/models--a--m/blobs

lacks() {
    ! [ -e "$blobs/$(oid "$1")" ]
}

mount_ready "$store" "$mnt" timeout=seconds=5
cmp "$source/a.bin" "$files/a.bin"
cmp "$source/b.bin" "$files/b.bin"
wait_until 10 test -e "$blobs/$(oid b.bin)"
cmp "$source/c.bin" "$files/c.bin"
lacks a.bin || fail "nothing went"
assert_exists "$blobs/$(oid b.bin)"

# A body whose length nobody tells.
make_file "$origin_root/web/long.bin" 12M
cmp "$origin_root/web/long.bin" "$mnt/web/$web/_/chunked/long.bin"
lacks b.bin || fail "nothing went for a body of unknown length"

# A file of a user's own.
make_file "$tmp/mine" 16M
cp "$tmp/mine" "$mnt/mine"
assert_same "$tmp/mine" "$store/mine"
lacks c.bin || fail "nothing went for a user's file"

# Disk full to the last byte: look-ups and small files, too.
cat /dev/zero >"$store/ballast" 2>/dev/null || true
cmp -n 65536 "$source/a.bin" "$files/a.bin"

# In the end there is nothing.
cat /dev/zero >>"$store/ballast" 2>/dev/null || true
assert_error "No space left on device" cp "$tmp/mine" "$mnt/more"
assert_same "$tmp/mine" "$mnt/mine"
rm "$store/ballast" "$mnt/more"
readable() {
    cmp "$source/b.bin" "$files/b.bin" 2>>"$tmp/cmp.log"
}
wait_until 15 readable
unmount "$mnt"
