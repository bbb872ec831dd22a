"""The CDN: contents by sha256, under signed URLs that expire."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
import urllib.parse

from httpbase import Request, Response, file_response, text_response
from repos import Store, xet_hash


class Signer:
    """Makes and checks signed URLs."""

    def __init__(self, base: str, ttl: float):
        self._base = base.rstrip("/")
        self._ttl = ttl
        self._secret = secrets.token_bytes(16)

    def _signature(self, oid: str, expires: str) -> str:
        return hmac.new(self._secret, f"{oid} {expires}".encode(), hashlib.sha256).hexdigest()

    def url(self, oid: str) -> str:
        expires = f"{time.time() + self._ttl:.3f}"
        query = urllib.parse.urlencode({"Expires": expires,
                                        "Signature": self._signature(oid, expires)})
        return f"{self._base}/{oid}?{query}"

    def valid(self, oid: str, expires: str, signature: str) -> bool:
        return (hmac.compare_digest(signature, self._signature(oid, expires))
                and float(expires) > time.time())


class Cdn:
    """Serves DIR/objects, and below /web/ what the web server has (for /_/away/)."""

    def __init__(self, store: Store, signer: Signer, web):
        self._store = store
        self._signer = signer
        self._web = web

    def handle(self, request: Request) -> Response:
        if "authorization" in request.headers:
            return text_response(400, "Only one auth mechanism allowed")
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "Method Not Allowed", {"Allow": "GET, HEAD"})
        if request.path.startswith("/web/"):
            return self._web.serve(request, request.path[len("/web/"):])
        oid = request.path[1:]
        if not self._signer.valid(oid, request.arg("Expires"), request.arg("Signature")):
            return text_response(403, "Access Denied")
        try:
            file = open(self._store.object_path(os.path.basename(oid)), "rb")
        except OSError:
            return text_response(404, "Not Found")
        return file_response(request, file, {"Content-Type": "application/octet-stream",
                                             "ETag": f'"{xet_hash(oid)}"',
                                             "Cache-Control": "public, max-age=31536000"})
