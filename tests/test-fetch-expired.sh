#!/usr/bin/env bash
# Signed addresses that expire while a file is read are asked for anew.
. "${srcdir:-.}/tests/fetch.sh"

serve --signed-ttl 1 -- big.bin=64M
mount_ready "$store" "$mnt" fetch=demand
stat -L "$files/big.bin" >/dev/null
exec {fd}<"$files/big.bin"
begin=$(now_ms)
passed() { # MS
    [ $(($(now_ms) - begin)) -ge "$1" ]
}
for i in 0 1 2 3; do
    # Each read finds the address before it expired.
    wait_until 20 passed $((i * 1100))
    reader at "$source/big.bin" "$files/big.bin" $((i * 15 << 20)):100000
done
refused=$(origin_log show --server cdn | grep -c '"status": 403') || true
[ "$refused" -gt 0 ] || fail "no address has expired, so nothing was tested"
reader many 1 "$source/big.bin" "$files/big.bin"
exec {fd}<&-
unmount "$mnt"
