/* SPDX-License-Identifier: MIT */
/* Requests that wait without holding a thread.
 *
 * An op is RUNNING on exactly one thread, PARKED (on the list, waiting to be
 * woken), or DONE.  Who moves it from PARKED to DONE under parking.lock
 * answers it: the interrupt, the deadline, or the shutdown; a wake moves it to
 * RUNNING and a pool thread asks its question again.  So every request has one
 * owner and one reply.  libfuse calls the interrupt function with the
 * request's own lock held, which fuse_req_interrupt_func() takes too:
 * parking.lock is never held across it.
 */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"

/* How often deadlines are looked at while something is parked. */
#define TICK_MS 200
/* Waiters that time out by themselves know a better errno: give them first
 * say. */
#define GRACE_MS 500
/* How often an op is run again for a disk that was full. */
#define MAX_FULL 3

void
mlc_reply_err(struct mlc_fs *fs, fuse_req_t req, int r)
{
    int e = -r;

    switch (e) {
    case EBADMSG: /* digest or format wrong */
    case EPROTO:
    case ECANCELED: /* unmounting */
    case ECONNREFUSED:
    case ECONNRESET:
    case EAGAIN:
        e = EIO;
        break;
    default:
        break;
    }
    if (e == EIO)
        atomic_fetch_add(&fs->n_errors, 1);
    fuse_reply_err(req, e);
}

static void
op_free(struct mlc_wait *w)
{
    struct mlc_op *op = mlc_container_of(w, struct mlc_op, wait);

    mlc_node_unref(op->fs, op->node);
    free(op->name);
    free(op);
}

static void run_job(struct mlc_job *job);

static void
unpark_locked(struct mlc_parking *p, struct mlc_op *op, enum mlc_op_state state)
{
    op->state = state;
    if (op->prev)
        op->prev->next_parked = op->next_parked;
    else
        p->head = op->next_parked;
    if (op->next_parked)
        op->next_parked->prev = op->prev;
    p->n_parked--;
}

