#!/usr/bin/env bash
# http_proxy is used, and hosts are then resolved by it.
. "${srcdir:-.}/tests/web.sh"

mkdir -p "$served/d"
echo proxied >"$served/d/a.txt"
export http_proxy=$web
mount_web
assert_equal "through the proxy" proxied "$(cat "$mnt/web/http://example.invalid/d/a.txt")"
unmount "$mnt"
unset http_proxy
