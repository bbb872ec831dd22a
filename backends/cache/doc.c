/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/doc.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/budget.h"
#include "backends/cache/memo.h"
#include "backends/cache/pool.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"

#define MAX_PAGES        5000
#define MAX_REQUESTS     64
#define FREE_BYTES       ((size_t)64 * 1024) /* of a body, not in the budget */
#define CHARGE_STEP      ((size_t)64 * 1024)
#define DEFAULT_MEMO_MS  1000
#define JUST_NOW_MS      250
#define MAX_FAST_RETRIES 2 /* of refused connections, unknown hosts */
#define MAX_BACKOFF_MS   4000

enum doc_state {
    DOC_BUSY,    /* in some thread's hands, or the net's */
    DOC_QUEUED,  /* for its turn on the net */
    DOC_BACKOFF, /* its timer runs */
};

/* One key's request or chain of them.  Whoever it is passed to (net, timer,
 * pool job) owns it but for what docs.lock guards. */
struct doc {
    struct mlc_docs *docs;       /* immutable */
    struct doc *prev, *next;     /* docs.lock */
    struct doc *queue_next;      /* docs.lock */
    enum doc_state state;        /* docs.lock */
    struct mlc_waitlist waiters; /* docs.lock */
    bool is_forgotten;           /* docs.lock; a failure is not remembered */
    struct mlc_memo *memo;       /* has the key; ready to be remembered */
    char *first_url;             /* immutable; the bearer's origin */
    char **headers;              /* immutable; NULL-ended, or NULL */
    char *form;                  /* immutable; or NULL */
    size_t max_bytes;            /* immutable */
    void (*finish)(void *, const struct mlc_doc_answer *,
                   struct mlc_doc_verdict *); /* immutable */
    void *arg;                                /* immutable */
    void (*free_arg)(void *);                 /* immutable */
    bool is_status_of_url;                    /* immutable */

    char *bearer;
    char *url;      /* of this page */
    uint64_t *seen; /* hashes of the pages' URLs */
    size_t n_seen, cap_seen;
    int64_t deadline_ms; /* of this page; 0: not begun */
    unsigned n_tries;
    struct mlc_net_request q;
    struct mlc_job job;
    struct mlc_timer timer;

    /* The answer. */
    int r;
    int status;
    int64_t retry_after_ms;
    bool is_redirected;
    bool is_starved; /* the budget refused its last bytes */
    char *answer_url;
    char *head; /* mlc_headers_find() */
    struct mlc_buf body;
    size_t charged; /* taken from the budget */
};

struct mlc_docs {
    pthread_mutex_t lock;          /* leaf */
    struct mlc_net *net;           /* immutable */
    struct mlc_pool *pool;         /* immutable */
    struct mlc_budget *budget;     /* immutable */
    int64_t lookup_ms;             /* immutable */
    bool is_stopped;               /* lock */
    struct doc *running;           /* lock */
    unsigned n_requests;           /* lock; on the net */
    struct doc *queue, *queue_end; /* lock */
    struct mlc_hosts hosts;        /* lock; those that are down */
    struct mlc_memos memos;        /* lock; what keys ended with */
};

static void doc_request(struct doc *doc);

/* --- a document ----------------------------------------------------------- */

static void
drop_body(struct doc *doc)
{
    size_t charged = doc->charged;

    mlc_buf_done(&doc->body);
    mlc_buf_init(&doc->body, doc->max_bytes);
    doc->charged = 0;
    mlc_budget_give(doc->docs->budget, charged);
}

static void
drop_answer(struct doc *doc)
{
    drop_body(doc);
    free(doc->answer_url);
    doc->answer_url = NULL;
    free(doc->head);
    doc->head = NULL;
    doc->status = 0;
    doc->retry_after_ms = -1;
    doc->is_redirected = doc->is_starved = false;
}

