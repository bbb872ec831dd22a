#!/usr/bin/env bash
# Branches, tags, pull requests, conversions and short hashes are refs; names
# that clients make up never cause a request.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

start_origin
mkdir "$tmp/repo"
declare -A sha=()
for ref in refs/heads/main refs/heads/a/b refs/pr/1 refs/convert/parquet; do
    echo "$ref" >"$tmp/repo/name.txt"
    sha[$ref]=$(make_repo dataset someone/data --from "$tmp/repo" --ref "$ref")
done
echo v1 >"$tmp/repo/name.txt"
sha[v1]=$(make_repo dataset someone/data --from "$tmp/repo" --branch old \
    --tag v1)
mount_ready "$tmp/store" "$tmp/mnt"
repo=$tmp/mnt/hf/hub/datasets--someone--data

is_ref() { # NAME COMMIT
    assert_equal "refs/$1" "$2" "$(cat "$repo/refs/$1")"
    assert_equal "its length" 40 "$(stat -c %s "$repo/refs/$1")"
    assert_exists "$repo/snapshots/$2/name.txt"
}

is_ref main "${sha[refs/heads/main]}"
is_ref a/b "${sha[refs/heads/a/b]}"
is_ref refs/pr/1 "${sha[refs/pr/1]}"
is_ref refs/convert/parquet "${sha[refs/convert/parquet]}"
is_ref v1 "${sha[v1]}"
is_ref "${sha[v1]:0:8}" "${sha[v1]}"
assert_equal "text of a pull request's file" refs/pr/1 \
    "$(cat "$repo/snapshots/${sha[refs/pr/1]}/name.txt")"
assert_error "No such file" stat "$repo/refs/no-such-branch"
assert_error "No such file" stat "$repo/refs/refs/pr/2"
assert_equal "what is listed" "$(printf '%s\n' "${sha[v1]:0:8}" a a/b main \
    refs refs/convert refs/convert/parquet refs/pr refs/pr/1 v1 | sort)" \
    "$(cd "$repo/refs" && find . -mindepth 1 -printf '%P\n' | sort)"
assert_equal "commits" "$(printf '%s\n' "${sha[@]}" | sort)" \
    "$(ls "$repo/snapshots")"

# None of these is the Hub's.
origin_log clear
blob=$(basename "$(readlink "$repo/snapshots/${sha[v1]}/name.txt")")
for name in "refs/${sha[v1]}" refs/main.1a2b3c4d.tmp refs/main.lock \
    blobs/tmp_0f0f0f0f-0000-0000-0000-000000000000 "blobs/.$blob.12345678.new" \
    "blobs/$blob.12345678.incomplete" "blobs/$blob.incomplete" tmpabcdefgh \
    trees/tmpabcdefgh.tmp snapshots/main snapshots/tmpabcdefgh \
    ../tmpabcdefgh ../.locks/datasets--someone--data ../blobs ../version.txt \
    ../version_diffusers_cache.txt ../models--a--b--c ../models--.a--b \
    ../things--a--b ../../.agent_harnesses.json ../../stored_tokens \
    ../../datasets ../../modules ../../xet; do
    assert_error "No such file" stat "$repo/$name"
done
assert_equal "requests for names that clients make up" 0 "$(count_requests)"
unmount "$tmp/mnt"
