/* SPDX-License-Identifier: MIT */
/* Documents against a scripted server, with a toy backend that keeps what it
 * learnt in a table. */
#include "config.h"

#include "backends/cache/doc.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/cache/budget.h"
#include "backends/cache/pool.h"
#include "backends/util/clock.h"
#include "tests/http-server.h"

#define TOO_LONG_MS 30000
#define LOOKUP_MS   10000

struct fixture {
    struct mlc_pool *pool;
    struct mlc_budget *budget;
    struct mlc_net *net;
    struct mlc_docs *docs;
    struct http_server *a, *b;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_held;            /* lock; answers wait */
    bool is_finish_held;     /* lock; finish waits */
    unsigned n_finishing;    /* lock */
    unsigned n_finished;     /* lock */
    unsigned n_free_args;    /* lock */
    unsigned n_tokens_on_b;  /* lock */
    char known[64][16];      /* lock; keys that the backend has learnt */
    char text[256];          /* lock; of the last finish */
    int last_r, last_status; /* lock */
};

/* --- the backend ---------------------------------------------------------- */

struct arg {
    struct fixture *f;
    char key[16];
    char next[2][300]; /* pages to ask for after the first */
    unsigned n_pages;
    bool is_anonymous_ok;
    bool is_endless;
};

static void
learn_locked(struct fixture *f, const char *key)
{
    for (int i = 0; i < 64; i++) {
        if (!f->known[i][0]) {
            snprintf(f->known[i], sizeof(f->known[i]), "%s", key);
            return;
        }
    }
}

static bool
is_known(struct fixture *f, const char *key)
{
    bool is = false;

    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < 64; i++)
        is |= !strcmp(f->known[i], key);
    pthread_mutex_unlock(&f->lock);
    return is;
}

static void
finish(void *p, const struct mlc_doc_answer *a, struct mlc_doc_verdict *ret)
{
    struct arg *arg = p;
    struct fixture *f = arg->f;
    const char *page = a->header(a, "x-page");

    pthread_mutex_lock(&f->lock);
    f->n_finishing++;
    pthread_cond_broadcast(&f->cond);
    while (f->is_finish_held)
        pthread_cond_wait(&f->cond, &f->lock);
    f->n_finished++;
    f->last_r = a->r;
    f->last_status = a->status;
    snprintf(f->text, sizeof(f->text), "%s%s", a->len < 100 ? a->body : "long",
             page ? page : "");
    if (a->r < 0) {
        ret->r = a->r;
    } else if (a->status == 401 && arg->is_anonymous_ok) {
        ret->r = -EINPROGRESS;
        ret->is_retry_anonymous = true;
    } else if (a->status == 404) {
        ret->r = -ENOENT;
        ret->memo_ms = 3600000;
    } else if (a->status != 200) {
        ret->r = -EIO;
    } else if (arg->is_endless) {
        char next[300];
        unsigned n = arg->n_pages++;

        snprintf(next, sizeof(next), "%s/page?%u", http_server_url(f->a), n);
        ret->r = -EINPROGRESS;
        ret->next_url = strdup(next);
    } else if (arg->n_pages < 2 && arg->next[arg->n_pages][0]) {
        ret->r = -EINPROGRESS;
        ret->next_url = strdup(arg->next[arg->n_pages++]);
    } else {
        learn_locked(f, arg->key);
    }
    pthread_mutex_unlock(&f->lock);
}

static void
free_arg(void *p)
{
    struct arg *arg = p;

    pthread_mutex_lock(&arg->f->lock);
    arg->f->n_free_args++;
    pthread_mutex_unlock(&arg->f->lock);
    free(arg);
}

struct waiter {
    struct mlc_wait w; /* first */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned n_wakes; /* lock */
};

static void
waiter_wake(struct mlc_wait *w)
{
    struct waiter *k = (struct waiter *)(void *)w;

    pthread_mutex_lock(&k->lock);
    k->n_wakes++;
    pthread_cond_broadcast(&k->cond);
    pthread_mutex_unlock(&k->lock);
}

