#!/usr/bin/env bash
# Of a tensor that LoRAs change, on a server, any part can be read first: what it
# is computed from with it is waited for, too.
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/m.safetensors" --family sd1 --size full
make_configs "$tmp/made/config" --family sd1 --size full
"$python" - "$tmp/made/m.safetensors" "$tmp/made/lora.safetensors" <<'EOS'
import json, random, struct, sys

model, lora = sys.argv[1:]
rng = random.Random(7)


# Small numbers: no NaN is among them.
def numbers(n):
    return b"".join(struct.pack("<e", rng.uniform(-1, 1)) for _ in range(n))


with open(model, "r+b") as file:
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    name = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight"
    begin, end = header[name]["data_offsets"]
    file.seek(8 + length + begin)
    file.write(numbers((end - begin) // 2))
stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
header, data = {}, b""
for name, shape in (("up", [1280, 4]), ("down", [4, 1280])):
    header[f"{stem}.lora_{name}.weight"] = {
        "dtype": "F16", "shape": shape, "data_offsets": [len(data), len(data) + 10240]}
    data += numbers(5120)
text = json.dumps(header).encode()
with open(lora, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
EOS
start_origin "$tmp/origin"
mkdir -p "$origin_root/web"
cp --sparse=always "$tmp/made/m.safetensors" "$origin_root/web/"
mount_ready "$store" "$mnt"
for name in here there; do
    where=$tmp/made
    [ "$name" = here ] || where=$web
    write_recipe "$name" "checkpoint = $where/m.safetensors" \
        "config = $tmp/made/config" "lora = $tmp/made/lora.safetensors"
done
"$python" - "$converted/here" "$converted/there" <<'EOS'
import json, os, sys

unet = "unet/diffusion_pytorch_model.safetensors"
here, there = (os.open(f"{folder}/{unet}", os.O_RDONLY) for folder in sys.argv[1:])
length = int.from_bytes(os.pread(here, 8, 0), "little")
header = json.loads(os.pread(here, length, 8))
begin, end = header["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"]["data_offsets"]
begin, end = begin + 8 + length, end + 8 + length
os.posix_fadvise(there, 0, 0, os.POSIX_FADV_RANDOM)
first = begin + 1_400_000
assert os.pread(there, 4096, first) == os.pread(here, 4096, first), "the first part"
got, want = (os.pread(fd, end - begin, begin) for fd in (there, here))
assert len(got) == end - begin
wrong = [at for at in range(0, len(want), 4096) if got[at:at + 4096] != want[at:at + 4096]]
assert not wrong, f"{len(wrong)} of {len(want) // 4096} pages, from {wrong[0]} to {wrong[-1]}"
EOS
unmount "$mnt"
