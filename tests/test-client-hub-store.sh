#!/usr/bin/env bash
# After a branch moved, an offline client finds in the store, and in an offline
# mount, just what was fetched of both commits, and nothing broken.
# timeout: 300
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_venv hub-new

start_origin
repo=someone/tiny
mkdir "$tmp/old" "$tmp/new"
for commit in old new; do
    make_file "$tmp/$commit/model.bin" 2M "$commit"
    make_file "$tmp/$commit/shared.bin" 2M shared
    make_file "$tmp/$commit/unread.bin" 2M "unread $commit"
    echo unread >"$tmp/$commit/unread.txt"
done
now=2000000000
echo $now >"$tmp/clock"
old=$(make_repo model "$repo" --from "$tmp/old")
mount_ready "$tmp/store" "$tmp/mnt" "clock_file=$tmp/clock"
mounted=$tmp/mnt/hf/hub/models--someone--tiny
main_is() {
    [ "$(cat "$mounted/refs/main")" = "$1" ]
}
main_is "$old" || fail "refs/main is wrong"
for name in model.bin shared.bin; do
    assert_same "$tmp/old/$name" "$mounted/snapshots/$old/$name"
done
new=$(make_repo model "$repo" --from "$tmp/new")
echo $((now + 1000)) >"$tmp/clock"
wait_until 10 main_is "$new"
assert_same "$tmp/new/model.bin" "$mounted/snapshots/$new/model.bin"
# Known by its name alone: the bytes came with the old commit.
assert_same "$tmp/new/shared.bin" "$mounted/snapshots/$new/shared.bin"
unmount "$tmp/mnt"

check() {
    HF_HUB_OFFLINE=1 "$venv_python" "$srcdir/tests/clients/store.py" \
        --repo "$repo" --old "$old" --new "$new" --old-source "$tmp/old" \
        --new-source "$tmp/new" model.bin shared.bin
}

origin_log clear
HF_HOME=$tmp/store/hf check
mount_ready "$tmp/store" "$tmp/mnt" offline
HF_HOME=$tmp/mnt/hf check
unmount "$tmp/mnt"
assert_equal "requests" 0 "$(count_requests)"
