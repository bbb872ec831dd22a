/* SPDX-License-Identifier: MIT */
/* Bodies whose length nobody tells: fetched whole while the look-up waits.
 *
 * The network thread fills buffers from the budget, the pool writes them
 * straight to the body's home; at most MAX_WRITES are under way, then the
 * transfer pauses.  Whatever ends it, the record is made last, so that an
 * unfinished body is never known.  A server that breaks off or is busy is asked
 * again, twice, from the first byte on: without a length there are no ranges.
 * A watch looks after them all while there are any: a stream that nobody waits
 * for any more (all look-ups were interrupted) ends. */
#include "config.h"

#include "backends/web_i.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/budget.h"
#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define MAX_WRITES  4
#define MAX_TRIES   3
#define RETRY_MS    250 /* then twice that */
#define WATCH_MS    250
#define MEMO_MS     1000
#define JUST_NOW_MS 250
#define TOO_BIG_MS  30000
/* Until the look-up that asked comes to wait. */
#define FIRST_WAIT_MS 2000

struct chunk {
    struct mlc_job job;
    struct mlc_web_stream *s;
    struct chunk *next; /* s.lock; that waits for room on the disk, too */
    bool is_retry;      /* room is made first, on the evictor's thread */
    void *buffer;
    size_t len;
    uint64_t off;
};

struct mlc_web_stream {
    struct mlc_net_request q;    /* first */
    struct mlc_web *web;         /* immutable */
    char *path, *url;            /* immutable */
    char *request_url;           /* immutable; may hold a token */
    uint64_t gen;                /* immutable */
    int64_t start_ms;            /* immutable */
    struct mlc_web_stream *next; /* web.lock */
    struct mlc_waitlist waiters; /* web.lock */
    unsigned n_tries;            /* web.lock */
    bool is_resting;             /* web.lock; until the next try */
    int64_t retry_ms;            /* web.lock; monotonic */
    bool is_ended;               /* web.lock */
    int r;                       /* web.lock, when ended */
    int64_t until_ms;            /* web.lock; monotonic: forgotten then */
    void *buffer;                /* network thread; being filled */
    size_t fill;
    uint64_t total; /* network thread; bytes taken */
    char *head;     /* on_done's, then the end's */
    int status;
    int result;           /* likewise */
    struct mlc_job job;   /* the end */
    pthread_mutex_t lock; /* leaf */
    int fd;               /* immutable until the end */
    unsigned n_writes;    /* lock */
    struct chunk *stuck;  /* lock; those that wait for room */
    int write_r;          /* lock */
    bool is_done;         /* lock; on_done began */
    bool is_paused;       /* lock */
};

