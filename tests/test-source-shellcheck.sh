#!/usr/bin/env bash
# Shell scripts pass shellcheck.
# timeout: 600
. "${srcdir:-.}/tests/functions.sh"
requires_command shellcheck

cd "$srcdir"
find . \( -name .git -o -path './build*' \) -prune -o -type f \
    \( -name '*.sh' -o -path ./setup -o -path ./tests/run -o -path ./.ci/run \) \
    -print0 | xargs -0 -r -n 8 -P 2 shellcheck --external-sources
