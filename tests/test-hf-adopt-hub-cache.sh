#!/usr/bin/env bash
# $HF_HUB_CACHE and $HF_HOME of the environment are adopted without a copy.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
sha=$(make_repo model someone/tiny --from "$tmp/repo")
oid=$(sha256sum "$tmp/repo/model.bin" | cut -c 1-64)

# Without a store on the command line.
daemon=$MLCACHEFS
cat >"$tmp/daemon" <<EOS
#!/bin/sh
shift
exec $(printf %q "$daemon") "\$@"
EOS
chmod +x "$tmp/daemon"
export MLCACHEFS=$tmp/daemon

check() { # HUB
    local cache=$1/models--someone--tiny
    local repo=$tmp/mnt/hf/hub/models--someone--tiny
    mount_ready "$tmp/unused" "$tmp/mnt"
    assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
    assert_equal "refs/main" "$sha" "$(cat "$repo/refs/main")"
    echo note >"$tmp/mnt/hf/note"
    unmount "$tmp/mnt"
    assert_same "$tmp/repo/model.bin" "$cache/blobs/$oid"
    assert_same "$tmp/repo/model.bin" "$cache/snapshots/$sha/model.bin"

    origin_log clear
    mount_ready "$tmp/unused" "$tmp/mnt"
    assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
    unmount "$tmp/mnt"
    assert_equal "requests" 0 "$(count_requests)"
}

export DGENERATE_CACHE=$tmp/store
HF_HOME=$tmp/home1 check "$tmp/home1/hub"
assert_exists "$tmp/home1/note"
HF_HOME=$tmp/home2 HF_HUB_CACHE=$tmp/elsewhere check "$tmp/elsewhere"
assert_exists "$tmp/home2/note"
check "$HOME/.cache/huggingface/hub"
# Exported for the clients of this mount: not meant.
rm -r "$HOME/.cache/huggingface"
HF_HOME=$tmp/mnt/hf HF_HUB_CACHE=$tmp/mnt/hf/hub \
    check "$HOME/.cache/huggingface/hub"
