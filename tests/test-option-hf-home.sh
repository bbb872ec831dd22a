#!/usr/bin/env bash
# tap
# Where the Hugging Face cache lies: hf_home=, STORE/hf, $HF_HOME, XDG, HOME.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

# goes_to FOLDER [FILE]: what is written at hf/FILE of the mount lies in FOLDER.
goes_to() {
    local file=${2:-marker}
    echo "$file" >"$tmp/mnt/hf/$file"
    assert_exists "$1/$(basename "$file")"
    rm "$tmp/mnt/hf/$file"
    assert_absent "$1/$(basename "$file")"
}

# without_store: STORE is the default below $HOME.
without_store() {
    mkdir -p "$tmp/mnt"
    mount_background "$tmp/mnt" "$MLCACHEFS" "$tmp/mnt" \
        -o offline
}

unmount_without_store() {
    unmount_background "$tmp/mnt" "$HOME/.cache/dgenerate"
}

given_store() {
    HF_HOME=$tmp/env XDG_CACHE_HOME=$tmp/xdg HF_HUB_CACHE=$tmp/hub \
        mount_ready "$tmp/store" "$tmp/mnt" offline
    goes_to "$tmp/store/hf"
    mkdir "$tmp/mnt/hf/hub/tmp"
    goes_to "$tmp/store/hf/hub/tmp" hub/tmp/marker
    unmount "$tmp/mnt"
    assert_absent "$tmp/env"
    assert_absent "$tmp/xdg"
    assert_absent "$tmp/hub"
}

given_home() {
    HF_HOME=$tmp/env mount_ready "$tmp/store" "$tmp/mnt" \
        "offline,hf_home=$tmp/given"
    goes_to "$tmp/given"
    unmount "$tmp/mnt"
}

relative_home() {
    cd "$tmp"
    mount_ready "$tmp/store" "$tmp/mnt" "offline,hf_home=rel/home"
    goes_to "$tmp/rel/home"
    unmount "$tmp/mnt"
}

from_hf_home() {
    HF_HOME=$tmp/env2 XDG_CACHE_HOME=$tmp/xdg without_store
    goes_to "$tmp/env2"
    unmount_without_store
}

from_tilde() {
    # shellcheck disable=SC2088  # as the clients read it
    HF_HOME='~/mine' without_store
    goes_to "$HOME/mine"
    unmount_without_store
}

from_xdg() {
    XDG_CACHE_HOME=$tmp/xdg2 without_store
    goes_to "$tmp/xdg2/huggingface"
    unmount_without_store
}

from_home() {
    without_store
    goes_to "$HOME/.cache/huggingface"
    unmount_without_store
}

hub_cache() {
    HF_HUB_CACHE=$tmp/elsewhere without_store
    goes_to "$HOME/.cache/huggingface"
    goes_to "$tmp/elsewhere" hub/marker
    unmount_without_store
    assert_absent "$HOME/.cache/huggingface/hub/marker"
}

inside_skipped() {
    mkdir -p "$tmp/mnt"
    HF_HOME=$tmp/mnt/hf HF_HUB_CACHE=$tmp/mnt/hf/hub XDG_CACHE_HOME=$tmp/mnt/x \
        mount_background "$tmp/mnt" "$MLCACHEFS" "$tmp/mnt" -o offline
    goes_to "$HOME/.cache/huggingface"
    for name in HF_HOME HF_HUB_CACHE XDG_CACHE_HOME; do
        grep -q "$name.*points into the mount" "$tmp/daemon.log" ||
            fail "no note that $name is skipped"
    done
    unmount_without_store
}

inside_through_link() {
    mkdir -p "$tmp/mnt"
    ln -s mnt "$tmp/link"
    HF_HOME=$tmp/link/hf without_store
    goes_to "$HOME/.cache/huggingface"
    unmount_without_store
}

inside_refused() {
    mkdir -p "$tmp/mnt"
    assert_refused "hf_home.*$tmp/mnt" "$tmp/store" "$tmp/mnt" \
        -o "hf_home=$tmp/mnt/hf"
}

run_case "STORE given: STORE/hf, whatever the environment says" given_store
run_case "hf_home= beats all" given_home
run_case "hf_home= relative to the current folder" relative_home
run_case "no STORE: \$HF_HOME" from_hf_home
run_case "no STORE: \$HF_HOME with a tilde" from_tilde
run_case "no STORE: \$XDG_CACHE_HOME" from_xdg
run_case "no STORE: ~/.cache/huggingface" from_home
run_case "\$HF_HUB_CACHE is adopted as hub/" hub_cache
run_case "variables that point into the mount are skipped" inside_skipped
run_case "also through a symlink" inside_through_link
run_case "hf_home= in the mount is refused" inside_refused
end_cases
