/* SPDX-License-Identifier: MIT */
/* web/: any URL as a path, with expiry on look-up.
 *
 * A name's first look-up asks its origin with one request, which tells whether
 * it is a file or a directory that may hold more (web_ask.c); what was learnt
 * is believed until it expires (web_index.c), and then asked for again with the
 * validators that came with it.  A small body comes with that answer, another
 * one is an object, and one whose length nobody tells is fetched while the
 * look-up waits (web_stream.c).  Of what dgenerate has fetched (web_db.c) only
 * the size is asked; then its file is copied (web_adopt.c).
 */
#include "config.h"

#include "backends/web_i.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/cache/object.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/option.h"
#include "backends/util/path.h"

#define MAX_TURNS 8 /* a question asked anew after its answer came at once */
/* An expiry within which an answer that has just come may end. */
#define SHORT_EXPIRY_MS 1000

static inline void
release_name(struct mlc_web_name *name)
{
    mlc_web_name_done(name);
}

static inline void
release_rec(struct mlc_web_rec *rec)
{
    mlc_web_rec_done(rec);
}

static inline void
release_found(struct mlc_web_found *found)
{
    mlc_web_found_done(found);
}

#define autoname  __attribute__((cleanup(release_name)))
#define autorec   __attribute__((cleanup(release_rec)))
#define autofound __attribute__((cleanup(release_found)))

/* --- answers --------------------------------------------------------- */

static int
answer_local(const struct stat *local, struct mlc_entry *ret)
{
    ret->kind = MLC_KIND_LOCAL;
    return local ? 0 : -ENOENT;
}

static int
answer_dir(const struct stat *local, uint32_t ttl_ms, struct mlc_entry *ret)
{
    if (local)
        return answer_local(local, ret);
    ret->kind = MLC_KIND_DIR;
    ret->ttl_ms = ttl_ms;
    return 0;
}

/* The kernel believes nothing beyond its end. */
static uint32_t
ttl_of(const struct mlc_web *web, const struct mlc_web_rec *rec, int64_t now)
{
    int64_t expires = mlc_web_expires(web, rec, now);

    /* 0 of a directory would be the core's choice, and long. */
    if (mlc_clock_is_file())
        return rec->kind == MLC_WEB_DIR;
    if (expires == MLC_NEVER_MS || expires - now > MLC_WEB_TTL_MS)
        return MLC_WEB_TTL_MS;
    return expires - now > 1 ? (uint32_t)(expires - now) : 1;
}

/* A small body that lay on disk before we started is believed once its hash
 * was found right: it was not synced. */
static bool
is_body_sound(struct mlc_web *web, const struct mlc_web_rec *rec,
              const char *home)
{
    mlc_autofree char *data = NULL;
    size_t len = 0;
    struct stat st;

    if (fstatat(web->d->privfd, home, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode) || (uint64_t)st.st_size != rec->size)
        return false;
    if (rec->is_checked || rec->xxh == 0)
        return true;
    if (mlc_read_file_at(web->d->privfd, home, MLC_WEB_HEAD_BYTES, &data,
                         &len) < 0 ||
        XXH3_64bits(data, len) != rec->xxh)
        return false;
    mlc_web_mark_checked(web, rec->path, rec->gen);
    return true;
}

/* -ESTALE: its bytes are gone, and so is the record now. */
static int
answer_file(struct mlc_web *web, const struct mlc_web_rec *rec, int64_t now,
            struct mlc_entry *ret)
{
    char text[MLC_WEB_BODY_PATH];

    ret->size = rec->size;
    ret->content = rec->gen;
    ret->mtime_ms = rec->mtime_ms;
    ret->ttl_ms = ttl_of(web, rec, now);
    if (!rec->is_whole) {
        mlc_web_object_key(rec->gen, text);
        ret->kind = MLC_KIND_OBJECT;
        ret->present =
            web->d->store ? mlc_store_present(web->d->store, text) : 0;
        if (web->d->cache->is_offline && ret->present < ret->size) {
            ret->ttl_ms = MLC_WEB_TTL_MS;
            return -ENOENT;
        }
        return 0;
    }
    mlc_web_body_path(rec->gen, text);
    if (!is_body_sound(web, rec, text)) {
        mlc_autofree char *label = mlc_web_label(rec->path);

        mlc_warn("web: %s: the stored bytes are gone, or not what they were",
                 label ? label : "?");
        mlc_web_drop(web, rec->path, rec->gen);
        return -ESTALE;
    }
    ret->kind = MLC_KIND_PRIVATE;
    ret->is_cached = true;
    ret->present = rec->size;
    ret->text = strdup(text);
    return ret->text ? 0 : -ENOMEM;
}

