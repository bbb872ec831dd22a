"""What a program that uses huggingface_hub does to HF_HOME, and what it must get.

    hub.py download    --file F (--equals PATH | --absent)   hf_hub_download
    hub.py try-to-load --file F (--equals PATH | --absent)   try_to_load_from_cache
    hub.py snapshot    --source FOLDER                       snapshot_download
    hub.py scan        --source FOLDER                       scan_cache_dir
    hub.py filesystem  --source FOLDER                       HfFileSystem
    hub.py moving      --source FOLDER --new-source FOLDER --move COMMAND
                                                             a branch moves meanwhile

each with --repo ORG/NAME --revision REV --commit SHA: what REV stands for.  HF_HOME, HF_ENDPOINT
and HF_HUB_OFFLINE come from the environment.  Works with huggingface_hub 0.36 and later.
"""

import argparse
import filecmp
import os
import subprocess
import sys

import huggingface_hub
from huggingface_hub import (HfFileSystem, constants, hf_hub_download, scan_cache_dir,
                             snapshot_download, try_to_load_from_cache)
from huggingface_hub.file_download import _CACHED_NO_EXIST
from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError


def check(claim, what, *details):
    print("asserted:" if claim else "NOT SO:", what, *details, flush=True)
    if not claim:
        sys.exit(1)


def files_below(folder):
    found = []
    for parent, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in names]
    return sorted(found)


def check_tree(folder, source):
    """All names, by listing alone first, then all bytes."""
    wanted = files_below(source)
    got = files_below(folder)
    check(got == wanted, "the snapshot lists all files and no other:", got)
    for name in wanted:
        got = os.path.getsize(os.path.join(folder, name))
        check(got == os.path.getsize(os.path.join(source, name)), "size of", name, got)
    for name in wanted:
        check_file(os.path.join(folder, name), os.path.join(source, name))


def check_file(path, source):
    check(filecmp.cmp(path, source, shallow=False), "bytes of", source)


def repo_folder(args):
    return os.path.join(constants.HF_HUB_CACHE, "models--" + args.repo.replace("/", "--"))


def check_place(path, args):
    place = os.path.join(repo_folder(args), "snapshots", args.commit, args.file)
    check(path == place, f"the path is {place}:", path)
    check(os.path.islink(path), "it is a symlink, as clients make them")
    check(os.path.dirname(os.readlink(path)).endswith("blobs"), "into blobs/")


def check_ref(args):
    """Only a name that is no commit has a file in refs/."""
    if args.revision == args.commit:
        return
    with open(os.path.join(repo_folder(args), "refs", args.revision), encoding="utf-8") as file:
        check(file.read() == args.commit, f"refs/{args.revision} holds {args.commit}")


def download(args):
    try:
        path = hf_hub_download(args.repo, args.file, revision=args.revision)
    except EntryNotFoundError as error:
        check(args.absent, "absent:", type(error).__name__)
        check(isinstance(error, LocalEntryNotFoundError) == constants.HF_HUB_OFFLINE,
              "said by the cache when offline, else by the Hub")
        return
    check(not args.absent, "the file is there")
    check_place(path, args)
    check_ref(args)
    check_file(path, args.equals)


def try_to_load(args):
    path = try_to_load_from_cache(args.repo, args.file, revision=args.revision)
    if args.absent:
        check(path is _CACHED_NO_EXIST, "known to be absent:", path)
        return
    check(isinstance(path, str), "found:", path)
    check_place(path, args)
    check_file(path, args.equals)


def snapshot(args):
    folder = snapshot_download(args.repo, revision=args.revision)
    place = os.path.join(repo_folder(args), "snapshots", args.commit)
    check(folder == place, f"the folder is {place}:", folder)
    check_ref(args)
    check_tree(folder, args.source)


def scan(args):
    hf_hub_download(args.repo, files_below(args.source)[0], revision=args.revision)
    report = scan_cache_dir()
    check(not report.warnings, "no warnings:", *report.warnings)
    repos = [repo for repo in report.repos if repo.repo_id == args.repo]
    check(len(repos) == 1 and len(report.repos) == 1, "just that repo is in the cache")
    revisions = {revision.commit_hash: revision for revision in repos[0].revisions}
    check(args.commit in revisions, "the commit is there:", *revisions)
    if args.revision != args.commit:
        check(args.revision in revisions[args.commit].refs, "by its name:",
              *revisions[args.commit].refs)
    for file in revisions[args.commit].files:
        name = os.path.relpath(file.file_path, os.path.join(
            repo_folder(args), "snapshots", args.commit))
        check(file.size_on_disk == os.path.getsize(os.path.join(args.source, name)),
              "size of", name)


def filesystem(args):
    """Goes around the cache, and must go on doing so."""
    before = files_below(constants.HF_HOME)
    hub = HfFileSystem()
    root = f"{args.repo}@{args.revision.replace('/', '%2F')}"
    names = sorted(name.split("/", 2)[2] for name in hub.find(root))
    check(names == files_below(args.source), "find() lists all files:", names)
    for name in names:
        with hub.open(f"{root}/{name}", "rb") as got, \
                open(os.path.join(args.source, name), "rb") as wanted:
            check(got.read() == wanted.read(), "bytes of", name)
    check(files_below(constants.HF_HOME) == before, "nothing came into HF_HOME")


def moving(args):
    """`args.commit` is what the branch says before; the command prints the new one."""
    first, *others = files_below(args.source)
    old = os.path.dirname(hf_hub_download(args.repo, "config.json", revision=args.revision))
    args.file = first
    with open(os.path.join(old, first), "rb") as opened:
        begin = opened.read(100)
        new_commit = subprocess.run(args.move, shell=True, check=True, text=True,
                                    capture_output=True).stdout.strip()
        check(new_commit != args.commit, "the branch moved to", new_commit)
        new = os.path.dirname(hf_hub_download(args.repo, "config.json",
                                              revision=args.revision))
        check(os.path.basename(new) == new_commit, "the client sees it:", new)
        with open(os.path.join(args.source, first), "rb") as wanted:
            check(begin + opened.read() == wanted.read(),
                  f"{first}, open since before, reads on as it was")
    folder = snapshot_download(args.repo, revision=args.revision)
    check(folder == new, "a snapshot is of the new commit:", folder)
    check_tree(new, args.new_source)
    check_tree(old, args.source)
    args.commit = new_commit
    check_ref(args)


CALLS = {"download": download, "try-to-load": try_to_load, "snapshot": snapshot, "scan": scan,
         "filesystem": filesystem, "moving": moving}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("call", choices=CALLS)
    parser.add_argument("--repo", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--file")
    parser.add_argument("--equals")
    parser.add_argument("--absent", action="store_true")
    parser.add_argument("--source")
    parser.add_argument("--new-source")
    parser.add_argument("--move")
    args = parser.parse_args()
    print(f"huggingface_hub {huggingface_hub.__version__}, HF_HOME {constants.HF_HOME},"
          f" offline {constants.HF_HUB_OFFLINE}:", *sys.argv[1:])
    CALLS[args.call](args)


if __name__ == "__main__":
    main()
