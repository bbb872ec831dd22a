/* SPDX-License-Identifier: MIT */
/* Merges one tensor with LoRAs' factors, for tests/test-client-lora.sh:
 *
 *   format-merge DTYPE ROWS COLS BASE RESULT [RANK KIND SCALE A B]...
 *
 * BASE, A and B are files of packed values, DTYPE:FILE for the last two (A may
 * be "-": a bias); KIND is linear or conv (a kernel larger than 1x1).  It is
 * merged in three calls, so that their borders are seen, and said is the kernel
 * that did it. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/merge.h"
#include "backends/format/merge_i.h"

#define N_MAX 16

static void __attribute__((noreturn))
die(const char *what)
{
    fprintf(stderr, "format-merge: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *
read_file(const char *path, size_t len)
{
    FILE *file = fopen(path, "rb");
    void *bytes = malloc(len + 1);

    if (!file || !bytes || fread(bytes, 1, len + 1, file) != len)
        die(path);
    fclose(file);
    return bytes;
}

static enum mlc_dtype
dtype_of(const char *name, size_t len)
{
    static const enum mlc_dtype known[] = {MLC_DTYPE_F16, MLC_DTYPE_BF16,
                                           MLC_DTYPE_F32, MLC_DTYPE_F64};
    static const char *const names[] = {"F16", "BF16", "F32", "F64"};
    size_t i;

    for (i = 0; i < 4; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return known[i];
    errno = EINVAL;
    die(name);
}

/* DTYPE:FILE of n values. */
static const void *
read_factor(const char *arg, size_t n, enum mlc_dtype *ret_dtype)
{
    const char *colon = strchr(arg, ':');

    if (!colon)
        return NULL;
    *ret_dtype = dtype_of(arg, (size_t)(colon - arg));
    return read_file(colon + 1, n * mlc_float_size(*ret_dtype));
}

static void
parse_delta(char **argv, size_t rows, size_t cols, struct mlc_merge_delta *ret)
{
    ret->rank = (uint32_t)strtoul(argv[0], NULL, 10);
    ret->is_conv = strcmp(argv[1], "conv") == 0;
    ret->scale = strtod(argv[2], NULL);
    ret->a = read_factor(argv[3], ret->rank * cols, &ret->a_type);
    ret->b = read_factor(argv[4], rows * ret->rank, &ret->b_type);
}

int
main(int argc, char **argv)
{
    struct mlc_merge_delta deltas[N_MAX] = {{0}};
    size_t rows, cols, size, cuts[4], n = 0, i;
    struct mlc_merge *plan = NULL;
    enum mlc_dtype dtype;
    unsigned char *w;
    FILE *file;

    if (argc < 11 || (argc - 6) % 5 != 0 || (argc - 6) / 5 > N_MAX) {
        fprintf(stderr, "usage: see the source\n");
        return 2;
    }
    dtype = dtype_of(argv[1], strlen(argv[1]));
    rows = strtoul(argv[2], NULL, 10);
    cols = strtoul(argv[3], NULL, 10);
    size = cols * mlc_float_size(dtype);
    w = read_file(argv[4], rows * size);
    for (n = 0; 6 + 5 * (int)n < argc; n++)
        parse_delta(argv + 6 + 5 * n, rows, cols, &deltas[n]);
    errno = -mlc_merge_new(dtype, rows, cols, deltas, n, &plan);
    if (errno)
        die("no plan");
    cuts[0] = 0;
    cuts[1] = rows / 3;
    cuts[2] = rows / 3 * 2 + rows % 3;
    cuts[3] = rows;
    for (i = 0; i < 3; i++)
        mlc_merge_rows(plan, cuts[i], cuts[i + 1] - cuts[i],
                       w + cuts[i] * size, w + cuts[i] * size);
    mlc_merge_free(plan);
    file = fopen(argv[5], "wb");
    if (!file || fwrite(w, size, rows, file) != rows || fclose(file) != 0)
        die(argv[5]);
    puts(mlc_merge_avx2(dtype) ? "avx2" : "plain");
    return 0;
}
