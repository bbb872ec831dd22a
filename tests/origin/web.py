"""The plain web server: DIR/web as a file tree, and some odd behaviours below /_/.

A file whose name includes the query (`name?a=b`) is preferred to one without it.

    /_/chunked/PATH             no length          /_/gzip/PATH         gzip'd and chunked
    /_/norange/PATH             no ranges          /_/plain/PATH        no ETag, no date
    /_/nohead/PATH              HEAD gives 405     /_/status/CODE       that status
    /_/redirect/CODE/N/PATH     N redirects        /_/away/PATH         302 to the other host
    /_/named/NAME/PATH          Content-Disposition with that name
    /_/auth/TOKEN/PATH          401 without `Authorization: Bearer TOKEN` or ?token=TOKEN
    /_/basic/USER:WORD/PATH     401 without that login
    /_/html/PATH                as text/html
"""

from __future__ import annotations

import base64
import gzip
import mimetypes
import os
import urllib.parse

from httpbase import FileBody, Request, Response, file_response, http_date, text_response


class Web:
    """The application; `away` is the other host's URL for the same files."""

    def __init__(self, root: str, away: str):
        self._root = os.path.join(root, "web")
        self._away = away

    def handle(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "Method Not Allowed", {"Allow": "GET, HEAD"})
        if request.path.startswith("/_/"):
            return self._special(request, *request.path[len("/_/"):].partition("/")[::2])
        return self.serve(request, request.path[1:])

    def serve(self, request: Request, path: str, ranges: bool = True) -> Response:
        """The file at this (still encoded) path."""
        name = urllib.parse.unquote(path)
        if "\0" in name or ".." in name.split("/"):
            return text_response(400, "Bad Request")
        local = os.path.join(self._root, name.lstrip("/"))
        if os.path.isdir(local):
            if name and not name.endswith("/"):
                query = f"?{request.query}" if request.query else ""
                return text_response(301, "Moved", {"Location": f"{request.path}/{query}"})
            local = os.path.join(local, "index.html")
        kind, coding = mimetypes.guess_type(local)
        if request.query and os.path.isfile(f"{local}?{request.query}"):
            local = f"{local}?{request.query}"
        try:
            file = open(local, "rb")
        except OSError:
            return text_response(404, "Not Found")
        status = os.fstat(file.fileno())
        return file_response(request, file, {
            "Content-Type": kind if kind and not coding else "application/octet-stream",
            "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            "Last-Modified": http_date(status.st_mtime)}, ranges)

    def _special(self, request: Request, word: str, rest: str) -> Response:
        first, _, after = rest.partition("/")
        if not first:
            return text_response(404, "Not Found")
        if word == "status":
            return text_response(int(first), "as asked for")
        if word == "redirect":
            hops, _, path = after.partition("/")
            if not hops:
                return text_response(404, "Not Found")
            left = int(hops) - 1
            target = f"/_/redirect/{first}/{left}/{path}" if left > 0 else f"/{path}"
            query = f"?{request.query}" if request.query else ""
            return Response(int(first), {"Location": target + query})
        if word == "away":
            return Response(302, {"Location": f"{self._away}/web/{rest}"})
        if word == "auth":
            if first not in (request.arg("token"),
                             request.headers.get("authorization", "")[len("Bearer "):]):
                return text_response(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})
            return self.serve(request, after)
        if word == "basic":
            login = "Basic " + base64.b64encode(urllib.parse.unquote(first).encode()).decode()
            if request.headers.get("authorization") != login:
                return text_response(401, "Unauthorized",
                                     {"WWW-Authenticate": 'Basic realm="here"'})
            return self.serve(request, after)
        if word == "html":
            response = self.serve(request, rest)
            response.headers["Content-Type"] = "text/html; charset=utf-8"
            return response
        if word == "nohead" and request.method == "HEAD":
            return text_response(405, "Method Not Allowed", {"Allow": "GET"})
        response = self.serve(request, after if word == "named" else rest,
                              ranges=word in ("plain", "nohead", "named"))
        if word == "named":
            response.headers["Content-Disposition"] = f'attachment; filename="{first}"'
        elif word == "plain":
            for name in ("ETag", "Last-Modified"):
                response.headers.pop(name, None)
        elif word == "gzip" and isinstance(response.body, FileBody):
            with response.body.file as file:
                response.body = gzip.compress(file.read(), 1)
            response.headers["Content-Encoding"] = "gzip"
            response.headers["ETag"] = "W/" + response.headers["ETag"]
        response.chunked = word in ("chunked", "gzip") and response.status == 200
        return response
