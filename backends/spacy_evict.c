/* SPDX-License-Identifier: MIT */
/* Eviction of models: all files of a version that we put there go as one, so
 * that dgenerate, which takes a directory that is there for a whole model, does
 * not find a part of one.  For the same reason a model that is partly somebody
 * else's stays, and is not counted. */
#include "config.h"

#include "backends/spacy_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/cache/pins.h"
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
    bool is_theirs;  /* somebody else put one into the version's directory */
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

/* Is the file at its home one that we put there? */
static bool
is_fetched(struct mlc_spacy *s, const struct mlc_spacy_index *x,
           const struct mlc_zip_member *m, struct stat *ret,
           int64_t *ret_used_us)
{
    return !m->is_dir && mlc_spacy_stat_home(s, m->name, ret) == 0 &&
           mlc_spacy_is_as_put(x, m, ret) &&
           mlc_ledger_find(mlc_store_ledger(s->d->store), ret, ret_used_us);
}

/* path: the version's directory.  round: whether one of its files is open is
 * asked, too; NULL: it is not. */
static void
look(struct mlc_spacy *s, const char *path, const struct mlc_spacy_index *x,
     struct mlc_evict_round *round, struct files *ret)
{
    *ret = (struct files){0};
    for (size_t i = 0; i < mlc_zip_n_members(x->zip); i++) {
        const struct mlc_zip_member *m = mlc_zip_member(x->zip, i);
        int64_t used_us;
        struct stat st;

        if (!is_fetched(s, x, m, &st, &used_us)) {
            /* Those beside the directory may be another version's. */
            ret->is_theirs |= !m->is_dir && mlc_path_is_under(m->name, path) &&
                              mlc_spacy_stat_home(s, m->name, &st) == 0;
            continue;
        }
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
        look(s, path, x, NULL, &files);
        if (!files.is_theirs)
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

/* Holds off who would bring the rest of it; false: that is under way. */
static bool
begin_leaving(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    MLC_LOCK_SCOPE(&s->lock);

    if (w->whole)
        return false;
    w->is_leaving = true;
    w->is_spent = false;
    return true;
}

static void
end_leaving(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    MLC_LOCK_SCOPE(&s->lock);
    w->is_leaving = false;
}

static uint64_t
drop(void *arg, const char *path, int64_t since_us,
     struct mlc_evict_round *round)
{
    struct mlc_spacy *s = arg;
    autoindex struct mlc_spacy_index *x = NULL;
    struct mlc_spacy_wheel *w;
    struct files files;
    uint64_t bytes = 0;

    if (index_of(s, path, &w, &x) < 0 || !begin_leaving(s, w))
        return 0;
    look(s, path, x, round, &files);
    for (size_t i = 0;
         !files.is_theirs && !files.is_open && files.used_us <= since_us &&
         i < mlc_zip_n_members(x->zip);
         i++) {
        const struct mlc_zip_member *m = mlc_zip_member(x->zip, i);
        int64_t used_us;
        struct stat st;

        if (!is_fetched(s, x, m, &st, &used_us))
            continue;
        mlc_ledger_forget(mlc_store_ledger(s->d->store), &st);
        remove_file(s, m->name);
        bytes += (uint64_t)st.st_size;
    }
    end_leaving(s, w);
    return bytes;
}

/* "spacy/NAME-VERSION/..." (mlc_spacy_key()) is of spacy/NAME/NAME-VERSION. */
static bool
is_pinned(void *arg, const char *key)
{
    struct mlc_spacy *s = arg;
    mlc_autofree char *path = NULL;
    const char *stem = key + strlen("spacy/");
    size_t len = strcspn(stem, "/");
    const char *dash = memrchr(stem, '-', len);

    if (strncmp(key, "spacy/", strlen("spacy/")) != 0 || !dash)
        return false;
    if (asprintf(&path, "spacy/%.*s/%.*s", (int)(dash - stem), stem, (int)len,
                 stem) < 0)
        path = NULL;
    return !path || mlc_pins_touches(s->d->cache->pins, path);
}

int
mlc_spacy_evict_init(struct mlc_spacy *s)
{
    const struct mlc_evict_source source = {.domain = "spacy",
                                            .is_pinned = is_pinned,
                                            .list = list,
                                            .drop = drop,
                                            .arg = s};

    return s->d->store ? mlc_evictor_add(s->d->cache->evictor, &source) : 0;
}
