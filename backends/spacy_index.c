/* SPDX-License-Identifier: MIT */
/* What is inside of a wheel, from its last bytes: two requests, one for the
 * size and one for the tail, for nearly every wheel.  What came is kept on disk
 * as it came, and parsed anew after a start. */
#include "config.h"

#include "backends/spacy_i.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <jansson.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/format/wheel.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/json.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define INDEX_DIR MLC_SPACY_DIR "/index"
/* The first bytes, which tell the size; a zip begins with them. */
#define HEAD_BYTES 4
/* A small archive is taken whole with its tail, and never asked for again. */
#define SMALL_BYTES ((uint64_t)96 << 10)
/* Of others the tail is at least that, and at most MLC_ZIP_FIRST_TAIL: a part
 * of the whole that does not count. */
#define MIN_TAIL   ((uint64_t)8 << 10)
#define TAIL_SHARE 32
#define MAX_PART   ((uint64_t)24 << 20)
#define MAX_TURNS  8
#define MAX_TEXT   1024 /* of a validator */

/* The time of a wheel whose server tells none: the same always, so that our
 * files are known by it. */
#define NO_TIME_MS INT64_C(1577836800000)

#define ABSENT_MS      (INT64_C(5) * 60 * 1000) /* how long a 404 is believed */
#define BAD_MS         (INT64_C(60) * 1000) /* a wheel that makes no sense */
#define REFUSED_MS     10000
#define UNREACHABLE_MS 10000

/* What has come so far. */
struct mlc_spacy_parts {
    uint64_t size; /* 0: not known */
    char *validator;
    int64_t mtime_ms;
    uint64_t tail_from; /* where the tail begins, or shall */
    uint8_t *tail;      /* NULL: it has not come */
    size_t tail_len;
    /* RECORD's own range, where it does not lie in the tail. */
    uint64_t record_from, record_end; /* 0, 0: not wanted */
    uint8_t *record;
    size_t record_len;
};

static void
parts_free(struct mlc_spacy_parts *p)
{
    if (!p)
        return;
    free(p->validator);
    free(p->tail);
    free(p->record);
    free(p);
}

MLC_DEFINE_CLEANUP(parts, struct mlc_spacy_parts *, parts_free);
MLC_DEFINE_CLEANUP(index, struct mlc_spacy_index *, mlc_spacy_index_unref);
MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

#define autoparts __attribute__((cleanup(mlc_cleanup_parts)))
#define autoindex __attribute__((cleanup(mlc_cleanup_index)))

/* --- wheels -------------------------------------------------------------- */

struct mlc_spacy_wheel *
mlc_spacy_wheel_get(struct mlc_spacy *s, const char *name, const char *version)
{
    char stem[MLC_SPACY_STEM_SIZE];
    struct mlc_spacy_wheel *w;

    mlc_spacy_stem(name, version, stem);
    MLC_LOCK_SCOPE(&s->lock);
    for (w = s->wheels; w; w = w->next)
        if (strcmp(w->stem, stem) == 0)
            return w;
    w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->s = s;
    snprintf(w->name, sizeof(w->name), "%s", name);
    snprintf(w->version, sizeof(w->version), "%s", version);
    memcpy(w->stem, stem, sizeof(stem));
    w->next = s->wheels;
    s->wheels = w;
    return w;
}

void
mlc_spacy_wheels_free(struct mlc_spacy *s)
{
    struct mlc_spacy_wheel *w;

    while ((w = s->wheels)) {
        s->wheels = w->next;
        mlc_spacy_whole_free(w->whole);
        mlc_spacy_index_unref(w->index);
        mlc_spacy_index_unref(w->old);
        parts_free(w->parts);
        free(w->bad);
        free(w);
    }
}

char *
mlc_spacy_wheel_url(const struct mlc_spacy *s, const char *stem)
{
    char *url = NULL;

    return asprintf(&url, "%s/%s/%s-py3-none-any.whl", s->download_url, stem,
                    stem) < 0
               ? NULL
               : url;
}

struct mlc_spacy_index *
mlc_spacy_index_ref(struct mlc_spacy_index *x)
{
    atomic_fetch_add(&x->refs, 1);
    return x;
}

void
mlc_spacy_index_unref(struct mlc_spacy_index *x)
{
    if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    mlc_zip_free(x->zip);
    mlc_record_free(x->record);
    free(x->validator);
    free(x->tail);
    free(x);
}

/* --- building ------------------------------------------------------------ */

