#!/usr/bin/env bash
# LoRAs are merged to the bit as PEFT and diffusers merge them.
# timeout: 900
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_venv models
merge=$(dirname "$MLCACHEFS")/tests/format-merge
[ -x "$merge" ] || skip "no $merge: make check builds it"

# reference ARG...: in a folder of its own; its libraries talk a lot.
reference() {
    local folder
    folder=$(mktemp -d "$tmp/lora.XXXXXX")
    HF_HUB_OFFLINE=1 "$venv_python" "$srcdir/tests/clients/lora.py" "$1" \
        "$folder" "$merge" "${@:2}" >"$folder/log" 2>&1 || {
        cat "$folder/log" >&2
        fail "differs: $*"
    }
    rm -rf "$folder"
}

for dtype in F16 BF16 F32; do
    run_case "layers of all kinds and ranks, three LoRAs, $dtype" \
        reference layers "$dtype"
done
for form in kohya mixed peft metadata old; do
    run_case "SD, $form" reference pipeline F16 sd1 "$form"
    run_case "SDXL, $form" reference pipeline F16 sdxl "$form"
done
run_case "SD, kohya, BF16" reference pipeline BF16 sd1 kohya
run_case "SD, kohya, F32" reference pipeline F32 sd1 kohya
run_case "SDXL, metadata, F32" reference pipeline F32 sdxl metadata
end_cases
