#!/usr/bin/env bash
# What is fetched takes max_size= at the most: the least recently opened file
# goes, over remounts too, leaves a cache that the stock tools find in order, and
# is fetched again by who opens it next.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=3M b.bin=3M c.bin=3M d.bin=3M
hub=$store/hf/hub/models--a--m

# has NAME...: these files' blobs are in the store, and no others.
has() {
    local name
    for name; do
        oid "$name"
    done | sort >"$tmp/wanted"
    find "$hub/blobs" -type f -printf '%f\n' | sort | cmp -s - "$tmp/wanted"
}
read_all() {
    local name
    for name; do
        cmp "$source/$name" "$files/$name" || return 1
    done
}

mount_ready "$store" "$mnt" max_size=10M
read_all a.bin b.bin c.bin
wait_until 10 has a.bin b.bin c.bin
read_all a.bin
read_all d.bin
wait_until 10 has a.bin c.bin d.bin
assert_absent "$hub/snapshots/$commit/b.bin"
assert_absent "$hub/trees/$commit.json"
assert_equal "state" remote \
    "$(getfattr -L --absolute-names --only-values -n user.mlcachefs.state "$files/b.bin")"
assert_equal "names" "a.bin b.bin c.bin d.bin" "$(names_in "$files")"
assert_equal "size" 3145728 "$(stat -L -c %s "$files/b.bin")"

# It comes back; now c.bin is the one that was not opened for longest.
read_all b.bin
wait_until 10 has a.bin b.bin d.bin
unmount "$mnt"
mount_ready "$store" "$mnt" max_size=10M
read_all a.bin
read_all c.bin
wait_until 10 has a.bin b.bin c.bin
unmount "$mnt"

# A smaller limit counts at once.  What is left is a whole cache's part.
mount_ready "$store" "$mnt" max_size=7M
wait_until 10 has a.bin c.bin
assert_equal "pointers" "a.bin c.bin" "$(names_in "$hub/snapshots/$commit")"
unmount "$mnt"

# Nothing goes while there is no way to have it again.
mount_ready "$store" "$mnt" max_size=1M,offline
read_all a.bin c.bin
unmount "$mnt"
has a.bin c.bin || fail "evicted offline: $(ls "$hub/blobs")"
