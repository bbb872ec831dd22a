/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/budget.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "backends/util/cleanup.h"

/* Buffers kept for reuse: 6 MiB, enough for a stream or two in full flow. */
#define MAX_SPARE 24

struct mlc_budget {
    pthread_mutex_t lock;
    uint64_t total;             /* immutable */
    _Atomic uint64_t used;      /* atomic; changed under lock */
    void *spare[MAX_SPARE];     /* lock */
    size_t n_spare;             /* lock */
    bool is_refused;            /* lock; since the last on_free */
    void (*on_free)(void *arg); /* immutable once in use */
    void *on_free_arg;          /* immutable once in use */
};

int
mlc_budget_new(uint64_t bytes, struct mlc_budget **ret)
{
    struct mlc_budget *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    if (pthread_mutex_init(&b->lock, NULL) != 0) {
        free(b);
        return -ENOMEM;
    }
    b->total = bytes;
    atomic_init(&b->used, 0);
    *ret = b;
    return 0;
}

void
mlc_budget_free(struct mlc_budget *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n_spare; i++)
        munmap(b->spare[i], MLC_BUFFER);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void
mlc_budget_on_free(struct mlc_budget *b, void (*fn)(void *arg), void *arg)
{
    b->on_free = fn;
    b->on_free_arg = arg;
}

static bool
take_locked(struct mlc_budget *b, uint64_t bytes)
{
    uint64_t used = atomic_load(&b->used);

    if (used > b->total || bytes > b->total - used) {
        b->is_refused = true;
        return false;
    }
    atomic_store(&b->used, used + bytes);
    return true;
}

/* True if on_free is to be called, without the lock. */
static bool
give_locked(struct mlc_budget *b, uint64_t bytes)
{
    bool was_refused = b->is_refused;

    atomic_store(&b->used, atomic_load(&b->used) - bytes);
    b->is_refused = false;
    return was_refused && b->on_free;
}

void *
mlc_budget_take_buffer(struct mlc_budget *b)
{
    void *p;

    {
        MLC_LOCK_SCOPE(&b->lock);
        if (!take_locked(b, MLC_BUFFER))
            return NULL;
        if (b->n_spare > 0)
            return b->spare[--b->n_spare];
    }

    /* Not malloc: what is given back must leave the process, whatever the
     * allocator's thresholds have grown to. */
    p = mmap(NULL, MLC_BUFFER, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        MLC_LOCK_SCOPE(&b->lock);
        atomic_store(&b->used, atomic_load(&b->used) - MLC_BUFFER);
        b->is_refused = true;
        return NULL;
    }
    return p;
}

void
mlc_budget_give_buffer(struct mlc_budget *b, void *buffer)
{
    bool is_call;

    if (!buffer)
        return;
    {
        MLC_LOCK_SCOPE(&b->lock);
        is_call = give_locked(b, MLC_BUFFER);
        if (b->n_spare < MAX_SPARE) {
            b->spare[b->n_spare++] = buffer;
            buffer = NULL;
        }
    }
    if (buffer)
        munmap(buffer, MLC_BUFFER);
    if (is_call)
        b->on_free(b->on_free_arg);
}

bool
mlc_budget_take(struct mlc_budget *b, uint64_t bytes)
{
    MLC_LOCK_SCOPE(&b->lock);
    return take_locked(b, bytes);
}

void
mlc_budget_give(struct mlc_budget *b, uint64_t bytes)
{
    bool is_call;

    if (bytes == 0)
        return;
    {
        MLC_LOCK_SCOPE(&b->lock);
        is_call = give_locked(b, bytes);
    }
    if (is_call)
        b->on_free(b->on_free_arg);
}

uint64_t
mlc_budget_used(const struct mlc_budget *b)
{
    return atomic_load(&b->used);
}
