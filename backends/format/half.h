/* SPDX-License-Identifier: MIT */
/* The floating-point types that weights come in, to and from float.
 *
 * Round to nearest, ties to even, exact for subnormal values, zeros and
 * infinities; a NaN stays a NaN (quiet, its payload not promised).  Sources and
 * destinations may lie at any address. */
#ifndef MLC_FORMAT_HALF_H
#define MLC_FORMAT_HALF_H

#include <stddef.h>
#include <stdint.h>

#include "backends/format/safetensors.h"

/* Bytes of one value of F16, BF16, F32 or F64; 0: another type, which none of
 * these functions takes. */
size_t mlc_float_size(enum mlc_dtype type);

float mlc_from_f16(uint16_t bits);
float mlc_from_bf16(uint16_t bits);
uint16_t mlc_to_f16(float value);
uint16_t mlc_to_bf16(float value);

/* n values of a type at 'from' to float.  F64 is rounded. */
void mlc_float_read(enum mlc_dtype type, const void *from, size_t n,
                    float *ret);
/* value as 'type' holds it (not F64). */
float mlc_float_round(enum mlc_dtype type, float value);

#endif
