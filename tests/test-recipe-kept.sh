#!/usr/bin/env bash
# Merged tensors are kept on disk for the next mount, and believed only as they
# were written.
. "${srcdir:-.}/tests/recipe.sh"
prepare_merge
again() {
    unmount "$mnt"
    mount_ready "$store" "$mnt" offline
}

mount_ready "$store" "$mnt" offline
merge_at 1
cp "$view" "$tmp/first"
wait_until 10 has_kept 1

# It is used: that it was is seen by its time.
unmount "$mnt"
find "$kept" -type f -exec touch -d 2001-01-01 {} +
mount_ready "$store" "$mnt" offline
assert_same "$tmp/first" "$view"
assert_equal "kept and not used" "" "$(find "$kept" -type f ! -newermt 2002-01-01)"

# Another scale is another thing.
merge_at 2
cp "$view" "$tmp/second"
if cmp -s "$tmp/first" "$tmp/second"; then
    fail "the scale changes nothing"
fi
wait_until 10 has_kept 2

# A flipped byte is noticed.
for file in "$kept"/*; do
    "$python" - "$file" <<'EOS'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(1000)
    byte = file.read(1)[0]
    file.seek(1000)
    file.write(bytes([byte ^ 1]))
EOS
done
again
assert_same "$tmp/second" "$view"
assert_match "the log" "damaged on this disk" "$(cat "$tmp/daemon.log")"

# What can't be kept is no error.
unmount "$mnt"
rm -r "$kept"
: >"$kept"
mount_ready "$store" "$mnt" offline
assert_same "$tmp/second" "$view"
unmount "$mnt"
