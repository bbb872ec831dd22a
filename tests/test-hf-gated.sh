#!/usr/bin/env bash
# Gated, disabled and regionally blocked repos are visible but not readable.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
echo '{}' >"$tmp/repo/config.json"
for name in gated region disabled; do
    declare "$name=$(make_repo model "someone/$name" --from "$tmp/repo")"
done
# shellcheck disable=SC2154  # declared above
{
    make_repo model someone/gated --from "$tmp/repo" --gated auto \
        --token hf_friend >/dev/null
    gated=$(cat "$origin_root/repos/models/someone/gated/refs/heads/main")
}
echo hf_stranger >"$origin_root/tokens"

refuses() { # REPO COMMIT
    local snapshot=$tmp/mnt/hf/hub/models--someone--$1/snapshots/$2
    assert_equal "refs/main of $1" "$2" \
        "$(cat "$tmp/mnt/hf/hub/models--someone--$1/refs/main")"
    assert_equal "listing of $1" "config.json model.bin" \
        "$(cd "$snapshot" && echo *)"
    assert_equal "size in $1" 2097152 "$(stat -L -c %s "$snapshot/model.bin")"
    assert_error "Permission denied" cat "$snapshot/config.json"
    assert_error "Permission denied" cat "$snapshot/model.bin"
}

mount_ready "$tmp/store" "$tmp/mnt"
refuses gated "$gated"
set_faults '[{"server": "hub", "match": "/resolve.*region|region/resolve",
    "status": 403, "body": "not available in your region",
    "headers": {"X-Error-Message":
        "This model is not available in your region."}}]'
# shellcheck disable=SC2154
refuses region "$region"
clear_faults

printf hf_stranger >"$tmp/mnt/hf/token"
refuses gated "$gated"
"$python" - "$origin_root/repos/models/someone/disabled/repo.json" <<'EOS'
import json, sys
with open(sys.argv[1]) as file:
    settings = json.load(file)
settings["disabled"] = True
with open(sys.argv[1], "w") as file:
    json.dump(settings, file)
EOS
assert_error "Permission denied" stat "$tmp/mnt/hf/hub/models--someone--disabled"

printf hf_friend >"$tmp/mnt/hf/token"
assert_same "$tmp/repo/model.bin" \
    "$tmp/mnt/hf/hub/models--someone--gated/snapshots/$gated/model.bin"
unmount "$tmp/mnt"