/* The bytes that are here, for mlc_zip_read_fn. */
static ssize_t
read_parts(void *arg, uint64_t off, void *buf, size_t len)
{
    const struct mlc_spacy_parts *p = arg;
    const uint8_t *from = NULL;
    size_t n = 0;

    if (off >= p->tail_from && off < p->tail_from + p->tail_len) {
        from = p->tail + (off - p->tail_from);
        n = (size_t)(p->tail_from + p->tail_len - off);
    } else if (p->record && off >= p->record_from &&
               off < p->record_from + p->record_len) {
        from = p->record + (off - p->record_from);
        n = (size_t)(p->record_from + p->record_len - off);
    }
    if (n > len)
        n = len;
    if (n > 0)
        memcpy(buf, from, n);
    return (ssize_t)n;
}

/* Is RECORD's range here?  Else it is wanted. */
static bool
has_record(const struct mlc_zip *zip, const struct mlc_spacy_wheel *w,
           struct mlc_spacy_parts *p)
{
    char path[MLC_SPACY_STEM_SIZE + 32];
    const struct mlc_zip_member *m = NULL;

    snprintf(path, sizeof(path), "%s" MLC_SPACY_INFO_SUFFIX "/RECORD", w->stem);
    /* A wheel without one is refused by who reads it. */
    if (mlc_zip_find(zip, path, &m) < 0 || m->offset >= p->tail_from ||
        p->record || m->csize > MLC_RECORD_MAX_LEN ||
        m->end - m->offset > MAX_PART)
        return true;
    p->record_from = m->offset;
    p->record_end = m->end < p->tail_from ? m->end : p->tail_from;
    return false;
}

/* 1: another part is wanted, which p tells; 0: *ret; -errno. */
static int
build(const struct mlc_spacy_wheel *w, struct mlc_spacy_parts *p,
      struct mlc_spacy_index **ret, char *ret_why)
{
    autoindex struct mlc_spacy_index *x = calloc(1, sizeof(*x));
    uint64_t from = 0;
    char text[32];
    XXH3_state_t state;
    int r;

    if (!x)
        return -ENOMEM;
    atomic_init(&x->refs, 1);
    r = mlc_zip_parse(p->size, p->tail, p->tail_len, &mlc_zip_default_limits,
                      &x->zip, &from, ret_why);
    if (r == MLC_ZIP_MORE) {
        p->tail_from = from;
        return 1;
    }
    if (r == 0)
        r = mlc_wheel_check(x->zip, w->name, w->version, ret_why);
    if (r == 0 && !has_record(x->zip, w, p))
        return 1;
    if (r == 0)
        r = mlc_wheel_read_record(x->zip, w->name, w->version, read_parts, p,
                                  NULL, &x->record, ret_why);
    if (r < 0)
        return r;
    x->size = p->size;
    x->validator = strdup(p->validator);
    if (!x->validator)
        return -ENOMEM;
    x->mtime_ms = p->mtime_ms;
    snprintf(text, sizeof(text), " %" PRIu64, p->size);
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, p->validator, strlen(p->validator));
    XXH3_64bits_update(&state, text, strlen(text));
    XXH3_64bits_update(&state, w->stem, strlen(w->stem));
    x->identity = XXH3_64bits_digest(&state);
    /* Taken over: what is all of a small archive, or of its last piece, is not
     * asked for again. */
    x->tail_from = p->tail_from;
    x->tail_len = p->tail_len;
    x->tail = mlc_steal(&p->tail);
    *ret = mlc_steal(&x);
    return 0;
}

/* Of the tail stays what is whole pieces of the wheel's object. */
static void
trim_tail(struct mlc_spacy_index *x)
{
    size_t piece = mlc_piece_size(x->size);
    uint64_t from = (x->tail_from + piece - 1) / piece * piece;
    size_t gone;

    if (from >= x->size) {
        free(mlc_steal(&x->tail));
        x->tail_len = 0;
        return;
    }
    gone = (size_t)(from - x->tail_from);
    x->tail_len -= gone;
    memmove(x->tail, x->tail + gone, x->tail_len);
    x->tail_from = from;
}

/* --- on disk ------------------------------------------------------------- */

static char *
index_path(const struct mlc_spacy_wheel *w)
{
    return mlc_path_join(INDEX_DIR, w->stem);
}

