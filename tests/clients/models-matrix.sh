# shellcheck shell=bash
# shellcheck disable=SC2154  # srcdir, tmp, python...: functions.sh's
# from_pretrained() of one library: online, offline x branch, commit, pull
# request.  Sourced by tests/test-client-transformers.sh and -diffusers.sh.
# shellcheck source=tests/clients/client.sh
. "$srcdir/tests/clients/client.sh"

repo=someone/tiny

client() {
    # Threads only cost time where models have 100 kB.
    OMP_NUM_THREADS=1 "$venv_python" "$srcdir/tests/clients/models.py" \
        "$library" --repo "$repo" "$@"
}

models_matrix() {
    local library=$1 rev name offline sha folder warm
    local -a arguments
    start_origin
    for name in main pr; do
        "$venv_python" "$srcdir/tests/clients/models.py" make "$tmp/$name" \
            "${#name}"
    done
    sha=$(make_repo model "$repo" --from "$tmp/main/$library" --lfs-over 50000)
    make_repo model "$repo" --from "$tmp/pr/$library" --ref refs/pr/1 \
        --lfs-over 50000

    for rev in main "$sha" refs/pr/1; do
        folder=$tmp/main/$library
        case $rev in
            main) name=branch ;;
            refs/pr/1)
                name='pull request'
                folder=$tmp/pr/$library
                ;;
            *) name=commit ;;
        esac
        arguments=(--revision "$rev" --source "$folder")
        for offline in 0 1; do
            warm=''
            [ $offline = 0 ] || warm="client ${arguments[*]}"
            run_case "plain: $(mode_name $offline), $name" \
                on_plain $offline "$warm" "${arguments[@]}"
            run_case "mount: $(mode_name $offline), $name" \
                on_mount $offline "${arguments[@]}"
        done
    done
    run_case "mount: after unmount, the store serves what was fetched" \
        stock_after_unmount --revision main --source "$tmp/main/$library"
    end_cases
}

# What the load opened is read to its end, for a file that was only looked into
# doesn't count as fetched.
stock_after_unmount() {
    local mnt=$tmp/stock-mnt store=$tmp/stock-store
    local -a files
    mount_ready "$store" "$mnt"
    HF_HOME=$mnt/hf client "$@"
    mapfile -d '' files < <(touched_files "$mnt/hf/hub")
    [ ${#files[@]} -gt 3 ] || fail "the client opened only ${files[*]}"
    cat "${files[@]}" >/dev/null
    wait_cached "$mnt/hf/hub"
    unmount "$mnt"

    origin_log clear
    HF_HOME=$store/hf HF_HUB_OFFLINE=1 client "$@"
    assert_equal "requests" 0 "$(count_requests)"
}
