#!/usr/bin/env bash
# Web files count for max_size=, large ones, small ones and those of unknown
# length: the least recently opened go, with their names, and are asked for anew.
. "${srcdir:-.}/tests/web.sh"

for name in a b c; do
    make_file "$served/d/$name.bin" 3M
done
for i in 1 2 3 4; do
    make_file "$served/small/$i.bin" 60K
done
mount_ready "$store" "$mnt" max_size=7M

taken() {
    find "$store/.mlcachefs/web/bodies" "$store/.mlcachefs/objects" -type f \
        -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'
}
is_within() {
    [ "$(taken)" -le $((7 * 1024 * 1024)) ]
}

for i in 1 2 3 4; do
    cmp "$served/small/$i.bin" "$url/small/$i.bin"
done
cmp "$served/d/a.bin" "$url/d/a.bin"
cmp "$served/d/b.bin" "$url/_/chunked/d/b.bin"
wait_until 10 bodies_are 6
is_within || fail "$(taken) bytes"
cmp "$served/d/a.bin" "$url/d/a.bin"
cmp "$served/d/c.bin" "$url/d/c.bin"
# Four small ones are not enough, and the next oldest is b.bin.
wait_until 10 bodies_are 2
is_within || fail "$(taken) bytes"
assert_equal "names in small/" "" "$(names_in "$url/small" 2>/dev/null || true)"
assert_equal "names in d/" "a.bin c.bin" "$(names_in "$url/d")"
before=$(count_requests)
cmp "$served/d/a.bin" "$url/d/a.bin"
assert_equal "requests" "$before" "$(count_requests)"
cmp "$served/small/1.bin" "$url/small/1.bin"
cmp "$served/d/b.bin" "$url/_/chunked/d/b.bin"
wait_until 10 bodies_are 3
unmount "$mnt"

# What went is gone for the next mount, too.
mount_ready "$store" "$mnt"
cmp "$served/d/c.bin" "$url/d/c.bin"
cmp "$served/d/a.bin" "$url/d/a.bin"
unmount "$mnt"
