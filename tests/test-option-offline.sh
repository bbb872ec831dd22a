#!/usr/bin/env bash
# offline: no request at all; what is not cached does not exist, what is, works.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo '{}' >"$tmp/source/config.json"
make_file "$tmp/source/model.bin" 3M
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
make_repo model org/other --from "$tmp/source" >/dev/null
repo=$tmp/mnt/hf/hub/models--org--name

mount_ready "$tmp/store" "$tmp/mnt"
assert_equal "main" "$commit" "$(cat "$repo/refs/main")"
cat "$repo/snapshots/$commit/model.bin" >/dev/null
unmount "$tmp/mnt"

origin_log clear
mount_ready "$tmp/store" "$tmp/mnt" offline
assert_equal "main" "$commit" "$(cat "$repo/refs/main")"
assert_same "$repo/snapshots/$commit/model.bin" "$tmp/source/model.bin"
assert_error "No such file" ls "$tmp/mnt/hf/hub/models--org--other"
assert_error "No such file" cat "$repo/refs/v1"
assert_error "No such file" ls "$repo/snapshots/$(printf '%040d' 1)"
# Known by name, without its bytes.
assert_error "No such file" cat "$repo/snapshots/$commit/config.json"
unmount "$tmp/mnt"
assert_equal "requests" 0 "$(count_requests --server hub)"

# A client's variable is not the daemon's.
HF_HUB_OFFLINE=1 mount_ready "$tmp/store" "$tmp/mnt"
cat "$tmp/mnt/hf/hub/models--org--other/refs/main" >/dev/null
unmount "$tmp/mnt"
grep -q HF_HUB_OFFLINE "$tmp/daemon.log" ||
    fail "no note that HF_HUB_OFFLINE is ignored"
