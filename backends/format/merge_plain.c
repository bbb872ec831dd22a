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
sum_all(const struct mlc_merge_part *part, const float *b, uint64_t panel,
        struct sums *ret)
{
    const float *a = part->a + panel * part->rank * MLC_TILE_COLS;
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

/* Adds a delta to a row of a tile. */
static void
merge_row(enum mlc_dtype type, float scale, const float *sums,
          const unsigned char *base, unsigned char *ret)
{
    size_t size = mlc_float_size(type);
    float w[MLC_TILE_COLS], delta;
    unsigned i;

    mlc_float_read(type, base, MLC_TILE_COLS, w);
    for (i = 0; i < MLC_TILE_COLS; i++) {
        delta = sums[mlc_strip_slot(type, i)] * scale;
        delta = mlc_float_round(type, delta);
        store(type, w[i] + delta, ret + i * size);
    }
}

static void
merge(enum mlc_dtype type, const struct mlc_merge_part *part, uint64_t panel,
      const float *b, size_t stride, const unsigned char *base,
      unsigned char *ret)
{
    struct sums sums;
    size_t row;

    sum_all(part, b, panel, &sums);
    for (row = 0; row < MLC_TILE_ROWS; row++)
        merge_row(type, part->scale, sums.of[row], base + row * stride,
                  ret + row * stride);
}

static void
merge_f16(const struct mlc_merge_part *part, uint64_t panel, const float *b,
          size_t stride, const unsigned char *base, unsigned char *ret)
{
    merge(MLC_DTYPE_F16, part, panel, b, stride, base, ret);
}

static void
merge_bf16(const struct mlc_merge_part *part, uint64_t panel, const float *b,
           size_t stride, const unsigned char *base, unsigned char *ret)
{
    merge(MLC_DTYPE_BF16, part, panel, b, stride, base, ret);
}

static void
merge_f32(const struct mlc_merge_part *part, uint64_t panel, const float *b,
          size_t stride, const unsigned char *base, unsigned char *ret)
{
    merge(MLC_DTYPE_F32, part, panel, b, stride, base, ret);
}

mlc_merge_kernel *
mlc_merge_plain(enum mlc_dtype type)
{
    return type == MLC_DTYPE_F16    ? merge_f16
           : type == MLC_DTYPE_BF16 ? merge_bf16
                                    : merge_f32;
}

static void
read_strips(enum mlc_dtype base, enum mlc_dtype type, const unsigned char *from,
            size_t stride, size_t n, float *ret)
{
    float values[MLC_TILE_COLS];
    unsigned i;

    for (; n > 0; n--) {
        mlc_float_read(type, from, MLC_TILE_COLS, values);
        for (i = 0; i < MLC_TILE_COLS; i++)
            ret[mlc_strip_slot(base, i)] = mlc_float_round(base, values[i]);
        from += stride;
        ret += MLC_TILE_COLS;
    }
}

mlc_merge_reader *
mlc_merge_reader_plain(void)
{
    return read_strips;
}
