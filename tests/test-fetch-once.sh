#!/usr/bin/env bash
# 64 processes that read one cold file at once cause one transfer.
# tsan
. "${srcdir:-.}/tests/fetch.sh"

mib=$(scaled 256)
serve -- big.bin="${mib}M"
mount_ready "$store" "$mnt"
reader many 64 "$source/big.bin" "$files/big.bin"

sent=$(body_bytes --server cdn)
echo "sent $sent of $((mib << 20))"
assert_at_most "bytes sent" $(((mib << 20) * 105 / 100)) "$sent"
unmount "$mnt"
