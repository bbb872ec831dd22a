"""Make and rename repositories for the Hub of this origin; see repos.py for what is written.

    mkrepo.py --root DIR TYPE ORG/NAME --from FOLDER [options]    a new commit; prints its hash
    mkrepo.py --root DIR TYPE ORG/NAME --many N [options]         N small files, no source
    mkrepo.py --root DIR rename TYPE OLD NEW                      OLD is redirected to NEW

Files of 1 MiB and more are linked, not copied, where the source is on the same file system:
replace such a source, don't write into it.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import hashlib
import os
import shutil
import sys
from typing import Optional, Sequence

from repos import (TYPES, Repo, Store, git_hash, lfs_pointer, read_json, write_json,
                   xet_hash)

LFS_OVER = 1 << 20
LINK_FROM = 1 << 20
MANY_PER_FOLDER = 5000


def _hash_file(path: str, digest) -> str:
    with open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(1 << 20))
        for count in iter(lambda: file.readinto(buffer), 0):
            digest.update(buffer[:count])
    return digest.hexdigest()


class Hashes:
    """Remembers the hashes of large files by inode, size and time."""

    def __init__(self, root: str):
        self._path = os.path.join(root, "hashes.json")
        self._known = read_json(self._path, {})

    def of(self, path: str, lfs: bool) -> str:
        status = os.stat(path)
        key = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{lfs}"
        if key not in self._known:
            digest = hashlib.sha256() if lfs else hashlib.sha1(b"blob %d\0" % status.st_size)
            self._known[key] = _hash_file(path, digest)
            write_json(self._path, self._known)
        return self._known[key]


def _add_file(store: Store, hashes: Hashes, source: str, path: str, lfs: bool) -> dict:
    """Store one file; its entry in the commit."""
    size = os.path.getsize(source)
    if size < LINK_FROM:
        with open(source, "rb") as file:
            data = file.read()
        return add_bytes(store, data, path, lfs)
    oid = hashes.of(source, lfs)
    target = store.object_path(oid)
    if not os.path.exists(target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    return _entry(path, size, oid, lfs)


def add_bytes(store: Store, data: bytes, path: str, lfs: bool = False) -> dict:
    """Store some bytes; their entry in the commit."""
    oid = hashlib.sha256(data).hexdigest() if lfs else git_hash("blob", data)
    target = store.object_path(oid)
    if not os.path.exists(target):
        with open(target, "wb") as file:
            file.write(data)
    return _entry(path, len(data), oid, lfs)


def _entry(path: str, size: int, oid: str, lfs: bool) -> dict:
    if not lfs:
        return {"path": path, "size": size, "oid": oid}
    pointer = lfs_pointer(oid, size)
    return {"path": path, "size": size, "oid": git_hash("blob", pointer),
            "lfs": {"oid": oid, "size": size, "pointerSize": len(pointer)}}


def add_folder(store: Store, folder: str, lfs_over: int = LFS_OVER,
               lfs_patterns: Sequence[str] = ()) -> list[dict]:
    """Store a folder's files; patterns, when there are any, decide alone what is LFS."""
    hashes = Hashes(store.root)
    entries = []
    for above, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            source = os.path.join(above, name)
            path = os.path.relpath(source, folder)
            if lfs_patterns:
                lfs = any(fnmatch.fnmatchcase(path, pattern) for pattern in lfs_patterns)
            else:
                lfs = os.path.getsize(source) > lfs_over
            entries.append(_add_file(store, hashes, source, path, lfs))
    return entries


def add_many(store: Store, number: int) -> list[dict]:
    """Store so many small files: part-0/file-000000.txt and on."""
    return [add_bytes(store, b"file %d\n" % index,
                      f"part-{index // MANY_PER_FOLDER}/file-{index:06}.txt")
            for index in range(number)]


