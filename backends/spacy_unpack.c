/* SPDX-License-Identifier: MIT */
/* The feed of a model's file: waits until the wheel's object has the file's
 * range, then unpacks it, on a SLOW thread, one file at a time: so that the
 * lane has a thread left for the digests, which give memory back. */
#include "config.h"

#include "backends/spacy_i.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/format/wheel.h"
#include "backends/spacy_task.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define BAD_MS      (INT64_C(60) * 1000) /* how long damage is believed */
#define PROGRESS_MS 250
#define NO_ROOM_MS  20
/* A range that is so far from what comes next is asked for out of turn, once
 * for so many bytes of the wheel. */
#define FAR        ((uint64_t)16 << 20)
#define JUMP_SHARE ((uint64_t)32 << 20)

struct mlc_spacy_unpack {
    struct mlc_spacy *s; /* immutable, as all up to task */
    struct mlc_spacy_wheel *w;
    struct mlc_spacy_index *x;      /* a reference */
    const struct mlc_zip_member *m; /* x's */
    struct mlc_task *task;
    /* While it is at work (the task is not idle), on its thread: */
    struct mlc_object *obj;   /* the file's; a reference */
    struct mlc_object *wheel; /* a reference; NULL: not yet */
    uint64_t off;             /* the wheel is here up to there */
    bool is_out_of_turn;
    /* On spacy.unpacks while it is at work, or its timer is armed. */
    struct mlc_spacy_unpack *prev, *next; /* spacy.lock */
    unsigned n_listed;                    /* spacy.lock */
    struct mlc_spacy_unpack *next_ready;  /* spacy.lock */
    struct mlc_timer timer;
    struct mlc_object *timer_obj; /* spacy.lock; a reference while armed */
    bool is_ready;             /* spacy.lock; waits for its turn, or has it */
    pthread_mutex_t room_lock; /* leaf */
    pthread_cond_t room;
    bool has_room; /* room_lock */
};

MLC_DEFINE_CLEANUP(object, struct mlc_object *, mlc_object_unref);

/* --- which are at work --------------------------------------------------- */

static void
enlist_locked(struct mlc_spacy_unpack *u)
{
    if (u->n_listed++ > 0)
        return;
    u->prev = NULL;
    u->next = u->s->unpacks;
    if (u->next)
        u->next->prev = u;
    u->s->unpacks = u;
}

static void
delist_locked(struct mlc_spacy_unpack *u)
{
    if (--u->n_listed > 0)
        return;
    if (u->next)
        u->next->prev = u->prev;
    if (u->prev)
        u->prev->next = u->next;
    else
        u->s->unpacks = u->next;
}

/* The task is idle from here on.  *ret_obj, *ret_wheel: what u held, to be
 * given back without the lock. */
static void
let_go_locked(struct mlc_spacy_unpack *u, struct mlc_object **ret_obj,
              struct mlc_object **ret_wheel)
{
    *ret_obj = mlc_steal(&u->obj);
    *ret_wheel = mlc_steal(&u->wheel);
    u->is_ready = false;
    delist_locked(u);
}

static void unpack_want(void *feed, struct mlc_object *obj, uint64_t index);

/* u may go with it. */
static void
give_back(struct mlc_spacy_unpack *u, struct mlc_object *obj,
          struct mlc_object *wheel)
{
    /* Somebody may have come at the last moment. */
    if (mlc_object_next_wanted(obj, 0, mlc_object_n_pieces(obj)) != UINT64_MAX)
        unpack_want(u, obj, 0);
    mlc_object_unref(wheel);
    mlc_object_unref(obj);
}

static void
end(struct mlc_spacy_unpack *u)
{
    struct mlc_object *obj, *wheel;

    pthread_mutex_lock(&u->s->lock);
    mlc_task_idle(u->task);
    let_go_locked(u, &obj, &wheel);
    pthread_mutex_unlock(&u->s->lock);
    give_back(u, obj, wheel);
}

/* --- damage -------------------------------------------------------------- */

