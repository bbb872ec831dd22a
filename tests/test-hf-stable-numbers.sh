#!/usr/bin/env bash
# Inode numbers, sizes and times of what the Hub names stay what they were: when
# it is fetched, over remounts, and by every spelling of the path.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir -p "$tmp/source/sub"
make_file "$tmp/source/big.bin" 2M
printf 'small\n' >"$tmp/source/sub/small.txt"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source" --lfs-over 100000)
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--org--name
snapshot=$repo/snapshots/$commit

numbers() {
    cat "$repo/refs/main" >"$tmp/out"
    find "$snapshot" -printf '%P %y %i\n' | sort
    stat -Lc '%n %F %i %s %y %h %u %g %a' "$snapshot/big.bin" \
        "$snapshot/sub/small.txt" "$repo/refs/main"
}
numbers >"$tmp/before"
assert_same_tree "$tmp/source" "$snapshot"
numbers >"$tmp/fetched"
diff "$tmp/before" "$tmp/fetched" >&2 || fail "changed by fetching"
unmount "$tmp/mnt"
mount_ready "$tmp/store" "$tmp/mnt"
numbers >"$tmp/remounted"
diff "$tmp/before" "$tmp/remounted" >&2 || fail "changed by a remount"

cd "$snapshot/sub"
file=$(stat -Lc '%d %i' small.txt)
mkdir "$tmp/mnt/hf/links"
ln -s "../hub/models--org--name" "$tmp/mnt/hf/links/repo"
for path in "$snapshot//sub/./small.txt" "../sub/small.txt" \
    "$tmp/mnt/hf/links/repo/snapshots/$commit/sub/small.txt" \
    "/proc/self/cwd/small.txt"; do
    assert_equal "$path" "$file" "$(stat -Lc '%d %i' "$path")"
done
