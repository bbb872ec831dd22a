/* SPDX-License-Identifier: MIT */
/* The HTTP feed.  One function decides what to ask for next (plan_locked); it
 * is run whenever something changed: a want, an end of a stream, a timer.
 * A stream or an armed timer holds a reference to the object, which owns the
 * feed, so neither goes while something is under way. */
#include "config.h"

#include "backends/cache/fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/pool.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define NONE        UINT64_MAX
#define MIB         ((uint64_t)1024 * 1024)
#define REACH       (2 * MIB)  /* so far ahead of a stream is near */
#define REACH_AHEAD (8 * MIB)  /* what the kernel reads ahead of a reader */
#define RANGE_MIN   (32 * MIB) /* a request's, if there may be others */
#define RANGE_MAX   (256 * MIB)
#define TURN        (4 * MIB) /* before a wanted stream gives way */
#define AHEAD_MAX   (16 * MIB)
#define WINDOW_MS   500  /* of measuring, before another connection */
#define WARM_UP_MS  250  /* not measured after one was added */
#define PAUSE_MS    1000 /* after a failure */
#define CONNECT_MS  10000
#define STALL_MS    10000
#define BACKOFF_MIN 250
#define BACKOFF_MAX 8000
#define BAD_MAX     2 /* answers that make no sense, before giving up */
#define RESOLVE_MAX 3 /* new redirect targets without progress */

enum outcome {
    OUT_NONE,      /* see on_done's result */
    OUT_ENOUGH,    /* the rest is there or somebody else's */
    OUT_BAD,       /* not what was asked for */
    OUT_SIZE,      /* not the file we know */
    OUT_STALE,     /* another validator */
    OUT_ANEW,      /* another validator than what was carried over belongs to */
    OUT_RESOLVE,   /* the redirect target refused */
    OUT_TRANSIENT, /* 408, 429, 5xx */
    OUT_REFUSED,   /* another status; 'refusal' */
    OUT_FULL,      /* the piece can't be stored */
};

struct fetch {
    struct mlc_fetch_conf conf; /* immutable, as all up to the lock */
    char *url;
    char *label;
    bool check_validator;
    char *(*get_bearer)(void *arg);
    bool (*bearer_refused)(void *arg, const char *bearer,
                           const char *error_code);
    void *arg;
    int (*map_status)(int status, const char *error_code);
    void (*changed)(void *arg, uint64_t content);
    char *(*get_head)(void *arg, uint64_t content, size_t *ret_len);
    uint64_t content;
    const char *netrc;

    pthread_mutex_t lock;   /* taken before object.lock; all below */
    struct stream *streams; /* in flight */
    unsigned n_streams;
    char *target; /* where redirects led to, while it works; NULL */
    bool no_ranges;
    bool is_idle;  /* failed: nothing until the next want */
    uint64_t pos;  /* piece last wanted: background goes on from there */
    uint64_t turn; /* wants are looked at from here on, so each gets its turn */
    uint64_t ahead,
        ahead_end; /* demand: pieces to read ahead; where it ended */
    bool is_head_asked;
    /* What a stream that broke, or the look-up, had of a span. */
    void *carry;
    uint64_t carry_index;
    size_t carry_fill;
    /* The burst of failures under way. */
    int64_t burst_ms; /* when asking began */
    int64_t not_before_ms;
    unsigned n_tries, n_bad, n_resolve;
    bool has_answered;
    /* How many connections are worth while. */
    unsigned n_target;
    bool is_settled;
    int64_t window_ms;                        /* 0: not begun */
    int64_t last_end_ms;                      /* of a stream */
    uint64_t window_bytes, rate, rate_before; /* bytes, bytes per second */
    struct mlc_timer timer;
    struct mlc_object *timer_obj; /* a reference while armed */
};

struct stream {
    struct mlc_net_request q;
    struct fetch *f;
    struct mlc_object *obj; /* a reference */
    char *url, *bearer;
    bool is_via_target;         /* immutable */
    uint64_t first, asked_end;  /* pieces asked for; network thread */
    struct stream *next_stream; /* fetch.lock */
    unsigned refs;              /* fetch.lock: the list's, the starter's */
    uint64_t next;              /* fetch.lock; where the span begins */
    uint64_t end;               /* fetch.lock; where it shall stop */
    bool is_starting;           /* fetch.lock */
    bool is_resumed;            /* fetch.lock; told so while it started */
    bool is_cancelled;          /* fetch.lock */
    bool is_heard;              /* fetch.lock; a byte of the body came */
    uint64_t stop;              /* network thread, as all below; its end */
    void *buffer;               /* for the span that comes now */
    size_t fill;                /* of the span; without buffer: skipped */
    size_t taken;               /* of bytes that will come again */
    bool is_body;               /* some of it came */
    enum outcome outcome;
    int refusal;
    int status;
    bool is_news; /* the first odd answer in a row is logged */
    int64_t retry_after_ms;
};

static void fetch_run(struct fetch *f, struct mlc_object *obj);

static uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* So many bytes in pieces of the object. */
static uint64_t
pieces_of(const struct mlc_object *obj, uint64_t bytes)
{
    return max_u64(bytes / mlc_object_piece_size(obj), 1);
}

/* Where the buffer begins that a piece is in. */
static uint64_t
buffer_begin(const struct mlc_object *obj, uint64_t piece)
{
    return piece - piece % pieces_of(obj, MLC_BUFFER);
}

