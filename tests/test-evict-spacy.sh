#!/usr/bin/env bash
# A spaCy model is evicted as a whole, so that what uses the store without the
# mount never takes a part of one for all of it.
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 --size 4000000 >/dev/null
make_wheel de_core_news_sm 3.8.0 --size 4000000 >/dev/null
extract en_core_web_sm 3.8.0 "$tmp/want"
extract de_core_news_sm 3.8.0 "$tmp/want"

# load NAME: until all of it is at home.
load() {
    assert_same_tree "$tmp/want/$1/$1-3.8.0" "$spacy/$1/$1-3.8.0"
    cat "$spacy/$1/__init__.py" "$spacy/$1/meta.json" >/dev/null
}
is_gone() {
    ! [ -e "$store/spacy/$1" ]
}

mount_spacy max_size=5M
load en_core_web_sm
wait_until 20 is_home en_core_web_sm 3.8.0
load de_core_news_sm
wait_until 20 is_home de_core_news_sm 3.8.0
wait_until 20 is_gone en_core_web_sm
assert_match "what is listed" "en_core_web_sm" "$(ls "$spacy")"
load en_core_web_sm
wait_until 20 is_home en_core_web_sm 3.8.0
wait_until 20 is_gone de_core_news_sm

# Not while one of its files is open.
exec 3<"$spacy/en_core_web_sm/en_core_web_sm-3.8.0/tokenizer"
load de_core_news_sm
wait_until 20 is_gone de_core_news_sm
is_home en_core_web_sm 3.8.0 || fail "an open model was evicted"
exec 3<&-
unmount "$mnt"
