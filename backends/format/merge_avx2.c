/* SPDX-License-Identifier: MIT */
/* The kernel for x86-64 with AVX2, FMA and F16C, compiled for these whatever
 * the rest is compiled for, and taken where the processor has them. */
#include "config.h"

#include "backends/format/merge_i.h"

#if MLC_MERGE_HAS_AVX2

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))
/* Part of each of the three kernels below, made for its type. */
#define INNER static inline AVX2 __attribute__((always_inline))

/* A tile's row is two vectors. */
struct sums {
    __m256 of[MLC_TILE_ROWS][2];
};

/* The sums over one block of k: 12 registers of sums, 2 of A, 1 of B. */
INNER void
sum_block(const float *a, const float *b, uint32_t n, struct sums *ret)
{
    __m256 s[MLC_TILE_ROWS][2], a0, a1, bi;
    uint32_t k;
    int i;

#pragma GCC unroll 6
    for (i = 0; i < MLC_TILE_ROWS; i++)
        s[i][0] = s[i][1] = _mm256_setzero_ps();
    for (k = 0; k < n; k++) {
        a0 = _mm256_loadu_ps(a);
        a1 = _mm256_loadu_ps(a + 8);
#pragma GCC unroll 6
        for (i = 0; i < MLC_TILE_ROWS; i++) {
            bi = _mm256_broadcast_ss(b + i);
            s[i][0] = _mm256_fmadd_ps(bi, a0, s[i][0]);
            s[i][1] = _mm256_fmadd_ps(bi, a1, s[i][1]);
        }
        a += MLC_TILE_COLS;
        b += MLC_TILE_ROWS;
    }
#pragma GCC unroll 6
    for (i = 0; i < MLC_TILE_ROWS; i++) {
        ret->of[i][0] = s[i][0];
        ret->of[i][1] = s[i][1];
    }
}

INNER void
sum_all(const struct mlc_merge_part *part, const struct mlc_tile *tile,
        struct sums *ret)
{
    const float *a = part->a + tile->panel * part->rank * MLC_TILE_COLS;
    const float *b = part->b + tile->group * part->rank * MLC_TILE_ROWS;
    struct sums more;
    uint32_t k, n;
    int i;

    for (k = 0; k < part->rank; k += n) {
        n = part->rank - k < part->block ? part->rank - k : part->block;
        sum_block(a + k * MLC_TILE_COLS, b + k * MLC_TILE_ROWS, n,
                  k == 0 ? ret : &more);
        for (i = 0; k > 0 && i < MLC_TILE_ROWS; i++) {
            ret->of[i][0] = _mm256_add_ps(ret->of[i][0], more.of[i][0]);
            ret->of[i][1] = _mm256_add_ps(ret->of[i][1], more.of[i][1]);
        }
    }
}

INNER __m256
from_bf16(__m128i bits)
{
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

/* As mlc_to_bf16(), for eight: each in the upper half of 32 bits, whose lower
 * half is anything. */
INNER __m256i
round_bf16(__m256 value)
{
    __m256i bits = _mm256_castps_si256(value);
    __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(
        bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256 is_nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);

    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(is_nan));
}

INNER __m128i
to_bf16(__m256 value)
{
    __m256i wide = _mm256_srli_epi32(round_bf16(value), 16);

    return _mm_packus_epi32(_mm256_castsi256_si128(wide),
                            _mm256_extracti128_si256(wide, 1));
}

INNER __m128i
to_half(enum mlc_dtype type, __m256 value)
{
    if (type == MLC_DTYPE_F16)
        return _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
    return to_bf16(value);
}

INNER __m256
from_half(enum mlc_dtype type, __m128i bits)
{
    return type == MLC_DTYPE_F16 ? _mm256_cvtph_ps(bits) : from_bf16(bits);
}

INNER __m256
round_to(enum mlc_dtype type, __m256 value)
{
    if (type == MLC_DTYPE_F16)
        return _mm256_cvtph_ps(to_half(type, value));
    if (type == MLC_DTYPE_BF16)
        return _mm256_castsi256_ps(_mm256_and_si256(
            round_bf16(value), _mm256_set1_epi32((int)0xffff0000)));
    return value;
}

/* Eight values, at any address. */
INNER __m256
load(enum mlc_dtype type, const unsigned char *from)
{
    if (type == MLC_DTYPE_F32)
        return _mm256_loadu_ps((const float *)(const void *)from);
    return from_half(type,
                     _mm_loadu_si128((const __m128i *)(const void *)from));
}

