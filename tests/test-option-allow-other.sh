#!/usr/bin/env bash
# Another user is kept out, and let in by allow_other; what it creates is its
# own where the daemon is root.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_command setpriv
[ "$(id -u)" = 0 ] || skip "only root can be another user"

# The folders above may let nobody else in: from here on paths are relative.
cd "$tmp"
chmod 755 .
as_other() {
    setpriv --reuid=4711 --regid=4712 --clear-groups "$@"
}
mkdir -p "$tmp/store/hf"
chmod 777 "$tmp/store/hf"
echo secret >"$tmp/store/hf/secret"
chmod 600 "$tmp/store/hf/secret"

mount_ready "$tmp/store" "$tmp/mnt"
assert_error "Permission denied" as_other ls "mnt"
unmount "$tmp/mnt"

mount_ready "$tmp/store" "$tmp/mnt" allow_other
as_other ls "mnt/hf" >/dev/null
assert_error "Permission denied" as_other cat "mnt/hf/secret"
as_other touch "mnt/hf/file"
as_other mkdir "mnt/hf/folder"
as_other ln -s x "mnt/hf/link"
for name in file folder link; do
    assert_equal "the owner of $name" "4711 4712" \
        "$(stat -c '%u %g' "$tmp/store/hf/$name")"
done
assert_error "Operation not permitted" as_other chown 0 "mnt/hf/file"
unmount "$tmp/mnt"
