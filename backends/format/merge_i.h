/* SPDX-License-Identifier: MIT */
/* Inside of merge.c and its kernels.
 *
 * The unit of work is a tile, ROWS x COLS of W: small enough that its sums stay
 * in AVX2's registers over all k, and A and B are laid out in the order in
 * which a tile reads them.  Both kernels make the same bits. */
#ifndef MLC_FORMAT_MERGE_I_H
#define MLC_FORMAT_MERGE_I_H

#include "backends/format/merge.h"

#define MLC_TILE_ROWS 6
#define MLC_TILE_COLS 16

#if defined __x86_64__ && defined __GNUC__
#define MLC_MERGE_HAS_AVX2 1
#else
#define MLC_MERGE_HAS_AVX2 0
#endif

/* A delta, ready to be used. */
struct mlc_merge_part {
    float *a; /* [columns / COLS][rank][COLS], the last padded with 0 */
    float *b; /* [rows / ROWS][rank][ROWS], likewise */
    uint32_t rank;
    uint32_t block; /* k are summed in blocks of so many */
    float scale;
};

/* Where a tile lies in the caller's rows. */
struct mlc_tile {
    uint64_t group; /* rows group * ROWS on */
    uint64_t panel; /* columns panel * COLS on */
    unsigned row;   /* rows [row, row_end) of it are wanted */
    unsigned row_end;
    unsigned n_cols; /* columns of it that exist */
    const unsigned char *base;
    unsigned char *ret; /* both at its first wanted row, first column */
};

/* Merges one tile. */
typedef void mlc_merge_kernel(const struct mlc_merge *plan,
                              const struct mlc_tile *tile);

struct mlc_merge {
    enum mlc_dtype type;
    uint64_t n_rows;
    uint64_t n_cols;
    mlc_merge_kernel *kernel;
    size_t n_parts;
    struct mlc_merge_part parts[];
};

/* NULL: not on this processor. */
mlc_merge_kernel *mlc_merge_avx2(enum mlc_dtype type);
mlc_merge_kernel *mlc_merge_plain(enum mlc_dtype type);

#endif