static void
drop_bearer(struct doc *doc)
{
    if (doc->bearer)
        explicit_bzero(doc->bearer, strlen(doc->bearer));
    free(doc->bearer);
    doc->bearer = NULL;
}

static void
doc_free(struct doc *doc)
{
    if (!doc)
        return;
    drop_answer(doc);
    drop_bearer(doc);
    free(doc->waiters.items);
    free(doc->memo);
    free(doc->first_url);
    for (char **h = doc->headers; h && *h; h++)
        free(*h);
    free(doc->headers);
    free(doc->form);
    free(doc->url);
    free(doc->seen);
    if (doc->free_arg)
        doc->free_arg(doc->arg);
    free(doc);
}

static int
copy_headers(struct doc *doc, const char *const *headers)
{
    size_t n = 0;

    if (!headers)
        return 0;
    while (headers[n])
        n++;
    doc->headers = calloc(n + 1, sizeof(*doc->headers));
    if (!doc->headers)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        doc->headers[i] = strdup(headers[i]);
        if (!doc->headers[i])
            return -ENOMEM;
    }
    return 0;
}

static int
remember_page(struct doc *doc, const char *url)
{
    uint64_t hash = mlc_memo_hash(url);

    for (size_t i = 0; i < doc->n_seen; i++) {
        if (doc->seen[i] == hash)
            return -EIO;
    }
    if (doc->n_seen >= MAX_PAGES)
        return -EIO;
    if (doc->n_seen == doc->cap_seen) {
        size_t cap = doc->cap_seen ? 4 * doc->cap_seen : 4;
        uint64_t *seen = reallocarray(doc->seen, cap, sizeof(*seen));

        if (!seen)
            return -ENOMEM;
        doc->seen = seen;
        doc->cap_seen = cap;
    }
    doc->seen[doc->n_seen++] = hash;
    return 0;
}

/* Takes spec's arg over if and only if it succeeds. */
static struct doc *
doc_new(struct mlc_docs *d, const struct mlc_doc_spec *spec)
{
    struct doc *doc = calloc(1, sizeof(*doc));

    if (!doc)
        return NULL;
    doc->docs = d;
    doc->max_bytes = spec->max_bytes;
    doc->retry_after_ms = -1;
    mlc_buf_init(&doc->body, spec->max_bytes);
    doc->memo = mlc_memo_new(spec->key);
    doc->first_url = strdup(spec->url);
    doc->url = strdup(spec->url);
    if (spec->bearer)
        doc->bearer = strdup(spec->bearer);
    if (spec->form)
        doc->form = strdup(spec->form);
    if (!doc->memo || !doc->first_url || !doc->url ||
        (spec->bearer && !doc->bearer) || (spec->form && !doc->form) ||
        copy_headers(doc, spec->headers) < 0 ||
        remember_page(doc, spec->url) < 0) {
        doc_free(doc);
        return NULL;
    }
    doc->q.netrc = spec->netrc;
    doc->q.is_slash_final = spec->is_slash_final;
    doc->is_status_of_url = spec->is_status_of_url;
    doc->q.has_range = spec->has_range;
    doc->q.range_from = spec->range_from;
    doc->q.range_to = spec->range_to;
    doc->finish = spec->finish;
    doc->arg = spec->arg;
    doc->free_arg = spec->free_arg;
    return doc;
}

/* The end: in one step the key is not running any more, its result is known,
 * and nobody new can wait for it. */
static void
complete(struct doc *doc, int r, int64_t memo_ms)
{
    struct mlc_docs *d = doc->docs;
    struct mlc_waitlist waiters;

    {
        MLC_LOCK_SCOPE(&d->lock);
        if (doc->prev)
            doc->prev->next = doc->next;
        else
            d->running = doc->next;
        if (doc->next)
            doc->next->prev = doc->prev;
        if (!d->is_stopped && !(doc->is_forgotten && r < 0))
            mlc_memos_put(&d->memos, mlc_steal(&doc->memo), r, memo_ms);
        mlc_waitlist_take(&doc->waiters, &waiters);
    }
    mlc_waitlist_wake(&waiters);
    doc_free(doc);
}

