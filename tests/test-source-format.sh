#!/usr/bin/env bash
# C sources look as clang-format with our .clang-format leaves them.
. "${srcdir:-.}/tests/functions.sh"
requires_command clang-format

cd "$srcdir"
find fs backends tests \( -name '*.c' -o -name '*.h' \) -print0 |
    xargs -0 -r clang-format --dry-run -Werror
