#!/usr/bin/env bash
# A file that somebody has open is not evicted, however large it is; once nobody
# has, it goes if it alone is too much.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=3M b.bin=3M big.bin=9M
blobs=$store/hf/hub/models--a--m/blobs

lacks() {
    ! [ -e "$blobs/$(oid "$1")" ]
}

mount_ready "$store" "$mnt" max_size=4M
exec 3<"$files/a.bin"
cmp "$source/a.bin" "$files/a.bin"
wait_until 10 test -e "$blobs/$(oid a.bin)"
cmp "$source/b.bin" "$files/b.bin"
wait_until 10 lacks b.bin
assert_exists "$blobs/$(oid a.bin)"
cmp "$source/a.bin" <(cat <&3)
exec 3<&-

cmp "$source/big.bin" "$files/big.bin"
wait_until 10 lacks big.bin
wait_until 10 lacks a.bin
cmp "$source/a.bin" "$files/a.bin"
wait_until 10 test -e "$blobs/$(oid a.bin)"
unmount "$mnt"
