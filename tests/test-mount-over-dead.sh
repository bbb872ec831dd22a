#!/usr/bin/env bash
# A mount whose daemon was killed is cleared away by the next start.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mount_ready "$tmp/store" "$tmp/mnt" offline
echo hello >"$tmp/mnt/hf/file"
pid=$(daemon_pid "$tmp/mnt")
unset "daemon_pids[$tmp/mnt]"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
assert_error "Transport endpoint is not connected" stat "$tmp/mnt"

# Not made by mount_ready, whose mkdir fails on a dead mount.
mount_again() {
    "$MLCACHEFS" "$@" -o offline </dev/null >>"$tmp/daemon.log" 2>&1 ||
        fail "status $? over a dead mount"
}
mount_again "$tmp/store" "$tmp/mnt"
grep -q "$tmp/mnt: unmounted what a dead daemon had left" "$tmp/daemon.log" ||
    fail "it says nothing of the dead mount"
assert_equal "the file" hello "$(cat "$tmp/mnt/hf/file")"
assert_equal "mounts there" 1 "$(mounts_under "$tmp" | grep -Fcx "$tmp/mnt")"
unmount_background "$tmp/mnt" "$tmp/store"

# The same by a relative path, with a slash, from within.
for where in mnt mnt/ ./mnt; do
    mount_ready "$tmp/store" "$tmp/mnt" offline
    pid=$(daemon_pid "$tmp/mnt")
    unset "daemon_pids[$tmp/mnt]"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    (cd "$tmp" && mount_again store "$where")
    assert_equal "the file" hello "$(cat "$tmp/mnt/hf/file")"
    unmount_background "$tmp/mnt" "$tmp/store"
done
# The variables that a user exported for the clients point into the dead mount.
mount_ready "$tmp/store" "$tmp/mnt" offline
pid=$(daemon_pid "$tmp/mnt")
unset "daemon_pids[$tmp/mnt]"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
HF_HOME=$tmp/mnt/hf DGENERATE_CACHE=$tmp/mnt mount_again "$tmp/mnt"
ls "$tmp/mnt/hf" >/dev/null
unmount_background "$tmp/mnt" "$HOME/.cache/dgenerate"

# A dead mount of another kind is not ours to clear away.
mount_ready "$tmp/store" "$tmp/mnt" offline,subtype=other
pid=$(daemon_pid "$tmp/mnt")
unset "daemon_pids[$tmp/mnt]"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
# Its attributes are believed for a moment; then it is seen to be dead.
is_seen() {
    ! stat "$tmp/mnt" >/dev/null 2>&1
}
wait_until 10 is_seen
assert_refused "mountpoint $tmp/mnt: Transport endpoint is not connected" \
    "$tmp/store2" "$tmp/mnt" -o offline
grep -q " $tmp/mnt .* fuse.other " /proc/self/mountinfo ||
    fail "somebody else's dead mount was unmounted"