static void
stream_free(struct mlc_web_stream *s)
{
    char home[MLC_WEB_BODY_PATH];

    if (!s)
        return;
    if (s->fd >= 0) { /* it did not come to its end */
        close(s->fd);
        mlc_web_body_path(s->gen, home);
        unlinkat(s->web->d->privfd, home, 0);
    }
    if (s->buffer)
        mlc_budget_give_buffer(s->web->d->cache->budget, s->buffer);
    while (s->stuck) { /* the pool has stopped */
        struct chunk *c = s->stuck;

        s->stuck = c->next;
        mlc_budget_give_buffer(s->web->d->cache->budget, c->buffer);
        free(c);
    }
    free(s->path);
    free(s->url);
    if (s->request_url)
        explicit_bzero(s->request_url, strlen(s->request_url));
    free(s->request_url);
    free(s->head);
    free(s->waiters.items);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

MLC_DEFINE_CLEANUP(stream, struct mlc_web_stream *, stream_free);

/* --- writing (pool) -------------------------------------------------- */

static void end_run(struct mlc_job *job);

static int
write_all(int fd, const char *data, size_t len, uint64_t off)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* The disk is full: once more when something has gone. */
static void
retry_later(struct chunk *c)
{
    struct mlc_web_stream *s = c->s;

    c->is_retry = true;
    pthread_mutex_lock(&s->lock);
    c->next = s->stuck;
    s->stuck = c;
    pthread_mutex_unlock(&s->lock);
    mlc_evict_submit(s->web->d->cache->evictor, &c->job);
}

static void
make_room(struct chunk *c)
{
    struct mlc_web_stream *s = c->s;
    struct chunk **p = &s->stuck;

    pthread_mutex_lock(&s->lock);
    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    pthread_mutex_unlock(&s->lock);
    mlc_evict_make_room(s->web->d->cache->evictor, s->fd, c->len);
}

static void
chunk_run(struct mlc_job *job)
{
    struct chunk *c = (struct chunk *)(void *)job;
    struct mlc_web_stream *s = c->s;
    struct mlc_cache *cache = s->web->d->cache;
    bool is_last;
    int r;

    if (c->is_retry)
        make_room(c);
    r = write_all(s->fd, c->buffer, c->len, c->off);
    if (r == -ENOSPC && !c->is_retry) {
        retry_later(c);
        return;
    }
    mlc_budget_give_buffer(cache->budget, c->buffer);
    free(c);
    pthread_mutex_lock(&s->lock);
    s->n_writes--;
    if (r < 0 && s->write_r == 0)
        s->write_r = r;
    if (s->is_paused && !s->is_done) {
        s->is_paused = false;
        mlc_net_resume(cache->net, &s->q);
    }
    is_last = s->is_done && s->n_writes == 0;
    pthread_mutex_unlock(&s->lock);
    if (is_last)
        mlc_pool_submit(cache->pool, MLC_LANE_SLOW, &s->job);
}

/* --- the answer (network thread) ------------------------------------- */

static int
on_head(struct mlc_net_request *q, const struct mlc_net_head *h)
{
    struct mlc_web_stream *s = (struct mlc_web_stream *)(void *)q;

    s->status = h->status;
    if (h->status < 200 || h->status > 299 || h->status == 206)
        return -EREMOTEIO;
    if (h->content_length != UINT64_MAX &&
        h->content_length > s->web->max_unsized)
        return -EFBIG;
    return 0;
}

/* Gives the buffer to the pool. */
static int
flush(struct mlc_web_stream *s)
{
    struct chunk *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->job.run = chunk_run;
    c->s = s;
    c->buffer = mlc_steal(&s->buffer);
    c->len = s->fill;
    c->off = s->total - s->fill;
    s->fill = 0;
    pthread_mutex_lock(&s->lock);
    s->n_writes++;
    pthread_mutex_unlock(&s->lock);
    mlc_pool_submit(s->web->d->cache->pool, MLC_LANE_QUICK, &c->job);
    return 0;
}

static bool
is_wanted_locked(const struct mlc_web_stream *s)
{
    return mlc_mono_ms() - s->start_ms < FIRST_WAIT_MS ||
           mlc_waitlist_is_wanted(&s->waiters);
}

/* May more be taken now?  0, -EAGAIN (it will be resumed), or an error. */
static int
check_room(struct mlc_web_stream *s)
{
    MLC_LOCK_SCOPE(&s->lock);

    if (s->write_r < 0)
        return s->write_r;
    s->is_paused = s->n_writes >= MAX_WRITES;
    return s->is_paused ? -EAGAIN : 0;
}

static int
on_body(struct mlc_net_request *q, const void *data, size_t len)
{
    struct mlc_web_stream *s = (struct mlc_web_stream *)(void *)q;
    struct mlc_budget *budget = s->web->d->cache->budget;
    const char *p = data;
    void *spare[4] = {NULL};
    size_t n_spare, n = 0;
    int r;

    if (len > s->web->max_unsized - s->total)
        return -EFBIG;
    r = check_room(s);
    if (r < 0)
        return r;
    /* All buffers that this takes, or none: the same bytes come again. */
    n_spare =
        (s->fill + len + MLC_BUFFER - 1) / MLC_BUFFER - (s->buffer ? 1 : 0);
    if (n_spare > sizeof(spare) / sizeof(*spare))
        return -EFBIG;
    while (n < n_spare && (spare[n] = mlc_budget_take_buffer(budget)))
        n++;
    if (n < n_spare) {
        while (n > 0)
            mlc_budget_give_buffer(budget, spare[--n]);
        return -EAGAIN; /* resumed when the budget has some again */
    }
    while (len > 0 && r == 0) {
        size_t part = MLC_BUFFER - s->fill;

        if (!s->buffer)
            s->buffer = spare[--n];
        if (part > len)
            part = len;
        memcpy((char *)s->buffer + s->fill, p, part);
        s->fill += part;
        s->total += part;
        p += part;
        len -= part;
        if (s->fill == MLC_BUFFER)
            r = flush(s);
    }
    while (n > 0)
        mlc_budget_give_buffer(budget, spare[--n]);
    return r;
}

static void
on_done(struct mlc_net_request *q, int r)
{
    struct mlc_web_stream *s = (struct mlc_web_stream *)(void *)q;
    bool is_last;

    s->head = mlc_net_take_headers(q);
    if (r == 0 && s->fill > 0)
        r = flush(s);
    s->result = r;
    pthread_mutex_lock(&s->lock);
    s->is_done = true;
    is_last = s->n_writes == 0;
    pthread_mutex_unlock(&s->lock);
    if (is_last)
        mlc_pool_submit(s->web->d->cache->pool, MLC_LANE_SLOW, &s->job);
}

/* --- the end (pool, SLOW) -------------------------------------------- */

static const char *
find_header(const void *arg, const char *name)
{
    return mlc_headers_find(arg, name);
}

/* The body is on disk: it is known from here on. */
static int
publish(struct mlc_web_stream *s)
{
    struct mlc_web_rec rec = {
        .kind = MLC_WEB_FILE,
        .fetched_ms = mlc_real_ms(),
        .gen = s->gen,
        .size = s->total,
        .is_stored = true,
        .is_whole = true,
        .is_checked = true,
    };

    if (fdatasync(s->fd) < 0)
        return -errno;
    rec.path = strdup(s->path);
    if (!rec.path ||
        (s->head && mlc_web_read_headers(&rec, find_header, s->head) < 0)) {
        mlc_web_rec_done(&rec);
        return -ENOMEM;
    }
    if (rec.mtime_ms == 0)
        rec.mtime_ms = rec.fetched_ms;
    return mlc_web_put(s->web, &rec);
}

static void
log_end(struct mlc_web_stream *s, int r)
{
    mlc_autofree char *url = mlc_url_redact(s->url);

    atomic_fetch_add(&s->web->errors, 1);
    if (r == -EFBIG)
        mlc_warn(
            "web: %s: no length is told, and more than max_unsized=%" PRIu64
            " bytes come",
            url ? url : "?", s->web->max_unsized);
    else if (r == -EREMOTEIO)
        mlc_warn("web: %s: HTTP status %d", url ? url : "?", s->status);
    else if (r != -ECANCELED)
        mlc_warn("web: %s: %s", url ? url : "?", strerror(-r));
}

/* Can it be otherwise in a moment? */
static bool
is_transient(const struct mlc_web_stream *s, int r)
{
    if (r == -EREMOTEIO)
        return s->status == 408 || s->status == 429 || s->status >= 500;
    return r == -ECONNRESET || r == -ECONNREFUSED;
}

/* true: it is left to the watch, with nothing in it. */
static bool
rest(struct mlc_web_stream *s, int r)
{
    if (!is_transient(s, r) || ftruncate(s->fd, 0) < 0)
        return false;
    s->fill = 0;
    s->total = 0;
    free(mlc_steal(&s->head));
    MLC_LOCK_SCOPE(&s->web->lock);
    if (s->n_tries >= MAX_TRIES || !is_wanted_locked(s))
        return false;
    s->retry_ms = mlc_mono_ms() + (RETRY_MS << (s->n_tries - 1));
    s->is_resting = true;
    return true;
}

static void
end_run(struct mlc_job *job)
{
    struct mlc_web_stream *s =
        mlc_container_of(job, struct mlc_web_stream, job);
    struct mlc_web *web = s->web;
    struct mlc_waitlist waiters;
    char home[MLC_WEB_BODY_PATH];
    int64_t memo_ms = MEMO_MS;
    int r = s->result;

    if (r == 0)
        r = s->write_r;
    if (r < 0 && rest(s, r))
        return;
    if (r == 0)
        r = publish(s);
    if (r < 0) {
        log_end(s, r);
        mlc_web_body_path(s->gen, home);
        unlinkat(web->d->privfd, home, 0);
    }
    close(s->fd);
    s->fd = -1;
    if (s->buffer)
        mlc_budget_give_buffer(web->d->cache->budget, mlc_steal(&s->buffer));
    switch (r) {
    case 0:
        memo_ms = JUST_NOW_MS;
        break;
    case -EFBIG:
        memo_ms = TOO_BIG_MS;
        break;
    case -ECANCELED: /* who comes now begins anew */
        memo_ms = 0;
        r = -EIO;
        break;
    case -ENOSPC:
    case -ENOMEM:
    case -ETIMEDOUT:
    case -EHOSTUNREACH:
        break;
    default:
        r = -EIO;
        break;
    }
    pthread_mutex_lock(&web->lock);
    s->is_ended = true;
    s->r = r;
    s->until_ms = mlc_mono_ms() + memo_ms;
    mlc_waitlist_take(&s->waiters, &waiters);
    pthread_mutex_unlock(&web->lock);
    /* It may be gone by now. */
    mlc_waitlist_wake(&waiters);
}

/* --- the watch (timer) ----------------------------------------------- */

static int
start_locked(struct mlc_web_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->is_done = s->is_paused = false;
    s->write_r = 0;
    pthread_mutex_unlock(&s->lock);
    s->status = 0;
    s->is_resting = false;
    s->n_tries++;
    return mlc_net_start(s->web->d->cache->net, &s->q);
}

static void
try_again_locked(struct mlc_web_stream *s)
{
    int r = is_wanted_locked(s) ? start_locked(s) : -ECANCELED;

    if (r == 0)
        return;
    s->is_resting = false;
    s->result = r;
    mlc_pool_submit(s->web->d->cache->pool, MLC_LANE_SLOW, &s->job);
}

static void
cancel(struct mlc_web_stream *s)
{
    MLC_LOCK_SCOPE(&s->lock);
    if (!s->is_done)
        mlc_net_cancel(s->web->d->cache->net, &s->q);
}

static void
watch_run(struct mlc_job *job)
{
    struct mlc_timer *timer = mlc_container_of(job, struct mlc_timer, job);
    struct mlc_web *web = mlc_container_of(timer, struct mlc_web, watch);
    int64_t now = mlc_mono_ms();

    MLC_LOCK_SCOPE(&web->lock);
    web->is_watching = false;
    for (struct mlc_web_stream *s = web->streams; s; s = s->next) {
        if (s->is_ended)
            continue;
        web->is_watching = true;
        if (s->is_resting && now >= s->retry_ms)
            try_again_locked(s);
        else if (!s->is_resting && !is_wanted_locked(s))
            cancel(s);
    }
    if (web->is_watching)
        mlc_pool_after(web->d->cache->pool, &web->watch, WATCH_MS);
}

static void
watch_locked(struct mlc_web *web)
{
    if (web->is_watching)
        return;
    web->is_watching = true;
    web->watch.job.run = watch_run;
    mlc_pool_after(web->d->cache->pool, &web->watch, WATCH_MS);
}

/* --- what the others call -------------------------------------------- */

/* The stream for path; those that are over and forgotten go. */
static struct mlc_web_stream *
find_locked(struct mlc_web *web, const char *path)
{
    int64_t now = mlc_mono_ms();
    struct mlc_web_stream *found = NULL;

    for (struct mlc_web_stream **p = &web->streams; *p;) {
        struct mlc_web_stream *s = *p;

        if (s->is_ended && s->until_ms <= now) {
            *p = s->next;
            stream_free(s);
            continue;
        }
        if (strcmp(s->path, path) == 0)
            found = s;
        p = &s->next;
    }
    return found;
}

static void
forget_locked(struct mlc_web *web, struct mlc_web_stream *s)
{
    struct mlc_web_stream **p = &web->streams;

    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    stream_free(s);
}

static struct mlc_web_stream *
stream_new(struct mlc_web *web, const char *path, const char *url, bool is_raw)
{
    __attribute__((cleanup(mlc_cleanup_stream))) struct mlc_web_stream *s =
        calloc(1, sizeof(*s));
    char home[MLC_WEB_BODY_PATH];

    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = -1;
    s->web = web;
    s->gen = mlc_web_new_gen();
    s->start_ms = mlc_mono_ms();
    s->job.run = end_run;
    s->path = strdup(path);
    s->url = strdup(url);
    s->request_url = mlc_web_request_url(web, url);
    if (!s->path || !s->url || !s->request_url)
        return NULL;
    mlc_web_body_path(s->gen, home);
    s->fd = mlc_open_beneath(web->d->privfd, home,
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (s->fd < 0)
        return NULL;
    s->q.url = s->request_url;
    s->q.netrc = web->netrc;
    s->q.is_body = is_raw;
    s->q.stall_ms = web->d->cache->fetch.timeout_ms;
    s->q.on_head = on_head;
    s->q.on_body = on_body;
    s->q.on_done = on_done;
    return mlc_steal(&s);
}

int
mlc_web_stream_start(struct mlc_web *web, const char *path, const char *url,
                     bool is_raw)
{
    __attribute__((cleanup(mlc_cleanup_stream))) struct mlc_web_stream *s =
        stream_new(web, path, url, is_raw);
    struct mlc_web_stream *old;

    if (!s)
        return -ENOMEM;
    MLC_LOCK_SCOPE(&web->lock);
    old = find_locked(web, path);
    if (old && !old->is_ended)
        return 0;
    if (start_locked(s) < 0)
        return -ENOMEM;
    if (old)
        forget_locked(web, old);
    s->next = web->streams;
    web->streams = mlc_steal(&s);
    watch_locked(web);
    return 0;
}

int
mlc_web_stream_wait(struct mlc_web *web, const char *path, struct mlc_ask *ask)
{
    struct mlc_web_stream *s;

    MLC_LOCK_SCOPE(&web->lock);
    s = find_locked(web, path);
    if (!s)
        return -ENOENT;
    if (s->is_ended)
        return s->r;
    if (ask->only_known)
        return -EAGAIN;
    /* It ends by itself, when nothing comes for 'timeout='. */
    ask->deadline_ms = MLC_NEVER_MS;
    return mlc_waitlist_add(&s->waiters, ask);
}

void
mlc_web_streams_free(struct mlc_web *web)
{
    while (web->streams) {
        struct mlc_web_stream *s = web->streams;

        web->streams = s->next;
        for (size_t i = 0; i < s->waiters.n; i++)
            mlc_wait_unref(s->waiters.items[i]);
        stream_free(s);
    }
}
