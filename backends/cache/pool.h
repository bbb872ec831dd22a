/* SPDX-License-Identifier: MIT */
/* Our own threads: jobs in two lanes, and timers.
 *
 * QUICK: look-ups asked again, pieces written and checked, replies: must not
 * sync.  SLOW: digests of whole files, publishing, syncing.  Jobs and timers
 * are embedded in the caller's struct and are not touched after run() began,
 * so run() may free or resubmit them.  All threads block all signals.
 * Locks: pool.lock is a leaf, held for list operations only.
 */
#ifndef MLC_CACHE_POOL_H
#define MLC_CACHE_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct mlc_job {
    struct mlc_job *next;
    void (*run)(struct mlc_job *job);
};

/* Zero it, set job.run.  The rest is the pool's: a pairing heap. */
struct mlc_timer {
    struct mlc_job job;             /* run in the QUICK lane when due */
    int64_t due_ms;                 /* pool lock */
    struct mlc_timer *child, *next; /* pool lock */
    struct mlc_timer *prev;         /* pool lock; the parent of a first child */
    bool is_armed;                  /* pool lock */
};

enum mlc_lane { MLC_LANE_QUICK, MLC_LANE_SLOW };

struct mlc_pool;

int mlc_pool_new(unsigned n_quick, unsigned n_slow, struct mlc_pool **ret);
/* Drops jobs not yet begun of the SLOW lane and all timers, runs the QUICK
 * ones out, joins the threads.  Later submits are dropped.  Idempotent. */
void mlc_pool_stop(struct mlc_pool *p);
void mlc_pool_free(struct mlc_pool *p);
/* Never fails, never blocks. */
void mlc_pool_submit(struct mlc_pool *p, enum mlc_lane lane,
                     struct mlc_job *job);
/* Arms (or re-arms) the timer: its job is run 'ms' from now, without being
 * queued, so a timer that is not armed may be armed anew at any time. */
void mlc_pool_after(struct mlc_pool *p, struct mlc_timer *t, int64_t ms);
/* true: it was armed and will not run; false: it ran, runs, is about to run
 * in another thread, or never was armed. */
bool mlc_pool_cancel(struct mlc_pool *p, struct mlc_timer *t);

#endif
