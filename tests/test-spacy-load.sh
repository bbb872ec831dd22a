#!/usr/bin/env bash
# A model is read whole for hardly more than its wheel's bytes, is then at home
# in the store as dgenerate would have extracted it, and needs nobody any more.
. "${srcdir:-.}/tests/spacy.sh"

wheel=$(make_wheel en_core_web_sm 3.8.0 --size 8000000)
extract en_core_web_sm 3.8.0 "$tmp/want"
model=$spacy/en_core_web_sm
data=$model/en_core_web_sm-3.8.0

mount_spacy
# What only tells of the model does not bring the rest.
cat "$model/__init__.py" "$data/config.cfg" "$data/meta.json" >/dev/null
[ "$(wheel_bytes)" -le 1000000 ] || fail "$(wheel_bytes) bytes for three small files"
# One of the model's own brings it all, and is not waited for.
assert_same "$tmp/want/en_core_web_sm/en_core_web_sm-3.8.0/tokenizer" \
    "$data/tokenizer"
wait_until 20 is_home en_core_web_sm 3.8.0
assert_same_tree "$tmp/want/en_core_web_sm" "$model"
size=$(stat -c %s "$wheel")
[ "$(wheel_bytes)" -le $((size * 105 / 100)) ] ||
    fail "$(wheel_bytes) bytes of a wheel of $size"
wait_until 10 no_leftovers
assert_equal "state" cached \
    "$(getfattr --absolute-names --only-values -n user.mlcachefs.state \
        "$data/tokenizer")"
before=$(stat -c '%n %s %Y %i' "$data/ner/model" "$model/__init__.py")
unmount "$mnt"
assert_same_tree "$tmp/want/en_core_web_sm" "$store/spacy/en_core_web_sm"
assert_exists "$store/spacy/compatibility.json"

requests=$(wheel_requests)
mount_spacy offline
assert_same_tree "$tmp/want/en_core_web_sm" "$model"
assert_equal "times and numbers stay" "$before" \
    "$(stat -c '%n %s %Y %i' "$data/ner/model" "$model/__init__.py")"
assert_absent "$data/vocab/keys"
unmount "$mnt"
stop_origin
mount_spacy
assert_same_tree "$tmp/want/en_core_web_sm" "$model"
assert_absent "$data/vocab/keys"
assert_equal "requests" "$requests" "$(wheel_requests)"
unmount "$mnt"
