/* SPDX-License-Identifier: MIT */
/* One object: its pieces, who waits for them, and what state it is in.
 *
 * A piece goes ABSENT -> QUEUED -> PRESENT as it is handed over and written,
 * or UNCHECKED -> CHECKING -> PRESENT (or ABSENT) when an earlier run left it.
 * Three jobs work on an object, at most one of each at a time: writes (QUICK;
 * one job per span), check_job (QUICK: unchecked pieces that somebody waits
 * for), step_job (SLOW: the digest in order, and what follows from it).
 * There are many pieces: what is asked of them is asked of spans, under one
 * lock and with the few system calls that a span needs. */
#include "config.h"

#include "backends/cache/object_i.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Measured on pieces of 256 bytes, 512, 256 KiB: gcc 12 hashes a buffer in 27,
 * 26, 15 us at -O2, in 18, 14, 11 at -O3; clang at -O2 as fast as that. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

#include "backends/cache/evict.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"

#define MEMORY_MS       1000 /* how long a failure is answered at once */
#define SPANS_A_STEP    32   /* then other objects' digests have their turn */
#define WRITEBACK_BYTES ((uint64_t)8 * 1024 * 1024)
#define READ_CHUNK      ((size_t)32 * 1024)
#define VALIDATOR_MAX   1024
#define PIECES_MAX      ((uint64_t)262144) /* up to 64 GiB */

static void step_run(struct mlc_job *job);
static void check_run(struct mlc_job *job);
static void write_run(struct mlc_job *job);

/* --- making and freeing ------------------------------------------------ */

MLC_DEFINE_CLEANUP(object, struct mlc_object *, mlc_object_free);

size_t
mlc_piece_size(uint64_t size)
{
    size_t piece = MLC_PIECE_MIN;

    if (size <= MLC_BUFFER)
        return MLC_BUFFER;
    while (piece < MLC_BUFFER && size / piece >= PIECES_MAX)
        piece *= 2;
    return piece;
}

static int
set_digest_start(struct mlc_object *obj)
{
    mlc_digest_free(obj->digest_state);
    obj->digest_state = NULL;
    obj->digest_next = obj->step_end = 0;
    return mlc_digest_new(obj->digest.kind, obj->size, &obj->digest_state);
}

int
mlc_object_new(struct mlc_store *s, const struct mlc_object_spec *spec,
               const uint8_t *name, struct mlc_object **ret)
{
    __attribute__((cleanup(mlc_cleanup_object))) struct mlc_object *obj = NULL;
    int r;

    obj = calloc(1, sizeof(*obj));
    if (!obj)
        return -ENOMEM;
    atomic_init(&obj->refs, 1);
    atomic_init(&obj->fd, -1);
    atomic_init(&obj->progress_ms, mlc_mono_ms());
    pthread_mutex_init(&obj->lock, NULL);
    obj->store = s;
    memcpy(obj->name, name, MLC_NAME_LEN);
    obj->size = spec->size;
    obj->content = spec->content;
    obj->piece_size = mlc_piece_size(spec->size);
    obj->n_pieces =
        spec->size / obj->piece_size + (spec->size % obj->piece_size ? 1 : 0);
    obj->digest = spec->digest;
    obj->map_fd = -1;
    obj->n_absent = obj->n_pieces;
    obj->step_job.run = step_run;
    obj->check_job.run = check_run;
    obj->publish_job.run = mlc_publish_run;
    for (size_t i = 0; i < MLC_N_WRITES; i++) {
        obj->writes[i].job.run = write_run;
        obj->writes[i].obj = obj;
    }
    obj->key = strdup(spec->key);
    obj->label = strdup(spec->label);
    obj->validator = strdup("");
    if (!obj->key || !obj->label || !obj->validator)
        return -ENOMEM;
    r = spec->home ? mlc_object_add_home_locked(obj, spec) : 0;
    if (r < 0)
        return r;
    /* From here on nothing fails: the feed is ours to free. */
    obj->feed_ops = spec->feed_ops;
    obj->feed = spec->feed;
    *ret = mlc_steal(&obj);
    return 0;
}

void
mlc_object_free(struct mlc_object *obj)
{
    struct mlc_home *h;
    int fd;

    if (!obj)
        return;
    if (obj->feed_ops)
        obj->feed_ops->free(obj->feed);
    fd = atomic_load(&obj->fd);
    if (fd >= 0)
        close(fd);
    if (obj->map_fd >= 0)
        close(obj->map_fd);
    free(obj->key);
    free(obj->label);
    free(obj->validator);
    free(obj->pieces);
    while (obj->n_warm > 0)
        mlc_budget_give_buffer(obj->store->budget,
                               obj->warm[--obj->n_warm].buffer);
    mlc_waiters_wake(obj->waiters);
    mlc_digest_free(obj->digest_state);
    while ((h = obj->homes)) {
        obj->homes = h->next;
        free(h->path);
        free(h);
    }
    pthread_mutex_destroy(&obj->lock);
    free(obj);
}

int
mlc_object_add_home_locked(struct mlc_object *obj,
                           const struct mlc_object_spec *spec)
{
    struct mlc_home **p = &obj->homes;
    struct mlc_home *h;

    for (; *p; p = &(*p)->next) {
        h = *p;
        if (h->dirfd == spec->homefd && !strcmp(h->path, spec->home)) {
            /* Asked for anew: it may have been deleted meanwhile. */
            h->is_done = h->is_failed = h->is_unwanted = false;
            return 0;
        }
    }
    h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    h->path = strdup(spec->home);
    if (!h->path) {
        free(h);
        return -ENOMEM;
    }
    h->dirfd = spec->homefd;
    h->mode = spec->mode;
    h->mtime_ms = spec->mtime_ms;
    h->published = spec->published;
    h->published_arg = spec->published_arg;
    *p = h;
    return 0;
}

struct mlc_object *
mlc_object_ref(struct mlc_object *obj)
{
    atomic_fetch_add(&obj->refs, 1);
    return obj;
}

void
mlc_object_unref(struct mlc_object *obj)
{
    unsigned n;

    if (!obj)
        return;
    n = atomic_load(&obj->refs);
    while (n > 1)
        if (atomic_compare_exchange_weak(&obj->refs, &n, n - 1))
            return;
    /* Perhaps the last: only under the table's lock, or a get revives it. */
    if (mlc_store_forget(obj->store, obj))
        mlc_object_free(obj);
}

/* --- pieces -------------------------------------------------------------- */

uint64_t
mlc_object_span_len(const struct mlc_object *obj, uint64_t from, uint64_t to)
{
    uint64_t begin = from * obj->piece_size;
    uint64_t end = to < obj->n_pieces ? to * obj->piece_size : obj->size;

    return end - begin;
}