static void
waiter_free(struct mlc_wait *w)
{
    struct waiter *k = (struct waiter *)(void *)w;

    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->cond);
    free(k);
}

static struct waiter *
waiter_new(void)
{
    struct waiter *k = calloc(1, sizeof(*k));
    pthread_condattr_t attr;

    if (!k)
        abort();
    atomic_init(&k->w.refs, 1);
    k->w.wake = waiter_wake;
    k->w.free = waiter_free;
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->cond, &attr);
    pthread_condattr_destroy(&attr);
    return k;
}

/* Until it was woken n times; false: it was not. */
static bool
waiter_wait(struct waiter *k, unsigned n)
{
    struct timespec ts = mlc_mono_after(TOO_LONG_MS);
    int r = 0;

    pthread_mutex_lock(&k->lock);
    while (k->n_wakes < n && r == 0)
        r = pthread_cond_timedwait(&k->cond, &k->lock, &ts);
    pthread_mutex_unlock(&k->lock);
    return r == 0;
}

static struct mlc_wait *
get_wait(struct mlc_ask *ask)
{
    return &((struct waiter *)ask->arg)->w;
}

static struct arg *
arg_new(struct fixture *f, const char *key)
{
    struct arg *arg = calloc(1, sizeof(*arg));

    if (!arg)
        abort();
    arg->f = f;
    snprintf(arg->key, sizeof(arg->key), "%s", key);
    return arg;
}

/* One ask for base + path under key; arg NULL: a plain one.  k NULL: only
 * what is known. */
static int
ask_at(struct fixture *f, const char *base, const char *path, const char *key,
       struct arg *arg, struct waiter *k)
{
    char url[256];
    struct mlc_ask ask = {.get_wait = k ? get_wait : NULL,
                          .arg = k,
                          .deadline_ms = MLC_NEVER_MS,
                          .only_known = !k};
    struct mlc_doc_spec spec = {
        .key = key,
        .url = url,
        .bearer = "hf_secret",
        .max_bytes = 1024 * 1024,
        .finish = finish,
        .arg = arg ? arg : arg_new(f, key),
        .free_arg = free_arg,
    };

    snprintf(url, sizeof(url), "%s%s", base, path);
    return mlc_doc_ask(f->docs, &ask, &spec);
}

static int
ask(struct fixture *f, const char *path, const char *key, struct arg *arg,
    struct waiter *k)
{
    return ask_at(f, http_server_url(f->a), path, key, arg, k);
}

/* Asks as a look-up does, until there is an answer: 0 or the failure. */
static int
look_up(struct fixture *f, const char *path, const char *key, struct arg *arg)
{
    struct waiter *k = waiter_new();
    unsigned n = 0;
    int r = 0;

    while (!is_known(f, key)) {
        r = ask(f, path, key, arg, k);
        arg = NULL;
        if (r == -EAGAIN && waiter_wait(k, ++n))
            r = 0;
        if (r < 0)
            break;
    }
    mlc_wait_unref(&k->w);
    return r;
}

/* --- the servers ---------------------------------------------------------- */

