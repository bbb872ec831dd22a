/* SPDX-License-Identifier: MIT */
/* safetensors: 8 bytes (length N of the header, little-endian), N bytes of
 * JSON, tensors.  Reading follows the reference's rules (facts:
 * checkpoints 1.3) and refuses more: names that occur twice, control bytes in
 * names, and what is beyond the maxima below.  Writing gives the bytes that its
 * save_file() does (1.4).
 *
 * Headers are hostile input; what a parsed one takes in memory is bounded by a
 * small multiple of N.  Errors: -EBADMSG, then *ret_err (may be NULL; the
 * caller's to free, NULL when memory ran out) is a clause that says why; or
 * -ENOMEM.  A struct mlc_safetensors is immutable once made.
 */
#ifndef MLC_FORMAT_SAFETENSORS_H
#define MLC_FORMAT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#define MLC_SAFETENSORS_PREFIX_LEN  8
#define MLC_SAFETENSORS_MAX_HEADER  ((size_t)100000000)
#define MLC_SAFETENSORS_MAX_TENSORS ((size_t)500000)
#define MLC_SAFETENSORS_MAX_NAME    ((size_t)4096) /* bytes */
#define MLC_SAFETENSORS_MAX_DIMS    16

/* In the writer's order, first comes what is last here. */
enum mlc_dtype {
    MLC_DTYPE_BOOL,
    MLC_DTYPE_F4,
    MLC_DTYPE_F6_E2M3,
    MLC_DTYPE_F6_E3M2,
    MLC_DTYPE_U8,
    MLC_DTYPE_I8,
    MLC_DTYPE_F8_E5M2,
    MLC_DTYPE_F8_E4M3,
    MLC_DTYPE_F8_E8M0,
    MLC_DTYPE_F8_E4M3FNUZ,
    MLC_DTYPE_F8_E5M2FNUZ,
    MLC_DTYPE_I16,
    MLC_DTYPE_U16,
    MLC_DTYPE_F16,
    MLC_DTYPE_BF16,
    MLC_DTYPE_I32,
    MLC_DTYPE_U32,
    MLC_DTYPE_F32,
    MLC_DTYPE_C64,
    MLC_DTYPE_F64,
    MLC_DTYPE_I64,
    MLC_DTYPE_U64,
    MLC_N_DTYPES,
};

const char *mlc_dtype_name(enum mlc_dtype dtype); /* "F16" */
unsigned mlc_dtype_bits(enum mlc_dtype dtype);

/* One tensor of a file.  begin and end are offsets in the file, from its first
 * byte.  name and shape are borrowed from whatever holds the tensor. */
struct mlc_tensor {
    const char *name; /* UTF-8 without control bytes */
    enum mlc_dtype dtype;
    unsigned n_dims; /* 0: a scalar */
    const uint64_t *shape;
    uint64_t begin, end;
};

struct mlc_safetensors;

/* What the file's first 8 bytes say: *ret_len = N, checked against the file's
 * size and MAX_HEADER.  Pickles, zip archives and GGUF are refused by name. */
int mlc_safetensors_header_len(const uint8_t prefix[MLC_SAFETENSORS_PREFIX_LEN],
                               uint64_t file_size, size_t *ret_len,
                               char **ret_err);
/* header: the N bytes after those; not needed afterwards. */
int mlc_safetensors_parse(const char *header, size_t len, uint64_t file_size,
                          struct mlc_safetensors **ret, char **ret_err);
void mlc_safetensors_free(struct mlc_safetensors *f); /* takes NULL */

size_t mlc_safetensors_n_tensors(const struct mlc_safetensors *f);
/* i < n_tensors, in the order of names' bytes: what has one prefix is
 * together. */
const struct mlc_tensor *mlc_safetensors_get(const struct mlc_safetensors *f,
                                             size_t i);
/* NULL: there is none. */
const struct mlc_tensor *mlc_safetensors_find(const struct mlc_safetensors *f,
                                              const char *name);
/* The first tensor, in that order, whose name begins so; NULL: none. */
const struct mlc_tensor *
mlc_safetensors_find_prefix(const struct mlc_safetensors *f,
                            const char *prefix);
/* The string of that key in "__metadata__"; NULL: none.  It may hold any bytes
 * but NUL. */
const char *mlc_safetensors_metadata(const struct mlc_safetensors *f,
                                     const char *key);

/* For qsort(): the order in which a file has its tensors. */
int mlc_tensor_compare(const void *a, const void *b);
/* Header of a file of these tensors, in the canonical form: sorts tensors[],
 * sets begin and end of each, and gives the header with its first 8 bytes
 * (*ret_len in all; caller frees).  Names are valid UTF-8 and unique.  0;
 * -EFBIG: longer than MAX_HEADER, or sizes beyond 2^63; -EINVAL: a tensor that
 * is no whole number of bytes; -ENOMEM. */
int mlc_safetensors_format(struct mlc_tensor *tensors, size_t n,
                           char **ret_header, size_t *ret_len);

#endif
