/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/evict.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backends/cache/pins.h"
#include "backends/cache/pool.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

/* The oldest things of one count: as many can go before the next. */
#define MAX_ITEMS ((size_t)4096)
/* How long a count is believed while something goes. */
#define COUNT_MS 5000
/* Looked at again while there is too much, but in use or kept: after so many
 * times what a count takes, but in these bounds. */
#define AGAIN_TIMES  20
#define MIN_AGAIN_MS 250
#define MAX_AGAIN_MS 10000
/* What was used so short a time ago stays: who looked it up is about to open
 * it.  Not for a full disk. */
#define GRACE_US INT64_C(1000000)
/* What a disk must have free not to be full: this, or a part of a small one. */
#define ROOM_BYTES ((uint64_t)16 << 20)
#define ROOM_PART  32
#define ROOM_FILES 64
/* How long it is believed that nothing can be had from a full disk. */
#define FULL_MS 1000

struct item {
    const struct mlc_evict_source *source;
    char *name;
    int64_t used_us;
};

struct file_id {
    dev_t dev;
    ino_t ino;
};

struct mlc_evictor {
    uint64_t max;          /* immutable; UINT64_MAX: no limit */
    bool is_offline;       /* immutable */
    struct mlc_pool *pool; /* for the timer */
    struct mlc_pool *own;  /* one thread */
    struct mlc_pins *pins; /* before start; NULL: nothing is pinned */
    struct mlc_evict_source sources[MLC_MAX_SOURCES]; /* before start */
    size_t n_sources;
    atomic_uint_fast64_t estimate, n_written, n_files, n_bytes;
    atomic_bool is_asked; /* the job is queued, and will look at all that is */
    atomic_bool is_vague; /* the estimate may be wrong by more than one write */
    atomic_bool is_stopped;
    struct mlc_job job;
    struct mlc_timer timer;

    pthread_mutex_t lock;
    pthread_cond_t idle; /* lock; is_working became false */
    bool is_working;     /* lock */
    bool is_again;       /* lock; the timer is armed */
    int full_fd;         /* lock; for the job; -1: no disk is full */
    dev_t spent_dev;     /* lock; nothing could go there until spent_ms */
    int64_t spent_ms;    /* lock; monotonic */
    struct mlc_waitlist waiters; /* lock; for a round to end */

    /* The round's: whose is_working is. */
    struct item *items; /* oldest first, once sorted */
    size_t n_items, next_item;
    int64_t counted_ms; /* monotonic */
    int64_t count_ms;   /* how long that took */
    bool is_said;       /* that it failed */
};

struct mlc_evict_round {
    struct mlc_evictor *e;
    const struct mlc_evict_source *source; /* that is being listed */
    int64_t now_us; /* when the count began; 0: nothing is too new */
    bool is_full;   /* it is for a full disk, full_dev */
    dev_t full_dev;
    uint64_t total;
    uint64_t unseen;  /* bytes that came while it was counted, seen or not */
    uint64_t missing; /* is_full: bytes that are to go at the most */
    struct file_id *open; /* sorted; this process's */
    size_t n_open;
};

/* --- what is open -------------------------------------------------------- */

static int
by_id(const void *a, const void *b)
{
    const struct file_id *x = a, *y = b;

    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return (x->ino > y->ino) - (x->ino < y->ino);
}