static void
mark_bad(struct mlc_spacy *s, struct mlc_spacy_wheel *w, const char *path)
{
    uint64_t *grown;

    atomic_fetch_add(&s->errors, 1);
    MLC_LOCK_SCOPE(&s->lock);
    w->bad_ms = mlc_mono_ms() + BAD_MS;
    grown = realloc(w->bad, (w->n_bad + 1) * sizeof(grown[0]));
    if (!grown)
        return;
    w->bad = grown;
    grown[w->n_bad++] = XXH3_64bits(path, strlen(path));
}

bool
mlc_spacy_is_bad(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                 const char *path)
{
    uint64_t hash = XXH3_64bits(path, strlen(path));
    MLC_LOCK_SCOPE(&s->lock);

    if (w->n_bad > 0 && mlc_mono_ms() >= w->bad_ms)
        w->n_bad = 0;
    for (size_t i = 0; i < w->n_bad; i++)
        if (w->bad[i] == hash)
            return true;
    return false;
}

/* --- the wheel's bytes --------------------------------------------------- */

char *
mlc_spacy_key(const struct mlc_spacy_wheel *w, const struct mlc_spacy_index *x,
              const char *path)
{
    char *key = NULL;

    return asprintf(&key, "spacy/%s/%016" PRIx64 "%s%s", w->stem, x->identity,
                    path ? "/" : "", path ? path : "") < 0
               ? NULL
               : key;
}

static int
map_status(int status, const char *error_code)
{
    return -EIO;
}

/* The wheel is not there any more, or another one is. */
static void
on_changed(void *arg, uint64_t content)
{
    struct mlc_spacy *s = arg;
    MLC_LOCK_SCOPE(&s->lock);

    for (struct mlc_spacy_wheel *w = s->wheels; w; w = w->next)
        if (w->index && w->index->identity == content)
            w->is_stale = true;
}

/* What came with the index is not fetched again, where it is whole pieces. */
static void
put_tail(struct mlc_spacy *s, const struct mlc_spacy_index *x,
         struct mlc_object *wheel)
{
    size_t piece = mlc_object_piece_size(wheel);
    uint64_t i, end;

    if (!x->tail)
        return;
    for (i = (x->tail_from + piece - 1) / piece; i < mlc_object_n_pieces(wheel);
         i = end) {
        size_t len;
        void *buffer;

        end = mlc_object_span_end(wheel, i);
        if (mlc_object_next_missing(wheel, i) >= end)
            continue;
        buffer = mlc_budget_take_buffer(s->d->cache->budget);
        if (!buffer)
            return;
        len = (size_t)mlc_object_span_len(wheel, i, end);
        memcpy(buffer, x->tail + (i * piece - x->tail_from), len);
        if (mlc_object_put_span(wheel, i, buffer, len) < 0)
            mlc_budget_give_buffer(s->d->cache->budget, buffer);
    }
}

int
mlc_spacy_wheel_object(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                       struct mlc_spacy_index *x, struct mlc_object **ret)
{
    __attribute__((cleanup(mlc_cleanup_object))) struct mlc_object *obj = NULL;
    mlc_autofree char *key = mlc_spacy_key(w, x, NULL);
    mlc_autofree char *url = mlc_spacy_wheel_url(s, w->stem);
    struct mlc_object_spec spec = {0};
    struct mlc_fetch_spec fetch = {0};
    int r;

    if (!key || !url)
        return -ENOMEM;
    fetch.url = url;
    fetch.label = w->stem;
    fetch.check_validator = true;
    fetch.map_status = map_status;
    fetch.changed = on_changed;
    fetch.arg = s;
    fetch.content = x->identity;
    r = mlc_fetch_new(&s->d->cache->fetch, &fetch, &spec.feed);
    if (r < 0)
        return r;
    spec.feed_ops = &mlc_fetch_ops;
    spec.key = key;
    spec.label = w->stem;
    spec.size = x->size;
    spec.content = x->identity;
    r = mlc_store_get(s->d->store, &spec, &obj);
    if (r == 0 && *x->validator)
        r = mlc_object_set_validator(obj, x->validator, false);
    if (r < 0)
        return r == -ESTALE ? -EIO : r;
    put_tail(s, x, obj);
    *ret = mlc_steal(&obj);
    return 0;
}

