/* SPDX-License-Identifier: MIT */
/* One sink for all messages: stderr until mlc_log_to_fd(), one line each.
 * Process-wide on purpose: the level and the sink, nothing else.  Thread-safe
 * and fork-safe: no lock, no allocation, one write(2) a line of at most 4096
 * bytes (longer ones are cut).  Control bytes are masked.  %m shows the errno
 * at the call, and errno is left as it was.
 * The caller names the subject (domain and path, or a URL that went through
 * mlc_url_redact()); a token never gets here. */
#ifndef MLC_UTIL_LOG_H
#define MLC_UTIL_LOG_H

#include <stdbool.h>

/* Messages go to this descriptor from now on (borrowed; -1: stderr), each with
 * a time stamp if 'stamp'. */
void mlc_log_to_fd(int fd, bool stamp);
/* Shows mlc_debug() messages too. */
void mlc_log_set_debug(bool on);
bool mlc_log_is_debug(void);

/* Logs an error and returns r unchanged: return mlc_log_err(-EIO, "..."). */
int mlc_log_err(int r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void mlc_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mlc_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* area: "net", "object", "hf", "fs", ... */
void mlc_debug(const char *area, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
