"""An offline client reads the store that a mount filled.

    store.py --repo R --old SHA --new SHA --old-source FOLDER --new-source FOLDER FILE...

refs/main names the new commit; of both only FILEs were fetched.
"""

import argparse
import os

from huggingface_hub import hf_hub_download, scan_cache_dir, try_to_load_from_cache
from huggingface_hub.utils import LocalEntryNotFoundError

from hub import check, check_file, files_below


def main():
    parser = argparse.ArgumentParser()
    for name in ("repo", "old", "new", "old-source", "new-source"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    for sha, source, revisions in ((args.old, args.old_source, (args.old,)),
                                   (args.new, args.new_source, (args.new, "main"))):
        for revision in revisions:
            for name in files_below(source):
                if name in args.files:
                    path = hf_hub_download(args.repo, name, revision=revision)
                    check(os.path.basename(os.path.dirname(path)) == sha, name, "of", sha)
                    check_file(path, os.path.join(source, name))
                    continue
                check(not try_to_load_from_cache(args.repo, name, revision=revision),
                      name, "is not there at", revision)
                try:
                    hf_hub_download(args.repo, name, revision=revision)
                    check(False, name, "is not there")
                except LocalEntryNotFoundError:
                    pass
    report = scan_cache_dir()
    check(not report.warnings, "no warnings:", *report.warnings)
    [repo] = report.repos
    check({revision.commit_hash for revision in repo.revisions} == {args.old, args.new},
          "both commits and no other")
    for revision in repo.revisions:
        check(sorted(file.file_name for file in revision.files) == sorted(args.files),
              "what was fetched and no more:", *(file.file_name for file in revision.files))


if __name__ == "__main__":
    main()
