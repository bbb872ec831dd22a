/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/blocks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/budget.h"
#include "backends/cache/kept.h"
#include "backends/cache/pool.h"
#include "backends/cache/prepared.h"
#include "backends/cache/view.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"

#define N_BUCKETS 1024
/* Buffers that are used again: fresh memory costs as much as a merge of small
 * rank. */
#define N_SPARE   2
#define SPARE_LEN ((size_t)4 * 1024 * 1024)
/* One that was made for somebody who never came back for it. */
#define FRESH_MS   5000
#define FAILURE_MS 1000
/* Of the share of memory, for what blocks begin with. */
#define PREPARED_SHARE 4

enum state { MAKING, READY, FAILED };

struct block {
    struct block *chain;             /* lock; the bucket */
    struct block *older, *newer;     /* lock */
    struct mlc_blocks *all;          /* immutable, as all up to 'refs' */
    const struct mlc_extent *extent; /* valid while 'view' is */
    uint64_t key, index, off;
    size_t len;
    char *data;
    struct mlc_job job;
    unsigned refs; /* lock; the table's, the job's, who copies */
    enum state state;
    bool is_fresh;           /* lock; nobody has read it yet */
    bool is_counted;         /* lock; in the budget */
    int r;                   /* lock; of FAILED */
    int64_t done_ms;         /* lock */
    struct mlc_view *view;   /* lock; a reference while MAKING */
    struct mlc_waitlist who; /* lock */
};

struct mlc_blocks {
    struct mlc_pool *pool;
    struct mlc_budget *budget;
    struct mlc_kept *kept;
    struct mlc_prepared_set *prepared;
    uint64_t max;
    pthread_mutex_t lock;
    uint64_t used; /* lock; bytes */
    struct block *oldest, *newest;
    struct block *buckets[N_BUCKETS];
    void *spare[N_SPARE]; /* lock; of SPARE_LEN bytes each */
    unsigned n_spare;     /* lock */
};

int
mlc_blocks_new(struct mlc_pool *pool, struct mlc_budget *budget,
               uint64_t max_bytes, struct mlc_kept *kept,
               struct mlc_blocks **ret)
{
    struct mlc_blocks *b = calloc(1, sizeof(*b));
    int r;

    if (!b)
        return -ENOMEM;
    r = mlc_prepared_set_new(pool, budget, max_bytes / PREPARED_SHARE,
                             &b->prepared);
    if (r < 0) {
        free(b);
        return r;
    }
    b->pool = pool;
    b->budget = budget;
    b->max = max_bytes;
    b->kept = kept;
    pthread_mutex_init(&b->lock, NULL);
    *ret = b;
    return 0;
}

static void *
take_buffer(struct mlc_blocks *b, size_t len)
{
    if (len > SPARE_LEN)
        return malloc(len);
    MLC_LOCK_SCOPE(&b->lock);
    return b->n_spare > 0 ? b->spare[--b->n_spare] : malloc(SPARE_LEN);
}

static void
give_buffer(struct mlc_blocks *b, void *data, size_t len)
{
    if (data && len <= SPARE_LEN) {
        MLC_LOCK_SCOPE(&b->lock);
        if (b->n_spare < N_SPARE) {
            b->spare[b->n_spare++] = data;
            return;
        }
    }
    free(data);
}

static void
block_free(struct block *k)
{
    if (k->is_counted)
        mlc_budget_give(k->all->budget, k->len);
    mlc_view_unref(k->view);
    mlc_waitlist_wake(&k->who);
    give_buffer(k->all, k->data, k->len);
    free(k);
}

/* Without the lock. */
static void
block_unref(struct block *k)
{
    struct mlc_blocks *b = k->all;
    bool is_last;

    pthread_mutex_lock(&b->lock);
    is_last = --k->refs == 0;
    if (is_last)
        b->used -= k->len;
    pthread_mutex_unlock(&b->lock);
    if (is_last)
        block_free(k);
}

