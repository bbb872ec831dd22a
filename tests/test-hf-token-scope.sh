#!/usr/bin/env bash
# The token goes to the Hub's host alone, and shows up nowhere.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

secret=hf_ThisIsNobodysBusiness

# Debug output must keep it to itself, too.
daemon=$MLCACHEFS
printf '#!/bin/sh\nexec %q "$@" -d\n' "$daemon" >"$tmp/daemon"
chmod +x "$tmp/daemon"
export MLCACHEFS=$tmp/daemon

start_origin
mkdir "$tmp/repo"
make_file "$tmp/repo/model.bin" 2M
echo '{}' >"$tmp/repo/config.json"
sha=$(make_repo model someone/secret --from "$tmp/repo" --private \
    --token "$secret")
# Shows that a token would be seen in the log.
export HF_TOKEN=$secret
mount_ready "$tmp/store" "$tmp/mnt"
snapshot=$tmp/mnt/hf/hub/models--someone--secret/snapshots/$sha
assert_same "$tmp/repo/model.bin" "$snapshot/model.bin"
assert_same "$tmp/repo/config.json" "$snapshot/config.json"
unset HF_TOKEN

"$python" - "$snapshot/model.bin" "$secret" <<'EOS'
import os, sys
path, secret = os.path.realpath(sys.argv[1]), sys.argv[2]
for name in ("state", "url", "etag", "present", "expires", "filename"):
    try:
        value = os.getxattr(path, f"user.mlcachefs.{name}")
    except OSError:
        continue
    assert secret.encode() not in value, (name, value)
EOS
! grep -r -q -e "$secret" "$tmp/mnt/.mlcachefs" ||
    fail "the status files show the token"
! grep -a -q -e "$secret" "/proc/$(daemon_pid "$tmp/mnt")/cmdline" ||
    fail "the command line shows the token"
assert_equal "requests to the Hub without the token" 0 \
    "$(origin_log show --server hub | grep -c -v -e "\"Bearer $secret\"")"
assert_equal "requests to the CDN with any token" 0 \
    "$(origin_log show --server cdn | grep -c -v '"auth": null')"
[ "$(count_requests --server cdn)" -gt 0 ] || fail "nothing came from the CDN"

# A Hub that leads elsewhere: the web server, at another port.
set_faults "[{\"server\": \"hub\", \"match\": \"/api/models/someone/other\",
    \"redirect\": \"$web/elsewhere\"}]"
assert_absent "$tmp/mnt/hf/hub/models--someone--other"
assert_equal "requests to where it leads" 1 "$(count_requests --server web)"
assert_equal "the token there" 0 \
    "$(origin_log show --server web | grep -c -v '"auth": null')"

unmount "$tmp/mnt"
! grep -q -e "$secret" "$tmp/daemon.log" || fail "the log shows the token"
grep -q -i debug "$tmp/daemon.log" || [ "$(wc -l <"$tmp/daemon.log")" -gt 20 ] ||
    fail "no debug output, so the test shows nothing"
! grep -r -a -q -e "$secret" "$tmp/store" || fail "the store holds the token"
