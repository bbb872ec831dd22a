#!/usr/bin/env bash
# Without `config` the configurations are built in, and the tokenizer's two large
# files come from the Hub; with `config = ORG/NAME` all of it comes from there.
# tap
. "${srcdir:-.}/tests/recipe.sh"
mkdir -p "$tmp/clip" "$tmp/made/config"
make_checkpoint "$tmp/made/full.safetensors" --family sd1 --size full
make_checkpoint "$tmp/made/refiner.safetensors" --family refiner --size full
make_checkpoint "$tmp/made/tiny.safetensors" --family sd1
make_configs "$tmp/made/config" --family sd1
make_file "$tmp/clip/merges.txt" 500K
make_file "$tmp/clip/vocab.json" 1M
start_origin "$tmp/origin"
make_repo model openai/clip-vit-large-patch14 --from "$tmp/clip"
make_repo model org/config --from "$tmp/made/config"
mount_ready "$store" "$mnt"

built_in() {
    local name
    write_recipe full "checkpoint = $tmp/made/full.safetensors"
    assert_equal "its parts" \
        "feature_extractor model_index.json scheduler text_encoder tokenizer unet vae" \
        "$(names_in "$converted/full")"
    assert_equal "the tokenizer" \
        "merges.txt special_tokens_map.json tokenizer_config.json vocab.json" \
        "$(names_in "$converted/full/tokenizer")"
    assert_equal "nothing was fetched yet" 0 "$(body_bytes --server cdn)"
    for name in merges.txt vocab.json; do
        assert_same "$tmp/clip/$name" "$converted/full/tokenizer/$name"
    done
    "$python" -m json.tool "$converted/full/model_index.json" >/dev/null
}

refiner() {
    write_recipe refiner "checkpoint = $tmp/made/refiner.safetensors"
    assert_equal "its parts" \
        "model_index.json scheduler text_encoder_2 tokenizer_2 unet vae" \
        "$(names_in "$converted/refiner")"
    assert_same "$tmp/clip/vocab.json" "$converted/refiner/tokenizer_2/vocab.json"
}

of_a_repo() { # CONFIG
    write_recipe repo "checkpoint = $tmp/made/tiny.safetensors" "config = $1"
    write_recipe dir "checkpoint = $tmp/made/tiny.safetensors" \
        "config = $tmp/made/config"
    assert_same_tree "$converted/dir" "$converted/repo"
    assert_same "$tmp/made/config/tokenizer/vocab.json" \
        "$converted/repo/tokenizer/vocab.json"
}

in_the_mount() {
    cp -r "$tmp/made/config" "$mnt/myconfig"
    of_a_repo myconfig
}

run_case "built in" built_in
run_case "built in, the refiner's" refiner
run_case "config = ORG/NAME" of_a_repo org/config
run_case "config = ORG/NAME@REVISION" of_a_repo org/config@main
run_case "config = hf://ORG/NAME" of_a_repo hf://org/config
run_case "config = a directory in the mount" in_the_mount
unmount "$mnt"
end_cases