/* --- after the answer (pool) ---------------------------------------------- */

static const char *
answer_header(const struct mlc_doc_answer *a, const char *name)
{
    const struct doc *doc = a->priv;

    return mlc_headers_find(doc->head, name);
}

/* Goes on as finish wishes: the next page, or the same without a token. */
static int
go_on(struct doc *doc, struct mlc_doc_verdict *v)
{
    struct mlc_docs *d = doc->docs;
    struct mlc_waitlist waiters = {0};
    int r;

    if (v->is_retry_anonymous) {
        if (!doc->bearer)
            return -EIO;
        drop_bearer(doc);
    } else if (v->next_url) {
        r = remember_page(doc, v->next_url);
        if (r < 0)
            return r;
        free(doc->url);
        doc->url = mlc_steal(&v->next_url);
        if (!mlc_url_same_origin(doc->first_url, doc->url))
            drop_bearer(doc);
    } else {
        return -EIO;
    }
    doc->deadline_ms = 0;
    doc->n_tries = 0;
    if (!v->is_retry_anonymous) {
        MLC_LOCK_SCOPE(&d->lock);
        mlc_waitlist_take(&doc->waiters, &waiters);
    }
    doc_request(doc);
    /* They ask again, and wait again if what they need is not there yet. */
    mlc_waitlist_wake(&waiters);
    return 0;
}

static void
run_finish(struct mlc_job *job)
{
    struct doc *doc = mlc_container_of(job, struct doc, job);
    struct mlc_doc_answer a = {
        .r = doc->r,
        .status = doc->status,
        .body = doc->body.data ? doc->body.data : "",
        .len = doc->body.len,
        .url = doc->answer_url ? doc->answer_url : doc->url,
        .is_redirected = doc->is_redirected,
        .header = answer_header,
        .priv = doc,
    };
    struct mlc_doc_verdict v = {0};
    int r;

    doc->finish(doc->arg, &a, &v);
    drop_answer(doc);
    r = v.r;
    if (r == -EINPROGRESS) {
        r = go_on(doc, &v);
        if (r == 0) /* no longer ours */
            return;
        v.memo_ms = 0;
    }
    free(v.next_url);
    if (r >= 0)
        complete(doc, 0, JUST_NOW_MS);
    else
        /* -EAGAIN from the memo would leave askers waiting for nothing. */
        complete(doc, r == -EAGAIN ? -EIO : r,
                 v.memo_ms > 0 ? v.memo_ms : DEFAULT_MEMO_MS);
}

/* --- the request (network thread) ----------------------------------------- */

static int
on_head(struct mlc_net_request *q, const struct mlc_net_head *h)
{
    struct doc *doc = mlc_container_of(q, struct doc, q);

    doc->status = h->status;
    doc->is_redirected = h->is_redirected;
    doc->retry_after_ms = h->retry_after_ms;
    doc->answer_url = strdup(h->url);
    if (!doc->answer_url)
        return -ENOMEM;
    if (h->status < 300 && h->content_length != UINT64_MAX &&
        h->content_length > doc->max_bytes)
        return -EFBIG;
    return 0;
}

static int
on_body(struct mlc_net_request *q, const void *data, size_t len)
{
    struct doc *doc = mlc_container_of(q, struct doc, q);

    if (len > doc->max_bytes - doc->body.len) {
        if (doc->status < 300)
            return -EFBIG;
        len = doc->max_bytes - doc->body.len;
        if (len == 0)
            return 0;
    }
    while (doc->body.len + len > FREE_BYTES + doc->charged) {
        if (!mlc_budget_take(doc->docs->budget, CHARGE_STEP)) {
            doc->is_starved = true;
            return -EAGAIN;
        }
        doc->charged += CHARGE_STEP;
    }
    doc->is_starved = false;
    return mlc_buf_append(&doc->body, data, len);
}

