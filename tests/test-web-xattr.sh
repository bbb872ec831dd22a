#!/usr/bin/env bash
# What the origin said of a file is in its attributes.
. "${srcdir:-.}/tests/web.sh"
requires_command getfattr

make_file "$served/d/big.bin" 1M
echo '{}' >"$served/d/a.json"
touch -d @1600000000 "$served/d/big.bin" "$served/d/a.json"
mount_web web_expiry=hours=2

file=$url/_/named/x%20y.bin/d/big.bin
assert_error "No such file" stat "$file" # named like a file, and not there
file=$url/_/named/name/d/big.bin
assert_equal "mtime" 1600000000 "$(stat -c %Y "$file")"
assert_equal "filename" name "$(xattr "$file" mlcachefs.filename)"
assert_equal "url" "$web/_/named/name/d/big.bin" "$(xattr "$file" mlcachefs.url)"
assert_match "etag" '^".*"$' "$(xattr "$file" mlcachefs.etag)"
assert_equal "state" remote "$(xattr "$file" mlcachefs.state)"
assert_equal "expires" 1700007200 "$(xattr "$file" mlcachefs.expires)"
cat "$file" >/dev/null
cached() { [ "$(xattr "$file" mlcachefs.state)" = cached ]; }
wait_until 10 cached
assert_equal "present" 1048576 "$(xattr "$file" mlcachefs.present)"
assert_equal "mime type" application/json "$(xattr "$url/d/a.json" mime_type)"
assert_equal "mime type" application/octet-stream "$(xattr "$file" mime_type)"
assert_equal "listed" "" "$(getfattr --absolute-names "$file")"
set_faults '[{"match": "evil", "status": 200, "body": "x",
    "headers": {"Content-Disposition": "attachment; filename=\"../../etc/x.sh\""}}]'
assert_equal "a path is none" x.sh "$(xattr "$url/d/evil.bin" mlcachefs.filename)"
unmount "$mnt"