/* The bytes of the span that s brings now. */
static size_t
stream_span_len(const struct stream *s)
{
    return (size_t)mlc_object_span_len(s->obj, s->next, s->stop);
}

static int64_t
min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- streams: life ------------------------------------------------------- */

static void
stream_free(struct stream *s)
{
    struct mlc_object *obj = s->obj;

    if (s->buffer)
        mlc_budget_give_buffer(s->f->conf.budget, s->buffer);
    free(s->url);
    free(s->bearer);
    free(s);
    mlc_object_unref(obj); /* the feed may go with it */
}

static void
stream_unref(struct stream *s)
{
    bool is_last;

    pthread_mutex_lock(&s->f->lock);
    is_last = --s->refs == 0;
    pthread_mutex_unlock(&s->f->lock);
    if (is_last)
        stream_free(s);
}

static void
stream_cancel_locked(struct stream *s)
{
    if (s->is_cancelled)
        return;
    s->is_cancelled = true;
    /* Else the one who starts it sees the flag. */
    if (!s->is_starting)
        mlc_net_cancel(s->f->conf.net, &s->q);
}

static void
drop_carry_locked(struct fetch *f)
{
    if (f->carry)
        mlc_budget_give_buffer(f->conf.budget, f->carry);
    f->carry = NULL;
}

/* --- streams: the answer ------------------------------------------------- */

/* A line for an answer that can't be used. */
static void
log_answer(struct stream *s, const struct mlc_net_head *h, const char *what)
{
    mlc_autofree char *url = mlc_url_redact(h->url);

    mlc_log_err(-EIO, "%s: HTTP status %d from %s: %s", s->f->label, h->status,
                url ? url : "?", what);
}

static int
stream_end(struct stream *s, enum outcome outcome, int r)
{
    s->outcome = outcome;
    return r;
}

static int
refuse(struct stream *s, int status, const char *error_code)
{
    if (s->f->map_status)
        s->refusal = s->f->map_status(status, error_code);
    else
        s->refusal = status == 401 || status == 403 ? -EACCES : -EIO;
    if (s->refusal >= 0)
        s->refusal = -EIO;
    return s->refusal;
}

static int
head_of_error(struct stream *s, const struct mlc_net_head *h)
{
    bool is_elsewhere = s->is_via_target || h->is_redirected;

    if (h->status == 408 || h->status == 429 || h->status >= 500) {
        s->retry_after_ms = h->retry_after_ms;
        mlc_debug("fetch", "%s: HTTP status %d", s->f->label, h->status);
        return stream_end(s, OUT_TRANSIENT, -EREMOTEIO);
    }
    if (h->status == 416) {
        log_answer(s, h, "the file is shorter than it was");
        return stream_end(s, OUT_SIZE, -EREMOTEIO);
    }
    refuse(s, h->status, mlc_net_header(&s->q, "X-Error-Code"));
    if (h->status == 401 && !is_elsewhere && s->bearer &&
        s->f->bearer_refused &&
        s->f->bearer_refused(s->f->arg, s->bearer,
                             mlc_net_header(&s->q, "X-Error-Code")))
        return stream_end(s, OUT_RESOLVE, -EREMOTEIO);
    if (is_elsewhere && (h->status == 401 || h->status == 403 ||
                         h->status == 404 || h->status == 410))
        return stream_end(s, OUT_RESOLVE, -EREMOTEIO);
    log_answer(s, h, "refused");
    return stream_end(s, OUT_REFUSED, -EREMOTEIO);
}

/* A whole body although a range was asked for, or because none was. */
static int
head_of_whole(struct stream *s, const struct mlc_net_head *h)
{
    struct fetch *f = s->f;
    uint64_t n = mlc_object_n_pieces(s->obj);

    if (h->content_length != UINT64_MAX &&
        h->content_length != mlc_object_size(s->obj)) {
        log_answer(s, h, "another length than expected");
        return stream_end(s, OUT_SIZE, -EREMOTEIO);
    }
    if (!s->q.has_range)
        return 0;
    MLC_LOCK_SCOPE(&f->lock);
    if (!f->no_ranges)
        mlc_debug("fetch", "%s: the server ignores ranges", f->label);
    f->no_ranges = true;
    /* One stream is enough, and brings everything. */
    for (struct stream *o = f->streams; o; o = o->next_stream)
        if (o != s)
            stream_cancel_locked(o);
    s->first = s->next = 0;
    s->end = s->asked_end = n;
    s->fill = 0;
    return 0;
}

static int
head_of_part(struct stream *s, const struct mlc_net_head *h)
{
    const struct mlc_net_request *q = &s->q;

    if (q->has_range && h->has_range && h->range_from == q->range_from &&
        h->range_last == q->range_to - 1 &&
        (h->range_total == mlc_object_size(s->obj) ||
         h->range_total == UINT64_MAX) &&
        (h->content_length == UINT64_MAX ||
         h->content_length == q->range_to - q->range_from))
        return 0;
    if (s->f->changed && h->has_range && h->range_total != UINT64_MAX &&
        h->range_total != mlc_object_size(s->obj)) {
        log_answer(s, h, "another length than expected");
        return stream_end(s, OUT_SIZE, -EREMOTEIO);
    }
    if (s->is_news)
        log_answer(s, h, "not the range that was asked for");
    return stream_end(s, OUT_BAD, -EREMOTEIO);
}

