#!/usr/bin/env bash
# What was read of a view before its checkpoint was found to be damaged is not
# shown once the checkpoint is right.
. "${srcdir:-.}/tests/recipe.sh"
mkdir "$tmp/repo"
make_checkpoint "$tmp/repo/m.safetensors" --family sd1
make_configs "$tmp/made/config" --family sd1
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/repo")
mount_ready "$store" "$mnt"
vae=vae/diffusion_pytorch_model.safetensors
write_recipe right "checkpoint = $tmp/repo/m.safetensors" "config = $tmp/made/config"
write_recipe hub "checkpoint = hf://org/name/m.safetensors" "config = $tmp/made/config"

# place FILE TENSOR: where a byte of it is.
place() {
    "$python" - "$@" <<'EOS'
import json, sys
with open(sys.argv[1], "rb") as file:
    length = int.from_bytes(file.read(8), "little")
    print(8 + length + json.loads(file.read(length))[sys.argv[2]]["data_offsets"][0] + 10)
EOS
}
at=$(place "$converted/right/$vae" decoder.conv_in.weight)
source_at=$(place "$tmp/repo/m.safetensors" first_stage_model.decoder.conv_in.weight)

# byte NAME
byte() {
    "$python" -c 'import os, sys
print(os.pread(os.open(sys.argv[1], os.O_RDONLY), 1, int(sys.argv[2])).hex())' \
        "$converted/$1/$vae" "$at"
}

assert_exists "$converted/hub/$vae"
set_faults "{\"server\": \"cdn\", \"flip_at\": $source_at}"
[ "$(byte hub)" != "$(byte right)" ] || fail "the fault did not reach the view"
clear_faults
is_right() {
    cmp -s "$tmp/repo/m.safetensors" \
        "$mnt/hf/hub/models--org--name/snapshots/$commit/m.safetensors"
}
wait_until 20 is_right
assert_equal "the byte" "$(byte right)" "$(byte hub)"
unmount "$mnt"
