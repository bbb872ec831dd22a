/* SPDX-License-Identifier: MIT */
/* Eviction: what was fetched, or computed, goes when it takes more than
 * max_size=, or when a disk is full; the least recently opened first.
 *
 * Who keeps such files is a source: it lists them, and drops one by its name in
 * that list.  What somebody has open stays, whatever its age: no byte would be
 * freed by removing its name.
 *
 * How much there is is counted when something may have to go, and estimated for
 * some seconds from then on: bytes that were written are added, those that were
 * evicted taken off.
 *
 * Offline nothing is evicted: it could not be had again.
 * Locks: evictor.lock is a leaf; no source is called with it held.  One round
 * at a time; a source's functions are called by one thread at a time.
 * Blocking: disk only, on a thread of its own but for who makes room himself.
 */
#ifndef MLC_CACHE_EVICT_H
#define MLC_CACHE_EVICT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/cache/wait.h"

struct mlc_evictor;
struct mlc_evict_round;
struct mlc_job;
struct mlc_pins;
struct mlc_pool;

#define MLC_MAX_SOURCES 8

struct mlc_evict_source {
    /* Names in the list are paths in this domain: those that are pinned stay.
     * NULL: they are not, and the source looks for itself. */
    const char *domain;
    /* Does an object of that key become, or hold, something that is pinned?
     * Only called while something is.  NULL: no object does. */
    bool (*is_pinned)(void *arg, const char *key);
    /* Calls mlc_evict_offer() for each thing that goes as one. */
    void (*list)(void *arg, struct mlc_evict_round *round);
    /* Removes the thing unless it is in use by now (mlc_evict_is_open()), or
     * was used after used_us.  How many bytes less there are; 0: it stays, or
     * is gone already. */
    uint64_t (*drop)(void *arg, const char *name, int64_t used_us,
                     struct mlc_evict_round *round);
    void *arg; /* borrowed until the pool has stopped */
};

struct mlc_evict_stats {
    uint64_t files, bytes; /* that were evicted */
    uint64_t estimate;     /* bytes that are there */
};

/* max_bytes UINT64_MAX: no limit, only full disks count. */
int mlc_evictor_new(uint64_t max_bytes, bool is_offline, struct mlc_pool *pool,
                    struct mlc_evictor **ret);
/* What must stay (borrowed); before mlc_evictor_start(). */
void mlc_evictor_set_pins(struct mlc_evictor *e, struct mlc_pins *pins);
/* After mlc_pool_stop().  Takes NULL. */
void mlc_evictor_free(struct mlc_evictor *e);
/* Before mlc_evictor_start(); copied.  -ENOSPC: too many. */
int mlc_evictor_add(struct mlc_evictor *e, const struct mlc_evict_source *s);
/* Counts what is there, in the background, if there is a limit. */
void mlc_evictor_start(struct mlc_evictor *e);
/* A round under way ends with the file that it is at, waiters are woken, jobs
 * that have not begun are dropped.  Before mlc_pool_stop(). */
void mlc_evictor_stop(struct mlc_evictor *e);
void mlc_evictor_get_stats(struct mlc_evictor *e, struct mlc_evict_stats *ret);

/* Bytes were written.  e may be NULL in these. */
void mlc_evict_wrote(struct mlc_evictor *e, uint64_t bytes);
/* Something that may have been counted was removed otherwise. */
void mlc_evict_removed(struct mlc_evictor *e);
/* The disk that fd lies on is full: evicts until it has 'bytes' and some more
 * free, which takes as long as unlinking does.  true: try again. */
bool mlc_evict_make_room(struct mlc_evictor *e, int fd, uint64_t bytes);
/* Runs a job that will call that on the evictor's own thread, where it waits
 * for no digest and no copy. */
void mlc_evict_submit(struct mlc_evictor *e, struct mlc_job *job);
/* The same for who can't wait: 0: there may be room; -EAGAIN: the asker waits
 * for the end of a round; -ENOSPC: nothing can go. */
int mlc_evict_ask_room(struct mlc_evictor *e, int fd, struct mlc_ask *ask);

/* --- for sources, in a round --------------------------------------------- */

/* st: of the file, or of one of them, where several go as one.  used_us: real
 * time, in microseconds.  is_kept: it counts, but must not go. */
void mlc_evict_offer(struct mlc_evict_round *round, const char *name,
                     const struct stat *st, uint64_t bytes, int64_t used_us,
                     bool is_kept);
/* Is anything pinned? */
bool mlc_evict_has_pins(const struct mlc_evict_round *round);
/* Does a source know the object as pinned? */
bool mlc_evict_is_pinned(struct mlc_evict_round *round, const char *key);
/* Does this process have the file open? */
bool mlc_evict_is_open(struct mlc_evict_round *round, const struct stat *st);

#endif
