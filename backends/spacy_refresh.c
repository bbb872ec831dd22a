/* SPDX-License-Identifier: MIT */
/* The table as it is now: what ships with us and what is on disk, at first;
 * spaCy is asked for it when somebody wants what it lacks, when a model is
 * fetched, and now and then, but not more than once a day. */
#include "config.h"

#include "backends/spacy_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/json.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define TABLE_FILE MLC_SPACY_DIR "/table.json"
#define HOME_FILE  "compatibility.json"
#define DOC_KEY    "spacy/compatibility.json"
#define EVERY_MS   (INT64_C(24) * 3600 * 1000)
#define AGAIN_MS   (INT64_C(10) * 60 * 1000) /* after a question in vain */
#define TICK_MS    (INT64_C(60) * 1000)
#define MAX_ETAG   512
/* The day of the snapshot: the age of a table that was never asked for. */
#define SNAPSHOT_MS INT64_C(1727654400000)

MLC_DEFINE_CLEANUP(table, struct mlc_spacy_table *, mlc_spacy_table_unref);
MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

#define autotable __attribute__((cleanup(mlc_cleanup_table)))

/* --- joining ------------------------------------------------------------- */

struct mlc_spacy_table *
mlc_spacy_table_get(struct mlc_spacy *s, int64_t *ret_since_ms)
{
    MLC_LOCK_SCOPE(&s->lock);

    if (ret_since_ms)
        *ret_since_ms = s->since_ms;
    return mlc_spacy_table_ref(s->table);
}

/* The table joined with text becomes the table.  0: it did, *ret_is_new says
 * whether that changed it; else as mlc_spacy_table_new(). */
static int
join(struct mlc_spacy *s, const char *text, size_t len, int64_t since_ms,
     const char **ret_why, bool *ret_is_new)
{
    for (;;) {
        autotable struct mlc_spacy_table *old = mlc_spacy_table_get(s, NULL);
        autotable struct mlc_spacy_table *t = NULL;
        size_t old_len, new_len;
        const char *old_text, *new_text;
        int r;

        r = mlc_spacy_table_new(old, text, len, s->minor, &t, ret_why);
        if (r < 0)
            return r;
        old_text = mlc_spacy_table_text(old, &old_len);
        new_text = mlc_spacy_table_text(t, &new_len);
        *ret_is_new = old_len != new_len || strcmp(old_text, new_text) != 0;
        MLC_LOCK_SCOPE(&s->lock);
        if (s->table != old) /* somebody else was quicker */
            continue;
        if (*ret_is_new) {
            struct mlc_spacy_table *swap = s->table;

            /* Kept as it is where it is equal: so is its time. */
            s->table = t;
            t = swap;
            s->since_ms = since_ms;
        }
        return 0;
    }
}

/* --- on disk ------------------------------------------------------------- */

static void
save(struct mlc_spacy *s)
{
    autotable struct mlc_spacy_table *t = NULL;
    mlc_autofree char *etag = NULL;
    __attribute__((cleanup(mlc_cleanup_json))) json_t *head = NULL;
    mlc_autofree char *text = NULL;
    int64_t since_ms, asked_ms;
    struct mlc_buf buf;
    const char *rows;
    size_t len;
    int r;

    if (s->d->privfd < 0)
        return;
    pthread_mutex_lock(&s->lock);
    t = mlc_spacy_table_ref(s->table);
    etag = strdup(s->etag ? s->etag : "");
    since_ms = s->since_ms;
    asked_ms = s->asked_ms;
    pthread_mutex_unlock(&s->lock);
    rows = mlc_spacy_table_text(t, &len);
    mlc_buf_init(&buf, MLC_SPACY_TABLE_MAX + 4096);
    head = json_pack("{s:s, s:I, s:I}", "etag", etag ? etag : "", "since_ms",
                     (json_int_t)since_ms, "asked_ms", (json_int_t)asked_ms);
    text = head ? json_dumps(head, JSON_COMPACT) : NULL;
    r = text ? mlc_buf_puts(&buf, text) : -ENOMEM;
    if (r == 0)
        r = mlc_buf_puts(&buf, "\n");
    if (r == 0)
        r = mlc_buf_append(&buf, rows, len);
    if (r == 0)
        r = mlc_mkdir_parents_at(s->d->privfd, TABLE_FILE);
    if (r == 0)
        r = mlc_write_file_at(s->d->privfd, TABLE_FILE, buf.data, buf.len,
                              0600);
    mlc_buf_done(&buf);
    if (r < 0)
        mlc_warn("spacy: the table of models can't be kept: %s", strerror(-r));
}

