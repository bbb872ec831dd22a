#!/usr/bin/env bash
# With a token that the Hub refuses, public repos are read without one.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
echo '{}' >"$tmp/repo/config.json"
sha=$(make_repo model someone/public --from "$tmp/repo")
export HF_TOKEN=hf_expired
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--someone--public
assert_equal "refs/main" "$sha" "$(cat "$repo/refs/main")"
assert_equal "listing" "config.json model.bin" \
    "$(cd "$repo/snapshots/$sha" && echo *)"
assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
assert_same "$tmp/repo/config.json" "$repo/snapshots/$sha/config.json"
! grep -q -e "$HF_TOKEN" "$tmp/daemon.log" || fail "the log shows the token"
unmount "$tmp/mnt"
