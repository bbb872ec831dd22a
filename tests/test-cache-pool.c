/* SPDX-License-Identifier: MIT */
/* The pool's lanes and timers, waits, and the memory budget. */
#include "config.h"

#include "backends/cache/pool.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/cache/budget.h"
#include "backends/cache/wait.h"
#include "backends/util/clock.h"

/* A counter that can be waited for. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned n; /* lock */
};

#define GATE_INIT                                                              \
    {                                                                          \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                 \
    }

static void
gate_add(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->n++;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

static void
gate_wait(struct gate *g, unsigned n)
{
    pthread_mutex_lock(&g->lock);
    while (g->n < n)
        pthread_cond_wait(&g->cond, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static unsigned
gate_count(struct gate *g)
{
    unsigned n;

    pthread_mutex_lock(&g->lock);
    n = g->n;
    pthread_mutex_unlock(&g->lock);
    return n;
}

struct task {
    struct mlc_job job; /* first */
    struct gate *begun, *wait_for, *ran;
    bool is_masked;
};

static void
task_run(struct mlc_job *job)
{
    struct task *t = (struct task *)(void *)job;
    struct gate *ran = t->ran;
    sigset_t set;

    pthread_sigmask(SIG_BLOCK, NULL, &set);
    t->is_masked = sigismember(&set, SIGTERM) && sigismember(&set, SIGINT);
    if (t->begun)
        gate_add(t->begun);
    if (t->wait_for)
        gate_wait(t->wait_for, 1);
    gate_add(ran);
}

struct alarm {
    struct mlc_timer timer; /* first, and its job is first in it */
    struct gate *ran;
    unsigned *order;
    unsigned n, again;
    struct mlc_pool *pool;
};

static void
alarm_run(struct mlc_job *job)
{
    struct alarm *a = (struct alarm *)(void *)job;

    if (a->order)
        *a->order = gate_count(a->ran);
    if (a->again > 0) {
        a->again--;
        mlc_pool_after(a->pool, &a->timer, 1);
    }
    gate_add(a->ran);
}

static void
jobs_run_in_both_lanes(void **state)
{
    struct gate ran = GATE_INIT;
    struct mlc_pool *p;
    struct task t[200];

    assert_int_equal(mlc_pool_new(3, 2, &p), 0);
    for (int i = 0; i < 200; i++) {
        t[i] = (struct task){.job.run = task_run, .ran = &ran};
        mlc_pool_submit(p, i % 3 ? MLC_LANE_QUICK : MLC_LANE_SLOW, &t[i].job);
    }
    gate_wait(&ran, 200);
    mlc_pool_stop(p);
    for (int i = 0; i < 200; i++)
        assert_true(t[i].is_masked);
    mlc_pool_free(p);
}

static void
quick_lane_does_not_wait_for_the_slow_one(void **state)
{
    struct gate ran = GATE_INIT, slow_ran = GATE_INIT, go = GATE_INIT;
    struct mlc_pool *p;
    struct task slow[3], quick = {.job.run = task_run, .ran = &ran};

    assert_int_equal(mlc_pool_new(1, 2, &p), 0);
    for (int i = 0; i < 3; i++) {
        slow[i] = (struct task){
            .job.run = task_run, .wait_for = &go, .ran = &slow_ran};
        mlc_pool_submit(p, MLC_LANE_SLOW, &slow[i].job);
    }
    mlc_pool_submit(p, MLC_LANE_QUICK, &quick.job);
    gate_wait(&ran, 1);
    assert_int_equal(gate_count(&slow_ran), 0);
    gate_add(&go);
    gate_wait(&slow_ran, 3);
    mlc_pool_free(p);
}

static void
timers_run_in_order(void **state)
{
    enum { N = 100 };
    struct gate ran = GATE_INIT;
    struct mlc_pool *p;
    struct alarm a[N];
    unsigned order[N];
    int64_t begin = mlc_mono_ms();

    assert_int_equal(mlc_pool_new(1, 0, &p), 0);
    for (unsigned i = 0; i < N; i++) {
        unsigned when = i * 37 % N; /* a permutation */

        a[i] = (struct alarm){
            .timer.job.run = alarm_run, .ran = &ran, .order = &order[when]};
        mlc_pool_after(p, &a[i].timer, 20 + when * 2);
    }
    gate_wait(&ran, N);
    assert_true(mlc_mono_ms() - begin >= 20 + 2 * (N - 1));
    mlc_pool_stop(p);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(order[i], i);
    mlc_pool_free(p);
}

static void
cancelled_timers_do_not_run(void **state)
{
    enum { N = 64 };
    struct gate ran = GATE_INIT;
    struct mlc_pool *p;
    struct alarm a[N];

    assert_int_equal(mlc_pool_new(2, 0, &p), 0);
    for (unsigned i = 0; i < N; i++) {
        a[i] = (struct alarm){.timer.job.run = alarm_run, .ran = &ran};
        assert_false(mlc_pool_cancel(p, &a[i].timer));
        mlc_pool_after(p, &a[i].timer, i % 2 ? 3600000 : 50);
        mlc_pool_after(p, &a[i].timer, i % 2 ? 3600000 : 20); /* anew */
    }
    for (unsigned i = 1; i < N; i += 2)
        assert_true(mlc_pool_cancel(p, &a[i].timer));
    gate_wait(&ran, N / 2);
    for (unsigned i = 0; i < N; i++)
        assert_false(mlc_pool_cancel(p, &a[i].timer));
    mlc_pool_free(p);
    assert_int_equal(gate_count(&ran), N / 2);
}

static void
an_earlier_timer_is_not_late(void **state)
{
    struct gate ran = GATE_INIT;
    struct mlc_pool *p;
    struct alarm late = {.timer.job.run = alarm_run, .ran = &ran};
    struct alarm soon = late;

    assert_int_equal(mlc_pool_new(1, 0, &p), 0);
    mlc_pool_after(p, &late.timer, MLC_NEVER_MS);
    mlc_pool_after(p, &soon.timer, 1);
    gate_wait(&ran, 1); /* hangs if the thread waits for the first one */
    assert_true(mlc_pool_cancel(p, &late.timer));
    mlc_pool_free(p);
}

static void
a_timer_may_arm_itself(void **state)
{
    struct gate ran = GATE_INIT;
    struct mlc_pool *p;
    struct alarm a = {.timer.job.run = alarm_run, .ran = &ran, .again = 20};

    assert_int_equal(mlc_pool_new(3, 0, &p), 0);
    a.pool = p;
    mlc_pool_after(p, &a.timer, 0);
    gate_wait(&ran, 21);
    mlc_pool_free(p);
}

static void *
stop_main(void *arg)
{
    mlc_pool_stop(arg);
    return NULL;
}

static void
stop_runs_quick_jobs_and_drops_the_rest(void **state)
{
    struct gate begun = GATE_INIT, go = GATE_INIT;
    struct gate quick_ran = GATE_INIT, slow_ran = GATE_INIT;
    struct gate timer_ran = GATE_INIT;
    struct mlc_pool *p;
    struct task quick[8], slow[8];
    struct task late = {.job.run = task_run, .ran = &quick_ran};
    struct alarm a = {.timer.job.run = alarm_run, .ran = &timer_ran};
    pthread_t thread;

    assert_int_equal(mlc_pool_new(1, 1, &p), 0);
    for (int i = 0; i < 8; i++) {
        quick[i] = (struct task){.job.run = task_run,
                                 .begun = &begun,
                                 .wait_for = &go,
                                 .ran = &quick_ran};
        slow[i] = quick[i];
        slow[i].ran = &slow_ran;
        mlc_pool_submit(p, MLC_LANE_QUICK, &quick[i].job);
        mlc_pool_submit(p, MLC_LANE_SLOW, &slow[i].job);
    }
    mlc_pool_after(p, &a.timer, 3600000);
    gate_wait(&begun, 2);
    assert_int_equal(pthread_create(&thread, NULL, stop_main, p), 0);
    /* The timer is dropped in the same step as the slow jobs. */
    while (mlc_pool_cancel(p, &a.timer))
        mlc_pool_after(p, &a.timer, 3600000);
    gate_add(&go);
    pthread_join(thread, NULL);
    assert_int_equal(gate_count(&quick_ran), 8);
    assert_int_equal(gate_count(&slow_ran), 1);
    mlc_pool_submit(p, MLC_LANE_QUICK, &late.job);
    mlc_pool_after(p, &a.timer, 0);
    mlc_pool_stop(p);
    mlc_pool_free(p);
    mlc_pool_free(NULL);
    assert_int_equal(gate_count(&quick_ran), 8);
    assert_int_equal(gate_count(&timer_ran), 0);
}

/* --- waits ---------------------------------------------------------------- */

struct waiter {
    struct mlc_wait w; /* first */
    unsigned n_wakes, n_frees;
    unsigned n_asked;
};

static void
waiter_wake(struct mlc_wait *w)
{
    ((struct waiter *)(void *)w)->n_wakes++;
}

static void
waiter_free(struct mlc_wait *w)
{
    ((struct waiter *)(void *)w)->n_frees++;
}

static struct mlc_wait *
waiter_get(struct mlc_ask *ask)
{
    struct waiter *w = ask->arg;

    if (!w)
        return NULL;
    w->n_asked++;
    return &w->w;
}

static void
waits_are_woken_once(void **state)
{
    struct waiter w[10];
    struct mlc_waitlist l = {0}, taken;

    for (int i = 0; i < 10; i++) {
        struct mlc_ask ask = {.get_wait = waiter_get, .arg = &w[i]};

        w[i] = (struct waiter){
            .w = {.refs = 1, .wake = waiter_wake, .free = waiter_free}};
        assert_int_equal(mlc_waitlist_add(&l, &ask), -EAGAIN);
        assert_int_equal(mlc_waitlist_add(&l, &ask), -EAGAIN);
    }
    assert_int_equal(l.n, 10);
    assert_true(mlc_waitlist_is_wanted(&l));
    mlc_waitlist_take(&l, &taken);
    assert_false(mlc_waitlist_is_wanted(&l));
    mlc_waitlist_wake(&taken);
    mlc_waitlist_wake(&taken);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(w[i].n_wakes, 1);
        assert_int_equal(w[i].n_frees, 0);
        mlc_wait_unref(&w[i].w);
        assert_int_equal(w[i].n_frees, 1);
    }
    mlc_wait_unref(NULL);
}

static void
dead_waits_are_dropped(void **state)
{
    struct waiter a = {
        .w = {.refs = 1, .wake = waiter_wake, .free = waiter_free}};
    struct waiter b = a;
    struct mlc_ask ask_a = {.get_wait = waiter_get, .arg = &a};
    struct mlc_ask ask_b = {.get_wait = waiter_get, .arg = &b};
    struct mlc_ask nobody = {0}, broke = {.get_wait = waiter_get};
    struct mlc_waitlist l = {0};

    assert_int_equal(mlc_waitlist_add(&l, &nobody), -EAGAIN);
    assert_int_equal(mlc_waitlist_add(&l, &broke), -ENOMEM);
    assert_int_equal(l.n, 0);
    mlc_waitlist_add(&l, &ask_a);
    mlc_wait_unref(&a.w);
    atomic_store(&a.w.is_dead, true);
    assert_false(mlc_waitlist_is_wanted(&l));
    mlc_waitlist_add(&l, &ask_b);
    assert_int_equal(l.n, 1);
    assert_int_equal(a.n_frees, 1);
    assert_int_equal(a.n_wakes, 0);
    mlc_waitlist_wake(&l);
    mlc_wait_unref(&b.w);
    assert_int_equal(b.n_frees, 1);
}

/* --- the budget ----------------------------------------------------------- */

static void
count_call(void *arg)
{
    (*(unsigned *)arg)++;
}

static void
budget_is_exact(void **state)
{
    struct mlc_budget *b;
    unsigned n_calls = 0;
    void *p[40];

    assert_int_equal(mlc_budget_new(40 * MLC_BUFFER, &b), 0);
    mlc_budget_on_free(b, count_call, &n_calls);
    for (int i = 0; i < 40; i++) {
        p[i] = mlc_budget_take_buffer(b);
        assert_non_null(p[i]);
        memset(p[i], i, MLC_BUFFER);
    }
    assert_int_equal(mlc_budget_used(b), 40 * MLC_BUFFER);
    assert_null(mlc_budget_take_buffer(b));
    assert_false(mlc_budget_take(b, 1));
    assert_int_equal(n_calls, 0);
    for (int i = 0; i < 40; i++)
        mlc_budget_give_buffer(b, p[i]);
    assert_int_equal(n_calls, 1); /* once, though refused twice */
    assert_int_equal(mlc_budget_used(b), 0);

    assert_true(mlc_budget_take(b, 40 * MLC_BUFFER - 10));
    assert_null(mlc_budget_take_buffer(b));
    assert_false(mlc_budget_take(b, UINT64_MAX));
    assert_true(mlc_budget_take(b, 10));
    mlc_budget_give(b, 10);
    assert_int_equal(n_calls, 2);
    mlc_budget_give(b, 40 * MLC_BUFFER - 10);
    assert_int_equal(n_calls, 2);
    mlc_budget_give_buffer(b, NULL);
    mlc_budget_free(b);
    mlc_budget_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_in_both_lanes),
        cmocka_unit_test(quick_lane_does_not_wait_for_the_slow_one),
        cmocka_unit_test(timers_run_in_order),
        cmocka_unit_test(cancelled_timers_do_not_run),
        cmocka_unit_test(an_earlier_timer_is_not_late),
        cmocka_unit_test(a_timer_may_arm_itself),
        cmocka_unit_test(stop_runs_quick_jobs_and_drops_the_rest),
        cmocka_unit_test(waits_are_woken_once),
        cmocka_unit_test(dead_waits_are_dropped),
        cmocka_unit_test(budget_is_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