void
mlc_spacy_wheel_drop(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                     struct mlc_spacy_index *x)
{
    mlc_autofree char *key = mlc_spacy_key(w, x, NULL);
    bool is_in_use;

    pthread_mutex_lock(&s->lock);
    is_in_use = w->whole != NULL;
    for (struct mlc_spacy_unpack *u = s->unpacks; u; u = u->next)
        is_in_use = is_in_use || (u->w == w && u->obj);
    pthread_mutex_unlock(&s->lock);
    if (key && s->d->store && !is_in_use)
        (void)mlc_store_drop(s->d->store, key);
}

/* --- unpacking ----------------------------------------------------------- */

struct sink {
    struct mlc_spacy_unpack *u;
    int fd; /* of the wheel */
    struct mlc_digest_state *digest;
    uint64_t index; /* of the span that is filled */
    void *buffer;
    size_t fill;
};

static ssize_t
read_wheel(void *arg, uint64_t off, void *buf, size_t len)
{
    struct sink *k = arg;
    ssize_t n;

    do
        n = pread(k->fd, buf, len, (off_t)off);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static bool
is_stopping(const struct mlc_spacy_unpack *u)
{
    return atomic_load(mlc_store_stopping(u->s->d->store));
}

static void
wait_for_room(struct mlc_spacy_unpack *u)
{
    struct timespec until = mlc_mono_after(NO_ROOM_MS);
    MLC_LOCK_SCOPE(&u->room_lock);

    if (!u->has_room)
        pthread_cond_timedwait(&u->room, &u->room_lock, &until);
    u->has_room = false;
}

/* Hands the span over.  0 or -errno. */
static int
put(struct sink *k)
{
    struct mlc_spacy_unpack *u = k->u;
    int r;

    while ((r = mlc_object_put_span(u->obj, k->index, k->buffer, k->fill)) ==
           -EAGAIN) {
        if (is_stopping(u))
            return -ECANCELED;
        wait_for_room(u);
    }
    if (r < 0)
        return r;
    k->buffer = NULL;
    k->index = mlc_object_span_end(u->obj, k->index);
    k->fill = 0;
    return 0;
}

static int
write_bytes(void *arg, const void *data, size_t len)
{
    struct sink *k = arg;
    struct mlc_budget *budget = k->u->s->d->cache->budget;
    const char *p = data;
    int r;

    r = mlc_digest_update(k->digest, data, len);
    while (r == 0 && len > 0) {
        size_t n;

        /* The last one stays until all was found right. */
        if (k->fill == MLC_BUFFER)
            r = put(k);
        while (r == 0 && !k->buffer) {
            k->buffer = mlc_budget_take_buffer(budget);
            if (!k->buffer && is_stopping(k->u))
                r = -ECANCELED;
            else if (!k->buffer)
                wait_for_room(k->u);
        }
        if (r < 0)
            break;
        n = MLC_BUFFER - k->fill < len ? MLC_BUFFER - k->fill : len;
        memcpy((char *)k->buffer + k->fill, p, n);
        k->fill += n;
        p += n;
        len -= n;
    }
    return r;
}

/* Is it what RECORD promised, and (meta.json) of that model? */
static int
check(struct sink *k, char *ret_why)
{
    const struct mlc_spacy_unpack *u = k->u;
    const struct mlc_record_line *line =
        mlc_record_find(u->x->record, u->m->name);
    struct mlc_digest got;
    int r;

    r = mlc_digest_finish(k->digest, &got);
    if (r < 0)
        return r;
    if (!line || memcmp(got.bytes, line->sha256, sizeof(line->sha256)) != 0) {
        snprintf(ret_why, MLC_ZIP_WHY_SIZE, "not the sha256 of RECORD");
        return -EBADMSG;
    }
    if (strcmp(mlc_path_base(u->m->name), "meta.json") == 0 && k->index == 0)
        return mlc_wheel_check_meta(k->buffer, k->fill, u->w->name,
                                    u->w->version, ret_why);
    return 0;
}

/* Brings the file.  0 or -errno. */
static int
unpack(struct mlc_spacy_unpack *u, char *ret_why)
{
    struct sink k = {.u = u};
    mlc_autoclose int fd = -1;
    int r;

    fd = fcntl(mlc_object_fd(u->wheel), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -EIO;
    k.fd = fd;
    r = mlc_digest_new(MLC_DIGEST_SHA256, u->m->usize, &k.digest);
    if (r == 0)
        r = mlc_zip_extract(u->m, read_wheel, write_bytes, &k,
                            mlc_store_stopping(u->s->d->store), ret_why);
    if (r == 0)
        r = check(&k, ret_why);
    if (r == 0)
        r = put(&k);
    if (k.buffer)
        mlc_budget_give_buffer(u->s->d->cache->budget, k.buffer);
    mlc_digest_free(k.digest);
    return r;
}

/* Nothing of a damaged file stays.  Nor do the wheel's bytes, unless the rest
 * of the files is still to come from them. */
static void
drop_bad(struct mlc_spacy_unpack *u, const char *why)
{
    mlc_log_err(-EBADMSG, "spacy: %s: %s: %s", u->w->stem, u->m->name, why);
    mark_bad(u->s, u->w, u->m->name);
    mlc_object_kill(u->obj);
}

static void
unpack_run(struct mlc_spacy_unpack *u)
{
    /* And u, and what is u's. */
    struct mlc_object *obj = mlc_object_ref(u->obj);
    char why[MLC_ZIP_WHY_SIZE] = "";
    bool is_bad, is_over;
    int r;

    r = unpack(u, why);
    is_bad = r == -EBADMSG || r == -EFBIG;
    if (is_bad)
        drop_bad(u, why);
    else if (r < 0)
        mlc_object_fail(obj, 0, mlc_object_n_pieces(obj),
                        r == -ECANCELED ? -EIO : r);
    end(u);
    pthread_mutex_lock(&u->s->lock);
    is_over = is_bad || u->w->is_spent;
    pthread_mutex_unlock(&u->s->lock);
    if (is_over)
        mlc_spacy_wheel_drop(u->s, u->w, u->x);
    mlc_object_unref(obj);
}

/* One file after the other. */
static void
ready_run(struct mlc_job *job)
{
    struct mlc_spacy *s = mlc_container_of(job, struct mlc_spacy, ready_job);
    struct mlc_spacy_unpack *u;
    bool is_more;

    pthread_mutex_lock(&s->lock);
    u = s->ready;
    s->ready = u->next_ready;
    pthread_mutex_unlock(&s->lock);
    unpack_run(u);
    pthread_mutex_lock(&s->lock);
    is_more = s->is_unpacking = s->ready != NULL;
    pthread_mutex_unlock(&s->lock);
    if (is_more)
        mlc_pool_submit(s->d->cache->pool, MLC_LANE_SLOW, &s->ready_job);
}

static void
make_ready(struct mlc_spacy_unpack *u)
{
    struct mlc_spacy *s = u->s;
    struct mlc_spacy_unpack **p = &s->ready;
    bool is_first;

    pthread_mutex_lock(&s->lock);
    while (*p)
        p = &(*p)->next_ready;
    *p = u;
    u->next_ready = NULL;
    u->is_ready = true;
    is_first = !s->is_unpacking;
    s->is_unpacking = true;
    s->ready_job.run = ready_run;
    pthread_mutex_unlock(&s->lock);
    if (is_first)
        mlc_pool_submit(s->d->cache->pool, MLC_LANE_SLOW, &s->ready_job);
}

/* --- waiting ------------------------------------------------------------- */

/* The wheel's progress is the file's. */
static void
on_timer(struct mlc_job *job)
{
    struct mlc_timer *timer = mlc_container_of(job, struct mlc_timer, job);
    struct mlc_spacy_unpack *u =
        mlc_container_of(timer, struct mlc_spacy_unpack, timer);
    struct mlc_object *obj = NULL;

    pthread_mutex_lock(&u->s->lock);
    if (u->wheel) {
        if (u->is_ready ||
            mlc_object_progress_ms(u->wheel) + 2 * PROGRESS_MS > mlc_mono_ms())
            mlc_object_touch(u->obj);
        mlc_pool_after(u->s->d->cache->pool, &u->timer, PROGRESS_MS);
    } else {
        obj = mlc_steal(&u->timer_obj);
        delist_locked(u);
    }
    pthread_mutex_unlock(&u->s->lock);
    mlc_object_unref(obj);
}

static void
watch_progress(struct mlc_spacy_unpack *u)
{
    MLC_LOCK_SCOPE(&u->s->lock);

    if (u->timer_obj)
        return;
    u->timer_obj = mlc_object_ref(u->obj);
    enlist_locked(u);
    u->timer.job.run = on_timer;
    mlc_pool_after(u->s->d->cache->pool, &u->timer, PROGRESS_MS);
}

/* Is the wheel brought whole, so that the file's range comes by itself?  Else,
 * or where that would take long, it is asked for out of turn; but each time the
 * bytes under way to us are lost, which must not become many. */
static bool
comes_in_turn(struct mlc_spacy_unpack *u)
{
    uint64_t next =
        mlc_object_next_missing(u->wheel, 0) * mlc_object_piece_size(u->wheel);
    MLC_LOCK_SCOPE(&u->s->lock);

    if (!u->w->whole || u->is_out_of_turn)
        return false;
    if (u->off < next + FAR || u->w->n_jumps >= u->x->size / JUMP_SHARE)
        return true;
    u->w->n_jumps++;
    u->is_out_of_turn = true;
    return false;
}

static int
need_wheel(struct mlc_spacy_unpack *u)
{
    struct mlc_object *wheel = NULL;
    int r;

    if (u->wheel)
        return 0;
    r = mlc_spacy_wheel_object(u->s, u->w, u->x, &wheel);
    if (r < 0)
        return r;
    pthread_mutex_lock(&u->s->lock);
    u->wheel = wheel;
    pthread_mutex_unlock(&u->s->lock);
    u->off = u->m->offset;
    u->is_out_of_turn = false;
    return 0;
}

/* 1: all of the file's range is here; else what mlc_object_want() says. */
static int
need_range(struct mlc_spacy_unpack *u)
{
    struct mlc_ask ask = mlc_task_ask(u->task);
    int r;

    r = need_wheel(u);
    if (r < 0)
        return r;
    /* A span at a time: all of a long range at once would be as many wishes,
     * each of which gets a connection. */
    while (u->off < u->m->end) {
        size_t piece = mlc_object_piece_size(u->wheel);
        uint64_t len = MLC_BUFFER - u->off % MLC_BUFFER;
        uint64_t from = u->off;

        if (len > u->m->end - u->off)
            len = u->m->end - u->off;
        /* In its turn: whatever comes next is waited for. */
        if (mlc_object_next_missing(u->wheel, u->off / piece) * piece <
                u->off + len &&
            comes_in_turn(u))
            from = mlc_object_next_missing(u->wheel, 0) * piece;
        r = mlc_object_want(u->wheel, from, from == u->off ? (size_t)len : 1,
                            &ask);
        if (r < 0)
            return r;
        if (from == u->off)
            u->off += len;
    }
    return 1;
}

static void
step(void *owner)
{
    struct mlc_spacy_unpack *u = owner;
    int r;

    do {
        r = need_range(u);
        watch_progress(u);
        if (r == 1) {
            make_ready(u);
            return;
        }
        if (r != -EAGAIN) {
            mlc_object_fail(u->obj, 0, mlc_object_n_pieces(u->obj), r);
            end(u);
            return;
        }
        /* Nobody waits any more: neither who has it open, nor a recipe. */
        if (!mlc_object_is_open(u->obj) &&
            mlc_object_next_wanted(u->obj, 0, mlc_object_n_pieces(u->obj)) ==
                UINT64_MAX) {
            end(u);
            return;
        }
    } while (!mlc_task_park(u->task));
}

/* --- the feed ------------------------------------------------------------ */

static void
unpack_want(void *feed, struct mlc_object *obj, uint64_t index)
{
    struct mlc_spacy_unpack *u = feed;

    pthread_mutex_lock(&u->s->lock);
    if (u->obj) { /* on its way */
        pthread_mutex_unlock(&u->s->lock);
        return;
    }
    u->obj = mlc_object_ref(obj);
    enlist_locked(u);
    mlc_task_start(u->task);
    pthread_mutex_unlock(&u->s->lock);
}

static void
unpack_opened(void *feed, struct mlc_object *obj, bool is_open)
{
    struct mlc_spacy_unpack *u = feed;
    struct mlc_object *held = NULL, *wheel = NULL;

    if (mlc_object_is_open(obj))
        return;
    pthread_mutex_lock(&u->s->lock);
    if (mlc_task_unpark(u->task))
        let_go_locked(u, &held, &wheel);
    pthread_mutex_unlock(&u->s->lock);
    if (held)
        give_back(u, held, wheel);
}

static void
unpack_room(void *feed, struct mlc_object *obj)
{
    struct mlc_spacy_unpack *u = feed;
    MLC_LOCK_SCOPE(&u->room_lock);

    u->has_room = true;
    pthread_cond_signal(&u->room);
}

static void
unpack_free(void *feed)
{
    struct mlc_spacy_unpack *u = feed;

    mlc_task_free(u->task);
    mlc_spacy_index_unref(u->x);
    pthread_cond_destroy(&u->room);
    pthread_mutex_destroy(&u->room_lock);
    free(u);
}

static const struct mlc_feed_ops unpack_ops = {
    .want = unpack_want,
    .opened = unpack_opened,
    .free = unpack_free,
    .room = unpack_room,
};

static struct mlc_spacy_unpack *
unpack_new(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
           struct mlc_spacy_index *x, const struct mlc_zip_member *m)
{
    struct mlc_spacy_unpack *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->task = mlc_task_new(s->d->cache->pool, step, u);
    if (!u->task || mlc_cond_init(&u->room) < 0) {
        mlc_task_free(u->task);
        free(u);
        return NULL;
    }
    pthread_mutex_init(&u->room_lock, NULL);
    u->s = s;
    u->w = w;
    u->x = mlc_spacy_index_ref(x);
    u->m = m;
    return u;
}

/* For mlc_object_spec: unpacking has checked it, so what is wrong now was
 * damaged on this disk, and is unpacked anew. */
static void
on_published(void *arg, const char *home, int r)
{
    struct mlc_spacy_wheel *w = arg;

    if (r < 0)
        return;
    mlc_spacy_drop_condemned(w, home);
    mlc_spacy_table_leave(w->s);
}

int
mlc_spacy_file(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
               struct mlc_spacy_index *x, const struct mlc_zip_member *m,
               struct mlc_object **ret)
{
    const struct mlc_record_line *line = mlc_record_find(x->record, m->name);
    mlc_autofree char *key = mlc_spacy_key(w, x, m->name);
    mlc_autofree char *label = mlc_path_join("spacy", m->name);
    struct mlc_object_spec spec = {0};

    if (!line)
        return -EIO;
    spec.feed = unpack_new(s, w, x, m);
    if (!key || !label || !spec.feed) {
        if (spec.feed)
            unpack_free(spec.feed);
        return -ENOMEM;
    }
    spec.feed_ops = &unpack_ops;
    spec.key = key;
    spec.label = label;
    spec.size = m->usize;
    spec.digest.kind = MLC_DIGEST_SHA256;
    memcpy(spec.digest.bytes, line->sha256, sizeof(line->sha256));
    spec.content = XXH3_64bits(key, strlen(key));
    spec.homefd = s->d->bases[0].fd;
    spec.home = m->name;
    spec.mode = 0666;
    spec.mtime_ms = x->mtime_ms;
    spec.published = on_published;
    spec.published_arg = w;
    return mlc_store_get(s->d->store, &spec, ret);
}

void
mlc_spacy_unpacks_free(struct mlc_spacy *s)
{
    struct mlc_spacy_unpack *u;

    while ((u = s->unpacks)) {
        struct mlc_object *all[] = {u->obj, u->wheel, u->timer_obj};

        s->unpacks = u->next;
        if (u->next)
            u->next->prev = NULL;
        u->n_listed = 0;
        u->obj = u->wheel = u->timer_obj = NULL;
        for (size_t i = 0; i < 3; i++)
            mlc_object_unref(all[i]);
    }
}
