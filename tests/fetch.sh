# shellcheck shell=bash
# What the tests of fetching share: a model whose files have given sizes, and
# readers that say at once when a byte is wrong.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mnt=$tmp/mnt
store=$tmp/store

# scaled MIB: fewer under a sanitizer, where everything takes longer.
scaled() {
    if [ "${MLC_TEST_SLOWNESS:-1}" = 1 ]; then
        echo "$1"
    else
        echo $(($1 / 8 > 3 ? $1 / 8 : 3))
    fi
}

# serve [ORIGIN-OPTION...] -- NAME=SIZE...: a Hub with the model a/m, whose
# files over 1000 bytes come from the CDN.  Sets $source, and $files, where the
# mount shows them.
serve() {
    local pair
    local -a origin_options=()
    while [ "$1" != -- ]; do
        origin_options+=("$1")
        shift
    done
    shift
    source=$tmp/source
    for pair; do
        make_file "$source/${pair%%=*}" "${pair#*=}"
    done
    start_origin "$tmp/origin" "${origin_options[@]}"
    commit=$(make_repo model a/m --from "$source" --lfs-over 1000)
    # shellcheck disable=SC2034  # for the tests
    files=$mnt/hf/hub/models--a--m/snapshots/$commit
}

# oid NAME: as the CDN calls it.
oid() {
    sha256sum "$source/$1" | cut -d ' ' -f 1
}

# reader COMMAND...: see tests/reader.py.
reader() {
    "$python" "$srcdir/tests/reader.py" "$@"
}

# status KEY: of status.json.
status() {
    "$python" -c 'import json, sys
print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
        "$mnt/.mlcachefs/status.json" "$1"
}

# status_is KEY VALUE
status_is() {
    [ "$(status "$1")" = "$2" ]
}

now_ms() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# assert_within MS WHAT COMMAND...
assert_within() {
    local limit=$(($1 * ${MLC_TEST_SLOWNESS:-1})) what=$2 begin took
    shift 2
    begin=$(now_ms)
    "$@"
    took=$(($(now_ms) - begin))
    [ "$took" -le "$limit" ] || fail "$what took $took ms, not $limit"
}

# assert_at_most WHAT LIMIT GOT
assert_at_most() {
    [ "$3" -le "$2" ] || fail "$1: at most $2 wanted, got $3"
}
