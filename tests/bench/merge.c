/* SPDX-License-Identifier: MIT */
/* How fast LoRAs are merged, on one core:
 *
 *   merge DTYPE RANK ROUNDS     GB/s of base weights, one line a round
 *
 * DTYPE is F16, BF16 or F32.  A round is a tensor of each of the sizes below,
 * as SDXL has them, with everything that is done to one. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/format/merge.h"

static const size_t sizes[][2] = {
    {1280, 1280}, {10240, 1280}, {1280, 5120}, {640, 2048}, {1280, 11520},
};

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* n values of about 1 to 2. */
static void *
make_values(enum mlc_dtype dtype, size_t n)
{
    unsigned char *bytes = malloc(n * mlc_float_size(dtype));
    uint32_t state = 1, wide;
    uint16_t half;
    size_t i;

    for (i = 0; bytes && i < n; i++) {
        state = state * 1664525 + 1013904223;
        wide = 0x3f800000 | state >> 9;
        half = dtype == MLC_DTYPE_F16 ? 0x3c00 | (uint16_t)(state >> 22)
                                      : (uint16_t)(wide >> 16);
        if (dtype == MLC_DTYPE_F32)
            memcpy(bytes + 4 * i, &wide, 4);
        else
            memcpy(bytes + 2 * i, &half, 2);
    }
    return bytes;
}

/* Seconds; adds to *bytes. */
static double
merge(enum mlc_dtype dtype, uint32_t rank, size_t rows, size_t cols,
      size_t *bytes)
{
    void *a = make_values(dtype, rank * cols);
    void *b = make_values(dtype, rows * rank);
    void *w = make_values(dtype, rows * cols);
    struct mlc_merge_delta delta = {.a = a,
                                    .b = b,
                                    .a_type = dtype,
                                    .b_type = dtype,
                                    .rank = rank,
                                    .scale = 1e-3};
    struct mlc_merge *plan = NULL;
    double begin = now();

    if (!a || !b || !w ||
        mlc_merge_new(dtype, rows, cols, &delta, 1, &plan) < 0)
        exit(1);
    mlc_merge_rows(plan, 0, rows, w, w);
    begin = now() - begin;
    mlc_merge_free(plan);
    free(a);
    free(b);
    free(w);
    *bytes += rows * cols * mlc_float_size(dtype);
    return begin;
}

int
main(int argc, char **argv)
{
    enum mlc_dtype dtype;
    int round, rounds;
    size_t i, bytes;
    double seconds;

    if (argc != 4) {
        fprintf(stderr, "usage: merge DTYPE RANK ROUNDS\n");
        return 2;
    }
    dtype = strcmp(argv[1], "F16") == 0    ? MLC_DTYPE_F16
            : strcmp(argv[1], "BF16") == 0 ? MLC_DTYPE_BF16
                                           : MLC_DTYPE_F32;
    rounds = atoi(argv[3]);
    for (round = 0; round < rounds; round++) {
        seconds = 0;
        bytes = 0;
        for (i = 0; i < sizeof sizes / sizeof *sizes; i++)
            seconds += merge(dtype, (uint32_t)atoi(argv[2]), sizes[i][0],
                             sizes[i][1], &bytes);
        printf("%.3f\n", (double)bytes / 1e9 / seconds);
    }
    return 0;
}