static int
answer_rec(struct mlc_web *web, const struct mlc_web_rec *rec, int64_t now,
           struct mlc_entry *ret)
{
    switch (rec->kind) {
    case MLC_WEB_FILE:
        return answer_file(web, rec, now, ret);
    case MLC_WEB_DIR:
        return answer_dir(NULL, ttl_of(web, rec, now), ret);
    case MLC_WEB_ABSENT:
        break;
    }
    ret->ttl_ms = ttl_of(web, rec, now);
    return -ENOENT;
}

/* --- look-up --------------------------------------------------------- */

/* What may be said although it is expired, since its server can't be reached
 * (r).  A directory holds nothing that could be stale.  rec->path is NULL when
 * nothing is known. */
static int
answer_unreachable(struct mlc_web *web, const char *path,
                   const struct mlc_web_rec *rec, int r, struct mlc_entry *ret)
{
    mlc_autofree char *label = NULL;

    if (r == -ENOMEM || r == -EAGAIN)
        return r;
    if ((rec->path && rec->kind == MLC_WEB_DIR) ||
        mlc_web_has_below(web, path, mlc_real_ms(), false))
        return answer_dir(NULL, MLC_WEB_TTL_MS, ret);
    if (r == -EACCES || !web->is_stale_allowed || !rec->path ||
        rec->kind != MLC_WEB_FILE || !rec->is_whole || rec->is_dismissed)
        return r;
    if (answer_file(web, rec, mlc_real_ms(), ret) < 0)
        return r;
    label = mlc_web_label(path);
    mlc_debug("web", "%s: expired, served since its server can't be reached",
              label ? label : "?");
    return 0;
}

/* Asks about a name of which nothing fresh is known, but maybe to dgenerate.
 * 0: look again. */
static int
ask_origin(struct mlc_web *web, const char *path,
           const struct mlc_web_name *name, const struct mlc_web_rec *rec,
           const struct mlc_web_found *found, struct mlc_ask *ask,
           bool *ret_is_news)
{
    mlc_autofree char *key = NULL;
    int r;

    r = mlc_web_stream_wait(web, path, ask);
    if (r == -ENOENT || (r == 0 && web->expiry_ms >= SHORT_EXPIRY_MS))
        r = mlc_web_ask(web, path, name, rec, found, ask);
    if (r != 0)
        return r;
    /* It has just come.  Where nothing lives for long that is good enough, else
     * it was removed, or the clock was set, since. */
    *ret_is_news = web->expiry_ms < SHORT_EXPIRY_MS;
    if (!*ret_is_news) {
        key = mlc_path_join("web", path);
        if (!key)
            return -ENOMEM;
        mlc_doc_forget(web->d->cache->docs, key);
    }
    return 0;
}

static int
lookup_url(struct mlc_web *web, const char *path,
           const struct mlc_web_name *name, struct mlc_ask *ask,
           struct mlc_entry *ret)
{
    bool is_news = false;
    int r;

    for (unsigned i = 0; i < MAX_TURNS; i++) {
        autorec struct mlc_web_rec rec = {0};
        autofound struct mlc_web_found found = {0};
        int64_t now = mlc_real_ms();
        bool is_known, is_found;

        /* Asked before the index: its last act is a record. */
        r = mlc_web_adopt_wait(web, path, ask);
        if (r != -ENOENT)
            return r;
        r = mlc_web_get(web, path, &rec);
        if (r == -ENOMEM)
            return r;
        is_known = r == 0;
        if (is_known && (is_news || mlc_web_is_fresh(web, &rec, now))) {
            r = answer_rec(web, &rec, now, ret);
            if (r == -ESTALE)
                continue;
            atomic_fetch_add(&web->hits, 1);
            return r;
        }
        /* It is believed for as long as a file below it. */
        if ((!is_known || rec.kind == MLC_WEB_DIR) &&
            mlc_web_has_below(web, path, now, true))
            return answer_dir(NULL, mlc_clock_is_file() ? 1 : MLC_WEB_TTL_MS,
                              ret);
        if (web->d->cache->is_offline || web->d->privfd < 0) {
            r = answer_unreachable(web, path, &rec, -ENOENT, ret);
            if (r == -ENOENT)
                ret->ttl_ms = MLC_WEB_TTL_MS;
            return r;
        }
        r = mlc_web_db_refresh(web, ask);
        if (r < 0)
            return r;
        r = mlc_web_db_find(web, name->url, now, &found);
        if (r == -ENOMEM)
            return r;
        is_found = r == 0;
        if (!is_found && !name->is_single &&
            (!is_known || rec.kind == MLC_WEB_DIR) &&
            mlc_web_db_has_below(web, name->url, now))
            return answer_dir(NULL, mlc_clock_is_file() ? 1 : MLC_WEB_TTL_MS,
                              ret);
        r = ask_origin(web, path, name, is_known ? &rec : NULL,
                       is_found ? &found : NULL, ask, &is_news);
        if (r < 0)
            return answer_unreachable(web, path, &rec, r, ret);
    }
    return -EIO;
}

