#!/usr/bin/env bash
# Names of the Hub's: writing in place is refused, O_TRUNC and rename put a local
# file there while open handles keep the old bytes, and what can't be renamed or
# linked says EXDEV, so that mv copies.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir -p "$tmp/source/sub"
printf 'small\n' >"$tmp/source/small.txt"
make_file "$tmp/source/big.bin" 3M
make_file "$tmp/source/fetched.bin" 2M
printf 'deep\n' >"$tmp/source/sub/deep.txt"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source" --lfs-over 100000)
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/models--org--name
snapshot=$repo/snapshots/$commit
blob_of() { # FILE
    readlink -f "$snapshot/$1"
}
if [ "$(id -u)" = 0 ]; then
    refused="Operation not permitted"
else
    refused="Permission denied"
fi

# Fetched or not, it isn't written in place.
cat "$snapshot/fetched.bin" >"$tmp/copy"
assert_same "$tmp/copy" "$tmp/source/fetched.bin"
for name in small.txt big.bin fetched.bin; do
    blob=$(blob_of $name)
    # shellcheck disable=SC2016
    for way in 'exec 9<>"$1"' 'echo more >>"$1"' 'truncate -s 3 "$1"' \
        'dd of="$1" conv=notrunc status=none <<<x'; do
        assert_error "$refused" bash -c "$way" _ "$blob"
    done
    # Accepted, and without effect on the content.
    chmod 600 "$blob"
    chmod 644 "$blob"
    touch "$blob"
    touch -d 2001-02-03 "$blob"
    chown "$(id -u):$(id -g)" "$blob"
    assert_error "Invalid cross-device link" ln "$blob" "$repo/linked"
    assert_same "$snapshot/$name" "$tmp/source/$name"
done

# Renaming what isn't here, or a folder that holds such: mv copies.
assert_error "Invalid cross-device link" "$python" -c '
import os, sys
os.rename(sys.argv[1], sys.argv[2])' "$snapshot/sub" "$snapshot/sub2"
assert_error "Invalid cross-device link" "$python" -c '
import os, sys
os.rename(sys.argv[1], sys.argv[2])' "$repo" "$repo-moved"
mkdir "$tmp/mnt/hf/mine"
mv "$(blob_of sub/deep.txt)" "$tmp/mnt/hf/mine/deep.txt"
assert_equal "moved" deep "$(cat "$tmp/mnt/hf/mine/deep.txt")"
assert_equal "still named" deep "$(cat "$snapshot/sub/deep.txt")"
echo mine >>"$tmp/mnt/hf/mine/deep.txt"

# A fetched one that is renamed is its owner's from then on.
blob=$(blob_of fetched.bin)
mv "$blob" "$tmp/mnt/hf/mine/fetched.bin"
assert_same "$tmp/mnt/hf/mine/fetched.bin" "$tmp/source/fetched.bin"
echo more >>"$tmp/mnt/hf/mine/fetched.bin"
assert_same "$blob" "$tmp/source/fetched.bin"

# O_TRUNC: the early reader keeps what it had.
for name in small.txt big.bin; do
    blob=$(blob_of $name)
    exec 5<"$blob"
    head -c 3 <&5 >"$tmp/start"
    echo "not $name" >"$blob"
    cat <&5 >"$tmp/rest"
    cat "$tmp/start" "$tmp/rest" >"$tmp/all"
    assert_same "$tmp/all" "$tmp/source/$name"
done
exec 5<&-

# A rename onto it, of the right bytes and of others.
unmount "$tmp/mnt"
rm -r "$tmp/store"
mount_ready "$tmp/store" "$tmp/mnt"
blob=$(blob_of big.bin)
exec 5<"$blob"
head -c 3 <&5 >"$tmp/start"
cp "$tmp/source/big.bin" "$blob.incomplete"
mv "$blob.incomplete" "$blob"
cat <&5 >>"$tmp/start"
exec 5<&-
assert_same "$tmp/start" "$tmp/source/big.bin"
assert_same "$blob" "$tmp/source/big.bin"
assert_error "File exists" "$python" -c '
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 1):
    sys.exit(os.strerror(ctypes.get_errno()))' \
    "$(blob_of small.txt)" "$(blob_of sub/deep.txt)"

# In listings the local name wins, and there is one of each.
echo mine >"$tmp/mnt/hf/local.tmp"
mkdir "$snapshot/sub/new"
echo mine >"$snapshot/sub/mine.txt"
mv "$tmp/mnt/hf/local.tmp" "$snapshot/small.txt"
assert_equal "the listing" "deep.txt mine.txt new" "$(names_in "$snapshot/sub")"
assert_equal "the listing" "big.bin fetched.bin small.txt sub" \
    "$(names_in "$snapshot")"
[ ! -L "$snapshot/small.txt" ] || fail "the local file does not win"