/* A line about it, the tail, and RECORD's range if there is one. */
static void
save(struct mlc_spacy *s, const struct mlc_spacy_wheel *w,
     const struct mlc_spacy_parts *p, const struct mlc_spacy_index *x)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *head = NULL;
    mlc_autofree char *text = NULL;
    mlc_autofree char *path = index_path(w);
    XXH3_state_t state;
    struct mlc_buf buf;
    int r;

    if (s->d->privfd < 0 || !path)
        return;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, x->tail, x->tail_len);
    XXH3_64bits_update(&state, p->record ? p->record : x->tail, p->record_len);
    head = json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "size",
                     (json_int_t)p->size, "validator", p->validator, "mtime_ms",
                     (json_int_t)p->mtime_ms, "tail", (json_int_t)x->tail_len,
                     "record_from", (json_int_t)p->record_from, "record",
                     (json_int_t)p->record_len, "xxh",
                     (json_int_t)(XXH3_64bits_digest(&state) >> 1));
    text = head ? json_dumps(head, JSON_COMPACT) : NULL;
    mlc_buf_init(&buf, 2 * MAX_PART + 4096);
    r = text ? mlc_buf_puts(&buf, text) : -ENOMEM;
    if (r == 0)
        r = mlc_buf_puts(&buf, "\n");
    if (r == 0)
        r = mlc_buf_append(&buf, x->tail, x->tail_len);
    if (r == 0 && p->record_len > 0)
        r = mlc_buf_append(&buf, p->record, p->record_len);
    if (r == 0)
        r = mlc_mkdir_parents_at(s->d->privfd, path);
    if (r == 0)
        r = mlc_write_file_at(s->d->privfd, path, buf.data, buf.len, 0600);
    mlc_buf_done(&buf);
    if (r < 0)
        mlc_warn("spacy: %s: its index can't be kept: %s", w->stem,
                 strerror(-r));
}

static int
copy_part(const char *from, uint64_t len, uint8_t **ret)
{
    *ret = malloc(len > 0 ? (size_t)len : 1);
    if (!*ret)
        return -ENOMEM;
    memcpy(*ret, from, (size_t)len);
    return 0;
}

/* Fills parts with what the file says; -EBADMSG unless it is all there. */
static int
read_saved(char *text, size_t len, struct mlc_spacy_parts *p)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *head = NULL;
    uint64_t tail = 0, record = 0, record_from = 0, xxh = 0, mtime_ms = 0;
    char *rest = memchr(text, '\n', len);
    const char *validator = NULL;
    size_t left;

    if (!rest || mlc_json_parse(text, (size_t)(rest - text), &head, NULL) < 0 ||
        mlc_json_u64(head, "size", &p->size) < 0 ||
        mlc_json_str(head, "validator", &validator) < 0 ||
        mlc_json_u64(head, "mtime_ms", &mtime_ms) < 0 ||
        mlc_json_u64(head, "tail", &tail) < 0 ||
        mlc_json_u64(head, "record_from", &record_from) < 0 ||
        mlc_json_u64(head, "record", &record) < 0 ||
        mlc_json_u64(head, "xxh", &xxh) < 0)
        return -EBADMSG;
    rest++;
    left = len - (size_t)(rest - text);
    if (tail > left || record != left - tail || tail > p->size ||
        mtime_ms > INT64_MAX || p->size > INT64_MAX ||
        XXH3_64bits(rest, left) >> 1 != xxh)
        return -EBADMSG;
    p->validator = strdup(validator);
    p->mtime_ms = (int64_t)mtime_ms;
    p->tail_from = p->size - tail;
    p->tail_len = (size_t)tail;
    if (!p->validator || copy_part(rest, tail, &p->tail) < 0)
        return -ENOMEM;
    if (record == 0)
        return 0;
    p->record_from = record_from;
    p->record_end = record_from + record;
    p->record_len = (size_t)record;
    return copy_part(rest + tail, record, &p->record);
}

static void
load(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    autoparts struct mlc_spacy_parts *p = calloc(1, sizeof(*p));
    autoindex struct mlc_spacy_index *x = NULL;
    mlc_autofree char *path = index_path(w);
    mlc_autofree char *text = NULL;
    char why[MLC_ZIP_WHY_SIZE];
    size_t len = 0;
    int r = -ENOENT;

    if (p && path && s->d->privfd >= 0)
        r = mlc_read_file_at(s->d->privfd, path, 2 * MAX_PART + 4096, &text,
                             &len);
    if (r == 0)
        r = read_saved(text, len, p);
    if (r == 0)
        r = build(w, p, &x, why);
    if (r > 0 || r == -EBADMSG)
        mlc_debug("spacy", "%s: the index on disk is of no use", w->stem);
    if (x) {
        trim_tail(x);
        mlc_spacy_tidy(s, w, x);
    }
    MLC_LOCK_SCOPE(&s->lock);
    w->is_loaded = r != -ENOMEM;
    if (x && !w->index)
        w->index = mlc_steal(&x);
}