/* Every reader on the mount has a descriptor here. */
static int
read_open(struct mlc_evict_round *round)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *d;
    size_t cap = 0;
    int r = 0;

    free(mlc_steal(&round->open));
    round->n_open = 0;
    if (!dir)
        return -errno;
    while (r == 0 && (d = readdir(dir))) {
        struct stat st;

        /* By name: the descriptor is another thread's. */
        if (d->d_name[0] == '.' || fstatat(dirfd(dir), d->d_name, &st, 0) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        if (round->n_open == cap) {
            struct file_id *grown = reallocarray(
                round->open, cap ? 2 * cap : 64, sizeof(*round->open));

            if (!grown) {
                r = -ENOMEM;
                break;
            }
            round->open = grown;
            cap = cap ? 2 * cap : 64;
        }
        round->open[round->n_open++] =
            (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
    }
    closedir(dir);
    if (round->open)
        qsort(round->open, round->n_open, sizeof(*round->open), by_id);
    return r;
}

bool
mlc_evict_is_open(struct mlc_evict_round *round, const struct stat *st)
{
    struct file_id id = {.dev = st->st_dev, .ino = st->st_ino};

    return round->open &&
           bsearch(&id, round->open, round->n_open, sizeof(id), by_id);
}

/* --- what is pinned ------------------------------------------------------ */

static bool
is_name_pinned(struct mlc_evict_round *round,
               const struct mlc_evict_source *source, const char *name)
{
    mlc_autofree char *path = NULL;

    if (!source->domain || !mlc_pins_any(round->e->pins))
        return false;
    path = mlc_path_join(source->domain, name);
    return !path || mlc_pins_touches(round->e->pins, path);
}

bool
mlc_evict_has_pins(const struct mlc_evict_round *round)
{
    return mlc_pins_any(round->e->pins);
}

bool
mlc_evict_is_pinned(struct mlc_evict_round *round, const char *key)
{
    struct mlc_evictor *e = round->e;

    if (!mlc_pins_any(e->pins))
        return false;
    for (size_t i = 0; i < e->n_sources; i++)
        if (e->sources[i].is_pinned &&
            e->sources[i].is_pinned(e->sources[i].arg, key))
            return true;
    return false;
}

/* --- what there is ------------------------------------------------------- */

/* A heap with the newest on top, while a count is made. */
static void
sift_down(struct item *items, size_t n, size_t i)
{
    while (2 * i + 1 < n) {
        size_t k = 2 * i + 1;
        struct item swap = items[i];

        if (k + 1 < n && items[k + 1].used_us > items[k].used_us)
            k++;
        if (items[i].used_us >= items[k].used_us)
            return;
        items[i] = items[k];
        items[k] = swap;
        i = k;
    }
}

static void
sift_up(struct item *items, size_t i)
{
    while (i > 0 && items[(i - 1) / 2].used_us < items[i].used_us) {
        struct item swap = items[i];

        items[i] = items[(i - 1) / 2];
        items[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
}

void
mlc_evict_offer(struct mlc_evict_round *round, const char *name,
                const struct stat *st, uint64_t bytes, int64_t used_us,
                bool is_kept)
{
    struct mlc_evictor *e = round->e;
    struct item item = {
        .source = round->source,
        .used_us = used_us,
    };

    round->total += bytes;
    is_kept |= used_us <= round->now_us && round->now_us - used_us < GRACE_US;
    is_kept = is_kept || is_name_pinned(round, round->source, name);
    if (is_kept || bytes == 0 ||
        (round->is_full && st->st_dev != round->full_dev) ||
        (e->n_items == MAX_ITEMS && used_us >= e->items[0].used_us))
        return;
    item.name = strdup(name);
    if (!item.name)
        return;
    if (e->n_items < MAX_ITEMS) {
        e->items[e->n_items++] = item;
        sift_up(e->items, e->n_items - 1);
    } else {
        free(e->items[0].name);
        e->items[0] = item;
        sift_down(e->items, e->n_items, 0);
    }
}

static int
by_age(const void *a, const void *b)
{
    int64_t x = ((const struct item *)a)->used_us;
    int64_t y = ((const struct item *)b)->used_us;

    return x < y ? -1 : x > y;
}

static void
forget_items(struct mlc_evictor *e)
{
    while (e->n_items > e->next_item)
        free(e->items[--e->n_items].name);
    e->n_items = e->next_item = 0;
}

static int
count(struct mlc_evict_round *round)
{
    struct mlc_evictor *e = round->e;
    uint64_t written = atomic_load(&e->n_written);
    int64_t begin_ms = mlc_mono_ms();

    forget_items(e);
    atomic_store(&e->is_vague, false);
    if (!e->items)
        e->items = calloc(MAX_ITEMS, sizeof(*e->items));
    if (!e->items)
        return -ENOMEM;
    round->total = 0;
    for (size_t i = 0; i < e->n_sources && !atomic_load(&e->is_stopped); i++) {
        round->source = &e->sources[i];
        round->source->list(round->source->arg, round);
    }
    qsort(e->items, e->n_items, sizeof(*e->items), by_age);
    e->counted_ms = mlc_mono_ms();
    e->count_ms = e->counted_ms - begin_ms;
    atomic_store(&e->estimate, round->total);
    round->unseen = atomic_load(&e->n_written) - written;
    return 0;
}

/* --- a round ------------------------------------------------------------- */

/* How many bytes more must be free before 'bytes' can be written; 1 where only
 * files are short.  What root alone may use is none: btrfs counts there what
 * nobody can have. */
static uint64_t
missing_on(int fd, uint64_t bytes)
{
    struct statvfs fs;
    uint64_t free_bytes, wanted;

    if (fstatvfs(fd, &fs) < 0)
        return 0;
    free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    wanted = (uint64_t)fs.f_blocks * fs.f_frsize / ROOM_PART;
    if (wanted > ROOM_BYTES)
        wanted = ROOM_BYTES;
    wanted += bytes;
    if (free_bytes < wanted)
        return wanted - free_bytes;
    return fs.f_files > 0 && fs.f_ffree < ROOM_FILES;
}

static bool
is_enough(const struct mlc_evict_round *round)
{
    const struct mlc_evictor *e = round->e;

    if (atomic_load(&e->is_stopped))
        return true;
    return round->is_full ? round->missing == 0
                          : atomic_load(&e->estimate) <= e->max;
}

static uint64_t
drop(struct mlc_evict_round *round, const struct item *item)
{
    struct mlc_evictor *e = round->e;
    uint64_t bytes, estimate;

    if (is_name_pinned(round, item->source, item->name))
        return 0;
    bytes =
        item->source->drop(item->source->arg, item->name, item->used_us, round);
    if (bytes > 0) {
        mlc_debug("evict", "%s: %" PRIu64 " bytes", item->name, bytes);
        atomic_fetch_add(&e->n_files, 1);
        atomic_fetch_add(&e->n_bytes, bytes);
        estimate = atomic_load(&e->estimate);
        while (!atomic_compare_exchange_weak(
            &e->estimate, &estimate, estimate > bytes ? estimate - bytes : 0))
            ;
    }
    return bytes;
}

/* What is listed goes until it is enough.  How many bytes that were.  Of a full
 * disk as much goes as is missing: what is freed is free at once on some disks,
 * and later on others. */
static uint64_t
drop_listed(struct mlc_evict_round *round, int full_fd, uint64_t wanted)
{
    struct mlc_evictor *e = round->e;
    uint64_t bytes = 0;

    while (e->next_item < e->n_items && !is_enough(round)) {
        struct item *item = &e->items[e->next_item++];
        uint64_t n = drop(round, item);

        bytes += n;
        round->missing -= n < round->missing ? n : round->missing;
        if (round->is_full && n > 0 && missing_on(full_fd, wanted) == 0)
            round->missing = 0;
        free(mlc_steal(&item->name));
    }
    return bytes;
}

static bool
must_count(const struct mlc_evict_round *round)
{
    const struct mlc_evictor *e = round->e;

    return e->next_item == e->n_items || round->is_full ||
           atomic_load(&e->is_vague) ||
           mlc_mono_ms() - e->counted_ms >= COUNT_MS;
}

static uint64_t
drop_until_enough(struct mlc_evict_round *round, int full_fd, uint64_t wanted)
{
    struct mlc_evictor *e = round->e;
    uint64_t bytes, all = 0;
    bool is_counted, is_all;
    int r = 0;

    do {
        is_counted = must_count(round);
        round->now_us = round->is_full ? 0 : mlc_now_us();
        if (is_counted)
            r = count(round);
        is_all = e->n_items < MAX_ITEMS;
        if (r == 0 && !is_enough(round))
            r = read_open(round);
        bytes = r == 0 ? drop_listed(round, full_fd, wanted) : 0;
        all += bytes;
    } while (r == 0 && !is_enough(round) &&
             (!is_counted || (bytes > 0 && !is_all)));
    if (r < 0 && !e->is_said)
        mlc_log_err(r, "nothing can be evicted: %s", strerror(-r));
    e->is_said = r < 0;
    return all;
}

/* For max_size. */
static void
run_limit(struct mlc_evictor *e)
{
    struct mlc_evict_round round = {.e = e};

    if (is_enough(&round) && !atomic_load(&e->is_vague))
        return;
    drop_until_enough(&round, -1, 0);
    free(round.open);
    /* It may be what is too much: then it is counted once more. */
    if (atomic_fetch_add(&e->estimate, round.unseen) + round.unseen > e->max)
        atomic_store(&e->is_vague, true);
}

/* For the disk that fd lies on.  true: something went. */
static bool
run_full(struct mlc_evictor *e, int fd, uint64_t wanted)
{
    struct mlc_evict_round round = {
        .e = e, .is_full = true, .missing = missing_on(fd, wanted)};
    struct stat st;
    uint64_t bytes;

    if (round.missing == 0 || fstat(fd, &st) < 0)
        return false;
    round.full_dev = st.st_dev;
    bytes = drop_until_enough(&round, fd, wanted);
    free(round.open);
    /* Of one disk, and without regard for what is new. */
    forget_items(e);
    atomic_fetch_add(&e->estimate, round.unseen);
    if (bytes > 0 && missing_on(fd, wanted) > 0)
        (void)syncfs(fd); /* now what was removed is free */
    return bytes > 0;
}

static void
begin(struct mlc_evictor *e)
{
    pthread_mutex_lock(&e->lock);
    while (e->is_working)
        pthread_cond_wait(&e->idle, &e->lock);
    e->is_working = true;
    pthread_mutex_unlock(&e->lock);
}

static void
end(struct mlc_evictor *e)
{
    struct mlc_waitlist waiters;

    pthread_mutex_lock(&e->lock);
    e->is_working = false;
    mlc_waitlist_take(&e->waiters, &waiters);
    pthread_cond_broadcast(&e->idle);
    pthread_mutex_unlock(&e->lock);
    mlc_waitlist_wake(&waiters);
}

/* Notes that a disk had nothing to give. */
static void
note_spent(struct mlc_evictor *e, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return;
    MLC_LOCK_SCOPE(&e->lock);
    e->spent_dev = st.st_dev;
    e->spent_ms = mlc_mono_ms() + FULL_MS;
}

static bool
is_spent_locked(const struct mlc_evictor *e, int fd)
{
    struct stat st;

    return mlc_mono_ms() < e->spent_ms && fstat(fd, &st) == 0 &&
           st.st_dev == e->spent_dev;
}

/* --- who asks ------------------------------------------------------------ */

static int64_t
again_ms(const struct mlc_evictor *e)
{
    int64_t ms = AGAIN_TIMES * e->count_ms;

    return ms < MIN_AGAIN_MS   ? MIN_AGAIN_MS
           : ms > MAX_AGAIN_MS ? MAX_AGAIN_MS
                               : ms;
}

static void
evict_run(struct mlc_job *job)
{
    struct mlc_evictor *e = mlc_container_of(job, struct mlc_evictor, job);
    mlc_autoclose int fd = -1;
    bool is_too_much;

    begin(e);
    /* Who asks from here on is not answered by this round alone. */
    atomic_store(&e->is_asked, false);
    pthread_mutex_lock(&e->lock);
    fd = mlc_steal_fd(&e->full_fd);
    pthread_mutex_unlock(&e->lock);
    if (fd >= 0 && !run_full(e, fd, 0) && missing_on(fd, 0) > 0)
        note_spent(e, fd);
    if (e->max != UINT64_MAX)
        run_limit(e);
    is_too_much = e->max != UINT64_MAX && atomic_load(&e->estimate) > e->max;
    pthread_mutex_lock(&e->lock);
    if ((is_too_much && !e->is_again) ||
        (e->max != UINT64_MAX && atomic_load(&e->is_vague)))
        mlc_pool_after(e->pool, &e->timer, again_ms(e));
    e->is_again = is_too_much;
    pthread_mutex_unlock(&e->lock);
    end(e);
}

static void
ask(struct mlc_evictor *e)
{
    if (!atomic_exchange(&e->is_asked, true))
        mlc_pool_submit(e->own, MLC_LANE_SLOW, &e->job);
}

static void
again_run(struct mlc_job *job)
{
    struct mlc_timer *timer = mlc_container_of(job, struct mlc_timer, job);
    struct mlc_evictor *e = mlc_container_of(timer, struct mlc_evictor, timer);

    pthread_mutex_lock(&e->lock);
    e->is_again = false;
    pthread_mutex_unlock(&e->lock);
    ask(e);
}

void
mlc_evict_wrote(struct mlc_evictor *e, uint64_t bytes)
{
    uint64_t now;
    bool is_again;

    if (!e || e->max == UINT64_MAX || e->is_offline)
        return;
    atomic_fetch_add(&e->n_written, bytes);
    now = atomic_fetch_add(&e->estimate, bytes) + bytes;
    if (now <= e->max)
        return;
    /* While nothing can go, each span that comes is no reason to count. */
    pthread_mutex_lock(&e->lock);
    is_again = e->is_again;
    pthread_mutex_unlock(&e->lock);
    if (!is_again)
        ask(e);
}

void
mlc_evict_removed(struct mlc_evictor *e)
{
    if (e)
        atomic_store(&e->is_vague, true);
}

void
mlc_evict_submit(struct mlc_evictor *e, struct mlc_job *job)
{
    mlc_pool_submit(e->own, MLC_LANE_SLOW, job);
}

bool
mlc_evict_make_room(struct mlc_evictor *e, int fd, uint64_t bytes)
{
    bool is_gone = false, is_room, is_spent;

    if (!e || e->is_offline)
        return false;
    begin(e);
    pthread_mutex_lock(&e->lock);
    is_spent = is_spent_locked(e, fd);
    pthread_mutex_unlock(&e->lock);
    if (!is_spent)
        is_gone = run_full(e, fd, bytes);
    is_room = is_gone || missing_on(fd, bytes) == 0;
    if (!is_room && !is_spent)
        note_spent(e, fd);
    end(e);
    return is_room;
}

int
mlc_evict_ask_room(struct mlc_evictor *e, int fd, struct mlc_ask *asker)
{
    int r;

    if (!e || e->is_offline)
        return -ENOSPC;
    if (missing_on(fd, 0) == 0)
        return 0;
    pthread_mutex_lock(&e->lock);
    if (atomic_load(&e->is_stopped) || is_spent_locked(e, fd)) {
        r = -ENOSPC;
    } else {
        if (e->full_fd < 0)
            e->full_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        r = mlc_waitlist_add(&e->waiters, asker);
    }
    pthread_mutex_unlock(&e->lock);
    if (r == -EAGAIN)
        ask(e);
    return r;
}

/* --- begin and end ------------------------------------------------------- */

int
mlc_evictor_new(uint64_t max_bytes, bool is_offline, struct mlc_pool *pool,
                struct mlc_evictor **ret)
{
    struct mlc_evictor *e = calloc(1, sizeof(*e));
    int r;

    if (!e)
        return -ENOMEM;
    r = mlc_pool_new(0, 1, &e->own);
    if (r < 0) {
        free(e);
        return r;
    }
    e->max = max_bytes;
    e->is_offline = is_offline;
    e->pool = pool;
    e->full_fd = -1;
    e->job.run = evict_run;
    e->timer.job.run = again_run;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->idle, NULL);
    *ret = e;
    return 0;
}

void
mlc_evictor_set_pins(struct mlc_evictor *e, struct mlc_pins *pins)
{
    e->pins = pins;
}

int
mlc_evictor_add(struct mlc_evictor *e, const struct mlc_evict_source *s)
{
    if (!e)
        return 0;
    if (e->n_sources == MLC_MAX_SOURCES)
        return -ENOSPC;
    e->sources[e->n_sources++] = *s;
    return 0;
}

void
mlc_evictor_start(struct mlc_evictor *e)
{
    if (e->max == UINT64_MAX || e->is_offline)
        return;
    atomic_store(&e->is_vague, true);
    ask(e);
}

void
mlc_evictor_stop(struct mlc_evictor *e)
{
    struct mlc_waitlist waiters;

    pthread_mutex_lock(&e->lock);
    atomic_store(&e->is_stopped, true);
    mlc_waitlist_take(&e->waiters, &waiters);
    pthread_mutex_unlock(&e->lock);
    mlc_waitlist_wake(&waiters);
    mlc_pool_stop(e->own);
}

void
mlc_evictor_get_stats(struct mlc_evictor *e, struct mlc_evict_stats *ret)
{
    ret->files = atomic_load(&e->n_files);
    ret->bytes = atomic_load(&e->n_bytes);
    ret->estimate = atomic_load(&e->estimate);
}

void
mlc_evictor_free(struct mlc_evictor *e)
{
    if (!e)
        return;
    mlc_evictor_stop(e);
    mlc_pool_free(e->own);
    forget_items(e);
    free(e->items);
    if (e->full_fd >= 0)
        close(e->full_fd);
    pthread_cond_destroy(&e->idle);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
