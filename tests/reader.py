"""Reads files of the mount and compares them with what they should be.

    reader.py many N WANTED FILE [WANTED FILE ...]   N processes on each pair at once
    reader.py at WANTED FILE OFFSET:LENGTH ...       pread of these
    reader.py from WANTED FILE OFFSET                to the end, then from 0 to OFFSET
    reader.py mmap WANTED FILE [OFFSET:LENGTH ...]   through mmap; without ranges all of it
    reader.py errno FILE OFFSET:LENGTH               prints the name of read's errno, or "none"
    reader.py stat FILE                          "EINTR" if SIGINT came while that waited

Exit status: 0; 1 a byte is wrong although all was read without an error (what is read before the
last byte is not verified yet); 2 an error, which is printed.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import sys
from typing import Iterable

STEP = 1 << 20


def compare(wanted: int, got: int, offset: int, end: int) -> None:
    wrong = None
    while offset < end:
        data = os.pread(got, min(STEP, end - offset), offset)
        if not data:
            sys.exit(f"short: nothing at {offset} of {end}")
        if data != os.pread(wanted, len(data), offset):
            wrong = offset
        offset += len(data)
    if wrong is not None:
        print(f"wrong bytes in the MiB at {wrong}", file=sys.stderr)
        sys.exit(1)


def open_pair(wanted: str, got: str) -> tuple[int, int, int]:
    wanted_fd = os.open(wanted, os.O_RDONLY)
    got_fd = os.open(got, os.O_RDONLY)
    size = os.fstat(wanted_fd).st_size
    if os.fstat(got_fd).st_size != size:
        sys.exit(f"the size is {os.fstat(got_fd).st_size}, not {size}")
    return wanted_fd, got_fd, size


def spans(args: Iterable[str]) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in (arg.split(":") for arg in args)]


def many(count: str, *paths: str) -> None:
    children = []
    for _ in range(int(count)):
        for i in range(0, len(paths), 2):
            pid = os.fork()
            if pid == 0:
                guard(lambda pair=paths[i:i + 2]: whole(*pair))
            children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    sys.exit(max(codes))


def whole(wanted: str, got: str) -> None:
    wanted_fd, got_fd, size = open_pair(wanted, got)
    compare(wanted_fd, got_fd, 0, size)


def at(wanted: str, got: str, *ranges: str) -> None:
    wanted_fd, got_fd, _ = open_pair(wanted, got)
    for offset, length in spans(ranges):
        compare(wanted_fd, got_fd, offset, offset + length)


def start_at(wanted: str, got: str, offset: str) -> None:
    wanted_fd, got_fd, size = open_pair(wanted, got)
    compare(wanted_fd, got_fd, int(offset), size)
    compare(wanted_fd, got_fd, 0, int(offset))


def mapped(wanted: str, got: str, *ranges: str) -> None:
    wanted_fd, got_fd, size = open_pair(wanted, got)
    with mmap.mmap(got_fd, size, prot=mmap.PROT_READ) as view:
        for offset, length in spans(ranges) or [(0, size)]:
            if view[offset:offset + length] != os.pread(wanted_fd, length, offset):
                print(f"wrong bytes in the {length} mapped at {offset}", file=sys.stderr)
                sys.exit(1)


def say(word: str) -> None:
    """A line in one write: others append to the same file, and Python may have
    been told not to buffer."""
    os.write(sys.stdout.fileno(), f"{word}\n".encode())


def print_errno(path: str, span: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    (offset, length), = spans([span])
    try:
        os.pread(fd, length, offset)
        say("none")
    except OSError as error:
        say(errno.errorcode[error.errno])


def interrupted_stat(path: str) -> None:
    def on_signal(*_):
        raise InterruptedError
    # A shell lets its background jobs ignore it.
    signal.signal(signal.SIGINT, on_signal)
    try:
        os.stat(path)
        say("none")
    except OSError as error:
        say(errno.errorcode[error.errno] if error.errno else "EINTR")


def guard(run) -> None:
    """Run it in this process and end that."""
    code = 0
    try:
        run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 2 if error.code else 0
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except OSError as error:
        print(error, file=sys.stderr)
        code = 2
    sys.stdout.flush()
    os._exit(code)


COMMANDS = {"many": many, "at": at, "from": start_at, "mmap": mapped, "errno": print_errno,
            "stat": interrupted_stat}

if __name__ == "__main__":
    guard(lambda: COMMANDS[sys.argv[1]](*sys.argv[2:]))