uint64_t
mlc_object_span_end(const struct mlc_object *obj, uint64_t from)
{
    uint64_t n = MLC_BUFFER / obj->piece_size;
    uint64_t end = from - from % n + n;

    return end < obj->n_pieces ? end : obj->n_pieces;
}

/* The first piece of [from, to) in that state, or 'to'. */
static uint64_t
find_locked(const struct mlc_object *obj, uint64_t from, uint64_t to,
            uint8_t state)
{
    const uint8_t *p = NULL;

    if (from < to)
        p = memchr(obj->pieces + from, state, to - from);
    return p ? (uint64_t)(p - obj->pieces) : to;
}

/* The first piece of [from, to) in another state, or 'to'. */
static uint64_t
skip_locked(const struct mlc_object *obj, uint64_t from, uint64_t to,
            uint8_t state)
{
    uint64_t all, word;

    memset(&all, state, sizeof(all));
    while (to - from >= sizeof(word)) {
        memcpy(&word, obj->pieces + from, sizeof(word));
        if (word != all)
            break;
        from += sizeof(word);
    }
    while (from < to && obj->pieces[from] == state)
        from++;
    return from;
}

static void
set_locked(struct mlc_object *obj, uint64_t from, uint64_t to, uint8_t state)
{
    memset(obj->pieces + from, state, to - from);
}

/* --- waiters ------------------------------------------------------------ */

static void
waiter_free(struct mlc_waiter *w)
{
    mlc_wait_unref(w->wait);
    free(w);
}

void
mlc_waiters_wake(struct mlc_waiter *list)
{
    struct mlc_waiter *w;

    while ((w = list)) {
        list = w->next;
        w->wait->wake(w->wait);
        waiter_free(w);
    }
}

struct mlc_waiter *
mlc_object_take_all_locked(struct mlc_object *obj)
{
    return mlc_steal(&obj->waiters);
}

static bool
is_waiter_dead(const struct mlc_waiter *w)
{
    return atomic_load(&w->wait->is_dead);
}

static bool
is_range_ready_locked(const struct mlc_object *obj, uint64_t first,
                      uint64_t last)
{
    if (obj->state == MLC_OBJECT_WHOLE)
        return true;
    if (first < obj->withheld_end && last >= obj->withheld)
        return false;
    return obj->pieces &&
           skip_locked(obj, first, last + 1, MLC_PIECE_PRESENT) > last;
}

/* Moves waiters to *ret: those that overlap [from, to), if only_ready those
 * of them whose range can be read now. */
static void
take_waiters_locked(struct mlc_object *obj, uint64_t from, uint64_t to,
                    bool only_ready, struct mlc_waiter **ret)
{
    struct mlc_waiter **p = &obj->waiters;

    while (*p) {
        struct mlc_waiter *w = *p;

        if (w->last < from || w->first >= to ||
            (only_ready && !is_range_ready_locked(obj, w->first, w->last))) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        w->next = *ret;
        *ret = w;
    }
}

/* Registers the asker; drops dead ones first.  -EAGAIN or -ENOMEM. */
static int
add_waiter_locked(struct mlc_object *obj, uint64_t first, uint64_t last,
                  struct mlc_ask *ask, struct mlc_waiter **ret_dead)
{
    struct mlc_waiter **p = &obj->waiters;
    struct mlc_waiter *w;
    struct mlc_wait *wait;

    while (*p) {
        w = *p;
        if (!is_waiter_dead(w)) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        w->next = *ret_dead;
        *ret_dead = w;
    }
    wait = ask->get_wait(ask);
    if (!wait)
        return -ENOMEM;
    w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->first = first;
    w->last = last;
    w->wait = mlc_wait_ref(wait);
    *p = w;
    return -EAGAIN;
}

/* The first piece >= from in that state that a live reader waits for. */
static uint64_t
next_waited_locked(const struct mlc_object *obj, uint64_t from, uint64_t to,
                   uint8_t state)
{
    uint64_t best = MLC_NO_PIECE;

    if (to > obj->n_pieces)
        to = obj->n_pieces;
    if (obj->state != MLC_OBJECT_PARTIAL || !obj->pieces)
        return MLC_NO_PIECE;
    for (const struct mlc_waiter *w = obj->waiters; w; w = w->next) {
        uint64_t i = w->first < from ? from : w->first;
        uint64_t end = w->last < to ? w->last + 1 : to;

        if (i >= end || is_waiter_dead(w))
            continue;
        i = find_locked(obj, i, end, state);
        if (i < end)
            best = to = i;
    }
    return best;
}

/* --- the files ---------------------------------------------------------- */

/* Looks for the files of an earlier run.  1: their pieces are in 'pieces';
 * 0: there is nothing of use. */
static int
open_old_files(struct mlc_object *obj, const char *data, const char *map,
               int *ret_fd, int *ret_map_fd, uint8_t *pieces)
{
    mlc_autoclose int fd = -1;
    mlc_autoclose int map_fd = -1;
    mlc_autofree char *validator = NULL;
    struct stat st;
    uint64_t size = 0;
    int dir = obj->store->fd;

    map_fd = openat(dir, map, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    fd = openat(dir, data, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || map_fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size != obj->size)
        return 0;
    if (mlc_map_read_head(map_fd, obj->name, &size, NULL, &validator) < 0 ||
        size != obj->size || mlc_map_load(map_fd, obj->n_pieces, pieces) < 0)
        return 0;
    free(obj->validator);
    obj->validator = mlc_steal(&validator);
    *ret_fd = mlc_steal_fd(&fd);
    *ret_map_fd = mlc_steal_fd(&map_fd);
    return 1;
}

static int
make_new_files(struct mlc_object *obj, const char *data, const char *map,
               int *ret_fd, int *ret_map_fd)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    mlc_autoclose int fd = -1;
    mlc_autoclose int map_fd = -1;
    int dir = obj->store->fd;
    int r;

    unlinkat(dir, map, 0);
    unlinkat(dir, data, 0);
    /* The mode of the published file; the umask is applied here. */
    fd = openat(dir, data, flags,
                (obj->homes ? (mode_t)obj->homes->mode : 0) | 0600);
    /* That the directory was removed under us says nothing of the file. */
    if (fd < 0)
        return errno == ENOENT ? -EIO : -errno;
    if (ftruncate(fd, (off_t)obj->size) < 0)
        return -errno;
    if (obj->n_pieces > 1) {
        map_fd = openat(dir, map, flags, 0600);
        if (map_fd < 0)
            return -errno;
        r = mlc_map_write_head(map_fd, obj->key, obj->size, obj->validator);
        if (r < 0)
            return r;
    }
    *ret_fd = mlc_steal_fd(&fd);
    *ret_map_fd = mlc_steal_fd(&map_fd);
    return 0;
}

