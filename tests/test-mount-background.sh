#!/usr/bin/env bash
# Without -f the command returns once the mount answers, or ends with status 1
# and a reason on stderr.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
mkdir "$tmp/mnt"

for _ in 1 2 3 4 5; do
    "$MLCACHEFS" "$tmp/store" "$tmp/mnt" -o offline >"$tmp/out" 2>&1 ||
        fail "status $?"
    # At once, with nothing to wait for.
    [ -d "$tmp/mnt/hf" ] || fail "it returned before the mount answered"
    assert_equal "what it said" "" "$(cat "$tmp/out")"
    unmount_background "$tmp/mnt" "$tmp/store"
done

# Whoever reads its output sees the end of it: no descriptor is kept.
said=$(timeout 30 "$MLCACHEFS" "$tmp/store" "$tmp/mnt" -o offline 2>&1) ||
    fail "the daemon holds on to its starter's output"
assert_equal "what it said" "" "$said"
assert_exists "$tmp/store/.mlcachefs/log"
unmount_background "$tmp/mnt" "$tmp/store"

assert_refused "mountpoint $tmp/none: No such file" "$tmp/store" "$tmp/none"
# No /dev/fuse: what libfuse says comes through too.
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
    status=0
    said=$(unshare -m sh -c 'mount --bind /dev/null /dev/fuse && exec "$@"' - \
        "$MLCACHEFS" "$tmp/store" "$tmp/mnt" -o offline 2>&1) || status=$?
    assert_equal "the status without /dev/fuse" 1 "$status"
    assert_match "what it said" "$tmp/mnt: cannot be mounted" "$said"
fi
