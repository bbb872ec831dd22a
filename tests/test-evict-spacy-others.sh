#!/usr/bin/env bash
# A model of which somebody else put a part there stays, whatever its files look
# like: what is theirs is not ours to evict, and the rest alone would pass for
# all of it.
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 --size 400000 >/dev/null
make_wheel de_core_news_sm 3.8.0 --size 400000 >/dev/null
theirs=$spacy/en_core_web_sm/en_core_web_sm-3.8.0
ours=$spacy/de_core_news_sm/de_core_news_sm-3.8.0

mount_spacy
read_all "$theirs"
wait_until 20 is_home en_core_web_sm 3.8.0
unmount "$mnt"

# A copy of a store, with all times, one of whose files was lost.
mkdir "$tmp/other"
cp -a "$store/spacy" "$tmp/other/"
store=$tmp/other
rm "$store/spacy/en_core_web_sm/en_core_web_sm-3.8.0/tokenizer"
mount_spacy
read_all "$theirs" "$ours"
wait_until 20 is_home en_core_web_sm 3.8.0
wait_until 20 is_home de_core_news_sm 3.8.0
unmount "$mnt"

is_gone() {
    ! [ -e "$store/spacy/$1" ]
}
mount_spacy max_size=0
wait_until 20 is_gone de_core_news_sm
unmount "$mnt"
is_home en_core_web_sm 3.8.0 || fail "what others put there was evicted"
