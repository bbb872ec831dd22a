#!/usr/bin/env bash
# tap
# mount -t fuse.mlcachefs STORE MOUNTPOINT -o ... works, as from fstab, with the
# generic options that stand there.
#
# mount(8) has the type's program looked for on a PATH of its own, so all of
# this happens where a folder with it lies over /usr/local/bin.
if [ -z "${MLC_IN_NAMESPACE:-}" ] && unshare -m true 2>/dev/null; then
    MLC_IN_NAMESPACE=1 exec unshare -m bash "${BASH_SOURCE[0]}"
fi
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_command mount.fuse3 findmnt
[ "${MLC_IN_NAMESPACE:-}$(id -u)" = 10 ] ||
    skip "only root can use mount(8), in a mount namespace"

mkdir "$tmp/bin" "$tmp/store"
ln -s "$MLCACHEFS" "$tmp/bin/mlcachefs"
mount --bind "$tmp/bin" /usr/local/bin

by_mount() { # OPTIONS
    mount_background "$tmp/mnt" \
        mount -t fuse.mlcachefs "$tmp/store" "$tmp/mnt" -o "$1"
    assert_equal "the type" "fuse.mlcachefs" \
        "$(findmnt -n -o FSTYPE "$tmp/mnt")"
    assert_equal "the source" "$tmp/store" "$(findmnt -n -o SOURCE "$tmp/mnt")"
    ls "$tmp/mnt/hf" >/dev/null
    unmount_background "$tmp/mnt" "$tmp/store"
}

by_fstab() {
    mkdir -p "$tmp/mnt"
    printf '%s %s fuse.mlcachefs noauto,offline,_netdev,nofail,%s 0 0\n' \
        "$tmp/store" "$tmp/mnt" "x-systemd.automount,fetch=demand" \
        >"$tmp/fstab"
    mount_background "$tmp/mnt" mount -T "$tmp/fstab" "$tmp/mnt"
    ls "$tmp/mnt/hf" >/dev/null
    unmount_background "$tmp/mnt" "$tmp/store"
}

refused() {
    mkdir -p "$tmp/mnt"
    assert_error "unknown option 'nonsense'" \
        mount -t fuse.mlcachefs "$tmp/store" "$tmp/mnt" -o nonsense
}

read_only() {
    mkdir -p "$tmp/mnt"
    mount_background "$tmp/mnt" \
        mount -t fuse.mlcachefs "$tmp/store" "$tmp/mnt" -o ro,offline
    findmnt -n -o OPTIONS "$tmp/mnt" | tr ',' '\n' | grep -qx ro ||
        fail "not read-only"
    assert_error "Read-only file system" touch "$tmp/mnt/hf/file"
    unmount_background "$tmp/mnt" "$tmp/store"
}

run_case "an option of ours" by_mount offline
for options in noauto _netdev nofail defaults user,noauto users x-systemd.automount \
    x-systemd.requires=network-online.target x-gvfs-show comment=mine \
    nosuid,nodev,noexec suid,dev,exec noatime relatime norelatime strictatime \
    nodiratime atime sync async dirsync lazytime silent loud iversion \
    mand nomand rw allow_other allow_root auto_unmount; do
    run_case "accepted: $options" by_mount "offline,$options"
done
run_case "a line of fstab" by_fstab
run_case "ro" read_only
run_case "an unknown option is refused" refused
end_cases
