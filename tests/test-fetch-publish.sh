#!/usr/bin/env bash
# Ended while a file is digested and put in its place, the daemon ends at once,
# and the next one goes on with what is there.
# tap
# timeout: 240
. "${srcdir:-.}/tests/fetch.sh"

mib=$(scaled 1024)
serve -- big.bin="${mib}M" small.bin=300000

# arrived KIB: is so much of it in the store, wherever?
arrived() {
    [ "$(du -sk "$case_store" | cut -f 1)" -ge "$1" ]
}

is_published() {
    [ -n "$(find "$case_store" -path "*blobs/$(oid "$1")")" ]
}

# The last bytes are on disk: digest, sync and rename follow.
term_at_the_end() {
    local sent
    case_store=$tmp/store.$BASHPID
    origin_log clear
    mount_ready "$case_store" "$mnt"
    cat "$files/big.bin" >/dev/null &
    wait_until 60 arrived $((mib << 10))
    assert_within 5000 "SIGTERM" unmount "$mnt"
    wait $! || true
    sent=$(body_bytes --server cdn)

    mount_ready "$case_store" "$mnt"
    reader many 1 "$source/big.bin" "$files/big.bin"
    assert_equal "what came again" "$sent" "$(body_bytes --server cdn)"
    wait_until 60 is_published big.bin
    unmount "$mnt"
    rm -r "$case_store"
}

# Killed at once after, around, or before its publication.
killed_around() {
    local i pid
    case_store=$tmp/store.$BASHPID
    for i in 1 2 3 4 5 6; do
        mount_ready "$case_store" "$mnt"
        reader many 1 "$source/small.bin" "$files/small.bin"
        pid=$(daemon_pid "$mnt")
        unset "daemon_pids[$mnt]"
        if [ $((i % 2)) = 0 ]; then
            wait_until 10 is_published small.bin
        fi
        kill -KILL "$pid"
        wait "$pid" 2>/dev/null || true
        if is_published small.bin; then
            cmp "$source/small.bin" \
                "$(find "$case_store" -path "*blobs/$(oid small.bin)")"
        fi
        if [ $((i % 2)) = 0 ]; then
            rm "$(find "$case_store" -path "*blobs/$(oid small.bin)")"
        fi
    done
    mount_ready "$case_store" "$mnt"
    reader many 1 "$source/small.bin" "$files/small.bin"
    wait_until 10 is_published small.bin
    assert_equal "what is left behind" "" \
        "$(find "$case_store" -name '*.tmp' -o -path '*/objects/*')"
    unmount "$mnt"
}

run_case "SIGTERM when all has come" term_at_the_end
run_case "killed around publication" killed_around
end_cases
