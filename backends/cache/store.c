/* SPDX-License-Identifier: MIT */
/* The table of objects: what is alive, and what lies on disk of earlier runs.
 * Creating and removing an object's names happens under store.lock, so that a
 * new object of a key never meets the files of the one before. */
#include "config.h"

#include "backends/cache/object_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define FIRST_BUCKETS 64

static void
store_free(struct mlc_store *s)
{
    if (s->fd >= 0)
        close(s->fd);
    for (size_t i = 0; s->slots && i < s->n_buckets; i++) {
        while (s->slots[i]) {
            struct mlc_slot *slot = s->slots[i];

            s->slots[i] = slot->next;
            free(slot);
        }
    }
    free(s->slots);
    mlc_ledger_close(s->ledger);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

MLC_DEFINE_CLEANUP(store, struct mlc_store *, store_free);

void
mlc_name_text(const uint8_t *name, const char *suffix, char *text)
{
    mlc_format_hex(name, MLC_NAME_LEN, text);
    snprintf(text + 2 * MLC_NAME_LEN, MLC_NAME_TEXT - 2 * MLC_NAME_LEN, "%s",
             suffix);
}

int
mlc_key_name(const char *key, uint8_t *ret_name)
{
    unsigned n = 0;

    /* Not XXH3: keys hold what servers say, and two of them must not meet. */
    if (EVP_Digest(key, strlen(key), ret_name, &n, EVP_sha256(), NULL) != 1 ||
        n != MLC_NAME_LEN)
        return -ENOMEM;
    return 0;
}

static size_t
bucket_of(const struct mlc_store *s, const uint8_t *name)
{
    uint64_t h;

    memcpy(&h, name, sizeof(h));
    return (size_t)(h & (s->n_buckets - 1));
}

static struct mlc_slot *
slot_find_locked(struct mlc_store *s, const uint8_t *name)
{
    struct mlc_slot *slot = s->slots[bucket_of(s, name)];

    while (slot && memcmp(slot->name, name, MLC_NAME_LEN) != 0)
        slot = slot->next;
    return slot;
}

/* Twice as many buckets; if there is no memory for that, longer chains. */
static void
grow_locked(struct mlc_store *s)
{
    size_t old_n = s->n_buckets;
    struct mlc_slot **old = s->slots;
    struct mlc_slot **slots = calloc(old_n * 2, sizeof(struct mlc_slot *));

    if (!slots)
        return;
    s->slots = slots;
    s->n_buckets = old_n * 2;
    for (size_t i = 0; i < old_n; i++) {
        while (old[i]) {
            struct mlc_slot *slot = old[i];
            size_t b = bucket_of(s, slot->name);

            old[i] = slot->next;
            slot->next = slots[b];
            slots[b] = slot;
        }
    }
    free(old);
}

static struct mlc_slot *
slot_add_locked(struct mlc_store *s, const uint8_t *name)
{
    struct mlc_slot *slot = calloc(1, sizeof(*slot));
    size_t b;

    if (!slot)
        return NULL;
    if (s->n_slots >= s->n_buckets)
        grow_locked(s);
    b = bucket_of(s, name);
    memcpy(slot->name, name, MLC_NAME_LEN);
    slot->next = s->slots[b];
    s->slots[b] = slot;
    s->n_slots++;
    return slot;
}

static void
slot_remove_locked(struct mlc_store *s, struct mlc_slot *slot)
{
    struct mlc_slot **p = &s->slots[bucket_of(s, slot->name)];

    while (*p != slot)
        p = &(*p)->next;
    *p = slot->next;
    s->n_slots--;
    free(slot);
}

static void
unlink_files_locked(struct mlc_store *s, const uint8_t *name)
{
    char text[MLC_NAME_TEXT];

    /* The map first: data without a map is nothing. */
    mlc_name_text(name, ".map", text);
    unlinkat(s->fd, text, 0);
    mlc_name_text(name, ".data", text);
    unlinkat(s->fd, text, 0);
}

/* Is file a NAME + suffix?  Then its name goes to ret_name. */
static bool
parse_file_name(const char *file, const char *suffix, uint8_t *ret_name)
{
    char hex[2 * MLC_NAME_LEN + 1];

    if (strlen(file) != 2 * MLC_NAME_LEN + strlen(suffix) ||
        strcmp(file + 2 * MLC_NAME_LEN, suffix) != 0)
        return false;
    memcpy(hex, file, 2 * MLC_NAME_LEN);
    hex[2 * MLC_NAME_LEN] = '\0';
    return mlc_is_hex(hex, 2 * MLC_NAME_LEN) &&
           mlc_parse_hex(hex, ret_name, MLC_NAME_LEN) == 0;
}

/* Is there a good map and a data file of the size it says? */
static bool
is_usable(struct mlc_store *s, const char *map_file, const uint8_t *name,
          uint64_t *ret_bytes)
{
    mlc_autoclose int fd = -1;
    char text[MLC_NAME_TEXT];
    struct stat st;
    uint64_t size = 0;

    fd = openat(s->fd, map_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || mlc_map_read_head(fd, name, &size, NULL, NULL) < 0)
        return false;
    mlc_name_text(name, ".data", text);
    if (fstatat(s->fd, text, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
        return false;
    *ret_bytes = (uint64_t)st.st_blocks * 512;
    if (*ret_bytes > size)
        *ret_bytes = size;
    return true;
}

/* One pass over the directory: with is_maps the maps, else the rest. */
static int
scan(struct mlc_store *s, DIR *dir, bool is_maps)
{
    struct dirent *e;
    uint8_t name[MLC_NAME_LEN];
    struct mlc_slot *slot;
    uint64_t bytes = 0;

    rewinddir(dir);
    while ((e = readdir(dir))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (parse_file_name(e->d_name, ".map", name)) {
            if (!is_maps || slot_find_locked(s, name))
                continue;
            if (is_usable(s, e->d_name, name, &bytes)) {
                slot = slot_add_locked(s, name);
                if (!slot)
                    return -ENOMEM;
                slot->disk_bytes = bytes;
                continue;
            }
        } else if (is_maps || (parse_file_name(e->d_name, ".data", name) &&
                               slot_find_locked(s, name))) {
            continue;
        }
        mlc_debug("object", "removing %s: not of use", e->d_name);
        unlinkat(s->fd, e->d_name, 0);
    }
    return 0;
}

/* --- eviction of what is unfinished --------------------------------------- */

static char *read_key(struct mlc_store *s, const uint8_t *name);

/* Bytes on disk that are not at home; whether they may go now. */
static uint64_t
unfinished_locked(const struct mlc_slot *slot, bool *ret_is_busy)
{
    struct mlc_object *obj = slot->obj;

    *ret_is_busy = false;
    if (!obj)
        return slot->disk_bytes;
    MLC_LOCK_SCOPE(&obj->lock);
    if (obj->is_published)
        return 0;
    *ret_is_busy = obj->n_open > 0 || obj->n_open_part > 0 ||
                   obj->state == MLC_OBJECT_WHOLE ||
                   mlc_object_is_busy_locked(obj);
    return obj->is_loaded ? obj->present : slot->disk_bytes;
}

/* When a byte of it was last written, or read. */
static int64_t
used_us(const struct stat *st)
{
    int64_t written = mlc_time_us(&st->st_mtim);
    int64_t read = mlc_time_us(&st->st_atim);

    return written > read ? written : read;
}

struct unfinished {
    uint8_t name[MLC_NAME_LEN];
    uint64_t bytes;
    bool is_busy;
};

/* What has no map yet has no key to be found, either. */
static bool
is_pinned(struct mlc_store *s, const uint8_t *name,
          struct mlc_evict_round *round)
{
    mlc_autofree char *key = NULL;

    if (!mlc_evict_has_pins(round))
        return false;
    key = read_key(s, name);
    return key && mlc_evict_is_pinned(round, key);
}

static void
list_unfinished(void *arg, struct mlc_evict_round *round)
{
    struct mlc_store *s = arg;
    mlc_autofree struct unfinished *list = NULL;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    list = calloc(s->n_slots + 1, sizeof(*list));
    for (size_t i = 0; list && i < s->n_buckets; i++)
        for (struct mlc_slot *slot = s->slots[i]; slot; slot = slot->next) {
            struct unfinished *u = &list[n];

            u->bytes = unfinished_locked(slot, &u->is_busy);
            memcpy(u->name, slot->name, MLC_NAME_LEN);
            n += u->bytes > 0;
        }
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        char text[MLC_NAME_TEXT];
        struct stat st;

        if (is_pinned(s, list[i].name, round))
            list[i].is_busy = true;
        mlc_name_text(list[i].name, ".data", text);
        if (fstatat(s->fd, text, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        text[2 * MLC_NAME_LEN] = '\0';
        mlc_evict_offer(round, text, &st, list[i].bytes, used_us(&st),
                        list[i].is_busy);
    }
}

static int drop_locked(struct mlc_store *s, struct mlc_slot *slot);

static uint64_t
drop_unfinished(void *arg, const char *hex, int64_t since_us,
                struct mlc_evict_round *round)
{
    struct mlc_store *s = arg;
    uint8_t name[MLC_NAME_LEN];
    char text[MLC_NAME_TEXT];
    struct mlc_slot *slot;
    uint64_t bytes;
    struct stat st;
    bool is_busy;

    if (mlc_parse_hex(hex, name, MLC_NAME_LEN) < 0 || is_pinned(s, name, round))
        return 0;
    MLC_LOCK_SCOPE(&s->lock);
    slot = slot_find_locked(s, name);
    bytes = slot ? unfinished_locked(slot, &is_busy) : 0;
    mlc_name_text(name, ".data", text);
    if (bytes == 0 || is_busy ||
        fstatat(s->fd, text, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        used_us(&st) > since_us || drop_locked(s, slot) != 1)
        return 0;
    return bytes;
}

/* --- begin and end ------------------------------------------------------- */

int
mlc_store_open(int dirfd, struct mlc_pool *pool, struct mlc_budget *budget,
               struct mlc_evictor *evictor, int64_t timeout_ms,
               struct mlc_store **ret)
{
    struct mlc_evict_source source = {.list = list_unfinished,
                                      .drop = drop_unfinished};
    __attribute__((cleanup(mlc_cleanup_store))) struct mlc_store *s = NULL;
    mlc_autodir DIR *dir = NULL;
    int r;

    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->fd = -1;
    s->pool = pool;
    s->budget = budget;
    s->evictor = evictor;
    s->timeout_ms = timeout_ms;
    pthread_mutex_init(&s->lock, NULL);
    s->slots = calloc(FIRST_BUCKETS, sizeof(struct mlc_slot *));
    if (!s->slots)
        return -ENOMEM;
    s->n_buckets = FIRST_BUCKETS;

    if (mkdirat(dirfd, "objects", 0700) < 0 && errno != EEXIST)
        return mlc_log_err(-errno, "objects: %m");
    s->fd = openat(dirfd, "objects",
                   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (s->fd < 0)
        return mlc_log_err(-errno, "objects: %m");
    dir = mlc_opendir_beneath(s->fd, "");
    if (!dir)
        return -errno;
    r = scan(s, dir, true);
    if (r == 0)
        r = scan(s, dir, false);
    if (r == 0)
        r = mlc_ledger_open(dirfd, &s->ledger);
    source.arg = s;
    if (r == 0)
        r = mlc_evictor_add(evictor, &source);
    if (r < 0)
        return r;
    *ret = mlc_steal(&s);
    return 0;
}

struct mlc_ledger *
mlc_store_ledger(const struct mlc_store *s)
{
    return s->ledger;
}

/* Calls fn for every live object, with a reference and without locks. */
static void
each_object(struct mlc_store *s, void (*fn)(struct mlc_object *obj))
{
    mlc_autofree struct mlc_object **list = NULL;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    for (struct mlc_object *obj = s->live; obj; obj = obj->next_live)
        n++;
    list = calloc(n + 1, sizeof(struct mlc_object *));
    n = 0;
    for (struct mlc_object *obj = s->live; list && obj; obj = obj->next_live)
        list[n++] = mlc_object_ref(obj);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        fn(list[i]);
        mlc_object_unref(list[i]);
    }
}

static void
stop_object(struct mlc_object *obj)
{
    struct mlc_waiter *list;

    pthread_mutex_lock(&obj->lock);
    list = mlc_object_take_all_locked(obj);
    pthread_mutex_unlock(&obj->lock);
    mlc_waiters_wake(list);
    obj->feed_ops->opened(obj->feed, obj, false);
}

void
mlc_store_stop(struct mlc_store *s)
{
    if (!s || atomic_exchange(&s->is_stopped, true))
        return;
    each_object(s, stop_object);
}

const atomic_bool *
mlc_store_stopping(const struct mlc_store *s)
{
    return &s->is_stopped;
}

/* The pool has dropped jobs that hold references: give these back. */
static void
drop_lost_jobs(struct mlc_object *obj)
{
    unsigned n = 0;

    pthread_mutex_lock(&obj->lock);
    n = (unsigned)obj->is_stepping + (unsigned)obj->is_checking +
        (unsigned)obj->is_publishing;
    obj->is_stepping = obj->is_checking = obj->is_publishing = false;
    for (unsigned i = 0; i < MLC_N_WRITES; i++) {
        if (!obj->writes[i].buffer)
            continue;
        mlc_budget_give_buffer(obj->store->budget,
                               mlc_steal(&obj->writes[i].buffer));
        obj->n_queued--;
        n++;
    }
    pthread_mutex_unlock(&obj->lock);
    while (n-- > 0)
        mlc_object_unref(obj);
}

void
mlc_store_close(struct mlc_store *s)
{
    if (!s)
        return;
    mlc_store_stop(s);
    each_object(s, drop_lost_jobs);
    store_free(s);
}

void
mlc_store_get_stats(struct mlc_store *s, struct mlc_store_stats *ret)
{
    struct mlc_store_stats st = {
        .published = atomic_load(&s->published),
        .digest_errors = atomic_load(&s->digest_errors),
        .bytes_fetched = atomic_load(&s->bytes_fetched),
    };

    MLC_LOCK_SCOPE(&s->lock);
    for (size_t i = 0; i < s->n_buckets; i++) {
        for (struct mlc_slot *slot = s->slots[i]; slot; slot = slot->next) {
            uint64_t bytes = slot->disk_bytes;

            if (slot->obj) {
                MLC_LOCK_SCOPE(&slot->obj->lock);
                st.n_objects++;
                if (slot->obj->is_published)
                    bytes = 0;
                else if (slot->obj->is_loaded)
                    bytes = slot->obj->present;
            }
            if (bytes > 0) {
                st.n_partial++;
                st.partial_bytes += bytes;
            }
        }
    }
    *ret = st;
}

/* The body of mlc_store_get: *ret_is_taken says whether spec->feed was. */
static int
store_get_locked(struct mlc_store *s, const struct mlc_object_spec *spec,
                 const uint8_t *name, struct mlc_object **ret,
                 bool *ret_is_taken)
{
    struct mlc_slot *slot = slot_find_locked(s, name);
    int r;

    if (slot && slot->obj) {
        struct mlc_object *obj = slot->obj;

        if (obj->size != spec->size)
            return mlc_log_err(
                -EIO, "%s: size is %" PRIu64 " here, %" PRIu64 " elsewhere",
                spec->label, spec->size, obj->size);
        pthread_mutex_lock(&obj->lock);
        r = spec->home ? mlc_object_add_home_locked(obj, spec) : 0;
        pthread_mutex_unlock(&obj->lock);
        if (r < 0)
            return r;
        *ret = mlc_object_ref(obj);
        return 0;
    }
    if (!slot)
        slot = slot_add_locked(s, name);
    if (!slot)
        return -ENOMEM;
    r = mlc_object_new(s, spec, name, &slot->obj);
    if (r < 0) {
        if (slot->disk_bytes == 0)
            slot_remove_locked(s, slot);
        return r;
    }
    slot->obj->next_live = s->live;
    if (s->live)
        s->live->prev_live = slot->obj;
    s->live = slot->obj;
    *ret = slot->obj;
    *ret_is_taken = true;
    return 0;
}

int
mlc_store_get(struct mlc_store *s, const struct mlc_object_spec *spec,
              struct mlc_object **ret)
{
    uint8_t name[MLC_NAME_LEN];
    bool is_taken = false;
    int r;

    r = mlc_key_name(spec->key, name);
    if (r == 0 && spec->size > (uint64_t)INT64_MAX)
        r = -EFBIG;
    if (r == 0) {
        MLC_LOCK_SCOPE(&s->lock);
        r = store_get_locked(s, spec, name, ret, &is_taken);
    }
    if (!is_taken)
        spec->feed_ops->free(spec->feed);
    return r;
}

uint64_t
mlc_store_present(struct mlc_store *s, const char *key)
{
    uint8_t name[MLC_NAME_LEN];
    struct mlc_slot *slot;

    if (mlc_key_name(key, name) < 0)
        return 0;
    MLC_LOCK_SCOPE(&s->lock);
    slot = slot_find_locked(s, name);
    if (!slot)
        return 0;
    if (slot->obj) {
        MLC_LOCK_SCOPE(&slot->obj->lock);
        if (slot->obj->is_published)
            return 0;
        if (slot->obj->is_loaded)
            return slot->obj->present;
    }
    return slot->disk_bytes;
}

/* 1: what is on disk is gone; 0: the object is at work, kill it. */
static int
drop_locked(struct mlc_store *s, struct mlc_slot *slot)
{
    struct mlc_object *obj = slot->obj;

    if (!obj) {
        unlink_files_locked(s, slot->name);
        slot_remove_locked(s, slot);
        return 1;
    }
    MLC_LOCK_SCOPE(&obj->lock);
    if (obj->n_open > 0 || obj->n_open_part > 0 ||
        (obj->state == MLC_OBJECT_WHOLE && obj->size > 0 && obj->homes &&
         !obj->is_published))
        return -EBUSY;
    if (obj->is_published)
        return 1;
    if (mlc_object_is_busy_locked(obj) ||
        (obj->state == MLC_OBJECT_WHOLE && !obj->homes))
        return 0;
    mlc_object_unload_locked(obj);
    unlink_files_locked(s, slot->name);
    slot->disk_bytes = 0;
    return 1;
}

int
mlc_store_drop(struct mlc_store *s, const char *key)
{
    uint8_t name[MLC_NAME_LEN];
    struct mlc_object *obj = NULL;
    struct mlc_slot *slot;
    int r;

    r = mlc_key_name(key, name);
    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    slot = slot_find_locked(s, name);
    r = slot ? drop_locked(s, slot) : 1;
    if (r == 0)
        obj = mlc_object_ref(slot->obj);
    pthread_mutex_unlock(&s->lock);
    if (obj) {
        mlc_store_kill(s, obj, true);
        mlc_object_unref(obj);
    } else if (slot && r > 0) {
        mlc_evict_removed(s->evictor);
    }
    return r < 0 ? r : 0;
}

/* Is there a home, and none where the object is still to go? */
static bool
is_homeless_locked(const struct mlc_object *obj)
{
    const struct mlc_home *h = obj->homes;

    while (h && h->is_unwanted)
        h = h->next;
    return obj->homes && !h;
}

void
mlc_store_unwant(struct mlc_store *s, const char *key, int homefd,
                 const char *home)
{
    uint8_t name[MLC_NAME_LEN];
    struct mlc_slot *slot;
    bool is_shared = false;

    if (mlc_key_name(key, name) < 0)
        return;
    pthread_mutex_lock(&s->lock);
    slot = slot_find_locked(s, name);
    if (slot && slot->obj) {
        MLC_LOCK_SCOPE(&slot->obj->lock);
        for (struct mlc_home *h = slot->obj->homes; h; h = h->next)
            if (h->dirfd == homefd && strcmp(h->path, home) == 0)
                h->is_unwanted = true;
        is_shared = slot->obj->homes && !is_homeless_locked(slot->obj);
    }
    pthread_mutex_unlock(&s->lock);
    if (!is_shared)
        (void)mlc_store_drop(s, key);
}

/* The key that the map on disk holds; caller frees; NULL: none can be read. */
static char *
read_key(struct mlc_store *s, const uint8_t *name)
{
    mlc_autoclose int fd = -1;
    char text[MLC_NAME_TEXT];
    uint64_t size;
    char *key = NULL;

    mlc_name_text(name, ".map", text);
    fd = openat(s->fd, text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || mlc_map_read_head(fd, name, &size, &key, NULL) < 0)
        return NULL;
    return key;
}

void
mlc_store_prune(struct mlc_store *s, const char *prefix,
                bool (*is_kept)(void *arg, const char *key), void *arg)
{
    struct mlc_slot *slot, *next;

    MLC_LOCK_SCOPE(&s->lock);
    for (size_t i = 0; i < s->n_buckets; i++) {
        for (slot = s->slots[i]; slot; slot = next) {
            mlc_autofree char *key = slot->obj ? NULL : read_key(s, slot->name);

            next = slot->next;
            if (key && strncmp(key, prefix, strlen(prefix)) == 0 &&
                !is_kept(arg, key)) {
                unlink_files_locked(s, slot->name);
                slot_remove_locked(s, slot);
            }
        }
    }
}

void
mlc_store_kill(struct mlc_store *s, struct mlc_object *obj, bool quiet)
{
    struct mlc_waiter *list = NULL;
    struct mlc_slot *slot;

    pthread_mutex_lock(&s->lock);
    pthread_mutex_lock(&obj->lock);
    /* What is published stays: only the finished file can be judged. */
    if (obj->state == MLC_OBJECT_PARTIAL ||
        (obj->state == MLC_OBJECT_WHOLE && !obj->homes)) {
        obj->state = MLC_OBJECT_DEAD;
        list = mlc_object_take_all_locked(obj);
        slot = slot_find_locked(s, obj->name);
        if (slot && slot->obj == obj) {
            unlink_files_locked(s, obj->name);
            slot_remove_locked(s, slot);
        }
        if (!quiet)
            mlc_debug("object", "%s: dropped", obj->label);
    }
    pthread_mutex_unlock(&obj->lock);
    pthread_mutex_unlock(&s->lock);
    mlc_evict_removed(s->evictor);
    mlc_waiters_wake(list);
    obj->feed_ops->opened(obj->feed, obj, false);
}

bool
mlc_store_forget(struct mlc_store *s, struct mlc_object *obj)
{
    struct mlc_slot *slot;

    MLC_LOCK_SCOPE(&s->lock);
    if (atomic_fetch_sub(&obj->refs, 1) != 1)
        return false;
    if (obj->next_live)
        obj->next_live->prev_live = obj->prev_live;
    if (obj->prev_live)
        obj->prev_live->next_live = obj->next_live;
    else
        s->live = obj->next_live;
    slot = slot_find_locked(s, obj->name);
    if (!slot || slot->obj != obj)
        return true;
    slot->obj = NULL;
    if (obj->is_loaded && !obj->is_published) {
        slot->disk_bytes =
            obj->n_pieces > 1 && !is_homeless_locked(obj) ? obj->present : 0;
        /* Made by an open, and nothing came; or one piece, which has no
         * map; or nobody wants it. */
        if (slot->disk_bytes == 0)
            unlink_files_locked(s, obj->name);
        if (slot->disk_bytes == 0 && obj->present > 0)
            mlc_evict_removed(s->evictor);
    } else if (obj->is_published) {
        slot->disk_bytes = 0;
    }
    if (slot->disk_bytes == 0)
        slot_remove_locked(s, slot);
    return true;
}
