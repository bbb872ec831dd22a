/* SPDX-License-Identifier: MIT */
/* What is known of names, in memory and in a log on disk.
 *
 * A line of the log is fields separated by tabs, texts among them
 * percent-encoded, and the XXH3 of what comes before: a line that a crash tore
 * counts for nothing.  Bytes are at home before their line is written, and go
 * after the line that says so: whatever lies in bodies/ without a line is
 * removed at the next start. */
#include "config.h"

#include "backends/web_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/cache/object.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define LOG_PATH   "web/index"
#define OBJECTS    "web/" /* of keys in the store */
#define FIRST_LINE "mlcachefs web 1\n"
#define MAX_LOG    ((size_t)1 << 30)
#define MAX_LINE   ((size_t)64 * 1024)
#define MAX_RECS   ((size_t)1 << 20)
#define N_FIELDS   12
/* How long bytes are kept that may be served although they are expired. */
#define STALE_KEPT_MS (INT64_C(7) * 24 * 3600 * 1000)
#define MIN_SWEEP_MS  5000
#define MAX_SWEEP_MS  (INT64_C(3600) * 1000)

/* --- small things ---------------------------------------------------- */

uint64_t
mlc_web_new_gen(void)
{
    uint64_t gen = 0;

    while (gen == 0)
        if (getrandom(&gen, sizeof(gen), 0) != (ssize_t)sizeof(gen))
            gen = (uint64_t)mlc_mono_ms() * UINT64_C(0x9e3779b97f4a7c15);
    return gen;
}

int
mlc_web_parse_gen(const char *text, uint64_t *ret)
{
    uint8_t bytes[8];

    if (!mlc_is_hex(text, 16) || mlc_parse_hex(text, bytes, 8) < 0)
        return -EINVAL;
    *ret = 0;
    for (size_t i = 0; i < 8; i++)
        *ret = *ret << 8 | bytes[i];
    return 0;
}

void
mlc_web_body_path(uint64_t gen, char ret[MLC_WEB_BODY_PATH])
{
    snprintf(ret, MLC_WEB_BODY_PATH, MLC_WEB_BODIES "/%016" PRIx64, gen);
}

void
mlc_web_object_key(uint64_t gen, char ret[MLC_WEB_BODY_PATH])
{
    snprintf(ret, MLC_WEB_BODY_PATH, OBJECTS "%016" PRIx64, gen);
}

void
mlc_web_rec_done(struct mlc_web_rec *rec)
{
    free(rec->path);
    free(rec->etag);
    free(rec->modified);
    free(rec->type);
    free(rec->filename);
    memset(rec, 0, sizeof(*rec));
}

static int
copy_text(const char *from, char **ret)
{
    *ret = from ? strdup(from) : NULL;
    return from && !*ret ? -ENOMEM : 0;
}

static int
copy_rec(const struct mlc_web_rec *from, struct mlc_web_rec *ret)
{
    *ret = *from;
    ret->path = ret->etag = ret->modified = ret->type = ret->filename = NULL;
    if (copy_text(from->path, &ret->path) < 0 ||
        copy_text(from->etag, &ret->etag) < 0 ||
        copy_text(from->modified, &ret->modified) < 0 ||
        copy_text(from->type, &ret->type) < 0 ||
        copy_text(from->filename, &ret->filename) < 0) {
        mlc_web_rec_done(ret);
        return -ENOMEM;
    }
    return 0;
}

static void
free_rec(struct mlc_web_rec *rec)
{
    if (rec)
        mlc_web_rec_done(rec);
    free(rec);
}

/* --- time ------------------------------------------------------------ */

/* Where now - expiry lies outside the years 1 to 9999 nothing expires, as in
 * dgenerate. */
static int64_t
life_of(const struct mlc_web *web, const struct mlc_web_rec *rec,
        int64_t now_ms)
{
    int64_t life = web->expiry_ms;

    if (life != MLC_NEVER_MS && (now_ms - life < INT64_C(-62135596800000) ||
                                 now_ms - life > INT64_C(253402300799999)))
        life = MLC_NEVER_MS;
    if (rec->kind == MLC_WEB_ABSENT && life > MLC_WEB_ABSENT_MS)
        life = MLC_WEB_ABSENT_MS;
    return life;
}

