#!/usr/bin/env bash
# What huggingface_hub downloads into the mount itself is real: a private repo
# with a token of its own, forced downloads, no symlinks, local_dir.
# timeout: 600
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
declare -A pythons=()
requires_venv hub-0.36
pythons[old]=$venv_python
requires_venv hub-new
pythons[new]=$venv_python
# shellcheck source=tests/clients/client.sh
. "$srcdir/tests/clients/client.sh"

repo=someone/tiny

write() { # PYTHON CALL ARG...
    "$1" "$srcdir/tests/clients/write.py" "${@:2}" --repo "$repo" \
        --commit "$sha" --source "$tmp/repo"
}

mount_fresh() {
    mnt=$(mktemp -d "$tmp/mnt.XXXXXX")
    store=$(mktemp -d "$tmp/store.XXXXXX")
    origin_log clear
    mount_ready "$store" "$mnt"
    export HF_HOME=$mnt/hf
}

private_repo() { # PYTHON
    mount_fresh
    HF_TOKEN=hf_client write "$1" private
    assert_equal "the daemon's requests for bytes" 0 \
        "$(file_gets --ua '^mlcachefs/')"
    assert_equal "the daemon's requests with a token" 0 \
        "$(origin_log show --ua '^mlcachefs/' | grep -c -v '"auth": null')"
    unmount "$mnt"
    # A plain cache now, and one that can be mounted again.
    HF_HOME=$store/hf HF_HUB_OFFLINE=1 write "$1" private
    mount_ready "$store" "$mnt"
    HF_HUB_OFFLINE=1 write "$1" private
    unmount "$mnt"
}

forced() { # PYTHON
    mount_fresh
    write "$1" force
    [ "$(client_gets)" -gt 0 ] || fail "the client downloaded nothing"
    # What it brought is not fetched again.
    origin_log clear
    write "$1" plain
    assert_equal "requests for bytes" 0 "$(file_gets)"
    unmount "$mnt"
    HF_HOME=$store/hf HF_HUB_OFFLINE=1 write "$1" plain
}

# with VARIABLE=VALUE PYTHON: all of it comes from the mount.
with() {
    mount_fresh
    (
        export "${1?}" # VARIABLE=VALUE
        write "$2" plain
    )
    assert_no_client_gets
    unmount "$mnt"
}

without_symlinks() { # PYTHON
    mount_fresh
    (
        export HF_HUB_DISABLE_SYMLINKS=1 HF_TOKEN=hf_client
        write "$1" plain
        write "$1" plain
    )
    unmount "$mnt"
    HF_HOME=$store/hf HF_HUB_OFFLINE=1 write "$1" plain
}

to_local_dir() { # PYTHON
    mount_fresh
    write "$1" local-dir --to "$tmp/local.$RANDOM"
    assert_no_client_gets
    write "$1" local-dir --to "$mnt/hf/my-copy"
    unmount "$mnt"
}

login() { # PYTHON
    mount_fresh
    assert_absent "$mnt/hf/hub/models--someone--tiny"
    "$1" -c '
import huggingface_hub
huggingface_hub.login(token="hf_client", add_to_git_credential=False)'
    # No token in the environment: client and daemon read the file.
    write "$1" plain
    assert_no_client_gets
    "$1" -c 'import huggingface_hub; huggingface_hub.logout()'
    assert_absent "$mnt/hf/token"
    unmount "$mnt"
}

tree_file() { # PYTHON
    local plain mounted
    plain=$(HF_HOME=$(fresh_home) write "$1" tree-file)
    mount_fresh
    mounted=$(write "$1" tree-file)
    assert_equal "requests for the listing by the client" 0 \
        "$(count_requests --path /tree/ --not-ua '^mlcachefs/')"
    assert_equal "trees/COMMIT.json" \
        "$("$python" -c '
import json, sys
tree = json.load(sys.stdin)
for entry in tree["files"].values():
    entry.pop("xet_hash", None)
print(json.dumps(tree, sort_keys=True))' <<<"$plain")" "$mounted"
    unmount "$mnt"
}

mkdir -p "$tmp/repo/sub/deeper"
make_file "$tmp/repo/model.bin" 2M
echo '{}' >"$tmp/repo/config.json"
: >"$tmp/repo/sub/empty"
echo text >"$tmp/repo/sub/deeper/a b.txt"
start_origin

sha=$(make_repo model "$repo" --from "$tmp/repo")
for name in new old; do
    run_case "$name: forced" forced "${pythons[$name]}"
    run_case "$name: without Xet" with HF_HUB_DISABLE_XET=1 "${pythons[$name]}"
    run_case "$name: without symlinks" with HF_HUB_DISABLE_SYMLINKS=1 \
        "${pythons[$name]}"
    run_case "$name: local_dir" to_local_dir "${pythons[$name]}"
done
run_case "new: tree file" tree_file "${pythons[new]}"

make_repo model "$repo" --from "$tmp/repo" --private --token hf_client >/dev/null
sha=$(cat "$origin_root/repos/models/$repo/refs/heads/main")
for name in new old; do
    run_case "$name: private repo, the client's token" private_repo \
        "${pythons[$name]}"
    run_case "$name: login through the mount" login "${pythons[$name]}"
    run_case "$name: private repo, without symlinks" without_symlinks \
        "${pythons[$name]}"
done

repo=someone/xet
sha=$(make_repo model "$repo" --from "$tmp/repo" --xet)
# There is no server that speaks Xet.
HF_HUB_DISABLE_XET=1 run_case "new: tree file with Xet" tree_file \
    "${pythons[new]}"
end_cases
