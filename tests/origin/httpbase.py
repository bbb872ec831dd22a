"""A small threaded HTTP/1.1 server that can misbehave on purpose.

Each connection has a thread.  An application turns a Request into a Response; the connection
sends it, files by sendfile, applies the faults asked for, and logs both ends of the exchange.
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import http
import json
import os
import re
import select
import socket
import ssl
import threading
import time
import traceback
import urllib.parse
from typing import BinaryIO, Optional, Union

import log

MAX_HEAD = 64 << 10
MAX_BODY = 16 << 20
CHUNK = 64 << 10
SPAN = 16 << 20
POLL_MS = 30


class Request:
    """One parsed request; `target` is the raw path with its query."""

    def __init__(self, method: str, target: str, headers: dict, body: bytes = b""):
        self.method = method
        if target.startswith("http://"):  # as a proxy is asked
            target = "/" + target[len("http://"):].partition("/")[2]
        self.target = target
        self.headers = headers
        self.body = body
        self.path, _, self.query = target.partition("?")
        self.segments = [urllib.parse.unquote(part) for part in self.path.split("/")[1:]]
        self.args = urllib.parse.parse_qs(self.query, keep_blank_values=True)

    def arg(self, name: str, default: str = "") -> str:
        return self.args.get(name, [default])[0]

    def flag(self, name: str) -> bool:
        return self.arg(name).lower() in ("true", "1")

    def accepts_gzip(self) -> bool:
        for item in self.headers.get("accept-encoding", "").split(","):
            coding, _, weight = item.replace(" ", "").partition(";")
            if coding == "gzip":
                return weight not in ("q=0", "q=0.0")
        return False


class FileBody:
    """Part of an open file."""

    def __init__(self, file: BinaryIO, start: int, length: int):
        self.file = file
        self.start = start
        self.length = length

    def __len__(self) -> int:
        return self.length


class Response:
    """What an application answers.

    `offset` is where in the whole file the body begins; `declared` is the Content-Length to
    send when it isn't the body's own; `chunked` sends no length; with `overrun` the body goes on
    beyond what was declared.
    """

    def __init__(self, status: int, headers: Optional[dict] = None,
                 body: Union[bytes, FileBody] = b"", *, offset: int = 0, chunked: bool = False):
        self.status = status
        self.headers = dict(headers or {})
        self.body = body
        self.offset = offset
        self.chunked = chunked
        self.declared: Optional[int] = None
        self.overrun = False
        self.close_after = False

    def discard(self) -> None:
        if isinstance(self.body, FileBody):
            self.body.file.close()


def text_response(status: int, text: str, headers: Optional[dict] = None) -> Response:
    return Response(status, {"Content-Type": "text/plain; charset=utf-8", **(headers or {})},
                    text.encode())


def json_response(request: Request, value, status: int = 200,
                  headers: Optional[dict] = None) -> Response:
    """JSON with a weak ETag, gzip'd when the client takes that."""
    body = json.dumps(value).encode()
    digest = hashlib.sha1(body).hexdigest()[:27]
    headers = {"Content-Type": "application/json; charset=utf-8",
               "ETag": f'W/"{len(body):x}-{digest}"', "Vary": "Accept-Encoding",
               **(headers or {})}
    if request.accepts_gzip():
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, 1)
    return Response(status, headers, body)


def http_date(seconds: float) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


def parse_range(value: Optional[str], size: int) -> Optional[tuple[int, int]]:
    """(start, end) with end exclusive; None: send everything; start >= size: not satisfiable.

    Several ranges, and what isn't a range, are ignored, as HTTP allows.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (value or "").strip())
    if not match or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        count = int(last)
        return (max(0, size - count), size) if count else (size, size)
    start = int(first)
    end = int(last) + 1 if last else size
    if end <= start:
        return None if last else (start, start)
    return start, min(end, size)


def _seconds(date: Optional[str]) -> Optional[float]:
    try:
        return email.utils.parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return None


def not_modified(request: Request, headers: dict) -> bool:
    """If-None-Match (weak comparison), else If-Modified-Since."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        own = headers.get("ETag", "")
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return bool(own) and ("*" in known or own.removeprefix("W/") in known)
    since = _seconds(request.headers.get("if-modified-since"))
    modified = _seconds(headers.get("Last-Modified"))
    return since is not None and modified is not None and modified <= since


