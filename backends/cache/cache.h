/* SPDX-License-Identifier: MIT */
/* The engine that all domains share, as one bundle: made once at start,
 * stopped in the order net, docs, stores, pool; freed in reverse. */
#ifndef MLC_CACHE_CACHE_H
#define MLC_CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/cache/fetch.h"

struct mlc_docs;
struct mlc_evictor;

struct mlc_cache {
    struct mlc_pool *pool;
    struct mlc_budget *budget;
    struct mlc_net *net;
    struct mlc_docs *docs;
    struct mlc_evictor *evictor;
    struct mlc_fetch_conf fetch; /* immutable */
    int64_t lookup_ms;           /* immutable; a look-up's network budget */
    bool is_offline;             /* immutable */
};

struct mlc_cache_conf {
    uint64_t memory;    /* bytes */
    uint64_t max_size;  /* bytes; UINT64_MAX: no limit */
    int64_t timeout_ms; /* without any progress */
    int64_t lookup_ms;
    unsigned max_connections;
    bool is_whole;
    bool is_offline;
};

int mlc_cache_new(const struct mlc_cache_conf *conf, struct mlc_cache **ret);
void mlc_cache_stop_network(struct mlc_cache *c); /* net, docs */
void mlc_cache_stop(struct mlc_cache *c);         /* pool; after the stores */
void mlc_cache_free(struct mlc_cache *c);

#endif
