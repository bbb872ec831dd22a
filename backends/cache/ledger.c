/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define FILE_NAME  "ledger"
#define HEAD       "mlcachefs use 1\n" /* as long as a record */
#define MAX_FILES  ((size_t)1 << 20)
#define MAX_LEDGER ((size_t)1 << 28)
#define FIRST_CAP  ((size_t)256)
/* After the file could not be written. */
#define RETRY_MS 10000

struct record {
    uint64_t id;     /* 0: an empty place in the table */
    int64_t used_us; /* 0: forgotten */
};

struct mlc_ledger {
    int dirfd; /* immutable */
    pthread_mutex_t lock;
    int fd;               /* lock; -1: the file is behind the table */
    int64_t retry_ms;     /* lock; monotonic; then it is written anew */
    struct record *table; /* lock; open addressing, at most half full */
    size_t n, cap;        /* lock; cap is a power of two */
    size_t n_records;     /* lock; in the file */
    int64_t last_us;      /* lock; the newest of all */
};

static uint64_t
id_of(const struct stat *st)
{
    uint64_t key[] = {st->st_ino, (uint64_t)st->st_size,
                      (uint64_t)st->st_mtim.tv_sec,
                      (uint64_t)st->st_mtim.tv_nsec};

    return XXH3_64bits(key, sizeof(key)) | 1;
}

/* --- the table ----------------------------------------------------------- */

