/* SPDX-License-Identifier: MIT */
/* How an operation waits without holding a thread.
 *
 * A question that cannot be answered yet returns -EAGAIN after it has put the
 * asker's wait on the list of the thing that is missing.  When that thing
 * changes, for better or worse, whoever changed it wakes the list, and the
 * whole question is asked again from the start.  So every question must be
 * cheap to repeat, and a wake may be spurious: it says "look again", no more.
 *
 * Locks: a waitlist is guarded by its owner's lock; mlc_wait's own fields are
 * atomic.  Wake with no lock held: take the list under the lock, wake after.
 */
#ifndef MLC_CACHE_WAIT_H
#define MLC_CACHE_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mlc_wait {
    atomic_uint refs;
    atomic_bool is_dead; /* interrupted, timed out or answered: no claim */
    void (*wake)(struct mlc_wait *w); /* any thread; must not block */
    /* At the last unref; maybe under an owner's lock, so take none. */
    void (*free)(struct mlc_wait *w);
};

struct mlc_wait *mlc_wait_ref(struct mlc_wait *w);
void mlc_wait_unref(struct mlc_wait *w); /* takes NULL */

/* Who asks, and how far the answer may go. */
struct mlc_ask {
    /* Gives the wait to register (a borrowed reference; NULL: out of memory).
     * Called only when something must be waited for.  NULL function: nobody
     * can wait; the question then gets -EAGAIN and nothing is registered. */
    struct mlc_wait *(*get_wait)(struct mlc_ask *ask);
    void *arg;
    /* Monotonic; the network work that this question starts is done by then.
     * Who lets the asker wait for something that may rightly take longer, and
     * ends by itself, moves it on. */
    int64_t deadline_ms;
    /* Only what is known already: start nothing, return -EAGAIN instead. */
    bool only_known;
    /* The name was unlinked a moment ago: put nothing on disk for it. */
    bool is_unlinked;
};

struct mlc_waitlist {
    struct mlc_wait **items; /* a reference each */
    size_t n, cap;
};

/* Registers the asker's wait, once however often it is added; drops dead ones
 * from the list.  Under the owner's lock.  Always returns the value to hand
 * on: -EAGAIN, or -ENOMEM. */
int mlc_waitlist_add(struct mlc_waitlist *l, struct mlc_ask *ask);
/* Empties l into *ret (call under the owner's lock). */
void mlc_waitlist_take(struct mlc_waitlist *l, struct mlc_waitlist *ret);
/* Wakes and unrefs all, frees the list's memory (call without the lock). */
void mlc_waitlist_wake(struct mlc_waitlist *l);
/* Does anybody alive wait here? (under the owner's lock) */
bool mlc_waitlist_is_wanted(const struct mlc_waitlist *l);

#endif
