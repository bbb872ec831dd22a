#!/usr/bin/env bash
# Merged tensors that are kept on disk count for max_size=: the oldest go.
. "${srcdir:-.}/tests/recipe.sh"
prepare_merge

mount_ready "$store" "$mnt"
for scale in 1 2 3; do
    merge_at "$scale"
    cp "$view" "$tmp/$scale"
    wait_until 10 has_kept "$scale"
done
newest=$(find "$kept" -type f -printf '%T@ %f\n' | sort -n | tail -n 1)
size=$(stat -c %s "$kept/${newest#* }")
unmount "$mnt"

mount_ready "$store" "$mnt" "max_size=$((size + size / 2))"
wait_until 10 has_kept 1
assert_exists "$kept/${newest#* }"
# The next one that is made takes its place.
merge_at 1
assert_same "$tmp/1" "$view"
is_replaced() {
    has_kept 1 && ! [ -e "$kept/${newest#* }" ]
}
wait_until 10 is_replaced
unmount "$mnt"
