/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/half.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "values are taken from files as they lie there");

static uint32_t
bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float
float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

size_t
mlc_float_size(enum mlc_dtype type)
{
    switch (type) {
    case MLC_DTYPE_F16:
    case MLC_DTYPE_BF16:
        return 2;
    case MLC_DTYPE_F32:
        return 4;
    case MLC_DTYPE_F64:
        return 8;
    default:
        return 0;
    }
}

float
mlc_from_f16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t rest = (uint32_t)(bits & 0x7fff) << 13;

    if (rest >= 0x7c00u << 13) /* infinity, NaN (made quiet) */
        return float_of(sign | 0x7f800000 | rest |
                        (rest > 0x7c00u << 13 ? 0x400000 : 0));
    /* The exponent's bias differs by 112.  Exact, and it normalises what is
     * subnormal in F16. */
    return float_of(sign | bits_of(float_of(rest) * 0x1p112f));
}

float
mlc_from_bf16(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

uint16_t
mlc_to_f16(float value)
{
    uint32_t bits = bits_of(value), rest = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);

    if (rest > 0x7f800000)
        return sign | 0x7e00;
    if (rest >= 0x477ff000) /* rounds to 65536 or more */
        return sign | 0x7c00;
    if (rest < 0x38800000) /* subnormal: in units of 2^-24, which is exact */
        return sign | (uint16_t)lrintf(float_of(rest) * 0x1p24f);
    rest -= (uint32_t)112 << 23;
    return sign | (uint16_t)((rest + 0xfff + ((rest >> 13) & 1)) >> 13);
}

uint16_t
mlc_to_bf16(float value)
{
    uint32_t bits = bits_of(value);

    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void
mlc_float_read(enum mlc_dtype type, const void *from, size_t n, float *ret)
{
    const unsigned char *p = from;
    uint16_t half;
    double wide;
    size_t i;

    switch (type) {
    case MLC_DTYPE_F16:
        for (i = 0; i < n; i++) {
            memcpy(&half, p + 2 * i, sizeof half);
            ret[i] = mlc_from_f16(half);
        }
        break;
    case MLC_DTYPE_BF16:
        for (i = 0; i < n; i++) {
            memcpy(&half, p + 2 * i, sizeof half);
            ret[i] = mlc_from_bf16(half);
        }
        break;
    case MLC_DTYPE_F32:
        memcpy(ret, p, n * sizeof *ret);
        break;
    case MLC_DTYPE_F64:
        for (i = 0; i < n; i++) {
            memcpy(&wide, p + 8 * i, sizeof wide);
            ret[i] = (float)wide;
        }
        break;
    default:
        break;
    }
}

float
mlc_float_round(enum mlc_dtype type, float value)
{
    switch (type) {
    case MLC_DTYPE_F16:
        return mlc_from_f16(mlc_to_f16(value));
    case MLC_DTYPE_BF16:
        return mlc_from_bf16(mlc_to_bf16(value));
    default:
        return value;
    }
}
