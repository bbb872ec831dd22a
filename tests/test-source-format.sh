#!/usr/bin/env bash
# C sources look as clang-format with our .clang-format leaves them.
. "${srcdir:-.}/tests/functions.sh"
requires_command clang-format

cd "$srcdir"
wrong=()
while IFS= read -r -d '' file; do
    clang-format --dry-run -Werror "$file" >/dev/null 2>&1 || wrong+=("$file")
done < <(find fs backends tests \( -name '*.c' -o -name '*.h' \) -print0)
[ ${#wrong[@]} = 0 ] || fail "run: clang-format -i ${wrong[*]}"
