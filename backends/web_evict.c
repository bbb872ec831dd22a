/* SPDX-License-Identifier: MIT */
/* Eviction of bodies: the name goes with the bytes, and is asked for anew by
 * who looks it up next. */
#include "config.h"

#include "backends/web_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/cache/object.h"
#include "backends/cache/pins.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/path.h"

/* 0: *ret and *ret_used_us are of the body; one that nobody has opened since it
 * was written counts as used then. */
static int
stat_body(const struct mlc_web *web, uint64_t gen, struct stat *ret,
          int64_t *ret_used_us)
{
    char path[MLC_WEB_BODY_PATH];

    mlc_web_body_path(gen, path);
    if (fstatat(web->d->privfd, path, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!mlc_ledger_find(mlc_store_ledger(web->d->store), ret, ret_used_us))
        *ret_used_us = mlc_time_us(&ret->st_ctim);
    return S_ISREG(ret->st_mode) ? 0 : -EINVAL;
}

static bool
is_gen_pinned(struct mlc_web *web, uint64_t gen)
{
    mlc_autofree char *path = NULL, *in_mount = NULL;

    if (!mlc_pins_any(web->d->cache->pins))
        return false;
    path = mlc_web_path_of(web, gen);
    if (!path)
        return false;
    in_mount = mlc_path_join("web", path);
    return !in_mount || mlc_pins_has(web->d->cache->pins, in_mount);
}

static bool
is_pinned(void *arg, const char *key)
{
    uint64_t gen;

    return strncmp(key, "web/", strlen("web/")) == 0 &&
           mlc_web_parse_gen(key + strlen("web/"), &gen) == 0 &&
           is_gen_pinned(arg, gen);
}

/* Bodies that are pinned, for many questions. */
struct pinned {
    struct mlc_web *web;
    uint64_t *gens; /* sorted in the end */
    size_t n;
};

static bool
add_pinned(void *arg, const char *path)
{
    struct pinned *p = arg;
    const char *name = path + strlen("web");

    return mlc_web_gens_under(p->web, *name ? name + 1 : name, &p->gens,
                              &p->n) < 0;
}

static int
by_gen(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void
list(void *arg, struct mlc_evict_round *round)
{
    struct mlc_web *web = arg;
    struct pinned pinned = {.web = web};
    mlc_autodir DIR *dir = mlc_opendir_beneath(web->d->privfd, MLC_WEB_BODIES);
    const struct dirent *d;

    (void)mlc_pins_each(web->d->cache->pins, "web", add_pinned, &pinned);
    if (pinned.gens)
        qsort(pinned.gens, pinned.n, sizeof(*pinned.gens), by_gen);
    while (dir && (d = readdir(dir))) {
        struct stat st;
        int64_t used_us;
        uint64_t gen;

        if (mlc_web_parse_gen(d->d_name, &gen) == 0 &&
            stat_body(web, gen, &st, &used_us) == 0)
            mlc_evict_offer(round, d->d_name, &st, (uint64_t)st.st_size,
                            used_us,
                            pinned.gens && bsearch(&gen, pinned.gens, pinned.n,
                                                   sizeof(gen), by_gen));
    }
    free(pinned.gens);
}

static uint64_t
drop(void *arg, const char *name, int64_t since_us,
     struct mlc_evict_round *round)
{
    struct mlc_web *web = arg;
    int64_t used_us;
    struct stat st;
    uint64_t gen;

    if (mlc_web_parse_gen(name, &gen) < 0 ||
        stat_body(web, gen, &st, &used_us) < 0 || used_us > since_us ||
        mlc_evict_is_open(round, &st) || is_gen_pinned(web, gen))
        return 0;
    mlc_web_drop_gen(web, gen);
    return stat_body(web, gen, &st, &used_us) < 0 ? (uint64_t)st.st_size : 0;
}

int
mlc_web_evict_init(struct mlc_web *web)
{
    const struct mlc_evict_source source = {
        .is_pinned = is_pinned, .list = list, .drop = drop, .arg = web};

    return web->d->store ? mlc_evictor_add(web->d->cache->evictor, &source) : 0;
}
