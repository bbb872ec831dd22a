#!/usr/bin/env bash
# A Hub that fails is asked again within the look-up; what stays wrong is an
# error, never taken for absence, and forgotten as soon as the Hub is well.
# timeout: 180
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

export HF_HUB_ETAG_TIMEOUT=3
start_origin "$tmp/origin" --page-size 10
mkdir "$tmp/repo" "$tmp/long"
for ((i = 0; i < 30; i++)); do
    echo "$i" >"$tmp/long/$i.txt"
done
long=$(make_repo model someone/long --from "$tmp/long")
echo '{}' >"$tmp/repo/config.json"
sha=$(make_repo model someone/tiny --from "$tmp/repo")
hub_of() {
    echo "$tmp/mnt/hf/hub/models--someone--tiny"
}

fresh() { # FAULT...
    rm -rf "$tmp/store"
    origin_log clear
    set_faults "[{\"server\": \"hub\", $1}]"
    mount_ready "$tmp/store" "$tmp/mnt"
}

reads() {
    assert_equal "refs/main" "$sha" "$(cat "$(hub_of)/refs/main")"
    assert_equal "config.json" '{}' \
        "$(cat "$(hub_of)/snapshots/$sha/config.json")"
}

# Passing failures.
for fault in '"status": 500, "times": 3' \
    '"status": 429, "times": 1, "headers": {"Retry-After": "1"}' \
    '"status": 503, "times": 2' '"close": true, "times": 2' \
    '"match": "/tree/", "truncate_at": 5, "times": 2'; do
    fresh "$fault"
    reads
    unmount "$tmp/mnt"
done

# Lasting ones.
export HF_HUB_ETAG_TIMEOUT=1
for fault in 'Input/output error:"status": 500' \
    'Input/output error:"status": 429, "headers": {"Retry-After": "30"}' \
    'Input/output error:"body": "<html>Please log in</html>", "status": 200,
        "headers": {"Content-Type": "text/html"}' \
    'Connection timed out:"stall_headers": -1' \
    'Permission denied:"status": 403'; do
    fresh "${fault#*:}"
    begin=$SECONDS
    assert_error "${fault%%:*}" stat "$(hub_of)"
    [ $((SECONDS - begin)) -le 5 ] ||
        fail "a look-up took $((SECONDS - begin)) s: $fault"
    # What is known is answered, what is not fails at once.
    ls "$tmp/mnt/hf/hub" >/dev/null
    asked=$(wc -l <"$origin_root/started.log")
    assert_error "${fault%%:*}" stat "$(hub_of)/refs"
    assert_equal "requests at once after: $fault" "$asked" \
        "$(wc -l <"$origin_root/started.log")"
    touch "$origin_root/release"
    clear_faults
    rm "$origin_root/release"
    unmount "$tmp/mnt"
    # Nothing of it was written down.
    mount_ready "$tmp/store" "$tmp/mnt"
    reads
    unmount "$tmp/mnt"
done

# Only the listing fails, from its first page or from a later one on.
for match in /tree/ cursor=; do
    fresh "\"match\": \"$match\", \"status\": 500"
    assert_equal "refs/main" "$long" \
        "$(cat "$tmp/mnt/hf/hub/models--someone--long/refs/main")"
    long_snapshot=$tmp/mnt/hf/hub/models--someone--long/snapshots/$long
    assert_error "Input/output error" ls "$long_snapshot"
    for name in 29.txt none.txt; do
        assert_error "Input/output error" stat "$long_snapshot/$name"
    done
    clear_faults
    unmount "$tmp/mnt"
    mount_ready "$tmp/store" "$tmp/mnt"
    assert_equal "files" 30 "$(find "$long_snapshot" -type l | wc -l)"
    assert_error "No such file" stat "$long_snapshot/none.txt"
    unmount "$tmp/mnt"
done

# It goes down under a mount that knows the repo.
mount_ready "$tmp/store" "$tmp/mnt"
reads
unmount "$tmp/mnt"
mount_ready "$tmp/store" "$tmp/mnt"
stop_origin
reads
for other in models--someone--other datasets--someone--tiny; do
    assert_error "Input/output error" stat "$tmp/mnt/hf/hub/$other"
done
begin=$SECONDS
for other in 1 2 3 4 5 6 7 8; do
    assert_error "Input/output error" \
        stat "$tmp/mnt/hf/hub/models--someone--$other"
done
[ $((SECONDS - begin)) -le 4 ] || fail "a host that is down was asked again"
reads
unmount "$tmp/mnt"
