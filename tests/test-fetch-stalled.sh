#!/usr/bin/env bash
# Readers and look-ups that an origin lets wait hold up nobody else.
# tap
# tsan
# timeout: 180
. "${srcdir:-.}/tests/fetch.sh"

pairs=()
for i in $(seq 64); do
    pairs+=("cold$i.bin=1M")
done
serve -- ready.bin=1M other.bin=2M "${pairs[@]}"
slow=()
for i in $(seq 12); do
    slow_commit=$(make_repo model "slow/m$i" --from "$source" --lfs-over 1000)
    slow+=("$mnt/hf/hub/models--slow--m$i/snapshots/$slow_commit/ready.bin")
done
make_repo model b/known --from "$source" --lfs-over 1000 >/dev/null
hub_dir=$mnt/hf/hub

# Contents are the same in all repos, so those of a/m are told by their hash.
stall_all() { # FAULT of the CDN
    set_faults "[{\"server\": \"cdn\", \"match\": \"$(oid other.bin)\", \"id\": \"free\",
         \"times\": 1000000, \"drop_header\": \"X-None\"},
        {\"server\": \"cdn\", $1},
        {\"server\": \"hub\", \"match\": \"slow/m.*tree\", \"stall_headers\": -1}]"
}

# begin OPTIONS [FAULT]: everything stalls; sets $waiting, the pids that do.
begin() {
    local i
    clear_faults
    origin_log clear
    : >"$tmp/said"
    mount_ready "$tmp/store.$BASHPID" "$mnt" "$1"
    stat -L "$files"/* >/dev/null
    reader many 1 "$source/ready.bin" "$files/ready.bin"
    # Known, but not what is in them: the kernel looks up one name after the
    # other in one directory.
    for i in "${slow[@]}"; do
        stat "${i%/snapshots*}/refs/main" >/dev/null
    done
    stall_all "${2:-\"stall_body_at\": 1000, \"stall\": -1}"
    waiting=()
    for i in $(seq 64); do
        cat "$files/cold$i.bin" >/dev/null 2>&1 &
        waiting+=($!)
    done
    for i in "${slow[@]}"; do
        "$python" "$srcdir/tests/reader.py" stat "$i" >>"$tmp/said" &
        waiting+=($!)
    done
    wait_requests --server cdn --count 64 --timeout 30
    wait_requests --server hub --path 'slow/m.*tree' --count 12
}

end_waiting() {
    local pid
    for pid in "${waiting[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
}

others_go_on() {
    begin timeout=seconds=30
    assert_within 4000 "a ready file" \
        reader many 1 "$source/ready.bin" "$files/ready.bin"
    assert_within 4000 "statfs" stat -f "$mnt" >/dev/null
    assert_within 4000 "a known name" stat -L "$files/ready.bin" >/dev/null
    assert_within 4000 "a listing" ls -L "$files" >/dev/null
    assert_within 4000 "status.json" status waiting_requests
    assert_within 4000 "a cold file" \
        reader many 1 "$source/other.bin" "$files/other.bin"
    assert_within 4000 "a look-up" stat "$hub_dir/models--b--known/refs/main" \
        >/dev/null
    assert_within 5000 "SIGTERM" unmount "$mnt"
    end_waiting
}

# A killed reader is gone at once; an interrupted look-up, too.
killed() {
    begin timeout=seconds=30
    assert_within 5000 "SIGKILL of 64 readers" kill_and_wait KILL 0 64
    assert_within 5000 "SIGINT of 12 look-ups" kill_and_wait INT 64 12
    assert_equal "what they got" EINTR "$(sort -u "$tmp/said")"
    clear_faults
    assert_within 5000 "SIGTERM" unmount "$mnt"
}

kill_and_wait() { # SIGNAL FROM COUNT
    local pid
    kill -"$1" "${waiting[@]:$2:$3}"
    for pid in "${waiting[@]:$2:$3}"; do
        wait "$pid" 2>/dev/null || true
    done
}

# Stalled for ever is an error in time.
deadline() {
    # Not in the body: each new request would bring some of it.
    begin timeout=seconds=3 '"stall_headers": -1'
    # A look-up's own budget is 10 s.
    assert_within 17000 "the end of all" end_waiting
    clear_faults
    wait_until 5 reader many 1 "$source/cold1.bin" "$files/cold1.bin"
    unmount "$mnt"
}

run_case "others go on, and SIGTERM ends the daemon" others_go_on
run_case "killed and interrupted" killed
run_case "everybody has a deadline" deadline
end_cases
