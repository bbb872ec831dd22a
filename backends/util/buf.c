/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

void
mlc_buf_init(struct mlc_buf *b, size_t max)
{
    /* Leaves room for the NUL in every size computed below. */
    *b = (struct mlc_buf){.max = max < SIZE_MAX / 2 ? max : SIZE_MAX / 2};
}

void
mlc_buf_done(struct mlc_buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
}

/* Makes room for len more bytes and a NUL; empties the buffer on failure. */
static int
reserve(struct mlc_buf *b, size_t len)
{
    size_t need, cap;
    char *data;

    if (len > b->max - b->len) {
        mlc_buf_done(b);
        return -EFBIG;
    }
    need = b->len + len + 1;
    if (need <= b->cap)
        return 0;

    cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < need)
        cap *= 2; /* need <= SIZE_MAX / 2 + 1: no overflow */
    if (cap > b->max + 1)
        cap = b->max + 1;
    data = realloc(b->data, cap);
    if (!data) {
        mlc_buf_done(b);
        return -ENOMEM;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int
mlc_buf_append(struct mlc_buf *b, const void *data, size_t len)
{
    int r = reserve(b, len);

    if (r < 0)
        return r;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int
mlc_buf_puts(struct mlc_buf *b, const char *s)
{
    return mlc_buf_append(b, s, strlen(s));
}

int
mlc_buf_printf(struct mlc_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n, r;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) { /* longer than INT_MAX */
        mlc_buf_done(b);
        return -EFBIG;
    }
    r = reserve(b, (size_t)n);
    if (r < 0)
        return r;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

char *
mlc_buf_take(struct mlc_buf *b, size_t *ret_len)
{
    char *data = b->data;

    if (ret_len)
        *ret_len = b->len;
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
    return data;
}
