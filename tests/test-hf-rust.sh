#!/usr/bin/env bash
# Rust's hf-hub rewrites refs in place, and pointers at every use.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
sha=$(make_repo model someone/tiny --from "$tmp/repo")
mount_ready "$tmp/store" "$tmp/mnt"
"$python" - "$tmp/mnt/hf/hub/models--someone--tiny" "$sha" \
    "$tmp/repo/model.bin" <<'EOS'
import fcntl, hashlib, os, sys
repo, sha, source = sys.argv[1:]
with open(source, "rb") as file:
    wanted = file.read()
pointer = f"{repo}/snapshots/{sha}/model.bin"
ref = f"{repo}/refs/main"
for turn in range(3):
    target = os.readlink(pointer)
    etag = os.path.basename(target)
    assert etag == hashlib.sha256(wanted).hexdigest(), etag
    os.makedirs(f"{repo}/refs", exist_ok=True)
    with open(ref, "r+" if turn == 1 else "w") as file:
        file.truncate(0)
        file.write(sha)
    with open(ref) as file:
        assert file.read() == sha
    os.makedirs(f"{repo}/blobs", exist_ok=True)
    with open(f"{repo}/blobs/{etag}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.unlink(pointer)
        assert not os.path.lexists(pointer) or turn >= 0
        try:
            os.symlink(target, pointer)
        except FileExistsError:
            pass
    assert os.readlink(pointer) == target
    with open(pointer, "rb") as file:
        assert file.read() == wanted
    assert os.listdir(f"{repo}/snapshots/{sha}") == ["model.bin"]
    assert sha in os.listdir(f"{repo}/snapshots")
EOS
[ "$(body_bytes --server cdn)" -le $((3 << 20)) ] ||
    fail "the file was fetched more than once"
unmount "$tmp/mnt"
