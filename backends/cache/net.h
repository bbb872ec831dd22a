/* SPDX-License-Identifier: MIT */
/* The network: one thread around curl_multi serves all transfers.
 *
 * Promise: a bearer token goes to the origin (scheme, host, port) of the URL
 * it was given with and to no other, over plain http only if that URL is
 * http; redirects (http and https only, at most 10, followed here by hand)
 * drop it as soon as the origin differs, and it does not come back (nor do
 * Authorization and Cookie lines among the request's headers).  Bodies of
 * redirects are swallowed, at most 64 KiB.  Every request carries
 * User-Agent: mlcachefs/VERSION.
 * Callbacks run on the network thread and must not block, hash, or sync.
 * Lifetime: the request and what it points to belong to the caller and must
 * live until on_done returns; on_done is called exactly once per start.
 * Locks: none held during callbacks; mlc_net functions may be called from
 * them and from any other thread.
 */
#ifndef MLC_CACHE_NET_H
#define MLC_CACHE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/cache/http.h"

#define MLC_NET_TO_END UINT64_MAX

struct mlc_net;
struct mlc_net_transfer; /* private to net.c */

/* The final answer's head. Strings live until on_done returns. */
struct mlc_net_head {
    int status;              /* HTTP status */
    uint64_t content_length; /* UINT64_MAX: not said */
    bool has_range;          /* a parsable Content-Range came */
    uint64_t range_from;     /* first byte */
    uint64_t range_last;     /* last byte, inclusive */
    uint64_t range_total;    /* UINT64_MAX: "*" */
    const char *url;         /* where the answer came from */
    bool is_redirected;
    int64_t retry_after_ms; /* -1: none; from Retry-After (seconds or date) or
                               RateLimit r=0;t=N (facts: hub 1.8) */
};

struct mlc_net_request {
    /* Set by the caller, unchanged until on_done. */
    const char *url;
    const char *bearer; /* NULL: none */
    const char *netrc;  /* file with logins for the hosts that it names (each
                           hop gets its own host's); NULL: none */
    const char *const
        *headers;     /* extra "Name: value" lines, NULL-ended; NULL */
    const char *form; /* the body of a POST, on redirects too; NULL: a GET */
    bool has_range;
    uint64_t range_from;
    uint64_t range_to; /* exclusive; MLC_NET_TO_END: open-ended */
    /* A redirect to url's path and a '/' is not followed, but handed over: it
     * says that there is a directory. */
    bool is_slash_final;
    bool is_body;       /* file bytes: Accept-Encoding: identity, HTTP/1.1, no
                           decompression; else gzip welcome and HTTP/2 */
    int64_t connect_ms; /* DNS, TCP and TLS, each hop; 0: 10 s */
    int64_t stall_ms;   /* no byte for so long since the connection stands,
                           pauses not counted: -ETIMEDOUT; 0: none */
    int64_t total_ms;   /* whole request with its redirects; 0: none */
    /* Once, before the first body byte (or before on_done for an empty body).
     * 0, or a negative errno that ends the request with that result.  NULL:
     * ignored. */
    int (*on_head)(struct mlc_net_request *q, const struct mlc_net_head *h);
    /* 0; -EAGAIN: nothing was taken, pause until mlc_net_resume(), the same
     * bytes come again; another negative errno ends the request with it. */
    int (*on_body)(struct mlc_net_request *q, const void *data, size_t len);
    /* r: 0 when a whole answer (of any status) came; -ECANCELED; -ETIMEDOUT
     * (connect, stall, total); -EHOSTUNREACH (no such host, no route);
     * -ECONNREFUSED; -ECONNRESET (closed early, truncated); -ELOOP (too many
     * redirects); -EPROTO (anything else: TLS, bad redirect, HTTP nonsense);
     * -EINVAL (url, range, or a line break in bearer or headers); -ENOMEM; or
     * what on_head/on_body returned. */
    void (*on_done)(struct mlc_net_request *q, int r);
    /* net.c's own. */
    struct mlc_net_transfer *transfer;
};

/* token hygiene etc. as above; proxy variables are curl's own business. */
int mlc_net_new(struct mlc_net **ret);
/* Ends all transfers (-ECANCELED), joins the thread; later starts end with
 * -ECANCELED at once, on the caller's thread.  Within a second, whatever DNS
 * servers do (CURLOPT_QUICK_EXIT). */
void mlc_net_stop(struct mlc_net *n);
void mlc_net_free(struct mlc_net *n);
/* 0, or -ENOMEM (then on_done is not called). */
int mlc_net_start(struct mlc_net *n, struct mlc_net_request *q);
/* on_done(-ECANCELED) follows soon, on the network thread, unless it is
 * already on its way. Call only while on_done has not returned. */
void mlc_net_cancel(struct mlc_net *n, struct mlc_net_request *q);
void mlc_net_resume(struct mlc_net *n, struct mlc_net_request *q);
/* Every paused transfer is tried again. */
void mlc_net_resume_all(struct mlc_net *n);
/* In on_head/on_body/on_done: a response header of the final answer, its last
 * value, or NULL.  Borrowed until the callback returns. */
const char *mlc_net_header(struct mlc_net_request *q, const char *name);
/* In on_done: all of these headers, for mlc_headers_find() later on; caller
 * frees; NULL: none came, or no memory. */
char *mlc_net_take_headers(struct mlc_net_request *q);
/* In a callback: the URL asked last, for knowing which host failed. */
const char *mlc_net_url(const struct mlc_net_request *q);

#endif
