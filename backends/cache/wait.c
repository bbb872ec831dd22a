/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/wait.h"

#include <errno.h>
#include <stdlib.h>

struct mlc_wait *
mlc_wait_ref(struct mlc_wait *w)
{
    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    return w;
}

void
mlc_wait_unref(struct mlc_wait *w)
{
    if (!w)
        return;
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) == 1)
        w->free(w);
}

int
mlc_waitlist_add(struct mlc_waitlist *l, struct mlc_ask *ask)
{
    struct mlc_wait *w;
    bool is_there = false;
    size_t n = 0;

    if (!ask->get_wait)
        return -EAGAIN;
    w = ask->get_wait(ask);
    if (!w)
        return -ENOMEM;

    for (size_t i = 0; i < l->n; i++) {
        /* Asked again after a wake by another list: once is enough. */
        if (l->items[i] == w)
            is_there = true;
        else if (atomic_load(&l->items[i]->is_dead)) {
            mlc_wait_unref(l->items[i]);
            continue;
        }
        l->items[n++] = l->items[i];
    }
    l->n = n;
    if (is_there)
        return -EAGAIN;

    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        struct mlc_wait **items = reallocarray(l->items, cap, sizeof(*items));

        if (!items)
            return -ENOMEM;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = mlc_wait_ref(w);
    return -EAGAIN;
}

void
mlc_waitlist_take(struct mlc_waitlist *l, struct mlc_waitlist *ret)
{
    *ret = *l;
    *l = (struct mlc_waitlist){0};
}

void
mlc_waitlist_wake(struct mlc_waitlist *l)
{
    for (size_t i = 0; i < l->n; i++) {
        l->items[i]->wake(l->items[i]);
        mlc_wait_unref(l->items[i]);
    }
    free(l->items);
    *l = (struct mlc_waitlist){0};
}

bool
mlc_waitlist_is_wanted(const struct mlc_waitlist *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (!atomic_load(&l->items[i]->is_dead))
            return true;
    }
    return false;
}
