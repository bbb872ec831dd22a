# shellcheck shell=bash
# What the tests of a faulty origin share: whatever it does, a reader gets right
# bytes, or an error in time, and nothing wrong stays.
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
            limit=$(((seconds * 1000 + 4000) * ${MLC_TEST_SLOWNESS:-1}))
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
