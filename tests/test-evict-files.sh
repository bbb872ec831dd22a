#!/usr/bin/env bash
# On a file system that can hold no more files, and for who allocates much at
# once, what was fetched goes first, too.
. "${srcdir:-.}/tests/fetch.sh"
[ "$(id -u)" = 0 ] || skip "a small file system can be mounted by root only"

serve -- a.bin=1M b.bin=1M
mkdir "$store"
mount -t tmpfs -o size=64M,nr_inodes=150 tmpfs "$store" ||
    skip "no tmpfs can be mounted"
on_exit umount -l "$store"
blobs=$store/hf/hub/models--a--m/blobs

mount_ready "$store" "$mnt"
cmp "$source/a.bin" "$files/a.bin"
cmp "$source/b.bin" "$files/b.bin"
wait_until 10 test -e "$blobs/$(oid b.bin)"
n=0
while touch "$store/other$n" 2>/dev/null; do
    n=$((n + 1))
done
mkdir "$mnt/new"
[ "$(status files_evicted)" -ge 1 ] || fail "nothing went for a directory"
while touch "$store/more$n" 2>/dev/null; do
    n=$((n + 1))
done
cmp "$source/a.bin" "$files/a.bin" || true
rm "$store"/other* "$store"/more*

cmp "$source/a.bin" "$files/a.bin"
cmp "$source/b.bin" "$files/b.bin"
before=$(status files_evicted)
fallocate -l 62M "$mnt/large"
[ "$(status files_evicted)" -gt "$before" ] || fail "nothing went for a large file"
unmount "$mnt"
