"""Fault switches: DIR/faults.json, read anew at every request.

The file is a list of entries; the first that matches and isn't used up applies:

    {"server": "hub"|"cdn"|"web", "match": REGEX on "METHOD path?query", "times": N, "id": STR,
     ...what goes wrong...}

    "status": N, "headers": {..}, "body": ".."   this answer instead
    "redirect": URL                              a 302 (or "status") to there instead
    "close": true                                closed before any answer
    "stall_headers": SECONDS                     wait before the answer
    "stall_body_at": BYTES, "stall": SECONDS     wait after so many body bytes
    "truncate_at": BYTES                         closed after so many body bytes
    "ignore_range": true                         200 and everything
    "wrong_range": SHIFT                         206 for a range moved by so many bytes
    "flip_at": OFFSET                            the byte there (in the whole file) is inverted
    "length_delta": D                            Content-Length, Content-Range's total and
                                                 X-Linked-Size are wrong by so much
    "overrun": true                              the body goes on beyond the length declared
    "drop_header": NAME or [NAMES]               not sent

`times` is counted per id, for as long as the server runs; `set` below gives a new id to entries
without one.  Seconds of -1: until the client leaves or DIR/release exists (which ends every stall).

    faults.py --root DIR set JSON | clear
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
import uuid
from typing import Optional

from httpbase import Request, Response

NAME = "faults.json"


class Fault(dict):
    """What one request is to suffer; empty: nothing."""

    @property
    def ident(self) -> str:
        return self.get("id") or json.dumps(self, sort_keys=True)

    def matches(self, server: str, request: Request) -> bool:
        return (self.get("server") in (None, server)
                and re.search(self.get("match", ""), f"{request.method} {request.target}")
                is not None)

    def alter_request(self, request: Request) -> None:
        if self.get("ignore_range"):
            request.headers.pop("range", None)
        shift = self.get("wrong_range")
        if shift and "range" in request.headers:
            request.headers["range"] = re.sub(
                r"\d+", lambda number: str(max(0, int(number.group()) + shift)),
                request.headers["range"])

    def answer(self) -> Optional[Response]:
        """The answer to give instead of the application's, if any."""
        if "redirect" in self:
            return Response(self.get("status", 302), {"Location": self["redirect"]})
        if "status" in self:
            return Response(self["status"], self.get("headers"), self.get("body", "").encode())
        return None

    def alter_response(self, response: Response) -> None:
        delta = self.get("length_delta")
        if not delta:
            return
        headers = response.headers
        if "X-Linked-Size" in headers:
            headers["X-Linked-Size"] = str(int(headers["X-Linked-Size"]) + delta)
        if response.status == 206:
            span, _, total = headers["Content-Range"].rpartition("/")
            headers["Content-Range"] = f"{span}/{int(total) + delta}"
        elif response.status == 200:
            response.declared = max(0, len(response.body) + delta)
            response.close_after = True
            response.overrun = self.get("overrun", False)

    def dropped_headers(self) -> list[str]:
        names = self.get("drop_header", [])
        return [name.lower() for name in ([names] if isinstance(names, str) else names)]


class Faults:
    """The table as the servers use it; counts how often each entry was used."""

    def __init__(self, root: str):
        self._path = os.path.join(root, NAME)
        self._used: dict = {}
        self._lock = threading.Lock()

    def match(self, server: str, request: Request) -> Fault:
        try:
            with open(self._path, encoding="utf-8") as file:
                entries = json.load(file)
        except FileNotFoundError:
            return Fault()
        for entry in map(Fault, entries):
            if entry.matches(server, request) and self._take(entry):
                return entry
        return Fault()

    def _take(self, entry: Fault) -> bool:
        with self._lock:
            used = self._used.get(entry.ident, 0)
            if entry.get("times") is not None and used >= entry["times"]:
                return False
            self._used[entry.ident] = used + 1
            return True


def set_faults(root: str, entries: list[dict]) -> None:
    """Replace the table; entries without an id get one, so that their count begins anew."""
    entries = [{"id": uuid.uuid4().hex, **entry} for entry in entries]
    path = os.path.join(root, NAME)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(entries, file)
    os.replace(path + ".tmp", path)


def clear(root: str) -> None:
    try:
        os.unlink(os.path.join(root, NAME))
    except FileNotFoundError:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="set or clear the origin's faults")
    parser.add_argument("--root", required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("set").add_argument("json", help="an entry, or a list of entries")
    commands.add_parser("clear")
    args = parser.parse_args()
    if args.command == "clear":
        clear(args.root)
    else:
        entries = json.loads(args.json)
        set_faults(args.root, entries if isinstance(entries, list) else [entries])


if __name__ == "__main__":
    main()
