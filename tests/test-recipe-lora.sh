#!/usr/bin/env bash
# LoRAs are merged as the folder is read: each tensor that one changes is W + s B A,
# all others, and the VAE, are the checkpoint's.
# tap
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/m.safetensors" --family sd1 --dtype F32
make_configs "$tmp/made/config" --family sd1
config="config = $tmp/made/config"
checkpoint="checkpoint = $tmp/made/m.safetensors"
unet=unet/diffusion_pytorch_model.safetensors
start_origin "$tmp/origin"
mount_ready "$store" "$mnt"
write_recipe plain "$checkpoint" "$config"

# merged PLAIN MERGED [SCALE LORA]...: the one tensor, and nothing else.
merged() {
    "$python" - "$@" <<'EOS'
import json, struct, sys

plain, merged, *loras = sys.argv[1:]
name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    length = int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8:8 + length])[name]["data_offsets"]
    return data, 8 + length + begin, 8 + length + end


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


a, begin, end = read(plain)
b, *place = read(merged)
assert place == [begin, end] and len(a) == len(b)
assert a[:begin] == b[:begin] and a[end:] == b[end:]
want = list(struct.unpack("<1024f", a[begin:end]))
for scale, path in zip(loras[::2], loras[1::2]):
    factors = json.load(open(path + ".json"))
    for row in range(32):
        for column in range(32):
            delta = sum(u * d[column] for u, d in zip(factors["up"][row], factors["down"]))
            at = row * 32 + column
            want[at] = f32(want[at] + f32(delta * f32(float(scale))))
got = struct.unpack("<1024f", b[begin:end])
assert list(got) == want, [pair for pair in zip(got, want) if pair[0] != pair[1]][:5]
EOS
}

two_in_order() {
    lora "$tmp/made/a.safetensors" 4 unmatched
    lora "$tmp/made/b.safetensors" 8
    write_recipe two "$checkpoint" "$config" "lora = $tmp/made/a.safetensors 0.5" \
        "lora = $tmp/made/b.safetensors -2" "lora_scale = 0.25"
    merged "$converted/plain/$unet" "$converted/two/$unet" \
        0.125 "$tmp/made/a.safetensors" -0.5 "$tmp/made/b.safetensors"
    assert_same "$converted/plain/vae/diffusion_pytorch_model.safetensors" \
        "$converted/two/vae/diffusion_pytorch_model.safetensors"
}

another_scale() {
    write_recipe two "$checkpoint" "$config" "lora = $tmp/made/b.safetensors 0.75"
    merged "$converted/plain/$unet" "$converted/two/$unet" \
        0.75 "$tmp/made/b.safetensors"
}

from_a_server() {
    mkdir -p "$origin_root/web/d"
    cp "$tmp/made/m.safetensors" "$tmp/made/b.safetensors" "$origin_root/web/d/"
    write_recipe served "checkpoint = $web/d/m.safetensors" "$config" \
        "lora = $web/d/b.safetensors 0.75"
    merged "$converted/plain/$unet" "$converted/served/$unet" \
        0.75 "$tmp/made/b.safetensors"
}

# Many at once, from no cache of the kernel's.
in_parallel() {
    local copies=$tmp/copies i
    mkdir "$copies"
    for i in 1 2 3 4 5 6; do
        cp "$converted/two/$unet" "$copies/$i" &
    done
    wait
    for i in 1 2 3 4 5 6; do
        assert_same "$converted/two/$unet" "$copies/$i"
    done
}

# The LoRA's file changes under an open view.
changed() {
    lora "$tmp/made/c.safetensors" 4
    write_recipe changed "$checkpoint" "$config" "lora = $tmp/made/c.safetensors"
    "$python" - "$converted/changed/$unet" "$tmp/made/c.safetensors" <<'EOS'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.pread(fd, 8, 0)
with open(sys.argv[2], "r+b") as file:
    file.seek(-100, 2)
    file.write(b"\0" * 50)
failed = 0
for at in range(500000, os.fstat(fd).st_size, 100000):
    try:
        os.pread(fd, 100000, at)
    except OSError as error:
        assert error.errno == errno.EIO
        failed += 1
assert failed == 0 or failed < 40, failed
EOS
    write_recipe now "$checkpoint" "$config" "lora = $tmp/made/c.safetensors"
    wait_until 10 cmp -s "$converted/now/$unet" "$converted/changed/$unet"
}

refused() { # HOW REGEX
    lora "$tmp/made/$1.safetensors" 4 "$1"
    write_recipe "$1" "$checkpoint" "$config" "lora = $tmp/made/$1.safetensors"
    assert_refused_recipe "$1" "$2"
}

no_lora() {
    write_recipe no "$checkpoint" "$config" "lora = $tmp/made/m.safetensors"
    assert_refused_recipe no "lora .*m.safetensors: ."
    head -c 1000 /dev/zero >"$tmp/made/zero.safetensors"
    write_recipe zero "$checkpoint" "$config" "lora = $tmp/made/zero.safetensors"
    assert_refused_recipe zero "lora .*zero.safetensors: ."
}

run_case "two, in order" two_in_order
run_case "another scale" another_scale
run_case "from a server" from_a_server
run_case "many readers" in_parallel
run_case "a LoRA that changes" changed
run_case "DoRA" refused dora "lora .*dora.safetensors: .*DoRA"
run_case "half of a pair" refused half "lora .*half.safetensors: ."
run_case "a wrong shape" refused shape "lora .*shape.safetensors: ."
run_case "of another model" refused other "lora .*other.safetensors: ."
run_case "no LoRA at all" no_lora
unmount "$mnt"
end_cases
