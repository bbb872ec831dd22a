/* SPDX-License-Identifier: MIT */
/* Questions to origins, and what their answers mean.
 *
 * One GET with "Range: bytes=0-65535" says everything: whether there is a file,
 * its size and validators, and, of a small one, all bytes.  (HEAD is too often
 * refused, or wrong.)  Of what dgenerate has already the first byte is enough.
 */
#include "config.h"

#include "backends/web_i.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <xxhash.h>

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define BROKEN_MS    10000 /* how long an answer that makes no sense is kept */
#define REFUSED_MS   10000
#define MAX_TEXT     1024 /* of a header that is kept */
#define MAX_FILENAME 255

struct query {
    struct mlc_web *web;
    char *path;
    char *url; /* without a token */
    bool is_single, has_ext, is_gz;
    uint64_t range_to; /* bytes that were asked for */
    bool has_found;    /* dgenerate has it: */
    struct mlc_web_found found;
    /* What was known: */
    enum mlc_web_kind kind; /* 0: nothing */
    uint64_t gen, size, xxh;
    char *etag, *type;
};

static void
free_query(void *arg)
{
    struct query *q = arg;

    if (!q)
        return;
    free(q->path);
    free(q->url);
    free(q->etag);
    free(q->type);
    mlc_web_found_done(&q->found);
    free(q);
}

MLC_DEFINE_CLEANUP(query, struct query *, free_query);

char *
mlc_web_request_url(const struct mlc_web *web, const char *url)
{
    return mlc_web_add_token(url, web->token);
}

char *
mlc_web_label(const char *path)
{
    struct mlc_web_name name;
    char *label = NULL;

    if (mlc_web_name_parse(path, &name) == 0 && name.url)
        label = mlc_url_redact(name.url);
    mlc_web_name_done(&name);
    return label;
}

/* --- headers --------------------------------------------------------- */

