#!/usr/bin/env bash
# A renamed repo is served under the asked name, and asked for by its own.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
echo '{}' >"$tmp/repo/config.json"
sha=$(make_repo model openai-community/gpt2 --from "$tmp/repo")
make_repo rename model gpt2 openai-community/gpt2
mount_ready "$tmp/store" "$tmp/mnt"
hub=$tmp/mnt/hf/hub

for name in models--gpt2 models--OpenAI-Community--GPT2 \
    models--openai-community--gpt2; do
    origin_log clear
    assert_equal "refs/main of $name" "$sha" "$(cat "$hub/$name/refs/main")"
    assert_same "$tmp/repo/config.json" "$hub/$name/snapshots/$sha/config.json"
    assert_same "$tmp/repo/model.bin" "$hub/$name/snapshots/$sha/model.bin"
    redirected=$(origin_log show --server hub |
        grep -c -v 'openai-community/gpt2') || true
    [ "$redirected" -le 1 ] ||
        fail "$name: $redirected requests went by a name that is not its own"
done
assert_equal "listing of hub" \
    "models--OpenAI-Community--GPT2
models--gpt2
models--openai-community--gpt2" "$(ls "$hub")"

# Other kinds of repos.
for kind in dataset space kernel; do
    sha=$(make_repo "$kind" someone/thing --from "$tmp/repo")
    assert_equal "refs/main of a $kind" "$sha" \
        "$(cat "$hub/${kind}s--someone--thing/refs/main")"
    assert_same "$tmp/repo/model.bin" \
        "$hub/${kind}s--someone--thing/snapshots/$sha/model.bin"
    assert_same "$tmp/repo/config.json" \
        "$hub/${kind}s--someone--thing/snapshots/$sha/config.json"
done
unmount "$tmp/mnt"

# The canonical name is remembered.
origin_log clear
echo new >"$tmp/repo/new.txt"
sha=$(make_repo model openai-community/gpt2 --from "$tmp/repo")
mount_ready "$tmp/store" "$tmp/mnt"
assert_same "$tmp/repo/new.txt" "$hub/models--gpt2/snapshots/$sha/new.txt"
assert_equal "requests by another name" 0 \
    "$(origin_log show --server hub | grep -c -v 'openai-community/gpt2')"
unmount "$tmp/mnt"
