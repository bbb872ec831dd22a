#!/usr/bin/env bash
# The table: what it lacks is waited for once, news are joined, garbage is no
# news, and no row is ever lost.
. "${srcdir:-.}/tests/spacy.sh"

set_clock() {
    echo "$1" >"$tmp/clock.new"
    mv "$tmp/clock.new" "$tmp/clock"
}
table_requests() {
    count_requests --path compatibility
}
mount_clock() {
    mount_spacy "clock_file=$tmp/clock${1:+,$1}"
}
rows() { # MINOR NAME
    "$python" -c 'import json, sys
print(json.load(open(sys.argv[1]))[sys.argv[2]].get(sys.argv[3]))' \
        "$spacy/compatibility.json" "$1" "$2"
}
set_clock 1800000000

# A model that only the origin's table has.
make_wheel zz_core_new_sm 3.8.0 >/dev/null
mount_clock
assert_equal "listed" "" "$(find "$spacy" -maxdepth 1 -name 'zz_*')"
assert_equal "requests of a listing" 0 "$(table_requests)"
assert_absent "$spacy/zz_core_new"
assert_absent "$spacy/package"
assert_equal "not a model's name" 0 "$(table_requests)"
[ -d "$spacy/zz_core_new_sm/zz_core_new_sm-3.8.0" ] || fail "not waited for"
assert_exists "$spacy/zz_core_new_sm-3.8.0.dist-info"
assert_absent "$spacy/yy_core_new_sm"
assert_absent "$spacy/yy_core_new_lg"
assert_equal "requests" 1 "$(table_requests)"
assert_equal "joined" "['3.8.0']" "$(rows 3.8 zz_core_new_sm)"
assert_equal "what was there" "['3.8.0']" "$(rows 3.8 en_core_web_sm)"
assert_equal "what was there" "['3.0.0']" "$(rows 3.0.4 en_core_web_sm)"
unmount "$mnt"
mount_clock
[ -d "$spacy/zz_core_new_sm" ] || fail "forgotten"
assert_absent "$spacy/yy_core_new_sm"
assert_equal "requests of the same day" 1 "$(table_requests)"

# A day later: not changed.
set_clock 1800090000
assert_absent "$spacy/yy_core_new_trf"
assert_equal "requests a day later" 2 "$(table_requests)"
assert_equal "asked whether it changed" 304 \
    "$(origin_log show --path compatibility | tail -n 1 |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["status"])')"

# Rows that vanish stay; a newer minor becomes the one that is shown.
set_clock 1800180000
rm "$models/compatibility.json"
make_wheel ww_core_new_sm 3.10.0 >/dev/null
[ -d "$spacy/ww_core_new_sm" ] || fail "no news"
assert_exists "$spacy/ww_core_new_sm-3.10.0.dist-info"
assert_absent "$spacy/zz_core_new_sm-3.8.0.dist-info"
[ -d "$spacy/zz_core_new_sm/zz_core_new_sm-3.8.0" ] || fail "a row is lost"
assert_equal "what was there" "['3.8.0']" "$(rows 3.8 zz_core_new_sm)"
unmount "$mnt"
mount_clock spacy_version=3.8
assert_exists "$spacy/zz_core_new_sm-3.8.0.dist-info"
[ -d "$spacy/ww_core_new_sm" ] || fail "a row is lost"
unmount "$mnt"

# Garbage.
before=$(md5sum <"$store/.mlcachefs/spacy/table.json")
day=1800300000
garbage() { # WHAT IS SERVED
    printf '%s' "$1" >"$models/compatibility.json"
    day=$((day + 100000))
    set_clock "$day"
    mount_clock
    assert_absent "$spacy/xx_core_new_sm"
    [ -d "$spacy/ww_core_new_sm" ] || fail "a row is lost: $1"
    [ -d "$spacy/en_core_web_sm" ] || fail "a row is lost: $1"
    assert_equal "$1" "['3.8.0']" "$(rows 3.8 en_core_web_sm)"
    unmount "$mnt"
}
for text in '' '<html>Please log in</html>' '[]' '"x"' '{}' '{"spacy": 5}' \
    '{"spacy": {"3.8": []}}' '{"spacy": {"3.8": {"xx_core_new_sm": []}}}' \
    '{"spacy": {"3.8": {"xx_core_new_sm": "3.8.0"}}}' \
    '{"spacy": {"3.8": {"xx_core_new_sm": ["../x", "", "a/b", 5, "3.8\n"]}}}' \
    '{"spacy": {"3.8": {"../xx_core_new_sm": ["3.8.0"], "": ["3.8.0"]}}}'; do
    garbage "$text"
done
garbage "$("$python" -c '
import json
print(json.dumps({"spacy": {"3.8": {f"xx_m{i}_new_sm": ["3.8.0"] for i in range(100000)}}}))')"
for status in 404 429 500; do
    set_faults "{\"match\": \"compatibility\", \"status\": $status}"
    garbage "$status"
done
clear_faults
assert_equal "kept as it was" "$before" \
    "$(md5sum <"$store/.mlcachefs/spacy/table.json")"
! find "$tmp" -name 'x' -newer "$models/compatibility.json" | grep -q . ||
    fail "a name left the store"

# The disk's copy is not believed blindly either.
echo garbage >"$store/.mlcachefs/spacy/table.json"
stop_origin
mount_clock
[ -d "$spacy/en_core_web_sm" ] || fail "the snapshot is always there"
unmount "$mnt"
