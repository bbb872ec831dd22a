#!/usr/bin/env bash
# Wheels that are unusual but right: stored, zip64, data descriptors, RECORD in
# front, very small, longer lists of files; over a redirect to another host.
# tap
. "${srcdir:-.}/tests/spacy.sh"

try() { # OPTION...
    make_wheel en_core_web_sm 3.8.0 "$@" >/dev/null
    extract en_core_web_sm 3.8.0 "$tmp/want"
    mount_spacy
    assert_same_tree "$tmp/want/en_core_web_sm" "$spacy/en_core_web_sm"
    wait_until 10 is_home en_core_web_sm 3.8.0
    wait_until 10 no_leftovers
    unmount "$mnt"
    rm -rf "$store" "$tmp/want"
}

many() {
    mkdir -p "$tmp/many/vocab"
    for ((i = 0; i < 3000; i++)); do
        echo "$i" >"$tmp/many/file-with-a-rather-long-name-$i"
    done
    echo x >"$tmp/many/config.cfg"
    echo '{"lang": "en", "name": "core_web_sm", "version": "3.8.0"}' \
        >"$tmp/many/meta.json"
    try --from "$tmp/many"
}

elsewhere() {
    spacy_urls=spacy_compat_url=$web/spacy-models/compatibility.json
    spacy_urls+=,spacy_download_url=$web/_/away/releases
    try
}

run_case "plain" try
run_case "stored" try --stored
run_case "zip64" try --zip64
run_case "data descriptors" try --descriptors
run_case "RECORD first" try --record-first --size 3000000
run_case "small" try --size 1000
run_case "of one piece" try --size 200000
run_case "many files" many
run_case "redirected" elsewhere
end_cases
