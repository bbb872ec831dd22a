#!/usr/bin/env bash
# What dgenerate has fetched is served from its file: one byte is asked for, for
# the size, and no other.
# tap
# tsan
. "${srcdir:-.}/tests/web.sh"
requires_command getfattr

# row URL FILE [OPTION...]: in the store's database; prints its file.
row() {
    "$python" "$srcdir/tests/web-db.py" "$store/web" add "$@"
}

# sent FILE: bytes of bodies that came for it.
sent() {
    body_bytes --server web --path "^/$1"
}

# pair NAME SIZE: a file of that size at the origin, and another of the same
# size, which can't come from there: $tmp/NAME.
pair() {
    make_file "$served/$1" "$2" origin
    make_file "$tmp/$1" "$2" dgenerate
}

mkdir -p "$store/web"
set_clock "$(date +%s)"
mount_web web_expiry=hours=2

check_fresh() { # NAME SIZE
    local before
    pair "d/$1" "$2"
    row "$web/d/$1" "$tmp/d/$1" --age 60 --type image/x-test >"$tmp/file"
    assert_same "$tmp/d/$1" "$url/d/$1"
    assert_equal "requests" 1 "$(count_requests --path "$1")"
    assert_equal "bytes of bodies" 1 "$(sent "d/$1")"
    assert_equal "mime type" image/x-test "$(xattr "$url/d/$1" mime_type)"
    assert_equal "state" cached "$(xattr "$url/d/$1" mlcachefs.state)"
    assert_equal "url" "$web/d/$1" "$(xattr "$url/d/$1" mlcachefs.url)"
    # Remembered, whatever becomes of dgenerate's.
    rm "$(cat "$tmp/file")"
    before=$(count_requests)
    assert_same "$tmp/d/$1" "$url/d/$1"
    assert_equal "requests" "$before" "$(count_requests)"
}
check_parts() {
    # Nobody asks for upper parts that dgenerate knows.
    pair up/a/b/c.bin 100K
    row "$web/up/a/b/c.bin" "$tmp/up/a/b/c.bin" --age 60 >/dev/null
    assert_same "$tmp/up/a/b/c.bin" "$url/up/a/b/c.bin"
    assert_equal "requests" 1 "$(count_requests --path '^/up')"
}
check_expiry() {
    pair d/old.bin 100K
    row "$web/d/old.bin" "$tmp/d/old.bin" --age 7300 >/dev/null
    assert_same "$served/d/old.bin" "$url/d/old.bin"
    pair d/soon.bin 100K
    row "$web/d/soon.bin" "$tmp/d/soon.bin" --age 6600 >/dev/null
    assert_same "$tmp/d/soon.bin" "$url/d/soon.bin"
    # Its end is that of the row, not of our copy.
    set_clock $(($(date +%s) + 601))
    assert_same "$served/d/soon.bin" "$url/d/soon.bin"
    set_clock "$(date +%s)"
}
check_rewritten() {
    local file
    pair d/rewritten.bin 100K
    file=$(row "$web/d/rewritten.bin" "$tmp/d/rewritten.bin" --age 60)
    touch "$file"
    assert_same "$served/d/rewritten.bin" "$url/d/rewritten.bin"
}
check_other_size() {
    pair d/cut.bin 100K
    truncate -s 99K "$tmp/d/cut.bin"
    row "$web/d/cut.bin" "$tmp/d/cut.bin" --age 60 >/dev/null
    assert_same "$served/d/cut.bin" "$url/d/cut.bin"
    pair d/cut.txt 1K
    truncate -s 1000 "$tmp/d/cut.txt"
    row "$web/d/cut.txt" "$tmp/d/cut.txt" --age 60 >/dev/null
    assert_same "$served/d/cut.txt" "$url/d/cut.txt"
}
check_no_file() {
    local file
    pair d/no.bin 100K
    file=$(row "$web/d/no.bin" "$tmp/d/no.bin" --age 60)
    rm "$file"
    assert_same "$served/d/no.bin" "$url/d/no.bin"
    pair d/link.bin 100K
    file=$(row "$web/d/link.bin" "$tmp/d/link.bin" --age 60)
    ln -sf "$tmp/d/link.bin" "$file"
    touch -h -d '2 hours ago' "$file"
    assert_same "$served/d/link.bin" "$url/d/link.bin"
}
check_paths() {
    # Only the name in web/ counts; the rest is spelled as DGENERATE_CACHE was.
    pair d/spelled.bin 100K
    row "$web/d/spelled.bin" "$tmp/d/spelled.bin" --age 60 \
        --path ../some/where/web/0f7a1c4e-4b7e-4a33-8f0e-1d7f5d1c9a01.bin >/dev/null
    assert_same "$tmp/d/spelled.bin" "$url/d/spelled.bin"
    pair d/pointer.bin 100K
    row "$web/d/pointer.bin" "$tmp/d/pointer.bin" --age 60 --pointer >/dev/null
    assert_same "$served/d/pointer.bin" "$url/d/pointer.bin"
}
check_spelling() {
    pair "d/a b.bin" 100K
    row "$web/d/a%20b.bin" "$tmp/d/a b.bin" --age 60 >/dev/null
    assert_same "$tmp/d/a b.bin" "$url/d/a b.bin"
}
check_renewed() {
    # Known again by its bytes, and by nothing that the origin said.
    make_file "$served/d/same.txt" 2K
    row "$web/d/same.txt" "$served/d/same.txt" --age 60 >/dev/null
    assert_same "$served/d/same.txt" "$url/d/same.txt"
    set_clock $(($(date +%s) + 7200))
    make_file "$served/d/new.txt" 2K other
    touch -r "$served/d/same.txt" "$served/d/new.txt"
    mv "$served/d/new.txt" "$served/d/same.txt"
    assert_same "$served/d/same.txt" "$url/d/same.txt"
    set_clock "$(date +%s)"
}
check_evict() {
    pair d/evict.bin 100K
    row "$web/d/evict.bin" "$tmp/d/evict.bin" --age 60 >/dev/null
    assert_same "$tmp/d/evict.bin" "$url/d/evict.bin"
    rm "$url/d/evict.bin"
    assert_same "$tmp/d/evict.bin" "$url/d/evict.bin"
}
check_large() {
    local pid n
    pair d/large.bin 200M
    row "$web/d/large.bin" "$tmp/d/large.bin" --age 60 >/dev/null
    for n in 1 2 3 4; do
        cmp "$tmp/d/large.bin" "$url/d/large.bin" &
        pid[n]=$!
    done
    for n in 1 2 3 4; do
        wait "${pid[n]}" || fail "other bytes"
    done
    assert_equal "requests" 1 "$(count_requests --path large)"
}
check_down() {
    # Nobody tells the size: it is not served on the row's word.
    pair d/down.bin 100K
    row "$web/d/down.bin" "$tmp/d/down.bin" --age 60 >/dev/null
    set_faults '[{"match": "down", "status": 503}]'
    assert_error "Input/output error" cat "$url/d/down.bin"
    clear_faults
}
check_no_mix() {
    local churner churn_r churn_w n taken=0
    mkdir -p "$served/d" "$tmp/churn-store"
    mkdir "$tmp/churn-store/web"
    mount_ready "$tmp/churn-store" "$tmp/churn-mnt"
    # The origin's own is all of another byte, too.
    truncate -s 8M "$served/d/churn.bin"
    mkfifo "$tmp/churn"
    exec {churn_r}<>"$tmp/churn"
    exec {churn_w}>"$tmp/churn"
    "$python" "$srcdir/tests/web-db.py" "$tmp/churn-store/web" churn \
        "$web/d/churn.bin" $((8 << 20)) <&"$churn_r" >"$tmp/churning" &
    churner=$!
    wait_until 20 grep -q churning "$tmp/churning"
    for n in $(seq 60); do
        "$python" -c '
import os, sys
with open(sys.argv[1], "rb") as file:
    data = file.read()
assert len(data) == 8 << 20 and len(set(data)) == 1, (len(data), set(data))
os.unlink(sys.argv[1])
sys.exit(42 if data[0] else 0)' "$tmp/churn-mnt/web/$web/d/churn.bin" || {
            assert_equal "the reader" 42 $?
            taken=$((taken + 1))
        }
        [ "$taken" -lt 5 ] || break
    done
    echo >&"$churn_w"
    wait "$churner" || fail "the writer failed"
    [ "$taken" -gt 0 ] || fail "nothing was taken, so the case shows nothing"
    unmount "$tmp/churn-mnt"
}
run_case "a large file" check_fresh big.bin 3M
run_case "a small file" check_fresh small.txt 2K
run_case "upper parts of the path" check_parts
run_case "an expired row" check_expiry
run_case "a file that was written to after its row" check_rewritten
run_case "a file of another size" check_other_size
run_case "a file that is gone, or no file" check_no_file
run_case "paths of rows" check_paths
run_case "other spellings of a URL" check_spelling
run_case "what the origin said is not kept with dgenerate's bytes" check_renewed
run_case "evicted, and back" check_evict
run_case "look-ups wait for one copy" check_large
run_case "a file that is written anew is no mix" check_no_mix
run_case "an origin that does not answer" check_down
unmount "$mnt"
end_cases
