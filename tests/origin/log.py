"""The request log: the servers write it, tests read it.

DIR/started.log gets a line when a request arrives, DIR/requests.log one when it ends, also when
the client left in the middle.  Both are JSON lines; `id` is the same in both.

    log.py --root DIR count|bytes|wait|show|clear [filters]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
import time
from typing import Optional

STARTED = "started.log"
ENDED = "requests.log"
_numbers = itertools.count(1)


def _append(root: str, name: str, record: dict) -> None:
    """One write a line; opened each time, so that a test may remove the file."""
    fd = os.open(os.path.join(root, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, (json.dumps(record) + "\n").encode())
    finally:
        os.close(fd)


def started(root: str, server: str, request) -> dict:
    """Log a request's arrival; the record is to be completed and given to ended()."""
    record = {"t": time.time(), "id": f"{os.getpid()}.{next(_numbers)}", "server": server,
              "method": request.method, "path": request.target,
              "host": request.headers.get("host"), "range": request.headers.get("range"),
              "auth": request.headers.get("authorization"),
              "ua": request.headers.get("user-agent")}
    _append(root, STARTED, record)
    return {**record, "status": None, "length": None, "sent": 0, "done": False}


def ended(root: str, record: dict) -> None:
    record["t"] = time.time()
    _append(root, ENDED, record)


def read(root: str, name: str = ENDED) -> list[dict]:
    try:
        with open(os.path.join(root, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def matches(record: dict, server: Optional[str] = None, method: Optional[str] = None,
            path: Optional[str] = None, ua: Optional[str] = None,
            not_ua: Optional[str] = None) -> bool:
    agent = record["ua"] or ""
    return ((server is None or record["server"] == server)
            and (method is None or record["method"] == method)
            and (path is None or re.search(path, record["path"]) is not None)
            and (ua is None or re.search(ua, agent) is not None)
            and (not_ua is None or re.search(not_ua, agent) is None))


def select(root: str, settle: float = 1.0, **filters) -> list[dict]:
    """Ended requests that match.

    A client may look here before the server has noted the end of its request: those under way
    are given `settle` seconds.
    """
    deadline = time.monotonic() + settle
    while True:
        begun = {record["id"] for record in read(root, STARTED) if matches(record, **filters)}
        ended_now = read(root)
        begun -= {record["id"] for record in ended_now}
        if not begun or time.monotonic() > deadline:
            return [record for record in ended_now if matches(record, **filters)]
        time.sleep(0.01)


def count(root: str, settle: float = 1.0, **filters) -> int:
    return len(select(root, settle, **filters))


def sent_bytes(root: str, settle: float = 1.0, **filters) -> int:
    return sum(record["sent"] for record in select(root, settle, **filters))


def wait(root: str, number: int, timeout: float, **filters) -> bool:
    """Wait until so many matching requests have arrived (not: ended)."""
    deadline = time.monotonic() + timeout
    while True:
        if sum(matches(record, **filters) for record in read(root, STARTED)) >= number:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def clear(root: str) -> None:
    for name in (STARTED, ENDED):
        open(os.path.join(root, name), "w", encoding="utf-8").close()


def main() -> int:
    parser = argparse.ArgumentParser(description="read the origin's request log")
    parser.add_argument("--root", required=True)
    parser.add_argument("action", choices=["count", "bytes", "wait", "show", "clear"])
    parser.add_argument("--server", choices=["hub", "cdn", "web"])
    parser.add_argument("--method")
    parser.add_argument("--path", help="regular expression, searched in path and query")
    parser.add_argument("--ua", help="regular expression the User-Agent must match")
    parser.add_argument("--not-ua", help="regular expression it must not match")
    parser.add_argument("--count", type=int, default=1, help="wait: how many arrivals")
    parser.add_argument("--timeout", type=float, default=10, help="wait: seconds at most")
    parser.add_argument("--settle", type=float, default=1.0,
                        help="seconds to wait for matching requests under way")
    args = parser.parse_args()
    filters = {"server": args.server, "method": args.method, "path": args.path,
               "ua": args.ua, "not_ua": args.not_ua}
    if args.action == "count":
        print(count(args.root, args.settle, **filters))
    elif args.action == "bytes":
        print(sent_bytes(args.root, args.settle, **filters))
    elif args.action == "show":
        for record in select(args.root, args.settle, **filters):
            print(json.dumps(record))
    elif args.action == "clear":
        clear(args.root)
    elif not wait(args.root, args.count, args.timeout, **filters):
        print("no such request within the time", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
