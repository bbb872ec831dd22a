#!/usr/bin/env bash
# A repo of 20,000 files costs one request a page, once, and little memory.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

resident_kib() {
    awk '/^VmHWM:/ { print $2 }' "/proc/$(daemon_pid "$tmp/mnt")/status"
}

look_around() {
    assert_equal "files found" 20000 \
        "$(find "$snapshot" -type l -printf x | wc -c)"
    assert_equal "lines of ls -l" 5001 \
        "$(find "$snapshot/part-2" -maxdepth 0 -exec ls -l {} + | wc -l)"
    assert_equal "a file's size" 11 \
        "$(stat -L -c %s "$snapshot/part-3/file-019999.txt")"
}

start_origin
sha=$(make_repo model someone/many --many 20000)
snapshot=$tmp/mnt/hf/hub/models--someone--many/snapshots/$sha
mount_ready "$tmp/store" "$tmp/mnt"
before=$(resident_kib)
look_around
requests=$(count_requests)
[ "$requests" -le 24 ] || fail "$requests requests for 20 pages and the repo"
assert_equal "pages" 21 "$(count_requests --path "/tree/$sha")"
# Not under a sanitizer or valgrind, which need memory of their own.
if [ -z "${MLC_WRAP:-}" ] && ! grep -q -a __asan_init "$MLCACHEFS"; then
    grown=$(($(resident_kib) - before))
    [ "$grown" -lt 100000 ] || fail "$grown KiB of memory for 20,000 files"
fi
unmount "$tmp/mnt"

origin_log clear
mount_ready "$tmp/store" "$tmp/mnt"
look_around
assert_equal "requests after a remount" 0 "$(count_requests)"
unmount "$tmp/mnt"
