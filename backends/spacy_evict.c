/* SPDX-License-Identifier: MIT */
/* Eviction of models: all files of a version that we put there go as one, so
 * that dgenerate, which takes a directory that is there for a whole model, does
 * not find a part of one. */
#include "config.h"

#include "backends/spacy_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

MLC_DEFINE_CLEANUP(index, struct mlc_spacy_index *, mlc_spacy_index_unref);

#define autoindex __attribute__((cleanup(mlc_cleanup_index)))

/* A version's files that lie at home. */
struct files {
    uint64_t bytes;
    int64_t used_us; /* of the one that was opened last */
    struct stat st;  /* of one of them */
    bool is_open;    /* one is; only if it was asked for */
};

/* 0: *ret is the index of the version whose directory path is (a reference);
 * else it is none, or nothing is known of it. */
static int
index_of(struct mlc_spacy *s, const char *path, struct mlc_spacy_wheel **ret_w,
         struct mlc_spacy_index **ret)
{
    struct mlc_ask known = {.only_known = true};
    struct mlc_spacy_path p;

    mlc_spacy_path_parse(path, &p);
    if (p.where != MLC_SPACY_DATA || *p.rest)
        return -ENOENT;
    *ret_w = mlc_spacy_wheel_get(s, p.name, p.version);
    return *ret_w ? mlc_spacy_need_index(s, *ret_w, &known, ret) : -ENOMEM;
}

/* round: whether one of them is open is asked, too; NULL: it is not. */
static void
look(struct mlc_spacy *s, const struct mlc_spacy_index *x,
     struct mlc_evict_round *round, struct files *ret)
{
    struct mlc_ledger *ledger = mlc_store_ledger(s->d->store);

    *ret = (struct files){0};
    for (size_t i = 0; i < mlc_zip_n_members(x->zip); i++) {
        const struct mlc_zip_member *m = mlc_zip_member(x->zip, i);
        int64_t used_us;
        struct stat st;

        if (m->is_dir || mlc_spacy_stat_home(s, m->name, &st) < 0 ||
            !mlc_spacy_is_as_put(x, m, &st) ||
            !mlc_ledger_find(ledger, &st, &used_us))
            continue;
        ret->bytes += (uint64_t)st.st_size;
        ret->st = st;
        if (used_us > ret->used_us)
            ret->used_us = used_us;
        if (round && mlc_evict_is_open(round, &st))
            ret->is_open = true;
    }
}

static void
list_model(struct mlc_spacy *s, const char *name, struct mlc_evict_round *round)
{
    mlc_autodir DIR *dir = mlc_opendir_beneath(s->d->bases[0].fd, name);
    const struct dirent *d;

    while (dir && (d = readdir(dir))) {
        mlc_autofree char *path = mlc_path_join(name, d->d_name);
        autoindex struct mlc_spacy_index *x = NULL;
        struct mlc_spacy_wheel *w;
        struct files files;

        if (!path || index_of(s, path, &w, &x) < 0)
            continue;
        look(s, x, NULL, &files);
        mlc_evict_offer(round, path, &files.st, files.bytes, files.used_us,
                        false);
    }
}

static void
list(void *arg, struct mlc_evict_round *round)
{
    struct mlc_spacy *s = arg;
    mlc_autodir DIR *dir = mlc_opendir_beneath(s->d->bases[0].fd, "");
    const struct dirent *d;

    while (dir && (d = readdir(dir)))
        if (mlc_spacy_is_likely_name(d->d_name))
            list_model(s, d->d_name, round);
}

/* And its directories, where nothing else is left in them. */
static void
remove_file(struct mlc_spacy *s, const char *path)
{
    mlc_autofree char *rel = strdup(path);
    char *slash;

    if (!rel || unlinkat(s->d->bases[0].fd, rel, 0) < 0)
        return;
    while ((slash = strrchr(rel, '/'))) {
        *slash = '\0';
        if (unlinkat(s->d->bases[0].fd, rel, AT_REMOVEDIR) < 0)
            break;
    }
}

/* Is the rest of it being brought? */
static bool
is_coming(struct mlc_spacy *s, const struct mlc_spacy_wheel *w)
{
    MLC_LOCK_SCOPE(&s->lock);
    return w->whole != NULL;
}

static uint64_t
drop(void *arg, const char *path, int64_t since_us,
     struct mlc_evict_round *round)
{
    struct mlc_spacy *s = arg;
    autoindex struct mlc_spacy_index *x = NULL;
    struct mlc_spacy_wheel *w;
    struct files files;

    if (index_of(s, path, &w, &x) < 0)
        return 0;
    look(s, x, round, &files);
    if (files.is_open || files.used_us > since_us || is_coming(s, w))
        return 0;
    for (size_t i = 0; i < mlc_zip_n_members(x->zip); i++) {
        const struct mlc_zip_member *m = mlc_zip_member(x->zip, i);

        if (!m->is_dir && mlc_spacy_is_home(s, x, m))
            remove_file(s, m->name);
    }
    return files.bytes;
}

int
mlc_spacy_evict_init(struct mlc_spacy *s)
{
    const struct mlc_evict_source source = {
        .list = list, .drop = drop, .arg = s};

    return s->d->store ? mlc_evictor_add(s->d->cache->evictor, &source) : 0;
}
