#!/usr/bin/env bash
# Without a Hub the mount comes up; look-ups fail soon, local files work.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

# Port 1 of loopback: nobody is there.
HF_ENDPOINT=http://127.0.0.1:1 mount_ready "$tmp/store" "$tmp/mnt"
begin=$SECONDS
for _ in 1 2 3 4 5; do
    assert_error "Input/output error" \
        cat "$tmp/mnt/hf/hub/models--org--name/refs/main"
done
[ $((SECONDS - begin)) -le 12 ] || fail "five look-ups took too long"
ls "$tmp/mnt" "$tmp/mnt/hf" "$tmp/mnt/hf/hub" >/dev/null
echo note >"$tmp/mnt/hf/note"
assert_same "$tmp/store/hf/note" "$tmp/mnt/hf/note"
stat -f "$tmp/mnt" >/dev/null
grep -q "http://127.0.0.1:1/.*refused" "$tmp/daemon.log" ||
    fail "the log does not say what failed"
unmount "$tmp/mnt"

# RFC 6761: no such host, wherever this runs.
HF_ENDPOINT=http://hub.invalid mount_ready "$tmp/store" "$tmp/mnt"
if said=$(LC_ALL=C cat "$tmp/mnt/hf/hub/models--org--name/refs/main" 2>&1); then
    fail "a host that does not exist answered"
fi
assert_match "the error" \
    "No route to host|Input/output error|Connection timed out" "$said"
unmount "$tmp/mnt"
