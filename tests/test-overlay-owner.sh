#!/usr/bin/env bash
# With allow_other and a daemon of root's, what another user creates is theirs.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_command setpriv
[ "$(id -u)" = 0 ] || skip "not root"

mount_ready "$tmp/store" "$tmp/mnt" allow_other
for dir in plain hf/shared; do
    mkdir -m 1777 "$tmp/mnt/$dir"
    # Relative: the folders above are closed to others.
    cd "$tmp/mnt/$dir"
    setpriv --reuid 4321 --regid 4322 --clear-groups bash -c '
        umask 027
        echo theirs >file
        mkdir folder
        ln -s file link
        mkfifo fifo
        chmod 600 file'
    for top in "$tmp/mnt" "$tmp/store"; do
        assert_equal "owners below $top/$dir" \
            "4321:4322 600 4321:4322 640 4321:4322 750 4321:4322 777" \
            "$(cd "$top/$dir" && stat -c '%u:%g %a' file fifo folder link |
                paste -sd ' ')"
    done
    mkdir -m 755 "$tmp/mnt/$dir/closed"
    assert_error "Permission denied" setpriv --reuid 4321 --regid 4322 \
        --clear-groups touch closed/file
done
# The group that a folder hands on.
chown 0:4323 "$tmp/mnt/plain"
chmod 2777 "$tmp/mnt/plain"
cd "$tmp/mnt/plain"
setpriv --reuid 4321 --regid 4322 --clear-groups mkdir sub
cd /
assert_equal "a folder in it" "4321:4323 2755" \
    "$(stat -c '%u:%g %a' "$tmp/mnt/plain/sub")"
