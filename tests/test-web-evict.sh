#!/usr/bin/env bash
# Deleting evicts; what users write in web/ is theirs.
# tap
. "${srcdir:-.}/tests/web.sh"

make_file "$served/d/big.bin" 1M
echo one >"$served/d/a.txt"
mount_web

check_rm() {
    cat "$url/d/a.txt" "$url/d/big.bin" >/dev/null
    wait_until 10 bodies_are 2
    rm "$url/d/a.txt" "$url/d/big.bin"
    assert_equal "listed" "" "$(ls "$url/d")"
    # The last may have been on its way home still.
    wait_until 10 bodies_are 0
    assert_equal "and back" one "$(cat "$url/d/a.txt")"
}
check_tree() {
    cat "$url/d/a.txt" "$url/d/big.bin" >/dev/null
    rm -r "$mnt/web/http:"
    # Some may have been on their way home.
    wait_until 10 bodies_are 0
    assert_equal "listed" "" "$(ls "$mnt/web")"
}
check_open() {
    exec {fd}<"$url/d/big.bin"
    head -c 1000 <&"$fd" >/dev/null
    cat "$url/d/big.bin" >/dev/null
    rm "$url/d/big.bin"
    tail -c +1001 "$served/d/big.bin" | cmp - <(cat <&"$fd") || fail "other bytes"
    exec {fd}<&-
}
check_write() {
    echo mine >"$url/d/a.txt"
    assert_equal "written" mine "$(cat "$url/d/a.txt")"
    assert_equal "on disk" mine "$(cat "$store/web/http:/${web#http://}/d/a.txt")"
    rm "$url/d/a.txt"
    assert_equal "the origin's again" one "$(cat "$url/d/a.txt")"
}
check_own() {
    local before
    before=$(count_requests)
    mkdir "$mnt/web/text_encoder" "$mnt/web/unet"
    echo row >"$mnt/web/cache.db"
    echo body >"$mnt/web/5b0c1c2e-0000-4000-8000-000000000000.png"
    assert_equal "its own" \
        "5b0c1c2e-0000-4000-8000-000000000000.png cache.db http: text_encoder unet " \
        "$(printf '%s ' "$mnt/web/"* | sed "s#$mnt/web/##g")"
    assert_absent "$mnt/web/cache.db.lock"
    assert_equal "requests" "$before" "$(count_requests)"
    assert_exists "$store/web/cache.db"
}
run_case "rm frees bytes, and the name can be asked for again" check_rm
run_case "rm -r" check_tree
run_case "an open file stays readable" check_open
run_case "writing makes a local file" check_write
run_case "dgenerate's own names are plain files" check_own
unmount "$mnt"
end_cases
