#!/usr/bin/env bash
# user.mlcachefs.evict frees a file's bytes and leaves its name; the stock tools'
# view of the store stays in order.  A user's own file is not taken.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=3M b.bin=3M
mkdir -p "$origin_root/web/w"
cp "$source/a.bin" "$origin_root/web/w/"
hub=$store/hf/hub/models--a--m
url=$mnt/web/$web/w/a.bin

evict() {
    setfattr -n user.mlcachefs.evict -v "${2:-1}" "$1"
}
state_of() {
    getfattr -L --absolute-names --only-values -n user.mlcachefs.state "$1"
}
is_whole() {
    [ -e "$hub/trees/$commit.json" ]
}

mount_ready "$store" "$mnt"
cmp "$source/a.bin" "$files/a.bin"
cmp "$source/b.bin" "$files/b.bin"
wait_until 10 is_whole
exec 3<"$files/a.bin"
evict "$files/a.bin" 0
assert_equal "state" cached "$(state_of "$files/a.bin")"
evict "$files/a.bin"
assert_equal "state" remote "$(state_of "$files/a.bin")"
assert_absent "$hub/blobs/$(oid a.bin)"
assert_absent "$hub/snapshots/$commit/a.bin"
assert_absent "$hub/trees/$commit.json"
assert_exists "$hub/snapshots/$commit/b.bin"
assert_equal "names" "a.bin b.bin" "$(names_in "$files")"
cmp "$source/a.bin" <(cat <&3)
exec 3<&-
cmp "$source/a.bin" "$files/a.bin"
wait_until 10 is_whole

cmp "$source/a.bin" "$url"
evict "$url"
assert_equal "state" remote "$(state_of "$url")"
cmp "$source/a.bin" "$url"

echo mine >"$mnt/hf/mine"
assert_error "Operation not permitted" evict "$mnt/hf/mine"
assert_error "Invalid argument" evict "$files/a.bin" yes
assert_error "not supported" evict "$mnt/hf/hub"
assert_equal "mine" mine "$(cat "$store/hf/mine")"

# rm leaves no pointer to nothing either.
rm "$(readlink -f "$files/b.bin")"
assert_absent "$hub/snapshots/$commit/b.bin"
assert_absent "$hub/trees/$commit.json"
cmp "$source/b.bin" "$files/b.bin"
unmount "$mnt"
