/* SPDX-License-Identifier: MIT */
/* Why a file is refused. */
#ifndef MLC_FORMAT_REFUSE_H
#define MLC_FORMAT_REFUSE_H

/* Puts the text, control bytes masked, into *ret_err (the caller's to free;
 * NULL when memory runs out), unless ret_err is NULL.  Always -EBADMSG.  What
 * was in *ret_err is not freed. */
int mlc_refuse(char **ret_err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* For names that come from a file: "%.*s", MLC_SHOWN(name). */
#define MLC_SHOWN(name) 200, (name)

#endif
