/* SPDX-License-Identifier: MIT */
/* toy/: a domain for the tests, and for who wants to write one.
 *
 * made/ exists, whatever is on disk.  It holds hello.txt (bytes that we make
 * up), hello (a link to it), and with toy_url=URL also remote.bin: the bytes
 * of URL/remote.bin, as many as URL/remote.size says.  Everything else in toy/
 * is plain local storage, and so is what is written over these names.
 */
#include "config.h"

#include "backends/backend.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/cache/object.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"

#define HELLO     "Hello from a domain of one source file.\n"
#define REMOTE    "made/remote.bin"
#define KEY       "toy/remote.bin"
#define MAX_SIZE  (UINT64_C(1) << 40)
#define MAX_DOC   4096
#define MAX_TURNS 4

struct toy {
    char *url;              /* immutable; NULL: none */
    atomic_ullong size;     /* of the remote file; MLC_SIZE_UNKNOWN */
    atomic_llong since_ms;  /* real time at which it was learnt */
    atomic_uint n_requests; /* that we made */
};

/* --- what must be known ---------------------------------------------- */

/* On a pool thread, not in the domain's turn: hence the atomics. */
static void
size_came(void *arg, const struct mlc_doc_answer *a,
          struct mlc_doc_verdict *ret)
{
    struct toy *toy = arg;
    mlc_autofree char *text = NULL;
    uint64_t size;

    atomic_fetch_add(&toy->n_requests, 1);
    ret->r = a->r;
    if (a->r < 0)
        return;
    if (a->status != 200) {
        ret->r = a->status == 404 ? -ENOENT : -EIO;
        return;
    }
    text = strndup(a->body, strcspn(a->body, "\r\n"));
    if (!text) {
        ret->r = -ENOMEM;
        return;
    }
    if (mlc_parse_u64(text, 0, MAX_SIZE, &size) < 0) {
        ret->r = mlc_log_err(-EIO, "toy: %s: not a size", a->url);
        return;
    }
    atomic_store(&toy->since_ms, mlc_real_ms());
    atomic_store(&toy->size, size);
}

/* 0: the remote file is there, and its size is known. */
static int
need_size(struct mlc_domain *d, struct mlc_ask *ask, uint64_t *ret)
{
    struct toy *toy = d->priv;
    mlc_autofree char *url = NULL;

    if (!toy->url)
        return -ENOENT;
    for (unsigned i = 0; i < MAX_TURNS; i++) {
        struct mlc_doc_spec spec = {
            .key = KEY, .max_bytes = MAX_DOC, .finish = size_came, .arg = toy};
        int r;

        *ret = atomic_load(&toy->size);
        if (*ret != MLC_SIZE_UNKNOWN)
            return 0;
        if (d->cache->is_offline)
            return -ENOENT;
        if (!url && asprintf(&url, "%s/remote.size", toy->url) < 0) {
            url = NULL;
            return -ENOMEM;
        }
        spec.url = url;
        r = mlc_doc_ask(d->cache->docs, ask, &spec);
        if (r < 0)
            return r;
    }
    return -EIO;
}

/* --- the three questions --------------------------------------------- */

static int
answer_text(enum mlc_kind kind, const char *text, struct mlc_entry *ret)
{
    ret->kind = kind;
    ret->text = strdup(text);
    if (!ret->text)
        return -ENOMEM;
    ret->text_len = strlen(text);
    ret->ttl_ms = MLC_TTL_FOREVER;
    return 0;
}

static int
lookup_remote(struct mlc_domain *d, struct mlc_ask *ask, struct mlc_entry *ret)
{
    struct toy *toy = d->priv;
    uint64_t size;
    int r = need_size(d, ask, &size);

    if (r < 0)
        return r;
    ret->kind = MLC_KIND_OBJECT;
    ret->size = size;
    ret->present = d->store ? mlc_store_present(d->store, KEY) : 0;
    ret->mtime_ms = atomic_load(&toy->since_ms);
    ret->content = 1;
    ret->ttl_ms = 1000;
    return 0;
}

