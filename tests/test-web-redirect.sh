#!/usr/bin/env bash
# Redirects lead to http and https only, at most ten times, and no login follows
# them to another host.
# tap
. "${srcdir:-.}/tests/web.sh"

mkdir -p "$served/d" "$origin_root/web/d"
echo text >"$served/d/a.txt"
echo text >"$served/a.txt"
host=${web#http://}
printf 'machine %s login me password secret-word\n' "${host%:*}" >"$HOME/.netrc"
chmod 600 "$HOME/.netrc"
mount_web

check_schemes() {
    set_faults '[{"match": "file\\.txt", "redirect": "file:///etc/passwd"},
        {"match": "ftp\\.txt", "redirect": "ftp://127.0.0.1/x"},
        {"match": "data\\.txt", "redirect": "data:text/plain,hello"}]'
    assert_error "Input/output error" cat "$url/d/file.txt"
    assert_error "Input/output error" cat "$url/d/ftp.txt"
    assert_error "Input/output error" cat "$url/d/data.txt"
    clear_faults
}
check_loop() {
    set_faults '[{"match": "loop\\.txt", "redirect": "/d/loop.txt"}]'
    assert_error "Input/output error" cat "$url/d/loop.txt"
    assert_equal "requests" 11 "$(count_requests --path 'loop\.txt')"
    clear_faults
}
check_many() {
    assert_equal "ten" text "$(cat "$url/_/redirect/302/10/a.txt")"
    assert_error "Input/output error" cat "$url/_/redirect/302/11/a.txt"
}
check_login() {
    assert_equal "the login is sent" text "$(cat "$url/_/basic/me:secret-word/d/a.txt")"
    assert_equal "elsewhere" text "$(cat "$url/_/away/d/a.txt")"
    count_requests --server cdn --path 'a\.txt' | grep -qx 1 || fail "not led away"
    ! grep '"server": "cdn"' "$origin_root/requests.log" | grep -q Basic ||
        fail "the login was sent to another host"
    ! grep -q secret-word "$tmp/daemon.log" || fail "the login is in the log"
}
run_case "to file:, ftp: and data:" check_schemes
run_case "to itself" check_loop
run_case "eleven in a row" check_many
run_case "a login stays with its host" check_login
unmount "$mnt"
end_cases
