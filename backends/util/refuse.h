/* SPDX-License-Identifier: MIT */
/* Why something is refused: a file, a value. */
#ifndef MLC_UTIL_REFUSE_H
#define MLC_UTIL_REFUSE_H

#include <errno.h>

/* Puts the text, control bytes masked, into *ret_err (the caller's to free;
 * NULL when memory runs out), unless ret_err is NULL.  Always r.  What was in
 * *ret_err is not freed. */
int mlc_refuse_as(int r, char **ret_err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A file, mostly: -EBADMSG. */
#define mlc_refuse(ret_err, ...) mlc_refuse_as(-EBADMSG, (ret_err), __VA_ARGS__)

/* For names that come from a file: "%.*s", MLC_SHOWN(name). */
#define MLC_SHOWN(name) 200, (name)

#endif
