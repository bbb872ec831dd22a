#!/usr/bin/env bash
# memory= bounds the daemon, however many large files are read at once.
# tsan
. "${srcdir:-.}/tests/fetch.sh"

mib=$(scaled 32)
pairs=()
for i in $(seq 32); do
    pairs+=("f$i.bin=${mib}M")
done
serve -- "${pairs[@]}"
mount_ready "$store" "$mnt" memory=16M
paths=()
for i in $(seq 32); do
    paths+=("$source/f$i.bin" "$files/f$i.bin")
done
reader many 1 "${paths[@]}"

peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$(daemon_pid "$mnt")/status")
echo "peak $peak KiB"
if [ "${MLC_TEST_SLOWNESS:-1}" = 1 ]; then
    assert_at_most "the daemon's memory in KiB" $(((64 + 16) << 10)) "$peak"
fi
unmount "$mnt"
