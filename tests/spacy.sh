# shellcheck shell=bash
# What the tests of spacy/ share: an origin that serves the table and wheels.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mnt=$tmp/mnt
store=$tmp/store
start_origin "$tmp/origin"
export spacy=$mnt/spacy models=$origin_root/web/spacy-models
# Where the origin has the table and the wheels.
spacy_urls=spacy_compat_url=$web/spacy-models/compatibility.json
spacy_urls+=,spacy_download_url=$web/releases

# make_wheel NAME VERSION [OPTION...]: see tests/origin/mkwheel.py; prints the
# wheel's path.
make_wheel() {
    "$python" "$srcdir/tests/origin/mkwheel.py" --root "$origin_root" "$@"
}

# wheel_of NAME VERSION: its path.
wheel_of() {
    echo "$origin_root/web/releases/$1-$2/$1-$2-py3-none-any.whl"
}

# extract NAME VERSION FOLDER: as pip, or dgenerate, would.
extract() {
    mkdir -p "$3"
    "$python" -m zipfile -e "$(wheel_of "$1" "$2")" "$3"
}

# mount_spacy [OPTION,...]
mount_spacy() {
    mount_ready "$store" "$mnt" "$spacy_urls${1:+,$1}"
}

# read_all FOLDER...: every file in them.
read_all() {
    find "$@" -type f -exec cat {} + >/dev/null
}

# wheel_requests [FILTER...], wheel_bytes: of wheels.
wheel_requests() {
    count_requests --path '\.whl' "$@"
}
wheel_bytes() {
    body_bytes --path '\.whl' "$@"
}

# is_home NAME VERSION: all files of the version lie in the store.
is_home() {
    local wanted got
    wanted=$("$python" -m zipfile -l "$(wheel_of "$1" "$2")" |
        grep -c "^$1/")
    got=$(find "$store/spacy/$1" -type f -not -path '*/__pycache__/*' | wc -l)
    [ "$got" -ge "$wanted" ]
}

# leftovers: what lies in the private folder of unfinished objects.
leftovers() {
    find "$store/.mlcachefs/objects" -type f | wc -l
}
no_leftovers() {
    [ "$(leftovers)" = 0 ]
}