static int
check_validator(struct stream *s)
{
    const char *v = mlc_net_header(&s->q, "ETag");
    int r;

    if (!v)
        v = mlc_net_header(&s->q, "Last-Modified");
    if (!v)
        return 0;
    /* A span that was begun must go on as it was. */
    r = mlc_object_set_validator(s->obj, v, s->fill > 0);
    if (r == -ESTALE && s->fill > 0 &&
        mlc_object_set_validator(s->obj, v, false) == 0)
        return stream_end(s, OUT_ANEW, -EREMOTEIO);
    if (r == -ESTALE)
        return stream_end(s, OUT_STALE, -EREMOTEIO);
    return r < 0 ? stream_end(s, OUT_FULL, r) : 0;
}

static int
stream_head(struct mlc_net_request *q, const struct mlc_net_head *h)
{
    struct stream *s = mlc_container_of(q, struct stream, q);
    struct fetch *f = s->f;
    char *target = NULL;
    int r;

    s->status = h->status;
    pthread_mutex_lock(&f->lock);
    f->has_answered = true;
    s->is_news = f->n_bad == 0;
    pthread_mutex_unlock(&f->lock);
    if (h->status == 206) {
        r = head_of_part(s, h);
    } else if (h->status == 200) {
        r = head_of_whole(s, h);
    } else if (h->status >= 400) {
        r = head_of_error(s, h);
    } else {
        if (s->is_news)
            log_answer(s, h, "unexpected");
        r = stream_end(s, OUT_BAD, -EREMOTEIO);
    }
    if (r == 0 && f->check_validator)
        r = check_validator(s);
    if (r < 0 || !h->is_redirected)
        return r;
    target = strdup(h->url);
    pthread_mutex_lock(&f->lock);
    free(f->target);
    f->target = target;
    pthread_mutex_unlock(&f->lock);
    return 0;
}

/* --- streams: the body --------------------------------------------------- */

/* A span came: counts it, and says whether one more connection is worth
 * trying. */
static bool
measure_locked(struct fetch *f, size_t len)
{
    int64_t now = mlc_mono_ms();
    bool is_more;

    f->n_tries = f->n_bad = f->n_resolve = 0;
    if (f->window_ms == 0)
        f->window_ms = now;
    if (now < f->window_ms)
        return false;
    f->window_bytes += len;
    if (now - f->window_ms < WINDOW_MS)
        return false;
    f->rate = f->window_bytes * 1000 / (uint64_t)(now - f->window_ms);
    f->window_ms = now;
    f->window_bytes = 0;
    if (!f->conf.is_whole || f->is_settled || f->no_ranges ||
        f->n_streams != f->n_target || f->n_target >= f->conf.max_connections)
        return false;
    is_more = f->n_target == 1 || f->rate >= f->rate_before * 115 / 100;
    if (!is_more) {
        f->is_settled = true;
        return false;
    }
    f->rate_before = f->rate;
    f->n_target++;
    f->window_ms = now + WARM_UP_MS;
    return true;
}

/* Hands over the span if it is full.  0, -EAGAIN, or the end. */
static int
stream_settle(struct stream *s)
{
    struct fetch *f = s->f;
    size_t len = stream_span_len(s);
    bool is_new = s->buffer != NULL, is_more, is_enough;
    int r;

    if (s->fill < len)
        return 0;
    if (s->buffer) {
        r = mlc_object_put_span(s->obj, s->next, s->buffer, len);
        if (r == -EAGAIN)
            return r;
        if (r < 0)
            return stream_end(s, OUT_FULL, r);
        s->buffer = NULL;
    }
    s->fill = 0;
    pthread_mutex_lock(&f->lock);
    s->next = s->stop;
    is_enough = s->next >= s->end && s->end < s->asked_end;
    /* What is skipped is no progress. */
    is_more = is_new && measure_locked(f, len);
    pthread_mutex_unlock(&f->lock);
    if (is_more)
        fetch_run(f, s->obj);
    /* At the end of what was asked the answer ends by itself, and the
     * connection stays. */
    return is_enough ? stream_end(s, OUT_ENOUGH, -EALREADY) : 0;
}

/* Before the first byte of a span. */
static int
stream_begin_span(struct stream *s)
{
    struct fetch *f = s->f;
    bool is_enough;

    if (s->next >= s->asked_end)
        return stream_end(s, OUT_BAD, -EREMOTEIO);
    pthread_mutex_lock(&f->lock);
    is_enough = s->next >= s->end;
    s->is_heard = true;
    s->stop = min_u64(mlc_object_span_end(s->obj, s->next),
                      min_u64(s->end, s->asked_end));
    pthread_mutex_unlock(&f->lock);
    if (is_enough)
        return stream_end(s, OUT_ENOUGH, -EALREADY);
    if (mlc_object_has(s->obj, s->next)) {
        if (!f->no_ranges)
            return stream_end(s, OUT_ENOUGH, -EALREADY);
        s->stop = min_u64(s->stop, mlc_object_next_missing(s->obj, s->next));
        if (s->buffer)
            mlc_budget_give_buffer(f->conf.budget, s->buffer);
        s->buffer = NULL;
        return 0;
    }
    s->stop = mlc_object_next_present(s->obj, s->next, s->stop);
    if (!s->buffer)
        s->buffer = mlc_budget_take_buffer(f->conf.budget);
    return s->buffer ? 0 : -EAGAIN;
}

