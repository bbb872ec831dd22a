#!/usr/bin/env bash
# A full disk is ENOSPC for the reader and one line in the log; what was read
# before is right and stays so; once there is room, reading works.
. "${srcdir:-.}/tests/fetch.sh"
[ "$(id -u)" = 0 ] || skip "a small file system can be mounted by root only"

serve -- big.bin=12M
mkdir "$store"
mount -t tmpfs -o size=16M tmpfs "$store" || skip "no tmpfs can be mounted"
on_exit umount -l "$store"
head -c 8M /dev/zero >"$store/ballast"

# How far the reader comes is not promised beyond its first request: several
# connections may fill the disk with what lies ahead of it.
mount_ready "$store" "$mnt" timeout=seconds=5
begin=$(now_ms)
assert_error "No space left on device" \
    dd if="$files/big.bin" of="$tmp/got" bs=1M
# A failure is remembered for a second.
assert_at_most "lines in the log" $((1 + ($(now_ms) - begin) / 1000)) \
    "$(grep -c 'cannot be written to the cache' "$tmp/daemon.log")"
got=$(stat -c %s "$tmp/got")
[ "$got" -ge 1048576 ] || fail "only $got bytes came before the disk was full"
cmp -n "$got" "$source/big.bin" "$tmp/got"

# What was read is right, in this life and in the next.
reader at "$source/big.bin" "$files/big.bin" "0:$got"
unmount "$mnt"
mount_ready "$store" "$mnt" timeout=seconds=5
reader at "$source/big.bin" "$files/big.bin" "0:$got"

rm "$store/ballast"
whole_is_right() {
    reader many 1 "$source/big.bin" "$files/big.bin" 2>>"$tmp/reader.log"
}
wait_until 15 whole_is_right
unmount "$mnt"
