/* SPDX-License-Identifier: MIT */
/* The numbers of merged LoRAs: conversions, and the sums of both kernels, held
 * to a plain reading of the rules.  tests/test-client-lora.sh holds them to
 * torch. */
#include "config.h"

#include "backends/format/merge.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/format/merge_i.h"

#define N_OF(array) (sizeof(array) / sizeof *(array))

static const enum mlc_dtype bases[] = {MLC_DTYPE_F16, MLC_DTYPE_BF16,
                                       MLC_DTYPE_F32};

/* ------------------------------------------------------------------------
 * Values */

static uint32_t state;

static uint32_t
next_random(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static float
float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t
bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Between -1 and 1, all of its bits in use. */
static float
next_value(void)
{
    return (float)(int32_t)next_random() * 0x1p-31f;
}

/* n values at an odd address; the caller frees *ret_block. */
static unsigned char *
make_values(enum mlc_dtype dtype, size_t n, void **ret_block)
{
    unsigned char *block = malloc(n * mlc_float_size(dtype) + 1), *at;
    size_t i;

    assert_non_null(block);
    *ret_block = block;
    at = ++block;
    for (i = 0; i < n; i++) {
        float value = next_value();
        uint16_t half =
            dtype == MLC_DTYPE_F16 ? mlc_to_f16(value) : mlc_to_bf16(value);
        double wide = value;

        if (dtype == MLC_DTYPE_F64)
            memcpy(at, &wide, 8);
        else if (dtype == MLC_DTYPE_F32)
            memcpy(at, &value, 4);
        else
            memcpy(at, &half, 2);
        at += mlc_float_size(dtype);
    }
    return block;
}

static float
value_at(enum mlc_dtype dtype, const unsigned char *values, size_t i)
{
    float value;

    mlc_float_read(dtype, values + i * mlc_float_size(dtype), 1, &value);
    return value;
}

/* ------------------------------------------------------------------------
 * Conversions */

static void
halves_survive_the_way_there_and_back(void **arg)
{
    uint32_t bits;

    for (bits = 0; bits < 0x10000; bits++) {
        float f16 = mlc_from_f16((uint16_t)bits);
        float bf16 = mlc_from_bf16((uint16_t)bits);

        if (isnan(f16))
            assert_true((bits & 0x7fff) > 0x7c00 &&
                        isnan(mlc_from_f16(mlc_to_f16(f16))));
        else
            assert_int_equal(mlc_to_f16(f16), bits);
        if (isnan(bf16))
            assert_true(isnan(mlc_from_bf16(mlc_to_bf16(bf16))));
        else
            assert_int_equal(mlc_to_bf16(bf16), bits);
    }
    assert_true(mlc_from_f16(0x0001) == 0x1p-24f);
    assert_true(mlc_from_f16(0x7bff) == 65504);
    assert_true(mlc_from_f16(0xfc00) == -INFINITY);
}

/* Between two neighbours a and b of a type (as bits), in exact arithmetic. */
static void
assert_rounded(float value, uint16_t got, uint16_t a, double low, double high)
{
    double middle = (low + high) / 2;
    uint16_t wanted = value < middle   ? a
                      : value > middle ? (uint16_t)(a + 1)
                                       : (uint16_t)(a + (a & 1));

    assert_int_equal(got, wanted);
}

static void
floats_round_to_the_nearest_half_ties_to_even(void **arg)
{
    uint32_t a;

    /* Each pair of neighbours; what comes after the largest is where it would
     * be, did the type have it. */
    for (a = 0; a < 0x7c00; a++) {
        double low = mlc_from_f16((uint16_t)a);
        double high =
            a == 0x7bff ? 65536 : (double)mlc_from_f16((uint16_t)(a + 1));
        float middle = (float)((low + high) / 2);
        float at[] = {(float)low, nextafterf(middle, 0), middle,
                      nextafterf(middle, INFINITY)};
        size_t i;

        for (i = 0; i < N_OF(at); i++) {
            assert_rounded(at[i], mlc_to_f16(at[i]), (uint16_t)a, low, high);
            assert_int_equal(mlc_to_f16(-at[i]), mlc_to_f16(at[i]) | 0x8000);
        }
    }
    for (a = 0; a < 0x7f80; a++) {
        uint32_t low = a << 16;
        uint32_t odd = a & 1;

        assert_int_equal(mlc_to_bf16(float_of(low)), a);
        assert_int_equal(mlc_to_bf16(float_of(low + 0x7fff)), a);
        assert_int_equal(mlc_to_bf16(float_of(low + 0x8000)), a + odd);
        assert_int_equal(mlc_to_bf16(float_of(low + 0x8001)), a + 1);
        assert_int_equal(mlc_to_bf16(-float_of(low + 0x8001)),
                         (a + 1) | 0x8000);
    }
    assert_int_equal(mlc_to_f16(1e9f), 0x7c00);
    assert_int_equal(mlc_to_f16(INFINITY), 0x7c00);
    assert_int_equal(mlc_to_bf16(-INFINITY), 0xff80);
}

static void
factors_are_read_from_any_address(void **arg)
{
    double wide = 1.0 / 3;
    unsigned char bytes[9];
    float value = 0;

    memcpy(bytes + 1, &wide, 8);
    mlc_float_read(MLC_DTYPE_F64, bytes + 1, 1, &value);
    assert_true(value == (float)wide);
    memcpy(bytes + 1, &(uint16_t){0xc000}, 2);
    mlc_float_read(MLC_DTYPE_F16, bytes + 1, 1, &value);
    assert_true(value == -2);
    assert_int_equal(mlc_float_size(MLC_DTYPE_I64), 0);
}

/* ------------------------------------------------------------------------
 * Sums, as merge.h says */

struct deltas {
    struct mlc_merge_delta of[3];
    const void *b[3];
    void *blocks[6];
    size_t n;
};

static void
add_delta(struct deltas *d, enum mlc_dtype dtype, size_t rows, size_t cols,
          uint32_t rank, bool is_conv, double scale)
{
    struct mlc_merge_delta *to = &d->of[d->n];

    to->a = make_values(dtype, rank * cols, &d->blocks[2 * d->n]);
    d->b[d->n] = make_values(dtype, rows * rank, &d->blocks[2 * d->n + 1]);
    to->a_type = to->b_type = dtype;
    to->rank = rank;
    to->is_conv = is_conv;
    to->scale = scale;
    d->n++;
}

static void
free_deltas(struct deltas *d)
{
    size_t i;

    for (i = 0; i < 2 * d->n; i++)
        free(d->blocks[i]);
}

static uint32_t
block_of(uint32_t rank, bool is_conv)
{
    if (is_conv)
        return 128;
    return rank <= 192 ? 192 : rank < 384 ? rank / 2 : 192;
}

static float
expected_sum(enum mlc_dtype base, const struct mlc_merge_delta *d,
             const void *factor, size_t row, size_t col, size_t cols)
{
    uint32_t block = block_of(d->rank, d->is_conv), k;
    float total = 0, sum = 0;

    for (k = 0; k < d->rank; k++) {
        float a = value_at(d->a_type, d->a, k * cols + col);
        float b = value_at(d->b_type, factor, row * d->rank + k);

        if (k % block == 0) {
            total += sum;
            sum = 0;
        }
        sum = fmaf(mlc_float_round(base, b), mlc_float_round(base, a), sum);
    }
    return total + sum;
}

static float
expected(enum mlc_dtype base, const struct deltas *d, size_t row, size_t col,
         size_t cols, float w)
{
    size_t i;

    for (i = 0; i < d->n; i++) {
        volatile float scaled =
            expected_sum(base, &d->of[i], d->b[i], row, col, cols) *
            (float)d->of[i].scale;

        w = mlc_float_round(base, w + mlc_float_round(base, scaled));
    }
    return w;
}

static void
assert_merged(enum mlc_dtype base, const struct deltas *d, size_t rows,
              size_t cols, const unsigned char *w, const unsigned char *got)
{
    size_t row, col, i;

    for (row = 0; row < rows; row++)
        for (col = 0; col < cols; col++) {
            i = row * cols + col;
            assert_int_equal(bits_of(value_at(base, got, i)),
                             bits_of(expected(base, d, row, col, cols,
                                              value_at(base, w, i))));
        }
}

/* Merges with both kernels where there are two. */
static void
merge_and_check(enum mlc_dtype base, const struct deltas *d, size_t rows,
                size_t cols)
{
    size_t len = rows * cols * mlc_float_size(base);
    struct mlc_merge *plan = NULL;
    unsigned char *w, *got;
    void *blocks[2];

    w = make_values(base, rows * cols, &blocks[0]);
    got = make_values(base, rows * cols, &blocks[1]);
    assert_int_equal(mlc_merge_new(base, cols, d->of, d->n, &plan), 0);
    assert_int_equal(mlc_merge_rows(plan, rows, d->b, w, got), 0);
    assert_merged(base, d, rows, cols, w, got);
    plan->kernel = mlc_merge_plain(base);
    memset(got, 0, len);
    assert_int_equal(mlc_merge_rows(plan, rows, d->b, w, got), 0);
    assert_merged(base, d, rows, cols, w, got);
    mlc_merge_free(plan);
    free(blocks[0]);
    free(blocks[1]);
}

static void
each_rank_is_summed_in_its_blocks(void **arg)
{
    static const uint32_t ranks[] = {1,   2,   3,   8,   64,  127,
                                     128, 129, 192, 193, 194, 256,
                                     257, 383, 384, 385, 600};
    size_t i, base;
    int is_conv;

    for (i = 0; i < N_OF(ranks); i++)
        for (base = 0; base < N_OF(bases); base++)
            for (is_conv = 0; is_conv < 2; is_conv++) {
                struct deltas d = {0};

                add_delta(&d, MLC_DTYPE_F32, 7, 36, ranks[i], is_conv, 0.7);
                merge_and_check(bases[base], &d, 7, 36);
                free_deltas(&d);
            }
}

static void
each_shape_has_its_borders_right(void **arg)
{
    size_t rows, cols, base;

    for (rows = 1; rows < 15; rows++)
        for (cols = 1; cols < 35; cols++)
            for (base = 0; base < N_OF(bases); base++) {
                struct deltas d = {0};

                add_delta(&d, bases[base], rows, cols, 3, false, -1.5);
                merge_and_check(bases[base], &d, rows, cols);
                free_deltas(&d);
            }
}

static void
loras_of_all_types_are_added_in_order(void **arg)
{
    size_t base;

    for (base = 0; base < N_OF(bases); base++) {
        struct deltas d = {0};

        add_delta(&d, MLC_DTYPE_F16, 20, 50, 4, false, 0.3);
        add_delta(&d, MLC_DTYPE_F64, 20, 50, 200, false, -0.01);
        add_delta(&d, MLC_DTYPE_BF16, 20, 50, 7, true, 1);
        merge_and_check(bases[base], &d, 20, 50);
        free_deltas(&d);
    }
}

static void
a_bias_is_scaled_and_added(void **arg)
{
    struct mlc_merge_delta d = {.rank = 1, .scale = 0.1};
    uint16_t b = mlc_to_f16(3), w = mlc_to_f16(1), got = 0;
    struct mlc_merge *plan = NULL;

    d.b_type = MLC_DTYPE_F16;
    assert_int_equal(mlc_merge_new(MLC_DTYPE_F16, 1, &d, 1, &plan), 0);
    assert_int_equal(mlc_merge_rows(plan, 1, (const void *[]){&b}, &w, &got),
                     0);
    assert_int_equal(got,
                     mlc_to_f16(1 + mlc_float_round(MLC_DTYPE_F16, 3 * 0.1f)));
    mlc_merge_free(plan);
}

static void
rows_alone_are_as_rows_together(void **arg)
{
    enum { ROWS = 25, COLS = 40 };
    struct mlc_merge *plan = NULL;
    struct deltas d = {0};
    unsigned char *w, *all, *one;
    size_t first, n, size, base;
    const void *b[2];
    void *blocks[3];

    for (base = 0; base < N_OF(bases); base++) {
        size = COLS * mlc_float_size(bases[base]);
        d.n = 0;
        add_delta(&d, MLC_DTYPE_F32, ROWS, COLS, 5, false, 0.5);
        add_delta(&d, MLC_DTYPE_F32, ROWS, COLS, 20, false, -0.25);
        w = make_values(bases[base], ROWS * COLS, &blocks[0]);
        all = make_values(bases[base], ROWS * COLS, &blocks[1]);
        one = make_values(bases[base], (ROWS + 2) * COLS, &blocks[2]);
        assert_int_equal(mlc_merge_new(bases[base], COLS, d.of, 2, &plan), 0);
        assert_int_equal(mlc_merge_rows(plan, ROWS, d.b, w, all), 0);
        for (first = 0; first < ROWS; first++)
            for (n = 0; first + n <= ROWS; n++) {
                /* In place, with nothing beside it touched. */
                memset(one, 0x55, (ROWS + 2) * size);
                memcpy(one + size, w + first * size, n * size);
                b[0] = (const float *)d.b[0] + first * 5;
                b[1] = (const float *)d.b[1] + first * 20;
                assert_int_equal(
                    mlc_merge_rows(plan, n, b, one + size, one + size), 0);
                assert_memory_equal(one + size, all + first * size, n * size);
                assert_true(one[size - 1] == 0x55);
                assert_true(one[(n + 1) * size] == 0x55);
            }
        mlc_merge_free(plan);
        free_deltas(&d);
        free(blocks[0]);
        free(blocks[1]);
        free(blocks[2]);
    }
}

/* Infinities and what overflows; a NaN is one with either kernel. */
static void
kernels_agree_on_unusual_values(void **arg)
{
    static const uint32_t odd[] = {
        0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0x00000001, 0x80000000,
        0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x38800000, 0xb87fffff};
    float w[6 * 16], a[16], b[6], got[2][6 * 16];
    struct mlc_merge_delta d = {.a = a,
                                .a_type = MLC_DTYPE_F32,
                                .b_type = MLC_DTYPE_F32,
                                .rank = 1,
                                .scale = 1};
    const void *factors[] = {b};
    size_t base, i, round;

    for (base = 0; base < N_OF(bases); base++)
        for (round = 0; round < 200; round++) {
            unsigned char bytes[2][6 * 16 * 4];
            struct mlc_merge *plan = NULL;
            size_t size = mlc_float_size(bases[base]);

            for (i = 0; i < N_OF(a); i++)
                a[i] = float_of(odd[next_random() % N_OF(odd)]);
            for (i = 0; i < N_OF(b); i++)
                b[i] = float_of(odd[next_random() % N_OF(odd)]);
            for (i = 0; i < N_OF(w); i++)
                w[i] = float_of(odd[next_random() % N_OF(odd)]);
            for (i = 0; i < N_OF(w); i++) {
                uint16_t half = bases[base] == MLC_DTYPE_F16
                                    ? mlc_to_f16(w[i])
                                    : mlc_to_bf16(w[i]);

                if (size == 4)
                    memcpy(bytes[0] + 4 * i, &w[i], 4);
                else
                    memcpy(bytes[0] + 2 * i, &half, 2);
            }
            memcpy(bytes[1], bytes[0], sizeof bytes[0]);
            assert_int_equal(mlc_merge_new(bases[base], 16, &d, 1, &plan), 0);
            assert_int_equal(
                mlc_merge_rows(plan, 6, factors, bytes[0], bytes[0]), 0);
            plan->kernel = mlc_merge_plain(bases[base]);
            assert_int_equal(
                mlc_merge_rows(plan, 6, factors, bytes[1], bytes[1]), 0);
            mlc_merge_free(plan);
            mlc_float_read(bases[base], bytes[0], N_OF(w), got[0]);
            mlc_float_read(bases[base], bytes[1], N_OF(w), got[1]);
            for (i = 0; i < N_OF(w); i++)
                assert_true(isnan(got[0][i])
                                ? isnan(got[1][i])
                                : bits_of(got[0][i]) == bits_of(got[1][i]));
        }
}

/* One in A's column 1, or the scale. */
static void
merge_a_nan(enum mlc_dtype base, uint32_t bits, bool is_scale, bool is_plain)
{
    struct mlc_merge_delta d = {.a_type = MLC_DTYPE_F32,
                                .b_type = MLC_DTYPE_F32,
                                .rank = 2,
                                .scale = 1};
    float a[2 * 16] = {0}, b[6 * 2], got[6 * 16];
    unsigned char w[6 * 16 * 4] = {0};
    struct mlc_merge *plan = NULL;
    size_t i;

    for (i = 0; i < N_OF(b); i++)
        b[i] = 1;
    a[1] = is_scale ? 1 : float_of(bits);
    if (is_scale)
        d.scale = float_of(bits);
    d.a = a;
    assert_int_equal(mlc_merge_new(base, 16, &d, 1, &plan), 0);
    if (is_plain)
        plan->kernel = mlc_merge_plain(base);
    assert_int_equal(mlc_merge_rows(plan, 6, (const void *[]){b}, w, w), 0);
    mlc_merge_free(plan);
    mlc_float_read(base, w, N_OF(got), got);
    for (i = 0; i < N_OF(got); i++)
        assert_int_equal(isnan(got[i]) != 0, is_scale || i % 16 == 1);
}

static void
a_nan_stays_one_whatever_its_bits(void **arg)
{
    static const uint32_t nans[] = {0x7fffffff, 0xffffffff, 0x7fff8001,
                                    0x7fff8000, 0x7f800001, 0xff80ffff};
    size_t i, base;
    int is_scale;

    for (i = 0; i < N_OF(nans); i++)
        for (base = 0; base < N_OF(bases); base++)
            for (is_scale = 0; is_scale < 2; is_scale++) {
                merge_a_nan(bases[base], nans[i], is_scale, false);
                merge_a_nan(bases[base], nans[i], is_scale, true);
            }
}

/* A strip of values, at an odd address, with either reader. */
static void
assert_read_alike(enum mlc_dtype base, enum mlc_dtype type, const void *values)
{
    mlc_merge_reader *fast = mlc_merge_reader_avx2();
    unsigned char bytes[MLC_TILE_COLS * 8 + 1];
    float got[2][MLC_TILE_COLS];
    size_t i;

    memcpy(bytes + 1, values, MLC_TILE_COLS * mlc_float_size(type));
    mlc_merge_reader_plain()(base, type, bytes + 1, 0, 1, got[0]);
    if (!fast)
        return;
    fast(base, type, bytes + 1, 0, 1, got[1]);
    for (i = 0; i < MLC_TILE_COLS; i++)
        assert_true(isnan(got[0][i])
                        ? isnan(got[1][i])
                        : bits_of(got[0][i]) == bits_of(got[1][i]));
}

/* All 16-bit values, and floats and doubles between them. */
static void
readers_agree_on_all_values(void **arg)
{
    uint16_t halves[MLC_TILE_COLS];
    float floats[MLC_TILE_COLS];
    double doubles[MLC_TILE_COLS];
    uint32_t at, i;
    size_t base;

    for (at = 0; at < 0x10000; at += MLC_TILE_COLS) {
        for (i = 0; i < MLC_TILE_COLS; i++) {
            halves[i] = (uint16_t)(at + i);
            floats[i] = float_of((at + i) << 16 | (next_random() & 0xffff));
            doubles[i] = (double)floats[i] * (1 + 0x1p-24);
        }
        for (base = 0; base < N_OF(bases); base++) {
            assert_read_alike(bases[base], MLC_DTYPE_F16, halves);
            assert_read_alike(bases[base], MLC_DTYPE_BF16, halves);
            assert_read_alike(bases[base], MLC_DTYPE_F32, floats);
            assert_read_alike(bases[base], MLC_DTYPE_F64, doubles);
        }
    }
}

static void
plans_that_make_no_sense_are_refused(void **arg)
{
    float one = 1;
    struct mlc_merge_delta d = {
        .a = &one, .a_type = MLC_DTYPE_F32, .b_type = MLC_DTYPE_F32, .rank = 1};
    struct mlc_merge *plan = NULL;

    assert_int_equal(mlc_merge_new(MLC_DTYPE_F64, 1, &d, 1, &plan), -EINVAL);
    assert_int_equal(mlc_merge_new(MLC_DTYPE_I8, 1, &d, 1, &plan), -EINVAL);
    assert_int_equal(mlc_merge_new(MLC_DTYPE_F32, 0, &d, 1, &plan), -EINVAL);
    assert_int_equal(mlc_merge_new(MLC_DTYPE_F32, 1, &d, 0, &plan), -EINVAL);
    d.rank = 0;
    assert_int_equal(mlc_merge_new(MLC_DTYPE_F32, 1, &d, 1, &plan), -EINVAL);
    d.rank = MLC_MERGE_MAX_RANK + 1;
    assert_int_equal(mlc_merge_new(MLC_DTYPE_F32, 1, &d, 1, &plan), -EINVAL);
    assert_true(mlc_merge_size(1, &d, 1) == UINT64_MAX);
    d.rank = 1;
    d.b_type = MLC_DTYPE_U8;
    assert_int_equal(mlc_merge_new(MLC_DTYPE_F32, 1, &d, 1, &plan), -EINVAL);
    assert_true(mlc_merge_size(UINT64_MAX, &d, 1) == UINT64_MAX);
    d.rank = 64;
    assert_in_range(mlc_merge_size(1280, &d, 1), 64 * 1280 * 4,
                    64 * 1280 * 4 + 4096);
    d.b_type = MLC_DTYPE_F32;
    d.a = NULL;
    assert_int_equal(mlc_merge_new(MLC_DTYPE_F32, 1, &d, 1, &plan), -EINVAL);
    assert_null(plan);
    mlc_merge_free(plan);
}

static int
seed(void **arg)
{
    state = 88172645;
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_survive_the_way_there_and_back),
        cmocka_unit_test(floats_round_to_the_nearest_half_ties_to_even),
        cmocka_unit_test(factors_are_read_from_any_address),
        cmocka_unit_test(each_rank_is_summed_in_its_blocks),
        cmocka_unit_test(each_shape_has_its_borders_right),
        cmocka_unit_test(loras_of_all_types_are_added_in_order),
        cmocka_unit_test(a_bias_is_scaled_and_added),
        cmocka_unit_test(rows_alone_are_as_rows_together),
        cmocka_unit_test(kernels_agree_on_unusual_values),
        cmocka_unit_test(a_nan_stays_one_whatever_its_bits),
        cmocka_unit_test(readers_agree_on_all_values),
        cmocka_unit_test(plans_that_make_no_sense_are_refused),
    };

    return cmocka_run_group_tests(tests, seed, NULL);
}
