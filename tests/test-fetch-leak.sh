#!/usr/bin/env bash
# When files are closed and forgotten, so are their objects, their descriptors
# and their memory.
# tsan
. "${srcdir:-.}/tests/fetch.sh"

pairs=()
for i in $(seq 40); do
    pairs+=("f$i.bin=300000")
done
serve -- big.bin=8M "${pairs[@]}"
mount_ready "$store" "$mnt"
daemon=/proc/$(daemon_pid "$mnt")

count_fds() {
    find "$daemon/fd" -mindepth 1 | wc -l
}

# Connections are kept for the next request; files must not be.
objects_are_gone() {
    status_is objects 0 && ! find "$daemon/fd" -lname '*/objects/*' | grep -q .
}

rss() {
    awk '/^VmRSS/ { print $2 }' "$daemon/status"
}

round() {
    local i
    for i in $(seq 40); do
        reader many 1 "$source/f$i.bin" "$files/f$i.bin"
        rm "$(readlink -f "$files/f$i.bin")"
    done
    # Some are given up half-way.
    reader at "$source/big.bin" "$files/big.bin" 0:100000
    rm "$(readlink -f "$files/big.bin")"
    wait_until 10 objects_are_gone
}

round
fds=$(count_fds)
kib=$(rss)
round
round
echo "descriptors: $fds, then $(count_fds); memory: $kib KiB, then $(rss)"
assert_at_most "descriptors" $((fds + 8)) "$(count_fds)"
if [ "${MLC_TEST_SLOWNESS:-1}" = 1 ]; then
    assert_at_most "memory in KiB" $((kib + 8192)) "$(rss)"
fi
wait_until 5 status_is memory_used 0
unmount "$mnt"
