#!/usr/bin/env bash
# What is fetched follows what is read.
# tap
. "${srcdir:-.}/tests/fetch.sh"

mib=200
mkdir -p "$tmp/source"
"$python" - "$tmp/source/m.safetensors" <<'EOS'
import json, random, sys
rng = random.Random(1)
header = {f"t{i}": {"dtype": "U8", "shape": [1 << 20], "data_offsets": [i << 20, (i + 1) << 20]}
          for i in range(64)}
text = json.dumps(header).encode()
with open(sys.argv[1], "wb") as f:
    f.write(len(text).to_bytes(8, "little") + text)
    for _ in header:
        f.write(rng.randbytes(1 << 20))
EOS
serve -- big.bin="${mib}M"
big=$source/big.bin

begin_case() { # OPTIONS
    origin_log clear
    mount_ready "$tmp/store.$BASHPID" "$mnt" "$1"
    stat -L "$files"/* >/dev/null
}

at_random_places() {
    local sent
    begin_case fetch=demand
    reader at "$big" "$files/big.bin" 123456789:4096 5000000:4096 \
        190000000:4096
    sent=$(body_bytes --server cdn)
    echo "sent $sent"
    assert_at_most "bytes sent" $((8 << 20)) "$sent"
    unmount "$mnt"
}

in_order() {
    local requests
    begin_case fetch=demand
    reader many 1 "$big" "$files/big.bin"
    requests=$(count_requests --server cdn)
    # Of 256 KiB each they would be 800.
    echo "$requests requests"
    assert_at_most "requests" 40 "$requests"
    assert_at_most "bytes sent" $(((mib << 20) * 105 / 100)) \
        "$(body_bytes --server cdn)"
    unmount "$mnt"
}

safetensors() {
    local file=$files/m.safetensors sent
    begin_case fetch=demand
    # The header's length, the header, then three tensors.
    reader mmap "$source/m.safetensors" "$file" 0:8 8:5000 \
        $((40 << 20)):1048576 $((10 << 20)):1048576 $((60 << 20)):1048576
    sent=$(body_bytes --server cdn)
    echo "sent $sent"
    # With what the kernel reads ahead around each fault.
    assert_at_most "bytes sent" $((32 << 20)) "$sent"
    reader mmap "$source/m.safetensors" "$file"
    unmount "$mnt"
}

# The CDN stops after 64 MiB, so that a transfer lasts as long as it likes.
closed_early() {
    local fd
    begin_case fetch=whole
    set_faults '[{"server": "cdn", "stall_body_at": 67108864, "stall": -1}]'
    exec {fd}<"$files/big.bin"
    reader at "$big" "$files/big.bin" 0:4096
    wait_requests --server cdn
    exec {fd}<&-
    # Its end is logged when the client has left.
    wait_until 10 transfers_ended
    clear_faults
    reader many 1 "$big" "$files/big.bin"
    # Each cut loses what was under way.
    assert_at_most "bytes sent" $(((mib + 8) << 20)) "$(body_bytes --server cdn)"
    unmount "$mnt"
}

transfers_ended() {
    [ "$(grep -c '"server": "cdn"' "$origin_root/started.log")" = \
        "$(grep -c '"server": "cdn"' "$origin_root/requests.log")" ]
}

seek_to_the_end() {
    begin_case fetch=whole
    # All that is before 100 MiB comes never, all behind it at once.
    set_faults '[{"server": "cdn", "stall_body_at": 104857600, "stall": -1}]'
    assert_within 10000 "the end" reader at "$big" "$files/big.bin" \
        0:4096 $(((mib << 20) - 70000)):70000
    touch "$origin_root/release"
    clear_faults
    reader many 1 "$big" "$files/big.bin"
    rm "$origin_root/release"
    unmount "$mnt"
}

run_case "4 KiB at three places of a large file" at_random_places
run_case "read-ahead grows" in_order
run_case "a header and tensors through mmap" safetensors
run_case "closing early stops, and reopening goes on" closed_early
run_case "the end of a cold file" seek_to_the_end
end_cases
