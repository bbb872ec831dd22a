#!/usr/bin/env bash
# Thousands of random operations give in the mount, in whatever directory, what
# they give in a plain directory: results, errnos, attributes, contents.
# timeout: 180
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
echo one >"$tmp/source/file.txt"
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
mount_ready "$tmp/store" "$tmp/mnt"

attributes() {
    find "$tmp/mnt/$1/random" -printf '%p %i %T@ %m %U %G %n\n' | sort
}

compare() { # FOLDER STORE'S-FOLDER SEED COUNT
    local plain=$tmp/plain$3
    mkdir "$plain" "$tmp/mnt/$1/random"
    "$python" "$srcdir/tests/random-ops.py" "$plain" "$tmp/mnt/$1/random" \
        "$3" "$4"
    # The store has the same, and so has the mount once it is mounted anew.
    "$python" "$srcdir/tests/random-ops.py" "$plain" "$tmp/store/$2/random"
    attributes "$1" >"$tmp/before"
    unmount "$tmp/mnt"
    mount_ready "$tmp/store" "$tmp/mnt"
    attributes "$1" >"$tmp/after"
    diff "$tmp/before" "$tmp/after" >&2 || fail "changed by a remount"
    "$python" "$srcdir/tests/random-ops.py" "$plain" "$tmp/mnt/$1/random"
}

count=${MLC_TEST_OPERATIONS:-4000}
compare "" "" 1 "$count"
compare hf hf 2 "$count"
repo=hf/hub/models--org--name
compare $repo $repo 3 "$count"
compare $repo/snapshots/"$commit" $repo/snapshots/"$commit" 4 "$count"