int64_t
mlc_web_expires(const struct mlc_web *web, const struct mlc_web_rec *rec,
                int64_t now_ms)
{
    int64_t life = life_of(web, rec, now_ms);

    if (rec->is_dismissed)
        return rec->fetched_ms;
    return life == MLC_NEVER_MS ? MLC_NEVER_MS : rec->fetched_ms + life;
}

bool
mlc_web_is_fresh(const struct mlc_web *web, const struct mlc_web_rec *rec,
                 int64_t now_ms)
{
    int64_t expires = mlc_web_expires(web, rec, now_ms);

    if (rec->is_dismissed)
        return false;
    /* A clock that was set back must not make things live longer. */
    return expires == MLC_NEVER_MS ||
           (rec->fetched_ms <= now_ms && now_ms < expires);
}

/* --- the table ------------------------------------------------------- */

/* The first record whose path is not before 'path'. */
static size_t
lower_bound_locked(const struct mlc_web *web, const char *path)
{
    size_t from = 0, to = web->n_recs;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (strcmp(web->recs[mid]->path, path) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static struct mlc_web_rec *
find_locked(const struct mlc_web *web, const char *path)
{
    size_t i = lower_bound_locked(web, path);

    return i < web->n_recs && strcmp(web->recs[i]->path, path) == 0
               ? web->recs[i]
               : NULL;
}

/* Takes rec over; what was there before goes to *ret_old. */
static int
insert_locked(struct mlc_web *web, struct mlc_web_rec *rec,
              struct mlc_web_rec **ret_old)
{
    size_t i = lower_bound_locked(web, rec->path);

    *ret_old = NULL;
    if (i < web->n_recs && strcmp(web->recs[i]->path, rec->path) == 0) {
        *ret_old = web->recs[i];
        web->recs[i] = rec;
        return 0;
    }
    if (web->n_recs >= MAX_RECS)
        return -ENOSPC;
    if (web->n_recs == web->cap_recs) {
        size_t cap = web->cap_recs ? web->cap_recs * 2 : 64;
        struct mlc_web_rec **grown =
            reallocarray(web->recs, cap, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        web->recs = grown;
        web->cap_recs = cap;
    }
    memmove(web->recs + i + 1, web->recs + i,
            (web->n_recs - i) * sizeof(*web->recs));
    web->recs[i] = rec;
    web->n_recs++;
    return 0;
}

static struct mlc_web_rec *
take_locked(struct mlc_web *web, const char *path)
{
    size_t i = lower_bound_locked(web, path);
    struct mlc_web_rec *rec;

    if (i == web->n_recs || strcmp(web->recs[i]->path, path) != 0)
        return NULL;
    rec = web->recs[i];
    web->n_recs--;
    memmove(web->recs + i, web->recs + i + 1,
            (web->n_recs - i) * sizeof(*web->recs));
    return rec;
}

/* The records below path: *ret_from up to (not including) the result. */
static size_t
range_locked(const struct mlc_web *web, const char *path, size_t *ret_from)
{
    mlc_autofree char *text = NULL;
    size_t len = strlen(path);
    size_t to;

    if (len == 0) {
        *ret_from = 0;
        return web->n_recs;
    }
    *ret_from = 0;
    text = malloc(len + 2);
    if (!text)
        return 0;
    memcpy(text, path, len);
    text[len] = '/';
    text[len + 1] = '\0';
    *ret_from = lower_bound_locked(web, text);
    text[len] = '/' + 1;
    to = lower_bound_locked(web, text);
    return to;
}

/* --- bytes on disk --------------------------------------------------- */

/* Frees what is on disk of a generation.  false: its object is open. */
static bool
free_bytes(struct mlc_web *web, uint64_t gen)
{
    char text[MLC_WEB_BODY_PATH];

    mlc_web_object_key(gen, text);
    if (web->d->store && mlc_store_drop(web->d->store, text) == -EBUSY)
        return false;
    mlc_web_body_path(gen, text);
    unlinkat(web->d->privfd, text, 0);
    return true;
}

/* The same as soon as nobody has it open. */
static void
doom_locked(struct mlc_web *web, uint64_t gen)
{
    uint64_t *grown;

    if (gen == 0 || free_bytes(web, gen))
        return;
    grown = reallocarray(web->doomed, web->n_doomed + 1, sizeof(*grown));
    if (!grown)
        return;
    web->doomed = grown;
    web->doomed[web->n_doomed++] = gen;
}

static void
free_doomed_locked(struct mlc_web *web)
{
    size_t n = 0;

    for (size_t i = 0; i < web->n_doomed; i++)
        if (!free_bytes(web, web->doomed[i]))
            web->doomed[n++] = web->doomed[i];
    web->n_doomed = n;
}

static bool
is_at_home(const struct mlc_web *web, const struct mlc_web_rec *rec)
{
    char text[MLC_WEB_BODY_PATH];
    struct stat st;

    mlc_web_body_path(rec->gen, text);
    return fstatat(web->d->privfd, text, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size == rec->size;
}

/* --- lines of the log ------------------------------------------------ */

static int
put_text(struct mlc_buf *b, const char *text)
{
    mlc_autofree char *encoded = text ? mlc_url_encode(text, true) : NULL;

    if (!text)
        return mlc_buf_puts(b, "\t-");
    if (!encoded)
        return -ENOMEM;
    /* "-" is nothing, so that a text which is just that needs an escape. */
    return mlc_buf_printf(b, "\t%s", strcmp(encoded, "-") ? encoded : "%2D");
}

static int
put_line(struct mlc_buf *b, const struct mlc_web_rec *rec)
{
    size_t from = b->len;
    int r;

    r = mlc_buf_printf(b, "%c", (int)rec->kind);
    if (r == 0)
        r = put_text(b, rec->path);
    if (r == 0)
        r = mlc_buf_printf(b,
                           "\t%" PRId64 "\t%016" PRIx64 "\t%" PRIu64
                           "\t%" PRId64 "\t%016" PRIx64 "\t%d",
                           rec->fetched_ms, rec->gen, rec->size, rec->mtime_ms,
                           rec->xxh, (int)rec->is_stored);
    if (r == 0)
        r = put_text(b, rec->etag);
    if (r == 0)
        r = put_text(b, rec->modified);
    if (r == 0)
        r = put_text(b, rec->type);
    if (r == 0)
        r = put_text(b, rec->filename);
    if (r == 0)
        r = mlc_buf_printf(
            b, "\t%016llx\n",
            (unsigned long long)XXH3_64bits(b->data + from, b->len - from));
    return r;
}

/* In place; false: no such text. */
static bool
get_text(char *field, char **ret)
{
    *ret = NULL;
    if (strcmp(field, "-") == 0)
        return true;
    if (mlc_url_decode(field) < 0)
        return false;
    *ret = strdup(field);
    return *ret != NULL;
}

/* 'line' is taken apart.  NULL: not a line of ours. */
static struct mlc_web_rec *
parse_line(char *line)
{
    char *fields[N_FIELDS + 1];
    struct mlc_web_rec *rec;
    unsigned long long sum;
    char *check = strrchr(line, '\t');
    size_t n = 0;
    char *end;

    if (!check)
        return NULL;
    sum = strtoull(check + 1, &end, 16);
    if (*end || end != check + 17 ||
        sum != XXH3_64bits(line, (size_t)(check - line)))
        return NULL;
    while (line && n <= N_FIELDS)
        fields[n++] = strsep(&line, "\t");
    if (n != N_FIELDS + 1 || line)
        return NULL;
    rec = calloc(1, sizeof(*rec));
    if (!rec)
        return NULL;
    rec->kind = (enum mlc_web_kind)fields[0][0];
    rec->fetched_ms = strtoll(fields[2], NULL, 10);
    rec->gen = strtoull(fields[3], NULL, 16);
    rec->size = strtoull(fields[4], NULL, 10);
    rec->mtime_ms = strtoll(fields[5], NULL, 10);
    rec->xxh = strtoull(fields[6], NULL, 16);
    rec->is_stored = fields[7][0] == '1';
    if (!get_text(fields[1], &rec->path) || !rec->path ||
        !get_text(fields[8], &rec->etag) ||
        !get_text(fields[9], &rec->modified) ||
        !get_text(fields[10], &rec->type) ||
        !get_text(fields[11], &rec->filename)) {
        free_rec(rec);
        return NULL;
    }
    return rec;
}

/* What is not written down is only forgotten at the next start. */
static void
append_locked(struct mlc_web *web, const struct mlc_web_rec *rec)
{
    struct mlc_buf b;
    ssize_t n = -1;

    if (web->log_fd < 0)
        return;
    mlc_buf_init(&b, MAX_LINE);
    if (put_line(&b, rec) == 0)
        n = write(web->log_fd, b.data, b.len);
    if (n < 0 || (size_t)n != b.len) {
        if (!web->is_log_broken)
            mlc_warn("web: the index can't be written: %m");
        web->is_log_broken = true;
        /* So that what was written of it spoils no other line. */
        if (n > 0)
            n = write(web->log_fd, "\n", 1);
    } else {
        web->is_log_broken = false;
    }
    web->n_lines++;
    mlc_buf_done(&b);
}

static void
append_gone_locked(struct mlc_web *web, const char *path)
{
    struct mlc_web_rec rec = {.kind = (enum mlc_web_kind)'-'};

    rec.path = strdup(path);
    if (rec.path)
        append_locked(web, &rec);
    free(rec.path);
}

/* Writes the log anew, without what does not count any more. */
static int
rewrite_locked(struct mlc_web *web)
{
    struct mlc_buf b;
    int fd;
    int r;

    mlc_buf_init(&b, MAX_LOG);
    r = mlc_buf_puts(&b, FIRST_LINE);
    for (size_t i = 0; i < web->n_recs && r == 0; i++)
        r = put_line(&b, web->recs[i]);
    if (r == 0)
        r = mlc_write_file_at(web->d->privfd, LOG_PATH, b.data, b.len, 0600);
    mlc_buf_done(&b);
    if (r < 0)
        return r;
    fd = openat(web->d->privfd, LOG_PATH,
                O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    if (web->log_fd >= 0)
        close(web->log_fd);
    web->log_fd = fd;
    web->n_lines = web->n_recs;
    return 0;
}

/* --- questions ------------------------------------------------------- */

int
mlc_web_get(struct mlc_web *web, const char *path, struct mlc_web_rec *ret)
{
    const struct mlc_web_rec *rec;

    MLC_LOCK_SCOPE(&web->lock);
    rec = find_locked(web, path);
    return rec ? copy_rec(rec, ret) : -ENOENT;
}

bool
mlc_web_has_below(struct mlc_web *web, const char *path, int64_t now_ms,
                  bool is_fresh)
{
    size_t i, to;

    MLC_LOCK_SCOPE(&web->lock);
    to = range_locked(web, path, &i);
    for (; i < to; i++)
        if (web->recs[i]->kind == MLC_WEB_FILE &&
            (!is_fresh || mlc_web_is_fresh(web, web->recs[i], now_ms)))
            return true;
    return false;
}

uint64_t
mlc_web_count(struct mlc_web *web)
{
    uint64_t n = 0;

    MLC_LOCK_SCOPE(&web->lock);
    for (size_t i = 0; i < web->n_recs; i++)
        n += web->recs[i]->kind == MLC_WEB_FILE;
    return n;
}

/* The names that [from, to) has right below the first 'skip' bytes, each with
 * its NUL, a '/' before that of a directory. */
static int
collect_locked(struct mlc_web *web, const char *path, struct mlc_buf *b)
{
    int64_t now = mlc_real_ms();
    size_t skip = *path ? strlen(path) + 1 : 0;
    const char *last = "";
    size_t last_len = 0;
    size_t i, to;
    int r = 0;

    to = range_locked(web, path, &i);
    for (; i < to && r == 0; i++) {
        const struct mlc_web_rec *rec = web->recs[i];
        const char *name = rec->path + skip;
        size_t len = strcspn(name, "/");

        /* Longer ones can be looked up, and not be listed. */
        if (rec->kind != MLC_WEB_FILE || len > NAME_MAX ||
            (!web->is_stale_allowed && !mlc_web_is_fresh(web, rec, now)) ||
            (len == last_len && memcmp(name, last, len) == 0))
            continue;
        last = name;
        last_len = len;
        r = mlc_buf_append(b, name, len + (name[len] == '/'));
        if (r == 0)
            r = mlc_buf_append(b, "", 1);
    }
    return r;
}

int
mlc_web_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
             mlc_list_fn *emit, void *arg)
{
    struct mlc_web *web = d->priv;
    struct mlc_buf b;
    int r;

    mlc_buf_init(&b, MAX_LOG);
    pthread_mutex_lock(&web->lock);
    r = collect_locked(web, path, &b);
    pthread_mutex_unlock(&web->lock);
    for (size_t off = 0; off < b.len && r == 0;) {
        char *name = b.data + off;
        size_t len = strlen(name);
        bool is_dir = name[len - 1] == '/';

        off += len + 1;
        if (is_dir)
            name[len - 1] = '\0';
        r = emit(arg, name, is_dir ? DT_DIR : DT_REG);
    }
    mlc_buf_done(&b);
    return r;
}

/* --- changes --------------------------------------------------------- */

static void
note_stored(struct mlc_web *web, const struct mlc_web_rec *rec)
{
    char path[MLC_WEB_BODY_PATH];
    struct stat st;

    mlc_web_body_path(rec->gen, path);
    if (web->d->store &&
        fstatat(web->d->privfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        mlc_ledger_add(mlc_store_ledger(web->d->store), &st);
    mlc_evict_wrote(web->d->cache->evictor, rec->size);
}

int
mlc_web_put(struct mlc_web *web, struct mlc_web_rec *rec)
{
    struct mlc_web_rec *copy = malloc(sizeof(*copy));
    struct mlc_web_rec *old = NULL;
    int r;

    if (!copy) {
        mlc_web_rec_done(rec);
        return -ENOMEM;
    }
    *copy = *rec;
    memset(rec, 0, sizeof(*rec));
    MLC_LOCK_SCOPE(&web->lock);
    r = insert_locked(web, copy, &old);
    if (r < 0) {
        if (copy->gen)
            doom_locked(web, copy->gen);
        free_rec(copy);
        return r;
    }
    append_locked(web, copy);
    if (old && old->gen && old->gen != copy->gen) {
        doom_locked(web, old->gen);
        mlc_evict_removed(web->d->cache->evictor);
    }
    /* Others are counted as their pieces come. */
    if (copy->is_stored)
        note_stored(web, copy);
    free_rec(old);
    return 0;
}

bool
mlc_web_renew(struct mlc_web *web, const char *path, uint64_t gen,
              int64_t now_ms)
{
    struct mlc_web_rec *rec;

    MLC_LOCK_SCOPE(&web->lock);
    rec = find_locked(web, path);
    if (!rec || rec->kind != MLC_WEB_FILE || rec->gen != gen)
        return false;
    rec->fetched_ms = now_ms;
    rec->is_dismissed = false;
    append_locked(web, rec);
    return true;
}

void
mlc_web_drop(struct mlc_web *web, const char *path, uint64_t gen)
{
    struct mlc_web_rec *rec;

    MLC_LOCK_SCOPE(&web->lock);
    rec = find_locked(web, path);
    if (!rec || (gen && rec->gen != gen))
        return;
    rec = take_locked(web, path);
    append_gone_locked(web, path);
    doom_locked(web, rec->gen);
    free_rec(rec);
    mlc_evict_removed(web->d->cache->evictor);
}

static struct mlc_web_rec *
find_gen_locked(const struct mlc_web *web, uint64_t gen)
{
    for (size_t i = 0; i < web->n_recs; i++)
        if (web->recs[i]->gen == gen)
            return web->recs[i];
    return NULL;
}

char *
mlc_web_path_of(struct mlc_web *web, uint64_t gen)
{
    const struct mlc_web_rec *rec;

    MLC_LOCK_SCOPE(&web->lock);
    rec = find_gen_locked(web, gen);
    return rec ? strdup(rec->path) : NULL;
}

int
mlc_web_gens_under(struct mlc_web *web, const char *path, uint64_t **list,
                   size_t *n)
{
    const struct mlc_web_rec *rec;
    size_t from, to;
    uint64_t *grown;

    MLC_LOCK_SCOPE(&web->lock);
    to = range_locked(web, path, &from);
    grown = reallocarray(*list, *n + to - from + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    *list = grown;
    rec = find_locked(web, path);
    if (rec && rec->kind == MLC_WEB_FILE)
        grown[(*n)++] = rec->gen;
    for (; from < to; from++)
        if (web->recs[from]->kind == MLC_WEB_FILE)
            grown[(*n)++] = web->recs[from]->gen;
    return 0;
}

void
mlc_web_drop_gen(struct mlc_web *web, uint64_t gen)
{
    struct mlc_web_rec *rec;

    MLC_LOCK_SCOPE(&web->lock);
    rec = find_gen_locked(web, gen);
    if (!rec || !rec->is_whole || !free_bytes(web, gen))
        return;
    rec = take_locked(web, rec->path);
    append_gone_locked(web, rec->path);
    free_rec(rec);
}

void
mlc_web_mark(struct mlc_web *web, uint64_t gen, bool is_dismissed)
{
    struct mlc_web_rec *rec;

    MLC_LOCK_SCOPE(&web->lock);
    rec = find_gen_locked(web, gen);
    if (rec && is_dismissed)
        rec->is_dismissed = true;
    else if (rec)
        rec->is_whole = true;
    if (rec)
        return;
    /* Replaced while it was on its way home. */
    if (!is_dismissed)
        doom_locked(web, gen);
}

void
mlc_web_mark_checked(struct mlc_web *web, const char *path, uint64_t gen)
{
    struct mlc_web_rec *rec;

    MLC_LOCK_SCOPE(&web->lock);
    rec = find_locked(web, path);
    if (rec && rec->gen == gen)
        rec->is_checked = true;
}

/* --- the sweep ------------------------------------------------------- */

static int64_t
sweep_interval(const struct mlc_web *web)
{
    if (web->expiry_ms < MIN_SWEEP_MS)
        return MIN_SWEEP_MS;
    return web->expiry_ms < MAX_SWEEP_MS ? web->expiry_ms : MAX_SWEEP_MS;
}

/* Is the record of no use any more?  A directory goes after the files below
 * it, which are asked about first. */
static bool
is_to_go_locked(struct mlc_web *web, size_t i, int64_t now)
{
    const struct mlc_web_rec *rec = web->recs[i];
    int64_t kept = sweep_interval(web);
    size_t k, to;

    if (mlc_web_is_fresh(web, rec, now))
        return false;
    if (rec->kind == MLC_WEB_DIR)
        for (to = range_locked(web, rec->path, &k); k < to; k++)
            if (web->recs[k]->kind == MLC_WEB_FILE && !web->recs[k]->is_going)
                return false;
    /* From the future: its time says nothing. */
    if (rec->kind != MLC_WEB_FILE || rec->is_dismissed || rec->fetched_ms > now)
        return true;
    /* Who comes a little late still gets it for a 304. */
    if (web->expiry_ms < kept)
        kept = web->expiry_ms < 0 ? 0 : web->expiry_ms;
    if (web->is_stale_allowed)
        kept = STALE_KEPT_MS;
    return now - mlc_web_expires(web, rec, now) >= kept;
}

static void
sweep_run(struct mlc_job *job)
{
    struct mlc_web *web =
        (void *)((char *)job - offsetof(struct mlc_web, sweep_job));
    int64_t now = mlc_real_ms();
    size_t n = 0, n_gone = 0;

    MLC_LOCK_SCOPE(&web->lock);
    free_doomed_locked(web);
    for (size_t i = web->n_recs; i-- > 0;)
        /* Bytes that somebody reads stay known under their name, too. */
        web->recs[i]->is_going =
            is_to_go_locked(web, i, now) &&
            (web->recs[i]->gen == 0 || free_bytes(web, web->recs[i]->gen));
    for (size_t i = 0; i < web->n_recs; i++) {
        struct mlc_web_rec *rec = web->recs[i];

        if (rec->is_going) {
            append_gone_locked(web, rec->path);
            free_rec(rec);
            n_gone++;
        } else {
            web->recs[n++] = rec;
        }
    }
    web->n_recs = n;
    if (web->n_lines > 4 * web->n_recs + 1024 && web->log_fd >= 0 &&
        rewrite_locked(web) < 0)
        mlc_warn("web: the index can't be written anew");
    web->is_sweeping = false;
    if (n_gone > 0)
        mlc_evict_removed(web->d->cache->evictor);
    if (n_gone > 0)
        mlc_debug("web", "%zu expired names swept", n_gone);
}

static void
start_sweep(struct mlc_web *web)
{
    MLC_LOCK_SCOPE(&web->lock);

    if (web->is_sweeping)
        return;
    web->is_sweeping = true;
    web->swept_ms = mlc_real_ms();
    mlc_pool_submit(web->d->cache->pool, MLC_LANE_SLOW, &web->sweep_job);
}

void
mlc_web_sweep_if_due(struct mlc_web *web)
{
    int64_t now = mlc_real_ms();
    bool is_due;

    if (web->d->privfd < 0)
        return;
    pthread_mutex_lock(&web->lock);
    is_due = now < web->swept_ms || now - web->swept_ms >= sweep_interval(web);
    pthread_mutex_unlock(&web->lock);
    if (is_due)
        start_sweep(web);
}

static void
sweep_timer(struct mlc_job *job)
{
    struct mlc_timer *timer =
        (void *)((char *)job - offsetof(struct mlc_timer, job));
    struct mlc_web *web =
        (void *)((char *)timer - offsetof(struct mlc_web, timer));

    start_sweep(web);
    mlc_pool_after(web->d->cache->pool, &web->timer, sweep_interval(web));
}

/* --- begin and end --------------------------------------------------- */

static int
load_log(struct mlc_web *web, bool *ret_is_sound)
{
    mlc_autofree char *data = NULL;
    size_t len = 0;
    char *p, *end;
    int r;

    *ret_is_sound = false;
    r = mlc_read_file_at(web->d->privfd, LOG_PATH, MAX_LOG, &data, &len);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return mlc_log_err(r, "web: the index can't be read");
    if (strncmp(data, FIRST_LINE, strlen(FIRST_LINE)) != 0) {
        mlc_warn("web: the index is not one of this version, a new one begins");
        return 0;
    }
    /* Behind a NUL nothing is read: what was appended there would be lost. */
    *ret_is_sound = len > 0 && data[len - 1] == '\n' && strlen(data) == len;
    for (p = data + strlen(FIRST_LINE); *p; p = end) {
        struct mlc_web_rec *rec, *old = NULL;

        end = strchr(p, '\n');
        if (!end)
            break;
        *end++ = '\0';
        web->n_lines++;
        rec = parse_line(p);
        if (!rec) {
            *ret_is_sound = false;
            continue;
        }
        if (rec->kind != MLC_WEB_FILE && rec->kind != MLC_WEB_DIR &&
            rec->kind != MLC_WEB_ABSENT) {
            free_rec(take_locked(web, rec->path));
            free_rec(rec);
            continue;
        }
        r = insert_locked(web, rec, &old);
        if (r < 0) {
            free_rec(rec);
            return r;
        }
        free_rec(old);
    }
    return 0;
}

struct gens {
    uint64_t *list; /* sorted */
    size_t n;
};

static int
compare_gens(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* text: the 16 hex digits of a generation. */
static bool
has_gen(const struct gens *gens, const char *text)
{
    uint64_t gen;

    if (mlc_web_parse_gen(text, &gen) < 0)
        return false;
    return bsearch(&gen, gens->list, gens->n, sizeof(gen), compare_gens);
}

static bool
is_object_kept(void *arg, const char *key)
{
    return has_gen(arg, key + strlen(OBJECTS));
}

/* What a record says must be on disk, is; what is there without one goes. */
static int
check_bodies(struct mlc_web *web)
{
    mlc_autodir DIR *dir = NULL;
    mlc_autofree uint64_t *list = NULL;
    struct gens gens = {0};
    struct dirent *e;
    size_t n = 0;

    list = gens.list = calloc(web->n_recs + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < web->n_recs; i++) {
        struct mlc_web_rec *rec = web->recs[i];

        if (rec->kind == MLC_WEB_FILE) {
            rec->is_whole = is_at_home(web, rec);
            if (!rec->is_whole && rec->is_stored) {
                free_rec(rec);
                continue;
            }
            gens.list[gens.n++] = rec->gen;
        }
        web->recs[n++] = rec;
    }
    web->n_recs = n;
    qsort(gens.list, gens.n, sizeof(*gens.list), compare_gens);
    if (web->d->store)
        mlc_store_prune(web->d->store, OBJECTS, is_object_kept, &gens);
    dir = mlc_opendir_beneath(web->d->privfd, MLC_WEB_BODIES);
    if (!dir)
        return mlc_log_err(-errno, "web: bodies: %m");
    while ((e = readdir(dir))) {
        if (e->d_name[0] == '.' &&
            (!e->d_name[1] || (e->d_name[1] == '.' && !e->d_name[2])))
            continue;
        if (!has_gen(&gens, e->d_name))
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    return 0;
}

int
mlc_web_index_open(struct mlc_web *web)
{
    bool is_sound;
    int fd;
    int r;

    web->log_fd = -1;
    web->timer.job.run = sweep_timer;
    web->sweep_job.run = sweep_run;
    web->swept_ms = mlc_real_ms();
    if (web->d->privfd < 0)
        return 0;
    fd = web->d->privfd;
    if ((mkdirat(fd, "web", 0700) < 0 && errno != EEXIST) ||
        (mkdirat(fd, MLC_WEB_BODIES, 0700) < 0 && errno != EEXIST))
        return mlc_log_err(-errno, "web: %m");
    MLC_LOCK_SCOPE(&web->lock);
    r = load_log(web, &is_sound);
    if (r == 0)
        r = check_bodies(web);
    if (r < 0)
        return r;
    if (is_sound && web->n_lines <= 2 * web->n_recs + 256) {
        web->log_fd =
            openat(fd, LOG_PATH, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        r = web->log_fd < 0 ? -errno : 0;
    } else {
        r = rewrite_locked(web);
    }
    if (r < 0)
        return mlc_log_err(r, "web: the index can't be written");
    mlc_pool_after(web->d->cache->pool, &web->timer, sweep_interval(web));
    return 0;
}

void
mlc_web_index_close(struct mlc_web *web)
{
    pthread_mutex_lock(&web->lock);
    if (web->d->privfd >= 0)
        free_doomed_locked(web);
    pthread_mutex_unlock(&web->lock);
    for (size_t i = 0; i < web->n_recs; i++)
        free_rec(web->recs[i]);
    free(web->recs);
    free(web->doomed);
    if (web->log_fd >= 0)
        close(web->log_fd);
    web->log_fd = -1;
    web->recs = NULL;
    web->doomed = NULL;
    web->n_recs = web->n_doomed = 0;
}