/* The file's place, or the empty one where it belongs. */
static struct record *
place_of(struct record *table, size_t cap, uint64_t id)
{
    size_t i = (size_t)(id >> 1) & (cap - 1);

    while (table[i].id && table[i].id != id)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

/* Moves what was used after 'since' to a table of cap places. */
static int
rebuild_locked(struct mlc_ledger *l, size_t cap, int64_t since)
{
    struct record *table = calloc(cap, sizeof(*table));
    size_t n = 0;

    if (!table)
        return -ENOMEM;
    for (size_t i = 0; i < l->cap; i++) {
        if (!l->table[i].id || l->table[i].used_us == 0 ||
            l->table[i].used_us <= since)
            continue;
        *place_of(table, cap, l->table[i].id) = l->table[i];
        n++;
    }
    free(l->table);
    l->table = table;
    l->cap = cap;
    l->n = n;
    return 0;
}

static int
by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Forgets the half that was not used for longest. */
static int
halve_locked(struct mlc_ledger *l)
{
    mlc_autofree int64_t *times = calloc(l->n + 1, sizeof(*times));
    size_t n = 0;

    if (!times)
        return -ENOMEM;
    for (size_t i = 0; i < l->cap; i++)
        if (l->table[i].id)
            times[n++] = l->table[i].used_us;
    qsort(times, n, sizeof(*times), by_time);
    return rebuild_locked(l, l->cap, times[n / 2]);
}

static int
set_locked(struct mlc_ledger *l, uint64_t id, int64_t used_us)
{
    struct record *r = place_of(l->table, l->cap, id);
    int q = 0;

    if (!r->id) {
        if (l->n >= MAX_FILES)
            q = halve_locked(l);
        else if (l->n >= l->cap / 2)
            q = rebuild_locked(l, 2 * l->cap, INT64_MIN);
        if (q < 0)
            return q;
        r = place_of(l->table, l->cap, id);
        r->id = id;
        l->n++;
    }
    r->used_us = used_us;
    if (used_us > l->last_us)
        l->last_us = used_us;
    return 0;
}

/* --- the file ------------------------------------------------------------ */

static int
load(struct mlc_ledger *l)
{
    mlc_autofree char *data = NULL;
    struct record rec;
    size_t len = 0;
    int r;

    r = mlc_read_file_at(l->dirfd, FILE_NAME, MAX_LEDGER, &data, &len);
    if (r == -ENOMEM)
        return r;
    if (r < 0 || len < sizeof(rec) || memcmp(data, HEAD, sizeof(rec)) != 0) {
        if (r != -ENOENT)
            mlc_info("the record of what was fetched can't be read: what was "
                     "fetched so far is kept whatever max_size= says");
        return 0;
    }
    /* What a crash tore at the end is not counted. */
    l->n_records = (len + sizeof(rec) - 1) / sizeof(rec) - 1;
    for (size_t i = 1; r == 0 && (i + 1) * sizeof(rec) <= len; i++) {
        memcpy(&rec, data + i * sizeof(rec), sizeof(rec));
        /* Of a file system that lost its last blocks. */
        if (rec.id && rec.used_us >= 0 && rec.used_us < INT64_MAX / 2)
            r = set_locked(l, rec.id, rec.used_us);
    }
    return r;
}

/* Each file once. */
static int
rewrite_locked(struct mlc_ledger *l)
{
    mlc_autofree struct record *list = calloc(l->n + 1, sizeof(*list));
    size_t n = 1;
    int r;

    if (!list)
        return -ENOMEM;
    memcpy(list, HEAD, sizeof(*list));
    for (size_t i = 0; i < l->cap; i++)
        if (l->table[i].id && l->table[i].used_us > 0)
            list[n++] = l->table[i];
    r = mlc_write_file_at(l->dirfd, FILE_NAME, list, n * sizeof(*list), 0600);
    if (r < 0)
        return r;
    if (l->fd >= 0)
        close(l->fd);
    l->n_records = n - 1;
    l->fd = openat(l->dirfd, FILE_NAME,
                   O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    return l->fd < 0 ? -errno : 0;
}

/* The file is behind from here on: what it lacks comes with a later try. */
static void
fall_behind_locked(struct mlc_ledger *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    if (l->retry_ms == 0)
        mlc_warn("the record of what was fetched can't be written (is the disk "
                 "full?): tried again");
    l->retry_ms = mlc_mono_ms() + RETRY_MS;
}

static void
append_locked(struct mlc_ledger *l, const struct record *rec)
{
    int r = 0;

    if (l->fd < 0 && mlc_mono_ms() < l->retry_ms)
        return;
    if (l->fd < 0 || l->n_records > 4 * l->n + 65536)
        r = rewrite_locked(l);
    else if (write(l->fd, rec, sizeof(*rec)) == (ssize_t)sizeof(*rec))
        l->n_records++;
    else
        r = -EIO;
    if (r < 0)
        fall_behind_locked(l);
    else
        l->retry_ms = 0;
}

static void
note_locked(struct mlc_ledger *l, uint64_t id)
{
    int64_t now = mlc_now_us();
    struct record rec = {.id = id};

    rec.used_us = now > l->last_us ? now : l->last_us + 1;
    if (set_locked(l, id, rec.used_us) == 0)
        append_locked(l, &rec);
}

/* --- what happens to files ----------------------------------------------- */

void
mlc_ledger_add(struct mlc_ledger *l, const struct stat *st)
{
    const struct record *rec;
    uint64_t id = id_of(st);
    MLC_LOCK_SCOPE(&l->lock);

    rec = place_of(l->table, l->cap, id);
    if (!rec->id || rec->used_us < l->last_us)
        note_locked(l, id);
}

void
mlc_ledger_opened(struct mlc_ledger *l, const struct stat *st)
{
    const struct record *rec;
    uint64_t id = id_of(st);
    MLC_LOCK_SCOPE(&l->lock);

    rec = place_of(l->table, l->cap, id);
    if (rec->id && rec->used_us > 0 && rec->used_us < l->last_us)
        note_locked(l, id);
}

void
mlc_ledger_forget(struct mlc_ledger *l, const struct stat *st)
{
    struct record gone = {.id = id_of(st)};
    struct record *rec;
    MLC_LOCK_SCOPE(&l->lock);

    rec = place_of(l->table, l->cap, gone.id);
    if (!rec->id || rec->used_us == 0)
        return;
    rec->used_us = 0;
    append_locked(l, &gone);
}

bool
mlc_ledger_find(struct mlc_ledger *l, const struct stat *st,
                int64_t *ret_used_us)
{
    const struct record *rec;
    MLC_LOCK_SCOPE(&l->lock);

    rec = place_of(l->table, l->cap, id_of(st));
    if (!rec->id || rec->used_us == 0)
        return false;
    *ret_used_us = rec->used_us;
    return true;
}

/* --- begin and end ------------------------------------------------------- */

int
mlc_ledger_open(int dirfd, struct mlc_ledger **ret)
{
    struct mlc_ledger *l = calloc(1, sizeof(*l));
    int r;

    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    l->dirfd = dirfd;
    l->fd = -1;
    r = rebuild_locked(l, FIRST_CAP, INT64_MIN);
    if (r == 0)
        r = load(l);
    if (r == 0)
        r = rewrite_locked(l);
    /* A full disk is no reason not to mount: eviction may make room. */
    if (r == -ENOSPC || r == -EDQUOT) {
        fall_behind_locked(l);
        r = 0;
    }
    if (r < 0) {
        mlc_ledger_close(l);
        return r;
    }
    *ret = l;
    return 0;
}

void
mlc_ledger_close(struct mlc_ledger *l)
{
    if (!l)
        return;
    if (l->fd < 0 && l->retry_ms > 0)
        (void)rewrite_locked(l); /* what it lacks; nobody else is left */
    if (l->fd >= 0)
        close(l->fd);
    free(l->table);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
