/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/view.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/blocks.h"
#include "backends/cache/source.h"
#include "backends/util/cleanup.h"
#include "backends/util/container.h"

/* Ranges that one read waits for at a time: each costs a little whenever
 * something comes. */
#define MAX_WAITED 64
/* Read-ahead in a view whose bytes are remote.  Requests of one reader come in
 * any order, hence NEAR. */
#define AHEAD_MIN ((uint64_t)512 * 1024)
#define AHEAD_MAX ((uint64_t)16 * 1024 * 1024)
#define NEAR      ((uint64_t)4 * 1024 * 1024)

struct mlc_view_plan {
    atomic_uint refs;
    char *head; /* immutable, as all here */
    size_t head_len;
    struct mlc_extent *extents;
    size_t n;
    void *owner;
    void (*free_owner)(void *owner);
};

/* Waits for what will be read next; what it is woken for is nobody's. */
struct ahead {
    struct mlc_wait wait;
};

struct mlc_view {
    atomic_uint refs;
    struct mlc_view_plan *plan; /* immutable, as all up to the lock */
    struct mlc_source **sources;
    unsigned n_sources;
    uint64_t content;
    uint64_t salt; /* of its keys; 0: it was whole when it was opened */
    struct mlc_blocks *blocks;
    struct ahead *ahead; /* a reference */
    pthread_mutex_t lock;
    uint64_t next;     /* lock; where sequential reading goes on */
    uint64_t window;   /* lock; bytes to be ahead of it; 0: not sequential */
    uint64_t asked_to; /* lock; up to where they were asked for */
};

/* --- plans --------------------------------------------------------------- */

int
mlc_view_plan_new(char *head, size_t head_len, struct mlc_extent *extents,
                  size_t n, void *owner, void (*free_owner)(void *owner),
                  struct mlc_view_plan **ret)
{
    struct mlc_view_plan *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    atomic_init(&p->refs, 1);
    p->head = head;
    p->head_len = head_len;
    p->extents = extents;
    p->n = n;
    p->owner = owner;
    p->free_owner = free_owner;
    *ret = p;
    return 0;
}

