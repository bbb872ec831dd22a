# shellcheck shell=bash
# shellcheck disable=SC2154  # srcdir, tmp, python...: functions.sh's
# Cases that every client library goes through, first on a plain HF_HOME, which
# shows that the case itself is right, then on a mount.  Sourced after
# functions.sh, by tests/test-client-*.sh, which define
#
#   client ARG...   runs one client process on the HF_HOME in the environment

# Bytes of files, not metadata: what a client on the mount must not ask for.
file_gets() {
    local of_hub
    of_hub=$(count_requests --server hub --method GET \
        --path '/resolve(-cache)?/' "$@")
    echo $((of_hub + $(count_requests --server cdn --method GET "$@")))
}

client_gets() {
    file_gets --not-ua '^mlcachefs/'
}

fresh_home() {
    mktemp -d "$tmp/home.XXXXXX"
}

# warm_home COMMAND: fills HF_HOME by that, and by a copy when the same was asked
# for before.  Clients are slow to start.
warm_home() {
    local kept
    kept=$tmp/warm.$(sha1sum <<<"$1" | cut -c1-12)
    if [ ! -e "$kept" ]; then
        rm -rf "$kept.part"
        mkdir "$kept.part"
        HF_HOME=$kept.part HF_HUB_OFFLINE=0 $1
        mv "$kept.part" "$kept"
    fi
    cp -a "$kept/." "$HF_HOME"
}

# on_plain OFFLINE WARM ARG...: WARM is a command that fills the cache first.
on_plain() {
    local offline=$1 warm=$2
    shift 2
    HF_HOME=$(fresh_home)
    export HF_HOME
    if [ -n "$warm" ]; then
        warm_home "$warm"
    fi
    origin_log clear
    HF_HUB_OFFLINE=$offline client "$@"
    # The counter that the mounted case relies on must be able to count.
    if [ "$warm$offline" = 0 ] && [[ $* != *--absent* ]]; then
        [ "$(client_gets)" -gt 0 ] ||
            fail "the client fetched nothing, so the case shows nothing"
    fi
}

# on_mount OFFLINE ARG...: cold; whatever the client needs comes from the mount.
on_mount() {
    local offline=$1
    shift
    local mnt store
    mnt=$(mktemp -d "$tmp/mnt.XXXXXX")
    store=$(mktemp -d "$tmp/store.XXXXXX")
    origin_log clear
    mount_ready "$store" "$mnt"
    HF_HOME=$mnt/hf HF_HUB_OFFLINE=$offline client "$@"
    assert_no_client_gets
    if [[ $* != *--absent* ]]; then
        [ "$(file_gets --ua '^mlcachefs/')" -gt 0 ] ||
            fail "nobody fetched anything, so the case shows nothing"
    fi
    unmount "$mnt"
}

assert_no_client_gets() {
    [ "$(client_gets)" = 0 ] || {
        origin_log show --method GET --not-ua '^mlcachefs/' >&2
        fail "the client fetched file bytes itself: see the requests above"
    }
}

mode_name() { # OFFLINE
    [ "$1" = 1 ] && echo offline || echo online
}

# file_states FOLDER: "STATE PATH" of all files of snapshots below it, each
# ended by a NUL.
file_states() {
    "$python" - "$1" <<'EOS'
import os, sys
for parent, _, names in os.walk(sys.argv[1]):
    if "/snapshots/" in parent + "/":
        for name in names:
            path = os.path.join(parent, name)
            state = os.getxattr(path, "user.mlcachefs.state").decode()
            print(state, path, end="\0")
EOS
}

# touched_files FOLDER: those of which something was fetched.
touched_files() {
    file_states "$1" | sed -z -n '/^remote /!s/^[a-z]* //p'
}

# wait_cached FOLDER: until all that was fetched below it is at home.
wait_cached() {
    wait_until 30 nothing_partial "$1"
}

nothing_partial() {
    file_states "$1" >"$tmp/states" && ! grep -z -q '^partial ' "$tmp/states"
}
