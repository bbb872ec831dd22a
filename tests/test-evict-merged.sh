#!/usr/bin/env bash
# Merged tensors that are kept on disk count for max_size=: the oldest go.
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/m.safetensors" --family sd1 --dtype F32
make_configs "$tmp/made/config" --family sd1
lora "$tmp/made/a.safetensors" 4
view=$converted/dream/unet/diffusion_pytorch_model.safetensors
kept=$store/.mlcachefs/merged

# recipe SCALE
recipe() {
    write_recipe dream "checkpoint = $tmp/made/m.safetensors" \
        "config = $tmp/made/config" "lora = $tmp/made/a.safetensors $1"
}
n_kept() {
    find "$kept" -type f | wc -l
}
has_kept() {
    [ "$(n_kept)" = "$1" ]
}

mount_ready "$store" "$mnt"
for scale in 1 2 3; do
    recipe "$scale"
    cp "$view" "$tmp/$scale"
    wait_until 10 has_kept "$scale"
done
newest=$(find "$kept" -type f -printf '%T@ %f\n' | sort -n | tail -n 1)
size=$(stat -c %s "$kept/${newest#* }")
unmount "$mnt"

mount_ready "$store" "$mnt" "max_size=$((size + size / 2))"
wait_until 10 has_kept 1
assert_exists "$kept/${newest#* }"
# The next one that is made takes its place.
recipe 1
assert_same "$tmp/1" "$view"
is_replaced() {
    has_kept 1 && ! [ -e "$kept/${newest#* }" ]
}
wait_until 10 is_replaced
unmount "$mnt"
