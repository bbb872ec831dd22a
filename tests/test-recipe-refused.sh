#!/usr/bin/env bash
# A recipe that can't be served holds error.txt alone, which says why.
# tap
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/m.safetensors" --family sd1
make_configs "$tmp/made/config" --family sd1
good="checkpoint = $tmp/made/m.safetensors"
config="config = $tmp/made/config"
mount_ready "$store" "$mnt" offline

# refused NAME REGEX LINE...
refused() {
    local name=$1 regex=$2
    shift 2
    write_recipe "$name" "$@"
    assert_refused_recipe "$name" "$regex"
}

# hostile NAME REGEX: a checkpoint that python makes of the good one.
hostile() {
    "$python" - "$tmp/made/m.safetensors" "$tmp/made/$1.safetensors" "$1" <<'EOS'
import json, struct, sys

source, target, how = sys.argv[1:]
data = open(source, "rb").read()
length = int.from_bytes(data[:8], "little")
header, body = data[8:8 + length], data[8 + length:]
names = json.loads(header)
names.pop("__metadata__", None)
first = sorted(names, key=lambda name: names[name]["data_offsets"])[0]
last = sorted(names, key=lambda name: names[name]["data_offsets"])[-1]


def write(header, body=body, length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(header) if length is None else length))
        file.write(header + body)


if how == "empty":
    open(target, "wb").close()
elif how == "past-the-end":
    write(header, length=len(data) + 1)
elif how == "negative":
    write(header, length=(1 << 64) - 1)
elif how == "huge":
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", 100_000_000))
        file.truncate(200_000_000)
elif how == "too-huge":
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(200_000_000)
elif how == "cut":
    write(header, body[:-1])
elif how == "trailing":
    write(header, body + b"x")
elif how == "hole":
    names[last]["data_offsets"][1] -= 2
    write(names)
elif how == "overlap":
    names[last]["data_offsets"][0] -= 2
    write(names)
elif how == "out-of-range":
    names[last]["data_offsets"] = [1 << 62, 1 << 63]
    write(names)
elif how == "shape":
    names[first]["shape"] = [1 << 40, 1 << 40]
    write(names)
elif how == "dtype":
    names[first]["dtype"] = "F17"
    write(names)
elif how == "nan":
    write(json.dumps(names).replace('"shape": [', '"shape": [NaN, ', 1).encode())
elif how == "twice":
    one = json.dumps({first: names[first]}).encode()
    write(one[:-1] + b", " + json.dumps(names).encode()[1:])
elif how == "deep":
    write(b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}")
elif how == "not-text":
    write(b"{\xff\xfe}")
elif how == "pickle":
    open(target, "wb").write(b"\x80\x02}q\x00." + bytes(1000))
elif how == "zip":
    open(target, "wb").write(b"PK\x03\x04" + bytes(1000))
EOS
    refused "$1" "$2" "checkpoint = $tmp/made/$1.safetensors" "$config"
}

missing_tensor() {
    make_checkpoint "$tmp/made/without.safetensors" --family sd1 \
        --without model.diffusion_model.out.2.bias
    refused without 'model.diffusion_model.out.2.bias' \
        "checkpoint = $tmp/made/without.safetensors" "$config"
}

no_model() {
    "$python" - "$tmp/made/none.safetensors" <<'EOS'
import struct, sys
header = b'{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}'
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + b"abcd")
EOS
    refused none "." "checkpoint = $tmp/made/none.safetensors"
}