static int
stream_body(struct mlc_net_request *q, const void *data, size_t len)
{
    struct stream *s = mlc_container_of(q, struct stream, q);
    const char *p = data;
    /* After a pause the same bytes come again, perhaps cut differently. */
    size_t skip = s->taken < len ? s->taken : len;
    size_t off = skip;
    bool is_progress = false;
    size_t n;
    int r;

    s->is_body = true;
    for (;;) {
        r = s->fill > 0 ? stream_settle(s) : 0;
        if (r == 0 && off < len && s->fill == 0)
            r = stream_begin_span(s);
        if (r == -EAGAIN) {
            s->taken = off + (s->taken - skip);
            return r;
        }
        if (r < 0)
            return r;
        if (off == len)
            break;
        n = stream_span_len(s) - s->fill;
        if (n > len - off)
            n = len - off;
        if (s->buffer) {
            memcpy((char *)s->buffer + s->fill, p + off, n);
            if (!is_progress)
                mlc_object_touch(s->obj);
            is_progress = true;
        }
        s->fill += n;
        off += n;
    }
    s->taken -= skip;
    return 0;
}

/* --- streams: the end ---------------------------------------------------- */

static void
arm_timer_locked(struct fetch *f, struct mlc_object *obj, int64_t now)
{
    int64_t ms = f->not_before_ms > now ? f->not_before_ms - now : 0;

    if (f->timer_obj)
        return;
    f->timer_obj = mlc_object_ref(obj);
    mlc_pool_after(f->conf.pool, &f->timer, ms);
}

/* How long until the deadline: timeout_ms after the last byte. */
static int64_t
time_left_locked(struct fetch *f, struct mlc_object *obj, int64_t now)
{
    int64_t since = mlc_object_progress_ms(obj);

    if (since < f->burst_ms)
        since = f->burst_ms;
    return f->conf.timeout_ms - (now - since);
}

/* What to do about a failed request that may be repeated: 0: it will be;
 * -errno: not within the deadline. */
static int
retry_locked(struct fetch *f, struct stream *s, int r, int64_t now)
{
    int64_t left = time_left_locked(f, s->obj, now);
    int64_t delay = BACKOFF_MAX;

    /* A refusal is an answer, too; the last try may have had no time for one.
     */
    if (r != -ETIMEDOUT)
        f->has_answered = true;
    if (f->n_tries < 5)
        delay = BACKOFF_MIN << f->n_tries;
    f->n_tries++;
    if (s->outcome == OUT_TRANSIENT && s->retry_after_ms >= 0)
        delay = s->retry_after_ms;
    else
        delay = min_ms(delay, left);
    if (left <= 0 || delay > left) {
        if (r == -EHOSTUNREACH)
            return r;
        return r == -ETIMEDOUT && !f->has_answered ? r : -EIO;
    }
    if (now + delay > f->not_before_ms)
        f->not_before_ms = now + delay;
    return 0;
}

/* What the end of a stream means for its object: 0: go on; -errno: fail what
 * it had to bring; *ret_is_stale: the object is no more. */
static int
judge_locked(struct fetch *f, struct stream *s, int r, int64_t now,
             bool *ret_is_stale)
{
    bool is_short = r == 0 && s->next < s->asked_end;

    if (s->is_cancelled)
        return 0;
    switch (s->outcome) {
    case OUT_ENOUGH:
    case OUT_ANEW:
        return 0;
    case OUT_STALE:
        *ret_is_stale = true;
        return -EIO;
    case OUT_SIZE:
        *ret_is_stale = f->changed != NULL;
        return -EIO;
    case OUT_FULL:
        /* The object has told the readers, and remembers it. */
        f->is_idle = true;
        return 0;
    case OUT_REFUSED:
        *ret_is_stale = f->changed && (s->status == 404 || s->status == 410);
        return s->refusal;
    case OUT_RESOLVE:
        /* Another stream may have learnt of it before. */
        if (s->is_via_target && (!f->target || strcmp(f->target, s->url) != 0))
            return 0;
        free(f->target);
        f->target = NULL;
        if (f->n_resolve++ < RESOLVE_MAX)
            return 0;
        *ret_is_stale = f->changed && (s->status == 404 || s->status == 410);
        return s->refusal;
    case OUT_BAD:
        if (f->n_bad++ >= BAD_MAX)
            return -EIO;
        return retry_locked(f, s, -EIO, now);
    case OUT_TRANSIENT:
        return retry_locked(f, s, -EIO, now);
    case OUT_NONE:
        break;
    }
    if (r == 0 && !is_short)
        return 0;
    if (r == -ECANCELED) {
        f->is_idle = true; /* the network was stopped */
        return -EIO;
    }
    if ((r == -EPROTO || r == -ELOOP || r == -EINVAL) && f->n_bad++ >= BAD_MAX)
        return -EIO;
    /* The target may be what is broken. */
    if (r < 0 && s->is_via_target && f->n_tries > 0) {
        free(f->target);
        f->target = NULL;
    }
    return retry_locked(f, s, is_short ? -ECONNRESET : r, now);
}

static void
log_failure(struct stream *s, int r, int error)
{
    mlc_autofree char *url = mlc_url_redact(s->url);

    /* Other outcomes were logged where they were learnt. */
    if (s->outcome != OUT_NONE && s->outcome != OUT_TRANSIENT &&
        s->outcome != OUT_RESOLVE)
        return;
    if (r == -ECANCELED)
        return;
    errno = s->outcome == OUT_NONE ? -r : -error;
    if (s->outcome == OUT_NONE)
        mlc_log_err(error, "%s: %s: %m", s->f->label, url ? url : "?");
    else
        mlc_log_err(error, "%s: HTTP status %d from %s, given up", s->f->label,
                    s->status, url ? url : "?");
}

