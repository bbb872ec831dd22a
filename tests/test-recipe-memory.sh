#!/usr/bin/env bash
# What folders of recipes take in memory is bounded: headers while several are
# made at once, and what is kept of those that were made.
# tap
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/m.safetensors" --family sd1
make_configs "$tmp/made/config" --family sd1
mount_ready "$store" "$mnt" offline

# Each has all the headers that one may have, but for its LoRAs' last.
made_at_once() {
    local i k lines pids=()
    "$python" - "$tmp/made" <<'EOS'
import struct, sys
for i in range(16):
    header = b'{"__metadata__":{"n":"%d"}}' % i + b" " * (15 << 20)
    with open(f"{sys.argv[1]}/long{i}.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
EOS
    for i in 0 1 2 3; do
        lines=()
        for k in 0 1 2 3; do
            lines+=("lora = $tmp/made/long$((4 * i + k)).safetensors")
        done
        write_recipe "large$i" "checkpoint = $tmp/made/m.safetensors" \
            "config = $tmp/made/config" "${lines[@]}"
    done
    for i in 0 1 2 3; do
        why "large$i" >"$tmp/why$i" &
        pids+=($!)
    done
    for i in 0 1 2 3; do
        wait "${pids[$i]}"
        assert_match "the reason for large$i" "long$((4 * i)).safetensors: it has no tensor" \
            "$(cat "$tmp/why$i")"
    done
}

# Of five configurations of nearly 1 MiB each.
kept() {
    local i n
    "$python" - "$tmp/made/config" <<'EOS'
import json, pathlib, sys
for path in ("model_index.json", "unet/config.json", "vae/config.json",
             "text_encoder/config.json", "scheduler/scheduler_config.json"):
    file = pathlib.Path(sys.argv[1], path)
    data = json.loads(file.read_text())
    data["_note"] = "x" * 1_000_000
    file.write_text(json.dumps(data))
EOS
    for i in {1..16}; do
        write_recipe "many$i" "checkpoint = $tmp/made/m.safetensors" \
            "config = $tmp/made/config"
        [ -d "$converted/many$i/unet" ] || fail "$(why "many$i")"
    done
    n=$("$python" -c 'import json, sys
print(json.load(sys.stdin)["domains"]["diffusers_converted"]["entries"])' \
        <"$mnt/.mlcachefs/status.json")
    echo "$n models"
    [ "$n" -le 13 ] || fail "$n models are kept"
    [ "$n" -ge 2 ] || fail "$n models are kept"
    # Those that aren't are made again.
    for i in {1..16}; do
        [ -d "$converted/many$i/unet" ] || fail "$(why "many$i")"
    done
}

run_case "several with many headers are made at once" made_at_once
run_case "kept by their bytes" kept
unmount "$mnt"
end_cases
