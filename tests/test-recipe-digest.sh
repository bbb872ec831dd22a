#!/usr/bin/env bash
# What was read of a view before its checkpoint was found to be damaged is not
# shown once the checkpoint is right.
. "${srcdir:-.}/tests/recipe.sh"
mkdir "$tmp/repo"
make_checkpoint "$tmp/repo/m.safetensors" --family sd1
make_configs "$tmp/made/config" --family sd1
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/repo")
"$python" - "$tmp/made/lora.safetensors" <<'EOS'
import json, struct, sys
stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
one = {"dtype": "F16", "shape": [32, 1], "data_offsets": [0, 64]}
header = json.dumps({
    f"{stem}.lora_up.weight": one,
    f"{stem}.lora_down.weight": {**one, "shape": [1, 32], "data_offsets": [64, 128]},
}).encode()
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header + bytes(128))
EOS
# place FILE TENSOR: where a byte of it is.
place() {
    "$python" - "$@" <<'EOS'
import json, sys
with open(sys.argv[1], "rb") as file:
    length = int.from_bytes(file.read(8), "little")
    print(8 + length + json.loads(file.read(length))[sys.argv[2]]["data_offsets"][0] + 10)
EOS
}
# byte FILE PLACE
byte() {
    "$python" -c 'import os, sys
print(os.pread(os.open(sys.argv[1], os.O_RDONLY), 1, int(sys.argv[2])).hex())' "$@"
}

is_right() {
    cmp -s "$tmp/repo/m.safetensors" \
        "$mnt/hf/hub/models--org--name/snapshots/$commit/m.safetensors"
}

check() { # FOLDER TENSOR ITS-NAME-IN-THE-CHECKPOINT
    local file=$1/diffusion_pytorch_model.safetensors at source_at
    mount_ready "$store" "$mnt"
    write_recipe right "checkpoint = $tmp/repo/m.safetensors" \
        "config = $tmp/made/config"
    write_recipe hub "checkpoint = hf://org/name/m.safetensors" \
        "config = $tmp/made/config" "lora = $tmp/made/lora.safetensors"
    at=$(place "$converted/right/$file" "$2")
    source_at=$(place "$tmp/repo/m.safetensors" "$3")
    set_faults "{\"server\": \"cdn\", \"flip_at\": $source_at}"
    [ "$(byte "$converted/hub/$file" "$at")" != "$(byte "$converted/right/$file" "$at")" ] ||
        fail "the fault did not reach the view"
    clear_faults
    wait_until 20 is_right
    assert_equal "the byte" "$(byte "$converted/right/$file" "$at")" \
        "$(byte "$converted/hub/$file" "$at")"
    unmount "$mnt"
    rm -rf "$store"
}

check vae decoder.conv_in.weight first_stage_model.decoder.conv_in.weight
# Merged with a LoRA, whose change is 0.
name=transformer_blocks.0.attn1.to_q.weight
check unet "down_blocks.0.attentions.0.$name" \
    "model.diffusion_model.input_blocks.1.1.$name"
