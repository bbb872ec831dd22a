#!/usr/bin/env bash
# The clients' shared store is not made in the mount, and that of a cache which
# was there before is read through its links, never written through.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
make_file "$tmp/repo/other.bin" 2M
sha=$(make_repo model someone/xet --from "$tmp/repo" --xet)
oid() {
    sha256sum "$1" | cut -c 1-64
}
model=$(oid "$tmp/repo/model.bin")
mount_ready "$tmp/store" "$tmp/mnt"
assert_error "Operation not permitted" mkdir "$tmp/mnt/hf/hub/blobs"
assert_absent "$tmp/mnt/hf/hub/blobs"
# What clients probe there first.
mkdir "$tmp/mnt/hf/hub/tmpabcdefgh"
ln -s dst "$tmp/mnt/hf/hub/tmpabcdefgh/src"
rm -r "$tmp/mnt/hf/hub/tmpabcdefgh"
repo=$tmp/mnt/hf/hub/models--someone--xet
assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
! grep -q xet "$repo/trees/$sha.json" || fail "the tree file has Xet hashes"
unmount "$tmp/mnt"

# A plain cache as huggingface_hub 1.32 and later leave it.
hub=$tmp/cache/hub
payload=$hub/blobs/ab/$(printf 'ab%062d' 7)
mkdir -p "$(dirname "$payload")" "$hub/models--someone--xet"/{blobs,refs} \
    "$hub/models--someone--xet/snapshots/$sha"
echo 1 >"$hub/blobs/.huggingface-shared-blobs"
cp "$tmp/repo/model.bin" "$payload"
chmod 444 "$payload"
echo "models--someone--xet/blobs/$model" >"$payload.refs"
: >"$payload.lock"
ln -s "../../blobs/ab/$(basename "$payload")" \
    "$hub/models--someone--xet/blobs/$model"
printf %s "$sha" >"$hub/models--someone--xet/refs/main"
ln -s "../../blobs/$model" \
    "$hub/models--someone--xet/snapshots/$sha/model.bin"

origin_log clear
mount_ready "$tmp/store2" "$tmp/mnt" "hf_home=$tmp/cache"
assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
assert_equal "size" 2097152 "$(stat -L -c %s "$repo/snapshots/$sha/model.bin")"
assert_equal "bytes fetched of what is there" 0 "$(body_bytes --server cdn)"
assert_same "$tmp/repo/other.bin" "$repo/snapshots/$sha/other.bin"
assert_equal "the link" "../../blobs/ab/$(basename "$payload")" \
    "$(readlink "$repo/blobs/$model")"
# A client replaces the blob: the payload stays as it is.
make_file "$tmp/mnt/hf/hub/new" 2M
cp "$tmp/repo/model.bin" "$repo/blobs/$model.12345678.incomplete"
mv "$repo/blobs/$model.12345678.incomplete" "$repo/blobs/$model"
assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
[ ! -L "$repo/blobs/$model" ] || fail "the blob is still a link"
unmount "$tmp/mnt"
assert_same "$tmp/repo/model.bin" "$payload"
assert_equal "links to the payload" 1 "$(stat -c %h "$payload")"

# A link whose payload is gone: fetched anew, into the repo.
rm "$hub/models--someone--xet/blobs/$model" "$payload"
ln -s "../../blobs/ab/$(basename "$payload")" \
    "$hub/models--someone--xet/blobs/$model"
mount_ready "$tmp/store2" "$tmp/mnt" "hf_home=$tmp/cache"
assert_same "$tmp/repo/model.bin" "$repo/snapshots/$sha/model.bin"
unmount "$tmp/mnt"
assert_absent "$payload"
assert_same "$tmp/repo/model.bin" "$hub/models--someone--xet/blobs/$model"
