# shellcheck shell=bash
# What the tests of web/ share: a web server, a mount, and a clock to set.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mnt=$tmp/mnt
store=$tmp/store
start_origin "$tmp/origin"
# Where it takes files from, and where the mount shows them.
export served=$origin_root/web url=$mnt/web/$web

# set_clock SECONDS: real time as the daemon sees it.
set_clock() {
    echo "$1" >"$tmp/clock.new"
    mv "$tmp/clock.new" "$tmp/clock"
}

# mount_web [OPTION,...]
mount_web() {
    mount_ready "$store" "$mnt" "clock_file=$tmp/clock${1:+,$1}"
}

# single URL: the name that it has as one component.
single() {
    "$python" -c 'import sys, urllib.parse
print(urllib.parse.quote(sys.argv[1], safe=""))' "$1"
}

# xattr FILE NAME
xattr() {
    getfattr --absolute-names --only-values -n "user.$2" "$1"
}

# bodies: how many whole files the cache holds.
bodies() {
    find "$store/.mlcachefs/web/bodies" -type f | wc -l
}

bodies_are() {
    [ "$(bodies)" = "$1" ]
}

# content_is FILE TEXT: as the next look-up has it.
content_is() {
    [ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

# The daemon's real time begins here.
set_clock 1700000000
