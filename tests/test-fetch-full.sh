#!/usr/bin/env bash
# A full disk is ENOSPC for the reader and one line in the log; once there is
# room, reading works.
. "${srcdir:-.}/tests/fetch.sh"
[ "$(id -u)" = 0 ] || skip "a small file system can be mounted by root only"

serve -- big.bin=12M
mkdir "$store"
mount -t tmpfs -o size=16M tmpfs "$store" || skip "no tmpfs can be mounted"
on_exit umount -l "$store"
head -c 8M /dev/zero >"$store/ballast"

mount_ready "$store" "$mnt" timeout=seconds=5
assert_error "No space left on device" \
    dd if="$files/big.bin" of=/dev/null bs=1M
assert_equal "lines in the log" 1 \
    "$(grep -c 'cannot be written to the cache' "$tmp/daemon.log")"

# What is there is right, in this life and in the next.
reader at "$source/big.bin" "$files/big.bin" 0:4194304
unmount "$mnt"
mount_ready "$store" "$mnt" timeout=seconds=5
reader at "$source/big.bin" "$files/big.bin" 0:4194304

rm "$store/ballast"
whole_is_right() {
    reader many 1 "$source/big.bin" "$files/big.bin" 2>>"$tmp/reader.log"
}
wait_until 5 whole_is_right
unmount "$mnt"
