#!/usr/bin/env bash
# uid=, gid= and umask= (of 0777, as libfuse has it) change what stat shows, and nothing on disk.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo '{}' >"$tmp/source/config.json"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
remote=hf/hub/models--org--name/snapshots/$commit/config.json
mkdir -p "$tmp/store/hf"
echo local >"$tmp/store/hf/local"
chmod 666 "$tmp/store/hf/local"
before=$(stat -c '%u %g %a' "$tmp/store/hf/local")

mount_ready "$tmp/store" "$tmp/mnt" uid=4711,gid=4712,umask=027
assert_equal "a local file" "4711 4712 750" \
    "$(stat -c '%u %g %a' "$tmp/mnt/hf/local")"
assert_equal "a remote file" "4711 4712 750" \
    "$(stat -L -c '%u %g %a' "$tmp/mnt/$remote")"
assert_equal "a folder" "4711 4712 750" \
    "$(stat -c '%u %g %a' "$tmp/mnt/hf/hub")"
assert_equal "the root" "4711 4712 750" "$(stat -c '%u %g %a' "$tmp/mnt")"
assert_equal "on disk" "$before" "$(stat -c '%u %g %a' "$tmp/store/hf/local")"
unmount "$tmp/mnt"
