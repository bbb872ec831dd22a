/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/spacy_task.h"

#include <stdlib.h>

#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"

static void
on_wake(struct mlc_wait *w)
{
    mlc_task_wake(mlc_container_of(w, struct mlc_task, wait));
}

static void
on_free(struct mlc_wait *w)
{
    struct mlc_task *t = mlc_container_of(w, struct mlc_task, wait);

    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void
run(struct mlc_job *job)
{
    struct mlc_task *t = mlc_container_of(job, struct mlc_task, job);

    t->step(t->owner);
}

struct mlc_task *
mlc_task_new(struct mlc_pool *pool, void (*step)(void *owner), void *owner)
{
    struct mlc_task *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    atomic_init(&t->wait.refs, 1);
    t->wait.wake = on_wake;
    t->wait.free = on_free;
    pthread_mutex_init(&t->lock, NULL);
    t->pool = pool;
    t->step = step;
    t->owner = owner;
    t->job.run = run;
    return t;
}

void
mlc_task_free(struct mlc_task *t)
{
    if (!t)
        return;
    /* Who still has the wait on a list wakes an idle task, to no effect. */
    pthread_mutex_lock(&t->lock);
    t->state = MLC_TASK_IDLE;
    pthread_mutex_unlock(&t->lock);
    atomic_store(&t->wait.is_dead, true);
    mlc_wait_unref(&t->wait);
}

bool
mlc_task_start(struct mlc_task *t)
{
    MLC_LOCK_SCOPE(&t->lock);

    if (t->state != MLC_TASK_IDLE)
        return false;
    t->state = MLC_TASK_RUNNING;
    t->is_woken = false;
    atomic_store(&t->wait.is_dead, false);
    mlc_pool_submit(t->pool, MLC_LANE_QUICK, &t->job);
    return true;
}

bool
mlc_task_park(struct mlc_task *t)
{
    MLC_LOCK_SCOPE(&t->lock);

    if (t->is_woken) {
        t->is_woken = false;
        return false;
    }
    t->state = MLC_TASK_PARKED;
    return true;
}

void
mlc_task_idle(struct mlc_task *t)
{
    MLC_LOCK_SCOPE(&t->lock);

    t->state = MLC_TASK_IDLE;
    atomic_store(&t->wait.is_dead, true);
}

bool
mlc_task_unpark(struct mlc_task *t)
{
    MLC_LOCK_SCOPE(&t->lock);

    if (t->state != MLC_TASK_PARKED)
        return false;
    t->state = MLC_TASK_IDLE;
    atomic_store(&t->wait.is_dead, true);
    return true;
}

void
mlc_task_wake(struct mlc_task *t)
{
    MLC_LOCK_SCOPE(&t->lock);

    if (t->state == MLC_TASK_RUNNING) {
        t->is_woken = true;
    } else if (t->state == MLC_TASK_PARKED) {
        t->state = MLC_TASK_RUNNING;
        mlc_pool_submit(t->pool, MLC_LANE_QUICK, &t->job);
    }
}

static struct mlc_wait *
get_wait(struct mlc_ask *ask)
{
    return &((struct mlc_task *)ask->arg)->wait;
}

struct mlc_ask
mlc_task_ask(struct mlc_task *t)
{
    return (struct mlc_ask){
        .get_wait = get_wait, .arg = t, .deadline_ms = MLC_NEVER_MS};
}
