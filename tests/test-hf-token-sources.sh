#!/usr/bin/env bash
# The token is found wherever huggingface_hub would find it.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
echo private >"$tmp/repo/file.txt"
sha=$(make_repo model someone/mine --from "$tmp/repo" --private \
    --token hf_right)

# sees_it NAME: with a fresh store; the environment is the caller's.
sees_it() {
    local mnt=$tmp/mnt-$1
    mount_ready "$tmp/store-$1" "$mnt"
    assert_same "$tmp/repo/file.txt" \
        "$mnt/hf/hub/models--someone--mine/snapshots/$sha/file.txt"
    unmount "$mnt"
}

HF_TOKEN=hf_right sees_it HF_TOKEN
HF_TOKEN=$'  hf_right\r\n' sees_it line-ends
HUGGING_FACE_HUB_TOKEN=hf_right sees_it HUGGING_FACE_HUB_TOKEN
HF_TOKEN='' HUGGING_FACE_HUB_TOKEN=hf_right sees_it empty-is-unset

printf 'hf_right\r\n' >"$tmp/token"
HF_TOKEN_PATH=$tmp/token sees_it HF_TOKEN_PATH
cp "$tmp/token" "$HOME/my-token"
# shellcheck disable=SC2088  # as an environment file would say it
HF_TOKEN_PATH='~/my-token' sees_it tilde
HF_TOKEN=hf_right HF_TOKEN_PATH=$tmp/none sees_it HF_TOKEN-first

mkdir "$tmp/hf-home"
echo hf_right >"$tmp/hf-home/token"
HF_HOME=$tmp/hf-home sees_it HF_HOME

mkdir -p "$HOME/.cache/huggingface"
echo hf_right >"$HOME/.cache/huggingface/token"
sees_it default-home
rm "$HOME/.cache/huggingface/token"

# Paths into the mount itself: exported for clients.
mkdir -p "$tmp/store-inside/hf"
echo hf_right >"$tmp/store-inside/hf/token"
HF_HOME=$tmp/mnt-inside/hf sees_it inside
mkdir -p "$tmp/store-inside-path/hf/sub"
echo hf_right >"$tmp/store-inside-path/hf/sub/my-token"
HF_TOKEN_PATH=$tmp/mnt-inside-path/hf/sub/my-token sees_it inside-path
