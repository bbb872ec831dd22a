#!/usr/bin/env bash
# A private repo is absent without a token, and there once one is written
# through the mount, as `hf auth login` does.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
echo private >"$tmp/repo/file.txt"
sha=$(make_repo model someone/mine --from "$tmp/repo" --private \
    --token hf_right)
echo hf_other >"$origin_root/tokens"
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--someone--mine

for path in "$repo" "$repo/refs/main" "$repo/snapshots/$sha/file.txt" \
    "$tmp/mnt/hf/hub/models--someone--none"; do
    assert_error "No such file" stat "$path"
done
before=$(count_requests)
assert_error "No such file" stat "$repo"
assert_equal "requests for what is believed to be absent" "$before" \
    "$(count_requests)"
assert_equal "listing of hub" "" "$(ls "$tmp/mnt/hf/hub")"

# Someone else's token does not help, the right one does.
(umask 077 && printf hf_other >"$tmp/mnt/hf/token")
chmod 600 "$tmp/mnt/hf/token"
assert_error "No such file" stat "$repo"
printf hf_right >"$tmp/mnt/hf/token"
assert_same "$tmp/repo/file.txt" "$repo/snapshots/$sha/file.txt"
assert_equal "refs/main" "$sha" "$(cat "$repo/refs/main")"

# Logged out: what is cached stays.
rm "$tmp/mnt/hf/token"
assert_same "$tmp/repo/file.txt" "$repo/snapshots/$sha/file.txt"

# By a rename, as an editor would.
sha=$(make_repo model someone/mine2 --from "$tmp/repo" --private \
    --token hf_right)
assert_absent "$tmp/mnt/hf/hub/models--someone--mine2"
printf 'hf_right\n' >"$tmp/mnt/hf/token.new"
mv "$tmp/mnt/hf/token.new" "$tmp/mnt/hf/token"
assert_same "$tmp/repo/file.txt" \
    "$tmp/mnt/hf/hub/models--someone--mine2/snapshots/$sha/file.txt"
unmount "$tmp/mnt"
