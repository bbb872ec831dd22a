#!/usr/bin/env bash
# .no_exist answers for every path that a commit lacks, and for no other, with
# no request.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir -p "$tmp/repo/unet/sub.v1"
echo '{}' >"$tmp/repo/unet/config.json"
echo x >"$tmp/repo/unet/sub.v1/x.txt"
echo x >"$tmp/repo/LICENSE"
sha=$(make_repo model someone/tiny --from "$tmp/repo")
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--someone--tiny
absent=$repo/.no_exist/$sha
# The first to name the commit.
assert_exists "$absent/model.safetensors"
assert_equal "commits listed" "$sha" "$(ls "$repo/snapshots")"
origin_log clear
for name in adapter_config.json unet/model.onnx unet/sub.v1/y.txt \
    additional/chat/templates.json unet/adapter_config.json; do
    [ -f "$absent/$name" ] || fail "$name is not said to be absent"
    assert_equal "size of $name" 0 "$(stat -c %s "$absent/$name")"
    assert_error "No such file" stat "$repo/snapshots/$sha/$name"
done
for name in unet/config.json unet/sub.v1/x.txt LICENSE; do
    [ ! -f "$absent/$name" ] || fail "$name is said to be absent"
    [ -f "$repo/snapshots/$sha/$name" ] || fail "$name is not there"
done
[ -d "$absent/unet" ] || fail "a directory of the tree is none"
[ -d "$absent/additional" ] || fail "a name without a dot is no directory"
assert_equal "listing of .no_exist" "" "$(ls "$absent")"
# What a client makes is listed, and is there already.
touch "$absent/added_tokens.json"
mkdir -p "$absent/unet"
: >"$absent/unet/made.json"
assert_equal "listing after a client made some" "unet" \
    "$(cd "$absent" && echo *)"
assert_equal "requests" 0 "$(count_requests)"
assert_absent "$repo/.no_exist/0123456789012345678901234567890123456789/a.json"
unmount "$tmp/mnt"
