#!/usr/bin/env bash
# A repo is deleted while somebody is in it: rm -r succeeds and frees all, what
# is open stays readable to its end, and a look brings the repo back.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir -p "$tmp/source/sub"
make_file "$tmp/source/slow.bin" 12M
make_file "$tmp/source/sub/part.bin" 2M
printf 'small\n' >"$tmp/source/small.txt"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source" --lfs-over 100000)
mount_ready "$tmp/store" "$tmp/mnt"
hub=$tmp/mnt/hf/hub
repo=$hub/models--org--name
snapshot=$repo/snapshots/$commit

bytes_in_store() {
    du -sB1 "$tmp/store" | cut -f1
}
is_freed() {
    [ "$(bytes_in_store)" -lt 1000000 ]
}

fetch_all() {
    assert_same_tree "$tmp/source" "$snapshot"
    # Its last files may still be moving home.
    wait_until 10 test -e \
        "$tmp/store/hf/hub/models--org--name/trees/$commit.json"
}

# Everything is fetched; a working folder, an open folder, open files.
fetch_all
"$python" - "$repo" "$snapshot" "$tmp/source" <<'EOS'
import os, subprocess, sys
repo, snapshot, source = sys.argv[1:]
os.chdir(snapshot + "/sub")
fd = os.open(snapshot, os.O_RDONLY | os.O_DIRECTORY)
part = open("part.bin", "rb")
slow = open(snapshot + "/slow.bin", "rb")
blobs = os.scandir(repo + "/blobs")
first = next(blobs)
subprocess.run(["rm", "-r", repo], check=True, cwd="/")
assert os.listdir(fd) == os.listdir(".") == []
assert os.fstat(fd).st_nlink == 0
for name in "part.bin", "new":
    try:
        open(name, "w")
        raise AssertionError("created in a folder that is gone")
    except FileNotFoundError:
        pass
try:
    os.mkdir("new", dir_fd=fd)
    raise AssertionError("created in a folder that is gone")
except FileNotFoundError:
    pass
for file, name in (part, "sub/part.bin"), (slow, "slow.bin"):
    assert os.fstat(file.fileno()).st_nlink == 0
    assert file.read() == open(os.path.join(source, name), "rb").read()
list(blobs)
# While we still hold the old ones, there are new ones.
assert sorted(os.listdir(snapshot)) == ["slow.bin", "small.txt", "sub"]
assert os.listdir(fd) == []
assert open(snapshot + "/small.txt").read() == "small\n"
EOS
fetch_all
rm -r "$repo"
wait_until 10 is_freed
assert_equal "names in hub/" "" "$(ls "$hub")"

# A blob is deleted, then the repo, while it is still being fetched.
for what in blob repo; do
    set_faults '[{"server": "cdn", "match": "GET", "stall_body_at": 100000,
        "stall": -1}]'
    rm -f "$origin_root/release"
    origin_log clear
    cat "$snapshot/slow.bin" >"$tmp/copy" &
    reader=$!
    wait_requests --server cdn --count 1 --timeout 20
    if [ "$what" = blob ]; then
        rm "$(readlink -f "$snapshot/slow.bin")"
        assert_equal "names in blobs/" "" "$(ls "$repo/blobs")"
    else
        rm -r "$repo"
        assert_equal "names in hub/" "" "$(ls "$hub")"
    fi
    clear_faults
    touch "$origin_root/release"
    wait "$reader" || fail "the reader failed"
    assert_same "$tmp/copy" "$tmp/source/slow.bin"
    fetch_all
    rm -r "$repo"
done
unmount "$tmp/mnt"
is_freed || fail "left $(bytes_in_store) bytes in the store"
