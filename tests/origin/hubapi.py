"""The Hub's calls that tell about repos: /api/TYPEs/ORG/NAME/CALL/..."""

from __future__ import annotations

import base64
import bisect
import binascii
import hashlib
import json
import re
import urllib.parse
from typing import Optional

from httpbase import Request, Response, json_response, text_response
from huberror import HubError
from repos import TYPES, Repo

EXPANDED_PAGE = 100
EXPANDABLE = ("author", "createdAt", "disabled", "downloads", "gated", "lastModified", "likes",
              "private", "sha", "siblings", "tags", "usedStorage")


def _next_link(hub, request: Request, **changes) -> dict:
    """A Link header to the same call with other arguments."""
    args = {**request.args, **{name: [value] for name, value in changes.items()}}
    query = urllib.parse.urlencode(args, doseq=True)
    return {"Link": f'<{hub.url}{request.path}?{query}>; rel="next"'}


def _number(request: Request, name: str, default: int) -> int:
    text = request.arg(name, str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise HubError(400, f'"{name}" must be a number')
    return int(text)


def _encode_cursor(path: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(path).encode()).decode()


def _decode_cursor(cursor: str) -> str:
    try:
        return json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, binascii.Error):
        raise HubError(400, "Invalid cursor") from None


def _repo_id(repo: Repo) -> str:
    return hashlib.sha1(f"{repo.kind}/{repo.ident}".encode()).hexdigest()[:24]


def _sibling(entry: dict, blobs: bool) -> dict:
    sibling = {"rfilename": entry["path"]}
    if blobs:
        sibling.update(size=entry["size"], blobId=entry["oid"])
        if "lfs" in entry:
            lfs = entry["lfs"]
            sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"],
                              "pointerSize": lfs["pointerSize"]}
    return sibling


def info(hub, request: Request, repo: Repo, rest: list[str]) -> Response:
    """/, and /revision/REV"""
    if len(rest) > 1:
        raise HubError(404, "Not Found")
    wanted = request.args.get("expand", []) + request.args.get("expand[]", [])
    blobs = request.flag("blobs")
    if wanted and blobs:
        raise HubError(400, '"blobs" and "expand" can\'t be used together')
    if (wanted or blobs) and repo.kind == "kernels":
        raise HubError(400, "Unrecognized parameter")
    for name in wanted:
        if name not in EXPANDABLE:
            raise HubError(400, f'"expand" must be one of {", ".join(EXPANDABLE)}')
    sha = hub.find_commit(repo, rest[0] if rest else "main")
    commit = repo.commit(sha)
    ident = {"_id": _repo_id(repo), "id": repo.ident}
    value = {
        "author": repo.ident.split("/")[0], "sha": sha, "lastModified": commit["date"],
        "createdAt": repo.settings["createdAt"], "private": repo.settings["private"],
        "gated": repo.settings["gated"], "disabled": repo.settings["disabled"],
        "downloads": 0, "likes": 0, "tags": [],
    }
    if repo.kind != "kernels" and (not wanted or "siblings" in wanted):
        value["siblings"] = [_sibling(entry, blobs) for entry in commit["files"]]
    if not wanted or "usedStorage" in wanted:
        value["usedStorage"] = sum(entry["size"] for entry in commit["files"])
    if wanted:
        value = {name: value[name] for name in wanted}
    elif repo.kind == "models":
        ident["modelId"] = repo.ident
    return json_response(request, {**ident, **value})


def _expanded(commit: dict, entry: dict) -> dict:
    return {**entry, "lastCommit": {"id": commit["sha"], "title": commit["message"],
                                    "date": commit["date"]}}


def tree(hub, request: Request, repo: Repo, rest: list[str]) -> Response:
    """/tree/REV[/FOLDER]"""
    if not rest:
        raise HubError(404, "Not Found")
    sha = hub.find_commit(repo, rest[0])
    whole = repo.tree(sha)
    folder = "/".join(rest[1:]).strip("/")
    if folder and folder not in whole.folders:
        raise HubError(404, f"{folder} does not exist on \"{rest[0]}\"", "EntryNotFound",
                       {"X-Repo-Commit": sha})
    entries = whole.listing(folder, request.flag("recursive"))
    expand = request.flag("expand")
    page = min(hub.page_size, EXPANDED_PAGE) if expand else hub.page_size
    limit = min(max(1, _number(request, "limit", page)), page)
    first = 0
    if request.arg("cursor"):
        after = _decode_cursor(request.arg("cursor"))
        first = bisect.bisect_right([entry["path"] for entry in entries], after)
    shown = entries[first:first + limit]
    headers = {}
    if first + limit < len(entries):
        headers = _next_link(hub, request, cursor=_encode_cursor(shown[-1]["path"]))
    if expand:
        shown = [_expanded(repo.commit(sha), entry) for entry in shown]
    return json_response(request, shown, headers=headers)


