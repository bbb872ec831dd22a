/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/prepared.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "backends/cache/budget.h"
#include "backends/cache/pool.h"
#include "backends/cache/view.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"

/* As many as are read at once, by programs that read one file after another. */
#define MAX_KEPT 4
/* Longer than a reader takes from one block to the next. */
#define UNUSED_MS 2000

struct mlc_prepared {
    struct mlc_prepared_set *all; /* immutable, as all up to 'refs' */
    uint64_t key;
    const struct mlc_compute_ops *ops;
    void *data;
    size_t len;
    bool is_counted; /* in the budget */
    unsigned refs;   /* lock; the set's, and who uses it */
    int64_t used_ms; /* lock */
};

struct mlc_prepared_set {
    struct mlc_pool *pool;
    struct mlc_budget *budget;
    uint64_t max;
    struct mlc_timer timer; /* armed while there are some */
    pthread_mutex_t lock;
    struct mlc_prepared *kept[MAX_KEPT]; /* lock; a reference each */
    size_t n;                            /* lock */
    uint64_t used;                       /* lock; bytes of those */
};

static void
prepared_free(struct mlc_prepared *p)
{
    p->ops->unprepare(p->data);
    if (p->is_counted)
        mlc_budget_give(p->all->budget, p->len);
    free(p);
}

void
mlc_prepared_unref(struct mlc_prepared *p)
{
    bool is_last;

    if (!p)
        return;
    pthread_mutex_lock(&p->all->lock);
    is_last = --p->refs == 0;
    pthread_mutex_unlock(&p->all->lock);
    if (is_last)
        prepared_free(p);
}

const void *
mlc_prepared_data(const struct mlc_prepared *p)
{
    return p ? p->data : NULL;
}

/* Out of the set; its reference is the caller's to drop. */
static struct mlc_prepared *
remove_locked(struct mlc_prepared_set *s, size_t at)
{
    struct mlc_prepared *p = s->kept[at];

    s->kept[at] = s->kept[--s->n];
    s->used -= p->len;
    return p;
}

static size_t
oldest_locked(const struct mlc_prepared_set *s)
{
    size_t at = 0;

    for (size_t i = 1; i < s->n; i++)
        if (s->kept[i]->used_ms < s->kept[at]->used_ms)
            at = i;
    return at;
}

static void
drop_unused(struct mlc_job *job)
{
    struct mlc_prepared_set *s =
        mlc_container_of(job, struct mlc_prepared_set, timer.job);
    int64_t now = mlc_mono_ms();
    bool is_more;

    do {
        struct mlc_prepared *p = NULL;

        pthread_mutex_lock(&s->lock);
        if (s->n > 0) {
            size_t at = oldest_locked(s);

            if (now - s->kept[at]->used_ms >= UNUSED_MS)
                p = remove_locked(s, at);
            else
                mlc_pool_after(s->pool, &s->timer,
                               s->kept[at]->used_ms + UNUSED_MS - now);
        }
        pthread_mutex_unlock(&s->lock);
        is_more = p != NULL;
        mlc_prepared_unref(p);
    } while (is_more);
}

int
mlc_prepared_set_new(struct mlc_pool *pool, struct mlc_budget *budget,
                     uint64_t max_bytes, struct mlc_prepared_set **ret)
{
    struct mlc_prepared_set *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->pool = pool;
    s->budget = budget;
    s->max = max_bytes;
    s->timer.job.run = drop_unused;
    pthread_mutex_init(&s->lock, NULL);
    *ret = s;
    return 0;
}

void
mlc_prepared_set_free(struct mlc_prepared_set *s)
{
    if (!s)
        return;
    while (s->n > 0)
        prepared_free(s->kept[--s->n]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* A reference to the one that is kept; NULL: none is. */
static struct mlc_prepared *
find_locked(struct mlc_prepared_set *s, uint64_t key)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->kept[i]->key == key) {
            s->kept[i]->used_ms = mlc_mono_ms();
            s->kept[i]->refs++;
            return s->kept[i];
        }
    return NULL;
}

/* Room for it, where something has to go for it: out of the set. */
static struct mlc_prepared *
make_room_locked(struct mlc_prepared_set *s, size_t len)
{
    if (s->n < MAX_KEPT && s->used + len <= s->max)
        return NULL;
    return remove_locked(s, oldest_locked(s));
}

/* For others to find, if there is room.  What is to be used: p, or what
 * somebody else made meanwhile. */
static struct mlc_prepared *
keep(struct mlc_prepared_set *s, struct mlc_prepared *p)
{
    struct mlc_prepared *other, *dropped;

    p->is_counted = p->len <= s->max && mlc_budget_take(s->budget, p->len);
    if (!p->is_counted)
        return p;
    do {
        dropped = NULL;
        pthread_mutex_lock(&s->lock);
        other = find_locked(s, p->key);
        if (!other)
            dropped = make_room_locked(s, p->len);
        if (!other && !dropped) {
            p->refs++;
            p->used_ms = mlc_mono_ms();
            s->kept[s->n++] = p;
            s->used += p->len;
            if (s->n == 1)
                mlc_pool_after(s->pool, &s->timer, UNUSED_MS);
        }
        pthread_mutex_unlock(&s->lock);
        mlc_prepared_unref(dropped);
    } while (dropped);
    if (!other)
        return p;
    mlc_prepared_unref(p);
    return other;
}

int
mlc_prepared_get(struct mlc_prepared_set *s, uint64_t key,
                 const struct mlc_extent *e, struct mlc_source *const *sources,
                 struct mlc_prepared **ret)
{
    struct mlc_prepared *p;
    int r;

    *ret = NULL;
    if (!e->ops->prepare)
        return 0;
    pthread_mutex_lock(&s->lock);
    *ret = find_locked(s, key);
    pthread_mutex_unlock(&s->lock);
    if (*ret)
        return 0;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->all = s;
    p->key = key;
    p->ops = e->ops;
    p->refs = 1;
    r = e->ops->prepare(e->arg, sources, &p->data, &p->len);
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = keep(s, p);
    return 0;
}
