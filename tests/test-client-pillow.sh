#!/usr/bin/env bash
# Pillow opens the image of a pasted URL, and fetches no more than it reads.
. "${srcdir:-.}/tests/web.sh"
requires_venv pillow

mkdir -p "$served/d"
"$venv_python" - "$served/d" <<'EOS'
import random, sys
from PIL import Image
folder = sys.argv[1]
rng = random.Random(4)
image = Image.frombytes("RGB", (1200, 900), rng.randbytes(1200 * 900 * 3))
image.save(f"{folder}/noise.png")
image.resize((64, 48)).save(f"{folder}/small.jpg")
Image.frombytes("RGB", (4000, 3000), rng.randbytes(4000 * 3000 * 3)).save(f"{folder}/large.bmp")
EOS
mount_web fetch=demand

# same IMAGE: are its pixels those of the original?
same() {
    "$venv_python" - "$served/d/$1" "$url/d/$1" <<'EOS' || fail "$1 is another image"
import sys
from PIL import Image
wanted, got = (Image.open(path) for path in sys.argv[1:])
assert got.format == wanted.format and got.size == wanted.size
assert got.tobytes() == wanted.tobytes()
EOS
}

assert_equal "the size" 4000x3000 "$("$venv_python" -c '
import sys
from PIL import Image
print("%dx%d" % Image.open(sys.argv[1]).size)' "$url/d/large.bmp")"
sent=$(body_bytes --path 'large\.bmp')
[ "$sent" -lt 4000000 ] || fail "$sent bytes came for the head of an image"
same noise.png
same small.jpg
same large.bmp
unmount "$mnt"
stop_origin
mount_web
same noise.png
same small.jpg
unmount "$mnt"