/* A line about it, and then the table: 0, or nothing of use. */
static int
load_saved(struct mlc_spacy *s)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *head = NULL;
    mlc_autofree char *text = NULL;
    uint64_t since_ms = 0, asked_ms = 0;
    const char *etag = NULL;
    bool is_new;
    size_t len = 0;
    char *rows;

    if (s->d->privfd < 0 ||
        mlc_read_file_at(s->d->privfd, TABLE_FILE, MLC_SPACY_TABLE_MAX + 4096,
                         &text, &len) < 0)
        return -ENOENT;
    rows = memchr(text, '\n', len);
    if (!rows || mlc_json_parse(text, (size_t)(rows - text), &head, NULL) < 0 ||
        mlc_json_u64(head, "since_ms", &since_ms) < 0 ||
        mlc_json_u64(head, "asked_ms", &asked_ms) < 0 ||
        mlc_json_str(head, "etag", &etag) < 0 || since_ms > INT64_MAX ||
        asked_ms > INT64_MAX)
        return -EBADMSG;
    rows++;
    if (join(s, rows, len - (size_t)(rows - text), (int64_t)since_ms, NULL,
             &is_new) < 0)
        return -EBADMSG;
    s->since_ms = (int64_t)since_ms;
    s->asked_ms = (int64_t)asked_ms;
    s->etag = *etag ? strdup(etag) : NULL;
    return 0;
}

static void tick(struct mlc_job *job);

int
mlc_spacy_table_load(struct mlc_spacy *s)
{
    struct stat st;
    int r;

    r = mlc_spacy_table_new(NULL, NULL, 0, s->minor, &s->table, NULL);
    if (r < 0)
        return r;
    s->since_ms = SNAPSHOT_MS;
    s->asked_ms = s->tried_ms = INT64_MIN;
    (void)load_saved(s);
    if (fstatat(s->d->bases[0].fd, HOME_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode))
        (void)mlc_spacy_table_join(s, &st);
    s->timer.job.run = tick;
    if (!s->d->cache->is_offline)
        mlc_pool_after(s->d->cache->pool, &s->timer, TICK_MS);
    return 0;
}

bool
mlc_spacy_table_join(struct mlc_spacy *s, const struct stat *st)
{
    mlc_autofree char *text = NULL;
    bool is_new = false;
    size_t len = 0;

    pthread_mutex_lock(&s->lock);
    if (st->st_ino == s->local_ino &&
        memcmp(&st->st_mtim, &s->local_mtime, sizeof(st->st_mtim)) == 0) {
        pthread_mutex_unlock(&s->lock);
        return true;
    }
    pthread_mutex_unlock(&s->lock);
    if (mlc_read_file_at(s->d->bases[0].fd, HOME_FILE, MLC_SPACY_TABLE_MAX,
                         &text, &len) < 0 ||
        join(s, text, len, st->st_mtim.tv_sec * INT64_C(1000), NULL, &is_new) <
            0)
        return false;
    pthread_mutex_lock(&s->lock);
    s->local_ino = st->st_ino;
    s->local_mtime = st->st_mtim;
    pthread_mutex_unlock(&s->lock);
    if (is_new)
        save(s);
    return true;
}

