#!/usr/bin/env bash
# A checkpoint that changes under a view: who has it open gets EIO, never a mix;
# who opens it then gets the new one.
# tap
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/a.safetensors" --family sd1 --seed 1
make_checkpoint "$tmp/made/b.safetensors" --family sd1 --seed 2
make_configs "$tmp/made/config" --family sd1
mount_ready "$store" "$mnt" offline
unet=unet/diffusion_pytorch_model.safetensors

# check COMMAND...: which changes $file.
check() {
    local name=$1 file=$tmp/made/$1.safetensors
    shift
    cp "$tmp/made/a.safetensors" "$file"
    write_recipe "$name" "checkpoint = $file" "config = $tmp/made/config"
    cp "$converted/$name/$unet" "$tmp/$name.old"
    echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
    "$python" - "$converted/$name/$unet" "$tmp/$name.old" "$file" "$@" <<'EOS'
import errno, os, subprocess, sys

view, old, file, *command = sys.argv[1:]
want = open(old, "rb").read()
fd = os.open(view, os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
assert os.pread(fd, 4096, 0) == want[:4096]
subprocess.run([*command, file], check=True)
got = 0
for at in range(1 << 20, len(want), 100_000):
    try:
        data = os.pread(fd, 1000, at)
        assert data == want[at:at + 1000], f"a mix at {at}"
    except OSError as error:
        assert error.errno == errno.EIO, error
        got += 1
assert got > 10, f"only {got} of the reads failed"
EOS
}

after() { # NAME
    write_recipe "$1-new" "checkpoint = $tmp/made/b.safetensors" \
        "config = $tmp/made/config"
    wait_until 10 cmp -s "$converted/$1-new/$unet" "$converted/$1/$unet"
}

overwritten() {
    check over cp "$tmp/made/b.safetensors"
    after over
}

cut() {
    check cut truncate -s 2000000
    wait_until 10 test -e "$converted/cut/error.txt"
}

touched() {
    check touched touch -d '2001-01-01'
}

# Overwritten, and its time set back to what it was.
time_restored() {
    local file=$tmp/made/restored.safetensors
    cp "$tmp/made/a.safetensors" "$file"
    touch -r "$file" "$tmp/stamp"
    write_recipe restored "checkpoint = $file" "config = $tmp/made/config"
    cat "$converted/restored/$unet" >/dev/null
    cp "$tmp/made/b.safetensors" "$file"
    touch -r "$tmp/stamp" "$file"
    after restored
}

# Replaced by rename, or deleted, it is read on as it was.
replaced() {
    local file=$tmp/made/moved.safetensors fd
    cp "$tmp/made/a.safetensors" "$file"
    write_recipe moved "checkpoint = $file" "config = $tmp/made/config"
    cp "$converted/moved/$unet" "$tmp/moved.old"
    echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
    exec {fd}<"$converted/moved/$unet"
    cp "$tmp/made/b.safetensors" "$file.new"
    mv "$file.new" "$file"
    cat <&"$fd" >"$tmp/moved.got"
    assert_same "$tmp/moved.old" "$tmp/moved.got"
    exec {fd}<&-
    after moved
}

# Somebody overwrites it all the time.
never_mixed() {
    local file=$tmp/made/mixed.safetensors
    cp "$tmp/made/a.safetensors" "$file"
    write_recipe mixed "checkpoint = $file" "config = $tmp/made/config"
    write_recipe a "checkpoint = $tmp/made/a.safetensors" "config = $tmp/made/config"
    write_recipe b "checkpoint = $tmp/made/b.safetensors" "config = $tmp/made/config"
    "$python" - "$file" "$tmp/made" "$converted" "$unet" <<'EOS'
import os, sys, threading

file, made, converted, unet = sys.argv[1:]
old, new = (open(f"{made}/{name}.safetensors", "rb").read() for name in "ab")
whole = {name: open(f"{converted}/{name}/{unet}", "rb").read() for name in "ab"}
done = threading.Event()


def write():
    while not done.is_set():
        for data in (new, old):
            with open(file, "r+b") as f:
                f.write(data)


writer = threading.Thread(target=write)
writer.start()
failed = right = 0
try:
    for _ in range(300):
        try:
            with open(f"{converted}/mixed/{unet}", "rb", buffering=0) as f:
                data = b"".join(iter(lambda: f.read(300_000), b""))
        except OSError:
            failed += 1
            continue
        right += 1
        # A file that was itself half written, and stayed so, is no mix of ours.
        assert len(data) == len(whole["a"])
finally:
    done.set()
    writer.join()
print(f"{failed} failed, {right} read")
EOS
}

run_case "overwritten" overwritten
run_case "cut" cut
run_case "only touched" touched
run_case "its time restored" time_restored
run_case "replaced by rename" replaced
run_case "overwritten all the time" never_mixed
unmount "$mnt"
end_cases
