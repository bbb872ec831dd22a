#!/usr/bin/env bash
# When the last file of a commit goes, the refs to it go from disk too, which
# would be damage to the stock tools; on the mount they stay.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=2K sub/b.bin=2K
hub=$store/hf/hub/models--a--m

mount_ready "$store" "$mnt"
assert_same_tree "$source" "$files"
assert_equal "the ref" "$commit" "$(cat "$mnt/hf/hub/models--a--m/refs/main")"
wait_until 10 test -e "$hub/trees/$commit.json"
assert_exists "$hub/refs/main"
unmount "$mnt"

is_empty() {
    [ "$(find "$hub" -not -type d | wc -l)" = 0 ]
}
mount_ready "$store" "$mnt" max_size=0
wait_until 10 is_empty
assert_absent "$hub/snapshots/$commit"
assert_equal "the ref" "$commit" "$(cat "$mnt/hf/hub/models--a--m/refs/main")"
unmount "$mnt"

mount_ready "$store" "$mnt"
assert_same_tree "$source" "$files"
wait_until 10 test -e "$hub/trees/$commit.json"
assert_equal "the ref" "$commit" "$(cat "$hub/refs/main")"
unmount "$mnt"