static bool
answer(struct http_call *c)
{
    struct fixture *f = c->arg;
    const char *p = c->path;

    pthread_mutex_lock(&f->lock);
    if (c->server == f->b)
        f->n_tokens_on_b += http_has_header(c, "Authorization");
    while (f->is_held)
        pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);

    if (!strncmp(p, "/page", 5)) {
        http_answer(c, 200, "X-Page: 1\r\n", p + 5);
    } else if (!strcmp(p, "/private")) {
        if (http_has_header(c, "Authorization"))
            http_answer(c, 401, "", "bad token");
        else
            http_answer(c, 200, "", "public");
    } else if (!strcmp(p, "/none")) {
        http_answer(c, 404, "", "none");
    } else if (!strcmp(p, "/busy")) {
        if (c->n < 2)
            http_answer(c, 429, "Retry-After: 0\r\n", "");
        else
            http_answer(c, 200, "", "at last");
    } else if (!strcmp(p, "/very-busy")) {
        http_answer(c, 429, "Retry-After: 3600\r\n", "");
    } else if (!strcmp(p, "/broken")) {
        http_answer(c, 500, "", "");
    } else if (!strcmp(p, "/flaky")) {
        if (c->n == 0)
            return false;
        http_answer(c, 200, "", "second time");
    } else if (!strcmp(p, "/silent")) {
        http_wait_gone(c);
        return false;
    } else if (!strcmp(p, "/big") || !strcmp(p, "/too-big")) {
        size_t len = !strcmp(p, "/big") ? 1024 * 1024 : 1024 * 1024 + 1;
        char *text = calloc(1, len + 1);

        if (!text)
            abort();
        memset(text, 'x', len);
        if (!strcmp(p, "/big")) {
            http_answer(c, 200, "", text);
        } else { /* without saying so beforehand */
            http_send(c, "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
            http_send_bytes(c, text, len);
        }
        free(text);
        return !strcmp(p, "/big");
    }
    return true;
}

static int
setup_with(void **state, int64_t lookup_ms, uint64_t memory)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->cond, NULL);
    f->a = http_server_new(answer, f);
    f->b = http_server_new(answer, f);
    assert_int_equal(mlc_pool_new(3, 1, &f->pool), 0);
    assert_int_equal(mlc_budget_new(memory, &f->budget), 0);
    assert_int_equal(mlc_net_new(&f->net), 0);
    assert_int_equal(
        mlc_docs_new(f->net, f->pool, f->budget, lookup_ms, &f->docs), 0);
    *state = f;
    return 0;
}

static int
setup(void **state)
{
    return setup_with(state, LOOKUP_MS, 16 * 1024 * 1024);
}

static int
setup_hasty(void **state)
{
    return setup_with(state, 400, 16 * 1024 * 1024);
}

