/* SPDX-License-Identifier: MIT */
/* Work that waits for bytes without holding a thread: a step that is run on a
 * pool thread, and again when what it waits for has come.
 *
 * A task is IDLE, RUNNING (its step is submitted or runs) or PARKED.  The step
 * ends with mlc_task_park() or mlc_task_idle(), on its own thread.
 * Lifetime: the task outlives its owner where somebody still holds its wait;
 * its step is not run after mlc_task_free(). Locks: task.lock is a leaf but for
 * pool.lock.
 */
#ifndef MLC_SPACY_TASK_H
#define MLC_SPACY_TASK_H

#include <pthread.h>
#include <stdbool.h>

#include "backends/cache/pool.h"
#include "backends/cache/wait.h"

enum mlc_task_state { MLC_TASK_IDLE, MLC_TASK_RUNNING, MLC_TASK_PARKED };

struct mlc_task {
    struct mlc_wait wait;
    pthread_mutex_t lock;
    struct mlc_pool *pool;     /* immutable */
    void (*step)(void *owner); /* immutable */
    void *owner;               /* immutable */
    enum mlc_task_state state; /* lock */
    bool is_woken;             /* lock; told so while RUNNING */
    struct mlc_job job;
};

/* NULL: no memory. */
struct mlc_task *mlc_task_new(struct mlc_pool *pool, void (*step)(void *owner),
                              void *owner);
/* Not while RUNNING (unless the pool has stopped).  Takes NULL. */
void mlc_task_free(struct mlc_task *t);
/* From IDLE: the step is submitted; false: it was not idle. */
bool mlc_task_start(struct mlc_task *t);
/* RUNNING to PARKED, which is true; false: it was woken meanwhile, go on. */
bool mlc_task_park(struct mlc_task *t);
/* RUNNING to IDLE. */
void mlc_task_idle(struct mlc_task *t);
/* PARKED to IDLE, which is true; false: it is in another state. */
bool mlc_task_unpark(struct mlc_task *t);
/* As if what it waits for had come. */
void mlc_task_wake(struct mlc_task *t);
/* An ask that waits by means of t. */
struct mlc_ask mlc_task_ask(struct mlc_task *t);

#endif
