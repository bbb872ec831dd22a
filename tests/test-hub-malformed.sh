#!/usr/bin/env bash
# tap
# An answer that no Hub would give costs one line in the log and is EIO; it
# makes nothing in the store, and nothing outside of it.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo hello >"$tmp/source/config.json"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
broken="not what the Hub would answer"
oid=$(printf '%040d' 1)

# answer MATCH BODY-EXPRESSION: the Hub says this (Python) instead.
answer() {
    # Too large for set_faults' command line.
    "$python" - "$1" "$2" "$origin_root/faults.json" <<'EOS'
import json, os, sys
body = eval(sys.argv[2])
if not isinstance(body, str):
    body = json.dumps(body)
with open(sys.argv[3] + ".tmp", "w") as f:
    json.dump([{"match": sys.argv[1], "status": 200, "body": body,
                "headers": {"Content-Type": "application/json"}}], f)
os.rename(sys.argv[3] + ".tmp", sys.argv[3])
EOS
}

everything_outside() { # STORE
    find "$tmp" -xdev \( -path "$1" -o -path "$origin_root" \) -prune -o -print |
        sort
}

# refused PATH LOG: reading the file below the repo fails with EIO, once told.
refused() {
    local store=$tmp/store.$BASHPID mnt=$tmp/mnt.$BASHPID before
    : >"$tmp/daemon.log"
    mount_ready "$store" "$mnt"
    before=$(everything_outside "$store")
    for _ in 1 2 3; do
        assert_error "Input/output error" \
            cat "$mnt/hf/hub/models--org--name/$1"
    done
    assert_equal "what is outside of the store" "$before" \
        "$(everything_outside "$store")"
    assert_equal "files in the store's hub/" "" \
        "$(find "$store/hf/hub" -type f 2>/dev/null || true)"
    [ "$(grep -c "hf: $hub.*: $2" "$tmp/daemon.log")" = 1 ] ||
        fail "not one line like '$2'"
    unmount "$mnt"
}

in_info() { # LOG BODY
    answer '/api/models/org/name' "$2"
    refused refs/main "$1"
}

in_tree() { # LOG BODY
    answer '/tree/' "$2"
    refused "snapshots/$commit/config.json" "$1"
}

entry() { # MEMBERS: a good entry (Python), changed
    echo "[{**{'type': 'file', 'oid': '$oid', 'size': 6, 'path': 'config.json'}," \
        "**$1}]"
}

run_case "revision: not JSON" in_info "$broken" "'<html>'"
run_case "revision: empty" in_info "$broken" "''"
run_case "revision: cut off" in_info "$broken" "'{\"sha\": \"'"
run_case "revision: something behind" in_info "$broken" "'{\"sha\": \"$commit\"} {}'"
run_case "revision: a list" in_info "$broken" "[]"
run_case "revision: a null" in_info "$broken" "None"
run_case "revision: too deep" in_info "$broken" "'[' * 100000 + ']' * 100000"
run_case "revision: sha is a number" in_info "$broken" "{'id': 'org/name', 'sha': 1}"
run_case "revision: sha is a path" in_info "$broken" \
    "{'id': 'org/name', 'sha': '../../../../etc/passwd'}"
run_case "revision: sha too long" in_info "$broken" \
    "{'id': 'org/name', 'sha': '$commit' + '0'}"
run_case "revision: a NUL" in_info "$broken" "'{\"sha\": \"$commit\\\\u0000\"}'"

run_case "tree: an object" in_tree "$broken.*not a list" "{}"
run_case "tree: of numbers" in_tree "$broken.*without a type" "[1, 2]"
run_case "tree: too deep" in_tree "$broken" "'[' * 100000 + ']' * 100000"
run_case "tree: larger than is read" in_tree "File too large" \
    "'[' + ' ' * (17 << 20) + ']'"
run_case "tree: .. leads out" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': '../../../outside'}")"
run_case "tree: .. inside" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': 'a/../config.json'}")"
run_case "tree: an absolute path" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': '/tmp/outside'}")"
run_case "tree: an empty path" in_tree "$broken.*unsafe path" "$(entry "{'path': ''}")"
run_case "tree: a double slash" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': 'a//b'}")"
run_case "tree: a name of 256 bytes" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': 'n' * 256}")"
run_case "tree: a path of 5000 bytes" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': 'd/' * 2500 + 'f'}")"
run_case "tree: a control byte" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': 'a\\nb'}")"
run_case "tree: a path that is a number" in_tree "$broken.*unsafe path" \
    "$(entry "{'path': 5}")"
run_case "tree: no path" in_tree "$broken.*unsafe path" "$(entry "{'path': None}")"
run_case "tree: an oid that is a path" in_tree "$broken.*object id" \
    "$(entry "{'oid': '../' * 13 + 'x'}")"
run_case "tree: no oid" in_tree "$broken.*object id" "$(entry "{'oid': None}")"
run_case "tree: an LFS oid that is short" in_tree "$broken.*LFS object id" \
    "$(entry "{'lfs': {'oid': 'ab', 'size': 6}}")"
run_case "tree: a negative size" in_tree "$broken.*size" "$(entry "{'size': -1}")"
run_case "tree: a size beyond 2^53" in_tree "$broken.*size" \
    "$(entry "{'size': 1 << 60}")"
run_case "tree: a size that is a text" in_tree "$broken.*size" \
    "$(entry "{'size': '6'}")"
run_case "tree: an unheard-of type" in_tree "$broken.*type" \
    "$(entry "{'type': 'device'}")"
end_cases
