"""A client that writes into HF_HOME all the same, and what it must find there afterwards.

    write.py private    --repo R --commit SHA --source FOLDER    with a token of its own
    write.py force      ...                                      force_download
    write.py plain      ...                                      as the environment says
    write.py local-dir  ... --to FOLDER                          local_dir=
    write.py tree-file  ...                                      prints what trees/SHA.json holds

HF_HOME, HF_ENDPOINT and HF_TOKEN come from the environment.
"""

import argparse
import hashlib
import json
import os

from huggingface_hub import constants, hf_hub_download, scan_cache_dir, snapshot_download

from hub import check, check_file, check_tree, files_below


def repo_folder(args):
    return os.path.join(constants.HF_HUB_CACHE, "models--" + args.repo.replace("/", "--"))


def check_blobs(args, kinds=(40, 64)):
    """Every blob is what its name promises."""
    folder = os.path.join(repo_folder(args), "blobs")
    names = [name for name in os.listdir(folder) if len(name) in kinds]
    check(names, "there are blobs")
    check(not [name for name in os.listdir(folder) if name.endswith(".incomplete")],
          "none is unfinished")
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        got = (hashlib.sha256(data) if len(name) == 64
               else hashlib.sha1(b"blob %d\0" % len(data) + data)).hexdigest()
        check(got == name, "digest of", name)


def check_scan(args):
    report = scan_cache_dir()
    check(not report.warnings, "no warnings:", *report.warnings)
    check([repo.repo_id for repo in report.repos] == [args.repo], "just that repo")


def private(args):
    first = files_below(args.source)[0]
    path = hf_hub_download(args.repo, first)
    check(path == os.path.join(repo_folder(args), "snapshots", args.commit, first), path)
    check_file(path, os.path.join(args.source, first))
    folder = snapshot_download(args.repo)
    check_tree(folder, args.source)
    for name in files_below(args.source):
        check(os.path.islink(os.path.join(folder, name)), name, "is a symlink")
    with open(os.path.join(repo_folder(args), "refs", "main"), encoding="ascii") as file:
        check(file.read() == args.commit, "refs/main")
    check_blobs(args)
    check_scan(args)


def force(args):
    for turn in range(2):
        for name in files_below(args.source):
            path = hf_hub_download(args.repo, name, force_download=True)
            check_file(path, os.path.join(args.source, name))
    check_blobs(args)
    check_scan(args)


def plain(args):
    for name in files_below(args.source):
        check_file(hf_hub_download(args.repo, name), os.path.join(args.source, name))
    check_tree(snapshot_download(args.repo), args.source)


def local_dir(args):
    snapshot_download(args.repo, local_dir=args.to)
    for name in files_below(args.source):
        check_file(os.path.join(args.to, name), os.path.join(args.source, name))
        check(not os.path.islink(os.path.join(args.to, name)), name, "is a copy")


def tree_file(args):
    snapshot_download(args.repo)
    path = os.path.join(repo_folder(args), "trees", args.commit + ".json")
    with open(path, encoding="utf-8") as file:
        print(json.dumps(json.load(file), sort_keys=True))


CALLS = {"private": private, "force": force, "plain": plain, "local-dir": local_dir,
         "tree-file": tree_file}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("call", choices=CALLS)
    for name in ("repo", "commit", "source"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--to")
    args = parser.parse_args()
    CALLS[args.call](args)


if __name__ == "__main__":
    main()
