#!/usr/bin/env bash
# What is there of files that are not whole counts for max_size=, and goes like
# others when nobody has them open.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=32M b.bin=32M

# state NAME
state() {
    getfattr -L --absolute-names --only-values -n user.mlcachefs.state \
        "$files/$1"
}
has_state() {
    [ "$(state "$1")" = "$2" ]
}
# part NAME: reads its first MiB.
part() {
    cmp -n 1048576 "$source/$1" "$files/$1"
}

mount_ready "$store" "$mnt" fetch=demand
part a.bin
part b.bin
unmount "$mnt"
taken=$(find "$store/.mlcachefs/objects" -name '*.data' -printf '%b\n' |
    awk '{ n += $1 } END { print n * 512 }')
[ "$taken" -ge 2097152 ] || fail "only $taken bytes are there"

mount_ready "$store" "$mnt" "fetch=demand,max_size=$((taken - 1))"
wait_until 10 has_state a.bin remote
assert_equal "the other" partial "$(state b.bin)"
cmp "$source/a.bin" "$files/a.bin"
wait_until 10 has_state b.bin remote
unmount "$mnt"
