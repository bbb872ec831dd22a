/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/memo.h"

#include <stdlib.h>
#include <string.h>

#include "backends/util/clock.h"

#define MAX_MEMOS    4096
#define MAX_HOSTS    256
#define HOST_DOWN_MS 10000
#define MAX_JUST_NOW 64

struct mlc_host {
    struct mlc_host *next;
    int64_t until_ms;
    int r;
    char origin[];
};

/* --- what keys ended with ----------------------------------------------- */

uint64_t
mlc_memo_hash(const char *key)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * 1099511628211u;
    return h;
}

void
mlc_memos_drop(struct mlc_memos *all, struct mlc_memo *m)
{
    struct mlc_memo **p = &all->buckets[m->hash % MLC_MEMO_BUCKETS];

    while (*p != m)
        p = &(*p)->chain;
    *p = m->chain;
    if (m->older)
        m->older->newer = m->newer;
    else
        all->oldest = m->newer;
    if (m->newer)
        m->newer->older = m->older;
    else
        all->newest = m->older;
    all->n--;
    free(m);
}

struct mlc_memo *
mlc_memos_find(struct mlc_memos *all, const char *key, uint64_t hash)
{
    struct mlc_memo *m = all->buckets[hash % MLC_MEMO_BUCKETS];

    while (m && (m->hash != hash || strcmp(m->key, key) != 0))
        m = m->chain;
    if (m && m->until_ms <= mlc_mono_ms()) {
        mlc_memos_drop(all, m);
        return NULL;
    }
    return m;
}

void
mlc_memos_put(struct mlc_memos *all, struct mlc_memo *m, int r, int64_t ms)
{
    int64_t now = mlc_mono_ms();
    struct mlc_memo *old = mlc_memos_find(all, m->key, m->hash);

    if (old)
        mlc_memos_drop(all, old);
    if (all->n >= MAX_MEMOS)
        mlc_memos_drop(all, all->oldest);
    m->r = r;
    m->n_left = MAX_JUST_NOW;
    m->until_ms = ms < MLC_NEVER_MS - now ? now + ms : MLC_NEVER_MS;
    m->chain = all->buckets[m->hash % MLC_MEMO_BUCKETS];
    all->buckets[m->hash % MLC_MEMO_BUCKETS] = m;
    m->newer = NULL;
    m->older = all->newest;
    if (m->older)
        m->older->newer = m;
    else
        all->oldest = m;
    all->newest = m;
    all->n++;
}

struct mlc_memo *
mlc_memo_new(const char *key)
{
    size_t len = strlen(key);
    struct mlc_memo *m = calloc(1, sizeof(*m) + len + 1);

    if (!m)
        return NULL;
    memcpy(m->key, key, len + 1);
    m->hash = mlc_memo_hash(key);
    return m;
}

void
mlc_memos_forget(struct mlc_memos *all, const char *prefix)
{
    size_t len = strlen(prefix);
    struct mlc_memo *next;

    for (struct mlc_memo *m = all->oldest; m; m = next) {
        next = m->newer;
        if (!strncmp(m->key, prefix, len))
            mlc_memos_drop(all, m);
    }
}

void
mlc_memos_done(struct mlc_memos *all)
{
    while (all->oldest)
        mlc_memos_drop(all, all->oldest);
}

/* --- hosts that are down -------------------------------------------------- */

/* Drops what is over, and what is too much. */
static void
tidy(struct mlc_hosts *all)
{
    int64_t now = mlc_mono_ms();
    struct mlc_host **p = &all->list;
    size_t n = 0;

    while (*p) {
        struct mlc_host *h = *p;

        if (h->until_ms <= now || ++n > MAX_HOSTS) {
            *p = h->next;
            free(h);
        } else {
            p = &h->next;
        }
    }
}

int
mlc_hosts_result(struct mlc_hosts *all, const char *origin)
{
    tidy(all);
    for (struct mlc_host *h = all->list; h; h = h->next)
        if (!strcmp(h->origin, origin))
            return h->r;
    return 0;
}

void
mlc_hosts_mark(struct mlc_hosts *all, const char *origin, int r)
{
    size_t len = strlen(origin) + 1;
    struct mlc_host *h = malloc(sizeof(*h) + len);

    if (!h)
        return;
    memcpy(h->origin, origin, len);
    h->r = r;
    h->until_ms = mlc_mono_ms() + HOST_DOWN_MS;
    h->next = all->list;
    all->list = h;
    tidy(all);
}

void
mlc_hosts_done(struct mlc_hosts *all)
{
    while (all->list) {
        struct mlc_host *h = all->list;

        all->list = h->next;
        free(h);
    }
}