INNER void
store(enum mlc_dtype type, __m256 value, unsigned char *to)
{
    if (type == MLC_DTYPE_F32)
        _mm256_storeu_ps((float *)(void *)to, value);
    else
        _mm_storeu_si128((__m128i *)(void *)to, to_half(type, value));
}

INNER void
merge_row(enum mlc_dtype type, __m256 scale, const __m256 sums[2], __m256 w[2])
{
    __m256 delta;
    int i;

#pragma GCC unroll 2
    for (i = 0; i < 2; i++) {
        delta = round_to(type, _mm256_mul_ps(sums[i], scale));
        w[i] = round_to(type, _mm256_add_ps(w[i], delta));
    }
}

/* Adds all deltas to a tile. */
INNER void
merge_all(enum mlc_dtype type, const struct mlc_merge *plan,
          const struct mlc_tile *tile, __m256 w[MLC_TILE_ROWS][2])
{
    struct sums sums;
    __m256 scale;
    size_t i;
    int row;

    for (i = 0; i < plan->n_parts; i++) {
        sum_all(&plan->parts[i], tile, &sums);
        scale = _mm256_set1_ps(plan->parts[i].scale);
#pragma GCC unroll 6
        for (row = 0; row < MLC_TILE_ROWS; row++)
            merge_row(type, scale, sums.of[row], w[row]);
    }
}

/* A tile that is wanted whole. */
INNER void
merge_whole(enum mlc_dtype type, const struct mlc_merge *plan,
            const struct mlc_tile *tile)
{
    size_t size = type == MLC_DTYPE_F32 ? 4 : 2, stride = plan->n_cols * size;
    __m256 w[MLC_TILE_ROWS][2];
    size_t row;

#pragma GCC unroll 6
    for (row = 0; row < MLC_TILE_ROWS; row++) {
        w[row][0] = load(type, tile->base + row * stride);
        w[row][1] = load(type, tile->base + row * stride + 8 * size);
    }
    merge_all(type, plan, tile, w);
#pragma GCC unroll 6
    for (row = 0; row < MLC_TILE_ROWS; row++) {
        store(type, w[row][0], tile->ret + row * stride);
        store(type, w[row][1], tile->ret + row * stride + 8 * size);
    }
}

/* One at the border: what of it is wanted goes through a copy. */
INNER void
merge_edge(enum mlc_dtype type, const struct mlc_merge *plan,
           const struct mlc_tile *tile)
{
    size_t size = type == MLC_DTYPE_F32 ? 4 : 2, stride = plan->n_cols * size;
    size_t len = tile->n_cols * size;
    unsigned char copy[MLC_TILE_COLS * sizeof(float)] = {0};
    __m256 w[MLC_TILE_ROWS][2] = {{{0}}};
    unsigned row;

    for (row = tile->row; row < tile->row_end; row++) {
        memcpy(copy, tile->base + (row - tile->row) * stride, len);
        w[row][0] = load(type, copy);
        w[row][1] = load(type, copy + 8 * size);
    }
    merge_all(type, plan, tile, w);
    for (row = tile->row; row < tile->row_end; row++) {
        store(type, w[row][0], copy);
        store(type, w[row][1], copy + 8 * size);
        memcpy(tile->ret + (row - tile->row) * stride, copy, len);
    }
}

INNER void
merge(enum mlc_dtype type, const struct mlc_merge *plan,
      const struct mlc_tile *tile)
{
    if (tile->n_cols == MLC_TILE_COLS &&
        tile->row_end - tile->row == MLC_TILE_ROWS)
        merge_whole(type, plan, tile);
    else
        merge_edge(type, plan, tile);
}

static AVX2 void
merge_f16(const struct mlc_merge *plan, const struct mlc_tile *tile)
{
    merge(MLC_DTYPE_F16, plan, tile);
}

static AVX2 void
merge_bf16(const struct mlc_merge *plan, const struct mlc_tile *tile)
{
    merge(MLC_DTYPE_BF16, plan, tile);
}

static AVX2 void
merge_f32(const struct mlc_merge *plan, const struct mlc_tile *tile)
{
    merge(MLC_DTYPE_F32, plan, tile);
}

static bool
is_here(void)
{
    unsigned a, b, c, d;

    /* These two also ask whether the system saves the registers. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

mlc_merge_kernel *
mlc_merge_avx2(enum mlc_dtype type)
{
    if (!is_here())
        return NULL;
    return type == MLC_DTYPE_F16    ? merge_f16
           : type == MLC_DTYPE_BF16 ? merge_bf16
                                    : merge_f32;
}

#else

mlc_merge_kernel *
mlc_merge_avx2(enum mlc_dtype type)
{
    return NULL;
}

#endif
