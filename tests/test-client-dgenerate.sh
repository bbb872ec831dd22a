#!/usr/bin/env bash
# dgenerate keeps its caches on the mount, and what it has fetched is not fetched
# again under its URL's name.
# timeout: 900
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_command getfattr sqlite3
requires_venv dgenerate

mnt=$tmp/mnt
store=$tmp/store
mkdir -p "$tmp/yolo"
export YOLO_CONFIG_DIR=$tmp/yolo NO_ALBUMENTATIONS_UPDATE=1
start_origin
served=$origin_root/web
url=$mnt/web/$web

client() { # ARG...
    OMP_NUM_THREADS=1 "$venv_python" "$srcdir/tests/clients/dgenerate.py" "$@" \
        2>"$tmp/client.err" || {
        cat "$tmp/client.err" >&2
        fail "dgenerate: $*"
    }
}
client_requests() {
    count_requests --not-ua '^mlcachefs/'
}
rows() {
    sqlite3 "file:$store/web/cache.db?mode=ro" "$1"
}

make_file "$served/d/image.png" 30K
make_file "$served/d/model.bin" 3M
make_file "$served/d/late.bin" 200K
mount_ready "$store" "$mnt" web_expiry=hours=12
export DGENERATE_CACHE=$mnt

# It fetches through its own cache, and finds that again.
client first "$web/d/image.png" "$web/d/model.bin" >"$tmp/paths"
assert_equal "its requests" 2 "$(client_requests)"
mapfile -t paths <"$tmp/paths"
assert_equal "found where they were fetched to" "${paths[0]} ${paths[1]}" \
    "${paths[2]} ${paths[3]}"
assert_same "$served/d/image.png" "${paths[0]}"
assert_same "$served/d/model.bin" "${paths[1]}"
assert_equal "local" local "$(getfattr --absolute-names --only-values \
    -n user.mlcachefs.state "${paths[1]}")"

# We take it from there.
origin_log clear
assert_same "$served/d/image.png" "$url/d/image.png"
assert_same "$served/d/model.bin" "$url/d/model.bin"
assert_equal "our requests" 2 "$(count_requests)"
assert_equal "bytes that came for them" 2 "$(body_bytes)"

# Another process that it is shared with waits for the lock, and one that is
# killed leaves nothing that the next one could not undo.
mkfifo "$tmp/hold"
exec {hold}<>"$tmp/hold"
"$venv_python" "$srcdir/tests/clients/dgenerate.py" hold <"$tmp/hold" \
    >"$tmp/held" 2>/dev/null &
holder=$!
wait_until 120 grep -q held "$tmp/held"
assert_exists "$store/web/cache.db-journal"
assert_error "Resource temporarily unavailable" "$python" -c '
import fcntl, sys
fcntl.flock(open(sys.argv[1], "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)' \
    "$mnt/web/cache.db.lock"
origin_log clear
assert_same "$served/d/late.bin" "$url/d/late.bin"
kill -KILL "$holder"
wait "$holder" 2>/dev/null || true
exec {hold}>&-
origin_log clear
client many one 20 &
one=$!
client many two 20 &
two=$!
wait "$one" || fail "the first one failed"
wait "$two" || fail "the second one failed"
assert_absent "$store/web/cache.db-journal"
assert_equal "rows" 40 "$(rows "SELECT count(*) FROM store WHERE value = 'x'")"
assert_equal "half a change" 0 "$(rows "SELECT count(*) FROM store WHERE key LIKE 'half%'")"
rows "SELECT key FROM store WHERE key LIKE 'http%'" >"$tmp/keys"
assert_equal "what was there before" 2 "$(wc -l <"$tmp/keys")"

# What has expired goes, row and file, and no other.
sqlite3 "$mnt/web/cache.db" "DELETE FROM store WHERE value = 'x';
    UPDATE store SET creation_date = '2020-01-01 00:00:00.000001'
        WHERE key LIKE '%image.png'"
client hit "$web/d/model.bin" >/dev/null
assert_absent "${paths[0]}"
assert_same "$served/d/model.bin" "${paths[1]}"
assert_equal "rows" 1 "$(rows 'SELECT count(*) FROM store')"
assert_equal "its requests" 0 "$(client_requests)"

# Without the mount: its rows name the place where the cache was, so that is
# where it must be.
unmount "$mnt"
rmdir "$mnt"
ln -s "$store" "$mnt"
client hit "$web/d/model.bin" >"$tmp/again"
assert_equal "found" "${paths[1]}" "$(cat "$tmp/again")"
assert_equal "its requests" 0 "$(client_requests)"
DGENERATE_CACHE=$store client fetch "$web/d/late.bin" >"$tmp/late"
assert_same "$served/d/late.bin" "$(cat "$tmp/late")"

# Rows of both spellings are taken from on the mount.
rm "$mnt"
rm -r "$store/.mlcachefs"
mount_ready "$store" "$mnt" web_expiry=hours=12
origin_log clear
assert_same "$served/d/late.bin" "$url/d/late.bin"
assert_same "$served/d/model.bin" "$url/d/model.bin"
assert_equal "bytes that came for them" 2 "$(body_bytes)"
unmount "$mnt"