void
mlc_spacy_table_leave(struct mlc_spacy *s)
{
    autotable struct mlc_spacy_table *t = mlc_spacy_table_get(s, NULL);
    int fd = s->d->bases[0].fd;
    const char *text;
    size_t len;

    text = mlc_spacy_table_text(t, &len);
    if (!s->d->is_read_only &&
        faccessat(fd, HOME_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno == ENOENT)
        (void)mlc_write_file_at(fd, HOME_FILE, text, len, 0644);
}

/* --- asking -------------------------------------------------------------- */

static bool
is_due(struct mlc_spacy *s, int64_t now_ms, int64_t mono_ms)
{
    bool is_fresh;

    MLC_LOCK_SCOPE(&s->lock);
    /* A clock that was set back says nothing of how long ago that was. */
    is_fresh = s->asked_ms != INT64_MIN && now_ms >= s->asked_ms &&
               now_ms - s->asked_ms < EVERY_MS;
    if (is_fresh || s->d->cache->is_offline)
        return false;
    return s->tried_ms == INT64_MIN || mono_ms - s->tried_ms >= AGAIN_MS;
}

static void
answered(struct mlc_spacy *s, const char *etag)
{
    char *copy = etag && strlen(etag) <= MAX_ETAG ? strdup(etag) : NULL;

    MLC_LOCK_SCOPE(&s->lock);
    s->asked_ms = mlc_real_ms();
    s->tried_ms = INT64_MIN;
    free(s->etag);
    s->etag = copy;
}

static void
in_vain(struct mlc_spacy *s, const char *url, const char *why)
{
    mlc_autofree char *shown = mlc_url_redact(url);

    atomic_fetch_add(&s->errors, 1);
    mlc_warn("spacy: %s: %s; the table of models stays as it is",
             shown ? shown : "?", why);
}

static void
finish(void *arg, const struct mlc_doc_answer *a, struct mlc_doc_verdict *ret)
{
    struct mlc_spacy *s = arg;
    mlc_autofree char *etag = NULL;
    const char *why = "no memory";
    bool is_new = false;
    int r;

    pthread_mutex_lock(&s->lock);
    s->tried_ms = mlc_mono_ms();
    etag = s->etag ? strdup(s->etag) : NULL;
    pthread_mutex_unlock(&s->lock);
    /* Who waits has our last word in any case: the table as it is. */
    memset(ret, 0, sizeof(*ret));
    if (a->r < 0) {
        if (a->r != -ECANCELED)
            in_vain(s, a->url, strerror(-a->r));
    } else if (a->status == 304) {
        answered(s, etag);
        save(s);
    } else if (a->status != 200) {
        mlc_autofree char *text = NULL;

        if (asprintf(&text, "HTTP status %d", a->status) < 0)
            text = NULL;
        in_vain(s, a->url, text ? text : why);
    } else {
        r = join(s, a->body, a->len, mlc_real_ms(), &why, &is_new);
        if (r < 0) {
            in_vain(s, a->url, why);
            return;
        }
        answered(s, a->header(a, "ETag"));
        save(s);
        mlc_debug("spacy", "the table of models was asked for: %s",
                  is_new ? "there is news" : "nothing new");
    }
}

struct question {
    struct mlc_doc_spec spec;
    const char *headers[2];
    char *condition;
};

static void
question_init(struct mlc_spacy *s, struct question *q)
{
    memset(q, 0, sizeof(*q));
    pthread_mutex_lock(&s->lock);
    if (s->etag && asprintf(&q->condition, "If-None-Match: %s", s->etag) < 0)
        q->condition = NULL;
    pthread_mutex_unlock(&s->lock);
    q->headers[0] = q->condition;
    q->spec = (struct mlc_doc_spec){
        .key = DOC_KEY,
        .url = s->compat_url,
        .headers = q->condition ? q->headers : NULL,
        .max_bytes = MLC_SPACY_TABLE_MAX,
        .is_status_of_url = true,
        .finish = finish,
        .arg = s,
    };
}

void
mlc_spacy_table_refresh(struct mlc_spacy *s)
{
    struct question q;

    if (!is_due(s, mlc_real_ms(), mlc_mono_ms()))
        return;
    question_init(s, &q);
    mlc_doc_refresh(s->d->cache->docs, &q.spec);
    free(q.condition);
}

int
mlc_spacy_table_wait(struct mlc_spacy *s, struct mlc_ask *ask)
{
    struct question q;
    int r;

    if (!is_due(s, mlc_real_ms(), mlc_mono_ms()))
        return -ENOENT;
    question_init(s, &q);
    r = mlc_doc_ask(s->d->cache->docs, ask, &q.spec);
    free(q.condition);
    /* An origin that can't be reached has not said that there is more. */
    return r == -EAGAIN || r == -ENOMEM || r == 0 ? r : -ENOENT;
}

static void
tick(struct mlc_job *job)
{
    struct mlc_timer *timer = mlc_container_of(job, struct mlc_timer, job);
    struct mlc_spacy *s = mlc_container_of(timer, struct mlc_spacy, timer);

    if (atomic_load(&s->is_used))
        mlc_spacy_table_refresh(s);
    mlc_pool_after(s->d->cache->pool, timer, TICK_MS);
}