/* Which pieces are kept back while all have arrived and no digest is known. */
static void
set_withheld_locked(struct mlc_object *obj, uint64_t from, uint64_t to)
{
    /* Without a digest there is nothing to wait for. */
    if (obj->n_absent > 0 || obj->digest.kind == MLC_DIGEST_NONE)
        from = to = 0;
    obj->withheld = from;
    obj->withheld_end = to;
}

static uint64_t
last_span(const struct mlc_object *obj)
{
    return (obj->size - 1) / MLC_BUFFER * (MLC_BUFFER / obj->piece_size);
}

static void
remember_failure_locked(struct mlc_object *obj, uint64_t from, uint64_t to,
                        int r)
{
    struct mlc_failure *f = &obj->failures[obj->n_failures % MLC_N_FAILURES];

    f->from = from;
    f->to = to;
    f->r = r;
    f->until_ms = mlc_mono_ms() + MEMORY_MS;
    /* Kept above the ring's size once it is full. */
    obj->n_failures++;
    if (obj->n_failures >= 2 * MLC_N_FAILURES)
        obj->n_failures -= MLC_N_FAILURES;
}

/* Of what was just loaded, where a piece is ABSENT or UNCHECKED. */
static void
count_pieces_locked(struct mlc_object *obj)
{
    uint64_t from, to = 0, n = obj->n_pieces;

    obj->n_absent = n;
    obj->present = 0;
    while ((from = skip_locked(obj, to, n, MLC_PIECE_ABSENT)) < n) {
        to = find_locked(obj, from, n, MLC_PIECE_ABSENT);
        obj->n_absent -= to - from;
        obj->present += mlc_object_span_len(obj, from, to);
    }
}

/* Opens or makes the files; the pieces of an earlier run are UNCHECKED. */
static int
load_locked(struct mlc_object *obj)
{
    mlc_autofree uint8_t *pieces = NULL;
    char data[MLC_NAME_TEXT], map[MLC_NAME_TEXT];
    struct stat st;
    int fd = -1, map_fd = -1;
    int r;

    if (obj->is_loaded || obj->state != MLC_OBJECT_PARTIAL)
        return 0;
    r = set_digest_start(obj);
    if (r < 0)
        return r;
    if (obj->n_pieces == 0) {
        obj->is_loaded = true;
        return 0;
    }
    pieces = calloc(1, obj->n_pieces);
    if (!pieces)
        return -ENOMEM;
    mlc_name_text(obj->name, ".data", data);
    mlc_name_text(obj->name, ".map", map);
    r = open_old_files(obj, data, map, &fd, &map_fd, pieces);
    if (r == 0) {
        memset(pieces, MLC_PIECE_ABSENT, obj->n_pieces);
        r = make_new_files(obj, data, map, &fd, &map_fd);
    }
    if (r < 0) {
        /* Of a full disk the asker makes room, and tries again at once. */
        if (r != -ENOSPC || !obj->store->evictor)
            remember_failure_locked(obj, 0, obj->n_pieces, r);
        errno = -r;
        return mlc_log_err(r, "%s: no file in the cache: %m", obj->label);
    }
    if (fstat(fd, &st) == 0) {
        obj->dev = st.st_dev;
        obj->ino = st.st_ino;
    }
    obj->pieces = mlc_steal(&pieces);
    count_pieces_locked(obj);
    obj->map_fd = map_fd;
    atomic_store(&obj->fd, fd);
    obj->is_loaded = true;
    set_withheld_locked(obj, last_span(obj), obj->n_pieces);
    return 0;
}

void
mlc_object_unload_locked(struct mlc_object *obj)
{
    int fd = atomic_exchange(&obj->fd, -1);

    if (fd >= 0)
        close(fd);
    if (obj->map_fd >= 0)
        close(obj->map_fd);
    obj->map_fd = -1;
    free(obj->pieces);
    obj->pieces = NULL;
    obj->is_loaded = false;
    obj->n_absent = obj->n_pieces;
    obj->present = 0;
    obj->withheld = obj->withheld_end = 0;
    obj->is_given = false;
    obj->validator[0] = '\0';
}

bool
mlc_object_is_busy_locked(const struct mlc_object *obj)
{
    return obj->n_queued > 0 || obj->is_stepping || obj->is_checking ||
           obj->is_publishing || obj->is_resetting;
}

/* --- the digest ---------------------------------------------------------- */

/* May the digest go on?  Then step_job has to be submitted (SLOW); the
 * reference is taken. */
static bool
step_kick_locked(struct mlc_object *obj)
{
    uint64_t i = obj->digest_next;

    if (!obj->is_loaded || obj->is_stepping || obj->is_resetting ||
        obj->state != MLC_OBJECT_PARTIAL ||
        atomic_load(&obj->store->is_stopped))
        return false;
    if (i < obj->n_pieces && obj->pieces[i] != MLC_PIECE_PRESENT &&
        obj->pieces[i] != MLC_PIECE_UNCHECKED)
        return false;
    /* What an earlier run left is read when somebody opens the file. */
    if (obj->n_open == 0 && obj->n_absent > 0)
        return false;
    obj->is_stepping = true;
    mlc_object_ref(obj);
    return true;
}

