#!/usr/bin/env bash
# dgenerate's cache.db is only read, and only while nobody is at work on it;
# whatever is wrong with it is no error to anybody, and its keys are secret.
# tap
. "${srcdir:-.}/tests/web.sh"
requires_command getfattr

db=$store/web/cache.db

web_db() { # WEB COMMAND...
    "$python" "$srcdir/tests/web-db.py" "$@"
}

# known NAME [WEB]: a URL that dgenerate has fetched, other bytes than at its
# origin.
known() {
    make_file "$served/d/$1" 100K origin
    make_file "$tmp/d/$1" 100K dgenerate
    web_db "${2:-$store/web}" add "$web/d/$1" "$tmp/d/$1" --age 60 >/dev/null
}
assert_taken() {
    assert_same "$tmp/d/$1" "$url/d/$1"
}
assert_fetched() {
    assert_same "$served/d/$1" "$url/d/$1"
}

# complaints REGEX: lines of the log that say so.
complaints() {
    grep -c "cache.db is not used: .*$1" "$tmp/daemon.log" || true
}

# hold WEB LOCK: see web-db.py; until let_go.
hold() {
    local hold_r hold_rw
    rm -f "$tmp/held"
    : >"$tmp/held"
    mkfifo "$tmp/hold"
    exec {hold_rw}<>"$tmp/hold"
    exec {hold_r}<"$tmp/hold"
    exec {hold_w}>"$tmp/hold"
    exec {hold_rw}>&-
    rm "$tmp/hold"
    "$python" "$srcdir/tests/web-db.py" "$1" hold "$2" \
        <&"$hold_r" >"$tmp/held" {hold_w}>&- &
    holder=$!
    exec {hold_r}<&-
    wait_until 20 grep -q held "$tmp/held"
}
let_go() {
    exec {hold_w}>&-
    wait "$holder" || fail "the holder ended with status $?"
}
kill_holder() {
    kill -KILL "$holder"
    wait "$holder" 2>/dev/null || true
    exec {hold_w}>&-
}
state_of_store() {
    (cd "$store/web" && sha256sum cache.db* && stat -c '%n %Y %i' cache.db*)
}

mount_fresh() {
    rm -rf "$store"
    mkdir -p "$store/web"
    : >"$tmp/daemon.log"
    mount_ready "$store" "$mnt"
}