static int
toy_lookup(struct mlc_domain *d, const char *path, const struct stat *local,
           struct mlc_ask *ask, struct mlc_entry *ret)
{
    if (strcmp(path, "made") == 0 && (!local || S_ISDIR(local->st_mode)))
        return mlc_entry_dir(0, MLC_TTL_FOREVER, ret);
    if (local)
        return 0; /* MLC_KIND_LOCAL: what is on disk wins */
    if (strcmp(path, "made/hello.txt") == 0)
        return answer_text(MLC_KIND_INLINE, HELLO, ret);
    if (strcmp(path, "made/hello") == 0)
        return answer_text(MLC_KIND_SYMLINK, "hello.txt", ret);
    if (strcmp(path, REMOTE) == 0)
        return lookup_remote(d, ask, ret);
    return -ENOENT;
}

static int
toy_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
         mlc_list_fn *emit, void *arg)
{
    const struct toy *toy = d->priv;
    int r;

    if (!*path)
        return emit(arg, "made", DT_DIR);
    if (strcmp(path, "made") != 0)
        return 0;
    r = emit(arg, "hello.txt", DT_REG);
    if (r == 0)
        r = emit(arg, "hello", DT_LNK);
    if (r == 0 && toy->url)
        r = emit(arg, "remote.bin", DT_REG);
    return r;
}

static int
toy_locate(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
           struct mlc_object **ret)
{
    const struct toy *toy = d->priv;
    mlc_autofree char *url = NULL;
    struct mlc_fetch_spec fetch = {.label = KEY, .check_validator = true};
    struct mlc_object_spec spec = {.key = KEY,
                                   .label = KEY,
                                   .homefd = d->bases[0].fd,
                                   .home = REMOTE,
                                   .mode = 0666,
                                   .feed_ops = &mlc_fetch_ops};
    int r;

    if (strcmp(path, REMOTE) != 0)
        return -ENOENT;
    if (!d->store)
        return -EROFS;
    r = need_size(d, ask, &spec.size);
    if (r < 0)
        return r;
    if (asprintf(&url, "%s/remote.bin", toy->url) < 0) {
        url = NULL;
        return -ENOMEM;
    }
    fetch.url = url;
    r = mlc_fetch_new(&d->cache->fetch, &fetch, &spec.feed);
    if (r < 0)
        return r;
    return mlc_store_get(d->store, &spec, ret);
}

/* --- the rest -------------------------------------------------------- */

static int
toy_may_create(struct mlc_domain *d, const char *path, mode_t mode)
{
    return strcmp(path, "forbidden") == 0 ? -EPERM : 0;
}

static int
toy_describe(struct mlc_domain *d, const char *path, struct mlc_info *ret)
{
    const struct toy *toy = d->priv;

    if (!toy->url || strcmp(path, REMOTE) != 0)
        return 0;
    if (asprintf(&ret->url, "%s/remote.bin", toy->url) < 0) {
        ret->url = NULL;
        return -ENOMEM;
    }
    return 0;
}

static void
toy_status(struct mlc_domain *d, struct mlc_status *ret)
{
    struct toy *toy = d->priv;

    ret->entries = toy->url ? 3 : 2;
    ret->misses = atomic_load(&toy->n_requests);
}

static int
toy_open(struct mlc_domain *d)
{
    const char *url = mlc_opt_str(d->options, "toy_url");
    struct toy *toy = d->priv;

    atomic_init(&toy->size, MLC_SIZE_UNKNOWN);
    if (!url)
        return 0;
    toy->url = strdup(url);
    return toy->url ? 0 : -ENOMEM;
}

static void
toy_close(struct mlc_domain *d)
{
    struct toy *toy = d->priv;

    free(toy->url);
    toy->url = NULL;
}

static const struct mlc_option options[] = {
    {"toy_url", MLC_OPT_URL, "URL", NULL, NULL, "where remote.bin is"},
    {0},
};

const struct mlc_backend mlc_backend_toy = {
    .name = "toy",
    .summary = "a domain for the tests",
    .priv_size = sizeof(struct toy),
    .options = options,
    .open = toy_open,
    .close = toy_close,
    .lookup = toy_lookup,
    .list = toy_list,
    .locate = toy_locate,
    .may_create = toy_may_create,
    .describe = toy_describe,
    .status = toy_status,
};
