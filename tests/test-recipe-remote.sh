#!/usr/bin/env bash
# A checkpoint on a server: what is read of the folder is fetched, and no more.
# tap
. "${srcdir:-.}/tests/recipe.sh"
mkdir -p "$tmp/source"
# Its VAE has 167 MB, its UNet 1.7 GB: nothing but the header is data.
make_checkpoint "$tmp/source/big.safetensors" --family sd1 --size full
make_checkpoint "$tmp/source/m.safetensors" --family sd1 --seed 1 --shuffle --unaligned
make_checkpoint "$tmp/source/v.safetensors" --family sd1 --seed 2 --vae-only --vae-prefix ''
make_configs "$tmp/made/config" --family sd1
make_configs "$tmp/made/big" --family sd1 --size full
start_origin "$tmp/origin"
mkdir -p "$origin_root/web/d"
cp --sparse=always "$tmp/source/big.safetensors" "$origin_root/web/d/"
cp "$tmp/source/m.safetensors" "$tmp/source/v.safetensors" "$origin_root/web/d/"
mkdir "$tmp/repo"
cp "$tmp/source/m.safetensors" "$tmp/repo/"
commit=$(make_repo model org/name --from "$tmp/repo")
config="config = $tmp/made/config"
mount_ready "$store" "$mnt"

write_recipe local "checkpoint = $tmp/source/m.safetensors" "$config"

same_as_local() { # NAME CHECKPOINT
    write_recipe "$1" "checkpoint = $2" "$config"
    assert_same_weights "$converted/local" "$converted/$1"
}

vae_alone() {
    local vae=vae/diffusion_pytorch_model.safetensors sent size
    write_recipe big "checkpoint = $web/d/big.safetensors" "config = $tmp/made/big"
    write_recipe big-local "checkpoint = $tmp/source/big.safetensors" \
        "config = $tmp/made/big"
    origin_log clear
    assert_equal "its parts, by name" 6 "$(find "$converted/big" -name 'config.json' -o \
        -name '*.safetensors' | wc -l)"
    sent=$(body_bytes --server web)
    echo "for the header: $sent"
    [ "$sent" -le $((1 << 20)) ] || fail "more than the header was fetched"
    origin_log clear
    assert_same "$converted/big-local/$vae" "$converted/big/$vae"
    size=$(stat -c %s "$converted/big/$vae")
    sent=$(body_bytes --server web)
    echo "of $size bytes: $sent"
    [ "$sent" -le $((size * 102 / 100)) ] || fail "$sent bytes for $size"
    # Once.
    origin_log clear
    assert_same "$converted/big-local/$vae" "$converted/big/$vae"
    assert_equal "fetched again" 0 "$(body_bytes --server web)"
}

# One header of the UNet, one tensor.
a_piece_of_the_unet() {
    local unet=unet/diffusion_pytorch_model.safetensors sent
    origin_log clear
    "$python" - "$converted/big/$unet" "$converted/big-local/$unet" <<'EOS'
import sys
with open(sys.argv[1], "rb") as a, open(sys.argv[2], "rb") as b:
    for at, n in ((0, 100000), (1_000_000_000, 10_000)):
        a.seek(at), b.seek(at)
        assert a.read(n) == b.read(n)
EOS
    sent=$(body_bytes --server web)
    echo "sent $sent"
    [ "$sent" -le $((24 << 20)) ] || fail "$sent bytes for a tensor"
}

vae_of_another() {
    write_recipe swapped "checkpoint = $tmp/source/m.safetensors" "$config" \
        "vae = $web/d/v.safetensors"
    write_recipe swapped-local "checkpoint = $tmp/source/m.safetensors" "$config" \
        "vae = $tmp/source/v.safetensors"
    assert_same_weights "$converted/swapped-local" "$converted/swapped"
    assert_same "$converted/local/unet/diffusion_pytorch_model.safetensors" \
        "$converted/swapped/unet/diffusion_pytorch_model.safetensors"
    ! cmp -s "$converted/local/vae/diffusion_pytorch_model.safetensors" \
        "$converted/swapped/vae/diffusion_pytorch_model.safetensors" ||
        fail "the VAE is the checkpoint's"
}

# A server that is away is a reason, and no end.
server_away() {
    set_faults '[{"server": "web", "match": "late", "status": 503}]'
    write_recipe late "checkpoint = $web/d/late.safetensors" "$config"
    assert_match "the reason" "late.safetensors: " "$(why late)"
    clear_faults
    cp "$tmp/source/m.safetensors" "$origin_root/web/d/late.safetensors"
    wait_until 30 test -e "$converted/late/unet"
    assert_same_weights "$converted/local" "$converted/late"
}

run_case "a name in web/" same_as_local web "web/$web/d/m.safetensors"
run_case "a URL" same_as_local url "$web/d/m.safetensors"
run_case "hf://" same_as_local hub "hf://org/name/m.safetensors"
run_case "hf:// of a commit" same_as_local commit "hf://org/name@$commit/m.safetensors"
run_case "a name in hf/" same_as_local hubname \
    "hf/hub/models--org--name/snapshots/$commit/m.safetensors"
run_case "an absolute name in the mount" same_as_local inside \
    "$mnt/hf/hub/models--org--name/snapshots/$commit/m.safetensors"
run_case "the VAE alone" vae_alone
run_case "a piece of the UNet" a_piece_of_the_unet
run_case "another VAE" vae_of_another
run_case "a server that is away" server_away
unmount "$mnt"
stop_origin
mount_ready "$store" "$mnt" offline
run_case "offline, what is cached" assert_same_weights "$converted/local" "$converted/hub"
unmount "$mnt"
end_cases