/* One line, and not too long to be kept; else as if it had not been said. */
static int
keep_text(const char *text, char **ret)
{
    *ret = NULL;
    if (!text || !*text || strlen(text) > MAX_TEXT)
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

/* Percent-encoded, as in filename*=UTF-8''NAME. */
static void
decode_in_place(char *text)
{
    char *out = text;

    for (const char *p = text; *p; p++) {
        char hex[3] = {p[0] == '%' && p[1] ? p[1] : '\0',
                       p[0] == '%' && p[1] ? p[2] : '\0', '\0'};
        uint8_t byte;

        if (mlc_parse_hex(hex, &byte, 1) == 0 && byte) {
            *out++ = (char)byte;
            p += 2;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

/* The value of a parameter ("filename=") in a Content-Disposition; NULL: it has
 * none, or no memory. */
static char *
get_parameter(const char *text, const char *name)
{
    const char *p = strchr(text, ';');
    char *value, *out;

    while (p) {
        bool is_quoted = false;
        const char *q;

        p += 1 + strspn(p + 1, " \t");
        if (strncasecmp(p, name, strlen(name)) == 0)
            break;
        for (q = p; *q && (is_quoted || *q != ';'); q++) {
            if (*q == '\\' && is_quoted && q[1])
                q++;
            else if (*q == '"')
                is_quoted = !is_quoted;
        }
        p = *q ? q : NULL;
    }
    if (!p)
        return NULL;
    p += strlen(name);
    value = out = malloc(strlen(p) + 1);
    if (!value)
        return NULL;
    if (*p != '"') {
        size_t len = strcspn(p, "; \t");

        memcpy(value, p, len);
        value[len] = '\0';
        return value;
    }
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
        *out++ = *p;
    }
    *out = '\0';
    return value;
}

/* The name that the origin would give the file: a name, not a path. */
static int
read_filename(const char *text, char **ret)
{
    mlc_autofree char *value = get_parameter(text, "filename*=");
    const char *name = value;

    if (value) {
        name = strchr(value, '\'');
        name = name ? strchr(name + 1, '\'') : NULL;
        name = name ? name + 1 : NULL;
        if (name)
            decode_in_place(value + (name - value));
    }
    if (!name) {
        free(value);
        value = get_parameter(text, "filename=");
        name = value;
    }
    if (!name)
        return 0;
    if (strrchr(name, '/'))
        name = strrchr(name, '/') + 1;
    if (strrchr(name, '\\'))
        name = strrchr(name, '\\') + 1;
    if (!*name || strlen(name) > MAX_FILENAME || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return 0;
    *ret = strdup(name);
    if (!*ret)
        return -ENOMEM;
    mlc_mask_control(*ret, strlen(*ret));
    return 0;
}

int
mlc_web_read_headers(struct mlc_web_rec *rec,
                     const char *(*find)(const void *arg, const char *name),
                     const void *arg)
{
    const char *disposition = find(arg, "Content-Disposition");
    time_t modified;

    if (keep_text(find(arg, "ETag"), &rec->etag) < 0 ||
        keep_text(find(arg, "Last-Modified"), &rec->modified) < 0 ||
        keep_text(find(arg, "Content-Type"), &rec->type) < 0 ||
        (disposition && read_filename(disposition, &rec->filename) < 0))
        return -ENOMEM;
    modified = rec->modified ? curl_getdate(rec->modified, NULL) : -1;
    rec->mtime_ms = modified > 0 ? (int64_t)modified * 1000 : rec->fetched_ms;
    return 0;
}

static const char *
find_header(const void *arg, const char *name)
{
    const struct mlc_doc_answer *a = arg;

    return a->header(a, name);
}

static bool
is_html(const char *type)
{
    static const char *const types[] = {"text/html", "application/xhtml+xml"};

    for (size_t i = 0; type && i < 2; i++) {
        size_t len = strlen(types[i]);

        if (strncasecmp(type, types[i], len) == 0 && strchr("; \t,", type[len]))
            return true;
    }
    return false;
}

/* --- answers --------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3)))
complain(struct query *q, const char *fmt, ...)
{
    mlc_autofree char *url = mlc_url_redact(q->url);
    mlc_autofree char *what = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        what = NULL;
    va_end(ap);
    atomic_fetch_add(&q->web->errors, 1);
    mlc_warn("web: %s: %s", url ? url : "?", what ? what : "error");
}

static void
log_renewed(const struct query *q)
{
    mlc_autofree char *label = mlc_url_redact(q->url);

    mlc_debug("web", "%s: renewed", label ? label : "?");
}

static void
say(struct mlc_doc_verdict *ret, int r, int64_t memo_ms)
{
    ret->r = r;
    ret->memo_ms = memo_ms;
}

static void
judge_broken(struct query *q, const char *why, struct mlc_doc_verdict *ret)
{
    complain(q, "an answer that makes no sense: %s", why);
    say(ret, -EIO, BROKEN_MS);
}

static int
put(struct query *q, struct mlc_web_rec *rec)
{
    rec->path = strdup(q->path);
    if (!rec->path) {
        mlc_web_rec_done(rec);
        return -ENOMEM;
    }
    return mlc_web_put(q->web, rec);
}

static void
answer_kind(struct query *q, enum mlc_web_kind kind,
            struct mlc_doc_verdict *ret)
{
    struct mlc_web_rec rec = {.kind = kind, .fetched_ms = mlc_real_ms()};

    ret->r = put(q, &rec);
}

/* Are these the bytes that we have?  The whole of a small file, or the same
 * strong validator. */
static bool
is_unchanged(const struct query *q, const struct mlc_web_rec *rec)
{
    if (q->kind != MLC_WEB_FILE || rec->size != q->size)
        return false;
    if (rec->xxh)
        return rec->xxh == q->xxh;
    return rec->etag && q->etag && rec->etag[0] == '"' &&
           strcmp(rec->etag, q->etag) == 0;
}

/* What came of a file is kept for who reads it next, if it can be told later on
 * whether that is still the same file. */
static void
keep_head(struct mlc_web *web, const struct mlc_web_rec *rec,
          const struct mlc_doc_answer *a)
{
    const char *validator = rec->etag ? rec->etag : rec->modified;
    struct mlc_web_head *h;
    char *data;

    if (a->status != 206 || a->len != MLC_WEB_HEAD_BYTES || !validator ||
        strncmp(validator, "W/", 2) == 0)
        return;
    data = malloc(a->len);
    if (!data)
        return;
    memcpy(data, a->body, a->len);
    MLC_LOCK_SCOPE(&web->lock);
    h = &web->heads[web->n_heads++ % MLC_WEB_N_HEADS];
    free(h->data);
    h->data = data;
    h->gen = rec->gen;
}

char *
mlc_web_take_head(void *arg, uint64_t gen, size_t *ret_len)
{
    struct mlc_web *web = arg;

    MLC_LOCK_SCOPE(&web->lock);
    for (size_t i = 0; i < MLC_WEB_N_HEADS; i++) {
        if (!web->heads[i].data || web->heads[i].gen != gen)
            continue;
        *ret_len = MLC_WEB_HEAD_BYTES;
        return mlc_steal(&web->heads[i].data);
    }
    return NULL;
}

/* A file of that size; body: its bytes if these are all of them. */
static void
answer_file(struct query *q, const struct mlc_doc_answer *a, uint64_t size,
            const char *body, struct mlc_doc_verdict *ret)
{
    struct mlc_web_rec rec = {
        .kind = MLC_WEB_FILE,
        .fetched_ms = mlc_real_ms(),
        .size = size,
    };
    char home[MLC_WEB_BODY_PATH];

    if (size > (uint64_t)INT64_MAX) {
        judge_broken(q, "a size beyond all sizes", ret);
        return;
    }
    ret->r = mlc_web_read_headers(&rec, find_header, a);
    if (ret->r == 0 && body) {
        rec.is_stored = rec.is_whole = rec.is_checked = true;
        rec.xxh = XXH3_64bits(body, size);
    }
    if (ret->r == 0 && is_unchanged(q, &rec) &&
        mlc_web_renew(q->web, q->path, q->gen, rec.fetched_ms)) {
        mlc_web_rec_done(&rec);
        return;
    }
    if (ret->r == 0) {
        rec.gen = mlc_web_new_gen();
        mlc_web_body_path(rec.gen, home);
    }
    if (ret->r == 0 && !body && q->has_found && q->found.size == size) {
        ret->r = mlc_web_adopt(q->web, q->path, &q->found, &rec);
        return;
    }
    if (ret->r == 0 && body)
        ret->r = mlc_write_file_at(q->web->d->privfd, home, body, size, 0600);
    if (ret->r == 0 && !body)
        keep_head(q->web, &rec, a);
    if (ret->r == 0)
        ret->r = put(q, &rec);
    mlc_web_rec_done(&rec);
}

/* A length that nobody tells, or one of compressed bytes. */
static void
answer_unsized(struct query *q, struct mlc_doc_verdict *ret)
{
    ret->r = mlc_web_stream_start(q->web, q->path, q->url, q->is_gz);
}

static void
judge_body(struct query *q, const struct mlc_doc_answer *a,
           struct mlc_doc_verdict *ret)
{
    const char *range = a->header(a, "Content-Range");
    const char *length = a->header(a, "Content-Length");
    const char *coding = a->header(a, "Content-Encoding");
    const char *type = a->header(a, "Content-Type");
    bool is_coded = coding && strcasecmp(coding, "identity") != 0 && !q->is_gz;
    bool is_chunked = a->header(a, "Transfer-Encoding") != NULL;
    bool is_whole = a->r == 0 && a->status != 206;
    uint64_t from = 0, last = 0, total = UINT64_MAX;

    /* A page of somebody else's in place of what was a file: a portal that
     * wants a login, which says nothing of the file. */
    if (q->kind == MLC_WEB_FILE && is_html(type) && !is_html(q->type) &&
        a->is_redirected && !mlc_url_same_origin(a->url, q->url)) {
        complain(q, "led to a page of another host");
        say(ret, -EIO, BROKEN_MS);
        return;
    }
    if (!q->is_single && !q->has_ext && is_html(type)) {
        answer_kind(q, MLC_WEB_DIR, ret);
        return;
    }
    if (is_coded) {
        answer_unsized(q, ret);
        return;
    }
    if (a->status == 206) {
        if (!range ||
            mlc_parse_content_range(range, &from, &last, &total) < 0 ||
            from != 0 || last - from + 1 != a->len) {
            judge_broken(q, "not the range that was asked for", ret);
            return;
        }
        is_whole = total == a->len;
        if (!is_whole && total != UINT64_MAX && last + 1 != q->range_to) {
            judge_broken(q, "less than the range that was asked for", ret);
            return;
        }
    } else if (length && !is_chunked &&
               mlc_parse_u64(length, 0, UINT64_MAX - 1, &total) < 0) {
        total = UINT64_MAX;
    }
    if (is_whole)
        answer_file(q, a, a->len, a->body, ret);
    else if (total != UINT64_MAX)
        answer_file(q, a, total, NULL, ret);
    else
        answer_unsized(q, ret);
}

/* 4xx: the origin itself says that there is nothing, or that it is not ours. */
static void
judge_refusal(struct query *q, const struct mlc_doc_answer *a,
              struct mlc_doc_verdict *ret)
{
    const char *range = a->header(a, "Content-Range");

    if (a->status == 416) {
        /* The first byte of an empty file is not there. */
        if (range && strcmp(range, "bytes */0") == 0)
            answer_file(q, a, 0, "", ret);
        else
            answer_unsized(q, ret);
        return;
    }
    if (q->kind == MLC_WEB_FILE && a->status != 404 && a->status != 410) {
        complain(q, "HTTP status %d", a->status);
        say(ret, a->status == 401 || a->status == 403 ? -EACCES : -EIO,
            REFUSED_MS);
        return;
    }
    if (a->status == 401 || a->status == 403)
        complain(q, "HTTP status %d", a->status);
    if (q->is_single || q->has_ext || q->kind == MLC_WEB_FILE ||
        q->kind == MLC_WEB_ABSENT)
        answer_kind(q, MLC_WEB_ABSENT, ret);
    else
        answer_kind(q, MLC_WEB_DIR, ret);
}

/* How a request failed is ours to know (design: failure has one meaning each).
 */
static int
outer_errno(int r)
{
    switch (r) {
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -EPROTO:
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
            complain(q, "%s", strerror(-a->r));
        say(ret, outer_errno(a->r),
            a->r == -ELOOP || a->r == -EPROTO ? BROKEN_MS : 0);
        return;
    }
    if (a->status == 304) {
        if (q->kind != MLC_WEB_FILE)
            judge_broken(q, "304 to what was no question of change", ret);
        /* Else it was removed meanwhile: it is asked for anew. */
        else if (mlc_web_renew(q->web, q->path, q->gen, mlc_real_ms()))
            log_renewed(q);
    } else if (a->status >= 300 && a->status < 400 && !q->is_single &&
               a->header(a, "Location")) {
        answer_kind(q, MLC_WEB_DIR, ret); /* is_slash_final */
    } else if (a->status >= 200 && a->status < 300) {
        judge_body(q, a, ret);
    } else if (a->status >= 400 && a->status < 500 && a->status != 408 &&
               a->status != 429) {
        judge_refusal(q, a, ret);
    } else {
        complain(q, "HTTP status %d", a->status);
        say(ret, -EIO, 0);
    }
}

/* --- asking ---------------------------------------------------------- */

static struct query *
query_new(struct mlc_web *web, const char *path,
          const struct mlc_web_name *name, const struct mlc_web_rec *rec,
          const struct mlc_web_found *found)
{
    __attribute__((cleanup(mlc_cleanup_query))) struct query *q =
        calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->web = web;
    q->path = strdup(path);
    q->url = strdup(name->url);
    q->is_single = name->is_single;
    q->has_ext = name->has_ext;
    q->is_gz = name->is_gz;
    if (!q->path || !q->url)
        return NULL;
    q->range_to = MLC_WEB_HEAD_BYTES;
    if (found) {
        if (mlc_web_found_copy(found, &q->found) < 0)
            return NULL;
        q->has_found = true;
        q->range_to = 1;
    }
    if (rec) {
        q->kind = rec->kind;
        q->gen = rec->gen;
        q->size = rec->size;
        q->xxh = rec->xxh;
        q->etag = rec->etag ? strdup(rec->etag) : NULL;
        q->type = rec->type ? strdup(rec->type) : NULL;
        if ((rec->etag && !q->etag) || (rec->type && !q->type))
            return NULL;
    }
    return mlc_steal(&q);
}

int
mlc_web_ask(struct mlc_web *web, const char *path,
            const struct mlc_web_name *name, const struct mlc_web_rec *rec,
            const struct mlc_web_found *found, struct mlc_ask *ask)
{
    __attribute__((cleanup(mlc_cleanup_query))) struct query *q = NULL;
    mlc_autofree char *key = NULL;
    mlc_autofree char *url = NULL;
    mlc_autofree char *match = NULL;
    mlc_autofree char *since = NULL;
    const char *headers[3] = {NULL, NULL, NULL};
    struct mlc_doc_spec spec = {0};
    size_t n = 0;

    q = query_new(web, path, name, rec, found);
    key = mlc_path_join("web", path);
    url = mlc_web_request_url(web, name->url);
    if (!q || !key || !url)
        return -ENOMEM;
    if (rec && rec->kind == MLC_WEB_FILE && rec->etag) {
        if (asprintf(&match, "If-None-Match: %s", rec->etag) < 0) {
            match = NULL;
            return -ENOMEM;
        }
        headers[n++] = match;
    }
    if (rec && rec->kind == MLC_WEB_FILE && rec->modified) {
        if (asprintf(&since, "If-Modified-Since: %s", rec->modified) < 0) {
            since = NULL;
            return -ENOMEM;
        }
        headers[n++] = since;
    }
    spec.key = key;
    spec.url = url;
    spec.headers = n > 0 ? headers : NULL;
    spec.netrc = web->netrc;
    spec.max_bytes = MLC_WEB_HEAD_BYTES;
    spec.has_range = true;
    spec.is_status_of_url = true;
    spec.is_slash_final = !name->is_single;
    spec.range_to = q->range_to;
    spec.finish = finish;
    spec.arg = mlc_steal(&q);
    spec.free_arg = free_query;
    atomic_fetch_add(&web->misses, 1);
    return outer_errno(mlc_doc_ask(web->d->cache->docs, ask, &spec));
}
