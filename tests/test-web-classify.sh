#!/usr/bin/env bash
# What a component is follows from one answer, which is kept: negative ones too.
# tap
. "${srcdir:-.}/tests/web.sh"

mkdir -p "$served/dir/sub" "$served/releases/download/m-3.8.0"
echo text >"$served/dir/file.txt"
echo bare >"$served/dir/bare"
echo '<html>' >"$served/dir/page.html"
: >"$served/dir/empty.bin"
echo wheel >"$served/releases/download/m-3.8.0/x.whl"
echo part >"$served/dir/sub/x.txt"
echo q1 >"$served/dir/get?id=1"
make_file "$served/dir/large.html" 200K
mount_web

# asked N PATH-REGEX
asked() {
    assert_equal "requests for $2" "$1" "$(count_requests --server web --path "$2")"
}
check_file() {
    assert_equal "the bytes" text "$(cat "$url/dir/file.txt")"
    assert_equal "the bytes" bare "$(cat "$url/dir/bare")"
    asked 1 '^/dir/file\.txt$'
}
check_slash() {
    [ -d "$url/dir" ] || fail "not a directory"
    asked 1 '^/dir$'
    asked 0 '^/dir/$'
}
check_html() {
    [ -d "$url/_/html/dir/bare" ] || fail "an HTML page without extension"
    [ -f "$url/dir/page.html" ] || fail "an HTML page with one"
    [ -f "$url/_/html/dir/large.html" ] || fail "a large one"
}
check_missing() {
    assert_absent "$url/nothing/here.txt"
    assert_absent "$url/nothing/here.txt"
    asked 1 '^/nothing/here\.txt$'
    [ -d "$url/nothing" ] || fail "a 404 without an extension"
    [ -d "$url/v1.0" ] || fail "v1.0 has no extension"
    [ -d "$url/a.verylongext" ] || fail "an extension is short"
    assert_absent "$url/x.abcdefgh"
    assert_absent "$url/x.py3"
}
check_codes() {
    local code
    for code in 400 401 402 403 404 405 410 418 451; do
        [ -d "$url/_/status/$code/thing" ] || fail "$code without extension"
        assert_absent "$url/_/status/$code/thing.bin"
    done
}
check_deep() {
    local before after
    before=$(count_requests --server web)
    assert_equal "the wheel" wheel "$(cat "$url/releases/download/m-3.8.0/x.whl")"
    after=$(count_requests --server web)
    assert_equal "requests for a path of depth 4" 4 $((after - before))
    cat "$url/releases/download/m-3.8.0/x.whl" >/dev/null
    assert_equal "and again" "$after" "$(count_requests --server web)"
}
check_empty() {
    [ -f "$url/dir/empty.bin" ] || fail "not a file"
    assert_equal "size" 0 "$(stat -c %s "$url/dir/empty.bin")"
    assert_equal "bytes" "" "$(cat "$url/dir/empty.bin")"
}
check_query() {
    assert_equal "with a query" q1 "$(cat "$url/dir/get?id=1")"
}
check_broken_part() {
    set_faults '[{"server": "web", "match": "^GET /dir/sub$", "status": 500}]'
    assert_error "Input/output error" ls "$url/dir/sub"
    assert_equal "as one name" part \
        "$(cat "$mnt/web/$(single "$web/dir/sub/x.txt")")"
    clear_faults
}
check_single() {
    [ -f "$mnt/web/$(single "$web/_/html/dir/bare")" ] ||
        fail "as one name it is a file"
    assert_absent "$mnt/web/$(single "$web/nothing")"
}
check_redirected() {
    assert_equal "redirected" text "$(cat "$url/_/redirect/302/3/dir/file.txt")"
}
check_retry() {
    set_faults '[{"server": "web", "match": "^GET /dir/busy", "status": 503, "times": 2}]'
    echo busy >"$served/dir/busy.txt"
    assert_equal "after two 503" busy "$(cat "$url/dir/busy.txt")"
    clear_faults
}
run_case "a body is a file" check_file
run_case "a redirect to the path and a slash is a directory" check_slash
run_case "an HTML page without extension is a directory" check_html
run_case "4xx: with an extension absent, else a directory" check_missing
run_case "every 4xx" check_codes
run_case "a path of depth n costs n requests, once" check_deep
run_case "an empty file" check_empty
run_case "a query" check_query
run_case "a part that fails, and the one-name form" check_broken_part
run_case "the one-name form is a file" check_single
run_case "redirects" check_redirected
run_case "a busy server is asked again" check_retry
unmount "$mnt"
end_cases