static void
unlist_locked(struct fetch *f, struct stream *s)
{
    struct stream **p = &f->streams;

    while (*p != s)
        p = &(*p)->next_stream;
    *p = s->next_stream;
    f->n_streams--;
}

/* The span ends here: what came of it in whole pieces is handed over, and what
 * is left, less than a piece, begins the next. */
static void
stream_cut_span(struct stream *s)
{
    size_t piece = mlc_object_piece_size(s->obj);
    size_t whole = s->fill - s->fill % piece;
    size_t rest = s->fill - whole;
    void *next = NULL;

    if (!s->buffer || !s->is_body || whole == 0)
        return;
    if (rest > 0)
        next = mlc_budget_take_buffer(s->f->conf.budget);
    if (next)
        memcpy(next, (char *)s->buffer + whole, rest);
    if (mlc_object_put_span(s->obj, s->next, s->buffer, whole) < 0) {
        mlc_budget_give_buffer(s->f->conf.budget, next);
        return;
    }
    s->buffer = next;
    s->fill = next ? rest : 0;
    MLC_LOCK_SCOPE(&s->f->lock);
    s->next += whole / piece;
}

static void
stream_done(struct mlc_net_request *q, int r)
{
    struct stream *s = mlc_container_of(q, struct stream, q);
    struct fetch *f = s->f;
    struct mlc_object *obj = s->obj;
    uint64_t from = 0, to = mlc_object_n_pieces(obj);
    int64_t now = mlc_mono_ms();
    bool is_stale = false;
    int error;

    stream_cut_span(s);
    pthread_mutex_lock(&f->lock);
    unlist_locked(f, s);
    f->last_end_ms = now;
    error = judge_locked(f, s, r, now, &is_stale);
    /* Bytes that came well are not asked for again. */
    if (s->buffer && s->fill > 0 && !f->no_ranges && error == 0 &&
        !s->is_cancelled && s->outcome != OUT_BAD && s->outcome != OUT_ANEW) {
        drop_carry_locked(f);
        f->carry = mlc_steal(&s->buffer);
        f->carry_index = s->next;
        f->carry_fill = s->fill;
    }
    if (error < 0) {
        /* What other streams bring has not failed. */
        if (f->n_streams > 0) {
            from = s->next;
            to = s->end;
        }
        f->is_idle = true;
        f->n_tries = f->n_bad = f->n_resolve = 0;
        f->has_answered = false;
        if (now + PAUSE_MS > f->not_before_ms)
            f->not_before_ms = now + PAUSE_MS;
        drop_carry_locked(f);
    }
    pthread_mutex_unlock(&f->lock);

    if (error < 0)
        log_failure(s, r, error);
    if (is_stale) {
        mlc_log_err(error, "%s: changed at its origin while it was fetched",
                    f->label);
        if (f->changed)
            f->changed(f->arg, f->content);
        mlc_object_kill(obj);
    } else if (error < 0) {
        mlc_object_fail(obj, from, to, error);
    }
    fetch_run(f, obj);
    stream_unref(s);
}

/* --- what to ask for next ------------------------------------------------ */

/* How many pieces ahead of itself a stream is not worth cutting. */
static uint64_t
reach_locked(struct fetch *f, struct mlc_object *obj, const struct stream *s)
{
    /* Half a second's worth: a new connection would hardly be faster, and
     * what the old one has under way would be lost. */
    uint64_t reach = pieces_of(obj, max_u64(f->rate / 2, REACH));
    uint64_t ahead = pieces_of(obj, REACH_AHEAD);

    /* Somebody waits for what comes now: then wants a little farther on are
     * most likely the kernel's, for the same reader. */
    if (reach < ahead &&
        (!s->is_heard ||
         mlc_object_next_wanted(obj, s->next,
                                s->next + pieces_of(obj, REACH)) != NONE))
        reach = ahead;
    return reach;
}

/* Where what streams that run bring soon ends, from 'piece' on; 'piece' if none
 * brings that. */
static uint64_t
near_end_locked(struct fetch *f, struct mlc_object *obj, uint64_t piece)
{
    uint64_t end;

    for (struct stream *s = f->streams; s; s = s->next_stream) {
        if (s->is_cancelled || piece < s->next || piece >= s->end)
            continue;
        end = s->end;
        if (!f->no_ranges)
            end = min_u64(end, s->next + reach_locked(f, obj, s) + 1);
        if (piece < end)
            return end;
    }
    return piece;
}

/* A wanted piece in [from, to) that no stream will bring soon. */
static uint64_t
far_want_locked(struct fetch *f, struct mlc_object *obj, uint64_t from,
                uint64_t to)
{
    uint64_t want;

    while (from < to) {
        want = mlc_object_next_wanted(obj, from, to);
        if (want == NONE)
            return NONE;
        from = near_end_locked(f, obj, want);
        if (from == want)
            return want;
    }
    return NONE;
}