check_bad() { # COMPLAINT: $db is of no use, and of use again later
    mkdir -p "$served/d"
    echo origin >"$served/d/a.txt"
    echo origin >"$served/d/b.txt"
    assert_fetched a.txt
    assert_fetched b.txt
    assert_equal "lines of the log" 1 "$(complaints "$1")"
    assert_equal "changed" "$(cat "$tmp/before")" "$(state_of_store)"
    rm "$db"
    known then.bin
    assert_taken then.bin
    unmount "$mnt"
}
garbage() {
    mount_fresh
    head -c 100000 /dev/urandom >"$db"
    state_of_store >"$tmp/before"
    check_bad "no database"
}
damaged() {
    mount_fresh
    web_db "$store/web" fill 200
    "$python" -c '
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(4096)
    file.write(b"\xff" * 30000)' "$db"
    state_of_store >"$tmp/before"
    check_bad "no database"
}
other_schema() {
    mount_fresh
    sqlite3 "$db" 'CREATE TABLE store (key, what); INSERT INTO store VALUES (1, 2)'
    state_of_store >"$tmp/before"
    check_bad "no database"
}
hostile_schema() {
    mount_fresh
    sqlite3 "$db" "CREATE VIEW store (key, value, creation_date) AS
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT 'http' || i, 'x', 'y' FROM n"
    state_of_store >"$tmp/before"
    check_bad "no database"
}
huge() {
    mount_fresh
    truncate -s 1G "$db"
    state_of_store >"$tmp/before"
    check_bad "too large"
}
no_file() {
    mount_fresh
    mkfifo "$db"
    echo origin >"$served/d/a.txt"
    assert_fetched a.txt
    rm "$db"
    mkdir "$db"
    echo origin >"$served/d/b.txt"
    assert_fetched b.txt
    rmdir "$db"
    : >"$db"
    assert_absent "$url/d/none.txt"
    known then.bin
    assert_taken then.bin
    assert_equal "complaints" 0 "$(complaints .)"
    unmount "$mnt"
}
wal() {
    mount_fresh
    known a.bin
    sqlite3 "$db" 'PRAGMA journal_mode=wal' >/dev/null
    state_of_store >"$tmp/before"
    assert_fetched a.bin
    assert_equal "changed" "$(cat "$tmp/before")" "$(state_of_store)"
    unmount "$mnt"
}
odd_rows() {
    mount_fresh
    known a.bin
    sqlite3 "$db" "
        INSERT INTO store VALUES
            ('$web/d/1.txt', 'no json', '2024-01-01 00:00:00'),
            ('$web/d/2.txt', '{\"path\": 7}', '2024-01-01 00:00:00'),
            ('$web/d/3.txt', '{\"path\": \"x/..\", \"metadata\": {}}', '2024-01-01 00:00:00'),
            ('$web/d/4.txt', '{\"path\": \"x/cache.db\", \"metadata\": {}}', '2099-01-01 00:00:00'),
            ('$web/d/5.txt', '{\"path\": \"x/y\"}', 'yesterday'),
            ('$web/d/6.txt', '{\"path\": \"x/y\"}', '2024-13-41 00:00:00'),
            ('$web/d/7.txt', x'00ff', 12),
            ('$web/d/../8.txt', '{\"path\": \"x/y\"}', '2024-01-01 00:00:00'),
            (NULL, NULL, NULL)"
    for n in $(seq 7); do
        echo origin >"$served/d/$n.txt"
        assert_fetched "$n.txt"
    done
    assert_taken a.bin
    unmount "$mnt"
}
locked() { # LOCK
    mount_fresh
    known a.bin
    known b.bin
    known c.bin
    hold "$store/web" "$1"
    assert_fetched a.bin
    assert_fetched b.bin
    assert_equal "lines of the log" 1 "$(complaints locked)"
    let_go
    # Its end makes the lock's file or the database no newer.
    wait_until 5 is_taken_up
    assert_taken c.bin
    unmount "$mnt"
}
is_taken_up() {
    rm -f "$url/d/b.bin" && cmp -s "$tmp/d/b.bin" "$url/d/b.bin"
}
open_on_mount() {
    mount_fresh
    known a.bin
    known b.bin
    exec {fd}<"$mnt/web/cache.db"
    assert_fetched a.bin
    exec {fd}<&-
    wait_until 5 is_taken_up
    unmount "$mnt"
}
what_was_known() {
    mount_fresh
    known a.bin
    known b.bin
    assert_taken a.bin
    exec {fd}<"$mnt/web/cache.db"
    touch "$db"
    assert_taken b.bin
    exec {fd}<&-
    unmount "$mnt"
}
# A client's transaction on the mount, whose locks end at the mount.
transaction() {
    mount_fresh
    known 1.bin
    known 2.bin
    web_db "$store/web" fill 200
    hold "$mnt/web" transaction
    assert_exists "$store/web/cache.db-journal"
    state_of_store >"$tmp/before"
    assert_fetched 1.bin
    assert_equal "changed" "$(cat "$tmp/before")" "$(state_of_store)"
    let_go
    assert_absent "$store/web/cache.db-journal"
    assert_taken 2.bin
    unmount "$mnt"
}
killed() {
    mount_fresh
    known 1.bin
    known 2.bin
    web_db "$store/web" fill 200
    hold "$mnt/web" transaction
    kill_holder
    assert_exists "$store/web/cache.db-journal"
    state_of_store >"$tmp/before"
    assert_fetched 1.bin
    assert_equal "changed" "$(cat "$tmp/before")" "$(state_of_store)"
    # The next client rolls back.
    known then.bin "$mnt/web"
    assert_absent "$store/web/cache.db-journal"
    assert_taken 2.bin
    assert_taken then.bin
    unmount "$mnt"
}
token() {
    local path='api/download/models/7' said
    export http_proxy=$web
    rm -rf "$store"
    mkdir -p "$store/web"
    : >"$tmp/daemon.log"
    printf '#!/bin/sh\nexec %q -d "$@"\n' "$MLCACHEFS" >"$tmp/verbose"
    chmod +x "$tmp/verbose"
    MLCACHEFS=$tmp/verbose mount_ready "$store" "$mnt"
    unset http_proxy
    make_file "$served/$path" 100K origin
    make_file "$tmp/model" 100K dgenerate
    web_db "$store/web" add \
        "http://civitai.com/$path?type=Model&format=Safe+Tensor&token=SECRET" \
        "$tmp/model" --age 60 >/dev/null
    origin_log clear
    file="$mnt/web/http://civitai.com/$path?type=Model&size=&format=Safe%20Tensor"
    assert_same "$tmp/model" "$file"
    assert_equal "requests" 1 "$(count_requests)"
    said=$(find "$mnt/web" ! -name cache.db; cat "$tmp/daemon.log"
        cat "$mnt/.mlcachefs/status.json" "$mnt/.mlcachefs/metrics"
        getfattr --absolute-names -d -m - "$file"
        for name in state url etag filename expires; do
            xattr "$file" "mlcachefs.$name" 2>/dev/null || true
        done
        origin_log show)
    assert_match "what is said" "civitai.com" "$said"
    [[ $said != *SECRET* ]] || fail "the token is shown"
    if grep -r -l SECRET "$store/.mlcachefs"; then
        fail "the token is kept"
    fi
    unmount "$mnt"
}
run_case "garbage" garbage
run_case "a damaged one" damaged
run_case "another schema" other_schema
run_case "a schema that means harm" hostile_schema
run_case "a huge one" huge
run_case "what is no file" no_file
run_case "one with a write-ahead log" wal
run_case "rows of another form" odd_rows
run_case "a process on the store that holds its lock" locked "$store/web/cache.db.lock"
run_case "a process on the store that writes" locked exclusive
run_case "a process on the store in a transaction" locked transaction
run_case "open on the mount" open_on_mount
run_case "what was known before counts while it is open" what_was_known
run_case "a transaction on the mount" transaction
run_case "a transaction on the mount that was killed" killed
run_case "tokens in keys" token
end_cases
