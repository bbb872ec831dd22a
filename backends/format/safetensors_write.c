/* SPDX-License-Identifier: MIT */
/* The canonical form of a header (facts: checkpoints 1.4). */
#include "config.h"

#include "backends/format/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backends/util/buf.h"

#define ALIGNMENT 8

int
mlc_tensor_compare(const void *a, const void *b)
{
    const struct mlc_tensor *x = a;
    const struct mlc_tensor *y = b;

    if (x->dtype != y->dtype)
        return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int
extent(const struct mlc_tensor *t, uint64_t *ret_bytes)
{
    uint64_t bits = mlc_dtype_bits(t->dtype);
    unsigned i;

    for (i = 0; i < t->n_dims; i++) {
        if (__builtin_mul_overflow(bits, t->shape[i], &bits))
            return -EFBIG;
    }
    if (bits % 8 != 0)
        return -EINVAL;
    *ret_bytes = bits / 8;
    return 0;
}

/* Offsets from the start of the data. */
static int
set_offsets(struct mlc_tensor *tensors, size_t n)
{
    uint64_t at = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        uint64_t bytes = 0;
        int r = extent(&tensors[i], &bytes);

        if (r < 0)
            return r;
        tensors[i].begin = at;
        if (__builtin_add_overflow(at, bytes, &at) ||
            at > INT64_MAX - MLC_SAFETENSORS_MAX_HEADER -
                     MLC_SAFETENSORS_PREFIX_LEN)
            return -EFBIG;
        tensors[i].end = at;
    }
    return 0;
}

static int
put_string(struct mlc_buf *b, const char *text)
{
    static const char letters[] = "\"\\bfnrt";
    static const char meant[] = "\"\\\b\f\n\r\t";
    int r = mlc_buf_append(b, "\"", 1);

    for (; r == 0 && *text; text++) {
        const char *special = memchr(meant, *text, sizeof meant - 1);

        if (special)
            r = mlc_buf_printf(b, "\\%c", letters[special - meant]);
        else if ((unsigned char)*text < 0x20)
            r = mlc_buf_printf(b, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            r = mlc_buf_append(b, text, 1);
    }
    return r < 0 ? r : mlc_buf_append(b, "\"", 1);
}

static int
put_tensor(struct mlc_buf *b, const struct mlc_tensor *t)
{
    unsigned i;
    int r = mlc_buf_append(b, ",", 1);

    if (r == 0)
        r = put_string(b, t->name);
    if (r == 0)
        r = mlc_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[",
                           mlc_dtype_name(t->dtype));
    for (i = 0; r == 0 && i < t->n_dims; i++)
        r = mlc_buf_printf(b, "%s%" PRIu64, i > 0 ? "," : "", t->shape[i]);
    if (r == 0)
        r = mlc_buf_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                           t->begin, t->end);
    return r;
}

static int
put_header(struct mlc_buf *b, const struct mlc_tensor *tensors, size_t n)
{
    size_t i;
    int r = mlc_buf_puts(b, "{\"__metadata__\":{\"format\":\"pt\"}");

    for (i = 0; r == 0 && i < n; i++)
        r = put_tensor(b, &tensors[i]);
    if (r == 0)
        r = mlc_buf_append(b, "}", 1);
    while (r == 0 && b->len % ALIGNMENT != 0)
        r = mlc_buf_append(b, " ", 1);
    return r;
}

int
mlc_safetensors_format(struct mlc_tensor *tensors, size_t n, char **ret_header,
                       size_t *ret_len)
{
    static const char no_length[MLC_SAFETENSORS_PREFIX_LEN];
    struct mlc_buf b;
    uint64_t len;
    size_t i;
    int r;

    if (n > 0)
        qsort(tensors, n, sizeof *tensors, mlc_tensor_compare);
    r = set_offsets(tensors, n);
    if (r < 0)
        return r;
    mlc_buf_init(&b, MLC_SAFETENSORS_MAX_HEADER + MLC_SAFETENSORS_PREFIX_LEN);
    r = mlc_buf_append(&b, no_length, sizeof no_length);
    if (r == 0)
        r = put_header(&b, tensors, n);
    if (r < 0) {
        mlc_buf_done(&b);
        return r;
    }

    len = b.len - MLC_SAFETENSORS_PREFIX_LEN;
    for (i = 0; i < MLC_SAFETENSORS_PREFIX_LEN; i++)
        b.data[i] = (char)(len >> (8 * i) & 0xff);
    for (i = 0; i < n; i++) {
        tensors[i].begin += b.len;
        tensors[i].end += b.len;
    }
    *ret_header = mlc_buf_take(&b, ret_len);
    return 0;
}
