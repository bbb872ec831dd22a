# shellcheck shell=bash
# shellcheck disable=SC2154  # srcdir, tmp, python...: functions.sh's
# huggingface_hub of one version: calls x online, offline x branch, commit, pull
# request x present, absent.  Sourced by tests/test-client-hub-*.sh.
# shellcheck source=tests/clients/client.sh
. "$srcdir/tests/clients/client.sh"

repo=someone/tiny

client() {
    "$venv_python" "$srcdir/tests/clients/hub.py" "$1" --repo "$repo" "${@:2}"
}

make_sources() {
    local name
    for name in main pr moved; do
        mkdir -p "$tmp/$name/sub/deeper"
        printf '{"of": "%s"}\n' "$name" >"$tmp/$name/config.json"
        : >"$tmp/$name/sub/empty.txt"
        printf '%s\n' "$name" >"$tmp/$name/sub/deeper/ünï cödé #1%.txt"
        make_file "$tmp/$name/model.safetensors" 3M "$name"
        make_file "$tmp/$name/sub/small.bin" 100K "small $name"
    done
    # The same bytes under two names and in all commits: one blob.
    make_file "$tmp/main/shared.bin" 200K shared
    cp "$tmp/main/shared.bin" "$tmp/main/sub/shared-too.bin"
    cp "$tmp/main/shared.bin" "$tmp/pr/"
    cp "$tmp/main/shared.bin" "$tmp/moved/"
}

hub_matrix() {
    local rev name offline mode file arguments
    declare -A commit source
    make_sources
    start_origin
    commit[main]=$(make_repo model "$repo" --from "$tmp/main" --lfs-over 50000)
    commit[refs/pr/1]=$(make_repo model "$repo" --from "$tmp/pr" \
        --ref refs/pr/1 --lfs-over 50000)
    commit[${commit[main]}]=${commit[main]}
    source[main]=$tmp/main
    source[refs/pr/1]=$tmp/pr
    source[${commit[main]}]=$tmp/main

    for rev in main "${commit[main]}" refs/pr/1; do
        case $rev in
            main) name=branch ;;
            refs/pr/1) name='pull request' ;;
            *) name=commit ;;
        esac
        arguments=(--revision "$rev" --commit "${commit[$rev]}")
        for offline in 0 1; do
            mode=$(mode_name $offline)
            for file in config.json model.safetensors; do
                both "download, $mode, $name, present: $file" "$offline" \
                    download "${arguments[@]}" --file "$file" \
                    --equals "${source[$rev]}/$file"
            done
            both "download, $mode, $name, absent" "$offline" \
                download "${arguments[@]}" --file sub/absent.json --absent
            both "snapshot, $mode, $name" "$offline" \
                snapshot "${arguments[@]}" --source "${source[$rev]}"
        done
        both "try_to_load, $name, present" 1 try-to-load "${arguments[@]}" \
            --file sub/small.bin --equals "${source[$rev]}/sub/small.bin"
        both "try_to_load, $name, absent" 1 try-to-load "${arguments[@]}" \
            --file sub/absent.json --absent
    done

    arguments=(--revision main --commit "${commit[main]}" --source "$tmp/main")
    run_case "plain: scan" on_plain 0 '' scan "${arguments[@]}"
    run_case "mount: scan" scan_on_mount "${arguments[@]}"
    run_case "plain: filesystem" filesystem_on_plain "${arguments[@]}"
    run_case "mount: filesystem" filesystem_on_mount "${arguments[@]}"
    run_case "mount: after unmount, the store serves what was fetched" \
        stock_after_unmount "${arguments[@]}"
    # Last, for it changes the repo.
    run_case "plain: branch moves" moving_on_plain "${arguments[@]}"
    run_case "mount: branch moves" moving_on_mount "${arguments[@]}"
    end_cases
}

# both NAME OFFLINE CALL ARG...: on plain, where offline means that the cache
# was filled before, and on a cold mount.
both() {
    local name=$1 offline=$2 warm=''
    shift 2
    [ "$offline" = 0 ] || warm="fill_cache ${*:2:4}"
    run_case "plain: $name" on_plain "$offline" "$warm" "$@"
    run_case "mount: $name" on_mount "$offline" "$@"
}

fill_cache() { # --revision REV --commit SHA
    local folder=$tmp/main
    [[ $2 != refs/pr/* ]] || folder=$tmp/pr
    client snapshot "$@" --source "$folder"
    client download "$@" --file sub/absent.json --absent
}

# Looking around fetches nothing at all.
scan_on_mount() {
    mount_ready "$tmp/scan-store" "$tmp/scan-mnt"
    origin_log clear
    HF_HOME=$tmp/scan-mnt/hf client scan "$@"
    assert_equal "requests for file bytes" 0 "$(file_gets)"
    unmount "$tmp/scan-mnt"
}

filesystem_on_plain() {
    HF_HOME=$(fresh_home) client filesystem "$@"
}

filesystem_on_mount() {
    mount_ready "$tmp/fs-store" "$tmp/fs-mnt"
    origin_log clear
    HF_HOME=$tmp/fs-mnt/hf client filesystem "$@"
    assert_equal "requests for file bytes by mlcachefs" 0 \
        "$(file_gets --ua '^mlcachefs/')"
    unmount "$tmp/fs-mnt"
}

stock_after_unmount() {
    local mnt=$tmp/stock-mnt store=$tmp/stock-store sha=$4
    mount_ready "$store" "$mnt"
    HF_HOME=$mnt/hf client snapshot "$@"
    wait_cached "$mnt/hf/hub"
    unmount "$mnt"

    origin_log clear
    export HF_HOME=$store/hf HF_HUB_OFFLINE=1
    client snapshot "$@"
    client snapshot --revision "$sha" "${@:3}"
    client download "${@:1:4}" --file sub/small.bin \
        --equals "$tmp/main/sub/small.bin"
    assert_equal "requests" 0 "$(count_requests)"
}

move_branch() {
    moving_arguments=(--new-source "$tmp/moved" --move
        "'$python' '$srcdir/tests/origin/mkrepo.py' --root '$origin_root' model \
$repo --from '$tmp/moved' --lfs-over 50000")
}

move_back() {
    make_repo model "$repo" --from "$tmp/main" --lfs-over 50000
}

moving_on_plain() {
    move_branch
    HF_HOME=$(fresh_home)
    export HF_HOME
    client snapshot "$@"
    client moving "$@" "${moving_arguments[@]}"
}

moving_on_mount() {
    local before
    before=$(move_back)
    set -- "${@:1:3}" "$before" "${@:5}"
    move_branch
    mount_ready "$tmp/moving-store" "$tmp/moving-mnt"
    origin_log clear
    HF_HOME=$tmp/moving-mnt/hf client moving "$@" "${moving_arguments[@]}"
    assert_no_client_gets
    unmount "$tmp/moving-mnt"
}
