#!/usr/bin/env bash
# tap
# STORE is the argument, else $DGENERATE_CACHE, else ~/.cache/dgenerate.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

# goes_to FOLDER: what is written in the mount's root lies there.
goes_to() {
    mkdir "$tmp/mnt/auto1111_metadata"
    assert_exists "$1/auto1111_metadata"
    rmdir "$tmp/mnt/auto1111_metadata"
}

given() {
    DGENERATE_CACHE=$tmp/env mount_ready "$tmp/given" "$tmp/mnt" offline
    goes_to "$tmp/given"
    unmount "$tmp/mnt"
    assert_absent "$tmp/env"
}

relative() {
    cd "$tmp"
    mount_background "$tmp/mnt" "$MLCACHEFS" rel/store mnt -o offline
    goes_to "$tmp/rel/store"
    unmount_background "$tmp/mnt" "$tmp/rel/store"
}

from_environment() {
    DGENERATE_CACHE=$tmp/env mount_background "$tmp/mnt" \
        "$MLCACHEFS" "$tmp/mnt" -o offline
    goes_to "$tmp/env"
    unmount_background "$tmp/mnt" "$tmp/env"
}

from_home() {
    mount_background "$tmp/mnt" "$MLCACHEFS" "$tmp/mnt" -o offline
    goes_to "$HOME/.cache/dgenerate"
    unmount_background "$tmp/mnt" "$HOME/.cache/dgenerate"
}

inside_skipped() {
    DGENERATE_CACHE=$tmp/mnt mount_background "$tmp/mnt" \
        "$MLCACHEFS" "$tmp/mnt" -o offline
    goes_to "$HOME/.cache/dgenerate"
    grep -q "DGENERATE_CACHE=.*points into the mount" "$tmp/daemon.log" ||
        fail "no note that DGENERATE_CACHE is skipped"
    unmount_background "$tmp/mnt" "$HOME/.cache/dgenerate"
}

inside_refused() {
    mkdir -p "$tmp/mnt"
    assert_refused "STORE $tmp/mnt/store lies inside the mountpoint" \
        "$tmp/mnt/store" "$tmp/mnt"
    assert_refused "STORE $tmp/mnt lies inside the mountpoint" \
        "$tmp/mnt" "$tmp/mnt"
    ln -s mnt "$tmp/link"
    assert_refused "STORE $tmp/link/store lies inside the mountpoint" \
        "$tmp/link/store" "$tmp/mnt"
    assert_equal "what lies in the mountpoint" "" "$(ls -A "$tmp/mnt")"
}

around_refused() {
    mkdir -p "$tmp/around/mnt"
    assert_refused "mountpoint.* lies inside STORE" \
        "$tmp/around" "$tmp/around/mnt"
    assert_refused "mountpoint.* lies inside hf" \
        "$tmp/store" "$tmp/around/mnt" -o "hf_home=$tmp/around"
}

no_home() {
    mkdir -p "$tmp/mnt"
    unset HOME
    assert_refused "no STORE given, and neither DGENERATE_CACHE nor HOME" \
        "$tmp/mnt"
}

unwritable() {
    echo in the way >"$tmp/file"
    mkdir -p "$tmp/mnt"
    assert_refused "$tmp/file" "$tmp/file" "$tmp/mnt"
    assert_refused "$tmp/file/store" "$tmp/file/store" "$tmp/mnt"
    assert_refused "$tmp/file" "$tmp/store" "$tmp/mnt" -o "hf_home=$tmp/file"
    mkdir "$tmp/odd"
    echo in the way >"$tmp/odd/.mlcachefs"
    assert_refused "$tmp/odd/.mlcachefs" "$tmp/odd" "$tmp/mnt"
}

read_only_disk() {
    [ "$(id -u)" = 0 ] || skip "only root can mount a tmpfs"
    mkdir -p "$tmp/disk" "$tmp/mnt"
    mount -t tmpfs tmpfs "$tmp/disk" || skip "no tmpfs can be mounted"
    on_exit umount -l "$tmp/disk"
    mkdir -p "$tmp/disk/store/hf"
    echo kept >"$tmp/disk/store/hf/file"
    mount -o remount,ro "$tmp/disk"
    assert_refused "$tmp/disk/store cannot be written.*(ro|choose)" \
        "$tmp/disk/store" "$tmp/mnt"
    assert_refused "$tmp/disk/new cannot be made" "$tmp/disk/new" "$tmp/mnt"
    # With ro it shows what is there.
    mount_ready "$tmp/disk/store" "$tmp/mnt" ro
    assert_equal "the file" kept "$(cat "$tmp/mnt/hf/file")"
    assert_error "Read-only file system" touch "$tmp/mnt/hf/new"
    # A domain that this store never had is empty.
    assert_equal "web/" "" "$(ls "$tmp/mnt/web")"
    assert_error "No such file" stat "$tmp/mnt/web/x"
    unmount "$tmp/mnt"
}

newer_format() {
    mkdir -p "$tmp/new/.mlcachefs" "$tmp/mnt"
    echo "mlcachefs store 999" >"$tmp/new/.mlcachefs/format"
    assert_refused "another version of mlcachefs" "$tmp/new" "$tmp/mnt"
}

run_case "STORE given" given
run_case "STORE and MOUNTPOINT relative to the current folder" relative
run_case "\$DGENERATE_CACHE" from_environment
run_case "nothing given: .cache/dgenerate in HOME" from_home
run_case "\$DGENERATE_CACHE in the mount is skipped" inside_skipped
run_case "STORE in the mount is refused" inside_refused
run_case "a mountpoint in STORE or hf_home is refused" around_refused
run_case "no HOME and nothing given is refused" no_home
run_case "a store that cannot be made is refused" unwritable
run_case "a store on a read-only disk is refused, but for ro" read_only_disk
run_case "a store of a newer version is refused" newer_format
end_cases
