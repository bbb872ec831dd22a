#!/usr/bin/env bash
# What dgenerate extracted itself is used as it is, without a request; where it
# was killed while it did that, the rest comes from the wheel.
. "${srcdir:-.}/tests/spacy.sh"

make_wheel en_core_web_sm 3.8.0 >/dev/null
make_wheel xx_ent_wiki_sm 3.8.0 >/dev/null
extract en_core_web_sm 3.8.0 "$tmp/en"
extract xx_ent_wiki_sm 3.8.0 "$tmp/xx"

# All of it, and files of its own.
mkdir -p "$store/spacy/my_own_model"
cp -r "$tmp/en/." "$store/spacy"
echo mine >"$store/spacy/en_core_web_sm/en_core_web_sm-3.8.0/config.cfg"
echo own >"$store/spacy/my_own_model/file"
echo '{"3.8": {"en_core_web_sm": ["3.8.0"], "qq_core_own_sm": ["3.8.0"]}}' \
    >"$store/spacy/compatibility.json"
# A part, as a kill leaves it.
mkdir -p "$store/spacy/xx_ent_wiki_sm/xx_ent_wiki_sm-3.8.0"
cp "$tmp/xx/xx_ent_wiki_sm/xx_ent_wiki_sm-3.8.0/config.cfg" \
    "$store/spacy/xx_ent_wiki_sm/xx_ent_wiki_sm-3.8.0"

mount_spacy
echo mine >"$tmp/en/en_core_web_sm/en_core_web_sm-3.8.0/config.cfg"
(cd "$tmp/en/en_core_web_sm" && find . -type f) | while read -r path; do
    assert_same "$tmp/en/en_core_web_sm/$path" "$spacy/en_core_web_sm/$path"
done
assert_equal "its own" own "$(cat "$spacy/my_own_model/file")"
assert_equal "requests" 0 "$(count_requests)"
[ -d "$spacy/qq_core_own_sm" ] || fail "its table is not read"
"$python" - "$spacy/compatibility.json" <<'EOS'
import json, sys
table = json.load(open(sys.argv[1]))
assert table["3.8"]["qq_core_own_sm"] == ["3.8.0"]
assert len(table["3.8"]) == 85 and "3.7" in table
EOS
assert_same_tree "$tmp/xx/xx_ent_wiki_sm" "$spacy/xx_ent_wiki_sm"
# Somebody writes there: it is theirs, and read back.
echo changed >"$spacy/xx_ent_wiki_sm/xx_ent_wiki_sm-3.8.0/config.cfg"
assert_equal "written" changed \
    "$(cat "$spacy/xx_ent_wiki_sm/xx_ent_wiki_sm-3.8.0/config.cfg")"
assert_error "Operation not permitted" \
    sh -c "echo x >>'$spacy/xx_ent_wiki_sm/xx_ent_wiki_sm-3.8.0/ner/cfg'"
# Locks, compiled modules, and what dgenerate does in between.
mkdir "$spacy/en_core_web_sm/__pycache__"
echo x >"$spacy/en_core_web_sm/__pycache__/__init__.cpython-311.pyc"
echo x >"$spacy/wheel-being-downloaded.whl"
"$python" - "$spacy/.lock" <<'EOS'
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.unlink(sys.argv[1])
assert os.fstat(fd).st_nlink == 0
EOS
rm "$spacy/wheel-being-downloaded.whl"
unmount "$mnt"

# Nobody can say what else there may be: nothing.
rm -r "$store/.mlcachefs/spacy/index"
stop_origin
mount_spacy
for name in vocab/keys config.cfg.bak; do
    assert_error "No such file" stat \
        "$spacy/en_core_web_sm/en_core_web_sm-3.8.0/$name"
done
assert_error "No such file" stat "$spacy/en_core_web_sm/__init__.abi3.so"
[ -d "$spacy/en_core_web_sm/en_core_web_sm-3.8.0" ] || fail "no directory"
unmount "$mnt"
