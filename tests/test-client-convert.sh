#!/usr/bin/env bash
# A checkpoint's weight files are, byte for byte, those that diffusers makes.
# timeout: 900
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_venv models
convert=$(dirname "$MLCACHEFS")/tests/format-convert
[ -x "$convert" ] || skip "no $convert: make check builds it"

# What loads from a local folder has nothing to ask the Hub.
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
client() {
    "$venv_python" "$srcdir/tests/clients/convert.py" "$@" 2>"$tmp/client.err" ||
        fail "$(grep -v it/s "$tmp/client.err" | tail -n 20)"
}
checkpoint() {
    "$python" "$srcdir/tests/checkpoint.py" "$@"
}

# NAME: FAMILY DTYPE [OPTION...]
jobs='
sd1-f16: sd1 F16 --junk
sd1-bf16: sd1 BF16 --shuffle --unaligned --vae-dims 3
sd1-f32: sd1 F32 --shuffle --vae-dims 2 --vae-prefix vae.
sd1-deep: sd1 F16 --size deep --junk --unaligned
sd1-inpaint: sd1 F16 --task inpaint
sd1-edit: sd1 F16 --task edit
sd2-f16: sd2 F16 --shuffle --unaligned --junk
sd2-bf16: sd2 BF16
sd2-f32: sd2 F32 --junk
sd2-deep: sd2 BF16 --size deep --shuffle
sd2-inpaint: sd2 F32 --task inpaint
sd2-depth: sd2 F16 --task depth
sdxl-f16: sdxl F16
sdxl-bf16: sdxl BF16 --junk --shuffle --unaligned
sdxl-f32: sdxl F32 --vae-dims 3
sdxl-deep: sdxl F16 --size deep --shuffle --junk
refiner-f16: refiner F16 --shuffle
refiner-bf16: refiner BF16 --junk
refiner-f32: refiner F32 --unaligned
refiner-deep: refiner F32 --size deep
'

names=()
while read -r name family dtype options; do
    [ -n "$name" ] || continue
    name=${name%:}
    read -ra arguments <<<"--family $family $options"
    checkpoint make "$tmp/$name.safetensors" --seed "${#names[@]}" \
        --dtype "$dtype" "${arguments[@]}"
    checkpoint configs "$tmp/$name.config" "${arguments[@]}"
    echo "$dtype" >"$tmp/$name.job"
    names+=("$name")
done <<<"$jobs"
client references "$tmp"

# weights FOLDER: their paths inside.
weights() {
    (cd "$1" && find . -name '*.safetensors' | sort)
}

equal_bytes() { # NAME
    local file wanted=$tmp/$1.reference got=$tmp/$1.flat
    "$convert" --flat --config "$tmp/$1.config" "$tmp/$1.safetensors" "$got"
    assert_equal "the weights files" "$(weights "$wanted")" "$(weights "$got")"
    [ "$(weights "$got" | wc -l)" -ge 3 ] || fail "too few weights files"
    while read -r file; do
        cmp "$wanted/$file" "$got/$file" || fail "$file differs"
    done < <(weights "$wanted")
}

loads_the_same() { # NAME
    local got=$tmp/$1.prefixed
    "$convert" --config "$tmp/$1.config" "$tmp/$1.safetensors" "$got"
    client load "$got" "$tmp/$1.reference" "$(cat "$tmp/$1.job")"
}

prefix_only() { # NAME
    local got=$tmp/$1.prefixed file=text_encoder/model.safetensors
    [ -e "$got" ] ||
        "$convert" --config "$tmp/$1.config" "$tmp/$1.safetensors" "$got"
    client prefixed "$got/$file" "$tmp/$1.reference/$file"
    [ ! -e "$got/text_encoder_2" ] ||
        cmp "$got/text_encoder_2/model.safetensors" \
            "$tmp/$1.reference/text_encoder_2/model.safetensors"
}

# A folder of the same version as `config`: its configurations stay, but for
# what the manual lists.
same_configs() { # NAME
    local file got=$tmp/$1.again wanted=$tmp/$1.reference
    "$convert" --config "$wanted" "$tmp/$1.safetensors" "$got"
    for file in unet/config.json vae/config.json \
        scheduler/scheduler_config.json; do
        cmp "$wanted/$file" "$got/$file"
    done
    for file in "$wanted"/text_encoder*/config.json; do
        file=${file#"$wanted/"}
        diff "$wanted/$file" <(grep -v '"torch_dtype"' "$got/$file") ||
            fail "$file differs"
    done
    diff <(sed 's/CLIPImageProcessorPil/CLIPImageProcessor/' \
        "$wanted/model_index.json") "$got/model_index.json" ||
        fail "model_index.json differs"
}

for name in "${names[@]}"; do
    run_case "bytes: $name" equal_bytes "$name"
done
for name in sd1-f32 sd1-inpaint sd1-edit sd2-bf16 sdxl-bf16 refiner-f16; do
    run_case "loaded: $name" loads_the_same "$name"
done
for name in sd1-f16 sd2-f16 sdxl-f16; do
    run_case "prefix: $name" prefix_only "$name"
done
for name in sd1-bf16 sd2-f32 sdxl-f16 refiner-f16; do
    run_case "configs: $name" same_configs "$name"
done

# Another VAE's file has the same bytes under other names, or diffusers' own.
other_vae() { # NAME PREFIX
    local got=$tmp/vae-$3 name=$1 vae=$tmp/vae-$3.safetensors
    checkpoint make "$vae" --family sdxl --seed 77 --vae-only --vae-prefix "$2"
    if [ "$3" = diffusers ]; then
        vae=$tmp/vae-none/vae/diffusion_pytorch_model.safetensors
    fi
    "$convert" --flat --config "$tmp/$name.config" --vae "$vae" \
        "$tmp/$name.safetensors" "$got"
    cmp "$got/unet/diffusion_pytorch_model.safetensors" \
        "$tmp/$name.reference/unet/diffusion_pytorch_model.safetensors"
    if [ ! -e "$tmp/vae.safetensors" ]; then
        cp "$got/vae/diffusion_pytorch_model.safetensors" \
            "$tmp/vae.safetensors"
        ! cmp -s "$tmp/vae.safetensors" \
            "$tmp/$name.reference/vae/diffusion_pytorch_model.safetensors" ||
            fail "the checkpoint's VAE was taken"
    fi
    cmp "$got/vae/diffusion_pytorch_model.safetensors" "$tmp/vae.safetensors"
}
run_case "vae: bare names" other_vae sdxl-f16 '' none
run_case "vae: first_stage_model." other_vae sdxl-f16 first_stage_model. ldm
run_case "vae: vae." other_vae sdxl-f16 vae. vae
run_case "vae: diffusers' own" other_vae sdxl-f16 '' diffusers

# The built-in configurations, of full size.
builtin() { # OPTION...
    checkpoint make "$tmp/full" --size full "$@"
    "$convert" --hollow --flat "$tmp/full" "$tmp/full.${*//[- ]/}"
    client models "$tmp/full.${*//[- ]/}"
}
run_case "built in: SD1" builtin --family sd1
run_case "built in: SD1 inpaint" builtin --family sd1 --task inpaint
run_case "built in: SD1 edit" builtin --family sd1 --task edit
run_case "built in: SD2" builtin --family sd2
run_case "built in: SD2 inpaint" builtin --family sd2 --task inpaint
run_case "built in: SD2 depth" builtin --family sd2 --task depth
run_case "built in: SDXL" builtin --family sdxl
run_case "built in: SDXL inpaint" builtin --family sdxl --task inpaint
run_case "built in: refiner" builtin --family refiner
end_cases
