#!/usr/bin/env bash
# A small checkpoint on a server whose VAE is read: of the rest of the file
# hardly anything is fetched, wherever the VAE's tensors lie in it.
# tap
. "${srcdir:-.}/tests/recipe.sh"
mkdir -p "$tmp/source"
make_configs "$tmp/made/sd1" --family sd1
make_configs "$tmp/made/sdxl" --family sdxl --size deep
start_origin "$tmp/origin"
mkdir -p "$origin_root/web/d"

# make_small NAME OPTION...
make_small() {
    make_checkpoint "$tmp/source/$1.safetensors" "${@:2}"
    cp "$tmp/source/$1.safetensors" "$origin_root/web/d/"
}

# 12 MB, of which 2.8 are the VAE's, in one piece or in 180.
make_small ordered --family sd1 --seed 1
make_small shuffled --family sd1 --seed 2 --shuffle --unaligned
# 90 MB, of which 6.4 are, in 230.
make_small deep --family sdxl --size deep --seed 3 --shuffle
make_repo model org/name --from "$tmp/source" >/dev/null
mount_ready "$store" "$mnt"

# vae_alone NAME CONFIG URL SERVER: what comes is at most 1.02 times the VAE,
# and the header, whose end is not the end of a piece (512 bytes at most).
vae_alone() {
    local vae=vae/diffusion_pytorch_model.safetensors
    local name=$1 config=$2 url=$3 server=$4 header size sent
    write_recipe "local-$name" "checkpoint = $tmp/source/$name.safetensors" \
        "config = $tmp/made/$config"
    header=$("$python" -c 'import sys
with open(sys.argv[1], "rb") as file:
    print(8 + int.from_bytes(file.read(8), "little"))' "$tmp/source/$name.safetensors")
    size=$(stat -c %s "$converted/local-$name/$vae")
    origin_log clear
    write_recipe "$server-$name" "checkpoint = $url" "config = $tmp/made/$config"
    assert_same "$converted/local-$name/$vae" "$converted/$server-$name/$vae"
    sent=$(($(body_bytes --server "$server") - header))
    echo "header $header, VAE $size, sent for it $sent, in" \
        "$(count_requests --server "$server") requests"
    [ "$sent" -le $((size * 102 / 100 + 512)) ] || fail "$sent bytes for $size"
    origin_log clear
    assert_same "$converted/local-$name/$vae" "$converted/$server-$name/$vae"
    assert_equal "fetched again" 0 "$(body_bytes --server "$server")"
}

of_web() { # NAME CONFIG
    vae_alone "$1" "$2" "$web/d/$1.safetensors" web
}

of_hub() {
    vae_alone "$1" "$2" "hf://org/name/$1.safetensors" cdn
}

run_case "http: in order" of_web ordered sd1
run_case "http: shuffled" of_web shuffled sd1
run_case "http: shuffled, larger" of_web deep sdxl
run_case "hf: in order" of_hub ordered sd1
run_case "hf: shuffled" of_hub shuffled sd1
unmount "$mnt"
end_cases
