#!/usr/bin/env bash
# connections=1 never has two transfers of one file under way; more do.
# serial
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
make_file "$tmp/source/model.bin" 32M
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source")
file=$tmp/mnt/hf/hub/models--org--name/snapshots/$commit/model.bin
set_faults '[{"server": "cdn", "match": "^GET", "stall_body_at": 1000000,
    "stall": 1.5}]'

# overlaps: how many transfers began while the one before was under way.
overlaps() {
    "$python" - "$origin_root" <<'EOS'
import json, sys
def lines(name):
    return [json.loads(line) for line in open(f"{sys.argv[1]}/{name}")
            if json.loads(line)["server"] == "cdn"]
ends = {record["id"]: record["t"] for record in lines("requests.log")}
spans = sorted((record["t"], ends.get(record["id"], 1e12))
               for record in lines("started.log"))
assert spans, "nothing was transferred"
# The server notes an end after its client may have seen it.
print(sum(1 for a, b in zip(spans, spans[1:]) if a[1] - b[0] > 1))
EOS
}

mount_ready "$tmp/one" "$tmp/mnt" connections=1
cat "$file" >"$tmp/copy"
assert_same "$tmp/copy" "$tmp/source/model.bin"
unmount "$tmp/mnt"
assert_equal "transfers at once with connections=1" 0 "$(overlaps)"

# Two readers far from each other; neither is served until both have asked.
origin_log clear
set_faults '[{"server": "cdn", "match": "^GET", "stall_body_at": 1000000,
    "stall": -1}]'
mount_ready "$tmp/many" "$tmp/mnt" connections=16
cat "$file" >"$tmp/copy" &
reader=$!
tail -c 1M "$file" >"$tmp/tail" &
end_reader=$!
wait_requests --server cdn --count 2 --timeout 20 ||
    fail "connections=16 uses but one"
clear_faults
touch "$origin_root/release"
wait "$reader" || fail "a reader failed"
wait "$end_reader" || fail "a reader failed"
assert_same "$tmp/copy" "$tmp/source/model.bin"
unmount "$tmp/mnt"
