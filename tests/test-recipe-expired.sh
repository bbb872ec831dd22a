#!/usr/bin/env bash
# A checkpoint on a server that was replaced, and is known to have been, is not
# read as the one that it was.
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/a.safetensors" --family sd1 --seed 1
make_checkpoint "$tmp/made/b.safetensors" --family sd1 --seed 2
make_configs "$tmp/made/config" --family sd1
start_origin "$tmp/origin"
file=$origin_root/web/m.safetensors
mkdir -p "$origin_root/web"
cp "$tmp/made/a.safetensors" "$file"
date +%s >"$tmp/clock"
mount_ready "$store" "$mnt" "clock_file=$tmp/clock,web_expiry=hours=1"
for name in a b; do
    write_recipe "$name" "checkpoint = $tmp/made/$name.safetensors" \
        "config = $tmp/made/config"
done
write_recipe web "checkpoint = $web/m.safetensors" "config = $tmp/made/config"
"$python" - "$converted" "$tmp/made/b.safetensors" "$file" "$tmp/clock" \
    "$mnt/web/${web/:\/\//:/}/m.safetensors" <<'EOS'
import os, shutil, sys, time

converted, new, file, clock, known = sys.argv[1:]
vae = "vae/diffusion_pytorch_model.safetensors"
old, want = (open(f"{converted}/{name}/{vae}", "rb").read() for name in "ab")
assert len(old) == len(want)
with open(f"{converted}/web/{vae}", "rb", buffering=0) as view:
    os.posix_fadvise(view.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
    assert os.pread(view.fileno(), 4096, 1 << 20) == old[1 << 20:][:4096]
shutil.copy(new, file)
os.utime(file, (1e9, 1e9))
with open(clock, "w") as f:
    f.write(str(int(time.time()) + 7200))
assert os.stat(known).st_mtime == 1e9
got = open(f"{converted}/web/{vae}", "rb").read()
pages = [at for at in range(0, len(want), 4096) if got[at:at + 4096] != want[at:at + 4096]]
assert got == want, f"not what it is by now, at {pages[:10]}"
EOS
unmount "$mnt"