void
mlc_spacy_index_drop(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    autoindex struct mlc_spacy_index *x = NULL;
    autoindex struct mlc_spacy_index *old = NULL;
    autoparts struct mlc_spacy_parts *p = NULL;
    mlc_autofree char *path = index_path(w);
    mlc_autofree char *key = NULL;

    pthread_mutex_lock(&s->lock);
    x = mlc_steal(&w->index);
    old = mlc_steal(&w->old);
    p = mlc_steal(&w->parts);
    w->is_stale = false;
    w->is_sum_asked = false; /* another wheel has another */
    w->want_from = w->want_to = 0;
    w->n_bad = 0;
    w->failed_ms = 0;
    pthread_mutex_unlock(&s->lock);
    if (path && s->d->privfd >= 0)
        unlinkat(s->d->privfd, path, 0);
    if (x)
        mlc_spacy_wheel_drop(s, w, x);
    if (asprintf(&key, "spacy/%s/", w->stem) > 0)
        mlc_doc_forget(s->d->cache->docs, key);
    else
        key = NULL;
}

/* The origin has another wheel there, or none: asked for anew.  What came home
 * from the old one stays until another is known. */
static void
retire(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    autoindex struct mlc_spacy_index *x = NULL;

    pthread_mutex_lock(&s->lock);
    if (w->is_stale)
        x = w->index ? mlc_spacy_index_ref(w->index) : NULL;
    pthread_mutex_unlock(&s->lock);
    if (!x)
        return;
    mlc_spacy_whole_stop(s, w);
    mlc_spacy_index_drop(s, w);
    MLC_LOCK_SCOPE(&s->lock);
    if (!w->old)
        w->old = mlc_steal(&x);
}

/* Another wheel has taken the old one's place: its files go. */
static void
drop_old_files(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
               const struct mlc_spacy_index *x)
{
    autoindex struct mlc_spacy_index *old = NULL;

    pthread_mutex_lock(&s->lock);
    old = mlc_steal(&w->old);
    pthread_mutex_unlock(&s->lock);
    if (!old || old->identity == x->identity || s->d->is_read_only)
        return;
    for (size_t i = 0; i < mlc_zip_n_members(old->zip); i++) {
        const struct mlc_zip_member *m = mlc_zip_member(old->zip, i);

        if (!m->is_dir && mlc_spacy_is_home(s, old, m))
            unlinkat(s->d->bases[0].fd, m->name, 0);
    }
}

/* --- answers ------------------------------------------------------------- */

struct query {
    struct mlc_spacy *s;
    struct mlc_spacy_wheel *w;
    uint64_t from, to; /* exclusive */
};

static void
say(struct mlc_doc_verdict *ret, int r, int64_t memo_ms)
{
    ret->r = r;
    ret->memo_ms = memo_ms;
}

static void
complain(struct query *q, const char *why)
{
    atomic_fetch_add(&q->s->errors, 1);
    mlc_warn("spacy: %s: %s", q->w->stem, why);
}

static void
failed(struct query *q)
{
    MLC_LOCK_SCOPE(&q->s->lock);
    q->w->failed_ms = mlc_mono_ms();
}

bool
mlc_spacy_is_unreachable(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    MLC_LOCK_SCOPE(&s->lock);
    return w->failed_ms > 0 && mlc_mono_ms() - w->failed_ms < UNREACHABLE_MS;
}

static const char *
validator_of(const struct mlc_doc_answer *a)
{
    const char *v = a->header(a, "ETag");

    if (!v)
        v = a->header(a, "Last-Modified");
    return v && strlen(v) <= MAX_TEXT ? v : "";
}

static int
take_head(struct mlc_spacy_parts *p, const struct mlc_doc_answer *a,
          uint64_t size)
{
    const char *modified = a->header(a, "Last-Modified");
    time_t t = modified ? curl_getdate(modified, NULL) : -1;
    uint64_t tail = size / TAIL_SHARE;

    p->size = size;
    p->validator = strdup(validator_of(a));
    p->mtime_ms = t > 0 ? (int64_t)t * 1000 : NO_TIME_MS;
    if (tail < MIN_TAIL)
        tail = MIN_TAIL;
    if (tail > MLC_ZIP_FIRST_TAIL)
        tail = MLC_ZIP_FIRST_TAIL;
    p->tail_from = size <= SMALL_BYTES ? 0 : size - tail;
    return p->validator ? 0 : -ENOMEM;
}

