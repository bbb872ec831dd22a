#!/usr/bin/env bash
# What an earlier run left is believed piece by piece, and damage is repaired.
# tap
. "${srcdir:-.}/tests/fetch.sh"

mib=24
serve -- big.bin="${mib}M"

# Leaves a file of which the first 16 MiB are there, and its $data and $map.
interrupted() {
    local objects
    set_faults '[{"server": "cdn", "stall_body_at": 16777216, "stall": -1}]'
    case_store=$tmp/store.$BASHPID
    mount_ready "$case_store" "$mnt" timeout=seconds=30
    reader at "$source/big.bin" "$files/big.bin" 0:16777216
    unmount "$mnt"
    clear_faults
    origin_log clear
    objects=$case_store/.mlcachefs/objects
    data=$(echo "$objects"/*.data)
    map=${data%.data}.map
    [ -s "$map" ] || fail "nothing was left: $(ls "$objects")"
}

# resumes LEAST MOST: the whole is right; so many MiB came.
resumes() {
    local sent
    mount_ready "$case_store" "$mnt"
    reader many 1 "$source/big.bin" "$files/big.bin"
    sent=$(body_bytes --server cdn)
    echo "sent $sent"
    [ "$sent" -ge $(($1 << 20)) ] || fail "only $sent bytes came"
    assert_at_most "bytes sent" $(($2 << 20)) "$sent"
    unmount "$mnt"
}

poke() { # FILE OFFSET TEXT
    printf %s "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

untouched() {
    interrupted
    resumes 8 9
}

flipped() {
    interrupted
    poke "$data" 5000000 wrong
    resumes 8 10
}

short_map() {
    interrupted
    truncate -s 4200 "$map"
    resumes 8 24
}

empty_map() {
    interrupted
    : >"$map"
    resumes 24 25
}

garbage_map() {
    interrupted
    head -c 5000 "$source/big.bin" >"$map"
    resumes 24 25
}

# Hashes that nothing on disk has.
garbage_entries() {
    interrupted
    "$python" - "$map" <<'EOS'
import os, random, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(4096)
    f.write(random.Random(3).randbytes(8 * 96))
EOS
    resumes 24 25
}

long_map() {
    interrupted
    head -c 1000000 /dev/zero | tr '\0' 'x' >>"$map"
    resumes 8 24
}

short_data() {
    interrupted
    truncate -s 1000000 "$data"
    resumes 24 25
}

no_data() {
    interrupted
    rm "$data"
    resumes 24 25
}

# Of another file, whose name is in it.
foreign_map() {
    interrupted
    poke "$map" 40 "xx/0123"
    resumes 24 25
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
end_cases
