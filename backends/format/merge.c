/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/merge.h"

#include <errno.h>
#include <stdlib.h>

#include "backends/format/merge_i.h"
#include "backends/util/cleanup.h"

/* Groups of rows that are merged, panel by panel, before the next ones are: B
 * of these and a panel of A fit the first level cache. */
#define GROUPS_TOGETHER 2

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

/* Values of both factors of a delta, padded; UINT64_MAX: too many. */
static uint64_t
n_values(uint64_t n_rows, uint64_t n_cols, uint32_t rank)
{
    /* Far beyond what there is, and far from an overflow. */
    if (n_rows > UINT32_MAX || n_cols > UINT32_MAX || rank > MLC_MERGE_MAX_RANK)
        return UINT64_MAX;
    return rank *
           (round_up(n_rows, MLC_TILE_ROWS) + round_up(n_cols, MLC_TILE_COLS));
}

uint64_t
mlc_merge_size(uint64_t n_rows, uint64_t n_cols,
               const struct mlc_merge_delta *deltas, size_t n)
{
    uint64_t size = sizeof(struct mlc_merge), more;
    size_t i;

    for (i = 0; i < n; i++) {
        more = n_values(n_rows, n_cols, deltas[i].rank);
        if (more == UINT64_MAX)
            return UINT64_MAX;
        if (__builtin_add_overflow(
                size, more * sizeof(float) + sizeof(struct mlc_merge_part),
                &size))
            return UINT64_MAX;
    }
    return size;
}

/* n values of a factor, as the base's type holds them. */
static void
read_factor(enum mlc_dtype base, enum mlc_dtype type, const unsigned char *from,
            size_t n, float *ret)
{
    size_t i;

    mlc_float_read(type, from, n, ret);
    for (i = 0; i < n && type != base; i++)
        ret[i] = mlc_float_round(base, ret[i]);
}

/* A: its rows are those of k, so one value of each column follows the other. */
static void
pack_a(enum mlc_dtype type, uint64_t n_cols,
       const struct mlc_merge_delta *delta, float *out)
{
    size_t size = mlc_float_size(delta->a_type), n;
    const unsigned char *a = delta->a;
    uint64_t col;
    uint32_t k;

    for (col = 0; col < n_cols; col += MLC_TILE_COLS) {
        n = n_cols - col < MLC_TILE_COLS ? n_cols - col : MLC_TILE_COLS;
        for (k = 0; k < delta->rank; k++) {
            read_factor(type, delta->a_type, a + (k * n_cols + col) * size, n,
                        out);
            out += MLC_TILE_COLS;
        }
    }
}

static void
pack_ones(uint64_t n_cols, float *out)
{
    uint64_t col;

    for (col = 0; col < n_cols; col++)
        out[col] = 1;
}

/* B: its columns are those of k. */
static void
pack_b(enum mlc_dtype type, uint64_t n_rows,
       const struct mlc_merge_delta *delta, float *out)
{
    size_t size = mlc_float_size(delta->b_type), n, i;
    const unsigned char *b = delta->b;
    float values[64];
    uint64_t row;
    uint32_t k;

    for (row = 0; row < n_rows; row++) {
        float *to = out + row / MLC_TILE_ROWS * MLC_TILE_ROWS * delta->rank +
                    row % MLC_TILE_ROWS;

        for (k = 0; k < delta->rank; k += (uint32_t)n) {
            n = delta->rank - k < 64 ? delta->rank - k : 64;
            read_factor(type, delta->b_type, b, n, values);
            b += n * size;
            for (i = 0; i < n; i++)
                to[(k + i) * MLC_TILE_ROWS] = values[i];
        }
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
    part->block = block_of(rank, delta->is_conv);
    part->scale = (float)delta->scale;
    part->a =
        calloc(round_up(plan->n_cols, MLC_TILE_COLS), rank * sizeof(float));
    part->b =
        calloc(round_up(plan->n_rows, MLC_TILE_ROWS), rank * sizeof(float));
    if (!part->a || !part->b)
        return -ENOMEM;
    if (delta->a)
        pack_a(plan->type, plan->n_cols, delta, part->a);
    else
        pack_ones(plan->n_cols, part->a);
    pack_b(plan->type, plan->n_rows, delta, part->b);
    return 0;
}

int
mlc_merge_new(enum mlc_dtype type, uint64_t n_rows, uint64_t n_cols,
              const struct mlc_merge_delta *deltas, size_t n,
              struct mlc_merge **ret_plan)
{
    __attribute__((cleanup(mlc_cleanup_merge))) struct mlc_merge *plan = NULL;
    size_t i;
    int r;

    if (!is_base(type) || n_rows == 0 || n_cols == 0 || n == 0)
        return -EINVAL;
    for (i = 0; i < n; i++) {
        if (deltas[i].rank == 0 || (!deltas[i].a && deltas[i].rank != 1) ||
            mlc_float_size(deltas[i].b_type) == 0 ||
            (deltas[i].a && mlc_float_size(deltas[i].a_type) == 0) ||
            n_values(n_rows, n_cols, deltas[i].rank) == UINT64_MAX)
            return -EINVAL;
    }
    plan = calloc(1, sizeof *plan + n * sizeof *plan->parts);
    if (!plan)
        return -ENOMEM;
    plan->type = type;
    plan->n_rows = n_rows;
    plan->n_cols = n_cols;
    plan->n_parts = n;
    plan->kernel = mlc_merge_avx2(type);
    if (!plan->kernel)
        plan->kernel = mlc_merge_plain(type);
    for (i = 0; i < n; i++) {
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
    for (i = 0; i < plan->n_parts; i++) {
        free(plan->parts[i].a);
        free(plan->parts[i].b);
    }
    free(plan);
}

/* One panel of one group: what of it lies in rows [first, end). */
static void
merge_tile(const struct mlc_merge *plan, uint64_t group, uint64_t panel,
           uint64_t first, uint64_t end, const unsigned char *base,
           unsigned char *ret_rows)
{
    uint64_t row = group * MLC_TILE_ROWS, col = panel * MLC_TILE_COLS;
    uint64_t from = row > first ? row : first;
    uint64_t to = row + MLC_TILE_ROWS < end ? row + MLC_TILE_ROWS : end;
    uint64_t n_cols = plan->n_cols - col;
    uint64_t at =
        ((from - first) * plan->n_cols + col) * mlc_float_size(plan->type);

    plan->kernel(plan, &(struct mlc_tile){
                           .group = group,
                           .panel = panel,
                           .row = (unsigned)(from - row),
                           .row_end = (unsigned)(to - row),
                           .n_cols = n_cols < MLC_TILE_COLS ? (unsigned)n_cols
                                                            : MLC_TILE_COLS,
                           .base = base + at,
                           .ret = ret_rows + at,
                       });
}

void
mlc_merge_rows(const struct mlc_merge *plan, uint64_t first, uint64_t n,
               const void *base, void *ret_rows)
{
    uint64_t end = first + n;
    uint64_t n_groups = (end + MLC_TILE_ROWS - 1) / MLC_TILE_ROWS;
    uint64_t n_panels = (plan->n_cols + MLC_TILE_COLS - 1) / MLC_TILE_COLS;
    uint64_t from, to, group, panel;

    for (from = first / MLC_TILE_ROWS; from < n_groups; from = to) {
        to = from + GROUPS_TOGETHER < n_groups ? from + GROUPS_TOGETHER
                                               : n_groups;
        for (panel = 0; panel < n_panels; panel++)
            for (group = from; group < to; group++)
                merge_tile(plan, group, panel, first, end, base, ret_rows);
    }
}