many_headers() {
    local i lines=()
    "$python" - "$tmp/made" <<'EOS'
import struct, sys
for i in range(5):
    header = b'{"__metadata__":{"n":"%d"}}' % i + b" " * (15 << 20)
    with open(f"{sys.argv[1]}/long{i}.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
EOS
    for i in 0 1 2 3 4; do
        lines+=("lora = $tmp/made/long$i.safetensors")
    done
    refused many "long4.safetensors: with its header .* 67108864 bytes" \
        "$good" "$config" "${lines[@]}"
    # The same file twice is one header.
    lines=("${lines[0]}" "${lines[0]}" "${lines[0]}" "${lines[0]}" "${lines[0]}")
    refused few "lora .*long0.safetensors: it has no tensor" "$good" "$config" "${lines[@]}"
}

# A recipe that names what it makes, itself or by way of another.
loops() {
    refused loop "itself made by a recipe" "checkpoint = \
diffusers_converted/loop/unet/diffusion_pytorch_model.safetensors" "$config"
    refused loop-mount "itself made by a recipe" "checkpoint = \
$converted/loop-mount/unet/diffusion_pytorch_model.safetensors" "$config"
    write_recipe one "checkpoint = diffusers_converted/two/x.safetensors"
    write_recipe two "checkpoint = diffusers_converted/one/x.safetensors"
    assert_refused_recipe one "itself made by a recipe"
    assert_refused_recipe two "itself made by a recipe"
    # From outside, through links.
    ln -s "$mnt" "$tmp/made/link"
    refused loop-link "itself made by a recipe" \
        "checkpoint = $tmp/made/link/diffusers_converted/loop-link/a" "$config"
    ln -s "$converted/loop-link2/../loop-link2/a" "$tmp/made/link2"
    refused loop-link2 "itself made by a recipe" \
        "checkpoint = $tmp/made/link2" "$config"
    ln -s circle "$tmp/made/circle"
    refused circle "too many symbolic links" "checkpoint = $tmp/made/circle"
    ln -s circle "$store/circle"
    refused circle2 "too many symbolic links" "checkpoint = circle"
}

no_files() {
    refused absent "$tmp/made/absent.safetensors: there is no such file" \
        "checkpoint = $tmp/made/absent.safetensors"
    refused folder "it is a directory" "checkpoint = $tmp/made"
    mkfifo "$tmp/made/fifo"
    refused fifo "no regular file" "checkpoint = $tmp/made/fifo"
    refused hub "there is no such file" "checkpoint = hf://org/name/a.safetensors"
    refused hub-form "not of the form hf://" "checkpoint = hf://name/a.safetensors"
    refused web "there is no such file" "checkpoint = http://127.0.0.1:1/a.safetensors"
    refused out "." "checkpoint = ../../etc/passwd"
    refused private "no such file" "checkpoint = .mlcachefs/log"
}

the_text() {
    refused key "line 2: unknown key 'chekpoint'" "# a" "chekpoint = b"
    refused again "line 2: checkpoint stands in line 1" "$good" "$good"
    refused nothing "no checkpoint is given" ""
    refused bad-vae "vae" "$good" "$config" "vae = $tmp/made/absent"
    refused bad-lora "lora" "$good" "$config" "lora = $tmp/made/absent 0.5"
    refused bad-config "there is no such file" "$good" "config = $tmp/made/absent"
    refused no-tokenizer "No checkpoint holds a tokenizer" "$good"
}

# A long name has a folder, too; and one that is too long is a file.
names() {
    local long
    long=$(printf 'n%.0s' $(seq 248))
    refused "$long" "no checkpoint" ""
    : >"$converted/.recipe"
    assert_equal "a recipe without a name" "" "$(find "$converted" -maxdepth 1 -name '' | head -n 1)"
}

# Somebody else's recipe reads nothing with the daemon's rights.
of_another_user() {
    [ "$(id -u)" = 0 ] || skip "not root"
    write_recipe other "$good" "$config"
    assert_exists "$converted/other/unet"
    chown 65534 "$store/diffusers_converted/other.recipe"
    assert_refused_recipe other "lies outside of the mount"
    ln -s "$tmp/made/m.safetensors" "$store/link.safetensors"
    write_recipe other-link "checkpoint = link.safetensors" "$config"
    assert_exists "$converted/other-link/unet"
    chown 65534 "$store/diffusers_converted/other-link.recipe"
    assert_refused_recipe other-link "lies outside of the mount"
}

# Nor what is in the mount, and closed to whose recipe it is.
of_who_may_not_read() {
    local recipe=$store/diffusers_converted/closed.recipe
    [ "$(id -u)" = 0 ] || skip "not root"
    mkdir "$mnt/folder"
    cp "$tmp/made/m.safetensors" "$mnt/folder/"
    cp -r "$tmp/made/config" "$mnt/folder/"
    write_recipe closed "checkpoint = folder/m.safetensors" \
        "config = $mnt/folder/config"
    chown 65534 "$recipe"
    assert_exists "$converted/closed/unet"
    chmod 640 "$mnt/folder/m.safetensors"
    touch "$recipe"
    assert_refused_recipe closed "folder/m.safetensors: it may not be read"
    chown 65534 "$mnt/folder/m.safetensors"
    touch "$recipe"
    assert_exists "$converted/closed/unet"
    chmod 750 "$mnt/folder"
    touch "$recipe"
    assert_refused_recipe closed "folder/m.safetensors: it may not be read"
    chown 0 "$recipe"
    assert_exists "$converted/closed/unet"
}

# Whose recipe it is, is asked of the one that is read.
of_changing_users() {
    [ "$(id -u)" = 0 ] || skip "not root"
    write_recipe theirs "$good" "$config"
    write_recipe ours "checkpoint = absent"
    chown 65534 "$store/diffusers_converted/theirs.recipe"
    "$python" - "$store/diffusers_converted" "$converted" <<'EOS'
import os, sys, threading

store, shown = sys.argv[1:]
done = threading.Event()


def swap():
    while not done.is_set():
        for name in ("ours", "theirs"):
            os.rename(f"{store}/{name}.recipe", f"{store}/swapped.recipe")
            os.rename(f"{store}/swapped.recipe", f"{store}/{name}.recipe")


swapper = threading.Thread(target=swap)
swapper.start()
served = 0
for _ in range(20000):
    try:
        served += "unet" in os.listdir(f"{shown}/swapped")
    except OSError:
        pass
done.set()
swapper.join()
assert served == 0, f"served {served} times"
EOS
}

run_case "of another user" of_another_user
run_case "of who may not read" of_who_may_not_read
run_case "of users that change" of_changing_users
run_case "files that are not there" no_files
run_case "what the recipe says" the_text
run_case "recipes that name themselves" loops
run_case "a missing tensor" missing_tensor
run_case "no model at all" no_model
run_case "more headers than memory should hold" many_headers
run_case "names" names
run_case "a header past the end" hostile past-the-end 'm*'
for how in empty negative huge too-huge cut trailing hole overlap out-of-range \
    shape dtype nan twice deep not-text pickle zip; do
    run_case "a checkpoint: $how" hostile "$how" "checkpoint .*$how.safetensors: ."
done
assert_exists "$mnt/.mlcachefs/status.json"
unmount "$mnt"
end_cases
