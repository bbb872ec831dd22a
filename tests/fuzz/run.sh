#!/usr/bin/env bash
# Fuzzing of the parsers, with clang's libFuzzer.
#
#   tests/fuzz/run.sh build BUILD [NAME...]   makes the programs in BUILD
#   tests/fuzz/run.sh run BUILD NAME          runs BUILD/tests/fuzz/fuzz-NAME
#
# BUILD was configured with CC=clang and
# --enable-sanitize=fuzzer-no-link,address,undefined.  A run takes
# MLC_FUZZ_SECONDS (60), and begins with what the unit tests that the source
# names ("seeds: TEST...") leave in MLC_FUZZ_SEEDS (tests/fuzz/seed.h).  Status
# 0: nothing was found; else the log has the input, in base64 if it is short.
set -euo pipefail

srcdir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export srcdir

# seeders NAME...: the unit tests, as make calls them.
seeders() {
    local name
    for name; do
        sed -n 's,^/\* seeds: \(.*\) \*/$,\1,p' \
            "$srcdir/tests/fuzz/fuzz-$name.c"
    done | tr ' ' '\n' | sed 's,^,tests/,' | sort -u
}

build() { # BUILD [NAME...]
    local dir=$1 targets
    shift
    mapfile -t targets < <(seeders "$@")
    make -s -C "$dir" -j"$(nproc)" "${targets[@]}"
    make -s -C "$dir" -j"$(nproc)" fuzz
}

run() { # BUILD NAME
    local tmp test
    tmp=$(mktemp -d "${TMPDIR:-/tmp}/mlc-fuzz.XXXXXX")
    # shellcheck disable=SC2064  # now: tmp is local
    trap "rm -rf '$tmp'" EXIT
    mkdir "$tmp/found" "$tmp/seeds"
    for test in $(seeders "$2"); do
        MLC_FUZZ_SEEDS=$tmp/seeds "$1/$test" >"$tmp/log" 2>&1 || {
            cat "$tmp/log"
            return 1
        }
    done
    "$1/tests/fuzz/fuzz-$2" -max_total_time="${MLC_FUZZ_SECONDS:-60}" -seed=1 \
        -max_len=65536 -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$tmp/" "$tmp/found" "$tmp/seeds"
}

command=$1
shift
"$command" "$@"
