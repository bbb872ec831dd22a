/* SPDX-License-Identifier: MIT */
/* Loading a model reads nearly all of its wheel: so the first file opened that
 * is not about the model, but of it, brings the rest in the background.  The
 * wheel's object is held open for that; each of its files, in the order in
 * which they lie in it, is asked for as a reader would; when all are there, the
 * wheel is held to the checksum of its release, and then its own bytes go. */
#include "config.h"

#include "backends/spacy_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/spacy_task.h"
#include "backends/util/cleanup.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

struct mlc_spacy_whole {
    struct mlc_spacy *s; /* immutable, as all up to i */
    struct mlc_spacy_wheel *w;
    struct mlc_spacy_index *x; /* a reference */
    struct mlc_task *task;
    struct mlc_object *wheel;            /* a reference; open */
    const struct mlc_zip_member **files; /* in the order of their offsets */
    size_t n_files;
    bool with_top;
    size_t i;               /* the step's, as all below: the file under way */
    struct mlc_object *obj; /* its object; a reference; open; NULL: not yet */
    bool is_failed;         /* a file could not be had */
    uint64_t off;           /* the wheel is here up to there */
    struct mlc_digest sum;  /* what the wheel's is to be */
    struct mlc_job sum_job;
    atomic_bool is_stopped;
};

/* --- at home ------------------------------------------------------------- */

bool
mlc_spacy_is_as_put(const struct mlc_spacy_index *x,
                    const struct mlc_zip_member *m, const struct stat *st)
{
    return S_ISREG(st->st_mode) && m->usize == (uint64_t)st->st_size &&
           x->mtime_ms == st->st_mtim.tv_sec * INT64_C(1000) +
                              st->st_mtim.tv_nsec / 1000000;
}

