/* SPDX-License-Identifier: MIT */
/* What HTTP's texts mean: origins and references of URLs (through curl's own
 * parser, so that what is checked is what is asked), and header blocks.  A
 * block is the lines "Name: value" of one answer, each NUL-terminated, with
 * an empty one at the end. */
#ifndef MLC_CACHE_HTTP_H
#define MLC_CACHE_HTTP_H

#include <stdbool.h>
#include <stdint.h>

/* "scheme://host:port", lower case, the port always there; NULL: not an http
 * or https URL, or no memory.  Caller frees. */
char *mlc_url_origin(const char *url);
/* Do both URLs have the same scheme, host and port? */
bool mlc_url_same_origin(const char *a, const char *b);
/* Is url's path that of 'of' and a '/' behind it (wherever it leads)?  So
 * servers answer for the name of a directory. */
bool mlc_url_is_slashed(const char *url, const char *of);
/* The absolute http or https URL that 'ref' (a Location, say) means when it
 * stands at 'base'.  0, -EPROTO, -ENOMEM; caller frees. */
int mlc_url_resolve(const char *base, const char *ref, char **ret);
/* A header in a block (NULL: none came): its last value, or NULL. */
const char *mlc_headers_find(const char *block, const char *name);
/* How long to wait: RateLimit: "api";r=0;t=163 (facts: hub 1.8), else
 * Retry-After, seconds or a date, which is taken relative to the server's own
 * clock if it tells that.  -1: nothing said; at most a day. */
int64_t mlc_headers_retry_after(const char *block);

#endif
