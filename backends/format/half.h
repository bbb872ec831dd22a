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

/* By their names in safetensors. */
enum mlc_float {
    MLC_FLOAT_F16,
    MLC_FLOAT_BF16,
    MLC_FLOAT_F32,
    MLC_FLOAT_F64, /* of LoRAs alone; read, never written */
};

/* Bytes of one value. */
size_t mlc_float_size(enum mlc_float type);

float mlc_from_f16(uint16_t bits);
float mlc_from_bf16(uint16_t bits);
uint16_t mlc_to_f16(float value);
uint16_t mlc_to_bf16(float value);

/* n values of a type at 'from' to float.  F64 is rounded. */
void mlc_float_read(enum mlc_float type, const void *from, size_t n,
                    float *ret);
/* value as 'type' holds it (not F64). */
float mlc_float_round(enum mlc_float type, float value);

#endif
