"""Repositories on disk, as mkrepo.py writes and the Hub reads them.

    DIR/objects/OID                       contents: git blob sha1, or sha256 for LFS files
    DIR/repos/TYPEs/ORG/NAME/repo.json    private, gated, disabled, tokens that have access...
    DIR/repos/TYPEs/ORG/NAME/refs/...     files with a commit, as in git: refs/heads/main
    DIR/repos/TYPEs/ORG/NAME/commits/SHA.json
    DIR/renames.json                      {"models": {"old name in lower case": "ORG/NAME"}}
    DIR/tokens                            tokens the Hub knows beside those of the repos

Everything is read at each request (large commits are kept in memory while their file stays as
it is), so that a test changes what the Hub shows by changing files.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import os
import re
import threading
from typing import Iterable, Optional

TYPES = ("models", "datasets", "spaces", "kernels")
SHA = re.compile(r"[0-9a-f]{40}")


def write_json(path: str, value) -> None:
    write_text(path, json.dumps(value))


def write_text(path: str, text: str) -> None:
    """Atomically, making the folders above."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def read_json(path: str, default=None):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return default


def git_hash(kind: str, data: bytes) -> str:
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return (f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\n"
            f"size {size}\n").encode()


def xet_hash(sha256: str) -> str:
    """A made-up hash of 64 digits that isn't the sha256."""
    return hashlib.sha256(b"xet " + sha256.encode()).hexdigest()


class Tree:
    """The files of a commit and the directories that follow from them."""

    def __init__(self, files: Iterable[dict]):
        self.entries = [{"type": "file", **entry} for entry in files]
        self.files = {entry["path"]: entry for entry in self.entries}
        self.folders = {entry["path"]: entry for entry in self._make_folders()}
        self.entries += self.folders.values()
        self.entries.sort(key=lambda entry: entry["path"])
        self._paths = [entry["path"] for entry in self.entries]
        self._children: dict = {}
        for entry in self.entries:
            self._children.setdefault(entry["path"].rpartition("/")[0], []).append(entry)

    def _make_folders(self) -> list[dict]:
        """Directories with the hashes that git would give their trees."""
        rows: dict = {"": []}
        for path, entry in self.files.items():
            folder, _, name = path.rpartition("/")
            while folder not in rows:
                rows[folder] = []
                folder = folder.rpartition("/")[0]
            rows[path.rpartition("/")[0]].append((name, "100644", entry["oid"]))
        made = []
        for folder in sorted(rows, key=lambda path: -path.count("/") if path else 1):
            children = sorted(rows[folder],
                              key=lambda row: row[0] + "/" * (row[1] == "40000"))
            data = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid)
                            for name, mode, oid in children)
            oid = git_hash("tree", data)
            if folder:
                above, _, name = folder.rpartition("/")
                rows[above].append((name, "40000", oid))
                made.append({"type": "directory", "oid": oid, "size": 0, "path": folder})
            else:
                self.oid = oid
        return made

    def find(self, path: str) -> Optional[dict]:
        return self.files.get(path) or self.folders.get(path)

    def listing(self, folder: str, recursive: bool) -> list[dict]:
        if not recursive:
            return self._children.get(folder, [])
        if not folder:
            return self.entries
        first = bisect.bisect_left(self._paths, folder + "/")
        return self.entries[first:bisect.bisect_left(self._paths, folder + "0")]