/* Calls fn for each chunk of [from, to).  -EBADMSG if the file is shorter. */
static int
read_span(struct mlc_object *obj, uint64_t from, uint64_t to,
          int (*fn)(void *arg, const void *data, size_t len), void *arg)
{
    uint8_t chunk[READ_CHUNK];
    uint64_t left = mlc_object_span_len(obj, from, to);
    uint64_t off = from * obj->piece_size;
    int fd = atomic_load(&obj->fd);
    int r;

    while (left > 0) {
        ssize_t n =
            pread(fd, chunk, left < READ_CHUNK ? (size_t)left : READ_CHUNK,
                  (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EBADMSG;
        r = fn(arg, chunk, (size_t)n);
        if (r < 0)
            return r;
        left -= (uint64_t)n;
        off += (uint64_t)n;
    }
    return 0;
}

static int
feed_digest(void *arg, const void *data, size_t len)
{
    return mlc_digest_update(arg, data, len);
}

/* Compares what is on disk with the map, as it is read. */
struct check {
    const struct mlc_object *obj;
    uint64_t next; /* the piece that is being read */
    size_t fill;   /* of it */
    XXH3_state_t state;
    uint64_t from; /* of the span */
    uint64_t map[MLC_SPAN_MAX];
    bool is_good[MLC_SPAN_MAX];
};

static int
feed_check(void *arg, const void *data, size_t len)
{
    struct check *c = arg;
    const char *p = data;

    while (len > 0) {
        uint64_t i = c->next - c->from;
        size_t left =
            (size_t)mlc_object_span_len(c->obj, c->next, c->next + 1) - c->fill;
        size_t n = len < left ? len : left;

        if (c->fill == 0)
            XXH3_64bits_reset(&c->state);
        XXH3_64bits_update(&c->state, p, n);
        c->fill += n;
        p += n;
        len -= n;
        if (n < left)
            break;
        c->is_good[i] =
            c->map[i] != 0 &&
            mlc_map_hash(XXH3_64bits_digest(&c->state)) == c->map[i];
        c->next++;
        c->fill = 0;
    }
    return 0;
}

/* A piece is not there after all. */
static void
lose_piece_locked(struct mlc_object *obj, uint64_t index)
{
    obj->pieces[index] = MLC_PIECE_ABSENT;
    obj->n_absent++;
    obj->withheld = obj->withheld_end = 0;
}

static void
forget_bad(struct mlc_object *obj, uint64_t index)
{
    const uint64_t none = 0;

    mlc_map_set(obj->map_fd, index, &none, 1);
    mlc_debug("object", "%s: piece %" PRIu64 " on disk is damaged", obj->label,
              index);
}

/* Settles a span that the caller set to CHECKING.  The first piece that is not
 * good, or 'to'. */
static uint64_t
check_span(struct mlc_object *obj, uint64_t from, uint64_t to,
           struct mlc_waiter **ret)
{
    struct check c = {.obj = obj, .from = from, .next = from};
    uint64_t bad = to;

    if (mlc_map_get(obj->map_fd, from, c.map, (size_t)(to - from)) == 0)
        (void)read_span(obj, from, to, feed_check, &c);
    for (uint64_t i = to; i-- > from;) {
        if (c.is_good[i - from])
            continue;
        forget_bad(obj, i);
        bad = i;
    }
    pthread_mutex_lock(&obj->lock);
    set_locked(obj, from, to, MLC_PIECE_PRESENT);
    for (uint64_t i = bad; i < to; i++) {
        if (c.is_good[i - from])
            continue;
        obj->present -= mlc_object_span_len(obj, i, i + 1);
        lose_piece_locked(obj, i);
    }
    /* If it was the only hole, another piece is not the last any more. */
    take_waiters_locked(obj, bad == to ? from : 0,
                        bad == to ? to : obj->n_pieces, true, ret);
    pthread_mutex_unlock(&obj->lock);
    return bad;
}

/* All bytes are dropped and fetched once more: nobody has seen any. */
static void
reset(struct mlc_object *obj)
{
    struct mlc_waiter *list;
    int r = 0, fd = atomic_load(&obj->fd);

    if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)obj->size) < 0)
        r = -errno;
    if (r == 0 && obj->map_fd >= 0)
        r = mlc_map_clear(obj->map_fd, obj->key, obj->size);
    if (r < 0) {
        errno = -r;
        mlc_log_err(r, "%s: cannot be emptied: %m", obj->label);
    }
    pthread_mutex_lock(&obj->lock);
    set_locked(obj, 0, obj->n_pieces, MLC_PIECE_ABSENT);
    obj->validator[0] = '\0';
    obj->n_absent = obj->n_pieces;
    obj->present = 0;
    obj->withheld = obj->withheld_end = 0;
    obj->is_resetting = false;
    obj->is_stepping = false;
    if (r == 0)
        r = set_digest_start(obj);
    list = mlc_object_take_all_locked(obj);
    pthread_mutex_unlock(&obj->lock);
    if (r < 0)
        mlc_store_kill(obj->store, obj, true);
    mlc_waiters_wake(list);
    if (r == 0)
        obj->feed_ops->want(obj->feed, obj, 0);
}

/* The next of the homes, which are only appended and live as long as obj. */
static struct mlc_home *
home_after(struct mlc_object *obj, const struct mlc_home *h)
{
    MLC_LOCK_SCOPE(&obj->lock);
    return h ? h->next : obj->homes;
}

/* The whole was read and its digest is wrong (or r: could not be read). */
static void
mismatch(struct mlc_object *obj)
{
    bool is_again;

    mlc_log_err(-EBADMSG, "%s: %s mismatch: what was fetched is dropped",
                obj->label,
                obj->digest.kind == MLC_DIGEST_GIT ? "git sha1" : "sha256");
    atomic_fetch_add(&obj->store->digest_errors, 1);
    pthread_mutex_lock(&obj->lock);
    /* After a failed read (not at the end) other jobs may be at work. */
    is_again = !obj->is_given && !obj->is_refetched && obj->size > 0 &&
               obj->digest_next == obj->n_pieces;
    obj->is_refetched = true;
    obj->is_resetting = is_again;
    /* From now on nothing is ready: no want can be answered in between. */
    if (is_again)
        set_locked(obj, 0, obj->n_pieces, MLC_PIECE_QUEUED);
    else
        obj->is_stepping = false;
    pthread_mutex_unlock(&obj->lock);
    if (is_again) {
        reset(obj);
        return;
    }
    mlc_store_kill(obj->store, obj, false);
    for (struct mlc_home *h = home_after(obj, NULL); h; h = home_after(obj, h))
        if (h->published)
            h->published(h->published_arg, h->path, -EBADMSG);
}

/* Every piece went into the digest. */
static void
finish_digest(struct mlc_object *obj)
{
    struct mlc_waiter *list = NULL;
    struct mlc_digest got;
    bool is_publishing;
    int r;

    r = mlc_digest_finish(obj->digest_state, &got);
    if (r < 0 || !mlc_digest_equal(&got, &obj->digest)) {
        mismatch(obj);
        return;
    }
    pthread_mutex_lock(&obj->lock);
    obj->is_stepping = false;
    if (obj->state == MLC_OBJECT_PARTIAL) {
        obj->state = MLC_OBJECT_WHOLE;
        obj->withheld = obj->withheld_end = 0;
        list = mlc_object_take_all_locked(obj);
    }
    is_publishing = mlc_publish_kick_locked(obj);
    pthread_mutex_unlock(&obj->lock);
    /* Readers first: publishing syncs. */
    mlc_waiters_wake(list);
    if (is_publishing)
        mlc_publish_run(&obj->publish_job);
}

/* Keeps a span that was just written if the digest comes to it next.  true:
 * the buffer was taken over. */
static bool
keep_warm_locked(struct mlc_object *obj, uint64_t index, uint64_t end,
                 void *buffer)
{
    if (obj->digest.kind == MLC_DIGEST_NONE || obj->n_open == 0 ||
        obj->state != MLC_OBJECT_PARTIAL || obj->n_warm == MLC_N_WARM ||
        atomic_load(&obj->store->is_stopped))
        return false;
    if (obj->n_warm > 0 ? index != obj->warm[obj->n_warm - 1].end
                        : index != obj->digest_next &&
                              !(index == obj->step_end && obj->is_stepping))
        return false;
    if (obj->n_warm == 0)
        obj->warm_first = index;
    obj->warm[obj->n_warm++] = (struct mlc_warm){.buffer = buffer, .end = end};
    return true;
}

