"""dgenerate, unmodified, on the DGENERATE_CACHE of the environment.

    dgenerate.py first URL...   fresh: what importing makes, then fetches and finds again
    dgenerate.py hit URL...     finds them in its cache
    dgenerate.py fetch URL...   finds or fetches them
    dgenerate.py many NAME N    adds N rows, one at a time
    dgenerate.py hold           is in the middle of a change of its database until stdin ends

Those that find or fetch print the files' paths, in order.
"""

import os
import sys

import torch

# stdout is for what we have to say: others talk, too.
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

# The compiled part of torchvision is not for this torch: what importing it needs is said here.
vision = torch.library.Library("torchvision", "DEF")
vision.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
vision.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

# This file has its name; what is meant is the package.
sys.path[:] = [p for p in sys.path if p != os.path.dirname(os.path.abspath(__file__))]

import dgenerate  # noqa: E402
import dgenerate.webcache  # noqa: E402
import filelock  # noqa: E402
import safetensors.torch  # noqa: E402

COMPONENTS = ["text_encoder", "text_encoder_2", "text_encoder_3", "transformer", "unet"]
base = os.environ["DGENERATE_CACHE"]
web = os.path.join(base, "web")
cache = dgenerate.webcache.cache


def get(urls, **options):
    for url in urls:
        _, path = dgenerate.webcache.create_web_cache_file(url, tqdm_pbar=None, **options)
        print(path, file=out)


def check_layout():
    """What importing makes, and nothing else."""
    assert sorted(os.listdir(web)) == ["cache.db", "cache.db.lock", *COMPONENTS], os.listdir(web)
    assert os.listdir(os.path.join(base, "auto1111_metadata")) == []


def convert():
    """As its converted checkpoints are written and read."""
    folder = os.path.join(web, "unet", "0" * 64)
    os.mkdir(folder)
    path = os.path.join(folder, "diffusion_pytorch_model.safetensors")
    tensors = {"a": torch.arange(500_000, dtype=torch.float32)}
    safetensors.torch.save_file(tensors, path)
    assert torch.equal(safetensors.torch.load_file(path)["a"], tensors["a"])
    assert os.listdir(folder) == [os.path.basename(path)]


def first(*urls):
    check_layout()
    get(urls)
    get(urls, local_files_only=True)
    convert()


def many(name, n):
    for i in range(int(n)):
        cache.kv_store[f"{name} {i}"] = "x"


def hold():
    kv = cache.kv_store
    with kv:
        kv.cursor.execute("PRAGMA cache_size=1")
        for i in range(500):
            kv.cursor.execute("REPLACE INTO store VALUES (?, ?, ?)", (f"half {i}", "x" * 500, ""))
        # Nobody else has the lock, by whatever descriptor.
        try:
            filelock.FileLock(kv.db_path + ".lock", timeout=0.1, is_singleton=False).acquire()
            raise AssertionError("locked twice")
        except filelock.Timeout:
            print("held", file=out, flush=True)
        sys.stdin.read()
        kv.connection.rollback()


def main():
    command, *rest = sys.argv[1:]
    if command == "fetch":
        get(rest)
    elif command == "hit":
        get(rest, local_files_only=True)
    else:
        {"first": first, "many": many, "hold": hold}[command](*rest)


main()
