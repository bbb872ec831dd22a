/* SPDX-License-Identifier: MIT */
/* How fast LoRAs are merged, on one core:
 *
 *   merge DTYPE RANK ROUNDS [BLOCK]     GB/s of base weights, one line a round
 *
 * Seconds are those that this thread had a processor for, so that others on the
 * machine count as little as can be.  DTYPE is F16, BF16 or F32.  A round is a
 * tensor of each of the sizes below, as SDXL has them, with everything that is
 * done to one, in blocks of about BLOCK bytes of rows: 4194304, as the folders
 * of recipes have them, unless it is given; 0: whole tensors.  A is made ready
 * once a tensor. */
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

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
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

struct tensor {
    enum mlc_dtype dtype;
    uint32_t rank;
    size_t rows, cols;
    char *a, *b, *w;
};

static void
merge_blocks(const struct tensor *t, size_t block)
{
    const struct mlc_merge_delta delta = {.a = t->a,
                                          .a_type = t->dtype,
                                          .b_type = t->dtype,
                                          .rank = t->rank,
                                          .scale = 1e-3};
    size_t size = mlc_float_size(t->dtype), row_len = t->cols * size;
    size_t step = block / row_len, first, n;
    struct mlc_merge *plan = NULL;

    if (mlc_merge_new(t->dtype, t->cols, &delta, 1, &plan) < 0)
        exit(1);
    for (first = 0; first < t->rows; first += n) {
        const void *b = t->b + first * t->rank * size;
        char *rows = t->w + first * row_len;

        n = step == 0 || t->rows - first < step ? t->rows - first : step;
        if (mlc_merge_rows(plan, n, &b, rows, rows) < 0)
            exit(1);
    }
    mlc_merge_free(plan);
}

/* Seconds. */
static double
merge(struct tensor *t, size_t block)
{
    double begin;

    t->a = make_values(t->dtype, t->rank * t->cols);
    t->b = make_values(t->dtype, t->rows * t->rank);
    t->w = make_values(t->dtype, t->rows * t->cols);
    if (!t->a || !t->b || !t->w)
        exit(1);
    begin = now();
    merge_blocks(t, block);
    begin = now() - begin;
    free(t->a);
    free(t->b);
    free(t->w);
    return begin;
}

static double
merge_round(enum mlc_dtype dtype, uint32_t rank, size_t block)
{
    double seconds = 0, bytes = 0;
    size_t i;

    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct tensor t = {dtype, rank, sizes[i][0], sizes[i][1], 0, 0, 0};

        seconds += merge(&t, block);
        bytes += (double)(t.rows * t.cols * mlc_float_size(dtype));
    }
    return bytes / 1e9 / seconds;
}

int
main(int argc, char **argv)
{
    size_t block = argc > 4 ? strtoul(argv[4], NULL, 10) : 4194304;
    enum mlc_dtype dtype;
    int rounds;

    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: merge DTYPE RANK ROUNDS [BLOCK]\n");
        return 2;
    }
    dtype = strcmp(argv[1], "F16") == 0    ? MLC_DTYPE_F16
            : strcmp(argv[1], "BF16") == 0 ? MLC_DTYPE_BF16
                                           : MLC_DTYPE_F32;
    for (rounds = atoi(argv[3]); rounds > 0; rounds--)
        printf("%.3f\n", merge_round(dtype, (uint32_t)atoi(argv[2]), block));
    return 0;
}