def make_commit(root: str, kind: str, ident: str, entries: list[dict], *,
                ref: str = "refs/heads/main", tag: Optional[str] = None,
                message: str = "Update") -> str:
    """Commit these files to a repo, made when it isn't there; the commit's hash."""
    store = Store(root)
    repo = Repo(store, kind, ident)
    now = datetime.datetime.now(datetime.timezone.utc)
    date = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parent = repo.ref(ref) or repo.ref("refs/heads/main")
    lines = [f"files {git_hash('blob', repr(entries).encode())}", f"parent {parent}",
             f"author {kind}/{ident} {now.timestamp()}", "", message]
    sha = git_hash("commit", "\n".join(lines).encode())
    write_json(repo.commit_path(sha), {"sha": sha, "parent": parent, "message": message,
                                       "date": date, "files": entries})
    if not repo.settings:
        repo.settings = {"private": False, "gated": False, "disabled": False, "tokens": [],
                         "createdAt": date}
        repo.save_settings()
    repo.set_ref(ref, sha)
    if tag:
        repo.set_ref(f"refs/tags/{tag}", sha)
    return sha


def change_settings(root: str, kind: str, ident: str, tokens: Sequence[str] = (),
                    **settings) -> None:
    """Give access to tokens, and set private, gated or disabled."""
    repo = Repo(Store(root), kind, ident)
    repo.settings.update(settings)
    repo.settings["tokens"] = sorted({*repo.settings.get("tokens", []), *tokens})
    repo.save_settings()


def rename(root: str, kind: str, old: str, new: str) -> None:
    """Move a repo, or, when only NEW exists, let OLD (`gpt2`, another case) lead to it."""
    store = Store(root)
    if store.exists(kind, old):
        target = store.repo_folder(kind, new)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(store.repo_folder(kind, old), target)
    elif not store.exists(kind, new):
        raise SystemExit(f"neither {old} nor {new} exists")
    renames = store.renames()
    renames.setdefault(kind, {}).pop(new.lower(), None)
    if old.lower() != new.lower():
        renames[kind][old.lower()] = new
    write_json(os.path.join(store.root, "renames.json"), renames)


def repo_type(text: str) -> str:
    kind = text if text.endswith("s") else text + "s"
    if kind not in TYPES:
        raise SystemExit(f"no such repo type: {text}")
    return kind


def main() -> None:
    parser = argparse.ArgumentParser(description="make a commit, or rename a repo")
    parser.add_argument("--root", required=True)
    parser.add_argument("what", nargs="+", metavar="TYPE ORG/NAME | rename TYPE OLD NEW")
    parser.add_argument("--from", dest="folder", help="the commit's files")
    parser.add_argument("--many", type=int, default=0, help="add so many small files")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--branch", default="main")
    target.add_argument("--ref", help="a full ref instead of a branch: refs/pr/1")
    parser.add_argument("--tag")
    parser.add_argument("--lfs-over", type=int, default=LFS_OVER, metavar="BYTES")
    parser.add_argument("--lfs-pattern", action="append", default=[], metavar="GLOB")
    parser.add_argument("--xet", action="store_true", help="show made-up Xet hashes")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--gated", choices=["auto", "manual"])
    parser.add_argument("--disabled", action="store_true")
    parser.add_argument("--token", action="append", default=[], help="who has access")
    parser.add_argument("--message", default="Update")
    args = parser.parse_args()
    if args.what[0] == "rename" and len(args.what) == 4:
        rename(args.root, repo_type(args.what[1]), *args.what[2:])
        return
    if len(args.what) != 2 or args.what[1].count("/") != 1 or not (args.folder or args.many):
        parser.error("give TYPE ORG/NAME with --from or --many, or rename TYPE OLD NEW")
    kind, ident = repo_type(args.what[0]), args.what[1]
    store = Store(args.root)
    entries = add_many(store, args.many)
    if args.folder:
        entries += add_folder(store, args.folder, args.lfs_over, args.lfs_pattern)
    if args.xet:
        for entry in entries:
            if "lfs" in entry:
                entry["xetHash"] = xet_hash(entry["lfs"]["oid"])
    sha = make_commit(args.root, kind, ident, entries, tag=args.tag, message=args.message,
                      ref=args.ref or f"refs/heads/{args.branch}")
    settings = {name: value for name, value in
                (("private", args.private), ("gated", args.gated), ("disabled", args.disabled))
                if value}
    change_settings(args.root, kind, ident, args.token, **settings)
    print(sha)


if __name__ == "__main__":
    sys.exit(main())
