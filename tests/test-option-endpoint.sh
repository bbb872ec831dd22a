#!/usr/bin/env bash
# The Hub is hf_endpoint=, else $HF_ENDPOINT.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo hello >"$tmp/source/config.json"
start_origin "$tmp/origin"
make_repo model org/name --from "$tmp/source" >/dev/null
refs=hf/hub/models--org--name/refs/main

mount_ready "$tmp/a" "$tmp/mnt"
[ -s "$tmp/mnt/$refs" ] || fail "\$HF_ENDPOINT is not used"
unmount "$tmp/mnt"

# Port 1 of loopback: nobody is there.
HF_ENDPOINT=http://127.0.0.1:1 mount_ready "$tmp/b" "$tmp/mnt" \
    "hf_endpoint=$hub"
[ -s "$tmp/mnt/$refs" ] || fail "hf_endpoint= does not beat the environment"
unmount "$tmp/mnt"

# A slash at the end is the same Hub.
mount_ready "$tmp/c" "$tmp/mnt" "hf_endpoint=$hub/"
[ -s "$tmp/mnt/$refs" ] || fail "a slash at the end of hf_endpoint= matters"
unmount "$tmp/mnt"

HF_ENDPOINT=huggingface.co assert_refused \
    "hf_endpoint=huggingface\.co \(from .HF_ENDPOINT\): expected a URL" \
    "$tmp/store" "$tmp/mnt"
