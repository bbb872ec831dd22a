/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/cache.h"

#include <errno.h>
#include <stdlib.h>

#include "backends/cache/budget.h"
#include "backends/cache/doc.h"
#include "backends/cache/evict.h"
#include "backends/cache/net.h"
#include "backends/cache/pool.h"

#define N_QUICK 3
#define N_SLOW  2

static void
on_budget_free(void *arg)
{
    mlc_net_resume_all(arg);
}

int
mlc_cache_new(const struct mlc_cache_conf *conf, struct mlc_cache **ret)
{
    struct mlc_cache *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    r = mlc_pool_new(N_QUICK, N_SLOW, &c->pool);
    if (r == 0)
        r = mlc_budget_new(conf->memory, &c->budget);
    if (r == 0)
        r = mlc_net_new(&c->net);
    if (r == 0)
        r = mlc_docs_new(c->net, c->pool, c->budget, conf->lookup_ms, &c->docs);
    if (r == 0)
        r = mlc_evictor_new(conf->max_size, conf->is_offline, c->pool,
                            &c->evictor);
    if (r < 0) {
        mlc_cache_free(c);
        return r;
    }
    mlc_budget_on_free(c->budget, on_budget_free, c->net);
    c->fetch = (struct mlc_fetch_conf){
        .net = c->net,
        .pool = c->pool,
        .budget = c->budget,
        .timeout_ms = conf->timeout_ms,
        .max_connections = conf->max_connections,
        .is_whole = conf->is_whole,
    };
    c->lookup_ms = conf->lookup_ms;
    c->is_offline = conf->is_offline;
    *ret = c;
    return 0;
}

void
mlc_cache_stop_network(struct mlc_cache *c)
{
    mlc_net_stop(c->net);
    mlc_docs_stop(c->docs);
}

void
mlc_cache_stop(struct mlc_cache *c)
{
    if (c->evictor)
        mlc_evictor_stop(c->evictor);
    mlc_pool_stop(c->pool);
}

void
mlc_cache_free(struct mlc_cache *c)
{
    if (!c)
        return;
    mlc_cache_stop_network(c);
    mlc_cache_stop(c);
    mlc_pool_free(c->pool);
    mlc_evictor_free(c->evictor);
    mlc_docs_free(c->docs);
    mlc_net_free(c->net);
    mlc_budget_free(c->budget);
    free(c);
}
