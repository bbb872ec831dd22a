#!/usr/bin/env bash
# tap
# A wrong command line is refused: option, value, and what was expected.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
mkdir "$tmp/mnt"
echo not a directory >"$tmp/file"
# What is relative, or empty, must not end elsewhere.
cd "$tmp"

option() { # REGEX OPTION
    assert_refused "^mlcachefs: $1\$" "$tmp/store" "$tmp/mnt" -o "$2"
    assert_absent "$tmp/store"
}

arguments() { # REGEX ARG...
    assert_refused "$@"
}

run_case "unknown option" option "unknown option 'nonsense'.*--help.*" nonsense
run_case "unknown option with a value" \
    option "unknown option 'nonsense'.*--help.*" nonsense=1
run_case "unknown option among others" \
    option "unknown option 'web'.*" offline,web,ro
run_case "TIME: no number" \
    option "timeout=soon: .*soon.*" timeout=soon
run_case "TIME: unknown unit" \
    option "hf_ref_ttl=years=1: .*years.*" hf_ref_ttl=years=1
run_case "TIME: unit twice" \
    option "timeout=seconds=1;seconds=2: .*seconds.*" \
    "timeout=seconds=1;seconds=2"
run_case "TIME: infinite" option "timeout=days=inf: .*inf.*" timeout=days=inf
run_case "TIME: too short" \
    option "timeout=seconds=0: expected a second.*" timeout=seconds=0
run_case "SIZE: no number" \
    option "memory=lots: expected a size.*" memory=lots
run_case "SIZE: unknown unit" option "memory=1X: expected a size.*" memory=1X
run_case "SIZE: negative" option "memory=-1M: expected a size.*" memory=-1M
run_case "SIZE: too large" option "memory=99999999T: .*" memory=99999999T
run_case "SIZE: too small" option "memory=1k: expected 8M at least" memory=1k
run_case "number: zero" \
    option "connections=0: expected a whole number.*" connections=0
run_case "number: a word" \
    option "connections=many: expected a whole number.*" connections=many
run_case "number: missing" \
    option "connections: a value is missing: expected a whole.*" connections
run_case "choice: another word" \
    option "fetch=some: expected one of whole.demand" fetch=some
run_case "flag with a value" \
    option "offline=1: expected no value" offline=1
run_case "URL: another scheme" \
    option "hf_endpoint=ftp://x: expected a URL.*" hf_endpoint=ftp://x
run_case "only: no such domain" \
    option "only=nothing: no such domain.*" only=nothing
run_case "umask: not octal" option "umask=9: expected an octal.*" umask=9
run_case "uid: a name" option "uid=root: expected a numeric id" uid=root
run_case "unknown flag" arguments "unknown option '-x'" \
    "$tmp/store" "$tmp/mnt" -x
run_case "-o without a list" arguments "-o needs a list" \
    "$tmp/store" "$tmp/mnt" -o
run_case "no arguments" arguments "no MOUNTPOINT given.*usage"
run_case "too many arguments" arguments "too many arguments: 'three'" \
    one two three
run_case "empty STORE" arguments "STORE is empty" "" "$tmp/mnt"
run_case "no mountpoint" arguments \
    "mountpoint $tmp/none: No such file or directory" \
    "$tmp/store" "$tmp/none"
run_case "empty mountpoint" arguments "MOUNTPOINT is empty" "$tmp/store" ""
run_case "a file as mountpoint" arguments \
    "mountpoint $tmp/file: not a directory" "$tmp/store" "$tmp/file"
run_case "a mountpoint in the foreground" arguments \
    "mountpoint $tmp/none: No such file" "$tmp/store" "$tmp/none" -f
end_cases
