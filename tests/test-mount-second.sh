#!/usr/bin/env bash
# tap
# A second daemon on one STORE, or on one hf_home, is refused, but for ro.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
mkdir "$tmp/second"
ln -s store "$tmp/link"
mount_ready "$tmp/store" "$tmp/mnt" "offline,hf_home=$tmp/home"
mkdir -p "$tmp/mnt/hf/hub"
echo hello >"$tmp/mnt/hf/file"

refused() { # WHAT ARG...
    local what=$1
    shift
    assert_refused "$what: another mlcachefs is using it.*-o ro" "$@"
    assert_equal "what is mounted on the second" "" "$(mounts_under "$tmp" |
        grep -Fx "$tmp/second" || true)"
}

read_only() { # STORE OPTIONS
    mount_ready "$1" "$tmp/second" "ro,$2"
    assert_equal "what it shows" hello "$(cat "$tmp/second/hf/file")"
    assert_error "Read-only file system" touch "$tmp/second/hf/file"
    assert_error "Read-only file system" touch "$tmp/second/new"
    assert_error "Read-only file system" rm "$tmp/second/hf/file"
    unmount "$tmp/second"
    assert_exists "$tmp/mnt/hf/file"
}

same_mountpoint() {
    assert_refused "$tmp/mnt: an mlcachefs is mounted there already" \
        "$tmp/other" "$tmp/mnt"
}

run_case "the same STORE" refused "$tmp/store" "$tmp/store" "$tmp/second" \
    -o offline,hf_home="$tmp/home2"
run_case "the same STORE through a link" refused "$tmp/link" "$tmp/link" \
    "$tmp/second" -o offline,hf_home="$tmp/home3"
run_case "the same hf_home" refused "$tmp/home" "$tmp/store2" "$tmp/second" \
    -o "offline,hf_home=$tmp/home"
run_case "the other's hf_home as STORE" refused "$tmp/home" "$tmp/home" \
    "$tmp/second" -o "offline,hf_home=$tmp/home4"
run_case "the same STORE, ro" read_only "$tmp/store" "hf_home=$tmp/home"
run_case "the same hf_home, ro" read_only "$tmp/store3" "hf_home=$tmp/home"
run_case "the same mountpoint" same_mountpoint
unmount "$tmp/mnt"
# What held the locks is gone.
mount_ready "$tmp/store" "$tmp/second" "offline,hf_home=$tmp/home"
unmount "$tmp/second"
end_cases
