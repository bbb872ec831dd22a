#!/usr/bin/env bash
# max_size= counts what was fetched through the mount: what was in the cache
# before, or was put there by others, is neither counted nor evicted.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=3M b.bin=3M c.bin=3M
hub=$store/hf/hub/models--a--m

# A client's own cache, one of whose files is as it would come from us.
mkdir -p "$hub/blobs" "$hub/snapshots/$commit" "$store/web/mine" \
    "$store/spacy/en_mine"
cp "$source/a.bin" "$hub/blobs/$(oid a.bin)"
ln -s "../../blobs/$(oid a.bin)" "$hub/snapshots/$commit/a.bin"
cp "$source/a.bin" "$store/web/mine/a.bin"
cp "$source/a.bin" "$store/spacy/en_mine/a.bin"
(cd "$store" && find . -type f -path '*a.bin' -o -path "*/$(oid a.bin)") |
    sort >"$tmp/before"

lacks() {
    ! [ -e "$hub/blobs/$(oid "$1")" ]
}
mount_ready "$store" "$mnt" max_size=4M
cmp "$source/a.bin" "$files/a.bin"
cmp "$source/b.bin" "$files/b.bin"
cp "$source/a.bin" "$mnt/a.bin"
cp "$source/a.bin" "$mnt/hf/a.bin"
cmp "$source/c.bin" "$files/c.bin"
wait_until 10 lacks b.bin
assert_exists "$hub/blobs/$(oid c.bin)"
rm "$mnt/a.bin" "$mnt/hf/a.bin"

# One of ours that somebody put another file in the place of is theirs.
wait_until 10 test -e "$hub/blobs/$(oid c.bin)"
cp "$source/c.bin" "$tmp/c"
mv "$tmp/c" "$hub/blobs/$(oid c.bin)"
unmount "$mnt"
mount_ready "$store" "$mnt" max_size=0
cmp "$source/b.bin" "$files/b.bin"
wait_until 10 lacks b.bin
assert_exists "$hub/blobs/$(oid c.bin)"
(cd "$store" && find . -type f -path '*a.bin' -o -path "*/$(oid a.bin)") |
    sort >"$tmp/after"
assert_same "$tmp/before" "$tmp/after"
unmount "$mnt"
