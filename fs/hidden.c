/* SPDX-License-Identifier: MIT */
/* Names that were unlinked here and that their origin still has: left out of
 * listings until they are looked up again. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/path.h"

/* Names remembered as unlinked, at most: beyond, they stay in listings. */
#define MAX_HIDDEN ((size_t)1 << 20)
/* For so long a name that was unlinked and looked up again is no obstacle to
 * removing its directory. */
#define SEEN_MS 10000

struct mlc_hidden {
    const struct mlc_domain *domain;
    struct mlc_hidden *next;
    int64_t seen_ms; /* when it was looked up again; 0: it was not */
    char path[];
};

int
mlc_hidden_init(struct mlc_table *t)
{
    t->cap_hidden = 1024;
    t->hidden = calloc(t->cap_hidden, sizeof(t->hidden[0]));
    return t->hidden ? 0 : -ENOMEM;
}

void
mlc_hidden_done(struct mlc_table *t)
{
    for (size_t i = 0; t->hidden && i < t->cap_hidden; i++)
        while (t->hidden[i]) {
            struct mlc_hidden *h = t->hidden[i];

            t->hidden[i] = h->next;
            free(h);
        }
    free(t->hidden);
}

static struct mlc_hidden **
hidden_slot_locked(struct mlc_table *t, const struct mlc_domain *d,
                   const char *path)
{
    uint64_t h = XXH3_64bits_withSeed(path, strlen(path), (uintptr_t)d);
    struct mlc_hidden **p = &t->hidden[h % t->cap_hidden];

    while (*p && ((*p)->domain != d || strcmp((*p)->path, path) != 0))
        p = &(*p)->next;
    return p;
}

/* Without memory for it chains get longer, that is all. */
static void
grow_locked(struct mlc_table *t)
{
    struct mlc_hidden **old = t->hidden, **grown;
    size_t n_old = t->cap_hidden;

    if (t->n_hidden < n_old * 4)
        return;
    grown = calloc(n_old * 16, sizeof(grown[0]));
    if (!grown)
        return;
    t->hidden = grown;
    t->cap_hidden = n_old * 16;
    for (size_t i = 0; i < n_old; i++)
        while (old[i]) {
            struct mlc_hidden *h = old[i], **slot;

            old[i] = h->next;
            slot = hidden_slot_locked(t, h->domain, h->path);
            h->next = *slot;
            *slot = h;
        }
    free(old);
}

void
mlc_hide(struct mlc_fs *fs, const struct mlc_domain *d, const char *path)
{
    struct mlc_table *t = &fs->table;
    size_t len = strlen(path) + 1;
    struct mlc_hidden *h;

    MLC_LOCK_SCOPE(&t->lock);
    h = *hidden_slot_locked(t, d, path);
    if (h)
        h->seen_ms = 0;
    if (h || t->n_hidden >= MAX_HIDDEN)
        return;
    grow_locked(t);
    h = malloc(sizeof(*h) + len);
    if (!h)
        return;
    h->domain = d;
    h->seen_ms = 0;
    memcpy(h->path, path, len);
    h->next = NULL;
    *hidden_slot_locked(t, d, path) = h;
    t->n_hidden++;
}

static void
drop_hidden_locked(struct mlc_table *t, struct mlc_hidden **p)
{
    struct mlc_hidden *h = *p;

    *p = h->next;
    free(h);
    t->n_hidden--;
}

void
mlc_unhide(struct mlc_fs *fs, const struct mlc_domain *d, const char *path)
{
    struct mlc_hidden **p;

    MLC_LOCK_SCOPE(&fs->table.lock);
    if (fs->table.n_hidden == 0)
        return;
    p = hidden_slot_locked(&fs->table, d, path);
    if (*p)
        drop_hidden_locked(&fs->table, p);
}

void
mlc_note_seen(struct mlc_fs *fs, const struct mlc_domain *d, const char *path)
{
    struct mlc_hidden **p;

    MLC_LOCK_SCOPE(&fs->table.lock);
    if (fs->table.n_hidden == 0)
        return;
    p = hidden_slot_locked(&fs->table, d, path);
    if (!*p)
        return;
    if ((*p)->seen_ms == 0)
        (*p)->seen_ms = mlc_mono_ms();
    else if (mlc_mono_ms() - (*p)->seen_ms > SEEN_MS)
        drop_hidden_locked(&fs->table, p);
}

bool
mlc_is_hidden(struct mlc_fs *fs, const struct mlc_domain *d, const char *path,
              bool for_removal)
{
    const struct mlc_hidden *h;

    MLC_LOCK_SCOPE(&fs->table.lock);
    if (fs->table.n_hidden == 0)
        return false;
    h = *hidden_slot_locked(&fs->table, d, path);
    if (!h)
        return false;
    return h->seen_ms == 0 ||
           (for_removal && mlc_mono_ms() - h->seen_ms <= SEEN_MS);
}

void
mlc_unhide_below(struct mlc_fs *fs, const struct mlc_domain *d, const char *dir)
{
    struct mlc_table *t = &fs->table;

    MLC_LOCK_SCOPE(&t->lock);
    if (t->n_hidden == 0)
        return;
    for (size_t i = 0; i < t->cap_hidden; i++)
        for (struct mlc_hidden **p = &t->hidden[i]; *p;) {
            if ((*p)->domain == d && strcmp((*p)->path, dir) != 0 &&
                mlc_path_is_under((*p)->path, dir))
                drop_hidden_locked(t, p);
            else
                p = &(*p)->next;
        }
}
