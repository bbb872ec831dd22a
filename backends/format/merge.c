/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/merge.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/merge_i.h"
#include "backends/util/cleanup.h"

#define CACHE_LINE 64

MLC_DEFINE_CLEANUP(merge, struct mlc_merge *, mlc_merge_free);

/* How the libraries split a sum over k: MKL's sgemm, and the convolution. */
static uint32_t
block_of(uint32_t rank, bool is_conv)
{
    if (is_conv)
        return 128;
    if (rank <= 192)
        return rank;
    return rank < 384 ? rank / 2 : 192;
}

static uint64_t
round_up(uint64_t n, uint64_t step)
{
    return n + (step - n % step) % step;
}

/* Values of a delta's A, padded; UINT64_MAX: too many. */
static uint64_t
n_values(uint64_t n_cols, uint32_t rank)
{
    /* Far beyond what there is, and far from an overflow. */
    if (n_cols > UINT32_MAX || rank > MLC_MERGE_MAX_RANK)
        return UINT64_MAX;
    return rank * round_up(n_cols, MLC_TILE_COLS);
}

uint64_t
mlc_merge_size(uint64_t n_cols, const struct mlc_merge_delta *deltas, size_t n)
{
    uint64_t size = sizeof(struct mlc_merge), more;
    size_t i;

    for (i = 0; i < n; i++) {
        more = n_values(n_cols, deltas[i].rank);
        if (more == UINT64_MAX)
            return UINT64_MAX;
        if (__builtin_add_overflow(
                size, more * sizeof(float) + sizeof(struct mlc_merge_part),
                &size))
            return UINT64_MAX;
    }
    return size;
}

/* A strip of n values, the rest of it 0. */
static void
read_strip(const struct mlc_merge *plan, enum mlc_dtype type,
           const unsigned char *from, size_t n, float *ret)
{
    unsigned char padded[MLC_TILE_COLS * sizeof(double)] = {0};

    if (n < MLC_TILE_COLS)
        from = memcpy(padded, from, n * mlc_float_size(type));
    plan->read(plan->type, type, from, 0, 1, ret);
}

/* A: its rows are those of k, so one value of each column follows the other. */
static void
pack_a(const struct mlc_merge *plan, const struct mlc_merge_delta *delta,
       float *out)
{
    size_t size = mlc_float_size(delta->a_type), stride = plan->n_cols * size;
    size_t strip = MLC_TILE_COLS * size, rest = plan->n_cols % MLC_TILE_COLS;
    const unsigned char *a = delta->a, *end = a + (plan->n_cols - rest) * size;
    uint32_t k;

    for (; a < end; a += strip) {
        plan->read(plan->type, delta->a_type, a, stride, delta->rank, out);
        out += delta->rank * MLC_TILE_COLS;
    }
    for (k = 0; rest > 0 && k < delta->rank; k++) {
        read_strip(plan, delta->a_type, a + k * stride, rest, out);
        out += MLC_TILE_COLS;
    }
}

static void
pack_ones(uint64_t n_cols, float *out)
{
    uint64_t col;

    for (col = 0; col < round_up(n_cols, MLC_TILE_COLS); col++)
        out[col] = 1;
}

/* A row of B: its columns are those of k. */
static void
pack_b_row(const struct mlc_merge *plan, const struct mlc_merge_part *part,
           const unsigned char *b, float *out)
{
    size_t strip = MLC_TILE_COLS * mlc_float_size(part->b_type);
    float values[MLC_TILE_COLS];
    uint32_t n, i, k;

    for (k = 0; k < part->rank; k += n) {
        n = part->rank - k < MLC_TILE_COLS ? part->rank - k : MLC_TILE_COLS;
        read_strip(plan, part->b_type, b, n, values);
        for (i = 0; i < n; i++)
            out[i * MLC_TILE_ROWS] = values[mlc_strip_slot(plan->type, i)];
        b += strip;
        out += MLC_TILE_COLS * MLC_TILE_ROWS;
    }
}

/* Rows first on, n of them, of each delta's B, one delta behind the other; what
 * a tile has beyond them is 0. */
static void
pack_b(const struct mlc_merge *plan, const void *const *b, uint64_t first,
       uint64_t n, float *out)
{
    size_t i, row;

    if (n < MLC_TILE_ROWS)
        memset(out, 0, plan->sum_rank * MLC_TILE_ROWS * sizeof *out);
    for (i = 0; i < plan->n_parts; i++) {
        const struct mlc_merge_part *part = &plan->parts[i];
        size_t row_len = part->rank * mlc_float_size(part->b_type);
        const unsigned char *from = b[i];

        for (row = 0; row < n; row++)
            pack_b_row(plan, part, from + (first + row) * row_len, out + row);
        out += part->rank * MLC_TILE_ROWS;
    }
}

static bool
is_base(enum mlc_dtype type)
{
    return type == MLC_DTYPE_F16 || type == MLC_DTYPE_BF16 ||
           type == MLC_DTYPE_F32;
}

static int
make_part(const struct mlc_merge *plan, const struct mlc_merge_delta *delta,
          struct mlc_merge_part *part)
{
    uint32_t rank = delta->rank;

    part->rank = rank;
    part->b_type = delta->b_type;
    part->block = block_of(rank, delta->is_conv);
    /* NaNs have a lower half of 0, as BF16 factors do: see round_bf16(). */
    part->scale = isnan(delta->scale) ? NAN : (float)delta->scale;
    /* A strip is read in vectors, none of which shall lie in two lines. */
    part->a =
        aligned_alloc(CACHE_LINE, n_values(plan->n_cols, rank) * sizeof(float));
    if (!part->a)
        return -ENOMEM;
    if (delta->a)
        pack_a(plan, delta, part->a);
    else
        pack_ones(plan->n_cols, part->a);
    return 0;
}