static void
host_mark(struct mlc_docs *d, const char *url, int r)
{
    mlc_autofree char *origin = mlc_url_origin(url);
    MLC_LOCK_SCOPE(&d->lock);

    if (origin)
        mlc_hosts_mark(&d->hosts, origin, r);
}

/* Can the fault be the host's (so that others are spared it for a while)? */
static bool
is_host_failure(const struct doc *doc)
{
    switch (doc->r) {
    case 0:
        return doc->status == 408 || doc->status == 429 || doc->status >= 500;
    case -ETIMEDOUT:
        return !doc->is_starved;
    case -EHOSTUNREACH:
    case -ECONNREFUSED:
    case -ECONNRESET:
        return true;
    default:
        return false;
    }
}

/* Does another try help only by luck? */
static bool
is_hopeless(const struct doc *doc)
{
    return doc->r == -ECONNREFUSED || doc->r == -EHOSTUNREACH ||
           (doc->r == 0 && doc->is_status_of_url && doc->status >= 500 &&
            (doc->status < 502 || doc->status > 504));
}

/* How long to wait before the next try; -1: no more. */
static int64_t
retry_wait(const struct doc *doc)
{
    unsigned n = doc->n_tries - 1;
    int64_t wait = MAX_BACKOFF_MS;

    if (!is_host_failure(doc))
        return -1;
    if (is_hopeless(doc) && n >= MAX_FAST_RETRIES)
        return -1;
    if (n < 4)
        wait = (int64_t)250 << n;
    if (doc->r == 0 && doc->retry_after_ms >= 0)
        wait = doc->retry_after_ms;
    return wait < doc->deadline_ms - mlc_mono_ms() ? wait : -1;
}

static void
run_retry(struct mlc_job *job)
{
    struct mlc_timer *timer = mlc_container_of(job, struct mlc_timer, job);

    doc_request(mlc_container_of(timer, struct doc, timer));
}

static void on_done(struct mlc_net_request *q, int r);

/* Sends it; it has its place among the requests.  0, or -ENOMEM (then it is
 * still the caller's). */
static int
launch(struct doc *doc)
{
    struct mlc_docs *d = doc->docs;
    int64_t now = mlc_mono_ms();
    struct mlc_net_request *q = &doc->q;

    if (doc->deadline_ms == 0)
        doc->deadline_ms = now + d->lookup_ms;
    doc->n_tries++;
    drop_answer(doc);
    q->url = doc->url;
    q->bearer = doc->bearer;
    q->headers = (const char *const *)doc->headers;
    q->form = doc->form;
    q->total_ms = doc->deadline_ms > now ? doc->deadline_ms - now : 1;
    q->on_head = on_head;
    q->on_body = on_body;
    q->on_done = on_done;
    return mlc_net_start(d->net, q);
}

/* Gives a place up; returns who has it now, or NULL. */
static struct doc *
next_in_queue(struct mlc_docs *d)
{
    struct doc *next;
    MLC_LOCK_SCOPE(&d->lock);

    d->n_requests--;
    next = d->queue;
    if (d->is_stopped || !next)
        return NULL;
    d->queue = next->queue_next;
    if (!d->queue)
        d->queue_end = NULL;
    next->state = DOC_BUSY;
    d->n_requests++;
    return next;
}

static void
leave_net(struct mlc_docs *d)
{
    struct doc *next;

    while ((next = next_in_queue(d)) && launch(next) < 0)
        complete(next, -ENOMEM, DEFAULT_MEMO_MS);
}

