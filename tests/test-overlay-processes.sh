#!/usr/bin/env bash
# Several processes share local files as they do elsewhere: appending, locks,
# mappings, files without a name, sqlite3 databases.
# tsan
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mount_ready "$tmp/store" "$tmp/mnt"
for dir in local hf/hub/.locks; do
    mkdir -p "$tmp/mnt/$dir"
    "$python" "$srcdir/tests/processes.py" "$tmp/mnt/$dir" "$tmp/store/$dir"
done
