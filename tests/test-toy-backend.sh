#!/usr/bin/env bash
# A domain of one source file (tests/toy/toy.c) is mounted, fetched, written.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

MLCACHEFS=$(dirname "$MLCACHEFS")/tests/mlcachefs-toy
[ -x "$MLCACHEFS" ] || skip "no $MLCACHEFS: make check builds it"
# names FOLDER: on one line.
names() {
    local IFS=' '
    local -a found
    mapfile -t found < <(ls "$1")
    echo "${found[*]}"
}
store=$tmp/store mnt=$tmp/mnt

help=$("$MLCACHEFS" --help)
assert_match "a domain in --help" $'\n  toy +a domain for the tests\n' "$help"
assert_match "its option in --help" $'\n  toy_url=URL +where' "$help"
assert_match "a domain without functions in --help" $'\n  shelf ' "$help"

start_origin "$tmp/origin"
make_file "$tmp/origin/web/remote.bin" 3M
stat -c %s "$tmp/origin/web/remote.bin" >"$tmp/origin/web/remote.size"
mount_ready "$store" "$mnt" "toy_url=$web"
assert_equal "the root" "diffusers_converted hf shelf spacy toy web" "$(names "$mnt")"
assert_equal "toy/" made "$(ls "$mnt/toy")"
assert_equal "made/" "hello hello.txt remote.bin" "$(names "$mnt/toy/made")"
assert_equal "requests so far" 0 "$(count_requests --path '\.bin')"

# What the domain makes up.
assert_equal "a link" hello.txt "$(readlink "$mnt/toy/made/hello")"
assert_match "made-up bytes" '^Hello' "$(cat "$mnt/toy/made/hello")"
assert_equal "a size that was asked for" 3145728 \
    "$(stat -c %s "$mnt/toy/made/remote.bin")"
assert_absent "$mnt/toy/made/none"

# What it has fetched.
assert_same "$mnt/toy/made/remote.bin" "$tmp/origin/web/remote.bin"
wait_until 20 test -e "$store/toy/made/remote.bin"
assert_same "$store/toy/made/remote.bin" "$tmp/origin/web/remote.bin"

# What is written beside it.
echo mine >"$mnt/toy/made/mine.txt"
mkdir "$mnt/toy/folder"
echo too >"$mnt/toy/folder/mine.txt"
echo shelved >"$mnt/shelf/mine.txt"
assert_error "Operation not permitted" mkdir "$mnt/toy/forbidden"
check_rest() {
    assert_equal "toy/" "folder made" "$(names "$mnt/toy")"
    assert_equal "made/" "hello hello.txt mine.txt remote.bin" \
        "$(names "$mnt/toy/made")"
    assert_equal "a file of ours" mine "$(cat "$mnt/toy/made/mine.txt")"
    assert_equal "a file of ours" too "$(cat "$mnt/toy/folder/mine.txt")"
    assert_equal "a file on the shelf" shelved "$(cat "$mnt/shelf/mine.txt")"
    assert_same "$mnt/toy/made/remote.bin" "$tmp/origin/web/remote.bin"
}
check_rest
assert_match "the status file" '"toy"' "$(cat "$mnt/.mlcachefs/status.json")"
unmount "$mnt"

# All of it survives, without the origin.
stop_origin "$tmp/origin"
mount_ready "$store" "$mnt" "toy_url=$web,offline"
check_rest
rm "$mnt/toy/made/remote.bin"
assert_absent "$mnt/toy/made/remote.bin"
unmount "$mnt"
assert_absent "$store/toy/made/remote.bin"

# And the domain can be the root.
mount_ready "$store" "$mnt" only=toy
assert_match "made-up bytes" '^Hello' "$(cat "$mnt/made/hello")"
unmount "$mnt"
