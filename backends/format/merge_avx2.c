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
typedef __m256 sums[MLC_TILE_ROWS][2];

/* The sums over one block of k: 12 registers of sums, 2 of A, 1 of B. */
INNER void
sum_block(const float *a, const float *b, uint32_t n, sums s)
{
    __m256 a0, a1, bi;
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
}

/* Adds to s what was summed before it. */
INNER void
add_total(sums s, const sums total)
{
    int i;

#pragma GCC unroll 6
    for (i = 0; i < MLC_TILE_ROWS; i++) {
        s[i][0] = _mm256_add_ps(total[i][0], s[i][0]);
        s[i][1] = _mm256_add_ps(total[i][1], s[i][1]);
    }
}

/* The sums over all blocks but the last, of which there are some; ret: the k
 * that the last begins with. */
static AVX2 __attribute__((noinline)) uint32_t
sum_first_blocks(const struct mlc_merge_part *part, const float *a,
                 const float *b, sums ret_total)
{
    uint32_t k;
    sums s;

    for (k = 0; part->rank - k > part->block; k += part->block) {
        sum_block(a + k * MLC_TILE_COLS, b + k * MLC_TILE_ROWS, part->block, s);
        if (k > 0)
            add_total(s, ret_total);
        memcpy(ret_total, s, sizeof(sums));
    }
    return k;
}

INNER void
sum_all(const struct mlc_merge_part *part, const float *b, uint64_t panel,
        sums s)
{
    const float *a = part->a + panel * part->rank * MLC_TILE_COLS;
    uint32_t k = 0;
    sums total;

    if (part->rank > part->block)
        k = sum_first_blocks(part, a, b, total);
    sum_block(a + k * MLC_TILE_COLS, b + k * MLC_TILE_ROWS, part->rank - k, s);
    if (k > 0)
        add_total(s, total);
}

/* What a BF16 has of a float. */
INNER __m256i
upper_halves(void)
{
    return _mm256_set1_epi32((int)0xffff0000);
}

/* As mlc_to_bf16(), for eight: each in the upper half of 32 bits, whose lower
 * half is anything.  NaNs aren't looked for: those that come of BF16 values and
 * the scale have a lower half of 0, hence nothing is carried into the upper. */
INNER __m256i
round_bf16(__m256 value)
{
    __m256i bits = _mm256_castps_si256(value);
    __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));

    return _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)),
                            odd);
}

/* The delta of eight values: rn(sum * scale). */
INNER __m256
delta_of(enum mlc_dtype type, __m256 sum, __m256 scale)
{
    __m256 delta = _mm256_mul_ps(sum, scale);

    if (type == MLC_DTYPE_F16)
        return _mm256_cvtph_ps(
            _mm256_cvtps_ph(delta, _MM_FROUND_TO_NEAREST_INT));
    if (type == MLC_DTYPE_BF16)
        return _mm256_castsi256_ps(
            _mm256_and_si256(round_bf16(delta), upper_halves()));
    return delta;
}

/* Adds the deltas to the 16 values of a row, at any address. */
INNER void
add_f32(const __m256 delta[2], const unsigned char *base, unsigned char *ret)
{
    const float *from = (const float *)(const void *)base;
    float *to = (float *)(void *)ret;

    _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(from), delta[0]));
    _mm256_storeu_ps(to + 8,
                     _mm256_add_ps(_mm256_loadu_ps(from + 8), delta[1]));
}

INNER void
add_f16(const __m256 delta[2], const unsigned char *base, unsigned char *ret)
{
    const __m128i *from = (const __m128i *)(const void *)base;
    __m128i *to = (__m128i *)(void *)ret;
    __m256 w;
    int i;

#pragma GCC unroll 2
    for (i = 0; i < 2; i++) {
        w = _mm256_cvtph_ps(_mm_loadu_si128(from + i));
        w = _mm256_add_ps(w, delta[i]);
        _mm_storeu_si128(to + i, _mm256_cvtps_ph(w, _MM_FROUND_TO_NEAREST_INT));
    }
}

/* Two values are 32 bits, the even one in the lower half. */
INNER void
add_bf16(const __m256 delta[2], const unsigned char *base, unsigned char *ret)
{
    __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)base);
    __m256 even = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
    __m256 odd = _mm256_castsi256_ps(_mm256_and_si256(bits, upper_halves()));

    bits = round_bf16(_mm256_add_ps(even, delta[0]));
    bits = _mm256_blend_epi16(_mm256_srli_epi32(bits, 16),
                              round_bf16(_mm256_add_ps(odd, delta[1])), 0xaa);
    _mm256_storeu_si256((__m256i *)(void *)ret, bits);
}

INNER void
add_row(enum mlc_dtype type, const __m256 delta[2], const unsigned char *base,
        unsigned char *ret)
{
    if (type == MLC_DTYPE_F16)
        add_f16(delta, base, ret);
    else if (type == MLC_DTYPE_BF16)
        add_bf16(delta, base, ret);
    else
        add_f32(delta, base, ret);
}

