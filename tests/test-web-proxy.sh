#!/usr/bin/env bash
# http_proxy is used, and hosts are then resolved by it; not for those that
# no_proxy names.
. "${srcdir:-.}/tests/web.sh"

mkdir -p "$served/d"
echo proxied >"$served/d/a.txt"
export http_proxy=$web
mount_web
assert_equal "through the proxy" proxied "$(cat "$mnt/web/http://example.invalid/d/a.txt")"
unmount "$mnt"
# The CDN, at an address of its own, serves the same below /web.
other=${cdn#http://}
http_proxy=http://127.0.0.1:9 no_proxy=${other%:*} mount_web
assert_equal "past the proxy" proxied "$(cat "$mnt/web/$cdn/web/d/a.txt")"
assert_error "Input/output error" cat "$url/d/a.txt"
unmount "$mnt"