class Repo:
    """One repository folder."""

    def __init__(self, store: "Store", kind: str, ident: str):
        self.store = store
        self.kind = kind
        self.ident = ident
        self.folder = store.repo_folder(kind, ident)
        self.settings = read_json(os.path.join(self.folder, "repo.json"), {})

    def save_settings(self) -> None:
        write_json(os.path.join(self.folder, "repo.json"), self.settings)

    def has_access(self, token: Optional[str]) -> bool:
        return token is not None and token in self.settings.get("tokens", [])

    def refs(self) -> dict:
        """{"refs/heads/main": sha, ...}"""
        found = {}
        for folder, _, names in os.walk(os.path.join(self.folder, "refs")):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), self.folder)
                if not name.endswith(".tmp"):
                    found[path] = self.ref(path)
        return dict(sorted(found.items()))

    def ref(self, path: str) -> Optional[str]:
        try:
            with open(os.path.join(self.folder, path), encoding="ascii") as file:
                return file.read().strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def set_ref(self, path: str, sha: str) -> None:
        write_text(os.path.join(self.folder, path), sha + "\n")

    def commit_path(self, sha: str) -> str:
        return os.path.join(self.folder, "commits", sha + ".json")

    def commit(self, sha: str) -> dict:
        return self.store.load(self.commit_path(sha))[0]

    def tree(self, sha: str) -> Tree:
        return self.store.load(self.commit_path(sha))[1]

    def resolve(self, rev: str) -> Optional[str]:
        """The commit that a branch, tag, full ref, commit or short hash names."""
        if SHA.fullmatch(rev):
            return rev if os.path.exists(self.commit_path(rev)) else None
        if ".." in rev or rev.startswith("/"):
            return None
        names = [f"refs/heads/{rev}", f"refs/tags/{rev}"]
        if re.match(r"refs/(heads|tags|pr|convert)/", rev):
            names.append(rev)
        for name in names:
            sha = self.ref(name)
            if sha:
                return sha
        if re.fullmatch(r"[0-9a-f]{7,39}", rev):
            found = [name[:40] for name in os.listdir(os.path.join(self.folder, "commits"))
                     if name.startswith(rev)]
            return found[0] if len(found) == 1 else None
        return None

    def history(self, sha: Optional[str]) -> list[dict]:
        commits = []
        while sha:
            commits.append(self.commit(sha))
            sha = commits[-1]["parent"]
        return commits


class Store:
    """Everything below DIR."""

    def __init__(self, root: str):
        self.root = os.path.abspath(root)
        os.makedirs(os.path.join(self.root, "objects"), exist_ok=True)
        self._loaded: dict = {}
        self._lock = threading.Lock()

    def object_path(self, oid: str) -> str:
        return os.path.join(self.root, "objects", oid)

    def repo_folder(self, kind: str, ident: str) -> str:
        return os.path.join(self.root, "repos", kind, *ident.split("/"))

    def exists(self, kind: str, ident: str) -> bool:
        return ident.count("/") == 1 and os.path.exists(
            os.path.join(self.repo_folder(kind, ident), "repo.json"))

    def repos(self, kind: str) -> list[Repo]:
        found = []
        top = os.path.join(self.root, "repos", kind)
        for org in sorted(os.listdir(top)) if os.path.isdir(top) else []:
            for name in sorted(os.listdir(os.path.join(top, org))):
                if self.exists(kind, f"{org}/{name}"):
                    found.append(Repo(self, kind, f"{org}/{name}"))
        return found

    def renames(self) -> dict:
        return read_json(os.path.join(self.root, "renames.json"), {})

    def canonical(self, kind: str, ident: str) -> Optional[str]:
        """The repo's name now, after renames and in its own case; None: no such repo."""
        renames = self.renames().get(kind, {})
        for _ in range(10):
            if self.exists(kind, ident):
                return ident
            if ident.lower() not in renames:
                break
            ident = renames[ident.lower()]
        wanted = ident.lower()
        return next((repo.ident for repo in self.repos(kind) if repo.ident.lower() == wanted),
                    None)

    def knows_token(self, token: str) -> bool:
        try:
            with open(os.path.join(self.root, "tokens"), encoding="utf-8") as file:
                if token in file.read().split():
                    return True
        except FileNotFoundError:
            pass
        return any(repo.has_access(token) for kind in TYPES for repo in self.repos(kind))

    def load(self, path: str) -> tuple[dict, Tree]:
        """A commit and its tree, from memory while the file stays the same."""
        status = os.stat(path)
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            known = self._loaded.get(path)
            if known is None or known[0] != stamp:
                commit = read_json(path)
                known = stamp, commit, Tree(commit["files"])
                self._loaded[path] = known
        return known[1], known[2]
