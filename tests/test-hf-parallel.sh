#!/usr/bin/env bash
# 200 look-ups of one cold repo at once cost one info and one tree request.
# tsan
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
for ((i = 0; i < 200; i++)); do
    echo "$i" >"$tmp/repo/$i.json"
done
sha=$(make_repo model someone/tiny --from "$tmp/repo")
mount_ready "$tmp/store" "$tmp/mnt"

"$python" - "$tmp/mnt/hf/hub/models--someone--tiny" "$sha" <<'EOS'
import os, sys
from concurrent.futures import ThreadPoolExecutor
repo, sha = sys.argv[1:]

def look(i):
    if i % 2:
        return os.stat(f"{repo}/snapshots/{sha}/{i}.json").st_size
    with open(f"{repo}/refs/main") as file:
        assert file.read() == sha
    return os.stat(f"{repo}/snapshots/{sha}/{i}.json").st_size

with ThreadPoolExecutor(200) as pool:
    sizes = list(pool.map(look, range(200)))
assert sizes == [len(str(i)) + 1 for i in range(200)], sizes
EOS
assert_equal "info requests" 1 \
    "$(count_requests --path '/api/models/someone/tiny(/revision/main)?$')"
assert_equal "tree requests" 1 "$(count_requests --path '/tree/')"
assert_equal "requests" 2 "$(count_requests)"
unmount "$tmp/mnt"
