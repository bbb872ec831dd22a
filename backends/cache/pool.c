/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "backends/util/cleanup.h"
#include "backends/util/clock.h"

#define N_LANES 2
#define HOUR_MS ((int64_t)3600 * 1000)

struct lane {
    struct mlc_job *head, *tail; /* lock */
    pthread_cond_t cond;         /* monotonic */
};

/* Idle QUICK threads keep the time: each waits until the first timer is due
 * at the latest, and all are woken when an earlier one comes, so whichever of
 * them is not taken by a job will be there in time. */
struct mlc_pool {
    pthread_mutex_t lock;
    struct lane lanes[N_LANES];
    struct mlc_timer *timers; /* lock; the heap's root */
    bool is_stopping;         /* lock */
    bool is_joined;           /* the stopping thread's */
    unsigned n_conds;         /* initialised; immutable */
    unsigned n_threads;       /* immutable once built */
    pthread_t threads[];      /* QUICK ones first */
};

/* --- the heap of timers (pairing heap: no memory, any node can go) -------- */

static struct mlc_timer *
heap_meld(struct mlc_timer *a, struct mlc_timer *b)
{
    struct mlc_timer *t;

    if (!a || !b)
        return a ? a : b;
    if (b->due_ms < a->due_ms) {
        t = a;
        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    a->child = b;
    return a;
}

/* Melds a list of siblings in pairs, then the pairs from last to first. */
static struct mlc_timer *
heap_meld_siblings(struct mlc_timer *list)
{
    struct mlc_timer *pairs = NULL;
    struct mlc_timer *root = NULL;

    while (list) {
        struct mlc_timer *a = list;
        struct mlc_timer *b = a->next;

        list = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = heap_meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct mlc_timer *a = pairs;

        pairs = a->next;
        a->next = NULL;
        root = heap_meld(root, a);
    }
    return root;
}

static void
heap_remove(struct mlc_timer **root, struct mlc_timer *t)
{
    struct mlc_timer *rest = heap_meld_siblings(t->child);

    if (t == *root) {
        *root = rest;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next)
            t->next->prev = t->prev;
        *root = heap_meld(*root, rest);
    }
    t->child = t->next = t->prev = NULL;
    t->is_armed = false;
}

/* --- threads -------------------------------------------------------------- */

/* The next job of the lane, or NULL: the thread is to end. */
static struct mlc_job *
next_job_locked(struct mlc_pool *p, enum mlc_lane lane)
{
    struct lane *l = &p->lanes[lane];

    for (;;) {
        struct mlc_timer *t = lane == MLC_LANE_QUICK ? p->timers : NULL;
        int64_t left = t ? t->due_ms - mlc_mono_ms() : 0;

        if (t && left <= 0) {
            heap_remove(&p->timers, t);
            return &t->job;
        }
        if (l->head) {
            struct mlc_job *job = l->head;

            l->head = job->next;
            if (!l->head)
                l->tail = NULL;
            return job;
        }
        if (p->is_stopping)
            return NULL;
        if (t) {
            struct timespec ts =
                mlc_mono_after(left < HOUR_MS ? left : HOUR_MS);

            pthread_cond_timedwait(&l->cond, &p->lock, &ts);
        } else {
            pthread_cond_wait(&l->cond, &p->lock);
        }
    }
}

static void
run_lane(struct mlc_pool *p, enum mlc_lane lane)
{
    for (;;) {
        struct mlc_job *job;

        pthread_mutex_lock(&p->lock);
        job = next_job_locked(p, lane);
        pthread_mutex_unlock(&p->lock);
        if (!job)
            return;
        job->run(job);
    }
}

static void *
quick_main(void *arg)
{
    run_lane(arg, MLC_LANE_QUICK);
    return NULL;
}

static void *
slow_main(void *arg)
{
    run_lane(arg, MLC_LANE_SLOW);
    return NULL;
}

static int
cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    int r;

    if (pthread_condattr_init(&attr) != 0)
        return -ENOMEM;
    r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (r == 0)
        r = pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
    return -r;
}

static int
start_threads(struct mlc_pool *p, unsigned n_quick, unsigned n_slow)
{
    sigset_t all, old;
    int r = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < n_quick + n_slow && r == 0; i++) {
        bool is_quick = i < n_quick;

        r = pthread_create(&p->threads[i], NULL,
                           is_quick ? quick_main : slow_main, p);
        if (r == 0) {
            p->n_threads++;
            pthread_setname_np(p->threads[i],
                               is_quick ? "mlc-quick" : "mlc-slow");
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -r;
}

int
mlc_pool_new(unsigned n_quick, unsigned n_slow, struct mlc_pool **ret)
{
    struct mlc_pool *p;
    int r;

    p = calloc(1, sizeof(*p) + (n_quick + n_slow) * sizeof(p->threads[0]));
    if (!p)
        return -ENOMEM;
    r = -pthread_mutex_init(&p->lock, NULL);
    if (r < 0) {
        free(p);
        return r;
    }
    for (unsigned i = 0; i < N_LANES && r == 0; i++) {
        r = cond_init(&p->lanes[i].cond);
        if (r == 0)
            p->n_conds++;
    }
    if (r == 0)
        r = start_threads(p, n_quick, n_slow);
    if (r < 0) {
        mlc_pool_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void
mlc_pool_stop(struct mlc_pool *p)
{
    if (!p || p->is_joined)
        return;
    {
        MLC_LOCK_SCOPE(&p->lock);
        p->is_stopping = true;
        p->lanes[MLC_LANE_SLOW].head = p->lanes[MLC_LANE_SLOW].tail = NULL;
        while (p->timers)
            heap_remove(&p->timers, p->timers);
        for (unsigned i = 0; i < p->n_conds; i++)
            pthread_cond_broadcast(&p->lanes[i].cond);
    }
    for (unsigned i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    p->is_joined = true;
}

void
mlc_pool_free(struct mlc_pool *p)
{
    if (!p)
        return;
    mlc_pool_stop(p);
    for (unsigned i = 0; i < p->n_conds; i++)
        pthread_cond_destroy(&p->lanes[i].cond);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* --- jobs and timers ------------------------------------------------------ */

void
mlc_pool_submit(struct mlc_pool *p, enum mlc_lane lane, struct mlc_job *job)
{
    MLC_LOCK_SCOPE(&p->lock);
    struct lane *l = &p->lanes[lane];

    if (p->is_stopping)
        return;
    job->next = NULL;
    if (l->tail)
        l->tail->next = job;
    else
        l->head = job;
    l->tail = job;
    pthread_cond_signal(&l->cond);
}

void
mlc_pool_after(struct mlc_pool *p, struct mlc_timer *t, int64_t ms)
{
    int64_t now = mlc_mono_ms();
    MLC_LOCK_SCOPE(&p->lock);

    if (t->is_armed)
        heap_remove(&p->timers, t);
    if (p->is_stopping)
        return;
    t->due_ms = ms < MLC_NEVER_MS - now ? now + ms : MLC_NEVER_MS;
    t->child = t->next = t->prev = NULL;
    t->is_armed = true;
    p->timers = heap_meld(p->timers, t);
    if (p->timers == t)
        pthread_cond_broadcast(&p->lanes[MLC_LANE_QUICK].cond);
}

bool
mlc_pool_cancel(struct mlc_pool *p, struct mlc_timer *t)
{
    MLC_LOCK_SCOPE(&p->lock);

    if (!t->is_armed)
        return false;
    heap_remove(&p->timers, t);
    return true;
}
