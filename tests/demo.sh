#!/usr/bin/env bash
# A minute's look at mlcachefs: a Hub on loopback with one model, a web server
# with an image, a spaCy wheel and a checkpoint, a mount, and what each step made
# the mount fetch.  Everything it makes lies in one
# temporary folder and goes with it, on Ctrl-C too.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

say() {
    printf '\n%s\n' "$*"
}

# show COMMAND: as if typed, with the long temporary folder left out.
show() {
    printf '  $ %s\n' "$1"
    bash -c "$1" 2>&1 | sed "s,$tmp/,,g; s/^/  /"
}

# fetched: what reached the origin since the last time.
fetched() {
    origin_log show | "$python" -c '
import json, sys, urllib.parse
requests = [json.loads(line) for line in sys.stdin]
print("  -> %d requests reached the servers, %.1f MB of bodies" % (
    len(requests), sum(request["sent"] for request in requests) / 1e6))
for request in requests:
    ua = request["ua"] or "-"
    who = "hf_hub" if "hf_hub/" in ua else ua.split()[0].split("/")[0]
    path = urllib.parse.unquote(request["path"].split("?")[0])
    print("     %-10s %-4s %s %s" % (who, request["method"], path[:90],
                                     request["range"] or ""))'
    origin_log clear
}

if venv=$(tests/clients/venv.sh --cached hub-new 2>/dev/null); then
    PATH=$venv/bin:$PATH
fi

mkdir "$tmp/source"
printf '{"model_type": "demo"}\n' >"$tmp/source/config.json"
printf '# A demo\n' >"$tmp/source/README.md"
make_file "$tmp/source/model.safetensors" 8M
start_origin "$tmp/origin"
commit=$(make_repo model demo/tiny --from "$tmp/source" --lfs-over 100000)
snapshot=models/hf/hub/models--demo--tiny/snapshots/$commit
served=$origin_root/web
mkdir -p "$served"
make_file "$served/cat.png" 300K
"$python" tests/origin/mkwheel.py --root "$origin_root" en_core_web_sm 3.8.0 \
    --size 2000000 >/dev/null
"$python" tests/checkpoint.py make "$served/dream.safetensors" --family sd1
"$python" tests/checkpoint.py configs "$tmp/config" --family sd1
cd "$tmp"

say "A Hub with one model runs at $hub, a web server at $web.  Mounting:"
echo "  \$ mlcachefs store models"
mount_ready "$tmp/store" "$tmp/models" "spacy_compat_url=$web/spacy-models/compatibility.json,spacy_download_url=$web/releases"
show "ls models"

say "The model was never downloaded, yet its files are there, with their sizes:"
show "cat models/hf/hub/models--demo--tiny/refs/main; echo"
show "ls -lL $snapshot"
show "du -sLh --apparent-size $snapshot; du -sLh $snapshot"
fetched

say "Its bytes come when they are read:"
show "cp $snapshot/model.safetensors copy"
assert_same copy source/model.safetensors
fetched

say "Once:"
show "cmp $snapshot/model.safetensors copy && echo equal"
fetched

if python3 -c 'import huggingface_hub' 2>/dev/null; then
    say "An unmodified client finds every file in its cache, and downloads none:"
    show "HF_HOME=models/hf python3 -c '
import huggingface_hub
print(\"huggingface_hub\", huggingface_hub.__version__)
print(huggingface_hub.snapshot_download(\"demo/tiny\"))'"
    fetched
else
    say "(No huggingface_hub for this python3: ./setup check brings one.)"
fi

say "Any URL is a path, and is asked for again only when it has expired:"
show "cp models/web/$web/cat.png . && cmp cat.png models/web/$web/cat.png && echo equal"
fetched

say "Every spaCy model is a directory; its wheel's index alone tells the sizes:"
show "ls models/spacy | head -n 3"
show "du -s --apparent-size models/spacy/en_core_web_sm/en_core_web_sm-3.8.0/vocab"
fetched
show "head -c 60 models/spacy/en_core_web_sm/meta.json; echo"
fetched

say "A checkpoint is a diffusers folder, and only what is read of it is fetched:"
printf 'checkpoint = web/%s/dream.safetensors\nconfig = %s\n' "$web" \
    "$tmp/config" >models/diffusers_converted/dream.recipe
show "cat models/diffusers_converted/dream.recipe"
show "ls models/diffusers_converted/dream/*"
show "cat models/diffusers_converted/dream/vae/*.safetensors | sha256sum"
fetched

say "Unmounted, the store is an ordinary cache with what was fetched:"
unmount "$tmp/models"
show "find store/hf store/spacy -path '*models--*' -not -type d -o -path '*en_core*' -type f"

say "That was all; nothing is left behind.  ./setup run MOUNTPOINT is for real."