/* Where a stream from 'first' on has to stop. */
static uint64_t
range_end_locked(struct fetch *f, struct mlc_object *obj, uint64_t first)
{
    uint64_t end =
        mlc_object_next_present(obj, first, mlc_object_n_pieces(obj));
    uint64_t cap;

    for (struct stream *s = f->streams; s; s = s->next_stream)
        if (!s->is_cancelled && s->next > first)
            end = min_u64(end, s->next);
    if (f->conf.max_connections > 1) {
        /* Leaves something for another connection, at no cost: to cut an
         * answer short loses the megabytes that are under way, so ranges are
         * bounded from the start, to a second's worth. */
        cap = min_u64(max_u64(f->rate, RANGE_MIN), RANGE_MAX);
        end = min_u64(end, buffer_begin(obj, first) + pieces_of(obj, cap));
    }
    return end;
}

/* All connections are in use: one gives way, soon. */
static void
give_way_locked(struct fetch *f, struct mlc_object *obj)
{
    uint64_t turn = pieces_of(obj, TURN);
    struct stream *victim = NULL;

    for (struct stream *s = f->streams; s; s = s->next_stream) {
        if (s->is_cancelled)
            return; /* one goes already */
        if (mlc_object_next_wanted(obj, s->next, s->end) == NONE) {
            victim = s;
            break;
        }
        if (s->next - s->first >= turn &&
            (!victim || s->next - s->first > victim->next - victim->first))
            victim = s;
    }
    if (victim)
        stream_cancel_locked(victim);
}

/* The lowest piece >= low from which on all is missing up to 'want', and no
 * stream is to bring it. */
static uint64_t
free_from_locked(struct fetch *f, struct mlc_object *obj, uint64_t low,
                 uint64_t want)
{
    uint64_t present;

    for (struct stream *s = f->streams; s; s = s->next_stream) {
        if (s->is_cancelled || s->next >= want)
            continue;
        /* One that is to bring 'want', too, will not get so far. */
        low = max_u64(low, s->end <= want ? s->end : buffer_begin(obj, want));
    }
    while (low < want &&
           (present = mlc_object_next_present(obj, low, want)) < want)
        low = mlc_object_next_missing(obj, present);
    return min_u64(low, want);
}

/* Only what is wanted, and some read-ahead if reading goes on where that
 * ended.  The kernel's requests for one reader come in any order, so a little
 * is looked around: what lies between belongs to it. */
static void
plan_demand_locked(struct fetch *f, struct mlc_object *obj, uint64_t *ret_first,
                   uint64_t *ret_end)
{
    uint64_t want = *ret_first, first, end = *ret_end, stop;
    uint64_t reach = pieces_of(obj, REACH_AHEAD);

    first = free_from_locked(f, obj, buffer_begin(obj, want), want);
    if (f->ahead == 0 || want >= f->ahead_end + reach ||
        want + f->ahead + reach < f->ahead_end) {
        f->ahead = pieces_of(obj, MLC_BUFFER);
        f->ahead_end = 0;
    } else if (want >= f->ahead_end) {
        f->ahead = min_u64(f->ahead * 2, pieces_of(obj, AHEAD_MAX));
        first = free_from_locked(f, obj, f->ahead_end, want);
    }
    stop = buffer_begin(obj, want) + f->ahead;
    if (stop < end && mlc_object_next_wanted(obj, stop, stop + 1) == stop)
        stop =
            mlc_object_span_end(obj, mlc_object_wanted_end(obj, stop, end) - 1);
    *ret_first = first;
    *ret_end = min_u64(stop, end);
    if (f->ahead_end < *ret_end)
        f->ahead_end = *ret_end;
}

/* Who reads parts wants what comes next, too, and nothing else. */
static void
plan_part_locked(struct fetch *f, struct mlc_object *obj, uint64_t want,
                 uint64_t *ret_end)
{
    uint64_t stop = mlc_object_wanted_end(obj, want, *ret_end);

    *ret_end = max_u64(stop, want + 1);
    f->ahead = 0;
}

static int
plan_want_locked(struct fetch *f, struct mlc_object *obj, uint64_t want,
                 uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t n = mlc_object_n_pieces(obj);

    if (f->n_streams >= f->conf.max_connections ||
        (f->no_ranges && f->n_streams > 0)) {
        if (!f->no_ranges)
            give_way_locked(f, obj);
        return 0;
    }
    f->turn = want + 1;
    *ret_first = want;
    *ret_end = range_end_locked(f, obj, want);
    if (mlc_object_is_part(obj))
        plan_part_locked(f, obj, want, ret_end);
    else if (!f->conf.is_whole || !mlc_object_is_open(obj))
        plan_demand_locked(f, obj, ret_first, ret_end);
    else
        *ret_first = free_from_locked(f, obj, buffer_begin(obj, want), want);
    if (f->no_ranges) {
        *ret_first = 0;
        *ret_end = n;
    }
    /* Who would have come here later stops here. */
    for (struct stream *s = f->streams; s; s = s->next_stream)
        if (s->next <= *ret_first && *ret_first < s->end)
            s->end = *ret_first;
    return 1;
}

/* The first missing piece from 'from' on that no stream is to bring. */
static uint64_t
gap_locked(struct fetch *f, struct mlc_object *obj, uint64_t from)
{
    uint64_t n = mlc_object_n_pieces(obj);
    uint64_t gap = mlc_object_next_missing(obj, from);
    struct stream *s = f->streams;

    while (s && gap < n) {
        if (!s->is_cancelled && s->next <= gap && gap < s->end) {
            gap = mlc_object_next_missing(obj, s->end);
            s = f->streams;
        } else {
            s = s->next_stream;
        }
    }
    return gap < n ? gap : NONE;
}