/* Puts what came where it belongs.  -ESTALE: it is of another file. */
static int
take_part(struct mlc_spacy_parts *p, const struct query *q,
          const struct mlc_doc_answer *a, uint64_t size)
{
    uint8_t *grown;

    if (p->size == 0)
        return take_head(p, a, size);
    if (p->size != size || strcmp(p->validator, validator_of(a)) != 0)
        return -ESTALE;
    if (p->record_end > 0 && q->from == p->record_from &&
        q->to == p->record_end && !p->record) {
        p->record_len = a->len;
        return copy_part(a->body, a->len, &p->record);
    }
    /* What is in front of the tail, or the tail. */
    if (q->from != p->tail_from || q->to != p->size - p->tail_len)
        return 0;
    grown = malloc(a->len + p->tail_len + 1);
    if (!grown)
        return -ENOMEM;
    memcpy(grown, a->body, a->len);
    if (p->tail_len > 0)
        memcpy(grown + a->len, p->tail, p->tail_len);
    free(p->tail);
    p->tail = grown;
    p->tail_len += a->len;
    return 0;
}

/* What is to be asked for next; NULL: from the start. */
static void
want(struct query *q, const struct mlc_spacy_parts *p)
{
    MLC_LOCK_SCOPE(&q->s->lock);

    q->w->want_from = q->w->want_to = 0;
    if (!p)
        return;
    q->w->want_from = p->record_end > 0 ? p->record_from : p->tail_from;
    q->w->want_to = p->record_end > 0 ? p->record_end : p->size - p->tail_len;
}

/* The part of the wheel that came; a->len bytes from q->from on. */
static void
judge_part(struct query *q, const struct mlc_doc_answer *a, uint64_t size,
           struct mlc_doc_verdict *ret)
{
    struct mlc_spacy *s = q->s;
    struct mlc_spacy_wheel *w = q->w;
    autoparts struct mlc_spacy_parts *p = NULL;
    autoindex struct mlc_spacy_index *x = NULL;
    char why[MLC_ZIP_WHY_SIZE] = "";
    int r;

    /* Ours alone from here on; who comes meanwhile asks for the same part, and
     * waits for this answer. */
    pthread_mutex_lock(&s->lock);
    p = mlc_steal(&w->parts);
    pthread_mutex_unlock(&s->lock);
    if (!p)
        p = calloc(1, sizeof(*p));
    if (!p) {
        say(ret, -ENOMEM, 0);
        return;
    }
    r = take_part(p, q, a, size);
    if (r == -ESTALE) {
        mlc_debug("spacy", "%s: replaced while it was asked for", w->stem);
        want(q, NULL); /* p goes: asked for from the start */
        return;
    }
    if (r == 0 && p->tail)
        r = build(w, p, &x, why);
    else if (r == 0)
        r = 1;
    if (r == -EBADMSG || r == -EFBIG) {
        mlc_autofree char *text = NULL;

        if (asprintf(&text, "not a wheel that can be used: %s", why) < 0)
            text = NULL;
        complain(q, text ? text : why);
        say(ret, -EIO, BAD_MS);
        return;
    }
    if (r < 0) {
        say(ret, r, 0);
        return;
    }
    if (r == 0) {
        save(s, w, p, x);
        trim_tail(x);
        drop_old_files(s, w, x);
    }
    want(q, r > 0 ? p : NULL);
    MLC_LOCK_SCOPE(&s->lock);
    w->failed_ms = 0;
    if (r > 0 && !w->parts)
        w->parts = mlc_steal(&p);
    if (x && !w->index)
        w->index = mlc_steal(&x);
}

static void
judge_body(struct query *q, const struct mlc_doc_answer *a,
           struct mlc_doc_verdict *ret)
{
    const char *range = a->header(a, "Content-Range");
    const char *coding = a->header(a, "Content-Encoding");
    uint64_t from = 0, last = 0, total = UINT64_MAX;
    bool is_first = q->from == 0 && q->to == HEAD_BYTES;

