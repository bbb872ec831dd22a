#!/usr/bin/env bash
# Versions of a model stand side by side; spacy_version= says whose files stand
# directly in the model's folder.
. "${srcdir:-.}/tests/spacy.sh"

for version in 3.8.0 3.7.1; do
    make_wheel en_core_web_sm "$version" >/dev/null
    touch -d "2024-0${version:2:1}-01" "$(wheel_of en_core_web_sm "$version")"
    extract en_core_web_sm "$version" "$tmp/$version"
done
model=$spacy/en_core_web_sm
mount_spacy
for version in 3.7.1 3.8.0; do
    assert_same_tree "$tmp/$version/en_core_web_sm/en_core_web_sm-$version" \
        "$model/en_core_web_sm-$version"
done
assert_same "$tmp/3.8.0/en_core_web_sm/meta.json" "$model/meta.json"
assert_equal "listed" \
    "__init__.py en_core_web_sm-3.7.1 en_core_web_sm-3.8.0 meta.json" \
    "$(names_in "$model")"
wait_until 10 is_home en_core_web_sm 3.8.0
wait_until 10 no_leftovers
unmount "$mnt"

mount_spacy spacy_version=3.7
assert_exists "$spacy/en_core_web_sm-3.7.1.dist-info"
assert_absent "$spacy/en_core_web_sm-3.8.0.dist-info"
assert_same "$tmp/3.7.1/en_core_web_sm/meta.json" "$model/meta.json"
assert_same_tree "$tmp/3.8.0/en_core_web_sm/en_core_web_sm-3.8.0" \
    "$model/en_core_web_sm-3.8.0"
unmount "$mnt"
mount_spacy
assert_same "$tmp/3.8.0/en_core_web_sm/meta.json" "$model/meta.json"
unmount "$mnt"
for bad in 3 3.8.0 x 3. ''; do
    assert_refused "spacy_version" "$store" "$mnt" -o "spacy_version=$bad"
done