void
mlc_blocks_free(struct mlc_blocks *b)
{
    if (!b)
        return;
    /* What the pool dropped is still MAKING. */
    while (b->oldest) {
        struct block *k = b->oldest;

        b->oldest = k->newer;
        block_free(k);
    }
    while (b->n_spare > 0)
        free(b->spare[--b->n_spare]);
    mlc_prepared_set_free(b->prepared);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static struct block **
bucket_of(struct mlc_blocks *b, uint64_t key, uint64_t index)
{
    return &b->buckets[(key ^ index * UINT64_C(0x9e3779b97f4a7c15)) %
                       N_BUCKETS];
}

static void
list_newest_locked(struct mlc_blocks *b, struct block *k)
{
    k->newer = NULL;
    k->older = b->newest;
    if (b->newest)
        b->newest->newer = k;
    else
        b->oldest = k;
    b->newest = k;
}

static void
unlist_locked(struct mlc_blocks *b, struct block *k)
{
    if (k->newer)
        k->newer->older = k->older;
    else
        b->newest = k->older;
    if (k->older)
        k->older->newer = k->newer;
    else
        b->oldest = k->newer;
}

/* Out of the table; the table's reference is the caller's to drop. */
static void
remove_locked(struct mlc_blocks *b, struct block *k)
{
    struct block **p = bucket_of(b, k->key, k->index);

    while (*p != k)
        p = &(*p)->chain;
    *p = k->chain;
    unlist_locked(b, k);
}

/* The oldest that may go, for more room; out of the table.  NULL: none. */
static struct block *
evict_locked(struct mlc_blocks *b)
{
    int64_t now = mlc_mono_ms();

    for (struct block *k = b->oldest; k; k = k->newer) {
        if (k->state == MAKING || (k->is_fresh && now - k->done_ms < FRESH_MS))
            continue;
        remove_locked(b, k);
        return k;
    }
    return NULL;
}

/* Room for len bytes, where anything may go for it.  What is made for somebody
 * who waits is made in any case: it goes as soon as it was read. */
static bool
make_room(struct mlc_blocks *b, size_t len)
{
    for (;;) {
        struct block *k = NULL;
        bool is_full;

        pthread_mutex_lock(&b->lock);
        is_full = b->used + len > b->max;
        if (is_full)
            k = evict_locked(b);
        pthread_mutex_unlock(&b->lock);
        if (!is_full && mlc_budget_take(b->budget, len))
            return true;
        if (!is_full) {
            pthread_mutex_lock(&b->lock);
            k = evict_locked(b);
            pthread_mutex_unlock(&b->lock);
        }
        if (!k)
            return false;
        block_unref(k);
    }
}

static int
compute(const struct block *k)
{
    struct mlc_source *const *sources = mlc_view_sources(k->view);
    const struct mlc_extent *e = k->extent;
    struct mlc_prepared *p = NULL;
    int r;

    r = mlc_prepared_get(k->all->prepared, k->key, e, sources, &p);
    if (r == 0)
        r = e->ops->make(e->arg, mlc_prepared_data(p), sources, k->off, k->len,
                         k->data);
    mlc_prepared_unref(p);
    return r;
}

static void
make_run(struct mlc_job *job)
{
    struct block *k = mlc_container_of(job, struct block, job);
    struct mlc_blocks *b = k->all;
    const struct mlc_extent *e = k->extent;
    struct mlc_waitlist who;
    bool is_kept = mlc_kept_get(b->kept, e->key, k->off, k->data, k->len);
    /* Of what was verified alone. */
    bool is_to_keep = !is_kept && k->key == e->key;
    struct mlc_view *view;
    int r = 0;

    if (!is_kept)
        r = compute(k);
    pthread_mutex_lock(&b->lock);
    k->state = r < 0 ? FAILED : READY;
    k->r = r;
    k->is_fresh = r == 0;
    k->done_ms = mlc_mono_ms();
    view = mlc_steal(&k->view);
    mlc_waitlist_take(&k->who, &who);
    pthread_mutex_unlock(&b->lock);
    mlc_waitlist_wake(&who);
    mlc_view_unref(view);
    if (r == 0 && is_to_keep)
        mlc_kept_put(b->kept, k->key, k->off, k->data, k->len);
    block_unref(k);
}

static struct block *
block_new(struct mlc_blocks *b, struct mlc_view *v, const struct mlc_extent *e,
          uint64_t index)
{
    struct block *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->all = b;
    k->extent = e;
    k->key = mlc_view_key(v, e);
    k->index = index;
    k->off = index * e->block_len;
    k->len = e->end - e->begin - k->off < e->block_len
                 ? (size_t)(e->end - e->begin - k->off)
                 : e->block_len;
    k->is_counted = make_room(b, k->len);
    k->data = take_buffer(b, k->len);
    k->job.run = make_run;
    k->refs = 2; /* the table's and the job's */
    k->view = mlc_view_ref(v);
    if (!k->data) {
        block_free(k);
        return NULL;
    }
    return k;
}

static struct block *
find_locked(struct mlc_blocks *b, uint64_t key, uint64_t index)
{
    struct block *k = *bucket_of(b, key, index);

    while (k && (k->key != key || k->index != index))
        k = k->chain;
    return k;
}

/* 0: it is there, *ret is a reference; else as mlc_blocks_read(). */
static int
look_locked(struct mlc_blocks *b, struct block *k, struct mlc_ask *ask,
            struct block **ret)
{
    switch (k->state) {
    case MAKING:
        return mlc_waitlist_add(&k->who, ask);
    case FAILED:
        return k->r;
    case READY:
        break;
    }
    k->is_fresh = false;
    unlist_locked(b, k);
    list_newest_locked(b, k);
    k->refs++;
    *ret = k;
    return 0;
}

/* What is known of it; *ret_is_known false: it has to be made. */
static int
look(struct mlc_blocks *b, uint64_t key, uint64_t index, struct mlc_ask *ask,
     bool *ret_is_known, struct block **ret)
{
    struct block *k, *stale = NULL;
    int r = 0;

    pthread_mutex_lock(&b->lock);
    k = find_locked(b, key, index);
    if (k && k->state == FAILED && mlc_mono_ms() - k->done_ms > FAILURE_MS) {
        remove_locked(b, k);
        stale = mlc_steal(&k);
    }
    *ret_is_known = k != NULL;
    if (k)
        r = look_locked(b, k, ask, ret);
    pthread_mutex_unlock(&b->lock);
    if (stale)
        block_unref(stale);
    return r;
}

/* Has it made, unless another just did. */
static int
make(struct mlc_blocks *b, struct mlc_view *v, const struct mlc_extent *e,
     uint64_t index, struct mlc_ask *ask, struct block **ret)
{
    struct block *k = block_new(b, v, e, index), *other;
    int r;

    if (!k)
        return -ENOMEM;
    pthread_mutex_lock(&b->lock);
    other = find_locked(b, k->key, index);
    if (other) {
        r = look_locked(b, other, ask, ret);
    } else {
        struct block **p = bucket_of(b, k->key, k->index);

        k->chain = *p;
        *p = k;
        list_newest_locked(b, k);
        b->used += k->len;
        r = mlc_waitlist_add(&k->who, ask);
    }
    pthread_mutex_unlock(&b->lock);
    if (other)
        block_free(k);
    else
        mlc_pool_submit(b->pool, MLC_LANE_SLOW, &k->job);
    return r;
}

int
mlc_blocks_read(struct mlc_blocks *b, struct mlc_view *v,
                const struct mlc_extent *e, uint64_t index, size_t from,
                size_t len, struct mlc_ask *ask, void *ret)
{
    struct block *k = NULL;
    bool is_known;
    int r;

    r = look(b, mlc_view_key(v, e), index, ask, &is_known, &k);
    if (r == 0 && !is_known)
        r = make(b, v, e, index, ask, &k);
    if (r < 0)
        return r;
    memcpy(ret, k->data + from, len);
    block_unref(k);
    return 0;
}