def range_applies(request: Request, headers: dict) -> bool:
    """If-Range holds, or isn't there."""
    condition = request.headers.get("if-range")
    return condition is None or (not condition.startswith("W/") and condition in
                                 (headers.get("ETag"), headers.get("Last-Modified")))


def file_response(request: Request, file: BinaryIO, headers: dict,
                  ranges: bool = True) -> Response:
    """A file as asked for: whole, a range, 304 or 416."""
    size = os.fstat(file.fileno()).st_size
    headers = dict(headers)
    if not_modified(request, headers):
        file.close()
        return Response(304, headers)
    wanted = None
    if ranges:
        headers["Accept-Ranges"] = "bytes"
        if range_applies(request, headers):
            wanted = parse_range(request.headers.get("range"), size)
    if wanted is None:
        return Response(200, headers, FileBody(file, 0, size))
    start, end = wanted
    if start >= size:
        file.close()
        headers["Content-Range"] = f"bytes */{size}"
        return Response(416, headers)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Response(206, headers, FileBody(file, start, end - start), offset=start)


class Connection:
    """One client connection: reads requests, answers them in order."""

    def __init__(self, server: "Server", sock: socket.socket):
        self.server = server
        self.sock = sock
        self.reader = sock.makefile("rb", CHUNK)

    def run(self) -> None:
        try:
            while not self.server.stopping.is_set():
                request = self._read_request()
                if request is None:
                    break
                if request.method == "CONNECT" and self.server.tls:
                    self._enter_tunnel(request)
                elif not self._exchange(request):
                    break
        except (OSError, ValueError):
            pass  # the client left, or doesn't speak HTTP
        finally:
            self.server.forget(self.sock)
            self.reader.close()
            self.sock.close()

    def _read_request(self) -> Optional[Request]:
        line = self.reader.readline(MAX_HEAD)
        if not line.strip():
            return None
        method, target, version = line.decode("latin-1").split()
        headers: dict = {"http-version": version}
        total = len(line)
        while True:
            line = self.reader.readline(MAX_HEAD)
            total += len(line)
            if not line or total > MAX_HEAD:
                return None
            if not line.strip():
                break
            name, _, value = line.decode("latin-1").partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        length = int(headers.get("content-length", "0"))
        if length > MAX_BODY or "transfer-encoding" in headers:
            return None
        return Request(method, target, headers, self.reader.read(length))

    def _enter_tunnel(self, request: Request) -> None:
        """Be the host that a client of this proxy wants to speak TLS with, whichever it is."""
        log.ended(self.server.root, log.started(self.server.root, self.server.name, request))
        self.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.reader.close()
        plain, self.sock = self.sock, self.server.tls.wrap_socket(self.sock, server_side=True)
        self.server.forget(plain)
        self.reader = self.sock.makefile("rb", CHUNK)

    def _exchange(self, request: Request) -> bool:
        """Answer one request and log it; false when the connection is to be closed."""
        record = log.started(self.server.root, self.server.name, request)
        response = None
        try:
            fault = self.server.faults.match(self.server.name, request)
            if fault:
                record["fault"] = fault.ident
            if fault.get("stall_headers") is not None:
                self._stall(fault["stall_headers"])
            if fault.get("close"):
                return False
            fault.alter_request(request)
            response = fault.answer() or self._ask_application(request)
            fault.alter_response(response)
            return self._send(request, response, fault, record)
        finally:
            if response is not None:
                response.discard()
            log.ended(self.server.root, record)

    def _ask_application(self, request: Request) -> Response:
        try:
            return self.server.application.handle(request)
        except Exception:  # shown, since it is this origin's fault or that of a test's files
            traceback.print_exc()
            return text_response(500, "Internal Server Error")

    def _send(self, request: Request, response: Response, fault, record: dict) -> bool:
        headers = response.headers
        bodiless = response.status in (204, 304)
        if response.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not bodiless:
            size = len(response.body) if response.declared is None else response.declared
            headers["Content-Length"] = str(size)
        for name in fault.dropped_headers():
            for key in [key for key in headers if key.lower() == name]:
                del headers[key]
                response.close_after |= key == "Content-Length"
        wish = request.headers.get("connection", "").lower()
        keep = not (response.close_after or wish == "close" or
                    (request.headers["http-version"] == "HTTP/1.0" and wish != "keep-alive"))
        headers["Connection"] = "keep-alive" if keep else "close"
        headers.setdefault("Date", http_date(time.time()))
        try:
            phrase = http.HTTPStatus(response.status).phrase
        except ValueError:
            phrase = "Unknown"
        head = f"HTTP/1.1 {response.status} {phrase}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        record["status"] = response.status
        if "Content-Length" in headers:
            record["length"] = int(headers["Content-Length"])

        with_body = request.method != "HEAD" and not bodiless
        data = head.encode("latin-1", "replace")
        if with_body and len(response.body) and not fault and not self._is_tls():
            self.sock.sendall(data, socket.MSG_MORE)
        else:
            self.sock.sendall(data)
        complete = not with_body or self._send_body(response, fault, record)
        record["done"] = complete
        return keep and complete

    def _send_body(self, response: Response, fault, record: dict) -> bool:
        """Send the body up to where it is cut; true when that was all that was declared."""
        length = len(response.body)
        end = (length if response.declared is None or response.overrun
               else min(length, response.declared))
        if fault.get("truncate_at") is not None:
            end = min(end, fault["truncate_at"])
        flip = None if fault.get("flip_at") is None else fault["flip_at"] - response.offset
        stall = fault.get("stall_body_at")
        points = {end} | {point for point in (flip, None if flip is None else flip + 1, stall)
                          if point is not None and 0 <= point <= end}
        position = 0
        for point in sorted(points):
            if point > position:
                self._send_span(response, position, point, position == flip, record)
                position = point
            if point == stall:
                self._stall(fault.get("stall", -1))
        complete = end == (length if response.declared is None else response.declared)
        if response.chunked and complete:
            self.sock.sendall(b"0\r\n\r\n")
        return complete

    def _send_span(self, response: Response, start: int, end: int, flipped: bool,
                   record: dict) -> None:
        """Send body bytes start..end; `sent` counts them also when the client leaves."""
        body = response.body
        plain_file = (isinstance(body, FileBody) and not flipped and not response.chunked
                      and not self._is_tls())
        while start < end:
            if plain_file:
                count = os.sendfile(self.sock.fileno(), body.file.fileno(), body.start + start,
                                    min(SPAN, end - start))
                if count == 0:
                    raise OSError("the file became shorter")
            else:
                piece = self._piece(body, start, min(end, start + CHUNK))
                if flipped:
                    piece = bytes(byte ^ 0xff for byte in piece)
                count = len(piece)
                if response.chunked:
                    self.sock.sendall(b"%x\r\n%b\r\n" % (count, piece))
                else:
                    count = self.sock.send(piece)
            start += count
            record["sent"] += count

    def _is_tls(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket)

    @staticmethod
    def _piece(body: Union[bytes, FileBody], start: int, end: int) -> bytes:
        if not isinstance(body, FileBody):
            return body[start:end]
        piece = os.pread(body.file.fileno(), end - start, body.start + start)
        if not piece:
            raise OSError("the file became shorter")
        return piece

    def _stall(self, seconds: float) -> None:
        """Wait; less when DIR/release exists; an error when the client leaves or we stop."""
        until = None if seconds < 0 else time.monotonic() + seconds
        poller = select.poll()
        poller.register(self.sock, select.POLLRDHUP)
        release = os.path.join(self.server.root, "release")
        while not os.path.exists(release):
            wait = POLL_MS
            if until is not None:
                left = (until - time.monotonic()) * 1000
                if left <= 0:
                    return
                wait = min(wait, left)
            if poller.poll(wait) or self.server.stopping.is_set():
                raise ConnectionError("left during a stall")


class Server:
    """A listening socket and its connections; `application` is set before start().

    With `tls` it is a proxy, too, for https: for any host, whose part it plays itself.
    """

    def __init__(self, name: str, host: str, port: int, root: str, faults):
        self.name = name
        self.root = root
        self.faults = faults
        self.application = None
        self.tls: Optional[ssl.SSLContext] = None
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict = {}
        self._listener = socket.create_server((host, port), backlog=512)
        self.url = "http://%s:%d" % self._listener.getsockname()

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Small, so that the log counts little that never left.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 << 10)
            thread = threading.Thread(target=Connection(self, sock).run, daemon=True)
            with self._lock:
                self._open[sock] = thread
            thread.start()

    def forget(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.pop(sock, None)

    def stop(self) -> None:
        """End every connection, and wait a moment for their log lines."""
        self.stopping.set()
        with self._lock:
            connections = list(self._open.items())
        for sock in [self._listener] + [sock for sock, _ in connections]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        deadline = time.monotonic() + 1
        for _, thread in connections:
            thread.join(max(0, deadline - time.monotonic()))
        self._listener.close()