/* The span that begins at index, if it is warm: its buffer, which is the
 * caller's to give back then, and its end.  Else NULL, and *end is moved back
 * to where one begins. */
static void *
take_warm_locked(struct mlc_object *obj, uint64_t index, uint64_t *end)
{
    void *buffer;

    if (obj->n_warm > 0 && index < obj->warm_first && obj->warm_first < *end)
        *end = obj->warm_first;
    if (obj->n_warm == 0 || obj->warm_first != index)
        return NULL;
    buffer = obj->warm[0].buffer;
    *end = obj->warm_first = obj->warm[0].end;
    obj->n_warm--;
    memmove(obj->warm, obj->warm + 1, obj->n_warm * sizeof(obj->warm[0]));
    return buffer;
}

/* Nobody reads on: what is kept for the digest is given back. */
static void
drop_warm(struct mlc_object *obj)
{
    struct mlc_warm warm[MLC_N_WARM];
    unsigned n;

    pthread_mutex_lock(&obj->lock);
    n = obj->n_warm;
    memcpy(warm, obj->warm, sizeof(warm));
    obj->n_warm = 0;
    pthread_mutex_unlock(&obj->lock);
    while (n > 0)
        mlc_budget_give_buffer(obj->store->budget, warm[--n].buffer);
}

static int
digest_span(struct mlc_object *obj, uint64_t from, uint64_t to, void *warm)
{
    int r;

    if (!warm)
        return read_span(obj, from, to, feed_digest, obj->digest_state);
    r = mlc_digest_update(obj->digest_state, warm,
                          (size_t)mlc_object_span_len(obj, from, to));
    mlc_budget_give_buffer(obj->store->budget, warm);
    return r;
}

/* The disk begins while the rest still comes, so that publishing has little
 * left to wait for. */
static void
begin_writeback(struct mlc_object *obj, uint64_t from, uint64_t to)
{
    uint64_t done = from * obj->piece_size / WRITEBACK_BYTES;
    uint64_t now = to * obj->piece_size / WRITEBACK_BYTES;

    if (now > done)
        (void)sync_file_range(
            atomic_load(&obj->fd), (off_t)(done * WRITEBACK_BYTES),
            (off_t)((now - done) * WRITEBACK_BYTES), SYNC_FILE_RANGE_WRITE);
}

/* Takes the next span of the digest.  1: goes on; 0: not yet; -errno: the
 * whole can't be right. */
static int
step_span(struct mlc_object *obj)
{
    struct mlc_waiter *list = NULL;
    uint64_t i = obj->digest_next, end, bad;
    void *warm = NULL;
    uint8_t piece;

    pthread_mutex_lock(&obj->lock);
    if (obj->state != MLC_OBJECT_PARTIAL ||
        atomic_load(&obj->store->is_stopped) ||
        (obj->n_open == 0 && obj->n_absent > 0)) {
        pthread_mutex_unlock(&obj->lock);
        return 0;
    }
    piece = obj->pieces[i];
    end = skip_locked(obj, i, mlc_object_span_end(obj, i), piece);
    if (piece == MLC_PIECE_UNCHECKED)
        set_locked(obj, i, end, MLC_PIECE_CHECKING);
    else if (piece == MLC_PIECE_PRESENT)
        warm = take_warm_locked(obj, i, &end);
    obj->step_end = end;
    pthread_mutex_unlock(&obj->lock);

    if (piece == MLC_PIECE_UNCHECKED) {
        bad = check_span(obj, i, end, &list);
        mlc_waiters_wake(list);
        if (bad < end) {
            obj->feed_ops->want(obj->feed, obj, bad);
            return 0;
        }
    } else if (piece != MLC_PIECE_PRESENT) {
        return 0;
    }
    if (obj->digest.kind != MLC_DIGEST_NONE &&
        digest_span(obj, i, end, warm) < 0)
        return -EBADMSG;
    begin_writeback(obj, i, end);
    pthread_mutex_lock(&obj->lock);
    obj->digest_next = end;
    pthread_mutex_unlock(&obj->lock);
    return 1;
}

static void
step_run(struct mlc_job *job)
{
    struct mlc_object *obj = mlc_container_of(job, struct mlc_object, step_job);
    bool is_again;
    int r = 1;

    for (int n = 0; n < SPANS_A_STEP && r > 0; n++)
        r = obj->digest_next < obj->n_pieces ? step_span(obj) : 0;
    if (r < 0) {
        mismatch(obj);
    } else if (r == 0 && obj->digest_next == obj->n_pieces) {
        finish_digest(obj);
    } else {
        pthread_mutex_lock(&obj->lock);
        obj->is_stepping = false;
        obj->step_end = obj->digest_next;
        is_again = step_kick_locked(obj);
        pthread_mutex_unlock(&obj->lock);
        if (is_again)
            mlc_pool_submit(obj->store->pool, MLC_LANE_SLOW, &obj->step_job);
    }
    mlc_object_unref(obj);
}

/* --- checking what somebody waits for ------------------------------------ */

static bool
check_kick_locked(struct mlc_object *obj)
{
    if (obj->is_checking || atomic_load(&obj->store->is_stopped))
        return false;
    obj->is_checking = true;
    mlc_object_ref(obj);
    return true;
}

static void
check_run(struct mlc_job *job)
{
    struct mlc_object *obj =
        mlc_container_of(job, struct mlc_object, check_job);
    struct mlc_waiter *list;
    bool is_stepping;
    uint64_t i, end, bad;

    pthread_mutex_lock(&obj->lock);
    while (!atomic_load(&obj->store->is_stopped)) {
        i = next_waited_locked(obj, 0, obj->n_pieces, MLC_PIECE_UNCHECKED);
        if (i == MLC_NO_PIECE)
            break;
        end = skip_locked(obj, i, mlc_object_span_end(obj, i),
                          MLC_PIECE_UNCHECKED);
        set_locked(obj, i, end, MLC_PIECE_CHECKING);
        pthread_mutex_unlock(&obj->lock);
        list = NULL;
        bad = check_span(obj, i, end, &list);
        if (bad < end)
            obj->feed_ops->want(obj->feed, obj, bad);
        mlc_waiters_wake(list);
        pthread_mutex_lock(&obj->lock);
    }
    obj->is_checking = false;
    /* The digest may have stopped at a piece that was being checked. */
    is_stepping = step_kick_locked(obj);
    pthread_mutex_unlock(&obj->lock);
    if (is_stepping)
        mlc_pool_submit(obj->store->pool, MLC_LANE_SLOW, &obj->step_job);
    mlc_object_unref(obj);
}

/* --- the reader's side --------------------------------------------------- */

