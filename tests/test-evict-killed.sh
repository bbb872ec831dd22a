#!/usr/bin/env bash
# Killed at any point of an eviction, the daemon leaves a cache that the stock
# tools find in order: no pointer to a blob that is not there, and no tree file
# that promises more than is.
. "${srcdir:-.}/tests/fetch.sh"

files_made=()
for ((i = 0; i < 400; i++)); do
    files_made+=("d$((i % 7))/$i.bin=2K")
done
serve -- "${files_made[@]}"
hub=$store/hf/hub/models--a--m

n_blobs() {
    find "$hub/blobs" -type f | wc -l
}
are_fewer_than() {
    [ "$(n_blobs)" -lt "$1" ]
}

mount_ready "$store" "$mnt"
assert_same_tree "$source" "$files"
wait_until 20 test -e "$hub/trees/$commit.json"
unmount "$mnt"

for ((round = 0; round < 10; round++)); do
    n=$(n_blobs)
    [ "$n" -gt 0 ] || break
    mount_ready "$store" "$mnt" max_size=0
    wait_until 10 are_fewer_than "$n"
    kill_daemon "$mnt"
    assert_equal "pointers to nothing" "" "$(find "$hub" -xtype l | head -n 3)"
    are_fewer_than 400 || fail "nothing went"
    assert_absent "$hub/trees/$commit.json"
    # What is left can be used, and has all that is needed for that.
    [ "$(n_blobs)" = 0 ] || assert_equal "the ref" "$commit" "$(cat "$hub/refs/main")"
done