static void
set(struct fixture *f, bool *what, bool value)
{
    pthread_mutex_lock(&f->lock);
    *what = value;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static void
stop(struct fixture *f)
{
    mlc_net_stop(f->net);
    mlc_docs_stop(f->docs);
    set(f, &f->is_finish_held, false);
    mlc_pool_stop(f->pool);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    stop(f);
    mlc_pool_free(f->pool);
    mlc_docs_free(f->docs);
    mlc_net_free(f->net);
    assert_int_equal(mlc_budget_used(f->budget), 0);
    mlc_budget_free(f->budget);
    set(f, &f->is_held, false);
    http_server_free(f->a);
    http_server_free(f->b);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free(f);
    return 0;
}

/* --- tests ---------------------------------------------------------------- */

static void
many_askers_cause_one_request(void **state)
{
    struct fixture *f = *state;
    struct waiter *k[64];

    set(f, &f->is_held, true);
    for (int i = 0; i < 64; i++) {
        k[i] = waiter_new();
        assert_int_equal(ask(f, "/page", "k", NULL, k[i]), -EAGAIN);
    }
    set(f, &f->is_held, false);
    for (int i = 0; i < 64; i++) {
        assert_true(waiter_wait(k[i], 1));
        mlc_wait_unref(&k[i]->w);
    }
    assert_true(is_known(f, "k"));
    assert_int_equal(http_server_count(f->a), 1);
    assert_int_equal(f->n_finished, 1);
    stop(f); /* the last argument is freed after the wake */
    assert_int_equal(f->n_free_args, 64);
    assert_string_equal(f->text, "1");
}

static void
a_late_look_is_not_a_second_request(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();
    int64_t begin = mlc_mono_ms();
    int r;

    /* Somebody looked before the answer came, and asks after it did. */
    assert_int_equal(look_up(f, "/page", "k", NULL), 0);
    r = ask(f, "/page", "k", NULL, k);
    if (mlc_mono_ms() - begin < 250) { /* else too slow to tell */
        assert_int_equal(r, 0);
        assert_int_equal(http_server_count(f->a), 1);
    }
    mlc_wait_unref(&k->w);
}

static void
an_asker_during_finish_is_woken(void **state)
{
    struct fixture *f = *state;
    struct waiter *first = waiter_new(), *late = waiter_new();

    set(f, &f->is_finish_held, true);
    assert_int_equal(ask(f, "/page", "k", NULL, first), -EAGAIN);
    pthread_mutex_lock(&f->lock);
    while (f->n_finishing == 0)
        pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(ask(f, "/page", "k", NULL, late), -EAGAIN);
    set(f, &f->is_finish_held, false);
    assert_true(waiter_wait(first, 1));
    assert_true(waiter_wait(late, 1));
    assert_int_equal(f->n_finished, 1);
    mlc_wait_unref(&first->w);
    mlc_wait_unref(&late->w);
}

struct racer {
    struct fixture *f;
    pthread_t thread;
    int r;
};

static void *
race(void *p)
{
    struct racer *t = p;

    for (int i = 0; i < 60 && t->r == 0; i++) {
        char key[16], path[32];

        snprintf(key, sizeof(key), "k%d", i);
        snprintf(path, sizeof(path), "/page%d", i);
        t->r = look_up(t->f, path, key, NULL);
    }
    return NULL;
}

static void
no_wake_is_lost(void **state)
{
    struct fixture *f = *state;
    struct racer t[8];

    for (int i = 0; i < 8; i++) {
        t[i] = (struct racer){.f = f};
        assert_int_equal(pthread_create(&t[i].thread, NULL, race, &t[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(t[i].thread, NULL);
        assert_int_equal(t[i].r, 0);
    }
    assert_in_range(http_server_count(f->a), 60, 8 * 60);
}

static void
failures_are_remembered(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();

    assert_int_equal(look_up(f, "/none", "nk", NULL), -ENOENT);
    assert_int_equal(look_up(f, "/none", "nk", NULL), -ENOENT);
    assert_int_equal(ask(f, "/none", "nk", NULL, NULL), -ENOENT);
    assert_int_equal(http_server_count(f->a), 1);
    mlc_doc_forget(f->docs, "x");
    assert_int_equal(ask(f, "/none", "nk", NULL, k), -ENOENT);
    mlc_doc_forget(f->docs, "n");
    assert_int_equal(look_up(f, "/none", "nk", NULL), -ENOENT);
    assert_int_equal(http_server_count(f->a), 2);
    /* A 404 is the key's, not the host's. */
    assert_int_equal(look_up(f, "/page", "k", NULL), 0);
    mlc_wait_unref(&k->w);
}

static void
what_is_forgotten_under_way_is_not_remembered(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();

    set(f, &f->is_held, true);
    assert_int_equal(ask(f, "/none", "k", NULL, k), -EAGAIN);
    mlc_doc_forget(f->docs, "k");
    set(f, &f->is_held, false);
    assert_true(waiter_wait(k, 1));
    assert_int_equal(ask(f, "/none", "k", NULL, k), -EAGAIN);
    assert_true(waiter_wait(k, 2));
    assert_int_equal(ask(f, "/none", "k", NULL, k), -ENOENT);
    assert_int_equal(http_server_count(f->a), 2);
    mlc_wait_unref(&k->w);
}

static void
only_known_starts_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "/page", "k", NULL, NULL), -EAGAIN);
    assert_int_equal(f->n_free_args, 1);
    assert_int_equal(http_server_count(f->a), 0);
}

static void
refresh_needs_no_waiter(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct mlc_doc_spec spec = {.key = "k",
                                .url = url,
                                .max_bytes = 1000,
                                .finish = finish,
                                .free_arg = free_arg};

    snprintf(url, sizeof(url), "%s/page", http_server_url(f->a));
    set(f, &f->is_held, true);
    spec.arg = arg_new(f, "k");
    mlc_doc_refresh(f->docs, &spec);
    spec.arg = arg_new(f, "k");
    mlc_doc_refresh(f->docs, &spec);
    set(f, &f->is_held, false);
    assert_int_equal(look_up(f, "/page", "k", NULL), 0);
    assert_int_equal(http_server_count(f->a), 1);
}

static void
pages_follow_each_other(void **state)
{
    struct fixture *f = *state;
    struct arg *arg = arg_new(f, "k");

    snprintf(arg->next[0], sizeof(arg->next[0]), "%s/page?2",
             http_server_url(f->a));
    snprintf(arg->next[1], sizeof(arg->next[1]), "%s/page?3",
             http_server_url(f->b));
    assert_int_equal(look_up(f, "/page", "k", arg), 0);
    assert_int_equal(f->n_finished, 3);
    assert_string_equal(f->text, "?31");
    assert_int_equal(f->n_tokens_on_b, 0);
    assert_int_equal(http_server_count(f->b), 1);
}

static void
the_same_page_twice_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct arg *arg = arg_new(f, "k");

    snprintf(arg->next[0], sizeof(arg->next[0]), "%s/page",
             http_server_url(f->a));
    assert_int_equal(look_up(f, "/page", "k", arg), -EIO);
    assert_int_equal(http_server_count(f->a), 1);
}

