# shellcheck shell=bash
# shellcheck disable=SC2154  # top, packages_build: setup's
# What `./setup check` does.  Sourced by setup, whose functions it uses.
#
# Stages, in order.  Each test's name is STAGE/TEST, which --only is matched
# against; builds are made only for stages of which something is to run.
#
#   build   gcc, warnings are errors
#   unit    cmocka programs
#   source  the sources themselves: format, shell scripts, layering
#   mount   scripts against a real mount of that build
#   client  the same, with Python libraries in virtual environments
#   asan    unit and mount again, under AddressSanitizer and UBSan
#   tsan    unit and tests of parallel readers under ThreadSanitizer (clang)
#   clang   a clang build, warnings are errors
#   fuzz    each parser of tests/fuzz for a minute, all at once
#   dist    make distcheck: the tarball is whole, and builds and installs

quick_stages=(build unit source mount)
all_stages=("${quick_stages[@]}" client asan tsan clang fuzz dist)

check() {
    local stage failed=0 only=''
    local -a stages=("${all_stages[@]}")
    while [ $# -gt 0 ]; do
        case $1 in
            --only)
                [ $# -ge 2 ] || die "--only needs a pattern"
                only=$2
                shift
                ;;
            --quick) stages=("${quick_stages[@]}") ;;
            *) die "check: what is '$1'?" ;;
        esac
        shift
    done

    # In CI a test that can't run is a failure, not a line to overlook.
    if [ "${CI:-}" = true ]; then
        export MLC_MUST_WORK=1
    fi
    install_missing "${packages_build[@]}" "${packages_check[@]}"
    install_python

    check_dir=$(mktemp -d "${TMPDIR:-/tmp}/mlc-check.XXXXXX")
    check_results=$check_dir/results
    check_only=$only
    : >"$check_results"
    trap 'rm -rf "$check_dir"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    for stage in "${stages[@]}"; do
        "check_$stage"
    done
    tests/run --close "$check_results" || failed=1
    exit "$failed"
}

# step NAME COMMAND...: something that is no test program but counts as one.
# False when it failed, or was not asked for.  "set -e" is off in COMMAND.
step() {
    local name=$1 log=$check_dir/log
    shift
    [[ $name =~ $check_only ]] || return 1
    if ("$@") >"$log" 2>&1; then
        echo "pass $name" | tee -a "$check_results"
        return
    fi
    echo "fail $name" >>"$check_results"
    echo "FAIL $name"
    tail -n 200 "$log"
    echo "--- end of the log of $name"
    return 1
}

# wanted STAGE TEST...: those whose name --only lets through.
wanted() {
    local stage=$1 test
    shift
    for test; do
        if [[ $stage/$(basename "${test%.*}") =~ $check_only ]]; then
            echo "$test"
        fi
    done
}

# run_tests STAGE BUILD TEST...: TESTs are scripts, and C sources of programs
# that lie in BUILD.
run_tests() {
    local stage=$1 build=$2 test
    local -a tests=()
    shift 2
    for test; do
        case $test in
            *.c) tests+=("$build/${test%.c}") ;;
            *) tests+=("$test") ;;
        esac
    done
    # It ended itself: the stages after it, and the closing line, are to come.
    MLCACHEFS=$top/$build/mlcachefs tests/run --stage "$stage" \
        --results "$check_results" "${tests[@]}" ||
        echo "fail $stage: tests/run ended with status $?" >>"$check_results"
}

# ensure_build STAGE FOLDER [CONFIGURE'S ARGUMENT...]: builds the programs and
# the unit tests, and counts as the test STAGE/build.
declare -A is_built=()
ensure_build() {
    local stage=$1 dir=$2 saved=$check_only
    shift 2
    if [ -z "${is_built[$dir]:-}" ]; then
        # Asked for or not: what needs it was.
        check_only=''
        is_built[$dir]=no
        step "$stage/build" build_all "$dir" "$@" && is_built[$dir]=yes
        check_only=$saved
    fi
    [ "${is_built[$dir]}" = yes ]
}

build_all() {
    local dir=$1
    build_in "$@" || return
    make -s -C "$dir" -j"$(nproc)" check TESTS=
}

unit_tests() {
    find tests -maxdepth 1 -name 'test-*.c' | sort
}

# script_tests KIND: source, client, or mount, by their names.
script_tests() {
    local -a name=(-name "test-$1-*.sh")
    if [ "$1" = mount ]; then
        name=(-name 'test-*.sh' ! -name 'test-source-*' ! -name 'test-client-*')
    fi
    find tests -maxdepth 1 "${name[@]}" | sort
}

