/* SPDX-License-Identifier: MIT */
/* A growable byte buffer with a hard maximum given at init.  On failure it is
 * emptied and stays usable.  data is always NUL-terminated after a successful
 * append, so it can be used as a string. */
#ifndef MLC_UTIL_BUF_H
#define MLC_UTIL_BUF_H

#include <stddef.h>

struct mlc_buf {
    char *data; /* owned; NULL while empty */
    size_t len; /* bytes, without the NUL */
    size_t cap;
    size_t max; /* largest len */
};

void mlc_buf_init(struct mlc_buf *b, size_t max);
void mlc_buf_done(struct mlc_buf *b);
/* 0, -EFBIG beyond max, or -ENOMEM.  What is appended must not lie inside b. */
int mlc_buf_append(struct mlc_buf *b, const void *data, size_t len);
int mlc_buf_puts(struct mlc_buf *b, const char *s);
int mlc_buf_printf(struct mlc_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The bytes, now the caller's to free; the buffer is empty again.  NULL when
 * nothing was appended (an empty string counts as something).  ret_len may be
 * NULL. */
char *mlc_buf_take(struct mlc_buf *b, size_t *ret_len);

#endif