void
mlc_object_open(struct mlc_object *obj)
{
    bool is_first, is_stepping, is_publishing;

    pthread_mutex_lock(&obj->lock);
    is_first = obj->n_open++ == 0;
    /* A failure is told at the first want. */
    (void)load_locked(obj);
    is_stepping = step_kick_locked(obj);
    for (struct mlc_home *h = obj->homes; h; h = h->next)
        h->is_failed = false;
    is_publishing = mlc_publish_kick_locked(obj);
    pthread_mutex_unlock(&obj->lock);
    if (is_stepping)
        mlc_pool_submit(obj->store->pool, MLC_LANE_SLOW, &obj->step_job);
    if (is_publishing)
        mlc_pool_submit(obj->store->pool, MLC_LANE_SLOW, &obj->publish_job);
    if (is_first && obj->n_pieces > 0)
        obj->feed_ops->opened(obj->feed, obj, true);
}

void
mlc_object_close(struct mlc_object *obj)
{
    bool is_last;

    pthread_mutex_lock(&obj->lock);
    is_last = --obj->n_open == 0;
    pthread_mutex_unlock(&obj->lock);
    if (is_last)
        drop_warm(obj);
    if (is_last && obj->n_pieces > 0)
        obj->feed_ops->opened(obj->feed, obj, false);
}

void
mlc_object_open_part(struct mlc_object *obj)
{
    bool is_publishing;

    pthread_mutex_lock(&obj->lock);
    obj->n_open_part++;
    /* A failure is told at the first want. */
    (void)load_locked(obj);
    is_publishing = mlc_publish_kick_locked(obj);
    pthread_mutex_unlock(&obj->lock);
    if (is_publishing)
        mlc_pool_submit(obj->store->pool, MLC_LANE_SLOW, &obj->publish_job);
}

void
mlc_object_close_part(struct mlc_object *obj)
{
    bool is_last;

    pthread_mutex_lock(&obj->lock);
    is_last = --obj->n_open_part == 0 && obj->n_open == 0;
    pthread_mutex_unlock(&obj->lock);
    if (is_last && obj->n_pieces > 0)
        obj->feed_ops->opened(obj->feed, obj, false);
}

bool
mlc_object_is_part(struct mlc_object *obj)
{
    MLC_LOCK_SCOPE(&obj->lock);
    return obj->n_open == 0;
}

bool
mlc_object_is_open(struct mlc_object *obj)
{
    MLC_LOCK_SCOPE(&obj->lock);
    return obj->n_open > 0 && obj->state == MLC_OBJECT_PARTIAL &&
           !atomic_load(&obj->store->is_stopped);
}

/* Would it have to be fetched?  What is on disk and not checked yet, or on its
 * way there, does not hang on what failed elsewhere. */
static bool
is_any_absent_locked(const struct mlc_object *obj, uint64_t from, uint64_t to)
{
    return obj->state != MLC_OBJECT_WHOLE && from < to &&
           (!obj->pieces || find_locked(obj, from, to, MLC_PIECE_ABSENT) < to);
}

/* The errno of a failure that is remembered for a piece that is absent. */
static int
recent_failure_locked(const struct mlc_object *obj, uint64_t first,
                      uint64_t last)
{
    unsigned n =
        obj->n_failures < MLC_N_FAILURES ? obj->n_failures : MLC_N_FAILURES;
    int64_t now = n > 0 ? mlc_mono_ms() : 0;

    for (unsigned k = 0; k < n; k++) {
        const struct mlc_failure *f = &obj->failures[k];

        if (now < f->until_ms &&
            is_any_absent_locked(obj, first > f->from ? first : f->from,
                                 last < f->to ? last + 1 : f->to))
            return f->r;
    }
    return 0;
}

int
mlc_object_want(struct mlc_object *obj, uint64_t off, size_t len,
                struct mlc_ask *ask)
{
    struct mlc_waiter *dead = NULL;
    uint64_t first, last, missing = MLC_NO_PIECE;
    bool is_checking = false, is_stepping = false;
    int r;

    pthread_mutex_lock(&obj->lock);
    if (atomic_load(&obj->store->is_stopped) || obj->state == MLC_OBJECT_DEAD) {
        r = -EIO;
        goto out;
    }
    r = 0;
    if (off >= obj->size || len == 0)
        goto out;
    if (len > obj->size - off)
        len = (size_t)(obj->size - off);
    first = off / obj->piece_size;
    last = (off + len - 1) / obj->piece_size;
    if (obj->state == MLC_OBJECT_WHOLE)
        goto out;
    r = recent_failure_locked(obj, first, last);
    if (r < 0)
        goto out;
    r = load_locked(obj);
    if (r < 0)
        goto out;
    if (is_range_ready_locked(obj, first, last)) {
        obj->is_given = true;
        goto out;
    }
    r = -EAGAIN;
    if (ask->only_known || !ask->get_wait)
        goto out;
    r = add_waiter_locked(obj, first, last, ask, &dead);
    if (r != -EAGAIN)
        goto out;
    missing = find_locked(obj, first, last + 1, MLC_PIECE_ABSENT);
    if (missing > last)
        missing = MLC_NO_PIECE;
    if (find_locked(obj, first, last + 1, MLC_PIECE_UNCHECKED) <= last)
        is_checking = check_kick_locked(obj);
    is_stepping = step_kick_locked(obj);
out:
    pthread_mutex_unlock(&obj->lock);
    while (dead) {
        struct mlc_waiter *w = dead;

        dead = w->next;
        waiter_free(w);
    }
    if (is_checking)
        mlc_pool_submit(obj->store->pool, MLC_LANE_QUICK, &obj->check_job);
    if (is_stepping)
        mlc_pool_submit(obj->store->pool, MLC_LANE_SLOW, &obj->step_job);
    if (missing != MLC_NO_PIECE)
        obj->feed_ops->want(obj->feed, obj, missing);
    return r;
}

int
mlc_object_check_file(struct mlc_object *obj)
{
    int fd = mlc_object_fd(obj);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size >= obj->size)
        return 0;
    if (mlc_object_get_state(obj) != MLC_OBJECT_DEAD)
        mlc_log_err(-EIO, "%s: its file in the cache was cut to %lld bytes",
                    obj->label, (long long)st.st_size);
    mlc_object_kill(obj);
    return -EIO;
}

int
mlc_object_fd(struct mlc_object *obj)
{
    /* Not for the value: the close that follows the reply comes by way of the
     * kernel, and this orders our reads of the object before it. */
    MLC_LOCK_SCOPE(&obj->lock);
    return atomic_load(&obj->fd);
}

uint64_t
mlc_object_size(const struct mlc_object *obj)
{
    return obj->size;
}

