#!/usr/bin/env bash
# What was fetched of files that are not whole counts for max_size=, and goes
# like others when nobody has them open.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=4M b.bin=4M c.bin=4M

taken() {
    du -sB1 "$store/.mlcachefs/objects" | cut -f1
}
# is_at_most BYTES
is_at_most() {
    [ "$(taken)" -le "$1" ]
}
# state NAME
state() {
    getfattr -L --absolute-names --only-values -n user.mlcachefs.state \
        "$files/$1"
}
# part NAME: reads its first 2 MiB.
part() {
    cmp -n 2097152 "$source/$1" "$files/$1"
}

mount_ready "$store" "$mnt" max_size=5M,fetch=demand
part a.bin
part b.bin
[ "$(taken)" -ge 4194304 ] || fail "only $(taken) bytes are there"
part c.bin
wait_until 10 is_at_most 5500000
assert_equal "the first" remote "$(state a.bin)"
assert_equal "the second" partial "$(state b.bin)"
assert_equal "the third" partial "$(state c.bin)"
part b.bin
cmp "$source/a.bin" "$files/a.bin"
unmount "$mnt"