static int
plan_background_locked(struct fetch *f, struct mlc_object *obj,
                       uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t gap;

    if (f->n_streams >= (f->no_ranges ? 1 : f->n_target))
        return 0;
    gap = gap_locked(f, obj, f->pos);
    if (gap == NONE)
        gap = gap_locked(f, obj, 0);
    if (gap == NONE)
        return 0;
    *ret_first = f->no_ranges ? 0 : gap;
    *ret_end =
        f->no_ranges ? mlc_object_n_pieces(obj) : range_end_locked(f, obj, gap);
    return 1;
}

/* 1: a stream for [*ret_first, *ret_end) is to be started; 0: nothing. */
static int
plan_locked(struct fetch *f, struct mlc_object *obj, int64_t now,
            uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t n = mlc_object_n_pieces(obj);
    uint64_t want = far_want_locked(f, obj, f->turn, n);
    bool is_background =
        f->conf.is_whole && !f->is_idle && mlc_object_is_open(obj);

    if (want == NONE)
        want = far_want_locked(f, obj, 0, min_u64(f->turn, n));
    if (want == NONE && !is_background)
        return 0;
    if (now < f->not_before_ms) {
        if (want != NONE || gap_locked(f, obj, 0) != NONE)
            arm_timer_locked(f, obj, now);
        return 0;
    }
    if (want != NONE)
        return plan_want_locked(f, obj, want, ret_first, ret_end);
    return plan_background_locked(f, obj, ret_first, ret_end);
}

/* --- starting ------------------------------------------------------------ */

/* The stream begins with what is there of its first span already; at least one
 * byte behind that is asked for. */
static void
take_carry_locked(struct fetch *f, struct mlc_object *obj, struct stream *s)
{
    uint64_t begun = s->first + f->carry_fill / mlc_object_piece_size(obj);
    uint64_t limit = min_u64(range_end_locked(f, obj, s->first),
                             mlc_object_span_end(obj, s->first));

    if (f->carry_fill >= mlc_object_span_len(obj, s->first, limit)) {
        drop_carry_locked(f);
        return;
    }
    s->end = s->asked_end = max_u64(s->end, begun + 1);
    s->stop = min_u64(s->end, limit);
    s->buffer = mlc_steal(&f->carry);
    s->fill = f->carry_fill;
}

/* A listed stream for these pieces, to be started without the lock. */
static struct stream *
stream_new_locked(struct fetch *f, struct mlc_object *obj, uint64_t first,
                  uint64_t end, int64_t now)
{
    struct stream *s = calloc(1, sizeof(*s));
    int64_t left;

    if (!s)
        return NULL;
    s->url = strdup(f->target && !f->no_ranges ? f->target : f->url);
    if (!s->url) {
        free(s);
        return NULL;
    }
    s->is_via_target = f->target != NULL && !f->no_ranges;
    s->f = f;
    s->obj = mlc_object_ref(obj);
    s->first = s->next = first;
    s->end = s->asked_end = end;
    s->retry_after_ms = -1;
    s->refs = 2;
    s->is_starting = true;
    if (f->carry && (f->no_ranges || mlc_object_has(obj, f->carry_index)))
        drop_carry_locked(f);
    if (f->carry && f->carry_index == first)
        take_carry_locked(f, obj, s);
    if (f->n_streams == 0 && f->n_tries == 0)
        f->burst_ms = now;
    /* Idle time is not measured. */
    if (f->n_streams == 0 && now - f->last_end_ms > WARM_UP_MS) {
        f->window_ms = 0;
        f->window_bytes = 0;
    }
    left = time_left_locked(f, obj, now);
    if (left < 1)
        left = 1;
    s->q.url = s->url;
    s->q.is_body = true;
    s->q.netrc = f->netrc;
    /* A small file comes whole: not every server has ranges of those. */
    s->q.has_range = mlc_object_n_pieces(obj) > 1 || s->fill > 0;
    s->q.range_from = first * mlc_object_piece_size(obj) + s->fill;
    s->q.range_to = s->q.range_from - s->fill +
                    mlc_object_span_len(obj, first, s->asked_end);
    s->q.connect_ms = min_ms(CONNECT_MS, left);
    s->q.stall_ms = min_ms(STALL_MS, min_ms(f->conf.timeout_ms / 2, left));
    if (s->q.stall_ms < 1)
        s->q.stall_ms = 1;
    s->q.on_head = stream_head;
    s->q.on_body = stream_body;
    s->q.on_done = stream_done;
    s->next_stream = f->streams;
    f->streams = s;
    f->n_streams++;
    return s;
}

static void
stream_start(struct stream *s)
{
    struct fetch *f = s->f;

    /* The token is for the origin of the URL that we were given. */
    if (f->get_bearer && mlc_url_same_origin(f->url, s->url))
        s->bearer = f->get_bearer(f->arg);
    s->q.bearer = s->bearer;
    mlc_debug("fetch", "%s: bytes %" PRIu64 " to %" PRIu64, f->label,
              s->q.range_from, s->q.range_to);
    if (mlc_net_start(f->conf.net, &s->q) < 0)
        stream_done(&s->q, -ENOMEM);
    pthread_mutex_lock(&f->lock);
    s->is_starting = false;
    /* With the list's reference on_done has not passed the lock yet. */
    if (s->refs == 2 && s->is_cancelled)
        mlc_net_cancel(f->conf.net, &s->q);
    else if (s->refs == 2 && s->is_resumed)
        mlc_net_resume(f->conf.net, &s->q);
    pthread_mutex_unlock(&f->lock);
    stream_unref(s);
}

