#!/usr/bin/env bash
# only=hf makes the mountpoint itself a HF_HOME.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo '{}' >"$tmp/source/config.json"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
mount_ready "$tmp/store" "$tmp/mnt" only=hf
assert_absent "$tmp/mnt/hf"
assert_equal "main" "$commit" \
    "$(cat "$tmp/mnt/hub/models--org--name/refs/main")"
assert_same "$tmp/source/config.json" \
    "$tmp/mnt/hub/models--org--name/snapshots/$commit/config.json"
echo token >"$tmp/mnt/token"
assert_equal "a local file" token "$(cat "$tmp/store/hf/token")"
"$python" -m json.tool <"$tmp/mnt/.mlcachefs/status.json" >/dev/null
unmount "$tmp/mnt"
