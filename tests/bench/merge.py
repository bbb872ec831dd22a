"""What tests/bench/merge.c does, by torch on one thread, as PEFT does it.

    merge.py DTYPE RANK ROUNDS     GB/s of base weights, one line a round

Seconds are those that the thread had a processor for.
"""

import sys
import time

import torch

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
SIZES = [(1280, 1280), (10240, 1280), (1280, 5120), (640, 2048), (1280, 11520)]


def merge(dtype, rank, rows, columns):
    down, up = torch.rand(rank, columns).to(dtype), torch.rand(rows, rank).to(dtype)
    weight = torch.rand(rows, columns).to(dtype)
    begin = time.thread_time()
    weight += ((up.float() @ down.float()) * 1e-3).to(dtype)
    return time.thread_time() - begin


def main():
    dtype, rank, rounds = DTYPES[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    n_bytes = sum(rows * columns for rows, columns in SIZES) * dtype.itemsize
    for _ in range(rounds):
        seconds = sum(merge(dtype, rank, *size) for size in SIZES)
        print(f"{n_bytes / 1e9 / seconds:.3f}")


if __name__ == "__main__":
    main()
