"""Does the same random operations in two folders, and compares what each gives.

    random-ops.py PLAIN TESTED SEED COUNT
    random-ops.py PLAIN TESTED              only compares the trees

PLAIN lies on an ordinary file system, TESTED on the one under test; both begin
empty.  Results, errnos, attributes and contents must be the same: those of each
operation, and of the whole trees from time to time.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import random
import stat
import sys

NAMES = ["a", "b", "c", "dd", "e e", "f\\n", "\u00fc", "x" * 255, "\udcff\x01"]
TOO_LONG = "y" * 256
NOREPLACE, EXCHANGE = 1, 2
MAX_SIZE = 200000
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)


def rename2(source: str, target: str, flags: int) -> None:
    if libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def shape(status: os.stat_result) -> tuple:
    """What must be the same of two files; a folder's size and links need not be."""
    is_folder = stat.S_ISDIR(status.st_mode)
    return (status.st_mode, status.st_uid, status.st_gid,
            None if is_folder else status.st_size,
            (status.st_nlink == 0) if is_folder else status.st_nlink)


class Side:
    """One of the two folders, with what is open in it."""

    def __init__(self, root: str):
        self.root = root
        self.fds: dict[int, int] = {}
        self.numbers: dict[tuple, int] = {}

    def path(self, name: str) -> str:
        return os.path.join(self.root, name) if name else self.root

    def open(self, slot: int, name: str, flags: int, mode: int) -> tuple:
        fd = os.open(self.path(name), flags | os.O_CLOEXEC, mode)
        if slot in self.fds:
            os.close(self.fds[slot])
        self.fds[slot] = fd
        return shape(os.fstat(fd))

    def reopen(self, slot: int, source: int, flags: int) -> tuple:
        fd = os.open(f"/proc/self/fd/{self.fds[source]}", flags | os.O_CLOEXEC)
        old = self.fds.get(slot)
        self.fds[slot] = fd
        if old is not None:
            os.close(old)
        return shape(os.fstat(fd))

    def close(self, slot: int) -> None:
        os.close(self.fds.pop(slot))

    def pwrite(self, slot: int, data: bytes, offset: int) -> tuple:
        count = os.pwrite(self.fds[slot], data, offset)
        return count, shape(os.fstat(self.fds[slot]))

    def append(self, slot: int, data: bytes) -> tuple:
        count = os.write(self.fds[slot], data)
        return count, os.lseek(self.fds[slot], 0, os.SEEK_CUR), shape(os.fstat(self.fds[slot]))

    def pread(self, slot: int, size: int, offset: int) -> bytes:
        return os.pread(self.fds[slot], size, offset)

    def ftruncate(self, slot: int, size: int) -> tuple:
        os.ftruncate(self.fds[slot], size)
        return shape(os.fstat(self.fds[slot]))

    def truncate(self, name: str, size: int) -> None:
        os.truncate(self.path(name), size)

    def fallocate(self, slot: int, mode: int, offset: int, length: int) -> tuple:
        result = libc.fallocate(self.fds[slot], mode, ctypes.c_long(offset), ctypes.c_long(length))
        if result != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
        return shape(os.fstat(self.fds[slot]))

    def map_write(self, slot: int, data: bytes, offset: int) -> bytes:
        """Through a shared mapping, then read as another would."""
        fd = self.fds[slot]
        size = os.fstat(fd).st_size
        if offset + len(data) > size:
            raise OSError(errno.EINVAL, "beyond the end")
        with mmap.mmap(fd, size, mmap.MAP_SHARED) as mapping:
            mapping[offset:offset + len(data)] = data
        return os.pread(fd, len(data) + 10, offset)

    def seek_hole(self, slot: int, whence: int, offset: int) -> bool:
        """Where holes lie is the file system's own affair, but not that the end is one."""
        status = os.fstat(self.fds[slot])
        if not stat.S_ISREG(status.st_mode):
            return True
        position = os.lseek(self.fds[slot], 0, os.SEEK_CUR)
        found = os.lseek(self.fds[slot], offset, whence)
        os.lseek(self.fds[slot], position, os.SEEK_SET)
        return found <= status.st_size

    def fchmod(self, slot: int, mode: int) -> tuple:
        os.fchmod(self.fds[slot], mode)
        return shape(os.fstat(self.fds[slot]))

    def fchown(self, slot: int, uid: int, gid: int) -> tuple:
        os.fchown(self.fds[slot], uid, gid)
        return shape(os.fstat(self.fds[slot]))

    def futimens(self, slot: int, ns: int) -> tuple:
        os.utime(self.fds[slot], ns=(ns, ns + 1))
        status = os.fstat(self.fds[slot])
        return status.st_atime_ns, status.st_mtime_ns

    def fsync(self, slot: int) -> None:
        os.fsync(self.fds[slot])

    def lock(self, slot: int, kind: int) -> None:
        fcntl.flock(self.fds[slot], kind | fcntl.LOCK_NB)

    def fxattr(self, slot: int, value: bytes) -> list:
        os.setxattr(self.fds[slot], "user.test", value)
        return [os.getxattr(self.fds[slot], "user.test"), os.listxattr(self.fds[slot])]

    def mkdir(self, name: str, mode: int) -> tuple:
        os.mkdir(self.path(name), mode)
        return shape(os.lstat(self.path(name)))

    def mkfifo(self, name: str) -> tuple:
        os.mkfifo(self.path(name), 0o600)
        return shape(os.lstat(self.path(name)))

    def rmdir(self, name: str) -> None:
        os.rmdir(self.path(name))

    def unlink(self, name: str) -> None:
        os.unlink(self.path(name))

    def symlink(self, target: str, name: str) -> str:
        os.symlink(target, self.path(name))
        return os.readlink(self.path(name))

    def link(self, source: str, name: str) -> tuple:
        os.link(self.path(source), self.path(name), follow_symlinks=False)
        one, other = os.lstat(self.path(source)), os.lstat(self.path(name))
        return one.st_ino == other.st_ino, shape(one), shape(other)

    def rename(self, source: str, target: str, flags: int) -> bool:
        before = os.lstat(self.path(source)).st_ino
        rename2(self.path(source), self.path(target), flags)
        return os.lstat(self.path(target)).st_ino == before

    def stat(self, name: str) -> tuple:
        return shape(os.lstat(self.path(name)))

    def follow(self, name: str) -> tuple:
        return shape(os.stat(self.path(name)))

    def read(self, name: str) -> bytes:
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            return os.read(fd, MAX_SIZE + 1)
        finally:
            os.close(fd)

    def list(self, name: str) -> list:
        return sorted(os.listdir(self.path(name)))

    def chmod(self, name: str, mode: int) -> tuple:
        os.chmod(self.path(name), mode)
        return shape(os.stat(self.path(name)))

    def lchown(self, name: str, uid: int, gid: int) -> tuple:
        os.lchown(self.path(name), uid, gid)
        return shape(os.lstat(self.path(name)))

    def utime(self, name: str, ns: int) -> tuple:
        os.utime(self.path(name), ns=(ns, ns + 5), follow_symlinks=False)
        status = os.lstat(self.path(name))
        return status.st_atime_ns, status.st_mtime_ns

    def setxattr(self, name: str, key: str, value: bytes, flags: int) -> list:
        os.setxattr(self.path(name), key, value, flags, follow_symlinks=False)
        return sorted(os.listxattr(self.path(name), follow_symlinks=False))

    def getxattr(self, name: str, key: str) -> bytes:
        return os.getxattr(self.path(name), key, follow_symlinks=False)

    def removexattr(self, name: str, key: str) -> list:
        os.removexattr(self.path(name), key, follow_symlinks=False)
        return sorted(os.listxattr(self.path(name), follow_symlinks=False))

    def tree(self) -> dict:
        """Everything, and that no two folders have the same number."""
        found: dict = {}
        numbers: dict = {}
        top = os.fsencode(self.root)
        for folder, folders, files in os.walk(top):
            for entry in os.scandir(folder):
                status = os.lstat(entry.path)
                assert entry.inode() == status.st_ino, (
                    "d_ino", entry.path, entry.inode(), status.st_ino)
                name = os.path.relpath(entry.path, top)
                if stat.S_ISDIR(status.st_mode):
                    assert numbers.setdefault(status.st_ino, name) == name, ("twice", name)
                content = None
                if stat.S_ISREG(status.st_mode):
                    with open(entry.path, "rb") as file:
                        content = file.read()
                elif stat.S_ISLNK(status.st_mode):
                    content = os.readlink(entry.path)
                found[name] = (shape(status), content)
        return found