uint64_t
mlc_object_present(struct mlc_object *obj)
{
    pthread_mutex_lock(&obj->lock);
    if (obj->state == MLC_OBJECT_WHOLE || obj->is_loaded) {
        uint64_t n = obj->state == MLC_OBJECT_WHOLE ? obj->size : obj->present;

        pthread_mutex_unlock(&obj->lock);
        return n;
    }
    pthread_mutex_unlock(&obj->lock);
    return mlc_store_present(obj->store, obj->key);
}

enum mlc_object_state
mlc_object_get_state(struct mlc_object *obj)
{
    MLC_LOCK_SCOPE(&obj->lock);
    return obj->state;
}

bool
mlc_object_is_published(struct mlc_object *obj)
{
    MLC_LOCK_SCOPE(&obj->lock);
    return obj->is_published;
}

int64_t
mlc_object_progress_ms(struct mlc_object *obj)
{
    return atomic_load(&obj->progress_ms);
}

void
mlc_object_file_id(const struct mlc_object *obj, dev_t *ret_dev, ino_t *ret_ino)
{
    /* Written before fd is, once. */
    bool is_there = atomic_load(&obj->fd) >= 0;

    *ret_dev = is_there ? obj->dev : 0;
    *ret_ino = is_there ? obj->ino : 0;
}

const char *
mlc_object_label(const struct mlc_object *obj)
{
    return obj->label;
}

uint64_t
mlc_object_content(const struct mlc_object *obj)
{
    return obj->content;
}

/* --- the feed's side ----------------------------------------------------- */

uint64_t
mlc_object_n_pieces(const struct mlc_object *obj)
{
    return obj->n_pieces;
}

size_t
mlc_object_piece_size(const struct mlc_object *obj)
{
    return obj->piece_size;
}

bool
mlc_object_has(struct mlc_object *obj, uint64_t index)
{
    MLC_LOCK_SCOPE(&obj->lock);
    return obj->state == MLC_OBJECT_WHOLE ||
           (obj->pieces && obj->pieces[index] != MLC_PIECE_ABSENT);
}

uint64_t
mlc_object_next_missing(struct mlc_object *obj, uint64_t from)
{
    MLC_LOCK_SCOPE(&obj->lock);
    if (from >= obj->n_pieces || obj->state != MLC_OBJECT_PARTIAL)
        return obj->n_pieces;
    if (!obj->pieces)
        return from;
    return find_locked(obj, from, obj->n_pieces, MLC_PIECE_ABSENT);
}

uint64_t
mlc_object_next_present(struct mlc_object *obj, uint64_t from, uint64_t to)
{
    MLC_LOCK_SCOPE(&obj->lock);
    if (to > obj->n_pieces)
        to = obj->n_pieces;
    if (from >= to || obj->state == MLC_OBJECT_WHOLE)
        return from;
    return obj->pieces ? skip_locked(obj, from, to, MLC_PIECE_ABSENT) : to;
}

uint64_t
mlc_object_next_wanted(struct mlc_object *obj, uint64_t from, uint64_t to)
{
    MLC_LOCK_SCOPE(&obj->lock);
    return next_waited_locked(obj, from, to, MLC_PIECE_ABSENT);
}

uint64_t
mlc_object_wanted_end(struct mlc_object *obj, uint64_t from, uint64_t to)
{
    uint64_t end = from, before;

    MLC_LOCK_SCOPE(&obj->lock);
    do {
        before = end;
        for (const struct mlc_waiter *w = obj->waiters; w; w = w->next)
            if (w->first <= end && w->last >= end && !is_waiter_dead(w))
                end = w->last + 1;
    } while (end > before && end < to);
    return end < to ? end : to;
}

void
mlc_object_touch(struct mlc_object *obj)
{
    atomic_store(&obj->progress_ms, mlc_mono_ms());
}

/* What of the span is to be written, behind *to: a few of its pieces may have
 * been there. */
static bool
next_queued_locked(const struct mlc_object *obj, const struct mlc_write *w,
                   uint64_t *from, uint64_t *to)
{
    *from = find_locked(obj, *to, w->end, MLC_PIECE_QUEUED);
    *to = skip_locked(obj, *from, w->end, MLC_PIECE_QUEUED);
    return *from < *to;
}

static int
write_map(struct mlc_object *obj, const char *p, uint64_t from, uint64_t to)
{
    uint64_t hashes[MLC_SPAN_MAX];

    for (uint64_t i = from; i < to; i++) {
        size_t len = (size_t)mlc_object_span_len(obj, i, i + 1);

        hashes[i - from] = mlc_map_hash(XXH3_64bits(p, len));
        p += len;
    }
    return mlc_map_set(obj->map_fd, from, hashes, (size_t)(to - from));
}

