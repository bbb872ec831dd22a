#!/usr/bin/env bash
# CIVIT_AI_TOKEN goes to civitai.com's download API alone, and shows nowhere; a
# long signed address that the API leads to is followed.
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_command openssl getfattr

mnt=$tmp/mnt
store=$tmp/store
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=test \
    -addext 'subjectAltName=DNS:civitai.com,DNS:evil.example,DNS:files.example' \
    -keyout "$tmp/key.pem" -out "$tmp/cert.pem" 2>"$tmp/openssl.log" ||
    fail "openssl: $(cat "$tmp/openssl.log")"
cat "$tmp/cert.pem" "$tmp/key.pem" >"$tmp/tls.pem"
start_origin "$tmp/origin" --tls "$tmp/tls.pem"
mkdir -p "$origin_root/web/api/download/models" "$origin_root/web/d"
make_file "$origin_root/web/d/large.bin" 3M
echo page >"$origin_root/web/d/page.txt"
echo weights >"$origin_root/web/api/download/models/7"

token='a secret/word'
export CIVIT_AI_TOKEN=$token https_proxy=$web SSL_CERT_FILE=$tmp/cert.pem
# Its log is to tell everything.
printf '#!/bin/sh\nexec "%s" "$@" -d\n' "$MLCACHEFS" >"$tmp/debug"
chmod +x "$tmp/debug"
MLCACHEFS=$tmp/debug
mount_ready "$store" "$mnt" web_expiry=hours=1
url=$mnt/web/https:/

# sent HOST PATH-REGEX: how often was that asked for?
sent() {
    "$python" - "$origin_root/requests.log" "$1" "$2" <<'EOS'
import json, re, sys
path, host, regex = sys.argv[1:]
records = map(json.loads, open(path))
print(sum(r["host"] == host and re.search(regex, r["path"]) is not None
          for r in records if r["method"] == "GET"))
EOS
}
check_token() {
    assert_equal "bytes" weights "$(cat "$url/civitai.com/api/download/models/7")"
    assert_equal "with the token" 1 \
        "$(sent civitai.com '^/api/download/models/7\?token=a%20secret%2Fword$')"
    assert_equal "without" 0 "$(sent civitai.com '^/api/download/models/7$')"
}
check_own_query() {
    assert_equal "bytes" weights \
        "$(cat "$url/civitai.com/api/download/models/7?type=Model&token=mine")"
    assert_equal "the user's token" 1 \
        "$(sent civitai.com '7\?type=Model&token=mine$')"
}
check_elsewhere() {
    assert_equal "another page" page "$(cat "$url/civitai.com/d/page.txt")"
    assert_equal "another host" weights \
        "$(cat "$url/evil.example/api/download/models/7")"
    assert_equal "asked without it" 2 \
        "$(($(sent civitai.com '^/d/page\.txt$') +
            $(sent evil.example '^/api/download/models/7$')))"
}
# The address that the API leads to is signed, and 2,000 bytes long.
check_redirect() {
    local signature
    signature=$(printf 's%.0s' {1..2000})
    set_faults "[{\"match\": \"^GET /api/download/models/8\",
        \"redirect\": \"https://files.example/d/large.bin?sig=$signature\"}]"
    assert_same "$origin_root/web/d/large.bin" \
        "$url/civitai.com/api/download/models/8"
    [ "$(sent files.example '^/d/large\.bin\?sig=s{2000}$')" -gt 0 ] ||
        fail "not led to the other host"
    clear_faults
}
check_error() {
    set_faults '[{"match": "models/9", "status": 500}]'
    assert_error "Input/output error" cat "$url/civitai.com/api/download/models/9"
    grep -q 'models/9: HTTP status 500' "$tmp/daemon.log" || fail "no line in the log"
    clear_faults
}
check_hidden() {
    local kind file=$url/civitai.com/api/download/models/7
    for kind in url etag filename expires state; do
        getfattr --absolute-names --only-values -n "user.mlcachefs.$kind" \
            "$file" 2>/dev/null || true
    done >"$tmp/seen"
    find "$mnt" >>"$tmp/seen"
    cat "$mnt/.mlcachefs/"* "$tmp/daemon.log" >>"$tmp/seen"
    grep -q api/download/models/7 "$tmp/seen" || fail "this shows nothing"
    ! grep -E -i 'secret' "$tmp/seen" || fail "the token is seen"
    ! grep -r -E -i 'a( |%20)secret' "$store" || fail "the token is stored"
}
check_no_other() {
    ! grep secret "$origin_root/requests.log" |
        grep -v '"host": "civitai.com"' || fail "the token went elsewhere"
}
run_case "the token is sent to the download API" check_token
run_case "a token in the URL stays" check_own_query
run_case "nothing else gets it" check_elsewhere
run_case "a signed address of 2,000 bytes" check_redirect
run_case "an error" check_error
run_case "nowhere to be seen" check_hidden
run_case "no other host was told" check_no_other
end_cases
