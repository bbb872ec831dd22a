"""The Hub: who may see what, and where the bytes of a file are.

The calls below /api/ that tell about repos are in hubapi.py.
"""

from __future__ import annotations

import gzip
import os
import re
import urllib.parse
import uuid
from typing import NoReturn, Optional

import hubapi
from cdn import Signer
from httpbase import Request, Response, file_response, text_response
from huberror import HubError
from repos import SHA, TYPES, Repo, Store

LIMITS = {  # told, never enforced: a fault entry plays a 429
    "api": ('"api";r=485;t=163', '"fixed window";"api";q=500;w=300'),
    "resolvers": ('"resolvers";r=2985;t=163', '"fixed window";"resolvers";q=3000;w=300'),
    "pages": ('"pages";r=85;t=163', '"fixed window";"pages";q=100;w=300'),
}


class Hub:
    """The application."""

    def __init__(self, store: Store, url: str, signer: Signer, page_size: int,
                 git_direct: bool):
        self.store = store
        self.url = url
        self.page_size = page_size
        self._signer = signer
        self._git_direct = git_direct

    def handle(self, request: Request) -> Response:
        bucket = "pages"
        try:
            if request.segments[0] == "api":
                bucket = "api"
                response = self._api(request)
            elif "resolve" in request.segments:
                bucket = "resolvers"
                response = self._resolve(request)
            else:
                raise HubError(404, "Sorry, we can't find the page you are looking for.")
        except HubError as error:
            response = error.response(request, plain=bucket == "resolvers")
        limit, policy = LIMITS[bucket]
        response.headers.update({"RateLimit": limit, "RateLimit-Policy": policy,
                                 "x-request-id": f"Root=1-{uuid.uuid4()}"})
        return response

    # Who asks, and what may they see?

    def token(self, request: Request) -> Optional[str]:
        """The token sent, unchecked."""
        match = re.fullmatch(r"Bearer\s+(\S+)", request.headers.get("authorization", ""))
        return match.group(1) if match else None

    def check_token(self, request: Request) -> Optional[str]:
        """The token sent; an error when the Hub doesn't know it."""
        token = self.token(request)
        if ("authorization" in request.headers
                and (token is None or not self.store.knows_token(token))):
            raise HubError(401, "Invalid credentials in Authorization header")
        return token

    def no_repo(self, request: Request) -> NoReturn:
        if self.check_token(request):
            raise HubError(404, "Repository not found", "RepoNotFound")
        raise HubError(401, "Invalid username or password.", "RepoNotFound")

    def find_repo(self, request: Request, kind: str, ident: str, base: str,
                  for_bytes: bool = False) -> Repo:
        """The repo, if the caller may see it.  `base` is the path's part before its name.

        Raises a redirect when the name isn't the repo's own.
        """
        canonical = self.store.canonical(kind, ident)
        if canonical is None:
            self.no_repo(request)
        repo = Repo(self.store, kind, canonical)
        if for_bytes:
            self.check_gate(request, repo)
        token = self.check_token(request)
        if repo.settings.get("private") and not repo.has_access(token):
            self.no_repo(request)
        if repo.settings.get("disabled"):
            if token:
                raise HubError(403, "Access to this resource is disabled.")
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        if canonical != ident:
            rest = request.target[len(base + ident):]
            raise HubError(307, f"Temporary Redirect. Redirecting to {base}{canonical}{rest}",
                           headers={"Location": base + canonical + rest})
        return repo

    def check_gate(self, request: Request, repo: Repo) -> None:
        """Refuse who isn't on a gated repo's list; a private one says nothing of its gate."""
        token = self.token(request)
        if (not repo.settings.get("gated") or repo.settings.get("private")
                or repo.has_access(token)):
            return
        if token is None or not self.store.knows_token(token):
            raise HubError(401, f"Access to {repo.kind[:-1]} {repo.ident} is restricted. You "
                           "must have access to it and be authenticated to access it. Please "
                           "log in.", "GatedRepo")
        raise HubError(403, f"Access to {repo.kind[:-1]} {repo.ident} is restricted and you are "
                       f"not in the authorized list. Visit {self.url}/{repo.ident} to ask for "
                       "access.", "GatedRepo")

    @staticmethod
    def find_commit(repo: Repo, rev: str) -> str:
        sha = repo.resolve(rev)
        if sha is None:
            raise HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        return sha

    # Calls

    def _api(self, request: Request) -> Response:
        parts = request.segments[1:]
        if parts[0] == "resolve-cache" and len(parts) > 5 and parts[1] in TYPES:
            return self._resolve_cache(request, parts[1], "/".join(parts[2:4]), parts[4],
                                       "/".join(parts[5:]))
        if parts == ["whoami-v2"]:
            return hubapi.whoami(self, request)
        if parts[0] in ("organizations", "users") and parts[2:] == ["overview"]:
            return hubapi.overview(self, request, parts[1])
        if parts[0] not in TYPES:
            raise HubError(404, "Not Found")
        kind, parts = parts[0], parts[1:]
        if not parts:
            return hubapi.list_repos(self, request, kind)
        split = 1 if len(parts) == 1 or parts[1] in hubapi.CALLS else 2
        repo = self.find_repo(request, kind, "/".join(parts[:split]), f"/api/{kind}/")
        call, *rest = parts[split:] or [""]
        if call not in hubapi.CALLS:
            raise HubError(404, "Not Found")
        method, function = hubapi.CALLS[call]
        if request.method not in (method, "HEAD"):
            raise HubError(405, "Method Not Allowed")
        return function(self, request, repo, rest)

    def _resolve(self, request: Request) -> Response:
        """/[TYPEs/][ORG/]NAME/resolve/REV/PATH"""
        if request.method not in ("GET", "HEAD"):
            raise HubError(405, "Method Not Allowed")
        parts = request.segments
        kind, base = "models", "/"
        if parts[0] in TYPES:
            kind, base, parts = parts[0], f"/{parts[0]}/", parts[1:]
        at = parts.index("resolve")
        if at not in (1, 2) or len(parts) < at + 3:
            raise HubError(404, "Not Found")
        repo = self.find_repo(request, kind, "/".join(parts[:at]), base, for_bytes=True)
        sha = self.find_commit(repo, parts[at + 1])
        entry = self._find_file(repo, sha, "/".join(parts[at + 2:]))
        lfs = entry.get("lfs")
        etag = f'"{lfs["oid"] if lfs else entry["oid"]}"'
        headers = {"X-Repo-Commit": sha, "X-Linked-ETag": etag}
        if etag in request.headers.get("if-none-match", ""):
            return Response(304, {**headers, "ETag": etag})
        if lfs:
            return self._redirect_lfs(repo, sha, entry, headers)
        if self._git_direct:
            return self._git_file(request, repo, sha, entry)
        query = urllib.parse.urlencode({request.path: "", "etag": etag})
        where = (f"/api/resolve-cache/{repo.kind}/{repo.ident}/{sha}/"
                 f"{urllib.parse.quote(entry['path'])}?{query}")
        return text_response(307, f"Temporary Redirect. Redirecting to {where}",
                             {**headers, "Location": where, "Vary": "Origin, Accept"})

    def _redirect_lfs(self, repo: Repo, sha: str, entry: dict, headers: dict) -> Response:
        lfs = entry["lfs"]
        where = self._signer.url(lfs["oid"])
        headers = {**headers, "X-Linked-Size": str(lfs["size"]), "Location": where,
                   "Accept-Ranges": "bytes", "Vary": "Origin, Accept"}
        if "xetHash" in entry:
            headers["X-Xet-Hash"] = entry["xetHash"]
            headers["Link"] = (f"<{self.url}/api/{repo.kind}/{repo.ident}/xet-read-token/{sha}>"
                               '; rel="xet-auth"')
        return text_response(302, f"Found. Redirecting to {where}", headers)

    def _resolve_cache(self, request: Request, kind: str, ident: str, sha: str,
                       path: str) -> Response:
        repo = self.find_repo(request, kind, ident, f"/api/resolve-cache/{kind}/",
                              for_bytes=True)
        if not SHA.fullmatch(sha):
            raise HubError(404, f"Invalid rev id: {sha}", "RevisionNotFound")
        return self._git_file(request, repo, self.find_commit(repo, sha),
                              self._find_file(repo, sha, path))

    @staticmethod
    def _find_file(repo: Repo, sha: str, path: str) -> dict:
        entry = repo.tree(sha).files.get(path)
        if entry is None:
            raise HubError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": sha})
        return entry

    def _git_file(self, request: Request, repo: Repo, sha: str, entry: dict) -> Response:
        """A small file's bytes; gzip'd and without a length to who accepts that."""
        name = os.path.basename(entry["path"])
        disposition = urllib.parse.quote(name)
        headers = {"ETag": f'"{entry["oid"]}"', "X-Repo-Commit": sha,
                   "Content-Type": "text/plain; charset=utf-8", "Vary": "Accept-Encoding",
                   "Content-Disposition": f"inline; filename*=UTF-8''{disposition}; "
                                          f'filename="{disposition}";'}
        try:
            file = open(self.store.object_path(entry["oid"]), "rb")
        except OSError:
            raise HubError(500, "Internal Error") from None
        if not request.accepts_gzip() or not entry["size"]:
            return file_response(request, file, headers)
        with file:
            body = gzip.compress(file.read(), 1)
        headers.update({"ETag": f'W/"{entry["oid"]}"', "Content-Encoding": "gzip"})
        return Response(200, headers, body, chunked=True)
