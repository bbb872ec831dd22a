#!/usr/bin/env bash
# Names are a URL's bytes: what a URL may not hold is encoded on the wire, and
# what can't be a URL is not there, without a request.
# tap
. "${srcdir:-.}/tests/web.sh"

mkdir -p "$served/d"
echo space >"$served/d/a b.txt"
echo umlaut >"$served/d/ä.txt"
echo latin >"$served/d/"$'\xe4.txt'
echo percent >"$served/d/100%.txt"
echo hash >"$served/d/h#1.txt"
echo query >"$served/d/q.txt?a=b c"
echo plain >"$served/d/q.txt"
mount_web

asked() {
    assert_equal "requests for $2" "$1" "$(count_requests --server web --path "$2")"
}
check_encoded() {
    assert_equal "a space" space "$(cat "$url/d/a b.txt")"
    assert_equal "and encoded" space "$(cat "$url/d/a%20b.txt")"
    asked 2 '^/d/a%20b\.txt$'
    assert_equal "UTF-8" umlaut "$(cat "$url/d/ä.txt")"
    assert_equal "and encoded" umlaut "$(cat "$url/d/%C3%A4.txt")"
    assert_equal "a lone %" percent "$(cat "$url/d/100%.txt")"
    assert_equal "an encoded #" hash "$(cat "$url/d/h%231.txt")"
    asked 1 '^/d/100%25\.txt$'
}
check_invalid_utf8() {
    cat "$url/d/"$'\xe4.txt' >/dev/null 2>&1 || true
    asked 1 '^/d/%E4\.txt$'
}
check_query() {
    assert_equal "a query" plain "$(cat "$url/d/q.txt?x=1&y=2")"
    asked 1 '^/d/q\.txt\?x=1&y=2$'
    assert_equal "a fragment is not sent" plain "$(cat "$url/d/q.txt#top")"
    asked 1 '^/d/q\.txt$'
}
check_not_urls() {
    local name before
    before=$(count_requests)
    for name in '%00' 'a%00.txt' '%2e%2e' '%2E.' '.%2e' '%2e' '..%2f..%2fx.txt' \
        '%2e%2e%5cx.txt'; do
        assert_absent "$url/d/$name"
        assert_error "No such file or directory" stat "$url/d/$name"
    done
    for name in 'http:/' 'user:word@127.0.0.1' '127.0.0.1:99999' '127.0.0.1:' \
        '.git' 'a..b' '[::1' '[::g]' 'a b' '-:1:2'; do
        assert_error "No such file or directory" stat "$mnt/web/http:/$name/x.txt"
    done
    assert_error "No such file or directory" stat "$mnt/web/ftp://127.0.0.1/x"
    assert_error "No such file or directory" stat "$mnt/web/file:"
    assert_error "No such file or directory" stat "$mnt/web/http%3A%2F%2F"
    assert_error "No such file or directory" stat "$mnt/web/$(single "http://h/../x")"
    assert_equal "requests" "$before" "$(count_requests)"
}
check_dots() {
    assert_equal ".." plain "$(cat "$url/d/../d/./q.txt")"
    assert_equal "out of the domain" hf "$(basename "$(ls -d "$url/../../../hf")")"
}
check_long() {
    local name
    # Longer than any on disk: there is no such file here.
    assert_error "No such file" stat "$url/d/$(printf 'x%.0s' {1..300}).txt"
    assert_error "File name too long" stat "$mnt/web/$(printf 'x%.0s' {1..300})"
    name=$(printf 'x%.0s' {1..240}).txt
    echo long >"$served/d/$name"
    assert_equal "244 bytes" long "$(cat "$url/d/$name")"
    # A signed URL; kernels before 6.15 take 1,024 bytes.
    name="q.txt?sig=$(printf 's%.0s' {1..900})"
    assert_equal "910 bytes" plain "$(cat "$url/d/$name")"
    asked 1 '^/d/q\.txt\?sig=s{900}$'
    assert_equal "listed" "" "$(find "$url/d" -name 'q.txt?sig*')"
    rm "$url/d/$name"
    assert_equal "again" plain "$(cat "$url/d/$name")"
    asked 2 '^/d/q\.txt\?sig=s{900}$'
    assert_error "File name too long" touch "$url/d/$(printf 'x%.0s' {1..300})"
}
check_hosts() {
    local before
    before=$(count_requests)
    ls "$mnt/web/https://example.invalid:8443" >/dev/null
    ls "$mnt/web/http://[::1]:80" >/dev/null
    ls "$mnt/web/https:" >/dev/null
    assert_equal "requests" "$before" "$(count_requests)"
}
run_case "what a URL may not hold is encoded" check_encoded
run_case "invalid UTF-8" check_invalid_utf8
run_case "queries and fragments" check_query
run_case "names that can't be URLs" check_not_urls
run_case "dots" check_dots
run_case "long segments" check_long
run_case "hosts are directories without a request" check_hosts
unmount "$mnt"
end_cases