class Chooser:
    """Random operations with their arguments."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.folders = [""]

    def name(self) -> str:
        pick = self.random
        if pick.random() < 0.01:
            return TOO_LONG
        depth = pick.choice([1, 1, 1, 2, 2, 3])
        return "/".join(pick.choice(NAMES) for _ in range(depth))

    def slot(self) -> int:
        return self.random.randrange(6)

    def data(self) -> bytes:
        return self.random.randbytes(self.random.choice([0, 1, 10, 4096, 5000, 70000]))

    def offset(self) -> int:
        return self.random.choice([0, 0, 1, 4095, 4096, self.random.randrange(MAX_SIZE // 2)])

    def operation(self) -> tuple:
        r = self.random
        flags = r.choice([os.O_RDONLY, os.O_RDWR, os.O_RDWR, os.O_WRONLY])
        for extra, chance in ((os.O_CREAT, 0.7), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.2),
                              (os.O_APPEND, 0.2), (os.O_NOFOLLOW, 0.1),
                              (os.O_DIRECTORY, 0.03)):
            if r.random() < chance:
                flags |= extra
        mode = r.choice([0o644, 0o600, 0o755, 0o444, 0o666, 0o4755, 0])
        return r.choice([
            lambda: ("open", self.slot(), self.name(), flags, mode),
            lambda: ("open", self.slot(), self.name(), flags, mode),
            lambda: ("open", self.slot(), self.name(), flags, mode),
            lambda: ("reopen", self.slot(), self.slot(), flags & (os.O_ACCMODE | os.O_TRUNC)),
            lambda: ("close", self.slot()),
            lambda: ("pwrite", self.slot(), self.data(), self.offset()),
            lambda: ("pwrite", self.slot(), self.data(), self.offset()),
            lambda: ("append", self.slot(), self.data()),
            lambda: ("pread", self.slot(), r.choice([1, 100, 100000]), self.offset()),
            lambda: ("pread", self.slot(), r.choice([1, 100, 100000]), self.offset()),
            lambda: ("ftruncate", self.slot(), self.offset()),
            lambda: ("truncate", self.name(), self.offset()),
            lambda: ("fallocate", self.slot(), r.choice([0, 1, 3]), self.offset(),
                     r.choice([1, 4096, 10000])),
            lambda: ("map_write", self.slot(), self.data() or b"m", self.offset()),
            lambda: ("seek_hole", self.slot(), r.choice([os.SEEK_DATA, os.SEEK_HOLE]),
                     self.offset()),
            lambda: ("fchmod", self.slot(), mode),
            lambda: ("fchown", self.slot(), r.choice([-1, 0, 1000]), r.choice([-1, 0, 1000])),
            lambda: ("futimens", self.slot(), r.randrange(10 ** 18)),
            lambda: ("fsync", self.slot()),
            lambda: ("lock", self.slot(), r.choice([fcntl.LOCK_SH, fcntl.LOCK_EX,
                                                    fcntl.LOCK_UN])),
            lambda: ("fxattr", self.slot(), r.randbytes(5)),
            lambda: ("mkdir", self.name(), r.choice([0o755, 0o700, 0o2755])),
            lambda: ("mkdir", self.name(), 0o755),
            lambda: ("mkdir", self.name(), 0o755),
            # Never opened: the kernel doesn't tell a file system of that.
            lambda: (r.choice(["mkfifo", "unlink", "stat"]), self.name() + ".fifo")
            if r.random() < 0.5 else ("stat", self.name()),
            lambda: ("rmdir", self.name()),
            lambda: ("rmdir", self.name()),
            lambda: ("unlink", self.name()),
            lambda: ("unlink", self.name()),
            lambda: ("symlink", r.choice(["a", "b", "./a", "nowhere", "dd/a"]), self.name()),
            lambda: ("link", self.name(), self.name()),
            lambda: ("rename", self.name(), self.name(),
                     r.choice([0, 0, 0, NOREPLACE, EXCHANGE])),
            lambda: ("rename", self.name(), self.name(),
                     r.choice([0, 0, 0, NOREPLACE, EXCHANGE])),
            lambda: ("stat", self.name()),
            lambda: ("follow", self.name()),
            lambda: ("read", self.name()),
            lambda: ("list", r.choice(["", self.name()])),
            lambda: ("chmod", self.name(), mode),
            lambda: ("lchown", self.name(), r.choice([0, 1000]), r.choice([0, 1000])),
            lambda: ("utime", self.name(), r.randrange(10 ** 18)),
            lambda: ("setxattr", self.name(), r.choice(["user.one", "user.two"]),
                     r.randbytes(r.choice([0, 3, 300])),
                     r.choice([0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])),
            lambda: ("getxattr", self.name(), r.choice(["user.one", "user.two"])),
            lambda: ("removexattr", self.name(), r.choice(["user.one", "user.two"])),
        ])()


def run(side: Side, operation: tuple):
    try:
        return getattr(side, operation[0])(*operation[1:])
    except OSError as error:
        return f"errno {errno.errorcode.get(error.errno, error.errno)}"
    except KeyError:
        return "not open"


def brief(value) -> str:
    text = repr(value)
    return text if len(text) < 300 else text[:300] + "..."


def compare(plain: Side, tested: Side) -> None:
    one, other = plain.tree(), tested.tree()
    if one == other:
        return
    for name in sorted(set(one) | set(other)):
        if one.get(name) != other.get(name):
            print(f"{name!r}\n  plain:  {brief(one.get(name))}\n"
                  f"  tested: {brief(other.get(name))}", file=sys.stderr)
    sys.exit("the trees differ")


def main() -> int:
    plain, tested = Side(sys.argv[1]), Side(sys.argv[2])
    if len(sys.argv) == 3:
        compare(plain, tested)
        return 0
    chooser = Chooser(int(sys.argv[3]))
    count = int(sys.argv[4])
    worked = 0
    os.umask(0o022)
    for number in range(count):
        operation = chooser.operation()
        wanted, got = run(plain, operation), run(tested, operation)
        worked += not isinstance(wanted, str)
        if wanted != got:
            print(f"operation {number}: {brief(operation)}\n"
                  f"  plain:  {brief(wanted)}\n  tested: {brief(got)}", file=sys.stderr)
            return 1
        if number % 500 == 499 or number == count - 1:
            compare(plain, tested)
    print(f"{count} operations, {worked} of them did something, {len(plain.tree())} names left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