static int
web_lookup(struct mlc_domain *d, const char *path, const struct stat *local,
           struct mlc_ask *ask, struct mlc_entry *ret)
{
    struct mlc_web *web = d->priv;
    autoname struct mlc_web_name name;
    int r;

    mlc_web_sweep_if_due(web);
    r = mlc_web_name_parse(path, &name);
    if (r < 0)
        return r;
    switch (name.where) {
    case MLC_WEB_ROOT:
    case MLC_WEB_SCHEME:
    case MLC_WEB_HOST:
        return answer_dir(local, MLC_TTL_FOREVER, ret);
    case MLC_WEB_LOCAL:
        /* Only a URL may be longer than a file's name. */
        if (!local && strlen(mlc_path_base(path)) > NAME_MAX)
            return -ENAMETOOLONG;
        return answer_local(local, ret);
    case MLC_WEB_BAD:
        if (local)
            return answer_local(local, ret);
        ret->ttl_ms = MLC_TTL_FOREVER;
        return -ENOENT;
    case MLC_WEB_URL:
        break;
    }
    /* What somebody wrote there hides what the origin has. */
    return local ? answer_local(local, ret)
                 : lookup_url(web, path, &name, ask, ret);
}

/* --- bytes ----------------------------------------------------------- */

static int
map_status(int status, const char *error_code)
{
    return status == 401 || status == 403 ? -EACCES : -EIO;
}

static void
on_changed(void *arg, uint64_t content)
{
    mlc_web_mark(arg, content, true);
}

/* The object's home is "web/bodies/GENERATION". */
static void
on_published(void *arg, const char *home, int r)
{
    const char *hex = mlc_path_base(home);

    mlc_web_mark(arg, strtoull(hex, NULL, 16), r < 0);
}

static int
web_locate(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
           struct mlc_object **ret)
{
    struct mlc_web *web = d->priv;
    autoname struct mlc_web_name name = {0};
    autorec struct mlc_web_rec rec = {0};
    mlc_autofree char *url = NULL;
    mlc_autofree char *label = NULL;
    struct mlc_object_spec spec = {0};
    struct mlc_fetch_spec fetch = {0};
    char key[MLC_WEB_BODY_PATH];
    char home[MLC_WEB_BODY_PATH];
    const char *validator;
    int r;

    r = mlc_web_name_parse(path, &name);
    if (r < 0)
        return r;
    if (name.where != MLC_WEB_URL)
        return -ENOENT;
    r = mlc_web_get(web, path, &rec);
    if (r == -ENOMEM)
        return r;
    /* It came home, or is gone, since it was looked up. */
    if (r < 0 || rec.kind != MLC_WEB_FILE || rec.is_whole)
        return -ESTALE;
    if (!d->store)
        return -EROFS;
    url = mlc_web_request_url(web, name.url);
    label = mlc_url_redact(name.url);
    if (!url || !label)
        return -ENOMEM;
    mlc_web_object_key(rec.gen, key);
    mlc_web_body_path(rec.gen, home);
    fetch.url = url;
    fetch.label = label;
    fetch.netrc = web->netrc;
    fetch.check_validator = true;
    fetch.map_status = map_status;
    fetch.arg = web;
    fetch.changed = on_changed;
    fetch.get_head = mlc_web_take_head;
    fetch.content = rec.gen;
    r = mlc_fetch_new(&d->cache->fetch, &fetch, &spec.feed);
    if (r < 0)
        return r;
    spec.feed_ops = &mlc_fetch_ops;
    spec.key = key;
    spec.label = label;
    spec.size = rec.size;
    spec.content = rec.gen;
    spec.homefd = d->privfd;
    spec.home = home;
    spec.mode = 0600;
    spec.mtime_ms = rec.mtime_ms;
    spec.published = on_published;
    spec.published_arg = web;
    r = mlc_store_get(d->store, &spec, ret);
    if (r < 0)
        return r;
    /* What was looked up is what is fetched. */
    validator = rec.etag ? rec.etag : rec.modified;
    if (validator &&
        mlc_object_set_validator(*ret, validator, false) == -ESTALE) {
        mlc_object_unref(*ret);
        *ret = NULL;
        mlc_web_mark(web, rec.gen, true);
        return -ESTALE;
    }
    return 0;
}

/* --- what happens to names ------------------------------------------- */