def paths_info(hub, request: Request, repo: Repo, rest: list[str]) -> Response:
    """POST /paths-info/REV, a form or JSON; unknown paths are left out."""
    sha = hub.find_commit(repo, "/".join(rest))
    try:
        if "json" in request.headers.get("content-type", ""):
            form = json.loads(request.body)
            paths, expand = form["paths"], bool(form.get("expand"))
        else:
            fields = urllib.parse.parse_qs(request.body.decode())
            paths, expand = fields["paths"], fields.get("expand", [""])[0].lower() == "true"
    except (ValueError, KeyError):
        raise HubError(400, '"paths" is required') from None
    whole = repo.tree(sha)
    found = [entry for entry in map(whole.find, [paths] if isinstance(paths, str) else paths)
             if entry]
    if expand:
        found = [_expanded(repo.commit(sha), entry) for entry in found]
    return json_response(request, found)


def refs(hub, request: Request, repo: Repo, rest: list[str]) -> Response:
    """/refs; pull requests only when asked for."""
    kinds = {"branches": "refs/heads/", "converts": "refs/convert/", "tags": "refs/tags/"}
    if request.flag("include_prs"):
        kinds["pullRequests"] = "refs/pr/"
    found = repo.refs()
    return json_response(request, {
        kind: [{"name": name if kind == "pullRequests" else name[len(prefix):], "ref": name,
                "targetCommit": sha}
               for name, sha in found.items() if name.startswith(prefix)]
        for kind, prefix in kinds.items()})


def commits(hub, request: Request, repo: Repo, rest: list[str]) -> Response:
    """/commits/REV?p=PAGE&limit=N"""
    history = repo.history(hub.find_commit(repo, "/".join(rest)))
    limit = min(max(1, _number(request, "limit", 50)), hub.page_size)
    page = _number(request, "p", 0)
    headers = {"X-Total-Count": str(len(history))}
    if (page + 1) * limit < len(history):
        headers.update(_next_link(hub, request, p=str(page + 1)))
    return json_response(request, [
        {"id": commit["sha"], "title": commit["message"], "message": "",
         "date": commit["date"], "authors": [{"user": repo.ident.split("/")[0]}],
         "parents": [commit["parent"]] if commit["parent"] else []}
        for commit in history[page * limit:(page + 1) * limit]], headers=headers)


def auth_check(hub, request: Request, repo: Repo, rest: list[str]) -> Response:
    hub.check_gate(request, repo)
    return text_response(200, "OK")


CALLS = {
    "": ("GET", info),
    "revision": ("GET", info),
    "tree": ("GET", tree),
    "refs": ("GET", refs),
    "commits": ("GET", commits),
    "paths-info": ("POST", paths_info),
    "auth-check": ("GET", auth_check),
}


def whoami(hub, request: Request) -> Response:
    token = hub.check_token(request)
    if token is None:
        raise HubError(401, "Invalid username or password.")
    return json_response(request, {
        "type": "user", "id": hashlib.sha1(token.encode()).hexdigest()[:24], "name": "tester",
        "fullname": "Tester", "isPro": False, "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"displayName": "tests",
                                                         "role": "read"}}})


def _visible(hub, request: Request, kind: str, author: Optional[str] = None) -> list[Repo]:
    token = hub.check_token(request)
    return [repo for repo in hub.store.repos(kind)
            if (not repo.settings["private"] or repo.has_access(token))
            and author in (None, repo.ident.split("/")[0])]


def list_repos(hub, request: Request, kind: str) -> Response:
    """/api/TYPEs?author=NAME&limit=N"""
    repos = _visible(hub, request, kind, request.arg("author") or None)
    limit = max(1, _number(request, "limit", hub.page_size))
    if request.arg("cursor"):
        after = _decode_cursor(request.arg("cursor"))
        repos = [repo for repo in repos if repo.ident > after]
    headers = {}
    if limit < len(repos):
        headers = _next_link(hub, request, cursor=_encode_cursor(repos[limit - 1].ident))
    return json_response(request, [
        {"_id": _repo_id(repo), "id": repo.ident, "private": repo.settings["private"],
         "gated": repo.settings["gated"], "createdAt": repo.settings["createdAt"],
         "downloads": 0, "likes": 0, "tags": []} for repo in repos[:limit]], headers=headers)


def overview(hub, request: Request, name: str) -> Response:
    """Organisation or user: whoever has a repo that the caller may see."""
    if not any(_visible(hub, request, kind, name) for kind in TYPES):
        raise HubError(404, "Not Found")
    return json_response(request, {"name": name, "fullname": name, "type": "org"})
