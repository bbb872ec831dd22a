#!/usr/bin/env bash
# The origin that all mounted tests speak to answers as the real one does.
. "${srcdir:-.}/tests/functions.sh"

"$python" "$srcdir/tests/origin/test_origin.py"
