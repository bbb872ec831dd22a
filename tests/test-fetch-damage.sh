#!/usr/bin/env bash
# What an earlier run left is believed piece by piece, and damage is repaired.
# tap
. "${srcdir:-.}/tests/fetch.sh"

serve -- big.bin=24M
size=$((24 << 20))

# Leaves a part of the file, its $data and $map, and in $had how much it is.
interrupted() {
    local objects
    # Each answer, however the file is divided.
    set_faults '[{"server": "cdn", "stall_body_at": 4194304, "stall": -1}]'
    case_store=$tmp/store.$BASHPID
    mount_ready "$case_store" "$mnt"
    reader at "$source/big.bin" "$files/big.bin" 0:1048576
    unmount "$mnt"
    clear_faults
    origin_log clear
    objects=$case_store/.mlcachefs/objects
    data=$(echo "$objects"/*.data)
    map=${data%.data}.map
    [ -s "$map" ] || fail "nothing was left: $(ls "$objects")"
    had=$(($(stat -c %b "$data") * 512))
}

# resumes LEAST MOST: the whole is right; so many bytes came.
resumes() {
    local sent
    mount_ready "$case_store" "$mnt"
    reader many 1 "$source/big.bin" "$files/big.bin"
    sent=$(body_bytes --server cdn)
    echo "had $had, sent $sent"
    [ "$sent" -ge "$1" ] || fail "only $sent bytes came"
    # Each cut of an answer may lose a little.
    assert_at_most "bytes sent" $(($2 + (2 << 20))) "$sent"
    unmount "$mnt"
}

poke() { # FILE OFFSET TEXT
    printf %s "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

untouched() {
    interrupted
    resumes $((size - had)) $((size - had))
}

# Costs a piece of 256 bytes, as all are of a file of that size.
flipped() {
    interrupted
    poke "$data" 500000 wrong
    resumes $((size - had + 256)) $((size - had + 256))
}

short_map() {
    interrupted
    truncate -s 4200 "$map"
    resumes $((size - had)) $size
}

empty_map() {
    interrupted
    : >"$map"
    resumes $size $size
}

garbage_map() {
    interrupted
    head -c 5000 "$source/big.bin" >"$map"
    resumes $size $size
}

# Hashes that nothing on disk has.
garbage_entries() {
    interrupted
    "$python" - "$map" <<'EOS'
import os, random, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(4096)
    f.write(random.Random(3).randbytes(8 * (24 << 20) // 256))
EOS
    resumes $size $size
}

long_map() {
    interrupted
    head -c 1000000 /dev/zero | tr '\0' 'x' >>"$map"
    resumes $((size - had)) $size
}

short_data() {
    interrupted
    truncate -s 900000 "$data"
    resumes $size $size
}

no_data() {
    interrupted
    rm "$data"
    resumes $size $size
}

# Of another file, whose name is in it.
foreign_map() {
    interrupted
    poke "$map" 40 "xx/0123"
    resumes $size $size
}

# Behind the back of a daemon that has it open: no end of file where there is
# none.
cut_while_open() {
    interrupted
    mount_ready "$case_store" "$mnt"
    set_faults '[{"server": "cdn", "stall_body_at": 0, "stall": -1}]'
    exec 3<"$files/big.bin"
    reader at "$source/big.bin" "$files/big.bin" 0:262144
    truncate -s 1000 "$data"
    assert_equal "a read" EIO "$(reader errno "$files/big.bin" 0:4096)"
    exec 3<&-
    clear_faults
    reader many 1 "$source/big.bin" "$files/big.bin"
    unmount "$mnt"
}

# Not that there is no such file.
no_directory() {
    mount_ready "$tmp/store.$BASHPID" "$mnt"
    rm -r "$tmp/store.$BASHPID/.mlcachefs/objects"
    assert_equal "a read" EIO "$(reader errno "$files/big.bin" 0:4096)"
    unmount "$mnt"
}

run_case "nothing is damaged" untouched
run_case "a flipped byte" flipped
run_case "a truncated map" short_map
run_case "an empty map" empty_map
run_case "a map of garbage" garbage_map
run_case "a map of garbage behind a good head" garbage_entries
run_case "a map that is too long" long_map
run_case "truncated data" short_data
run_case "no data" no_data
run_case "a map of another file" foreign_map
run_case "data cut while it is open" cut_while_open
run_case "the directory is removed" no_directory
end_cases
