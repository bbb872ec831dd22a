#!/usr/bin/env bash
# --help and mlcachefs(1) name the same options with the same defaults, and
# each goes where it belongs: help to stdout, errors to stderr.
. "${srcdir:-.}/tests/functions.sh"
[ -x "$MLCACHEFS" ] || fail "no $MLCACHEFS: build first"

manual=$srcdir/man/mlcachefs.1

for flag in -h --help; do
    "$MLCACHEFS" "$flag" >"$tmp/help" 2>"$tmp/stderr"
    assert_equal "stderr of $flag" "" "$(cat "$tmp/stderr")"
    assert_match "$flag" "^usage: mlcachefs " "$(cat "$tmp/help")"
done
# Wider than a terminal, or ending in blanks.
assert_equal "lines of --help that do not fit 80 columns" "" \
    "$(grep -nE '^.{80}|[[:blank:]]$' "$tmp/help" || true)"
assert_equal "lines of the manual that do not fit 80 columns" "" \
    "$(grep -nE '^.{81}|[[:blank:]]$' "$manual" || true)"
# It needs no valid surroundings.
HF_ENDPOINT=nonsense "$MLCACHEFS" --help >/dev/null ||
    fail "--help does not work where a variable is malformed"

if [ -w /dev/full ]; then
    print_to_full() {
        "$MLCACHEFS" --help >/dev/full
    }
    assert_error "No space left" print_to_full
fi

for flag in -V --version; do
    assert_match "$flag" "^mlcachefs [0-9][^ ]*$" \
        "$("$MLCACHEFS" "$flag" 2>/dev/null)"
done

# Both as "OPTION[=ARG]", sorted; the manual's from ".It Cm NAME Ns = Ns Ar ARG".
sed -n '/^options:$/,/^$/s/^  \([a-z][^ ]*\).*/\1/p' "$tmp/help" |
    sort >"$tmp/in-help"
sed -n '/^\.Sh MOUNT OPTIONS/,/^\.El/s/^\.It Cm //p' "$manual" |
    sed 's/ Ns / /g; s/ Cm / /g; s/ Ar / /g; s/ //g' | sort >"$tmp/in-manual"
[ -s "$tmp/in-help" ] || fail "no option found in --help"
assert_equal "options in only one of --help (-) and the manual (+)" "" \
    "$(diff -U0 "$tmp/in-help" "$tmp/in-manual" | grep '^[-+][^-+]' || true)"

# Every default of --help, and every variable, stands in the option's entry.
entry_of() { # NAME
    awk -v name="$1" '
        /^\.It / { is_on = $3 == name }
        /^\.El/ { is_on = 0 }
        is_on { print }' "$manual"
}
text=$(sed -n '/^options:$/,/^$/p' "$tmp/help" | tr '\n' ' ' | tr -s ' ' |
    sed 's/ \([a-z_]*=[A-Za-z][A-Za-z|.-]* \)/\n\1/g')
count=0
while read -r name deflt; do
    count=$((count + 1))
    for word in ${deflt//,/ }; do
        case $word in
            else | if | was | given) continue ;;
        esac
        entry_of "$name" | grep -Fq -- "${word#\$}" ||
            fail "the manual does not say that $name defaults to $deflt"
    done
done < <(sed -n 's/^\([a-z_]*\)=.*(default: \([^)]*\)).*/\1 \2/p' <<<"$text")
[ "$count" -ge 5 ] || fail "only $count defaults found in --help"

for flag in f d h V o; do
    grep -q "^\.It Fl $flag" "$manual" || fail "the manual lacks -$flag"
    grep -q -- "-$flag" "$tmp/help" || fail "--help lacks -$flag"
done

# Domains.
sed -n '/^domains:$/,/^$/s/^  \([a-z][^ ]*\).*/\1/p' "$tmp/help" |
    while read -r domain; do
        grep -q "^\.It Pa $domain/" "$manual" ||
            fail "the manual lacks the domain $domain"
    done

# What the manual says it reads is read: each variable of ENVIRONMENT stands in
# the sources, and the other way round.
sed -n '/^\.Sh ENVIRONMENT/,/^\.Sh FILES/s/^\.It Ev //p' "$manual" |
    tr -d ',' | tr ' ' '\n' | grep -v '^Ev$' | sort -u >"$tmp/variables"
while read -r name; do
    grep -rqi "\"$name\"" "$srcdir/fs" "$srcdir/backends" ||
        case $name in
            http_proxy | https_proxy | no_proxy) ;; # curl's own
            *) fail "the manual promises \$$name, which nothing reads" ;;
        esac
done <"$tmp/variables"
grep -rhoE 'getenv\("[A-Z_]+"\)|env\("[A-Z_]+"\)' "$srcdir/fs" \
    "$srcdir/backends" | grep -oE '[A-Z_]{2,}' | sort -u |
    while read -r name; do
        grep -Fqx "$name" "$tmp/variables" ||
            fail "\$$name is read, but not in the manual's ENVIRONMENT"
    done

# The page itself is well-formed.
if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning "$manual"
elif command -v groff >/dev/null; then
    assert_equal "groff's complaints" "" \
        "$(groff -mdoc -Tutf8 -ww -z "$manual" 2>&1 | grep -v "can't find" ||
            true)"
fi
