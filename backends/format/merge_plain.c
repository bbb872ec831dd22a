/* SPDX-License-Identifier: MIT */
/* The kernel for any processor.  fmaf() is right without the instruction too,
 * and slow. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "backends/format/merge_i.h"

struct sums {
    float of[MLC_TILE_ROWS][MLC_TILE_COLS];
};

/* The sums over one block of k. */
static void
sum_block(const float *a, const float *b, uint32_t n, struct sums *ret)
{
    uint32_t k;
    int i, j;

    *ret = (struct sums){0};
    for (k = 0; k < n; k++) {
        for (i = 0; i < MLC_TILE_ROWS; i++)
            for (j = 0; j < MLC_TILE_COLS; j++)
                ret->of[i][j] = fmaf(b[i], a[j], ret->of[i][j]);
        a += MLC_TILE_COLS;
        b += MLC_TILE_ROWS;
    }
}

static void
sum_all(const struct mlc_merge_part *part, const struct mlc_tile *tile,
        struct sums *ret)
{
    const float *a = part->a + tile->panel * part->rank * MLC_TILE_COLS;
    const float *b = part->b + tile->group * part->rank * MLC_TILE_ROWS;
    struct sums more;
    uint32_t k, n;
    int i, j;

    for (k = 0; k < part->rank; k += n) {
        n = part->rank - k < part->block ? part->rank - k : part->block;
        sum_block(a + k * MLC_TILE_COLS, b + k * MLC_TILE_ROWS, n,
                  k == 0 ? ret : &more);
        for (i = 0; k > 0 && i < MLC_TILE_ROWS; i++)
            for (j = 0; j < MLC_TILE_COLS; j++)
                ret->of[i][j] += more.of[i][j];
    }
}

static void
store(enum mlc_dtype type, float value, unsigned char *to)
{
    uint16_t half;

    if (type == MLC_DTYPE_F32) {
        memcpy(to, &value, sizeof value);
        return;
    }
    half = type == MLC_DTYPE_F16 ? mlc_to_f16(value) : mlc_to_bf16(value);
    memcpy(to, &half, sizeof half);
}

static void
merge(const struct mlc_merge *plan, const struct mlc_tile *tile)
{
    size_t size = mlc_float_size(plan->type), stride = plan->n_cols * size, i;
    enum mlc_dtype type = plan->type;
    float w[MLC_TILE_ROWS][MLC_TILE_COLS], delta;
    struct sums sums = {0};
    unsigned row, col;

    for (row = tile->row; row < tile->row_end; row++)
        mlc_float_read(type, tile->base + (row - tile->row) * stride,
                       tile->n_cols, w[row]);
    for (i = 0; i < plan->n_parts; i++) {
        sum_all(&plan->parts[i], tile, &sums);
        for (row = tile->row; row < tile->row_end; row++)
            for (col = 0; col < tile->n_cols; col++) {
                delta = sums.of[row][col] * plan->parts[i].scale;
                delta = mlc_float_round(type, delta);
                w[row][col] = mlc_float_round(type, w[row][col] + delta);
            }
    }
    for (row = tile->row; row < tile->row_end; row++)
        for (col = 0; col < tile->n_cols; col++)
            store(type, w[row][col],
                  tile->ret + (row - tile->row) * stride + col * size);
}

mlc_merge_kernel *
mlc_merge_plain(enum mlc_dtype type)
{
    return merge;
}
