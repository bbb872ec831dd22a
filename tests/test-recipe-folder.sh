#!/usr/bin/env bash
# A recipe makes a folder appear: the files of a model, each tensor of which is
# the checkpoint's, and nothing of it on disk.
# tap
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/m.safetensors" --family sd1 --junk --shuffle --unaligned
make_configs "$tmp/made/config" --family sd1
mount_ready "$store" "$mnt" offline
write_recipe dream "checkpoint = $tmp/made/m.safetensors" "config = $tmp/made/config"
dream=$converted/dream

listed() {
    assert_equal "the folder" "dream dream.recipe" "$(names_in "$converted")"
    assert_equal "its parts" \
        "feature_extractor model_index.json scheduler text_encoder tokenizer unet vae" \
        "$(names_in "$dream")"
    assert_equal "a part" "config.json diffusion_pytorch_model.safetensors" \
        "$(names_in "$dream/unet")"
    assert_equal "another" "config.json model.safetensors" \
        "$(names_in "$dream/text_encoder")"
    assert_equal "the tokenizer" "$(names_in "$tmp/made/config/tokenizer")" \
        "$(names_in "$dream/tokenizer")"
    assert_absent "$dream/safety_checker"
    assert_absent "$dream/unet/nothing"
}

# Every tensor of a part that is not split or transposed, by its content.
taken_from_the_checkpoint() {
    local file
    for file in $(weights "$dream"); do
        tensors "$dream/$file" | awk '{ print $NF }' | sort -u >"$tmp/sums"
        "$python" - "$tmp/made/m.safetensors" "$tmp/sums" <<'EOS'
import hashlib, json, sys

with open(sys.argv[1], "rb") as file:
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    have = set()
    for one in header.values():
        begin, end = one["data_offsets"]
        file.seek(8 + length + begin)
        have.add(hashlib.sha256(file.read(end - begin)).hexdigest()[:16])
sums = set(open(sys.argv[2]).read().split())
assert sums and sums <= have, sums - have
EOS
    done
}

on_no_disk() {
    local file=$dream/unet/diffusion_pytorch_model.safetensors
    assert_equal "the state" view \
        "$(getfattr --absolute-names --only-values -n user.mlcachefs.state "$file")"
    assert_equal "blocks" 1 "$(stat -c %b "$file")"
    assert_equal "what is stored" dream.recipe "$(names_in "$store/diffusers_converted")"
    assert_error "Operation not permitted" dd if=/dev/zero of="$file" conv=notrunc count=1 status=none
}

# In any order, as libraries map them.
in_any_order() {
    local file=$dream/unet/diffusion_pytorch_model.safetensors
    cp "$file" "$tmp/copy"
    "$python" - "$file" "$tmp/copy" <<'EOS'
import mmap, random, sys

rng = random.Random(1)
with open(sys.argv[1], "rb") as a, open(sys.argv[2], "rb") as b:
    want = b.read()
    with mmap.mmap(a.fileno(), 0, prot=mmap.PROT_READ) as map:
        assert len(map) == len(want)
        for _ in range(300):
            at = rng.randrange(len(want))
            n = min(len(want) - at, rng.choice([1, 7, 4096, 100000, 3000000]))
            assert map[at:at + n] == want[at:at + n], (at, n)
    a.seek(0)
    while chunk := a.read(rng.randrange(1, 300000)):
        at = a.tell()
        assert chunk == want[at - len(chunk):at]
    assert a.tell() == len(want)
EOS
}

# A folder of the mount, whose path could be the name of a repository.
config_in_the_mount() {
    mkdir "$mnt/my"
    cp -r "$tmp/made/config" "$mnt/my/config"
    write_recipe near "checkpoint = $tmp/made/m.safetensors" "config = my/config"
    assert_same_weights "$dream" "$converted/near"
    rm "$converted/near.recipe"
}

run_case "its configuration in the mount" config_in_the_mount
run_case "its listing" listed
run_case "its tensors" taken_from_the_checkpoint
run_case "takes no space" on_no_disk
run_case "read in any order" in_any_order
unmount "$mnt"
end_cases