struct mlc_view_plan *
mlc_view_plan_ref(struct mlc_view_plan *p)
{
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void
mlc_view_plan_unref(struct mlc_view_plan *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
        return;
    if (p->free_owner)
        p->free_owner(p->owner);
    free(p->head);
    free(p->extents);
    free(p);
}

uint64_t
mlc_view_plan_size(const struct mlc_view_plan *p)
{
    return p->n ? p->extents[p->n - 1].end : p->head_len;
}

/* The first extent that ends after off. */
static size_t
find(const struct mlc_view_plan *p, uint64_t off)
{
    size_t low = 0, high = p->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (p->extents[mid].end <= off)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* --- views ------------------------------------------------------------ */

static void
ahead_wake(struct mlc_wait *w)
{
}

static void
ahead_free(struct mlc_wait *w)
{
    free(mlc_container_of(w, struct ahead, wait));
}

static struct mlc_wait *
ahead_get_wait(struct mlc_ask *ask)
{
    return &((struct ahead *)ask->arg)->wait;
}

/* Of views whose bytes may yet be found damaged: each its own. */
static atomic_uint_fast64_t last_salt;

int
mlc_view_new(struct mlc_view_plan *plan, struct mlc_source *const *sources,
             unsigned n_sources, uint64_t content, struct mlc_blocks *blocks,
             struct mlc_view **ret)
{
    struct mlc_view *v = calloc(1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    v->sources = calloc(n_sources ? n_sources : 1, sizeof(v->sources[0]));
    v->ahead = calloc(1, sizeof(*v->ahead));
    if (!v->sources || !v->ahead) {
        free(v->sources);
        free(v->ahead);
        free(v);
        return -ENOMEM;
    }
    atomic_init(&v->refs, 1);
    atomic_init(&v->ahead->wait.refs, 1);
    v->ahead->wait.wake = ahead_wake;
    v->ahead->wait.free = ahead_free;
    pthread_mutex_init(&v->lock, NULL);
    v->plan = mlc_view_plan_ref(plan);
    if (n_sources)
        memcpy(v->sources, sources, n_sources * sizeof(sources[0]));
    v->n_sources = n_sources;
    v->content = content;
    if (!mlc_view_is_whole(v))
        v->salt = (atomic_fetch_add(&last_salt, 1) + 1) *
                  UINT64_C(0x9e3779b97f4a7c15);
    v->blocks = blocks;
    *ret = v;
    return 0;
}

struct mlc_view *
mlc_view_ref(struct mlc_view *v)
{
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void
mlc_view_unref(struct mlc_view *v)
{
    if (!v || atomic_fetch_sub(&v->refs, 1) > 1)
        return;
    mlc_view_stop(v);
    mlc_wait_unref(&v->ahead->wait);
    for (unsigned i = 0; i < v->n_sources; i++)
        mlc_source_unref(v->sources[i]);
    mlc_view_plan_unref(v->plan);
    pthread_mutex_destroy(&v->lock);
    free(v->sources);
    free(v);
}

void
mlc_view_stop(struct mlc_view *v)
{
    atomic_store(&v->ahead->wait.is_dead, true);
}

uint64_t
mlc_view_size(const struct mlc_view *v)
{
    return mlc_view_plan_size(v->plan);
}

uint64_t
mlc_view_content(const struct mlc_view *v)
{
    return v->content;
}

bool
mlc_view_is_whole(const struct mlc_view *v)
{
    for (unsigned i = 0; i < v->n_sources; i++)
        if (mlc_source_is_remote(v->sources[i]))
            return false;
    return true;
}

uint64_t
mlc_view_key(const struct mlc_view *v, const struct mlc_extent *e)
{
    return e->key ^ v->salt;
}

struct mlc_source *const *
mlc_view_sources(const struct mlc_view *v)
{
    return v->sources;
}

int64_t
mlc_view_progress_ms(const struct mlc_view *v)
{
    int64_t latest = 0;

    for (unsigned i = 0; i < v->n_sources; i++) {
        int64_t ms = mlc_source_progress_ms(v->sources[i]);

        if (ms > latest)
            latest = ms;
    }
    return latest;
}

/* --- what a range of the view lies on ---------------------------------- */

/* A piece of one extent (ops: of that one alone), or of several whose bytes
 * follow each other in one source. */
struct run {
    const struct mlc_extent *extent; /* the first */
    uint64_t at;                     /* in the view */
    uint64_t from;                   /* in the source, or in the extent */
    uint64_t len;
};

/* The next run of [*off, end), which lies behind the head; *off and *i move
 * on. */
static void
next_run(const struct mlc_view_plan *p, uint64_t *off, uint64_t end, size_t *i,
         struct run *ret)
{
    const struct mlc_extent *e = &p->extents[*i];
    uint64_t stop = e->end < end ? e->end : end;

    ret->extent = e;
    ret->at = *off;
    ret->from = *off - e->begin + (e->ops ? 0 : e->source_begin);
    ret->len = stop - *off;
    *off = stop;
    if (stop == e->end)
        (*i)++;
    if (e->ops)
        return;
    while (*off < end) {
        const struct mlc_extent *next = &p->extents[*i];

        if (next->ops || next->source != e->source ||
            next->source_begin != ret->from + ret->len)
            return;
        stop = next->end < end ? next->end : end;
        ret->len += stop - *off;
        *off = stop;
        if (stop == next->end)
            (*i)++;
    }
}

static int
want_run(struct mlc_view *v, const struct run *run, struct mlc_ask *ask)
{
    const struct mlc_extent *e = run->extent;
    uint64_t from, stop;

    if (e->ops) {
        /* Blocks are made whole. */
        from = run->from / e->block_len * e->block_len;
        stop = (run->from + run->len + e->block_len - 1) / e->block_len *
               e->block_len;
        if (stop > e->end - e->begin)
            stop = e->end - e->begin;
        return e->ops->want(e->arg, v->sources, from, (size_t)(stop - from),
                            ask);
    }
    return mlc_source_want(v->sources[e->source], run->from, run->len, ask);
}

static int
want(struct mlc_view *v, uint64_t off, uint64_t end, struct mlc_ask *ask)
{
    const struct mlc_view_plan *p = v->plan;
    unsigned n_waited = 0;
    struct run run;
    size_t i;

    if (off < p->head_len)
        off = p->head_len;
    i = find(p, off);
    while (off < end && n_waited < MAX_WAITED) {
        int r;

        next_run(p, &off, end, &i, &run);
        r = want_run(v, &run, ask);
        if (r == -EAGAIN)
            n_waited++;
        else if (r < 0)
            return r;
    }
    return n_waited > 0 ? -EAGAIN : 0;
}

/* --- reading ahead ------------------------------------------------------- */

/* What is to be asked for beyond [off, end), which is read now. */
static bool
move_window_locked(struct mlc_view *v, uint64_t off, uint64_t end,
                   uint64_t *ret_from, uint64_t *ret_to)
{
    uint64_t size = mlc_view_size(v), to;

    if (off + NEAR < v->next || off > v->next + NEAR) {
        v->window = v->asked_to = 0;
        v->next = end;
        return false;
    }
    if (end > v->next)
        v->next = end;
    if (v->window == 0)
        v->window = AHEAD_MIN;
    /* In large steps: each is one request or more. */
    if (v->asked_to >= v->next + v->window / 2)
        return false;
    to = size - v->next < v->window ? size : v->next + v->window;
    *ret_from = v->asked_to > v->next ? v->asked_to : v->next;
    *ret_to = v->asked_to = to;
    if (v->window < AHEAD_MAX)
        v->window *= 2;
    return *ret_from < to;
}

static void
read_ahead(struct mlc_view *v, uint64_t off, uint64_t end)
{
    struct mlc_ask ask = {.get_wait = ahead_get_wait, .arg = v->ahead};
    uint64_t from, to;
    bool is_due;

    if (mlc_view_is_whole(v) || atomic_load(&v->ahead->wait.is_dead))
        return;
    pthread_mutex_lock(&v->lock);
    is_due = move_window_locked(v, off, end, &from, &to);
    pthread_mutex_unlock(&v->lock);
    if (is_due)
        (void)want(v, from, to, &ask);
}

/* --- reading ------------------------------------------------------------ */

static int
compute_run(struct mlc_view *v, const struct run *run, struct mlc_ask *ask,
            char *ret)
{
    const struct mlc_extent *e = run->extent;
    uint64_t off = run->from, end = run->from + run->len;
    int r = 0;

    while (off < end) {
        uint64_t index = off / e->block_len;
        uint64_t stop = (index + 1) * e->block_len;
        int q;

        if (stop > end)
            stop = end;
        q = mlc_blocks_read(v->blocks, v, e, index,
                            (size_t)(off - index * e->block_len),
                            (size_t)(stop - off), ask, ret + (off - run->from));
        if (q < 0 && q != -EAGAIN)
            return q;
        if (q < 0)
            r = q;
        off = stop;
    }
    return r;
}

/* Puts [off, end) together; want() allowed it. */
static int
gather(struct mlc_view *v, uint64_t off, uint64_t end, struct mlc_ask *ask,
       char *ret)
{
    const struct mlc_view_plan *p = v->plan;
    uint64_t start = off;
    struct run run;
    int r = 0;
    size_t i;

    if (off < p->head_len) {
        uint64_t stop = end < p->head_len ? end : p->head_len;

        memcpy(ret, p->head + off, (size_t)(stop - off));
        off = stop;
    }
    i = find(p, off);
    while (off < end) {
        char *to;
        int q;

        next_run(p, &off, end, &i, &run);
        to = ret + (run.at - start);
        q = run.extent->ops ? compute_run(v, &run, ask, to)
                            : mlc_source_read(v->sources[run.extent->source],
                                              run.from, to, (size_t)run.len);
        /* All that has to be made is begun. */
        if (q < 0 && q != -EAGAIN)
            return q;
        if (q < 0)
            r = q;
    }
    return r;
}

/* Is the range one of a file, to be sent from there? */
static bool
is_in_file(struct mlc_view *v, uint64_t off, uint64_t end,
           struct mlc_view_bytes *ret)
{
    const struct mlc_view_plan *p = v->plan;
    struct run run;
    size_t i;

    if (off < p->head_len)
        return false;
    i = find(p, off);
    next_run(p, &off, end, &i, &run);
    if (run.extent->ops || off < end)
        return false;
    ret->fd = mlc_source_fd(v->sources[run.extent->source]);
    ret->pos = run.from;
    ret->len = (size_t)run.len;
    return ret->fd >= 0;
}

int
mlc_view_read(struct mlc_view *v, uint64_t off, size_t len, struct mlc_ask *ask,
              void *buffer, struct mlc_view_bytes *ret)
{
    uint64_t size = mlc_view_size(v), end;
    int r;

    *ret = (struct mlc_view_bytes){.fd = -1};
    if (off >= size || len == 0)
        return 0;
    end = size - off < len ? size : off + len;
    r = want(v, off, end, ask);
    if (r == 0 || r == -EAGAIN)
        read_ahead(v, off, end);
    if (r < 0)
        return r;
    if (is_in_file(v, off, end, ret))
        return 0;
    ret->fd = -1;
    ret->len = (size_t)(end - off);
    return gather(v, off, end, ask, buffer);
}