int
mlc_merge_new(enum mlc_dtype type, uint64_t n_cols,
              const struct mlc_merge_delta *deltas, size_t n,
              struct mlc_merge **ret_plan)
{
    __attribute__((cleanup(mlc_cleanup_merge))) struct mlc_merge *plan = NULL;
    size_t i;
    int r;

    if (!is_base(type) || n_cols == 0 || n == 0)
        return -EINVAL;
    for (i = 0; i < n; i++) {
        if (deltas[i].rank == 0 || (!deltas[i].a && deltas[i].rank != 1) ||
            mlc_float_size(deltas[i].b_type) == 0 ||
            (deltas[i].a && mlc_float_size(deltas[i].a_type) == 0) ||
            n_values(n_cols, deltas[i].rank) == UINT64_MAX)
            return -EINVAL;
    }
    plan = calloc(1, sizeof *plan + n * sizeof *plan->parts);
    if (!plan)
        return -ENOMEM;
    plan->type = type;
    plan->n_cols = n_cols;
    plan->n_parts = n;
    plan->kernel = mlc_merge_avx2(type);
    if (!plan->kernel)
        plan->kernel = mlc_merge_plain(type);
    plan->read = mlc_merge_reader_avx2();
    if (!plan->read)
        plan->read = mlc_merge_reader_plain();
    for (i = 0; i < n; i++) {
        plan->sum_rank += deltas[i].rank;
        r = make_part(plan, &deltas[i], &plan->parts[i]);
        if (r < 0)
            return r;
    }
    *ret_plan = mlc_steal(&plan);
    return 0;
}

void
mlc_merge_free(struct mlc_merge *plan)
{
    size_t i;

    if (!plan)
        return;
    for (i = 0; i < plan->n_parts; i++)
        free(plan->parts[i].a);
    free(plan);
}

/* Rows of a tile, where they are not packed. */
static void
copy_rows(unsigned char *to, size_t to_stride, const unsigned char *from,
          size_t from_stride, size_t len, uint64_t n)
{
    for (; n > 0; n--) {
        memcpy(to, from, len);
        to += to_stride;
        from += from_stride;
    }
}

/* Adds the deltas to a whole tile.  Between two of them, W is in its type:
 * nothing is lost by storing it. */
static void
merge_whole(const struct mlc_merge *plan, uint64_t panel, const float *b,
            size_t stride, const unsigned char *base, unsigned char *ret)
{
    size_t i;

    for (i = 0; i < plan->n_parts; i++) {
        plan->kernel(&plan->parts[i], panel, b, stride, base, ret);
        b += plan->parts[i].rank * MLC_TILE_ROWS;
        base = ret;
    }
}

/* A tile at the border: what there is of it goes through a copy. */
static void
merge_edge(const struct mlc_merge *plan, uint64_t panel, const float *b,
           uint64_t n_rows, const unsigned char *base, unsigned char *ret)
{
    unsigned char copy[MLC_TILE_ROWS * MLC_TILE_COLS * sizeof(float)] = {0};
    uint64_t n_cols = plan->n_cols - panel * MLC_TILE_COLS;
    size_t size = mlc_float_size(plan->type), stride = plan->n_cols * size;
    size_t len = (n_cols < MLC_TILE_COLS ? n_cols : MLC_TILE_COLS) * size;

    copy_rows(copy, MLC_TILE_COLS * size, base, stride, len, n_rows);
    merge_whole(plan, panel, b, MLC_TILE_COLS * size, copy, copy);
    copy_rows(ret, stride, copy, MLC_TILE_COLS * size, len, n_rows);
}

/* As many rows as a tile has, or less. */
static void
merge_group(const struct mlc_merge *plan, const float *b, uint64_t n_rows,
            const unsigned char *base, unsigned char *ret)
{
    uint64_t n_panels = (plan->n_cols + MLC_TILE_COLS - 1) / MLC_TILE_COLS;
    uint64_t n_whole = plan->n_cols / MLC_TILE_COLS, panel;
    size_t size = mlc_float_size(plan->type), at = 0;

    for (panel = 0; panel < n_panels; panel++) {
        if (n_rows == MLC_TILE_ROWS && panel < n_whole)
            merge_whole(plan, panel, b, plan->n_cols * size, base + at,
                        ret + at);
        else
            merge_edge(plan, panel, b, n_rows, base + at, ret + at);
        at += MLC_TILE_COLS * size;
    }
}

int
mlc_merge_rows(const struct mlc_merge *plan, uint64_t n, const void *const *b,
               const void *base, void *ret_rows)
{
    size_t row_len = plan->n_cols * mlc_float_size(plan->type);
    mlc_autofree float *packed =
        reallocarray(NULL, plan->sum_rank, MLC_TILE_ROWS * sizeof *packed);
    const unsigned char *from = base;
    unsigned char *to = ret_rows;
    uint64_t first, here;

    if (!packed)
        return -ENOMEM;
    /* All of A after B of one group, which the first level cache keeps: A is
     * fetched ahead of its use, being read in the order it has in memory. */
    for (first = 0; first < n; first += here) {
        here = n - first < MLC_TILE_ROWS ? n - first : MLC_TILE_ROWS;
        pack_b(plan, b, first, here, packed);
        merge_group(plan, packed, here, from + first * row_len,
                    to + first * row_len);
    }
    return 0;
}