static void
fetch_run(struct fetch *f, struct mlc_object *obj)
{
    uint64_t first = 0, end = 0;
    struct stream *s;
    int64_t now;

    do {
        s = NULL;
        pthread_mutex_lock(&f->lock);
        now = mlc_mono_ms();
        if (plan_locked(f, obj, now, &first, &end)) {
            s = stream_new_locked(f, obj, first, end, now);
            if (!s) {
                f->not_before_ms = now + PAUSE_MS;
                arm_timer_locked(f, obj, now);
            }
        }
        pthread_mutex_unlock(&f->lock);
        if (s)
            stream_start(s);
    } while (s);
}

static void
fetch_timer(struct mlc_job *job)
{
    struct mlc_timer *t = mlc_container_of(job, struct mlc_timer, job);
    struct fetch *f = mlc_container_of(t, struct fetch, timer);
    struct mlc_object *obj;

    pthread_mutex_lock(&f->lock);
    obj = mlc_steal(&f->timer_obj);
    pthread_mutex_unlock(&f->lock);
    if (!obj)
        return;
    fetch_run(f, obj);
    mlc_object_unref(obj);
}

/* --- the feed ------------------------------------------------------------ */

/* The first span is to come: a part of it may be known already. */
static void
take_head(struct fetch *f, struct mlc_object *obj)
{
    mlc_autofree char *head = NULL;
    size_t len = 0;
    bool is_asked;
    void *buffer;

    if (!f->get_head)
        return;
    pthread_mutex_lock(&f->lock);
    is_asked = f->is_head_asked;
    f->is_head_asked = true;
    pthread_mutex_unlock(&f->lock);
    if (is_asked || mlc_object_has(obj, 0))
        return;
    head = f->get_head(f->arg, f->content, &len);
    if (!head ||
        len >= mlc_object_span_len(obj, 0, mlc_object_span_end(obj, 0)))
        return;
    buffer = mlc_budget_take_buffer(f->conf.budget);
    if (!buffer)
        return;
    memcpy(buffer, head, len);
    MLC_LOCK_SCOPE(&f->lock);
    drop_carry_locked(f);
    f->carry = buffer;
    f->carry_index = 0;
    f->carry_fill = len;
}

static void
fetch_want(void *feed, struct mlc_object *obj, uint64_t index)
{
    struct fetch *f = feed;

    if (buffer_begin(obj, index) == 0)
        take_head(f, obj);
    pthread_mutex_lock(&f->lock);
    f->pos = buffer_begin(obj, index);
    f->is_idle = false;
    pthread_mutex_unlock(&f->lock);
    fetch_run(f, obj);
}

static void
fetch_opened(void *feed, struct mlc_object *obj, bool is_open)
{
    struct mlc_object *timer_obj = NULL;
    struct fetch *f = feed;

    if (is_open && f->conf.is_whole)
        take_head(f, obj);
    pthread_mutex_lock(&f->lock);
    if (is_open)
        f->is_idle = false;
    if (!mlc_object_is_open(obj)) {
        for (struct stream *s = f->streams; s; s = s->next_stream)
            if (mlc_object_next_wanted(obj, s->next, s->end) == NONE)
                stream_cancel_locked(s);
        drop_carry_locked(f);
        f->n_tries = f->n_bad = f->n_resolve = 0;
        if (f->timer_obj && mlc_pool_cancel(f->conf.pool, &f->timer))
            timer_obj = mlc_steal(&f->timer_obj);
    }
    pthread_mutex_unlock(&f->lock);
    mlc_object_unref(timer_obj);
    fetch_run(f, obj);
}

static void
fetch_room(void *feed, struct mlc_object *obj)
{
    struct fetch *f = feed;

    MLC_LOCK_SCOPE(&f->lock);
    for (struct stream *s = f->streams; s; s = s->next_stream)
        if (s->is_starting)
            s->is_resumed = true;
        else
            mlc_net_resume(f->conf.net, &s->q);
}

static void
fetch_free(void *feed)
{
    struct fetch *f = feed;

    if (!f)
        return;
    drop_carry_locked(f);
    free(f->url);
    free(f->label);
    free(f->target);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

const struct mlc_feed_ops mlc_fetch_ops = {
    .want = fetch_want,
    .opened = fetch_opened,
    .free = fetch_free,
    .room = fetch_room,
};

int
mlc_fetch_new(const struct mlc_fetch_conf *conf,
              const struct mlc_fetch_spec *spec, void **ret_feed)
{
    struct fetch *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    pthread_mutex_init(&f->lock, NULL);
    f->conf = *conf;
    if (f->conf.max_connections == 0)
        f->conf.max_connections = 1;
    f->check_validator = spec->check_validator;
    f->get_bearer = spec->get_bearer;
    f->bearer_refused = spec->bearer_refused;
    f->arg = spec->arg;
    f->map_status = spec->map_status;
    f->changed = spec->changed;
    f->get_head = spec->get_head;
    f->content = spec->content;
    f->netrc = spec->netrc;
    f->n_target = 1;
    f->timer.job.run = fetch_timer;
    f->url = strdup(spec->url);
    f->label = strdup(spec->label);
    if (!f->url || !f->label) {
        fetch_free(f);
        return -ENOMEM;
    }
    *ret_feed = f;
    return 0;
}