static void
pages_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct arg *arg = arg_new(f, "k");

    arg->is_endless = true;
    assert_int_equal(look_up(f, "/page", "k", arg), -EIO);
    assert_int_equal(http_server_count(f->a), 5000);
}

static void
anonymous_retry_has_no_token(void **state)
{
    struct fixture *f = *state;
    struct arg *arg = arg_new(f, "k");

    arg->is_anonymous_ok = true;
    assert_int_equal(look_up(f, "/private", "k", arg), 0);
    assert_string_equal(f->text, "public");
    assert_int_equal(http_server_count(f->a), 2);
}

static void
retry_after_is_honoured(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(look_up(f, "/busy", "k", NULL), 0);
    assert_string_equal(f->text, "at last");
    assert_int_equal(http_server_count(f->a), 3);
}

static void
a_closed_connection_is_tried_again(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(look_up(f, "/flaky", "k", NULL), 0);
    assert_string_equal(f->text, "second time");
}

static void
a_busy_host_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();
    int64_t begin = mlc_mono_ms();

    /* An hour does not fit: no more tries. */
    assert_int_equal(look_up(f, "/very-busy", "k", NULL), -EIO);
    assert_true(mlc_mono_ms() - begin < LOOKUP_MS / 2);
    assert_int_equal(f->last_status, 429);
    assert_int_equal(ask(f, "/page", "other", NULL, k), -EIO);
    assert_int_equal(http_server_count(f->a), 1);
    assert_int_equal(ask_at(f, http_server_url(f->b), "/page", "k2", NULL, k),
                     -EAGAIN);
    assert_true(waiter_wait(k, 1));
    assert_int_equal(http_server_count(f->b), 1);
    mlc_wait_unref(&k->w);
}

static void
a_broken_host_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();
    unsigned n;

    assert_int_equal(look_up(f, "/broken", "k", NULL), -EIO);
    assert_int_equal(f->last_status, 500);
    n = http_server_count(f->a); /* 0.25 s later fits, 0.5 more does not */
    assert_in_range(n, 1, 2);
    assert_int_equal(ask(f, "/page", "other", NULL, k), -EIO);
    assert_int_equal(http_server_count(f->a), n);
    mlc_wait_unref(&k->w);
}

static void
a_silent_host_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();

    assert_int_equal(look_up(f, "/silent", "k", NULL), -ETIMEDOUT);
    assert_int_equal(f->last_r, -ETIMEDOUT);
    assert_int_equal(ask(f, "/page", "other", NULL, k), -ETIMEDOUT);
    assert_int_equal(http_server_count(f->a), 1);
    mlc_wait_unref(&k->w);
}

