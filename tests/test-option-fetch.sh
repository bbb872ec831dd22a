#!/usr/bin/env bash
# fetch=whole completes an opened file in the background, fetch=demand brings
# only what is read.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
make_file "$tmp/source/model.bin" 24M
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
file=$tmp/mnt/hf/hub/models--org--name/snapshots/$commit/model.bin

is_whole() {
    [ "$("$python" -c 'import os, sys
print(os.getxattr(sys.argv[1], "user.mlcachefs.state").decode())' "$file")" = \
        cached ]
}

mount_ready "$tmp/a" "$tmp/mnt" fetch=demand
exec {fd}<"$file"
head -c 4096 <&"$fd" >"$tmp/head"
cmp -n 4096 "$tmp/head" "$tmp/source/model.bin"
exec {fd}<&-
unmount "$tmp/mnt"
[ "$(body_bytes --server cdn)" -lt $((16 << 20)) ] ||
    fail "fetch=demand brought $(body_bytes --server cdn) bytes for 4096"

origin_log clear
mount_ready "$tmp/b" "$tmp/mnt" fetch=whole
exec {fd}<"$file"
head -c 4096 <&"$fd" >"$tmp/head"
wait_until 30 is_whole || fail "fetch=whole does not complete an open file"
exec {fd}<&-
assert_same "$file" "$tmp/source/model.bin"
unmount "$tmp/mnt"
assert_same "$tmp/b/hf/hub/models--org--name/snapshots/$commit/model.bin" \
    "$tmp/source/model.bin"
