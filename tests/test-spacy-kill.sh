#!/usr/bin/env bash
# kill -9 while a model is fetched and unpacked: no file is ever served in part,
# and what had come is not fetched again.
. "${srcdir:-.}/tests/spacy.sh"

wheel=$(make_wheel en_core_web_sm 3.8.0 --size 12000000)
extract en_core_web_sm 3.8.0 "$tmp/want"
data=$spacy/en_core_web_sm/en_core_web_sm-3.8.0
all_of() { # FOLDER: every regular file in it is the wheel's
    (cd "$1" && find . -type f) | while read -r path; do
        assert_same "$tmp/want/en_core_web_sm/$path" "$1/$path"
    done
}

mount_spacy
set_faults '{"match": "whl", "stall_body_at": 7000000, "stall": -1}'
timeout 20 cat "$data/tokenizer" >/dev/null &
reader=$!
# Some files are at home, and more than half of the wheel is on disk.
came() {
    [ "$(find "$store/spacy/en_core_web_sm" -type f 2>/dev/null | wc -l)" -ge 3 ] &&
        [ "$(du -s -B1 "$store/.mlcachefs/objects" | cut -f1)" -ge 6300000 ]
}
wait_until 20 came || true
kill_daemon "$mnt"
cp -a "$store/.mlcachefs/objects" "$tmp/objects"
wait "$reader" 2>/dev/null || true
clear_faults
[ ! -d "$store/spacy/en_core_web_sm" ] || all_of "$store/spacy/en_core_web_sm"

before=$(wheel_bytes)
mount_spacy
assert_same_tree "$tmp/want/en_core_web_sm" "$spacy/en_core_web_sm"
[ $(($(wheel_bytes) - before)) -lt 7000000 ] ||
    fail "it began anew: $(($(wheel_bytes) - before)) bytes"
wait_until 20 is_home en_core_web_sm 3.8.0
wait_until 10 no_leftovers
unmount "$mnt"
assert_same_tree "$tmp/want/en_core_web_sm" "$store/spacy/en_core_web_sm"

# Killed when all files were at home, and the wheel's own bytes still there.
cp -a "$tmp/objects" "$store/.mlcachefs/"
wheel_is_gone() {
    [ -z "$(find "$store/.mlcachefs/objects" -size "$(stat -c %s "$wheel")c")" ]
}
! wheel_is_gone || fail "nothing to tidy up"
mount_spacy
cat "$data/config.cfg" >/dev/null
wait_until 10 wheel_is_gone
unmount "$mnt"
