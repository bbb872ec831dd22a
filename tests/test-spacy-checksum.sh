#!/usr/bin/env bash
# A wheel that is right in itself and yet not the one that was released is found
# out when all of it is here, and nothing of it stays.
# tap
. "${srcdir:-.}/tests/spacy.sh"

make_wheel xx_ent_wiki_sm 3.8.0 >/dev/null
extract xx_ent_wiki_sm 3.8.0 "$tmp/other"
make_wheel en_core_web_sm 3.8.0 --size 4000000 >/dev/null
extract en_core_web_sm 3.8.0 "$tmp/want"
model=$spacy/en_core_web_sm
data=$model/en_core_web_sm-3.8.0
meta=$models/meta/en_core_web_sm-3.8.0.json
cp "$meta" "$tmp/meta.json"

# fresh COMMAND...: whatever the case before left behind.
fresh() {
    cp "$tmp/meta.json" "$meta"
    clear_faults
    rm -rf "$store"
    : >"$tmp/daemon.log"
    origin_log clear
    "$@"
}

sum_requests() {
    count_requests --path '/meta/en_core_web_sm'
}
complaints() {
    grep -c 'sha256 that spaCy published' "$tmp/daemon.log" || true
}
is_loaded() {
    is_home en_core_web_sm 3.8.0 && no_leftovers
}
is_gone() {
    [ "$(complaints)" = 1 ] &&
        [ -z "$(find "$store/spacy/en_core_web_sm" -type f)" ] && no_leftovers
}

right() {
    mount_spacy
    read_all "$data"
    wait_until 20 is_loaded
    assert_equal "requests for the sum" 1 "$(sum_requests)"
    assert_equal "complaints" 0 "$(complaints)"
    assert_same_tree "$tmp/want/en_core_web_sm" "$model"
    unmount "$mnt"
}

falsify() {
    sed -i -E "s/(\"checksum_whl\": \")[0-9a-f]+/\1$(sha256sum </dev/null |
        cut -d ' ' -f 1)/" "$meta"
}

wrong() {
    falsify
    mount_spacy
    read_all "$data" || true
    wait_until 20 is_gone
    assert_error "Input/output error" cat "$data/ner/model"
    [ -d "$data" ] || fail "no directory any more"
    assert_same_tree "$tmp/other/xx_ent_wiki_sm" "$spacy/xx_ent_wiki_sm"
    unmount "$mnt"
}

# Killed between the last file's coming home and the comparison.
killed() {
    falsify
    set_faults '{"match": "/meta/", "stall_headers": -1}'
    mount_spacy
    read_all "$data"
    wait_until 20 is_home en_core_web_sm 3.8.0
    wait_until 20 is_whole
    kill_daemon "$mnt"
    clear_faults
    mount_spacy
    ls "$data" >/dev/null
    wait_until 20 is_gone
    unmount "$mnt"
}
is_whole() { # no hole is left
    local size file
    size=$(stat -c %s "$(wheel_of en_core_web_sm 3.8.0)")
    file=$(find "$store/.mlcachefs/objects" -size "${size}c")
    [ -n "$file" ] && [ $(($(stat -c %b "$file") * 512)) -ge "$size" ]
}

# The origin has a new wheel, and another sum.
is_new() {
    diff -r "$tmp/new/en_core_web_sm" "$model" >/dev/null 2>&1
}
replaced() {
    mount_spacy
    read_all "$data"
    wait_until 20 is_loaded
    rm -r "$model"
    make_wheel en_core_web_sm 3.8.0 --size 3000000 >/dev/null
    touch -d tomorrow "$(wheel_of en_core_web_sm 3.8.0)"
    rm -rf "$tmp/new"
    extract en_core_web_sm 3.8.0 "$tmp/new"
    cat "$data/ner/model" >/dev/null 2>&1 || true
    wait_until 20 is_new
    wait_until 20 is_loaded
    assert_equal "complaints" 0 "$(complaints)"
    unmount "$mnt"
}

# It says nothing of the wheel.
silent() { # FAULT
    set_faults "{\"match\": \"/meta/\", $1}"
    mount_spacy timeout=seconds=4
    read_all "$data"
    wait_until 30 is_loaded
    assert_equal "complaints" 0 "$(complaints)"
    unmount "$mnt"
}

useless() { # TEXT
    echo "$1" >"$meta"
    silent '"times": 0'
}

run_case "right" fresh right
run_case "wrong" fresh wrong
run_case "killed before" fresh killed
run_case "none" fresh silent '"status": 404'
run_case "unreachable" fresh silent '"close": true'
run_case "no JSON" fresh useless "<html>"
run_case "no sum" fresh useless '{"checksum": 1}'
run_case "no digest" fresh useless '{"checksum_whl": "123"}'
run_case "replaced" fresh replaced
end_cases
