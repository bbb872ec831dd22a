#!/usr/bin/env bash
# Deleting is evicting: bytes are freed, names leave listings until they are
# looked up again, rm -r succeeds in whatever way, and what is needed again comes
# again.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir -p "$tmp/source/sub/deeper"
printf 'small\n' >"$tmp/source/small.txt"
make_file "$tmp/source/big.bin" 3M
make_file "$tmp/source/sub/part.bin" 2M
printf 'deep\n' >"$tmp/source/sub/deeper/file.txt"
: >"$tmp/source/empty"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source" --lfs-over 100000)
mount_ready "$tmp/store" "$tmp/mnt"
hub=$tmp/mnt/hf/hub
repo=$hub/models--org--name
snapshot=$repo/snapshots/$commit

in_store() { # bytes
    du -sb --apparent-size "$tmp/store/hf" | cut -f1
}
fetch_all() {
    assert_same_tree "$tmp/source" "$snapshot"
    assert_equal "the ref" "$commit" "$(cat "$repo/refs/main")"
    # Its last files may still be moving home.
    wait_until 10 test -e \
        "$tmp/store/hf/hub/models--org--name/trees/$commit.json"
}

# A pointer: its blob stays; the name is found, and then listed again.
fetch_all
blob=$(readlink -f "$snapshot/big.bin")
rm "$snapshot/big.bin"
assert_equal "the listing" "empty small.txt sub" "$(names_in "$snapshot")"
assert_exists "$tmp/store/${blob#"$tmp/mnt/"}"
stat "$snapshot/big.bin" >"$tmp/out"
assert_equal "the listing" "big.bin empty small.txt sub" \
    "$(names_in "$snapshot")"

# A blob: its bytes go, its pointer stays, and it comes again.
[ "$(in_store)" -gt 5000000 ] || fail "it was not fetched"
rm "$blob"
[ "$(in_store)" -lt 3000000 ] || fail "its bytes were not freed"
[[ "$(ls "$repo/blobs")" != *"$(basename "$blob")"* ]] || fail "it is listed"
assert_absent "$tmp/store/${blob#"$tmp/mnt/"}"
assert_same "$tmp/source/big.bin" "$snapshot/big.bin"

# A name that has no bytes here.
blob=$(readlink -f "$snapshot/sub/part.bin")
rm "$blob"
rm "$blob"
rm "$snapshot/sub/part.bin"
assert_equal "the listing" deeper "$(names_in "$snapshot/sub")"
rm "$repo/refs/main"
assert_equal "the refs" "" "$(ls "$repo/refs")"
assert_same "$tmp/source/sub/part.bin" "$snapshot/sub/part.bin"
fetch_all
assert_equal "the refs" main "$(ls "$repo/refs")"

# Of a whole repo, in several ways, each with the whole of it fetched before.
deleted() { # WHAT
    assert_equal "$1: what is left in hub/" "" "$(ls "$hub")"
    [ "$(in_store)" -lt 100000 ] || fail "$1: left $(in_store) bytes"
    [ -z "$(ls "$tmp/store/hf/hub")" ] || fail "$1: left it in the store"
    fetch_all
    assert_equal "$1: hub/ after a look" models--org--name "$(ls "$hub")"
}
rm -r "$repo"
deleted "rm -r"
rm -rf "$repo"
deleted "rm -rf"
find "$repo" -delete
deleted "find -delete"
"$python" -c 'import shutil, sys; shutil.rmtree(sys.argv[1])' "$repo"
deleted "rmtree"
# As hf cache rm does: blobs, refs, snapshots, each by path, then the repo.
"$python" - "$repo" <<'EOS'
import os, shutil, sys
repo = sys.argv[1]
for blob in os.listdir(repo + "/blobs"):
    os.unlink(repo + "/blobs/" + blob)
for ref in os.listdir(repo + "/refs"):
    os.unlink(repo + "/refs/" + ref)
for commit in os.listdir(repo + "/snapshots"):
    shutil.rmtree(repo + "/snapshots/" + commit)
shutil.rmtree(repo)
EOS
deleted "by parts"

# Never fetched: there is nothing to free, and it succeeds.
rm -r "$repo"
ls -lR "$repo/snapshots/$commit" >"$tmp/out"
rm -r "$snapshot"
assert_equal "the commits" "" "$(ls "$repo/snapshots")"
ls "$snapshot" >"$tmp/out"
assert_equal "the commits" "$commit" "$(ls "$repo/snapshots")"
rm -r "$repo"
deleted "not fetched"

# What a user put there is deleted with it, and does not come again.
echo mine >"$snapshot/mine.txt"
mkdir "$repo/own"
echo mine >"$repo/own/mine.txt"
rm -r "$repo"
deleted "with a user's files"
assert_absent "$snapshot/mine.txt"
assert_absent "$repo/own"

# The same after a remount.
unmount "$tmp/mnt"
mount_ready "$tmp/store" "$tmp/mnt"
rm -r "$repo"
deleted "after a remount"
