#!/usr/bin/env bash
# A wheel's inside is listed, with sizes, from two requests for less than 100
# kB, which are kept; what the origin does not have is remembered for a while.
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 --size 8000000 >/dev/null
extract en_core_web_sm 3.8.0 "$tmp/want"
model=$spacy/en_core_web_sm
data=$model/en_core_web_sm-3.8.0
sizes() {
    (cd "$1" && find . -type f -printf '%P %s\n' | sort)
}

mount_spacy
assert_equal "sizes" "$(sizes "$tmp/want/en_core_web_sm")" "$(sizes "$model")"
ls -lR "$model" >/dev/null
assert_absent "$data/vocab/keys"
assert_equal "requests" 2 "$(wheel_requests)"
[ "$(wheel_bytes)" -le 100000 ] || fail "$(wheel_bytes) bytes for a listing"
assert_equal "of the day" "$(stat -c %Y "$(wheel_of en_core_web_sm 3.8.0)")" \
    "$(stat -c %Y "$data/ner/model")"
unmount "$mnt"

mount_spacy
assert_equal "sizes" "$(sizes "$tmp/want/en_core_web_sm")" "$(sizes "$model")"
assert_equal "requests after a remount" 2 "$(wheel_requests)"

# Not released, although it is in the table.
[ -d "$spacy/pl_core_news_lg" ] || fail "not in the table"
assert_absent "$spacy/pl_core_news_lg/__init__.py"
assert_absent "$spacy/pl_core_news_lg/pl_core_news_lg-3.8.0/meta.json"
assert_equal "listed" "" "$(names_in "$spacy/pl_core_news_lg/pl_core_news_lg-3.8.0")"
[ -d "$spacy/pl_core_news_lg/pl_core_news_lg-3.8.0" ] || fail "it stays a directory"
assert_equal "asked once" 1 "$(count_requests --path pl_core_news_lg)"

# Refused is not absent.
set_faults '{"match": "xx_ent_wiki", "status": 403}'
assert_error "Input/output error" cat "$spacy/xx_ent_wiki_sm/__init__.py"
[ -d "$spacy/xx_ent_wiki_sm/xx_ent_wiki_sm-3.8.0" ] || fail "not a directory"
unmount "$mnt"

# Nor does a torn file on disk matter.
printf x >"$store/.mlcachefs/spacy/index/en_core_web_sm-3.8.0"
mount_spacy
assert_equal "sizes" "$(sizes "$tmp/want/en_core_web_sm")" "$(sizes "$model")"
unmount "$mnt"
mount_spacy offline
assert_equal "offline, and nothing is here" "" "$(names_in "$data")"
assert_absent "$data/meta.json"
ls -lR "$model" >/dev/null
unmount "$mnt"
