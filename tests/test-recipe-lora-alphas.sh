#!/usr/bin/env bash
# The alphas of a LoRA on a server are asked for together: those that lie near
# each other come in one answer, those that don't without what lies between.
# tap
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/m.safetensors" --family sd1
make_configs "$tmp/made/config" --family sd1

# spread FILE COUNT LENGTH: so many modules of the model, each followed by one of
# no model that is up to twice as long; of zeros but for the alphas.
spread() {
    "$python" - "$tmp/made/m.safetensors" "$@" <<'EOS'
import json, random, struct, sys

model, path, count, length = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
prefix, rng = "model.diffusion_model.", random.Random(7)
with open(model, "rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
shapes = {name.removeprefix(prefix).removesuffix(".weight"): one["shape"]
          for name, one in header.items()
          if name.startswith(prefix) and name.endswith(".weight") and len(one["shape"]) > 1}
assert len(shapes) >= count
tensors, at, alphas = {}, 0, []


def add(name, shape):
    global at
    size = 2
    for n in shape:
        size *= n
    tensors[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
    at += size


for number, name in enumerate(rng.sample(sorted(shapes), count)):
    stem, shape = "lora_unet_" + name.replace(".", "_"), shapes[name]
    alphas.append(at)
    add(f"{stem}.alpha", [])
    add(f"{stem}.lora_down.weight", [1, *shape[1:]])
    add(f"{stem}.lora_up.weight", [shape[0], 1, *[1] * (len(shape) - 2)])
    add(f"lora_unet_nowhere_{number}.lora_down.weight", [1, 1])
    add(f"lora_unet_nowhere_{number}.lora_up.weight", [rng.randrange(length) + 1, 1])
text = json.dumps(tensors).encode()
with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for alpha in alphas:
        file.seek(8 + len(text) + alpha)
        file.write(struct.pack("<e", 1))
    file.truncate(8 + len(text) + at)
EOS
}

start_origin "$tmp/origin"
mkdir -p "$origin_root/web"
spread "$origin_root/web/near.safetensors" 200 300000
spread "$origin_root/web/far.safetensors" 20 30000000
mount_ready "$store" "$mnt"

# folder NAME REQUESTS BYTES: is listed with no more than those.
folder() {
    local requests sent
    write_recipe "$1" "checkpoint = $tmp/made/m.safetensors" \
        "config = $tmp/made/config" "lora = $web/$1.safetensors"
    origin_log clear
    [ -d "$converted/$1/unet" ] || fail "$(why "$1")"
    requests=$(count_requests --server web --method GET)
    sent=$(body_bytes --server web)
    echo "$requests requests, $sent bytes of $(stat -c %s "$origin_root/web/$1.safetensors")"
    [ "$requests" -le "$2" ] || fail "$requests requests"
    [ "$sent" -le "$3" ] || fail "$sent bytes"
}

# Of all connections.
run_case "200 near each other" folder near 20 100000000
run_case "20 far apart" folder far 26 14000000
unmount "$mnt"
end_cases