static void
bodies_are_bounded(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(look_up(f, "/too-big", "t", NULL), -EFBIG);
    assert_int_equal(look_up(f, "/big", "b", NULL), 0);
    assert_string_equal(f->text, "long");
}

static void
resume_all(void *arg)
{
    mlc_net_resume_all(arg);
}

static void
bodies_wait_for_the_budget(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();
    uint64_t all = 16 * 1024 * 1024;

    mlc_budget_on_free(f->budget, resume_all, f->net);
    assert_true(mlc_budget_take(f->budget, all));
    /* A small one is none of the budget's business. */
    assert_int_equal(look_up(f, "/page", "small", NULL), 0);
    assert_int_equal(ask(f, "/big", "k", NULL, k), -EAGAIN);
    assert_int_equal(look_up(f, "/page2", "small2", NULL), 0);
    mlc_budget_give(f->budget, all);
    assert_true(waiter_wait(k, 1));
    assert_true(is_known(f, "k"));
    mlc_wait_unref(&k->w);
}

static void
more_than_the_net_takes_at_once(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();

    set(f, &f->is_held, true);
    for (int i = 0; i < 200; i++) {
        char key[16];

        snprintf(key, sizeof(key), "q%d", i);
        assert_int_equal(ask(f, "/none", key, NULL, k), -EAGAIN);
    }
    set(f, &f->is_held, false);
    assert_true(waiter_wait(k, 200));
    assert_int_equal(http_server_count(f->a), 200);
    mlc_wait_unref(&k->w);
}

static void
stop_wakes_everybody(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();

    set(f, &f->is_held, true);
    set(f, &f->is_finish_held, true);
    for (int i = 0; i < 100; i++) { /* some of them queued */
        char key[16];

        snprintf(key, sizeof(key), "q%d", i);
        assert_int_equal(ask(f, "/silent", key, NULL, k), -EAGAIN);
    }
    stop(f);
    assert_true(waiter_wait(k, 100));
    assert_int_equal(f->n_free_args, 100);
    assert_int_equal(ask(f, "/page", "k", NULL, k), -EIO);
    mlc_wait_unref(&k->w);
}

static void
stop_ends_backoffs(void **state)
{
    struct fixture *f = *state;
    struct waiter *k = waiter_new();
    int64_t begin = mlc_mono_ms();

    /* Nobody listens there: after the refusal it waits to try again. */
    assert_int_equal(ask_at(f, "http://127.0.0.1:1", "/page", "k", NULL, k),
                     -EAGAIN);
    assert_int_equal(look_up(f, "/page", "other", NULL), 0);
    stop(f);
    assert_true(waiter_wait(k, 1));
    assert_true(mlc_mono_ms() - begin < LOOKUP_MS / 2);
    assert_int_equal(f->n_free_args, 2);
    mlc_wait_unref(&k->w);
}

#define TEST(fn)  cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define HASTY(fn) cmocka_unit_test_setup_teardown(fn, setup_hasty, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_askers_cause_one_request),
        TEST(a_late_look_is_not_a_second_request),
        TEST(an_asker_during_finish_is_woken),
        TEST(no_wake_is_lost),
        TEST(failures_are_remembered),
        TEST(what_is_forgotten_under_way_is_not_remembered),
        TEST(only_known_starts_nothing),
        TEST(refresh_needs_no_waiter),
        TEST(pages_follow_each_other),
        TEST(the_same_page_twice_is_an_error),
        TEST(pages_are_bounded),
        TEST(anonymous_retry_has_no_token),
        TEST(retry_after_is_honoured),
        TEST(a_closed_connection_is_tried_again),
        TEST(a_busy_host_is_left_alone),
        HASTY(a_broken_host_is_left_alone),
        HASTY(a_silent_host_is_left_alone),
        TEST(bodies_are_bounded),
        TEST(bodies_wait_for_the_budget),
        TEST(more_than_the_net_takes_at_once),
        TEST(stop_wakes_everybody),
        TEST(stop_ends_backoffs),
    };

    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
