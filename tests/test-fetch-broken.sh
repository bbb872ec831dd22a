#!/usr/bin/env bash
# An origin that breaks off, refuses, or leads astray: a reader gets right bytes, or
# an error in time, and nothing wrong stays.
# tap
# timeout: 240
. "${srcdir:-.}/tests/fetch-faults.sh"

for file in small.bin middle.bin large.bin; do
    at=$(($(stat -c %s "$source/$file") / 2))
    for fetch in whole demand; do
        run_case "truncated once ($file, $fetch)" \
            check $file right fetch=$fetch \
            "$(cdn "\"truncate_at\": $((at + 77)), \"times\": 1")"
    done
    options=fetch=whole
    run_case "truncated always ($file)" \
        check $file right $options "$(cdn "\"truncate_at\": $((at * 2 / 3))")"
    run_case "cut off at once, always ($file)" \
        check $file EIO $options "$(cdn '"truncate_at": 0')"
    run_case "closed once ($file)" \
        check $file right $options "$(cdn '"close": true, "times": 1')"
    run_case "an expired address, once ($file)" \
        check $file right $options "$(cdn '"status": 403, "times": 1')"
    run_case "403 from the CDN always ($file)" \
        check $file 'EACCES|EIO' $options "$(cdn '"status": 403')"
done

options=fetch=whole
file=middle.bin
run_case "429 once" check $file right timeout=seconds=5 "$(hub '"status": 429,
    "headers": {"Retry-After": "1"}, "times": 1')"
run_case "500 three times" check $file right timeout=seconds=5 \
    "$(hub '"status": 500, "times": 3')"
run_case "503 always" check $file EIO $options "$(hub '"status": 503')"
run_case "404 for the bytes" \
    check $file 'EIO|ENOENT' $options "$(hub '"status": 404')"
run_case "403 for the bytes" \
    check $file EACCES $options "$(hub '"status": 403')"
run_case "gated" check $file EACCES $options "$(hub '"status": 401,
    "headers": {"X-Error-Code": "GatedRepo"}')"
run_case "closed always" check $file EIO $options "$(hub '"close": true')"
run_case "a redirect to a file" check $file EIO $options \
    "$(hub '"redirect": "file:///etc/hostname"')"
run_case "a redirect to a closed port" check $file EIO $options \
    "$(hub '"redirect": "http://127.0.0.3:9/x"')"
run_case "a redirect loop" check $file EIO $options \
    "$(hub '"redirect": "/a/m/resolve/main/x"')"
end_cases