/* The bytes and then the map: what the map says is there. */
static int
write_span(struct mlc_object *obj, const struct mlc_write *w, uint64_t from,
           uint64_t to)
{
    const char *bytes =
        (const char *)w->buffer + (from - w->index) * obj->piece_size;
    const char *p = bytes;
    uint64_t off = from * obj->piece_size;
    size_t left = (size_t)mlc_object_span_len(obj, from, to);
    int fd = atomic_load(&obj->fd);

    while (left > 0) {
        ssize_t n = pwrite(fd, p, left, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        off += (uint64_t)n;
        left -= (size_t)n;
    }
    return obj->map_fd < 0 ? 0 : write_map(obj, bytes, from, to);
}

/* What of the span is absent; *ret_failed: from where on it failed. */
static int
write_queued(struct mlc_object *obj, const struct mlc_write *w,
             uint64_t *ret_failed)
{
    struct mlc_store *s = obj->store;
    uint64_t from, to = w->index;
    int r = 0;

    pthread_mutex_lock(&obj->lock);
    while (r == 0 && next_queued_locked(obj, w, &from, &to)) {
        pthread_mutex_unlock(&obj->lock);
        r = atomic_load(&s->is_stopped) ? -ECANCELED
                                        : write_span(obj, w, from, to);
        if (r == 0)
            mlc_evict_wrote(s->evictor, mlc_object_span_len(obj, from, to));
        pthread_mutex_lock(&obj->lock);
        *ret_failed = from;
        if (r == 0) {
            set_locked(obj, from, to, MLC_PIECE_PRESENT);
            obj->present += mlc_object_span_len(obj, from, to);
        }
    }
    pthread_mutex_unlock(&obj->lock);
    return r;
}

static void
write_failed_locked(struct mlc_object *obj, uint64_t from, uint64_t to, int r,
                    struct mlc_waiter **ret)
{
    for (uint64_t i = from; i < to; i++)
        if (obj->pieces[i] == MLC_PIECE_QUEUED)
            lose_piece_locked(obj, i);
    /* The disk is full for every piece, not for this one. */
    remember_failure_locked(obj, 0, obj->n_pieces, r);
    obj->write_error = r;
    obj->write_error_ms = mlc_mono_ms() + MEMORY_MS;
    take_waiters_locked(obj, 0, obj->n_pieces, false, ret);
}

static void
write_run(struct mlc_job *job)
{
    struct mlc_write *w = mlc_container_of(job, struct mlc_write, job);
    struct mlc_object *obj = w->obj;
    struct mlc_store *s = obj->store;
    struct mlc_waiter *list = NULL;
    uint64_t index = w->index, end = w->end, failed = end;
    void *buffer = w->buffer;
    bool is_stepping, is_room, is_first_error = false;
    int r;

    if (w->is_retry && !atomic_load(&s->is_stopped))
        mlc_evict_make_room(s->evictor, atomic_load(&obj->fd), MLC_BUFFER);
    r = write_queued(obj, w, &failed);
    if (r == -ENOSPC && !w->is_retry && s->evictor) {
        w->is_retry = true; /* which may take a while */
        mlc_evict_submit(s->evictor, &w->job);
        return;
    }

    pthread_mutex_lock(&obj->lock);
    obj->n_queued--;
    if (r == 0) {
        if (skip_locked(obj, index, end, MLC_PIECE_PRESENT) == end &&
            keep_warm_locked(obj, index, end, buffer))
            buffer = NULL;
        take_waiters_locked(obj, index, end, true, &list);
    } else {
        is_first_error = mlc_mono_ms() >= obj->write_error_ms;
        write_failed_locked(obj, failed, end, r, &list);
    }
    w->buffer = NULL;
    is_stepping = step_kick_locked(obj);
    is_room = obj->is_put_refused && obj->n_queued <= MLC_N_WRITES / 2;
    if (is_room)
        obj->is_put_refused = false;
    pthread_mutex_unlock(&obj->lock);

    mlc_budget_give_buffer(s->budget, buffer);
    if (is_first_error && r != -ECANCELED) {
        errno = -r;
        mlc_log_err(r, "%s: cannot be written to the cache: %m", obj->label);
    }
    mlc_waiters_wake(list);
    if (is_stepping)
        mlc_pool_submit(s->pool, MLC_LANE_SLOW, &obj->step_job);
    if (is_room && obj->feed_ops->room)
        obj->feed_ops->room(obj->feed, obj);
    mlc_object_unref(obj);
}

/* Each piece is written by one job. */
static bool
is_being_written_locked(const struct mlc_object *obj, uint64_t from,
                        uint64_t to)
{
    for (size_t i = 0; i < MLC_N_WRITES; i++) {
        const struct mlc_write *w = &obj->writes[i];

        if (w->buffer && w->index < to && w->end > from)
            return true;
    }
    return false;
}

/* What is absent of the span waits for the job.  How many pieces. */
static uint64_t
queue_locked(struct mlc_object *obj, uint64_t from, uint64_t to)
{
    uint64_t end, n = 0;

    while ((from = find_locked(obj, from, to, MLC_PIECE_ABSENT)) < to) {
        end = skip_locked(obj, from, to, MLC_PIECE_ABSENT);
        set_locked(obj, from, end, MLC_PIECE_QUEUED);
        n += end - from;
        from = end;
    }
    return n;
}

/* 1: the span is not needed; 0: *ret_w is to be submitted; -errno. */
static int
put_locked(struct mlc_object *obj, uint64_t index, void *buffer, size_t len,
           struct mlc_write **ret_w)
{
    struct mlc_write *w = obj->writes;
    uint64_t end =
        index + len / obj->piece_size + (len % obj->piece_size ? 1 : 0);
    int r;

    if (atomic_load(&obj->store->is_stopped) || obj->is_resetting ||
        obj->state != MLC_OBJECT_PARTIAL || index >= end ||
        end > obj->n_pieces || len > MLC_BUFFER ||
        len != mlc_object_span_len(obj, index, end))
        return 1;
    if (obj->write_error < 0 && mlc_mono_ms() < obj->write_error_ms)
        return obj->write_error;
    obj->write_error = 0;
    r = load_locked(obj);
    if (r < 0)
        return r;
    if (!is_any_absent_locked(obj, index, end))
        return 1;
    if (obj->n_queued >= MLC_N_WRITES ||
        is_being_written_locked(obj, index, end)) {
        obj->is_put_refused = true;
        return -EAGAIN;
    }
    while (w->buffer)
        w++;
    w->index = index;
    w->end = end;
    w->buffer = buffer;
    w->is_retry = false;
    obj->n_queued++;
    obj->n_absent -= queue_locked(obj, index, end);
    if (obj->n_absent == 0)
        set_withheld_locked(obj, index, end);
    mlc_object_ref(obj);
    *ret_w = w;
    return 0;
}

int
mlc_object_put_span(struct mlc_object *obj, uint64_t index, void *buffer,
                    size_t len)
{
    struct mlc_store *s = obj->store;
    struct mlc_write *w = NULL;
    int r;

    pthread_mutex_lock(&obj->lock);
    r = put_locked(obj, index, buffer, len, &w);
    pthread_mutex_unlock(&obj->lock);
    if (r < 0)
        return r;
    mlc_object_touch(obj);
    atomic_fetch_add(&s->bytes_fetched, len);
    if (r > 0)
        mlc_budget_give_buffer(s->budget, buffer);
    else
        mlc_pool_submit(s->pool, MLC_LANE_QUICK, &w->job);
    return 0;
}

void
mlc_object_fail(struct mlc_object *obj, uint64_t from, uint64_t to, int r)
{
    struct mlc_waiter *list = NULL;

    pthread_mutex_lock(&obj->lock);
    remember_failure_locked(obj, from, to, r);
    take_waiters_locked(obj, from, to, false, &list);
    pthread_mutex_unlock(&obj->lock);
    mlc_waiters_wake(list);
}

void
mlc_object_kill(struct mlc_object *obj)
{
    mlc_store_kill(obj->store, obj, false);
}

int
mlc_object_set_validator(struct mlc_object *obj, const char *validator,
                         bool has_bytes)
{
    char *copy;
    int r = 0;

    if (strlen(validator) > VALIDATOR_MAX)
        return 0;
    MLC_LOCK_SCOPE(&obj->lock);
    if (!strcmp(obj->validator, validator) || obj->state != MLC_OBJECT_PARTIAL)
        return 0;
    if (obj->validator[0] != '\0' &&
        (has_bytes || obj->n_absent < obj->n_pieces))
        return -ESTALE;
    copy = strdup(validator);
    if (!copy)
        return -ENOMEM;
    if (obj->map_fd >= 0)
        r = mlc_map_write_head(obj->map_fd, obj->key, obj->size, copy);
    if (r < 0) {
        free(copy);
        return r;
    }
    free(obj->validator);
    obj->validator = copy;
    return 0;
}
