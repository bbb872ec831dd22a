#!/usr/bin/env bash
# Names, versions and dist-info of all models are answered without a request,
# also while nobody can be asked.
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 >/dev/null
mount_spacy
ls -l "$spacy" >/dev/null
assert_equal "models of spaCy 3.8" 84 \
    "$(find "$spacy" -mindepth 1 -maxdepth 1 -name '*-3.8.0.dist-info' | wc -l)"
assert_equal "one dist-info a model" \
    "$(find "$spacy" -mindepth 1 -maxdepth 1 -name '*.dist-info' | wc -l)" \
    "$(find "$spacy" -mindepth 1 -maxdepth 1 -name '*.dist-info' |
        sed 's/-[^-]*$//' | sort -u | wc -l)"
info=$spacy/en_core_web_sm-3.8.0.dist-info
assert_equal "in it" "METADATA WHEEL entry_points.txt top_level.txt" \
    "$(names_in "$info")"
assert_equal "entry points" $'[spacy_models]\nen_core_web_sm = en_core_web_sm' \
    "$(cat "$info/entry_points.txt")"
assert_equal "top level" en_core_web_sm "$(cat "$info/top_level.txt")"
assert_match "METADATA" $'Name: en_core_web_sm\nVersion: 3.8.0' \
    "$(cat "$info/METADATA")"
assert_absent "$info/RECORD"
assert_absent "$spacy/en_core_web_sm-3.7.1.dist-info"

model=$spacy/en_core_web_sm
assert_equal "in a model" "__init__.py en_core_web_sm-3.8.0 meta.json" \
    "$(names_in "$model")"
for version in 3.8.0 3.7.1 3.7.0 3.4.1 3.0.0; do
    [ -d "$model/en_core_web_sm-$version" ] || fail "no $version"
done
assert_absent "$model/zh_core_web_sm-3.8.0"
for name in __init__.abi3.so __init__.so __pycache__ anything; do
    assert_absent "$model/$name"
done
assert_absent "$spacy/no_such_thing"
assert_absent "$spacy/.lock"
before=$(stat -c '%y %i' "$model" "$model/en_core_web_sm-3.8.0" "$info")

"$python" - "$spacy/compatibility.json" <<'EOS'
import json, sys
table = json.load(open(sys.argv[1]))
assert len(table["3.8"]) == 84, len(table["3.8"])
assert table["3.8"]["en_core_web_sm"] == ["3.8.0"]
assert table["3.7"]["en_core_web_sm"] == ["3.7.1", "3.7.0"]
assert "3.0.9" in table and "3.0" not in table and "2.3" not in table
EOS
assert_equal "requests" 0 "$(count_requests)"
assert_absent "$model/en_core_web_sm-3.0.9"
assert_equal "requests for wheels" 0 "$(wheel_requests)"
unmount "$mnt"

stop_origin
mount_spacy
ls -l "$spacy" >/dev/null
ls "$model" >/dev/null
cat "$info"/* >/dev/null
assert_equal "times and numbers stay" "$before" \
    "$(stat -c '%y %i' "$model" "$model/en_core_web_sm-3.8.0" "$info")"
assert_equal "nobody can say what it holds" "" \
    "$(names_in "$model/en_core_web_sm-3.8.0")"
[ -d "$model" ] || fail "a model is always a directory"
assert_equal "what can't be looked up isn't listed" en_core_web_sm-3.8.0 \
    "$(names_in "$model")"
ls -lR "$model" >/dev/null
unmount "$mnt"
