#!/usr/bin/env bash
# spaCy itself loads a model from the mount, in each of the three ways, online
# and offline, for one transfer, and is not slowed by the models that are there.
# timeout: 900
# tap
. "${srcdir:-.}/tests/spacy.sh"
requires_venv spacy

model=en_core_web_sm
client() {
    "$venv_python" "$srcdir/tests/clients/pipeline.py" "$@"
}
mkdir "$tmp/made"
for version in 3.8.0 3.7.1; do
    mkdir "$tmp/made/$version"
    client make "$tmp/made/$version" "$model" "$version" \
        >"$tmp/made/$version/path" 2>"$tmp/made/$version/log" || {
        cat "$tmp/made/$version/log" >&2
        fail "spacy package"
    }
    make_wheel "$model" "$version" \
        --wheel "$(tail -n 1 "$tmp/made/$version/path")" >/dev/null
    touch -d "2024-0${version:2:1}-01" "$(wheel_of "$model" "$version")"
done
wheel_size=$(stat -c %s "$(wheel_of "$model" 3.8.0)")

nothing() {
    mount_spacy
    PYTHONPATH=$spacy client import
    assert_equal "requests" 0 "$(count_requests)"
    unmount "$mnt"
}

way() { # WAY WHAT VERSION
    local before
    rm -rf "$store"
    mount_spacy
    before=$(wheel_bytes)
    assert_equal "version" "$3" "$(PYTHONPATH=$spacy client load "$1" "$2")"
    if [ "$3" = 3.8.0 ]; then
        [ $(($(wheel_bytes) - before)) -le $((wheel_size * 105 / 100)) ] ||
            fail "$(($(wheel_bytes) - before)) bytes of a wheel of $wheel_size"
    fi
    wait_until 20 no_leftovers
    unmount "$mnt"
    before=$(count_requests)
    mount_spacy offline
    assert_equal "offline" "$3" "$(PYTHONPATH=$spacy client load "$1" "$2")"
    unmount "$mnt"
    assert_equal "requests offline" "$before" "$(count_requests)"
    assert_equal "without a mount" "$3" \
        "$(client load path "$store/spacy/$model/$model-$3")"
}

compiled() {
    rm -rf "$store"
    mount_spacy
    (
        unset PYTHONDONTWRITEBYTECODE
        PYTHONPATH=$spacy client load import "$model"
        PYTHONPATH=$spacy client load import "$model"
    )
    unmount "$mnt"
}

together() {
    local before pids=()
    rm -rf "$store"
    mount_spacy
    before=$(wheel_bytes)
    for _ in 1 2 3 4 5 6 7 8; do
        client load path "$spacy/$model/$model-3.8.0" >/dev/null &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || fail "one could not load it"
    done
    [ $(($(wheel_bytes) - before)) -le $((wheel_size * 105 / 100)) ] ||
        fail "$(($(wheel_bytes) - before)) bytes of a wheel of $wheel_size"
    unmount "$mnt"
}

run_case "import spacy beside all models" nothing
run_case "by path" way path "$spacy/$model/$model-3.8.0" 3.8.0
run_case "another version by path" way path "$spacy/$model/$model-3.7.1" 3.7.1
run_case "by name" way name "$model" 3.8.0
run_case "as a module" way import "$model" 3.8.0
run_case "with compiled modules" compiled
run_case "eight at once" together
end_cases