static void
web_removed(struct mlc_domain *d, const char *path)
{
    struct mlc_web *web = d->priv;
    mlc_autofree char *key = NULL;

    if (d->privfd < 0)
        return;
    mlc_web_drop(web, path, 0);
    key = mlc_path_join("web", path);
    if (key)
        mlc_doc_forget(d->cache->docs, key);
}

static int
web_describe(struct mlc_domain *d, const char *path, struct mlc_info *ret)
{
    struct mlc_web *web = d->priv;
    autoname struct mlc_web_name name = {0};
    autorec struct mlc_web_rec rec = {0};
    int64_t expires;
    int r;

    ret->expires_ms = -1;
    r = mlc_web_name_parse(path, &name);
    if (r < 0 || name.where != MLC_WEB_URL)
        return r;
    ret->url = mlc_steal(&name.url);
    r = mlc_web_get(web, path, &rec);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    expires = mlc_web_expires(web, &rec, mlc_real_ms());
    ret->expires_ms = expires == MLC_NEVER_MS ? -1 : expires < 0 ? 0 : expires;
    ret->etag = mlc_steal(&rec.etag);
    ret->mime_type = mlc_steal(&rec.type);
    ret->filename = mlc_steal(&rec.filename);
    return 0;
}

static void
web_status(struct mlc_domain *d, struct mlc_status *ret)
{
    struct mlc_web *web = d->priv;

    mlc_web_sweep_if_due(web);
    ret->hits = atomic_load(&web->hits);
    ret->misses = atomic_load(&web->misses);
    ret->errors = atomic_load(&web->errors);
    ret->entries = mlc_web_count(web);
}

/* --- begin and end --------------------------------------------------- */

/* ~/.netrc, unless it lies in the mount: the daemon would wait for itself. */
static char *
find_netrc(const struct mlc_domain *d)
{
    const char *home = getenv("HOME");
    const char *inside;
    char *path;

    if (!home || *home != '/')
        return NULL;
    path = mlc_path_join(home, ".netrc");
    if (path && ((d->is_inside && d->is_inside(d, path, &inside)) ||
                 access(path, F_OK) < 0)) {
        free(path);
        return NULL;
    }
    return path;
}

static int
web_open(struct mlc_domain *d)
{
    struct mlc_web *web = d->priv;
    const char *token = getenv("CIVIT_AI_TOKEN");
    const char *stale = mlc_opt_str(d->options, "stale");
    int r;

    web->d = d;
    web->log_fd = -1;
    web->expiry_ms = mlc_opt_time_ms(d->options, "web_expiry");
    web->max_unsized = mlc_opt_size(d->options, "max_unsized");
    web->is_stale_allowed = stale && strcmp(stale, "on-error") == 0;
    pthread_mutex_init(&web->lock, NULL);
    mlc_web_db_init(web);
    web->is_open = true;
    if (token && *token) {
        web->token = strdup(token);
        if (!web->token)
            return -ENOMEM;
    }
    web->netrc = find_netrc(d);
    r = mlc_web_evict_init(web);
    return r < 0 ? r : mlc_web_index_open(web);
}

static void
web_close(struct mlc_domain *d)
{
    struct mlc_web *web = d->priv;

    if (web->is_open) {
        mlc_web_streams_free(web);
        mlc_web_adoptions_free(web);
        mlc_web_db_done(web);
        mlc_web_index_close(web);
        for (size_t i = 0; i < MLC_WEB_N_HEADS; i++)
            free(mlc_steal(&web->heads[i].data));
        pthread_mutex_destroy(&web->lock);
    }
    if (web->token)
        explicit_bzero(web->token, strlen(web->token));
    free(web->token);
    free(web->netrc);
    web->token = web->netrc = NULL;
    web->is_open = false;
}

static const struct mlc_option options[] = {
    {"web_expiry", MLC_OPT_TIME, "TIME", "DGENERATE_WEB_CACHE_EXPIRY_DELTA",
     "hours=12", "how long a file of the web is believed"},
    {"stale", MLC_OPT_CHOICE, "never|on-error", NULL, "never",
     "may an expired file be served when its server can't be reached?"},
    {"max_unsized", MLC_OPT_SIZE, "SIZE", NULL, "1G",
     "the longest body that may come without a length"},
    {0},
};

const struct mlc_backend mlc_backend_web = {
    .name = "web",
    .summary = "any URL as a path",
    .flags = MLC_BACKEND_CONCURRENT | MLC_BACKEND_LONG_NAMES,
    .priv_size = sizeof(struct mlc_web),
    .options = options,
    .open = web_open,
    .close = web_close,
    .lookup = web_lookup,
    .list = mlc_web_list,
    .locate = web_locate,
    .removed = web_removed,
    .describe = web_describe,
    .status = web_status,
};
