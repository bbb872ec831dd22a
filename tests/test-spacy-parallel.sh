#!/usr/bin/env bash
# Eight processes that load a model at the same time cost one transfer.
# tsan
. "${srcdir:-.}/tests/spacy.sh"

wheel=$(make_wheel en_core_web_sm 3.8.0 --size 8000000)
extract en_core_web_sm 3.8.0 "$tmp/want"
mount_spacy
pids=()
for _ in 1 2 3 4 5 6 7 8; do
    diff -r "$tmp/want/en_core_web_sm" "$spacy/en_core_web_sm" &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "a reader got something else"
done
size=$(stat -c %s "$wheel")
[ "$(wheel_bytes)" -le $((size * 105 / 100)) ] ||
    fail "$(wheel_bytes) bytes of a wheel of $size"
wait_until 10 is_home en_core_web_sm 3.8.0
wait_until 10 no_leftovers
unmount "$mnt"