static void
op_wake(struct mlc_wait *w)
{
    struct mlc_op *op = mlc_container_of(w, struct mlc_op, wait);
    struct mlc_parking *p = &op->fs->parking;
    bool is_to_run = false;

    pthread_mutex_lock(&p->lock);
    op->woken_ms = mlc_mono_ms();
    if (op->state == MLC_OP_RUNNING) {
        op->is_woken = true;
    } else if (op->state == MLC_OP_PARKED) {
        unpark_locked(p, op, MLC_OP_RUNNING);
        is_to_run = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (is_to_run)
        mlc_pool_submit(op->fs->cache->pool, MLC_LANE_QUICK, &op->job);
}

struct mlc_op *
mlc_op_new(struct mlc_fs *fs, fuse_req_t req,
           int (*run)(struct mlc_op *, struct mlc_ask *), fuse_ino_t ino,
           const char *name)
{
    struct mlc_op *op = calloc(1, sizeof(*op));
    char *copy = name ? strdup(name) : NULL;

    if (!op || (name && !copy)) {
        free(op);
        free(copy);
        mlc_reply_err(fs, req, -ENOMEM);
        return NULL;
    }
    op->node = mlc_node_ref(fs, mlc_node_of(fs, ino));
    op->name = copy;
    atomic_init(&op->wait.refs, 1);
    op->wait.wake = op_wake;
    op->wait.free = op_free;
    op->job.run = run_job;
    op->fs = fs;
    op->req = req;
    op->run = run;
    op->ctx = *fuse_req_ctx(req);
    op->deadline = mlc_op_lookup_deadline;
    op->start_ms = mlc_mono_ms();
    op->asked_ms = op->start_ms + fs->cache->lookup_ms;
    return op;
}

int64_t
mlc_op_lookup_deadline(struct mlc_op *op)
{
    return op->asked_ms < MLC_NEVER_MS - GRACE_MS ? op->asked_ms + GRACE_MS
                                                  : MLC_NEVER_MS;
}

int64_t
mlc_op_list_deadline(struct mlc_op *op)
{
    int64_t from = op->woken_ms > op->start_ms ? op->woken_ms : op->start_ms;

    return from + op->fs->cache->lookup_ms + GRACE_MS;
}

static struct mlc_wait *
get_wait(struct mlc_ask *ask)
{
    return &((struct mlc_op *)ask->arg)->wait;
}

/* Answers an op that is DONE and off the list. r: 0 when run() replied. */
static void
finish(struct mlc_op *op, int r)
{
    atomic_store(&op->wait.is_dead, true);
    if (r < 0)
        mlc_reply_err(op->fs, op->req, r);
    mlc_wait_unref(&op->wait);
}

static void
on_interrupt(fuse_req_t req, void *data)
{
    struct mlc_op *op = data;
    struct mlc_parking *p = &op->fs->parking;
    bool is_mine = false;

    pthread_mutex_lock(&p->lock);
    if (op->state == MLC_OP_RUNNING) {
        op->is_interrupted = true;
    } else if (op->state == MLC_OP_PARKED) {
        unpark_locked(p, op, MLC_OP_DONE);
        is_mine = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (is_mine)
        finish(op, -EINTR);
}

static void tick(struct mlc_job *job);

static void
arm_locked(struct mlc_fs *fs)
{
    struct mlc_parking *p = &fs->parking;

    if (p->is_timer_armed || p->is_stopping)
        return;
    p->is_timer_armed = true;
    p->timer.job.run = tick;
    mlc_pool_after(fs->cache->pool, &p->timer, TICK_MS);
}

/* Runs the op until it is answered or parked. */
static void
drive(struct mlc_op *op)
{
    struct mlc_fs *fs = op->fs;
    struct mlc_parking *p = &fs->parking;

    for (;;) {
        struct mlc_ask ask = {
            .get_wait = get_wait,
            .arg = op,
            .deadline_ms = op->start_ms + fs->cache->lookup_ms,
        };
        int r = op->is_interrupted ? -EINTR : op->run(op, &ask);

        /* What was fetched before goes first. */
        if (r == -ENOSPC && op->n_full < MAX_FULL &&
            op->node->domain->privfd >= 0) {
            op->n_full++;
            r = mlc_evict_ask_room(fs->cache->evictor, op->node->domain->privfd,
                                   &ask);
            if (r == 0)
                continue;
        }
        if (r == -EAGAIN) {
            /* The request can be interrupted from here on; the callback may
             * come before this call returns. */
            fuse_req_interrupt_func(op->req, on_interrupt, op);
            pthread_mutex_lock(&p->lock);
            if (op->is_interrupted) {
                r = -EINTR;
            } else if (p->is_stopping) {
                r = -EIO;
            } else if (op->is_woken) {
                op->is_woken = false;
                pthread_mutex_unlock(&p->lock);
                fuse_req_interrupt_func(op->req, NULL, NULL);
                continue;
            } else {
                op->state = MLC_OP_PARKED;
                op->asked_ms = ask.deadline_ms;
                op->prev = NULL;
                op->next_parked = p->head;
                if (p->head)
                    p->head->prev = op;
                p->head = op;
                p->n_parked++;
                arm_locked(fs);
                pthread_mutex_unlock(&p->lock);
                return;
            }
            op->state = MLC_OP_DONE;
            pthread_mutex_unlock(&p->lock);
            fuse_req_interrupt_func(op->req, NULL, NULL);
        }
        finish(op, r);
        return;
    }
}

static void
run_job(struct mlc_job *job)
{
    struct mlc_op *op = mlc_container_of(job, struct mlc_op, job);

    /* Nobody may be about to call on_interrupt() while the op is answered and
     * freed; this waits for one that is. */
    fuse_req_interrupt_func(op->req, NULL, NULL);
    drive(op);
}

void
mlc_op_start(struct mlc_op *op)
{
    drive(op);
}

static void
tick(struct mlc_job *job)
{
    struct mlc_timer *timer = mlc_container_of(job, struct mlc_timer, job);
    struct mlc_fs *fs = mlc_container_of(timer, struct mlc_fs, parking.timer);
    struct mlc_parking *p = &fs->parking;
    int64_t now = mlc_mono_ms();
    struct mlc_op *due = NULL;

    pthread_mutex_lock(&p->lock);
    p->is_timer_armed = false;
    for (struct mlc_op *op = p->head, *next; op; op = next) {
        next = op->next_parked;
        if (op->deadline(op) > now)
            continue;
        unpark_locked(p, op, MLC_OP_DONE);
        op->next_parked = due;
        due = op;
    }
    if (p->head)
        arm_locked(fs);
    pthread_mutex_unlock(&p->lock);

    while (due) {
        struct mlc_op *op = due;

        due = op->next_parked;
        fuse_req_interrupt_func(op->req, NULL, NULL);
        finish(op, -ETIMEDOUT);
    }
}

int
mlc_parking_init(struct mlc_fs *fs)
{
    return -pthread_mutex_init(&fs->parking.lock, NULL);
}

void
mlc_parking_done(struct mlc_fs *fs)
{
    pthread_mutex_destroy(&fs->parking.lock);
}

void
mlc_parking_stop(struct mlc_fs *fs)
{
    struct mlc_parking *p = &fs->parking;
    struct mlc_op *all;

    pthread_mutex_lock(&p->lock);
    p->is_stopping = true;
    all = p->head;
    p->head = NULL;
    for (struct mlc_op *op = all; op; op = op->next_parked)
        op->state = MLC_OP_DONE;
    p->n_parked = 0;
    pthread_mutex_unlock(&p->lock);

    for (int pass = 0; pass < 2; pass++)
        for (struct mlc_op **q = &all; *q;) {
            struct mlc_op *op = *q;

            if (pass == 0 && op->is_read) {
                q = &op->next_parked;
                continue;
            }
            *q = op->next_parked;
            fuse_req_interrupt_func(op->req, NULL, NULL);
            finish(op, -EIO);
        }
}