static void
on_done(struct mlc_net_request *q, int r)
{
    struct doc *doc = mlc_container_of(q, struct doc, q);
    struct mlc_docs *d = doc->docs;
    int64_t wait;

    if (r == -ECANCELED) {
        /* The net is stopping: the queue is mlc_docs_stop()'s. */
        complete(doc, -EIO, 0);
        return;
    }
    if (r == -ENOMEM) {
        complete(doc, r, DEFAULT_MEMO_MS);
        leave_net(d);
        return;
    }
    doc->r = r;
    doc->head = mlc_net_take_headers(q);
    wait = retry_wait(doc);
    if (wait >= 0) {
        {
            MLC_LOCK_SCOPE(&d->lock);
            doc->state = DOC_BACKOFF;
        }
        doc->timer.job.run = run_retry;
        mlc_pool_after(d->pool, &doc->timer, wait);
    } else {
        if (is_host_failure(doc) && (r < 0 || !doc->is_status_of_url))
            host_mark(d, mlc_net_url(q), r < 0 ? r : -EIO);
        doc->job.run = run_finish;
        mlc_pool_submit(d->pool, MLC_LANE_QUICK, &doc->job);
    }
    leave_net(d);
}

/* Sends it now or when it is its turn.  The caller's hold on it ends here. */
static void
doc_request(struct doc *doc)
{
    struct mlc_docs *d = doc->docs;
    bool is_stopped;

    {
        MLC_LOCK_SCOPE(&d->lock);
        is_stopped = d->is_stopped;
        doc->state = DOC_BUSY;
        if (!is_stopped && d->n_requests >= MAX_REQUESTS) {
            doc->state = DOC_QUEUED;
            doc->queue_next = NULL;
            if (d->queue_end)
                d->queue_end->queue_next = doc;
            else
                d->queue = doc;
            d->queue_end = doc;
            return;
        }
        if (!is_stopped)
            d->n_requests++;
    }
    if (is_stopped) {
        complete(doc, -EIO, 0);
    } else if (launch(doc) < 0) {
        complete(doc, -ENOMEM, DEFAULT_MEMO_MS);
        leave_net(d);
    }
}

/* --- asking --------------------------------------------------------------- */

/* What there is to say without starting anything; false: nothing. */
static bool
answer_known_locked(struct mlc_docs *d, struct mlc_ask *ask, const char *key,
                    uint64_t hash, int *ret)
{
    struct mlc_memo *m;

    if (d->is_stopped) {
        *ret = -EIO;
        return true;
    }
    for (struct doc *doc = d->running; doc; doc = doc->next) {
        if (doc->memo->hash != hash || strcmp(doc->memo->key, key) != 0)
            continue;
        *ret = ask && !ask->only_known ? mlc_waitlist_add(&doc->waiters, ask)
                                       : -EAGAIN;
        return true;
    }
    m = mlc_memos_find(&d->memos, key, hash);
    /* "Just came" is said a bounded number of times, else a caller whose
     * state lapses at once would go round for ever. */
    if (m && (m->r < 0 || m->n_left-- > 0)) {
        *ret = m->r;
        return true;
    }
    if (m)
        mlc_memos_drop(&d->memos, m);
    if (ask && ask->only_known) {
        *ret = -EAGAIN;
        return true;
    }
    return false;
}

static int
ask_doc(struct mlc_docs *d, struct mlc_ask *ask,
        const struct mlc_doc_spec *spec)
{
    mlc_autofree char *origin = NULL;
    uint64_t hash = mlc_memo_hash(spec->key);
    struct doc *doc;
    bool is_known;
    int r = -EAGAIN;

    {
        MLC_LOCK_SCOPE(&d->lock);
        is_known = answer_known_locked(d, ask, spec->key, hash, &r);
    }
    doc = is_known ? NULL : doc_new(d, spec);
    if (!doc) {
        if (spec->free_arg)
            spec->free_arg(spec->arg);
        return is_known ? r : -ENOMEM;
    }

    origin = mlc_url_origin(spec->url);
    {
        MLC_LOCK_SCOPE(&d->lock);
        is_known = answer_known_locked(d, ask, spec->key, hash, &r);
        if (!is_known) {
            r = origin ? mlc_hosts_result(&d->hosts, origin) : 0;
            is_known = r < 0;
        }
        if (!is_known) {
            r = ask ? mlc_waitlist_add(&doc->waiters, ask) : -EAGAIN;
            doc->next = d->running;
            if (doc->next)
                doc->next->prev = doc;
            d->running = doc;
        }
    }
    if (is_known)
        doc_free(doc);
    else
        doc_request(doc);
    return r;
}

