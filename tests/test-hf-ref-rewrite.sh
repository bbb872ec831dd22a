#!/usr/bin/env bash
# A ref that clients write in place, again and again, is at any moment one whole
# old or new commit to all who read it, and what was written last in the end.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo one >"$tmp/source/file.txt"
start_origin "$tmp/origin"
one=$(make_repo model org/name --from "$tmp/source")
echo two >"$tmp/source/file.txt"
two=$(make_repo model org/name --from "$tmp/source")
mount_ready "$tmp/store" "$tmp/mnt"
refs=$tmp/mnt/hf/hub/models--org--name/refs
assert_equal "the ref" "$two" "$(cat "$refs/main")"

# From the Hub's word to a file on disk, and from one file to the next.
exec 5<"$refs/main"
"$python" - "$refs/main" "$one" "$two" <<'EOS'
import os, subprocess, sys
path, *commits = sys.argv[1:]
reader = """
import sys
path, *commits = sys.argv[1:]
print("ready", flush=True)
seen = {}
file = open(path)
for number in range(1500):
    text = open(path).read()
    file.seek(0)
    # One who has it open keeps what it had, or sees another whole one.
    for what in (text, file.read()):
        seen[what] = seen.get(what, 0) + 1
bad = {text: count for text, count in seen.items() if text not in commits}
sys.exit(f"a reader saw {bad}" if bad else 0)
"""
readers = [subprocess.Popen([sys.executable, "-c", reader, path, *commits],
                            stdout=subprocess.PIPE) for _ in range(2)]
for process in readers:
    process.stdout.readline()
rounds = 0
while any(process.poll() is None for process in readers):
    commit = commits[rounds % 2]
    with open(path, "w") as file:
        file.write(commit)
    with open(path) as file:
        got = file.read()
    assert got == commit, f"round {rounds}: wrote {commit}, then read {got!r}"
    assert os.path.getsize(path) == 40
    rounds += 1
assert rounds > 20, rounds
with open(path, "w") as file:
    file.write(commits[0])
sys.exit(max(process.returncode for process in readers))
EOS
assert_equal "what an early reader sees" "$two" "$(cat <&5)"
assert_equal "the ref in the end" "$one" "$(cat "$refs/main")"
assert_equal "the ref in the store" "$one" \
    "$(cat "$tmp/store/hf/hub/models--org--name/refs/main")"
assert_equal "names in refs/" main "$(ls -A "$refs")"

# Opened for writing and given up: nothing changes.
: >"$refs/main"
assert_equal "the ref after an empty write" "$one" "$(cat "$refs/main")"

# By rename, as newer clients do; then in place again.
printf %s "$two" >"$refs/main.1a2b3c4d.tmp"
mv -T "$refs/main.1a2b3c4d.tmp" "$refs/main"
assert_equal "the renamed ref" "$two" "$(cat "$refs/main")"
exec 5<"$refs/main"
printf %s "$one" >"$refs/main"
assert_equal "what an early reader sees" "$two" "$(cat <&5)"
assert_equal "the ref after the rename" "$one" "$(cat "$refs/main")"
left=$(find "$tmp/store" -name '.mlc-tmp-*')
assert_equal "leftovers" "" "$left"
