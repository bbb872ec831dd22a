#!/usr/bin/env bash
# The edges of names and of the file system: 255 bytes, odd bytes, deep paths,
# statfs of the store, sparse files, xattrs that are answered but not listed.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mount_ready "$tmp/store" "$tmp/mnt"
mkdir "$tmp/mnt/plain"
for dir in plain hf hf/hub; do
    "$python" - "$tmp/mnt/$dir" "$tmp/store/$dir" <<'EOS'
import errno, os, sys
top, store = (os.fsencode(path) for path in sys.argv[1:])
top += b"/limits"
store += b"/limits"
os.mkdir(top)

def fails(number, function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        assert error.errno == number, error
    else:
        raise AssertionError(f"{function} did not fail")

for name in (b"x" * 255, b"new\nline", b"\xff\xfe", b"back\\slash", b"...", b" ", b"*?[",
             b"-rf", "\u00e9\u6f22".encode(), b".mlcachefs", b"%2F", b"a:b|c\x01\x7f"):
    path = top + b"/" + name
    with open(path, "xb") as file:
        file.write(name)
    os.rename(path, path[:-1] + b"~")
    assert open(store + b"/" + name[:-1] + b"~", "rb").read() == name
    assert name[:-1] + b"~" in os.listdir(top)
    os.unlink(path[:-1] + b"~")
long = top + b"/" + b"x" * 256
fails(errno.ENAMETOOLONG, open, long, "wb")
fails(errno.ENAMETOOLONG, os.mkdir, long)
fails(errno.ENAMETOOLONG, os.stat, long)
fails(errno.ENAMETOOLONG, os.symlink, "x", long)

# Deeper than a path may be long, by way of descriptors.
fd = os.open(top, os.O_RDONLY)
made = 0
for _ in range(12):
    os.mkdir("d" * 250, dir_fd=fd)
    deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=fd)
    os.close(fd)
    fd = deeper
with os.fdopen(os.open("file", os.O_CREAT | os.O_RDWR, 0o644, dir_fd=fd), "w+") as file:
    file.write("deep")
    file.flush()
assert os.stat("file", dir_fd=fd).st_size == 4
os.close(fd)

# Sparse, and of a size that needs more than 32 bits.
with open(top + b"/sparse", "wb+") as file:
    file.truncate(5 << 32)
    os.pwrite(file.fileno(), b"end", (5 << 32) - 3)
    status = os.fstat(file.fileno())
    assert status.st_size == 5 << 32 and status.st_blocks < 1000
    assert os.pread(file.fileno(), 5, (5 << 32) - 5) == b"\0\0end"
    assert os.lseek(file.fileno(), 0, os.SEEK_DATA) > 1 << 32

one, other = os.statvfs(top), os.statvfs(store)
for field in "f_bsize", "f_frsize", "f_blocks", "f_files", "f_namemax":
    assert getattr(one, field) == getattr(other, field), field
assert abs(one.f_bavail - other.f_bavail) * one.f_frsize < 1 << 28

path = top + b"/attributes"
open(path, "w").close()
os.setxattr(path, "user.mine", b"value")
assert os.listxattr(path) == ["user.mine"]
assert os.getxattr(path, "user.mlcachefs.state") == b"local"
assert os.getxattr(path, "user.mlcachefs.present") == b"0"
os.setxattr(path, "user.mlcachefs.state", b"nonsense")
assert os.getxattr(path, "user.mlcachefs.state") == b"local"
assert os.listxattr(path) == ["user.mine"]
fails(errno.ENODATA, os.getxattr, path, "user.other")
EOS
done
rm -r "$tmp"/mnt/*/limits "$tmp/mnt/hf/hub/limits"
