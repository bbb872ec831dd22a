#!/usr/bin/env bash
# ro: nothing can be changed through the mount; what is fetched is kept.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo '{}' >"$tmp/source/config.json"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
file=hf/hub/models--org--name/snapshots/$commit/config.json
mount_ready "$tmp/store" "$tmp/mnt"
cat "$tmp/mnt/$file" >/dev/null
# On its way home: the last thing to be put there is the tree.
wait_until 10 test -e "$tmp/store/hf/hub/models--org--name/trees/$commit.json"
echo mine >"$tmp/mnt/hf/mine"
unmount "$tmp/mnt"
find "$tmp/store" -path "$tmp/store/.mlcachefs" -prune -o -printf '%P %y %s\n' |
    sort >"$tmp/before"

mount_ready "$tmp/store" "$tmp/mnt" ro
cd "$tmp/mnt/hf"
assert_same "$tmp/mnt/$file" "$tmp/source/config.json"
assert_equal "a local file" mine "$(cat mine)"
for command in "touch new" "mkdir new" "rm mine" "mv mine other" \
    "ln mine other" "ln -s mine other" "chmod 600 mine" "truncate -s 0 mine" \
    "rm $tmp/mnt/$file" "rmdir hub"; do
    # shellcheck disable=SC2086  # a command with its arguments
    assert_error "Read-only file system" $command
done
cd "$tmp"
unmount "$tmp/mnt"
find "$tmp/store" -path "$tmp/store/.mlcachefs" -prune -o -printf '%P %y %s\n' |
    sort >"$tmp/after"
assert_same "$tmp/before" "$tmp/after"
