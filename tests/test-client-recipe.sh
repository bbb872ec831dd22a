#!/usr/bin/env bash
# A recipe's weight files are, byte for byte, those that diffusers saves of the
# same checkpoint and LoRAs, and from_pretrained() loads the folder.
# timeout: 900
# tap
. "${srcdir:-.}/tests/recipe.sh"
requires_venv models
export HF_HUB_OFFLINE=1 HF_HOME=$tmp/hf_home
mount_ready "$store" "$mnt" offline

client() {
    "$venv_python" "$srcdir/tests/clients/recipe.py" "$@" 2>"$tmp/client.err" ||
        fail "$(grep -v it/s "$tmp/client.err" | tail -n 20)"
}

# same_files NAME FOLDER: text encoders' flat names are what diffusers saves now.
same_files() {
    assert_same_weights "$2" "$converted/$1"
}

# make NAME FAMILY DTYPE SCALES NAMES: the recipe, and what diffusers makes of the
# same files.  NAMES: of LoRAs, see tests/clients/recipe.py.
make() {
    local name=$1 family=$2 dtype=$3 scale n=0
    local -a loras=()
    file=$tmp/made/$1.safetensors config=$tmp/made/$1.config lines=()
    make_checkpoint "$file" --family "$family" --dtype "$dtype" --junk --shuffle
    make_configs "$config" --family "$family"
    for scale in ${4//,/ }; do
        loras+=("$scale:$tmp/made/$name.lora$n.safetensors")
        lines+=("lora = $tmp/made/$name.lora$n.safetensors $scale")
        n=$((n + 1))
    done
    client reference "$file" "$config" "$tmp/made/$name.ref" "$dtype" "$5" "${loras[@]}"
    write_recipe "$name" "checkpoint = $file" "config = $config" \
        "clip_names = flat" "lora_scale = 0.9" "${lines[@]}"
    same_files "$name" "$tmp/made/$name.ref"
}

# check NAME FAMILY DTYPE SCALES
check() {
    local name=$1 file config lines
    make "$@" own
    write_recipe "$name-prefixed" "checkpoint = $file" "config = $config" \
        "lora_scale = 0.9" "${lines[@]}"
    client load "$converted/$name-prefixed" "$tmp/made/$name.ref" "$3"
    # Another scale is another file, a scale of nothing the checkpoint's.
    [ -n "$4" ] || return 0
    write_recipe "$name" "checkpoint = $file" "config = $config" \
        "clip_names = flat" "lora_scale = 0.8" "${lines[@]}"
    ! cmp -s "$tmp/made/$name.ref/unet/diffusion_pytorch_model.safetensors" \
        "$converted/$name/unet/diffusion_pytorch_model.safetensors" ||
        fail "another scale gives the same file"
}

# names NAME FAMILY DTYPE NAMES
names() {
    local file config lines
    make "$1" "$2" "$3" 0.7,0.5 "$4"
}

run_case "SD 1, F16" check sd1 sd1 F16 ""
run_case "SD 2, BF16" check sd2 sd2 BF16 ""
run_case "SDXL, F32" check sdxl sdxl F32 ""
run_case "SDXL's refiner, F16" check refiner refiner F16 ""
run_case "SD 1, F16, one LoRA" check sd1-lora sd1 F16 0.8
run_case "SD 1, F32, three LoRAs" check sd1-loras sd1 F32 0.8,1.0,-0.35
run_case "SDXL, BF16, two LoRAs" check sdxl-loras sdxl BF16 0.7,0.5
run_case "SD 2, F16, two LoRAs" check sd2-loras sd2 F16 1.0,0.25
# Those that diffusers loses are merged as it merges them by its own names.
run_case "SDXL, F16, LoRAs by the checkpoint's names" names sdxl-names sdxl F16 checkpoint
run_case "SD 1, F16, LoRAs by the checkpoint's names" names sd1-names sd1 F16 lost
run_case "SDXL's refiner, F32, LoRAs by the checkpoint's names" \
    names refiner-names refiner F32 lost
unmount "$mnt"
end_cases
