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

# on_plain OFFLINE WARM ARG...: WARM is a command that fills the cache first.
on_plain() {
    local offline=$1 warm=$2
    shift 2
    HF_HOME=$(fresh_home)
    export HF_HOME
    if [ -n "$warm" ]; then
        HF_HUB_OFFLINE=0 $warm
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

# wait_cached FILE...: until the bytes of each are at home in the store.
wait_cached() {
    wait_until 30 all_cached "$@"
}

all_cached() {
    "$python" - "$@" <<'EOS'
import os, sys
for path in sys.argv[1:]:
    state = os.getxattr(os.path.realpath(path), "user.mlcachefs.state")
    if state not in (b"cached", b"local"):
        sys.exit(1)
EOS
}
