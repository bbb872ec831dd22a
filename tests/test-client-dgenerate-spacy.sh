#!/usr/bin/env bash
# dgenerate's own loader finds every model on the mount already extracted, asks
# for nothing itself, and uses what came without a mount too.
# timeout: 900
. "${srcdir:-.}/tests/spacy.sh"
requires_venv spacy
maker=$venv_python
requires_venv dgenerate

model=xx_sent_ud_sm
mkdir -p "$tmp/yolo" "$tmp/made"
export YOLO_CONFIG_DIR=$tmp/yolo NO_ALBUMENTATIONS_UPDATE=1 OMP_NUM_THREADS=1
"$maker" "$srcdir/tests/clients/pipeline.py" make "$tmp/made" "$model" 3.8.0 \
    >"$tmp/path" 2>"$tmp/log" || {
    cat "$tmp/log" >&2
    fail "spacy package"
}
make_wheel "$model" 3.8.0 --wheel "$(tail -n 1 "$tmp/path")" >/dev/null

client() {
    "$venv_python" "$srcdir/tests/clients/pipeline.py" dgenerate "$model" \
        "$web/asked-by-itself" 2>"$tmp/client.err" >"$tmp/client.out" || {
        cat "$tmp/client.err" >&2
        fail "dgenerate"
    }
    # What it imports talks, too.
    tail -n 1 "$tmp/client.out"
}

export DGENERATE_CACHE=$mnt
mount_spacy
assert_equal "loaded" 3.8.0 "$(client)"
wait_until 20 is_home "$model" 3.8.0
assert_absent "$spacy/.lock"
unmount "$mnt"
before=$(count_requests)
mount_spacy offline
assert_equal "offline" 3.8.0 "$(client)"
unmount "$mnt"
DGENERATE_CACHE=$store
assert_equal "without a mount" 3.8.0 "$(client)"
assert_equal "requests, but for the first time" "$before" "$(count_requests)"
assert_equal "its own requests" 0 "$(count_requests --path asked-by-itself)"
