"""What several processes see of each other's files.

    processes.py FOLDER STORE

FOLDER lies in the mount, STORE is where its files lie on disk.  Children are this
script again: processes.py --child NAME ARGUMENT...
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sqlite3
import subprocess
import sys
import tempfile
from typing import Callable

checks: list[Callable] = []
children: dict[str, Callable] = {}


def check(function: Callable) -> Callable:
    checks.append(function)
    return function


def child(function: Callable) -> Callable:
    children[function.__name__] = function
    return function


def start(function: Callable, *arguments: str) -> subprocess.Popen:
    """Returns when the child has said that it is ready."""
    process = subprocess.Popen([sys.executable, __file__, "--child", function.__name__,
                                *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen) -> None:
    process.stdin.close()
    assert process.wait() == 0, process.args


def ready() -> None:
    print("ready", flush=True)


def said_so() -> None:
    sys.stdin.readline()


@child
def append_lines(path: str, letter: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    ready()
    for _ in range(500):
        assert os.write(fd, letter.encode() * 99 + b"\n") == 100


@check
def appending(folder: str, store: str) -> None:
    path = os.path.join(folder, "appended")
    for process in [start(append_lines, path, letter) for letter in "xyz"]:
        finish(process)
    lines = open(os.path.join(store, "appended"), "rb").read().split(b"\n")
    assert len(lines) == 1501 and lines.pop() == b""
    assert all(len(line) == 99 and len(set(line)) == 1 for line in lines)


@child
def hold_flock(path: str) -> None:
    file = open(path, "r+")
    fcntl.flock(file, fcntl.LOCK_EX)
    ready()
    said_so()


@child
def hold_fcntl(path: str) -> None:
    file = open(path, "r+")
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 0)
    ready()
    said_so()


@check
def locking(folder: str, store: str) -> None:
    path = os.path.join(folder, "lock")
    other = os.path.join(folder, "lock2")
    file = open(path, "w+")
    os.link(path, other)
    for holder, lock in (
            (hold_flock, lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)),
            (hold_fcntl, lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5))):
        # By its other name it is the same lock.
        process = start(holder, other)
        try:
            lock()
            raise AssertionError("locked twice")
        except BlockingIOError:
            pass
        if holder is hold_fcntl:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
        finish(process)
        lock()
    assert os.fstat(file.fileno()).st_nlink == 2


@child
def read_mapping(path: str) -> None:
    file = open(path, "rb")
    mapping = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    assert mapping[5000:5003] == b"\0\0\0"
    ready()
    said_so()
    assert mapping[5000:5003] == b"new", mapping[5000:5003]
    assert os.pread(file.fileno(), 3, 5000) == b"new"


@check
def mapping_shared(folder: str, store: str) -> None:
    path = os.path.join(folder, "mapped")
    with open(path, "wb+") as file:
        file.truncate(100000)
        process = start(read_mapping, path)
        with mmap.mmap(file.fileno(), 0) as mapping:
            mapping[5000:5003] = b"new"
            process.stdin.write("go\n")
            process.stdin.flush()
            finish(process)
            mapping.flush()
            with open(os.path.join(store, "mapped"), "rb") as stored:
                assert os.pread(stored.fileno(), 3, 5000) == b"new"


@child
def use_unlinked(path: str) -> None:
    file = open(path, "rb+")
    ready()
    said_so()
    assert os.fstat(file.fileno()).st_nlink == 0
    assert file.read() == b"before"
    file.write(b" and after")
    file.flush()


@check
def without_a_name(folder: str, store: str) -> None:
    path = os.path.join(folder, "unlinked")
    with open(path, "wb+") as file:
        file.write(b"before")
        file.flush()
        process = start(use_unlinked, path)
        os.unlink(path)
        # Another file may take the name meanwhile.
        with open(path, "w") as other:
            other.write("something else")
        process.stdin.write("go\n")
        process.stdin.flush()
        finish(process)
        file.seek(0)
        assert file.read() == b"before and after"
        os.fchmod(file.fileno(), 0o600)
        os.utime(file.fileno(), ns=(1, 2))
        os.setxattr(file.fileno(), "user.x", b"y")
        assert os.getxattr(file.fileno(), "user.x") == b"y"
        status = os.fstat(file.fileno())
        assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o600, 2)
        os.truncate(f"/proc/self/fd/{file.fileno()}", 3)
        assert os.fstat(file.fileno()).st_size == 3
    assert open(path).read() == "something else"
    # Temporary files are unlinked at once, or never had a name.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x" * 10000)
        file.flush()
        os.fsync(file.fileno())
        with open(f"/proc/self/fd/{file.fileno()}", "rb") as again:
            assert again.read() == b"x" * 10000


@child
def insert_rows(path: str, journal: str, who: str) -> None:
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    assert db.execute(f"pragma journal_mode={journal}").fetchone()[0] == journal
    ready()
    for number in range(40):
        db.execute("begin immediate")
        db.execute("insert into t values (?, ?, ?)", (who, number, "x" * 1000))
        db.execute("commit" if number % 4 else "rollback")
    db.close()


@check
def databases(folder: str, store: str) -> None:
    for journal in "delete", "wal":
        path = os.path.join(folder, journal + ".db")
        db = sqlite3.connect(path, timeout=60, isolation_level=None)
        db.execute(f"pragma journal_mode={journal}")
        db.execute("create table t (who, number, filler)")
        for process in [start(insert_rows, path, journal, who) for who in "ab"]:
            finish(process)
        assert db.execute("select count(*), count(distinct who) from t").fetchone() == (60, 2)
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        db.close()
        db = sqlite3.connect(os.path.join(store, journal + ".db"))
        assert db.execute("select count(*) from t").fetchone() == (60,)
        db.close()


@child
def rename_back_and_forth(folder: str) -> None:
    ready()
    for number in range(400):
        os.rename(os.path.join(folder, "one"), os.path.join(folder, "two"))
        os.rename(os.path.join(folder, "two"), os.path.join(folder, "one"))


@check
def creating_in_a_moving_folder(folder: str, store: str) -> None:
    top = os.path.join(folder, "moving")
    os.makedirs(os.path.join(top, "one"))
    fd = os.open(os.path.join(top, "one"), os.O_RDONLY | os.O_DIRECTORY)
    process = start(rename_back_and_forth, top)
    names = set()
    while process.poll() is None:
        name = f"file{len(names)}"
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=fd))
        os.rename(name, name + "b", src_dir_fd=fd, dst_dir_fd=fd)
        os.link(name + "b", name, src_dir_fd=fd, dst_dir_fd=fd)
        os.unlink(name + "b", dir_fd=fd)
        names.add(name)
    finish(process)
    assert os.listdir(top) == os.listdir(os.path.join(store, "moving")) == ["one"]
    assert set(os.listdir(os.path.join(store, "moving/one"))) == names, "files went elsewhere"
    assert set(os.listdir(fd)) == names
    os.close(fd)


@check
def moving_with_open_files(folder: str, store: str) -> None:
    os.makedirs(os.path.join(folder, "from/deep/er"))
    with open(os.path.join(folder, "from/deep/er/file"), "w+") as file:
        file.write("early ")
        os.rename(os.path.join(folder, "from"), os.path.join(folder, "to"))
        file.write("late")
        file.flush()
        os.fchmod(file.fileno(), 0o600)
        assert open(os.path.join(store, "to/deep/er/file")).read() == "early late"
        os.mkdir(os.path.join(folder, "from"))
        numbers = {os.stat(os.path.join(folder, name)).st_ino for name in ("from", "to")}
        assert len(numbers) == 2, "two folders with one inode number"


def main() -> int:
    if sys.argv[1] == "--child":
        children[sys.argv[2]](*sys.argv[3:])
        return 0
    for function in checks:
        try:
            function(*sys.argv[1:])
        except BaseException:
            print(f"in {function.__name__}:", file=sys.stderr)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