    if (coding && strcasecmp(coding, "identity") != 0) {
        complain(q, "sent compressed, although it was asked for as it is");
    } else if (a->status == 206 &&
               (!range ||
                mlc_parse_content_range(range, &from, &last, &total) < 0 ||
                from != q->from || last - from + 1 != a->len ||
                total == UINT64_MAX ||
                (last + 1 != q->to && last + 1 != total))) {
        complain(q, "not the range that was asked for");
    } else if (a->status == 200 && a->r == -EFBIG) {
        complain(q, "its server does not know ranges");
    } else if (is_first &&
               (a->len < HEAD_BYTES || memcmp(a->body, "PK", 2) != 0)) {
        complain(q, "not a wheel");
    } else if (a->status == 206) {
        judge_part(q, a, total, ret);
        return;
    } else {
        complain(q, "its server does not know ranges");
    }
    say(ret, -EIO, REFUSED_MS);
}

static void
judge_status(struct query *q, const struct mlc_doc_answer *a,
             struct mlc_doc_verdict *ret)
{
    char text[64];

    snprintf(text, sizeof(text), "HTTP status %d", a->status);
    complain(q, text);
    failed(q);
    if (a->status == 404 || a->status == 410)
        say(ret, -ENOENT, ABSENT_MS);
    else
        say(ret, -EIO, REFUSED_MS);
    /* Shorter than it was a moment ago. */
    if (a->status == 416)
        want(q, NULL);
}

/* Whether the origin can be reached is for the caller to tell from others. */
static int
outer_errno(int r)
{
    switch (r) {
    case -ELOOP:
    case -EINVAL:
        return -EIO;
    }
    return r;
}

static void
finish(void *arg, const struct mlc_doc_answer *a, struct mlc_doc_verdict *ret)
{
    struct query *q = arg;
    bool has_head = a->r == 0 || (a->r == -EFBIG && a->status > 0);

    memset(ret, 0, sizeof(*ret));
    if (!has_head) {
        if (a->r != -ECANCELED)
            complain(q, strerror(-a->r));
        failed(q);
        say(ret, outer_errno(a->r), a->r == -ELOOP ? REFUSED_MS : 0);
    } else if (a->status == 200 || a->status == 206) {
        judge_body(q, a, ret);
        if (ret->r < 0)
            failed(q);
    } else {
        judge_status(q, a, ret);
    }
}

/* --- asking -------------------------------------------------------------- */

static int
ask_part(struct mlc_spacy *s, struct mlc_spacy_wheel *w, uint64_t from,
         uint64_t to, struct mlc_ask *ask)
{
    mlc_autofree char *key = NULL;
    mlc_autofree char *url = mlc_spacy_wheel_url(s, w->stem);
    struct query *q = malloc(sizeof(*q));
    struct mlc_doc_spec spec;

    if (asprintf(&key, "spacy/%s/%" PRIu64 "-%" PRIu64, w->stem, from, to) < 0)
        key = NULL;
    if (!key || !url || !q) {
        free(q);
        return -ENOMEM;
    }
    *q = (struct query){.s = s, .w = w, .from = from, .to = to};
    spec = (struct mlc_doc_spec){
        .key = key,
        .url = url,
        .max_bytes = (size_t)(to - from),
        .is_status_of_url = true,
        .has_range = true,
        .range_from = from,
        .range_to = to,
        .finish = finish,
        .arg = q,
        .free_arg = free,
    };
    return mlc_doc_ask(s->d->cache->docs, ask, &spec);
}

int
mlc_spacy_need_index(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                     struct mlc_ask *ask, struct mlc_spacy_index **ret)
{
    for (unsigned i = 0; i < MAX_TURNS; i++) {
        uint64_t from, to;
        bool is_loaded, is_stale;
        int r;

        pthread_mutex_lock(&s->lock);
        if (w->index && !w->is_stale) {
            *ret = mlc_spacy_index_ref(w->index);
            pthread_mutex_unlock(&s->lock);
            return 0;
        }
        is_loaded = w->is_loaded;
        is_stale = w->index != NULL;
        from = w->want_from;
        to = w->want_to > 0 ? w->want_to : HEAD_BYTES;
        pthread_mutex_unlock(&s->lock);
        if (is_stale)
            retire(s, w);
        else if (!is_loaded)
            load(s, w);
        if (is_stale || !is_loaded)
            continue;
        if (s->d->cache->is_offline || s->d->privfd < 0)
            return -ENOENT;
        if (!ask || ask->only_known)
            return -EAGAIN;
        if (to <= from || to - from > MAX_PART)
            return -EIO;
        r = ask_part(s, w, from, to, ask);
        if (r < 0)
            return r;
    }
    return -EIO;
}
