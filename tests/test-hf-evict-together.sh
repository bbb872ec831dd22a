#!/usr/bin/env bash
# Two at once delete the same fetched repo, again and again: both succeed, and
# nothing is left.
# tsan
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

for n in 1 2 3 4 5 6; do
    mkdir -p "$tmp/source/folder$n/deeper"
    for m in 1 2 3 4 5; do
        echo "$n $m" >"$tmp/source/folder$n/file$m"
        echo "$n $m!" >"$tmp/source/folder$n/deeper/file$m"
    done
done
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--org--name

for ((round = 0; round < 8; round++)); do
    if [ $((round % 4)) = 0 ]; then
        assert_same_tree "$tmp/source" "$repo/snapshots/$commit"
        # Its last files may still be moving home.
        wait_until 10 test -e \
            "$tmp/store/hf/hub/models--org--name/trees/$commit.json"
    else
        ls -R "$repo/snapshots/$commit" >"$tmp/out"
    fi
    rm -rf "$repo" 2>"$tmp/one" &
    one=$!
    rm -rf "$repo" 2>"$tmp/other" &
    other=$!
    status=0
    wait "$one" || status=1
    wait "$other" || status=1
    [ "$status" = 0 ] ||
        fail "round $round: $(cat "$tmp/one" "$tmp/other")"
    assert_equal "names in hub/" "" "$(ls "$tmp/mnt/hf/hub")"
done
assert_equal "names in the store's hub/" "" "$(ls "$tmp/store/hf/hub")"
