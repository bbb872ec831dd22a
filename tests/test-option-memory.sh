#!/usr/bin/env bash
# memory= bounds the buffers of all transfers, and little of it still works.
# timeout: 180
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
for i in 1 2 3 4; do
    make_file "$tmp/source/model$i.bin" 24M
done
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
snapshot=$tmp/mnt/hf/hub/models--org--name/snapshots/$commit
mount_ready "$tmp/store" "$tmp/mnt" memory=8M
readers=()
for i in 1 2 3 4; do
    cmp "$snapshot/model$i.bin" "$tmp/source/model$i.bin" &
    readers+=($!)
done
most=0
for reader in "${readers[@]}"; do
    while ! pid_is_gone "$reader"; do
        used=$("$python" -c 'import json, sys
print(json.load(open(sys.argv[1]))["memory_used"])' \
            "$tmp/mnt/.mlcachefs/status.json")
        most=$((used > most ? used : most))
    done
    wait "$reader" || fail "a reader failed"
done
[ "$most" -le $((8 << 20)) ] || fail "buffers took $most bytes"
unmount "$tmp/mnt"
