#!/usr/bin/env bash
# What is pinned is not evicted, a file or all below a directory, finished or
# not, over remounts; once it is no more, it goes like others.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=3M b.bin=3M c.bin=3M part.bin=32M
mkdir -p "$origin_root/web/w" "$origin_root/web/v"
cp "$source/a.bin" "$origin_root/web/w/"
cp "$source/b.bin" "$origin_root/web/v/"
blobs=$store/hf/hub/models--a--m/blobs
urls=$mnt/web/$web

has() {
    [ -e "$blobs/$(oid "$1")" ]
}
lacks() {
    ! has "$1"
}
# pin FILE 0|1
pin() {
    setfattr -n user.mlcachefs.pin -v "$2" "$1"
}
value() { # FILE NAME
    getfattr -L --absolute-names --only-values -n "user.mlcachefs.$2" "$1"
}
has_state() { # FILE STATE
    [ "$(value "$1" state)" = "$2" ]
}

mount_ready "$store" "$mnt" fetch=demand,max_size=4M
assert_equal "the pin" 0 "$(value "$files/a.bin" pin)"
pin "$files/a.bin" 1
pin "$urls/w" 1
pin "$files/part.bin" 1
assert_error "Invalid argument" pin "$files/a.bin" yes
cmp -n 65536 "$source/part.bin" "$files/part.bin"
cmp "$source/a.bin" "$files/a.bin"
cmp "$source/a.bin" "$urls/w/a.bin"
cmp "$source/b.bin" "$urls/v/b.bin"
cmp "$source/b.bin" "$files/b.bin"
wait_until 10 lacks b.bin
wait_until 10 has_state "$urls/v/b.bin" remote
has a.bin || fail "a pinned blob was evicted"
assert_equal "the pinned body" cached "$(value "$urls/w/a.bin" state)"
assert_equal "the unfinished one" partial "$(value "$files/part.bin" state)"
assert_equal "the pin" 1 "$(value "$files/a.bin" pin)"
assert_equal "the pin of what is below" 1 "$(value "$urls/w/a.bin" pin)"
unmount "$mnt"

mount_ready "$store" "$mnt" fetch=demand,max_size=1K
cmp "$source/c.bin" "$files/c.bin"
wait_until 10 lacks c.bin
has a.bin || fail "a pinned blob was evicted"
assert_equal "the unfinished one" partial "$(value "$files/part.bin" state)"
pin "$files/a.bin" 0
wait_until 10 lacks a.bin
pin "$files/part.bin" 0
wait_until 10 has_state "$files/part.bin" remote
assert_equal "the pinned body" cached "$(value "$urls/w/a.bin" state)"
# The whole repository.
pin "$mnt/hf/hub/models--a--m" 1
cmp "$source/c.bin" "$files/c.bin"
pin "$urls/w" 0
wait_until 10 has_state "$urls/w/a.bin" remote
has c.bin || fail "a blob of a pinned repository was evicted"
unmount "$mnt"
