#!/usr/bin/env bash
# Deleting is evicting: a model's tree goes with all that is kept for it, comes
# again when it is asked for, and removing every model costs next to nothing.
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 >/dev/null
make_wheel en_core_web_sm 3.7.1 >/dev/null
extract en_core_web_sm 3.8.0 "$tmp/want"
model=$spacy/en_core_web_sm
bytes_kept() {
    du -sb --apparent-size "$store/spacy/en_core_web_sm" 2>/dev/null |
        cut -f1
}

mount_spacy
read_all "$model/en_core_web_sm-3.8.0" "$model/en_core_web_sm-3.7.1"
wait_until 10 is_home en_core_web_sm 3.8.0
wait_until 10 no_leftovers
rm "$model/en_core_web_sm-3.8.0/ner/model"
assert_absent "$store/spacy/en_core_web_sm/en_core_web_sm-3.8.0/ner/model"
assert_same "$tmp/want/en_core_web_sm/en_core_web_sm-3.8.0/ner/model" \
    "$model/en_core_web_sm-3.8.0/ner/model"
rm -r "$model"
assert_absent "$store/spacy/en_core_web_sm"
wait_until 10 no_leftovers
assert_absent "$store/.mlcachefs/spacy/index/en_core_web_sm-3.8.0"
[ -d "$model" ] || fail "it is still in the table"
assert_same_tree "$tmp/want/en_core_web_sm/en_core_web_sm-3.8.0" \
    "$model/en_core_web_sm-3.8.0"
# In the middle of a load.
rm -r "$model/en_core_web_sm-3.7.1" 2>/dev/null || true
set_faults '{"match": "whl", "stall_body_at": 100000, "stall": -1}'
timeout 20 cat "$model/en_core_web_sm-3.7.1/ner/model" >/dev/null &
reader=$!
wait_requests --path '3\.7\.1.*whl' --count 6 || true
rm -r "$model"
clear_faults
touch "$origin_root/release"
wait "$reader" || true
unmount "$mnt"
rm -rf "$store"

for name in ca_core_news_lg ca_core_news_md ca_core_news_sm; do
    make_wheel "$name" 3.8.0 --size 1000 >/dev/null
done
# As dgenerate does for a spaCy that is newer than the table.
mount_spacy
before=$(count_requests)
"$python" - "$spacy" <<'EOS'
import os, shutil, sys
root = sys.argv[1]
for name in os.listdir(root):
    path = os.path.join(root, name)
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.remove(path)
EOS
after=$(count_requests)
[ $((after - before)) -le 20 ] || fail "$((after - before)) requests"
assert_exists "$spacy/compatibility.json"
[ -d "$model/en_core_web_sm-3.8.0" ] || fail "models are always there"
assert_same "$tmp/want/en_core_web_sm/meta.json" "$model/meta.json"
assert_same_tree "$tmp/want/en_core_web_sm/en_core_web_sm-3.8.0" \
    "$model/en_core_web_sm-3.8.0"
unmount "$mnt"
