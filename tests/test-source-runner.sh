#!/usr/bin/env bash
# The runner calls a failure a failure, whatever way a test goes wrong.
. "${srcdir:-.}/tests/functions.sh"

# write NAME LINE...: a test for the runner.
write() {
    {
        printf '%s\n' "#!/usr/bin/env bash"
        printf '%s\n' "${@:2}"
    } >"$tmp/test-$1.sh"
}

# closing WANTED NAME...: the runner's last line on these tests.
closing() {
    local wanted=$1 name said
    local -a tests=()
    shift
    for name; do
        tests+=("$tmp/test-$name.sh")
    done
    said=$(env -u MLC_MUST_WORK "$srcdir/tests/run" "${tests[@]}" 2>&1 |
        tail -n 1) || true
    assert_equal "the closing line for $*" "$wanted" "$said"
}

# shellcheck disable=SC2016  # the tests expand it
functions='. "$srcdir/tests/functions.sh"'
write pass "$functions" 'assert_equal one 1 1'
write fail "$functions" 'assert_equal one 1 2'
write skip "$functions" 'skip "as planned"'
write hang '# timeout: 1' "$functions" 'wait_until 60 false'
# shellcheck disable=SC2016
write unset "$functions" 'echo "$no_such_variable"'
write cases '# tap' "$functions" \
    'broken() { false; true; }' \
    'run_case good true' 'run_case bad broken' 'run_case none skip here' \
    'end_cases'
write ended-early '# tap' "$functions" 'run_case good true' 'exit 3'
write serial '# serial' "$functions"

closing '1 passed, 0 failed, 0 skipped' pass
closing '0 passed, 1 failed, 0 skipped' fail
closing '0 passed, 0 failed, 1 skipped' skip
closing '0 passed, 1 failed, 0 skipped' hang
closing '0 passed, 1 failed, 0 skipped' unset
closing '1 passed, 1 failed, 1 skipped' cases
closing '1 passed, 1 failed, 0 skipped' ended-early
closing '2 passed, 2 failed, 1 skipped' pass fail skip hang serial
assert_error failed "$srcdir/tests/run" "$tmp/test-fail.sh"
assert_error 'failed' env MLC_MUST_WORK=1 "$srcdir/tests/run" \
    "$tmp/test-skip.sh"