# check_scripts STAGE BUILD-STAGE BUILD [CONFIGURE'S ARGUMENT...] -- TEST...
check_scripts() {
    local stage=$1 build_stage=$2 build=$3
    local -a arguments=() tests=()
    shift 3
    while [ "$1" != -- ]; do
        arguments+=("$1")
        shift
    done
    shift
    mapfile -t tests < <(wanted "$stage" "$@")
    [ ${#tests[@]} -gt 0 ] || return 0
    ensure_build "$build_stage" "$build" "${arguments[@]}" || return 0
    run_tests "$stage" "$build" "${tests[@]}"
}

check_build() {
    if [[ build/build =~ $check_only ]]; then
        ensure_build build build --enable-werror || true
    fi
}

check_unit() {
    local -a tests
    mapfile -t tests < <(unit_tests)
    check_scripts unit build build --enable-werror -- "${tests[@]}"
}

check_source() {
    local -a tests
    mapfile -t tests < <(script_tests source)
    check_scripts source build build --enable-werror -- "${tests[@]}"
}

check_mount() {
    local -a tests
    mapfile -t tests < <(script_tests mount)
    check_scripts mount build build --enable-werror -- "${tests[@]}"
}

# The virtual environments come first, outside the tests' time limits; one that
# can't be made is not tried again by each test, which skips, or fails in CI.
check_client() {
    local name
    local -a tests
    mapfile -t tests < <(script_tests client)
    for name in $(wanted client "${tests[@]}" |
        xargs -r sed -n 's/^requires_venv //p' | sort -u); do
        tests/clients/venv.sh "$name" >/dev/null ||
            echo "no virtual environment $name: is PyPI out of reach?"
    done
    export MLC_VENVS_TRIED=1
    check_scripts client build build --enable-werror -- "${tests[@]}"
}

check_asan() {
    local -a tests
    mapfile -t tests < <(unit_tests
        script_tests mount)
    MLC_TEST_SLOWNESS=4 check_scripts asan asan build-asan --enable-werror \
        --enable-sanitize=address,undefined CFLAGS='-O1 -g' -- "${tests[@]}"
}

check_tsan() {
    local -a tests
    mapfile -t tests < <(unit_tests
        script_tests mount | xargs -r grep -l -x '# tsan')
    [ -n "$(wanted tsan "${tests[@]}")" ] || return 0
    # Without it the build fails, and says so.
    (install_clang_runtime) || true
    MLC_TEST_SLOWNESS=8 check_scripts tsan tsan build-tsan --enable-werror \
        --enable-sanitize=thread CC=clang CFLAGS='-O1 -g' -- "${tests[@]}"
}

check_clang() {
    if [[ clang/build =~ $check_only ]]; then
        ensure_build clang build-clang --enable-werror CC=clang || true
    fi
}

check_fuzz() {
    local i status saved=$check_only
    local -a names pids=()
    mapfile -t names < <(wanted fuzz tests/fuzz/fuzz-*.c |
        sed 's,.*/fuzz-\(.*\)\.c$,\1,')
    [ ${#names[@]} -gt 0 ] || return 0
    # Without it the build fails, and says so.
    (install_clang_runtime) || true
    check_only=''
    status=0
    step fuzz/build build_fuzz "${names[@]}" || status=$?
    check_only=$saved
    [ "$status" = 0 ] || return 0
    for i in "${!names[@]}"; do
        tests/fuzz/run.sh run build-fuzz "${names[$i]}" \
            >"$check_dir/fuzz-$i" 2>&1 &
        pids+=($!)
    done
    for i in "${!names[@]}"; do
        status=0
        wait "${pids[$i]}" || status=$?
        step "fuzz/fuzz-${names[$i]}" show_fuzz "$check_dir/fuzz-$i" \
            "$status" || true
    done
}

build_fuzz() {
    build_in build-fuzz --enable-werror CC=clang CFLAGS='-O1 -g' \
        --enable-sanitize=fuzzer-no-link,address,undefined || return
    tests/fuzz/run.sh build build-fuzz "$@"
}

show_fuzz() { # LOG STATUS
    cat "$1"
    return "$2"
}

check_dist() {
    step dist/distcheck distcheck || true
}

# Also that nothing was forgotten in Makefile.am's lists.
distcheck() {
    local archive
    local -a forgotten
    build_in build-dist || return
    make -s -C build-dist distcheck || return
    archive=$(echo build-dist/mlcachefs-*.tar.gz)
    [ -e .git ] || return 0
    mapfile -t forgotten < <(comm -23 <(git ls-files | grep -v '\.gitignore$' |
        sort) <(tar tzf "$archive" | sed 's,^[^/]*/,,' | sort))
    if [ ${#forgotten[@]} -gt 0 ]; then
        echo "not in the tarball, see Makefile.am: ${forgotten[*]}"
        return 1
    fi
}
