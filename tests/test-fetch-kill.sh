#!/usr/bin/env bash
# A daemon killed at random moments loses at most 8 MiB of what was fetched.
# timeout: 180
. "${srcdir:-.}/tests/fetch.sh"

mib=$(scaled 512)
rounds=20
serve -- big.bin="${mib}M"

# How much of the file each round fetches before the end, and where it reads.
"$python" - "$mib" "$rounds" >"$tmp/plan" <<'EOS'
import random, sys
mib, rounds = map(int, sys.argv[1:])
rng = random.Random(20)
for kib in sorted(rng.randrange(mib << 10) for _ in range(rounds)):
    print(kib, rng.randrange(mib << 20))
EOS

# fetched KIB: is so much of it on disk?
fetched() {
    local had
    had=$(du -sk "$store/.mlcachefs/objects" | cut -f 1)
    [ "$had" -ge "$1" ] || pid_is_gone "$reader_pid"
}

# What a kill cost: bytes that were sent, and are not on disk.
lost=0
count_lost() {
    local had now
    had=$(du -sk "$store/.mlcachefs/objects" | cut -f 1)
    now=$(($(body_bytes --server cdn) - (had << 10)))
    assert_at_most "bytes lost by one kill" $((8 << 20)) $((now - lost))
    lost=$now
}

while read -r kib offset; do
    mount_ready "$store" "$mnt"
    reader from "$source/big.bin" "$files/big.bin" "$offset" \
        >>"$tmp/reader.log" 2>&1 &
    reader_pid=$!
    wait_until 60 fetched "$kib"
    # Mounting goes over the dead mount, so that one is left.
    pid=$(daemon_pid "$mnt")
    unset "daemon_pids[$mnt]"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    wait "$reader_pid" || true
    ! grep -q wrong "$tmp/reader.log" || fail "$(cat "$tmp/reader.log")"
    count_lost
done <"$tmp/plan"

mount_ready "$store" "$mnt"
reader many 1 "$source/big.bin" "$files/big.bin"
sent=$(body_bytes --server cdn)
again=$((sent - (mib << 20)))
echo "fetched twice: $((again / rounds >> 10)) KiB a kill"
assert_at_most "bytes sent twice" $((rounds * 8 << 20)) "$again"
unmount "$mnt"
