#!/usr/bin/env bash
# Unmounting while models are fetched and unpacked ends in time, and what had
# come is there afterwards.
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 --size 12000000 >/dev/null
make_wheel xx_ent_wiki_sm 3.8.0 --size 12000000 >/dev/null
extract en_core_web_sm 3.8.0 "$tmp/want"
extract xx_ent_wiki_sm 3.8.0 "$tmp/want"
MLC_UNMOUNT_SECONDS=5

for at in 100000 3000000 9000000; do
    mount_spacy
    set_faults "{\"match\": \"whl\", \"stall_body_at\": $at, \"stall\": -1}"
    readers=()
    for name in en_core_web_sm xx_ent_wiki_sm; do
        cat "$spacy/$name/$name-3.8.0/tokenizer" \
            "$spacy/$name/$name-3.8.0/vocab/strings.json" >/dev/null 2>&1 &
        readers+=($!)
    done
    wait_requests --path 'xx_ent.*whl' --count 3 || fail "no request"
    unmount "$mnt"
    wait "${readers[@]}" || true
    clear_faults
done
mount_spacy
for name in en_core_web_sm xx_ent_wiki_sm; do
    assert_same_tree "$tmp/want/$name" "$spacy/$name"
done
unmount "$mnt"
