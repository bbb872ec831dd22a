#!/usr/bin/env bash
# What may go wrong on the way: it is an error for who waits, in time, with the
# right errno, and the next try works.
# timeout: 600
# tap
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 --size 4000000 >/dev/null
extract en_core_web_sm 3.8.0 "$tmp/want"
model=$spacy/en_core_web_sm
data=$model/en_core_web_sm-3.8.0
good() {
    assert_same_tree "$tmp/want/en_core_web_sm" "$model"
}
end() {
    clear_faults
    unmount "$mnt"
    rm -rf "$store"
}

# An error while the index is asked for; then it is there.
index_fails() { # FAULT ERROR
    mount_spacy timeout=seconds=4
    set_faults "{\"match\": \"whl\", $1}"
    assert_error "$2" cat "$model/meta.json"
    clear_faults
    wait_until 20 cat "$model/meta.json" >/dev/null
    good
    end
}

# An error while bytes are; the index is known.
bytes_fail() { # FAULT ERROR
    mount_spacy timeout=seconds=2
    ls "$data" >/dev/null
    set_faults "{\"match\": \"whl\", $1}"
    assert_error "$2" cat "$data/vocab/strings.json"
    clear_faults
    wait_until 20 cat "$data/vocab/strings.json" >/dev/null
    wait_until 20 good
    end
}

# Only the way is odd: all is well.
passes() { # FAULT
    mount_spacy
    ls "$data" >/dev/null
    set_faults "{\"match\": \"whl\", $1}"
    good
    end
}

slow() {
    mount_spacy timeout=seconds=3
    ls "$data" >/dev/null
    # In 12 steps of a second: no second passes without a byte for long.
    set_faults "$("$python" -c '
import json
print(json.dumps([{"match": "whl", "times": 1, "stall_body_at": 100000 + 150000 * i,
                   "stall": 2, "truncate_at": 300000 + 150000 * i} for i in range(5)]))')"
    assert_same "$tmp/want/en_core_web_sm/en_core_web_sm-3.8.0/tok2vec/model" \
        "$data/tok2vec/model"
    end
}

expired() {
    spacy_urls=spacy_compat_url=$web/spacy-models/compatibility.json
    spacy_urls+=,spacy_download_url=$web/_/away/releases
    mount_spacy
    ls "$data" >/dev/null
    set_faults '[{"server": "cdn", "match": "whl", "times": 1, "truncate_at": 700000},
        {"server": "cdn", "match": "whl", "times": 1, "status": 403}]'
    good
    end
}

replaced() {
    mount_spacy
    ls "$data" >/dev/null
    cat "$data/config.cfg" >/dev/null
    wait_until 10 test -e "$store/spacy/en_core_web_sm/en_core_web_sm-3.8.0/config.cfg"
    make_wheel en_core_web_sm 3.8.0 --size 3000000 >/dev/null
    touch -d tomorrow "$(wheel_of en_core_web_sm 3.8.0)"
    rm -rf "$tmp/want"
    extract en_core_web_sm 3.8.0 "$tmp/want"
    cat "$data/ner/model" >/dev/null 2>&1 || true
    wait_until 20 good
    unmount "$mnt"
    rm -rf "$store"
}

deleted() {
    mount_spacy
    read_all "$data"
    wait_until 10 is_home en_core_web_sm 3.8.0
    rm "$(wheel_of en_core_web_sm 3.8.0)"
    good
    unmount "$mnt"
    mount_spacy
    good
    unmount "$mnt"
    rm -rf "$store"
}

run_case "index: 403" index_fails '"status": 403' "Input/output error"
run_case "index: 500" index_fails '"status": 500' "Input/output error"
run_case "index: closed" index_fails '"close": true' "Input/output error"
run_case "index: ranges ignored" index_fails '"ignore_range": true' \
    "Input/output error"
run_case "index: another range" index_fails '"wrong_range": 5' \
    "Input/output error"
run_case "index: redirected to nowhere" index_fails \
    '"redirect": "http://127.0.0.1:1/x"' "Input/output error"
run_case "index: redirected in circles" index_fails \
    "\"redirect\": \"$web/releases/en_core_web_sm-3.8.0/en_core_web_sm-3.8.0-py3-none-any.whl\"" \
    "Input/output error"
run_case "bytes: 403" bytes_fail '"status": 403' "Input/output error"
run_case "bytes: 503" bytes_fail '"status": 503' "strings.json"
run_case "bytes: silence" bytes_fail '"stall_headers": -1' "timed out"
run_case "bytes: stalled" bytes_fail '"stall_body_at": 100, "stall": -1' \
    "Input/output error"
run_case "bytes: ranges ignored" passes '"ignore_range": true'
run_case "bytes: cut" passes '"times": 3, "truncate_at": 300000'
run_case "slow, but not silent" slow
run_case "a signed URL that expires" expired
run_case "replaced at the origin" replaced
run_case "deleted at the origin" deleted
end_cases