/* Adds a delta to a tile. */
INNER void
merge(enum mlc_dtype type, const struct mlc_merge_part *part, uint64_t panel,
      const float *b, size_t stride, const unsigned char *base,
      unsigned char *ret)
{
    __m256 scale, delta[2];
    sums s;
    int row;

    /* W comes from memory while the sums are made. */
    for (row = 0; row < MLC_TILE_ROWS; row++)
        _mm_prefetch((const char *)base + (size_t)row * stride, _MM_HINT_T0);
    sum_all(part, b, panel, s);
    scale = _mm256_set1_ps(part->scale);
#pragma GCC unroll 6
    for (row = 0; row < MLC_TILE_ROWS; row++) {
        delta[0] = delta_of(type, s[row][0], scale);
        delta[1] = delta_of(type, s[row][1], scale);
        add_row(type, delta, base, ret);
        base += stride;
        ret += stride;
    }
}

static AVX2 void
merge_f16(const struct mlc_merge_part *part, uint64_t panel, const float *b,
          size_t stride, const unsigned char *base, unsigned char *ret)
{
    merge(MLC_DTYPE_F16, part, panel, b, stride, base, ret);
}

static AVX2 void
merge_bf16(const struct mlc_merge_part *part, uint64_t panel, const float *b,
           size_t stride, const unsigned char *base, unsigned char *ret)
{
    merge(MLC_DTYPE_BF16, part, panel, b, stride, base, ret);
}

static AVX2 void
merge_f32(const struct mlc_merge_part *part, uint64_t panel, const float *b,
          size_t stride, const unsigned char *base, unsigned char *ret)
{
    merge(MLC_DTYPE_F32, part, panel, b, stride, base, ret);
}

/* Eight values of a factor, at any address. */
INNER __m256
read_eight(enum mlc_dtype type, const unsigned char *from)
{
    const __m128i *half = (const __m128i *)(const void *)from;
    const double *wide = (const double *)(const void *)from;

    if (type == MLC_DTYPE_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128(half));
    if (type == MLC_DTYPE_BF16)
        return _mm256_castsi256_ps(_mm256_slli_epi32(
            _mm256_cvtepu16_epi32(_mm_loadu_si128(half)), 16));
    if (type == MLC_DTYPE_F64)
        return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(wide + 4)),
                               _mm256_cvtpd_ps(_mm256_loadu_pd(wide)));
    return _mm256_loadu_ps((const float *)(const void *)from);
}

/* As mlc_float_round(), for eight. */
INNER __m256
round_eight(enum mlc_dtype type, __m256 value)
{
    __m256i bits = _mm256_castps_si256(value), rounded;
    __m256 is_nan;

    if (type == MLC_DTYPE_F16)
        return _mm256_cvtph_ps(
            _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
    if (type != MLC_DTYPE_BF16)
        return value;
    is_nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
    rounded = _mm256_blendv_epi8(
        round_bf16(value), _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)),
        _mm256_castps_si256(is_nan));
    return _mm256_castsi256_ps(_mm256_and_si256(rounded, upper_halves()));
}

/* Two vectors as mlc_strip_slot() says. */
INNER void
store_strip(enum mlc_dtype base, const __m256 values[2], float *ret)
{
    __m256d even, odd;

    if (base != MLC_DTYPE_BF16) {
        _mm256_storeu_ps(ret, values[0]);
        _mm256_storeu_ps(ret + 8, values[1]);
        return;
    }
    /* Within halves of a vector, hence the quarters. */
    even = _mm256_castps_pd(_mm256_shuffle_ps(values[0], values[1], 0x88));
    odd = _mm256_castps_pd(_mm256_shuffle_ps(values[0], values[1], 0xdd));
    even = _mm256_permute4x64_pd(even, 0xd8);
    odd = _mm256_permute4x64_pd(odd, 0xd8);
    _mm256_storeu_ps(ret, _mm256_castpd_ps(even));
    _mm256_storeu_ps(ret + 8, _mm256_castpd_ps(odd));
}

static AVX2 void
read_strips(enum mlc_dtype base, enum mlc_dtype type, const unsigned char *from,
            size_t stride, size_t n, float *ret)
{
    size_t half = MLC_TILE_COLS / 2 * mlc_float_size(type);
    __m256 values[2];

    for (; n > 0; n--) {
        values[0] = read_eight(type, from);
        values[1] = read_eight(type, from + half);
        if (type != base) {
            values[0] = round_eight(base, values[0]);
            values[1] = round_eight(base, values[1]);
        }
        store_strip(base, values, ret);
        from += stride;
        ret += MLC_TILE_COLS;
    }
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

mlc_merge_reader *
mlc_merge_reader_avx2(void)
{
    return is_here() ? read_strips : NULL;
}

#else

mlc_merge_kernel *
mlc_merge_avx2(enum mlc_dtype type)
{
    return NULL;
}

mlc_merge_reader *
mlc_merge_reader_avx2(void)
{
    return NULL;
}

#endif
