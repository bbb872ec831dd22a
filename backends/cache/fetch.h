/* SPDX-License-Identifier: MIT */
/* The HTTP feed: brings an object's pieces in ranges over one or several
 * connections.
 *
 * Streams: each is one ranged GET from a missing piece to the next present
 * one (or another stream's start), cut when nobody needs it.  A want that no
 * stream will reach soon (within 2 MiB, or 8 MiB of where a reader waits, or
 * half a second) gets a stream of its own; when all
 * connections are in use the stream that no reader waits for gives way.
 * Where several connections are allowed a request is for a second's worth, 32
 * to 256 MiB, so that another one can begin behind it and none is cut.
 * whole: while the object is open, gaps are filled from the lowest reader on.
 * demand: only wants and a read-ahead that doubles with sequential reading
 * (256 KiB to 16 MiB).
 * Both cut the file at multiples of MLC_BUFFER.  Where only parts are read
 * (mlc_object_is_part()) requests are for exactly the pieces that are wanted,
 * and gaps between them are not bridged.
 * Connections grow from 1 to max only while that makes the file come faster.
 * Answers: 206 must be exactly the range asked, of the size expected; 200 to
 * a range is taken from its first byte on (no ranges: one stream, seeks wait);
 * a body too short is resumed, and its whole pieces are kept; too long, or
 * another size or validator, is an error.  Redirect targets are remembered
 * while they work: 401, 403, 404, 410 from one resolves anew once.  Retries:
 * 0.25 s doubling to 8 s, Retry-After honoured, until timeout_ms passed without
 * a byte.
 * Locks: fetch.lock, taken before store.lock and object.lock (object.h).
 */
#ifndef MLC_CACHE_FETCH_H
#define MLC_CACHE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/cache/net.h"
#include "backends/cache/object.h"

struct mlc_fetch_conf {
    struct mlc_net *net;
    struct mlc_pool *pool;
    struct mlc_budget *budget;
    int64_t timeout_ms;
    unsigned max_connections;
    bool is_whole;
};

struct mlc_fetch_spec {
    const char *url;      /* copied; always asked first, may redirect */
    const char *label;    /* copied */
    bool check_validator; /* ETag/Last-Modified of all answers must agree */
    const char *netrc;    /* as in net.h; borrowed for the engine's life */
    /* Gives the token at each new request to 'url' (malloc'd, NULL: none);
     * may be NULL.  Must not block. */
    char *(*get_bearer)(void *arg);
    /* A 401 came to that token: true: what get_bearer gives now may be taken
     * instead.  May be NULL. */
    bool (*bearer_refused)(void *arg, const char *bearer,
                           const char *error_code);
    void *arg; /* borrowed for the life of the feed's engine */
    /* HTTP status (4xx other than 408, 429) to errno; NULL: 401, 403 EACCES,
     * else EIO. error_code: the X-Error-Code header or NULL. */
    int (*map_status)(int status, const char *error_code);
    /* The origin has another file there, or none (404, 410): the object is
     * dead. Any thread, must not block.  NULL: a wrong size or a 404 is an
     * error like others, and only another validator ends the object. */
    void (*changed)(void *arg, uint64_t content);
    /* The content's first bytes, if they are known already: malloc'd, *ret_len
     * of them; NULL: no.  Asked once, when the first piece is to come; any
     * thread, must not block.  They belong to the validator that the object
     * was given (mlc_object_set_validator).  May be NULL. */
    char *(*get_head)(void *arg, uint64_t content, size_t *ret_len);
    uint64_t content; /* for changed and get_head */
};

extern const struct mlc_feed_ops mlc_fetch_ops;

/* A feed for mlc_object_spec.  conf is borrowed for the engine's life. */
int mlc_fetch_new(const struct mlc_fetch_conf *conf,
                  const struct mlc_fetch_spec *spec, void **ret_feed);

#endif
