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

/* Where the value of a column is in a strip, which is COLS values of A: BF16 is
 * cheapest to pack and unpack with the even ones before the odd ones. */
static inline unsigned
mlc_strip_slot(enum mlc_dtype type, unsigned col)
{
    return type == MLC_DTYPE_BF16 ? col % 2 * (MLC_TILE_COLS / 2) + col / 2
                                  : col;
}

/* A delta, ready to be used. */
struct mlc_merge_part {
    float *a; /* [columns / COLS][rank], each a strip; the last are padded */
    enum mlc_dtype b_type;
    uint32_t rank;
    uint32_t block; /* k are summed in blocks of so many */
    float scale;
};

/* Adds one delta to a whole tile: columns panel * COLS on.  b: of its rows,
 * [rank][ROWS].  base and ret (which may be base) have stride bytes from row to
 * row. */
typedef void mlc_merge_kernel(const struct mlc_merge_part *part, uint64_t panel,
                              const float *b, size_t stride,
                              const unsigned char *base, unsigned char *ret);

/* Makes n strips of as many times COLS values of a factor, stride bytes apart,
 * as the base's type holds them. */
typedef void mlc_merge_reader(enum mlc_dtype base, enum mlc_dtype type,
                              const unsigned char *from, size_t stride,
                              size_t n, float *ret);

struct mlc_merge {
    enum mlc_dtype type;
    uint64_t n_cols;
    uint64_t sum_rank; /* of all parts */
    mlc_merge_kernel *kernel;
    mlc_merge_reader *read;
    size_t n_parts;
    struct mlc_merge_part parts[];
};

/* NULL: not on this processor. */
mlc_merge_kernel *mlc_merge_avx2(enum mlc_dtype type);
mlc_merge_kernel *mlc_merge_plain(enum mlc_dtype type);
mlc_merge_reader *mlc_merge_reader_avx2(void);
mlc_merge_reader *mlc_merge_reader_plain(void);

#endif