void
mlc_doc_forget(struct mlc_docs *d, const char *prefix)
{
    size_t len = strlen(prefix);
    MLC_LOCK_SCOPE(&d->lock);

    mlc_memos_forget(&d->memos, prefix);
    for (struct doc *doc = d->running; doc; doc = doc->next) {
        if (!strncmp(doc->memo->key, prefix, len))
            doc->is_forgotten = true;
    }
}

int
mlc_doc_ask(struct mlc_docs *d, struct mlc_ask *ask,
            const struct mlc_doc_spec *spec)
{
    return ask_doc(d, ask, spec);
}

void
mlc_doc_refresh(struct mlc_docs *d, const struct mlc_doc_spec *spec)
{
    (void)ask_doc(d, NULL, spec);
}

/* --- life ----------------------------------------------------------------- */

int
mlc_docs_new(struct mlc_net *net, struct mlc_pool *pool,
             struct mlc_budget *budget, int64_t lookup_ms,
             struct mlc_docs **ret)
{
    struct mlc_docs *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    if (pthread_mutex_init(&d->lock, NULL) != 0) {
        free(d);
        return -ENOMEM;
    }
    d->net = net;
    d->pool = pool;
    d->budget = budget;
    d->lookup_ms = lookup_ms;
    *ret = d;
    return 0;
}

/* Takes one waiting document out of its queue or its timer; NULL: there is
 * none.  One whose timer went off just now ends by itself. */
static struct doc *
take_idle(struct mlc_docs *d)
{
    MLC_LOCK_SCOPE(&d->lock);

    d->queue = d->queue_end = NULL;
    for (struct doc *doc = d->running; doc; doc = doc->next) {
        bool is_queued = doc->state == DOC_QUEUED;
        bool is_timed = doc->state == DOC_BACKOFF;

        if (!is_queued && !is_timed)
            continue;
        doc->state = DOC_BUSY;
        /* pool.lock is a leaf, too; nothing in it comes back here. */
        if (is_queued || mlc_pool_cancel(d->pool, &doc->timer))
            return doc;
    }
    return NULL;
}

/* One list of waiters (of those still with the pool); false: there is none. */
static bool
take_waiters(struct mlc_docs *d, struct mlc_waitlist *ret)
{
    MLC_LOCK_SCOPE(&d->lock);

    for (struct doc *doc = d->running; doc; doc = doc->next) {
        if (doc->waiters.n > 0) {
            mlc_waitlist_take(&doc->waiters, ret);
            return true;
        }
    }
    return false;
}

void
mlc_docs_stop(struct mlc_docs *d)
{
    struct mlc_waitlist waiters;
    struct doc *doc;

    if (!d)
        return;
    {
        MLC_LOCK_SCOPE(&d->lock);
        d->is_stopped = true;
    }
    while ((doc = take_idle(d)))
        complete(doc, -EIO, 0);
    while (take_waiters(d, &waiters))
        mlc_waitlist_wake(&waiters);
}

void
mlc_docs_free(struct mlc_docs *d)
{
    struct doc *doc;

    if (!d)
        return;
    mlc_docs_stop(d);
    while ((doc = d->running)) {
        d->running = doc->next;
        doc_free(doc);
    }
    mlc_hosts_done(&d->hosts);
    mlc_memos_done(&d->memos);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
