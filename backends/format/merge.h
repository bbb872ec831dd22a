/* SPDX-License-Identifier: MIT */
/* The arithmetic of a LoRA: W + s B A, to the bit as diffusers' fuse_lora()
 * computes it (PEFT on torch's CPU libraries).
 *
 * Let T be the type of the base weight W, rn a rounding to it.  For each delta,
 * one after another:
 *
 *     A' = rn(A), B' = rn(B)                   whatever the LoRA's file holds
 *     P  = B' A'                               float32, see below
 *     W  = rn(W + rn(float32(P * float32(s)))) so each has its own rounding
 *
 * P[o,i] is one fused multiply-add a rank index k, in ascending order, from 0.
 * Long ranks are summed in blocks of k, each from 0, the blocks' sums added in
 * order: linear layers and 1x1 convolutions r <= 192 one block, r < 384 blocks
 * of r/2 (a rest of 1 is a block), else 192 each; larger kernels 128 each.
 *
 * This is what torch 2.13 does on x86-64 with AVX2 (but not AVX-512), with any
 * number of threads, and it is the same here on any processor.  Documented
 * exceptions, where the reference differs in the last bits:
 *   - other processors (AVX-512, ARM), another torch, or MKL_CBWR set: F16 and
 *     BF16 differ in at most 0.1 % of the values by up to 2 units in the last
 *     place of the largest of |W|, |delta|, |result|; F32 by up to
 *     2^-23 (r + 2) (|W| + |s| sum |B||A|);
 *   - weights of fewer than 10 columns (flattened) or of fewer than 4 rows, and
 *     some of 5 to 9 rows; kernels larger than 1x1 on 8 input channels or fewer
 *     when torch runs one thread.  Of real models that is conv_in alone;
 *   - which of the NaNs a NaN is.
 *
 * Row-local: a row of the result needs the same row of W and B, and all of A,
 * which a plan holds as the arithmetic reads it, for any rows of the tensor.
 * Trailing dimensions are flattened: a convolution's [O,I,kh,kw] is O rows of
 * I*kh*kw columns.  No I/O, no locks: a plan can be used by several threads.
 */
#ifndef MLC_FORMAT_MERGE_H
#define MLC_FORMAT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/format/half.h"

/* The largest rank. */
#define MLC_MERGE_MAX_RANK 4096

/* What is added to one tensor. */
struct mlc_merge_delta {
    const void *a; /* rank x n_cols values; NULL: ones (lora_B.bias, rank 1) */
    enum mlc_dtype a_type;
    enum mlc_dtype b_type;
    uint32_t rank; /* 1 to MLC_MERGE_MAX_RANK */
    bool is_conv;  /* a convolution with a kernel larger than 1x1 */
    double scale;  /* s */
};

struct mlc_merge;

/* Bytes of memory that a plan takes; UINT64_MAX: more than can be counted.
 * Only ranks are looked at. */
uint64_t mlc_merge_size(uint64_t n_cols, const struct mlc_merge_delta *deltas,
                        size_t n);
/* A plan for the rows of one tensor of type T (F16, BF16 or F32), with the
 * deltas in their order; what they point to is copied.  0, -EINVAL (a type, a
 * rank, no columns, no deltas), -ENOMEM. */
int mlc_merge_new(enum mlc_dtype type, uint64_t n_cols,
                  const struct mlc_merge_delta *deltas, size_t n,
                  struct mlc_merge **ret_plan);
void mlc_merge_free(struct mlc_merge *plan); /* takes NULL */
/* n rows.  b: of each delta the same rows of B, packed, n x rank values.  base
 * holds them as the base weight has them, packed; ret_rows gets as many bytes,
 * and may be base.  0 or -ENOMEM. */
int mlc_merge_rows(const struct mlc_merge *plan, uint64_t n,
                   const void *const *b, const void *base, void *ret_rows);

#endif
