#!/usr/bin/env bash
# Includes point down only: fs, then backends, then cache and format, then util.
. "${srcdir:-.}/tests/functions.sh"

cd "$srcdir"
# includes FOLDER DEPTH REGEX: what FOLDER's sources include that they must not.
includes() {
    [ -d "$1" ] || return 0
    find "$1" -maxdepth "$2" -name '*.[ch]' -print0 |
        xargs -0 -r grep -nE "^#[[:space:]]*include[[:space:]]*$3" |
        sed 's/^/  /' || true
}

wrong=$(
    includes backends 9 '("fs/|<fuse)'
    includes backends/cache 9 '"backends/([^/"]*"|format/)'
    includes backends/format 9 '"backends/([^/"]*"|cache/)'
    includes backends/util 9 '"backends/([^/"]*"|cache/|format/)'
    # One way to name a header: from the top.
    includes backends 9 '"\.\.?/'
    includes fs 9 '"\.\.?/'
)
[ -z "$wrong" ] || fail "includes that point up or sideways:"$'\n'"$wrong"