int
mlc_spacy_stat_home(struct mlc_spacy *s, const char *path, struct stat *ret)
{
    mlc_autoclose int fd = -1;

    fd = mlc_open_beneath(s->d->bases[0].fd, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd;
    return fstat(fd, ret) < 0 ? -errno : 0;
}

bool
mlc_spacy_is_home(struct mlc_spacy *s, const struct mlc_spacy_index *x,
                  const struct mlc_zip_member *m)
{
    struct stat st;

    return mlc_spacy_stat_home(s, m->name, &st) == 0 &&
           mlc_spacy_is_as_put(x, m, &st);
}

/* --- the files, one after the other -------------------------------------- */

static void
drop_object(struct mlc_spacy_whole *g)
{
    struct mlc_object *obj = mlc_steal(&g->obj);

    if (!obj)
        return;
    mlc_object_close(obj);
    mlc_object_unref(obj);
}

/* 0: the file is dealt with; -EAGAIN; -errno: it can't be had. */
static int
bring(struct mlc_spacy_whole *g, const struct mlc_zip_member *m)
{
    struct mlc_ask ask = mlc_task_ask(g->task);
    struct stat st;
    int r;

    if (!g->obj) {
        /* What somebody put there hides it. */
        if (mlc_spacy_stat_home(g->s, m->name, &st) == 0 ||
            mlc_spacy_is_bad(g->s, g->w, m->name))
            return 0;
        r = mlc_spacy_file(g->s, g->w, g->x, m, &g->obj);
        if (r < 0)
            return r;
        mlc_object_open(g->obj);
    }
    r = m->usize > 0 ? mlc_object_want(g->obj, 0, (size_t)m->usize, &ask) : 0;
    if (r != -EAGAIN)
        drop_object(g);
    return r;
}

static void
finish(struct mlc_spacy_whole *g)
{
    struct mlc_spacy *s = g->s;
    struct mlc_spacy_wheel *w = g->w;
    struct mlc_spacy_index *x = mlc_spacy_index_ref(g->x);
    bool is_done = !g->is_failed && g->i == g->n_files;

    pthread_mutex_lock(&s->lock);
    if (w->whole == g)
        w->whole = NULL;
    w->is_spent = is_done;
    pthread_mutex_unlock(&s->lock);
    mlc_task_idle(g->task);
    mlc_spacy_whole_free(g);
    if (is_done) {
        mlc_debug("spacy", "%s: all of it is here", w->stem);
        mlc_spacy_wheel_drop(s, w, x);
    }
    mlc_spacy_index_unref(x);
}

/* --- the checksum --------------------------------------------------------- */

static void
sum_run(struct mlc_job *job)
{
    struct mlc_spacy_whole *g =
        mlc_container_of(job, struct mlc_spacy_whole, sum_job);
    struct mlc_digest got;
    int r;

    r = mlc_digest_fd(mlc_object_fd(g->wheel), MLC_DIGEST_SHA256, g->x->size,
                      mlc_store_stopping(g->s->d->store), &got);
    /* Given up, the wheel's bytes stay for another time. */
    g->is_failed = r < 0;
    if (r == 0 && !mlc_digest_equal(&got, &g->sum))
        mlc_spacy_condemn(g->s, g->w, g->x);
    finish(g);
}

/* 0: it can be compared; -EAGAIN; else it can't. */
static int
need_sum(struct mlc_spacy_whole *g)
{
    struct mlc_ask ask = mlc_task_ask(g->task);
    int r;

    r = mlc_spacy_sum_need(g->s, g->w, &ask, &g->sum);
    while (r == 0 && g->off < g->x->size) {
        uint64_t len = g->x->size - g->off;

        if (len > MLC_BUFFER)
            len = MLC_BUFFER;
        r = mlc_object_want(g->wheel, g->off, (size_t)len, &ask);
        if (r == 0)
            g->off += len;
    }
    return r;
}

/* --- one step ------------------------------------------------------------- */

/* 0: all files are dealt with; -EAGAIN; else one can't be had. */
static int
bring_all(struct mlc_spacy_whole *g)
{
    while (g->i < g->n_files) {
        int r;

        if (atomic_load(&g->is_stopped))
            return -ECANCELED;
        r = bring(g, g->files[g->i]);
        /* One that is damaged says nothing of the others. */
        if (r < 0 && (r == -EAGAIN ||
                      !mlc_spacy_is_bad(g->s, g->w, g->files[g->i]->name)))
            return r;
        g->i++;
    }
    return 0;
}

static void
step(void *owner)
{
    struct mlc_spacy_whole *g = owner;

    for (;;) {
        int r = bring_all(g);

        g->is_failed = r < 0 && r != -EAGAIN;
        if (r == 0)
            r = need_sum(g);
        if (r == 0) {
            g->sum_job.run = sum_run;
            mlc_pool_submit(g->s->d->cache->pool, MLC_LANE_SLOW, &g->sum_job);
            return;
        }
        if (atomic_load(&g->is_stopped))
            g->is_failed = true;
        if (r != -EAGAIN || g->is_failed) {
            finish(g);
            return;
        }
        if (mlc_task_park(g->task))
            return;
    }
}

/* --- begin and end ------------------------------------------------------- */

static int
compare_offsets(const void *a, const void *b)
{
    const struct mlc_zip_member *x = *(const struct mlc_zip_member *const *)a;
    const struct mlc_zip_member *y = *(const struct mlc_zip_member *const *)b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Those that the domain shows as this version's. */
static void
collect_files(struct mlc_spacy_whole *g)
{
    for (size_t i = 0; i < mlc_zip_n_members(g->x->zip); i++) {
        const struct mlc_zip_member *m = mlc_zip_member(g->x->zip, i);
        struct mlc_spacy_path p;

        mlc_spacy_path_parse(m->name, &p);
        if (m->is_dir ||
            (p.where != MLC_SPACY_DATA &&
             (p.where != MLC_SPACY_TOP || !g->with_top)) ||
            (p.where == MLC_SPACY_DATA &&
             strcmp(p.version, g->w->version) != 0))
            continue;
        g->files[g->n_files++] = m;
    }
    qsort(g->files, g->n_files, sizeof(struct mlc_zip_member *),
          compare_offsets);
}

void
mlc_spacy_whole_free(struct mlc_spacy_whole *g)
{
    if (!g)
        return;
    drop_object(g);
    if (g->wheel) {
        mlc_object_close(g->wheel);
        mlc_object_unref(g->wheel);
    }
    mlc_task_free(g->task);
    mlc_spacy_index_unref(g->x);
    free(g->files);
    free(g);
}

MLC_DEFINE_CLEANUP(whole, struct mlc_spacy_whole *, mlc_spacy_whole_free);

/* Is every file at home, or all there and on its way? */
static bool
is_all_here(const struct mlc_spacy_whole *g)
{
    for (size_t i = 0; i < g->n_files; i++) {
        const struct mlc_zip_member *m = g->files[i];
        mlc_autofree char *key = NULL;
        struct stat st;

        if (mlc_spacy_stat_home(g->s, m->name, &st) == 0)
            continue;
        key = mlc_spacy_key(g->w, g->x, m->name);
        if (!key || mlc_store_present(g->s->d->store, key) < m->usize)
            return false;
    }
    return true;
}

/* All of the wheel's own bytes: they go when its sum was compared. */
static bool
is_wheel_here(const struct mlc_spacy_whole *g)
{
    mlc_autofree char *key = mlc_spacy_key(g->w, g->x, NULL);

    return key && mlc_store_present(g->s->d->store, key) == g->x->size;
}

void
mlc_spacy_tidy(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
               struct mlc_spacy_index *x)
{
    struct mlc_spacy_whole g = {.s = s, .w = w, .x = x};
    mlc_autofree char *key = mlc_spacy_key(w, x, NULL);

    if (!key || !s->d->store || mlc_store_present(s->d->store, key) == 0)
        return;
    g.with_top = mlc_spacy_is_shown(s, w);
    g.files =
        calloc(mlc_zip_n_members(x->zip) + 1, sizeof(struct mlc_zip_member *));
    if (!g.files)
        return;
    collect_files(&g);
    if (is_all_here(&g) && s->d->cache->fetch.is_whole && is_wheel_here(&g))
        mlc_spacy_whole_start(s, w, x);
    else if (is_all_here(&g))
        mlc_spacy_wheel_drop(s, w, x);
    free(g.files);
}

/* NULL: there is nothing to do, or no memory for it. */
static struct mlc_spacy_whole *
whole_new(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
          struct mlc_spacy_index *x)
{
    __attribute__((cleanup(mlc_cleanup_whole))) struct mlc_spacy_whole *g =
        calloc(1, sizeof(*g));
    struct mlc_object *wheel;

    if (!g)
        return NULL;
    g->s = s;
    g->w = w;
    g->x = mlc_spacy_index_ref(x);
    g->with_top = mlc_spacy_is_shown(s, w);
    g->files =
        calloc(mlc_zip_n_members(x->zip) + 1, sizeof(struct mlc_zip_member *));
    g->task = mlc_task_new(s->d->cache->pool, step, g);
    if (!g->files || !g->task)
        return NULL;
    collect_files(g);
    if ((is_all_here(g) && !is_wheel_here(g)) ||
        mlc_spacy_wheel_object(s, w, x, &wheel) < 0)
        return NULL;
    mlc_object_open(wheel);
    g->wheel = wheel;
    return mlc_steal(&g);
}

void
mlc_spacy_whole_start(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                      struct mlc_spacy_index *x)
{
    struct mlc_spacy_whole *g;
    bool is_running;

    pthread_mutex_lock(&s->lock);
    is_running = w->whole != NULL || w->is_leaving;
    pthread_mutex_unlock(&s->lock);
    if (is_running)
        return;
    g = whole_new(s, w, x);
    if (!g)
        return; /* each file comes by itself all the same */
    pthread_mutex_lock(&s->lock);
    is_running = w->whole != NULL || w->is_leaving;
    if (!is_running) {
        w->whole = g;
        w->is_spent = false;
        w->n_jumps = 0;
        mlc_task_start(g->task);
    }
    pthread_mutex_unlock(&s->lock);
    if (is_running)
        mlc_spacy_whole_free(g);
}

void
mlc_spacy_whole_stop(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    MLC_LOCK_SCOPE(&s->lock);

    if (!w->whole)
        return;
    atomic_store(&w->whole->is_stopped, true);
    mlc_task_wake(w->whole->task);
}
