"""dgenerate's web/cache.db, as dgenerate writes it.

    web-db.py WEB add URL FILE [--age S] [--path PATH] [--pointer] [--type T]
                                    a row for FILE, which is copied into WEB
    web-db.py WEB fill N            rows for N files that aren't there
    web-db.py WEB churn URL SIZE    fetches that anew until its stdin ends, each
                                    time all of one other byte
    web-db.py WEB hold LOCK         holds LOCK (a file, "transaction", or
                                    "exclusive") until its stdin ends

WEB is the folder that holds cache.db.
"""

import argparse
import datetime
import fcntl
import json
import os
import random
import select
import shutil
import sqlite3
import sys
import uuid

CREATE = ("CREATE TABLE IF NOT EXISTS store "
          "(key TEXT PRIMARY KEY, value TEXT, creation_date TIMESTAMP)")


def add(web: str, args: argparse.Namespace) -> None:
    """The file first, then its row, both that many seconds ago."""
    now = datetime.datetime.now() - datetime.timedelta(seconds=args.age)
    path = args.path or os.path.join(web, str(uuid.uuid4()) + os.path.splitext(args.file)[1])
    inside = os.path.join(web, os.path.basename(path))
    shutil.copyfile(args.file, inside)
    mtime = (now - datetime.timedelta(milliseconds=1)).timestamp()
    os.utime(inside, (mtime, mtime))
    metadata = None if args.pointer else {"mime-type": args.type}
    key = f"download pointer: {args.url}, output: x" if args.pointer else args.url
    connection = sqlite3.connect(os.path.join(web, "cache.db"))
    with connection:
        connection.execute(CREATE)
        connection.execute("REPLACE INTO store VALUES (?, ?, ?)",
                           (key, json.dumps({"path": path, "metadata": metadata}),
                            now.isoformat(" ")))
    connection.close()
    print(inside)


def fill(web: str, args: argparse.Namespace) -> None:
    value = json.dumps({"path": "/nowhere/web/none", "metadata": {"mime-type": "unknown"}})
    date = datetime.datetime.now().isoformat(" ")
    connection = sqlite3.connect(os.path.join(web, "cache.db"))
    with connection:
        connection.execute(CREATE)
        connection.executemany("INSERT INTO store VALUES (?, ?, ?)",
                               [(f"http://h/{n}", value, date) for n in range(args.n)])
    connection.close()


def churn(web: str, args: argparse.Namespace) -> None:
    """In place, and the row last.  Says "churning" after the first time."""
    path = os.path.join(web, str(uuid.uuid4()))
    value = json.dumps({"path": path, "metadata": {"mime-type": "unknown"}})
    n = 0
    # Sometimes there is time for a reader, and sometimes there is not enough.
    while not select.select([sys.stdin], [], [], random.uniform(0, 0.1))[0]:
        with open(path, "wb") as file:
            for _ in range(0, args.size, 1 << 16):
                file.write(bytes([n % 255 + 1]) * (1 << 16))
        connection = sqlite3.connect(os.path.join(web, "cache.db"))
        with connection:
            connection.execute(CREATE)
            connection.execute("REPLACE INTO store VALUES (?, ?, ?)",
                               (args.url, value, datetime.datetime.now().isoformat(" ")))
        connection.close()
        if n == 0:
            print("churning", flush=True)
        n += 1


def hold(web: str, args: argparse.Namespace) -> None:
    """Says "held" once it holds it."""
    path = os.path.join(web, "cache.db")
    connection = None
    if args.lock in ("transaction", "exclusive"):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN EXCLUSIVE" if args.lock == "exclusive" else "BEGIN IMMEDIATE")
        connection.execute("DELETE FROM store")
    else:
        fd = os.open(args.lock, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("held", flush=True)
    sys.stdin.read()
    if connection:
        connection.execute("ROLLBACK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("web")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("add")
    command.add_argument("url")
    command.add_argument("file")
    command.add_argument("--age", type=float, default=0)
    command.add_argument("--path")
    command.add_argument("--pointer", action="store_true")
    command.add_argument("--type", default="unknown")
    command = commands.add_parser("fill")
    command.add_argument("n", type=int)
    command = commands.add_parser("churn")
    command.add_argument("url")
    command.add_argument("size", type=int)
    command = commands.add_parser("hold")
    command.add_argument("lock")
    args = parser.parse_args()
    {"add": add, "churn": churn, "fill": fill, "hold": hold}[args.command](args.web, args)


if __name__ == "__main__":
    main()
