# shellcheck shell=bash
# What the tests of recipes share: checkpoints that are made here, a mount, and
# ways to compare what it shows.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mnt=$tmp/mnt
store=$tmp/store
converted=$mnt/diffusers_converted
mkdir -p "$tmp/made"

# make_checkpoint FILE OPTION...: see tests/checkpoint.py.
make_checkpoint() {
    "$python" "$srcdir/tests/checkpoint.py" make "$@"
}

# make_configs FOLDER OPTION...: of a model, with a tokenizer.
make_configs() {
    "$python" "$srcdir/tests/checkpoint.py" configs "$@"
}

# write_recipe NAME LINE...: through the mount, as an editor would.
write_recipe() {
    local name=$1
    shift
    printf '%s\n' "$@" >"$converted/$name.recipe"
}

# tensors FILE: each tensor's name, type, shape and a sum of its bytes; checks
# that the file is one in the canonical form.
tensors() {
    "$python" - "$1" <<'EOS'
import hashlib, json, os, sys

with open(sys.argv[1], "rb") as file:
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    assert header.pop("__metadata__") == {"format": "pt"}
    at = 0
    for name, one in header.items():
        begin, end = one["data_offsets"]
        assert begin == at, name
        at = end
        data = file.read(end - begin)
        assert len(data) == end - begin, name
        print(name, one["dtype"], one["shape"], hashlib.sha256(data).hexdigest()[:16])
    assert length % 8 == 0 and os.path.getsize(sys.argv[1]) == 8 + length + at
    assert not file.read()
EOS
}

# why NAME: what error.txt says.
why() {
    assert_equal "what $1/ holds" error.txt "$(names_in "$converted/$1")"
    cat "$converted/$1/error.txt"
}

# assert_refused_recipe NAME REGEX
assert_refused_recipe() {
    assert_match "the reason for $1" "$2" "$(why "$1")"
}

# weights FOLDER: its weight files.
weights() {
    (cd "$1" && find . -name '*.safetensors' | sort)
}

# assert_same_weights FOLDER FOLDER
assert_same_weights() {
    local file
    assert_equal "weight files" "$(weights "$1")" "$(weights "$2")"
    for file in $(weights "$1"); do
        assert_same "$1/$file" "$2/$file"
    done
}

# lora FILE RANK [TRANSFORMATION]: of one attention projection and of what is in
# no model; factors whose products are exact in float32.
lora() {
    "$python" - "$@" <<'EOS'
import json, random, struct, sys

path, rank, *how = sys.argv[1:]
rank, rng = int(rank), random.Random(path)
stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
up = [[rng.choice((-1, 0, 1)) for _ in range(rank)] for _ in range(32)]
down = [[rng.choice((-1, 0, 1)) for _ in range(32)] for _ in range(rank)]
tensors = {
    f"{stem}.lora_up.weight": ([32, rank], [v for row in up for v in row]),
    f"{stem}.lora_down.weight": ([rank, 32], [v for row in down for v in row]),
    f"{stem}.alpha": ([], [rank]),
}
if "unmatched" in how:
    tensors["lora_unet_nowhere.lora_up.weight"] = ([2, 1], [1, 1])
    tensors["lora_unet_nowhere.lora_down.weight"] = ([1, 2], [1, 1])
if "dora" in how:
    tensors[f"{stem}.dora_scale"] = ([32, 1], [1] * 32)
if "half" in how:
    del tensors[f"{stem}.lora_up.weight"]
if "shape" in how:
    tensors[f"{stem}.lora_up.weight"] = ([16, rank], [0] * (16 * rank))
if "other" in how:
    tensors = {key.replace("to_q", "to_nothing"): value for key, value in tensors.items()}
header, data = {}, b""
for name, (shape, values) in tensors.items():
    raw = struct.pack(f"<{len(values)}f", *values)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
json.dump({"up": up, "down": down}, open(path + ".json", "w"))
EOS
}

# prepare_merge: makes a model and a LoRA for it.  Then merge_at SCALE writes the
# recipe of both, whose only merged file is $view; what is kept of that lies in
# $kept.
prepare_merge() {
    make_checkpoint "$tmp/made/m.safetensors" --family sd1 --dtype F32
    make_configs "$tmp/made/config" --family sd1
    lora "$tmp/made/a.safetensors" 4
    # shellcheck disable=SC2034  # for the tests
    view=$converted/dream/unet/diffusion_pytorch_model.safetensors
    kept=$store/.mlcachefs/merged
}
merge_at() {
    write_recipe dream "checkpoint = $tmp/made/m.safetensors" \
        "config = $tmp/made/config" "lora = $tmp/made/a.safetensors $1"
}
has_kept() {
    [ "$(find "$kept" -type f | wc -l)" = "$1" ]
}
