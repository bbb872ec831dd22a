#!/usr/bin/env bash
# A bad wheel is an error of its own model, says why in one line, puts nothing
# anywhere, and is no obstacle to other models.
# tap
. "${srcdir:-.}/tests/spacy.sh"

make_wheel xx_ent_wiki_sm 3.8.0 >/dev/null
extract xx_ent_wiki_sm 3.8.0 "$tmp/want"
model=$spacy/en_core_web_sm
data=$model/en_core_web_sm-3.8.0

begin() { # OPTION...
    make_wheel en_core_web_sm 3.8.0 "$@" >/dev/null
    : >"$tmp/daemon.log"
    mount_spacy
}

finish() { # how many lines the log has of it
    assert_equal "lines in the log" 1 \
        "$(grep -c en_core_web_sm-3.8.0 "$tmp/daemon.log")"
    [ -d "$data" ] || fail "no directory any more"
    assert_same_tree "$tmp/want/xx_ent_wiki_sm" "$spacy/xx_ent_wiki_sm"
    unmount "$mnt"
    assert_absent "$store/evil"
    assert_absent /tmp/evil
    assert_absent "$store/spacy/evil"
    rm -rf "$store"
}

# Nothing of it can be believed.
whole() { # OPTION...
    begin "$@"
    assert_error "Input/output error" ls "$data"
    assert_error "Input/output error" cat "$model/__init__.py"
    assert_error "Input/output error" cat "$data/ner/model"
    finish
    assert_absent "$store/spacy/en_core_web_sm"
}

# One file can't; the others can.
one() { # FILE OPTION...
    local file=$1
    shift
    begin "$@"
    head -c 1 "$data/tokenizer" >/dev/null
    assert_error "Input/output error" cat "$data/$file"
    assert_error "Input/output error" cat "$data/$file"
    cat "$data/vocab/strings.json" "$data/ner/moves" >/dev/null
    wait_until 10 no_leftovers
    assert_absent "$store/spacy/en_core_web_sm/en_core_web_sm-3.8.0/$file"
    finish
}

for fault in truncated no-end html prefix junk encrypted method usize-small \
    overlap offset fifo symlink traversal absolute file-and-folder twice \
    other-top data-dir no-meta no-record record-size record-missing-line \
    record-extra-line record-algorithm; do
    run_case "$fault" whole --fault "$fault"
done
for fault in flipped crc record-hash; do
    run_case "$fault" one ner/model --fault "$fault"
done
run_case "other-version" one meta.json --fault other-version
run_case "empty" whole --fault empty
end_cases
