#!/usr/bin/env bash
# Whatever an origin does, a reader gets right bytes, or an error in time, and
# nothing wrong stays.
# tap
# timeout: 400
. "${srcdir:-.}/tests/fetch.sh"

seconds=2
serve -- small.bin=200K middle.bin=3M large.bin=40M

# reads_right WANTED FILE HOW: does a new open, through read or mmap?
reads_right() {
    local code=0
    case $3 in
        read) reader many 1 "$1" "$2" 2>>"$tmp/reader.log" || code=$? ;;
        mmap) reader mmap "$1" "$2" 2>>"$tmp/reader.log" || code=$? ;;
    esac
    # 135: SIGBUS, an error through mmap.
    [ "$code" != 1 ] || fail "wrong bytes by $3"
    [ "$code" = 0 ]
}

# The published file and nothing else.
only_right_on_disk() {
    local blob
    blob=$(find "$case_store" -path "*blobs/$(oid "$1")")
    [ -n "$blob" ] && [ -z "$(find "$case_store/.mlcachefs/objects" -type f)" ] &&
        cmp -s "$blob" "$source/$1"
}

# check FILE ENDS OPTIONS FAULTS: ENDS is "right", "either", or the name of an
# errno; either way in time.
check() {
    local wanted=$source/$1 file=$files/$1 ends=$2 begin code=0 took limit
    case_store=$tmp/store.$BASHPID
    mount_ready "$case_store" "$mnt" "timeout=seconds=$seconds,$3"
    [ "$(stat -L -c %s "$file")" = "$(stat -c %s "$wanted")" ]
    set_faults "$4"
    begin=$(now_ms)
    case $ends in
        right | either)
            reader many 1 "$wanted" "$file" 2>"$tmp/said" || code=$?
            [ "$code" != 1 ] || fail "wrong bytes"
            [ "$code" = 0 ] || [ "$ends" = either ] ||
                fail "an error: $(cat "$tmp/said")"
            ;;
        *)
            assert_match "the error" "^($ends)$" "$(reader errno "$file" 0:4096)"
            took=$(($(now_ms) - begin))
            limit=$((seconds * 1500 * ${MLC_TEST_SLOWNESS:-1}))
            [ "$took" -le "$limit" ] || fail "the error came after $took ms"
            # At once for the next second, and for mmap.
            ! reads_right "$wanted" "$file" mmap
            ;;
    esac
    clear_faults
    wait_until 5 reads_right "$wanted" "$file" read
    reads_right "$wanted" "$file" mmap || fail "an error by mmap"
    wait_until 5 only_right_on_disk "$1"
    unmount "$mnt"
}

cdn() { # FAULT
    echo "[{\"server\": \"cdn\", $1}]"
}

hub() { # FAULT
    echo "[{\"server\": \"hub\", \"match\": \"/resolve/\", $1}]"
}

for file in small.bin middle.bin large.bin; do
    at=$(($(stat -c %s "$source/$file") / 2))
    for fetch in whole demand; do
        with="$file, $fetch"
        options=fetch=$fetch
        ends=either
        if [ $file = small.bin ]; then
            ends=right
        fi
        run_case "a flipped byte once ($with)" \
            check $file $ends $options "$(cdn "\"flip_at\": $at, \"times\": 1")"
        run_case "a flipped byte always ($with)" \
            check $file either $options "$(cdn "\"flip_at\": $at")"
        run_case "truncated once ($with)" \
            check $file right $options "$(cdn "\"truncate_at\": $((at + 77)), \"times\": 1")"
        run_case "another range once ($with)" \
            check $file right $options "$(cdn '"wrong_range": 1000, "times": 1')"
        run_case "ranges ignored ($with)" \
            check $file right $options "$(cdn '"ignore_range": true')"
        run_case "no answer ($with)" \
            check $file 'EIO|ETIMEDOUT' $options "$(cdn '"stall_headers": -1')"
        run_case "a stall in the body ($with)" \
            check $file either $options "$(cdn "\"stall_body_at\": $at, \"stall\": -1")"
    done
    options=fetch=whole
    run_case "truncated always ($file)" \
        check $file right $options "$(cdn "\"truncate_at\": $((at * 2 / 3))")"
    run_case "cut off at once, always ($file)" \
        check $file EIO $options "$(cdn '"truncate_at": 0')"
    run_case "another length by -1, once ($file)" \
        check $file either $options "$(cdn '"length_delta": -1, "times": 1')"
    run_case "another length by +1, always ($file)" \
        check $file EIO $options "$(cdn '"length_delta": 1')"
    run_case "no length ($file)" \
        check $file right $options "$(cdn '"drop_header": "Content-Length"')"
    run_case "answers late by 5 s, once ($file)" \
        check $file right $options "$(cdn '"stall_headers": 5, "times": 1')"
    run_case "closed once ($file)" \
        check $file right $options "$(cdn '"close": true, "times": 1')"
    run_case "an expired address, once ($file)" \
        check $file right $options "$(cdn '"status": 403, "times": 1')"
    run_case "403 from the CDN always ($file)" \
        check $file 'EACCES|EIO' $options "$(cdn '"status": 403')"
done

options=fetch=whole
file=middle.bin
run_case "another range always" \
    check $file EIO $options "$(cdn '"wrong_range": 1000')"
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
run_case "the Hub does not answer" \
    check $file 'EIO|ETIMEDOUT' $options "$(hub '"stall_headers": -1')"
run_case "a redirect to a file" check $file EIO $options \
    "$(hub '"redirect": "file:///etc/hostname"')"
run_case "a redirect to a closed port" check $file EIO $options \
    "$(hub '"redirect": "http://127.0.0.3:9/x"')"
run_case "a redirect loop" check $file EIO $options \
    "$(hub '"redirect": "/a/m/resolve/main/x"')"
run_case "a body in the middle comes late by 5 s" \
    check $file right timeout=seconds=30 \
    "$(cdn '"stall_body_at": 1000000, "stall": 5, "times": 1')"

end_cases
