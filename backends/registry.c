/* SPDX-License-Identifier: MIT */
/* The list of backends, and the defaults of what they leave out. */
#include "config.h"

#include "backends/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/util/path.h"

/* Generated from backend_sources in Makefile.am; a test names another list. */
#ifndef MLC_REGISTRY
#define MLC_REGISTRY "backends/registry.inc"
#endif

/* clang-format off */
#define MLC_BACKEND(name) extern const struct mlc_backend mlc_backend_##name;
#include MLC_REGISTRY
#undef MLC_BACKEND

#define MLC_BACKEND(name) &mlc_backend_##name,
const struct mlc_backend *const mlc_backends[] = {
#include MLC_REGISTRY
    NULL,
};
/* clang-format on */

/* A backend's turn: level 0, protects nothing else. */
static void
begin(struct mlc_domain *d)
{
    if (!(d->backend->flags & MLC_BACKEND_CONCURRENT))
        pthread_mutex_lock(&d->turn);
}

static void
end(struct mlc_domain *d)
{
    if (!(d->backend->flags & MLC_BACKEND_CONCURRENT))
        pthread_mutex_unlock(&d->turn);
}

int
mlc_domain_open(struct mlc_domain *d)
{
    int r = -pthread_mutex_init(&d->turn, NULL);

    if (r < 0)
        return r;
    d->is_open = true;
    return d->backend->open ? d->backend->open(d) : 0;
}

void
mlc_domain_close(struct mlc_domain *d)
{
    if (!d->is_open)
        return;
    if (d->backend->close)
        d->backend->close(d);
    pthread_mutex_destroy(&d->turn);
    d->is_open = false;
}

int
mlc_domain_lookup(struct mlc_domain *d, const char *path,
                  const struct stat *local, struct mlc_ask *ask,
                  struct mlc_entry *ret)
{
    int r;

    memset(ret, 0, sizeof *ret);
    if (!d->backend->lookup)
        return mlc_entry_local(local, ret);
    begin(d);
    r = d->backend->lookup(d, path, local, ask, ret);
    end(d);
    return r;
}

int
mlc_domain_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                mlc_list_fn *emit, void *arg)
{
    int r;

    if (!d->backend->list)
        return 0;
    begin(d);
    r = d->backend->list(d, path, ask, emit, arg);
    end(d);
    return r;
}

int
mlc_domain_locate(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                  struct mlc_object **ret)
{
    int r;

    if (!d->backend->locate)
        return -ENOENT;
    begin(d);
    r = d->backend->locate(d, path, ask, ret);
    end(d);
    return r;
}

int
mlc_domain_view(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                struct mlc_view **ret)
{
    int r;

    if (!d->backend->view)
        return -ENOENT;
    begin(d);
    r = d->backend->view(d, path, ask, ret);
    end(d);
    return r;
}

bool
mlc_domain_is_unlisted(struct mlc_domain *d, const char *dir, const char *name)
{
    bool is_unlisted;

    if (!d->backend->is_unlisted)
        return false;
    begin(d);
    is_unlisted = d->backend->is_unlisted(d, dir, name);
    end(d);
    return is_unlisted;
}

int
mlc_domain_may_create(struct mlc_domain *d, const char *path, mode_t mode)
{
    int r;

    if (!d->backend->may_create)
        return 0;
    begin(d);
    r = d->backend->may_create(d, path, mode);
    end(d);
    return r;
}

void
mlc_domain_changed(struct mlc_domain *d, const char *path)
{
    if (!d->backend->changed)
        return;
    begin(d);
    d->backend->changed(d, path);
    end(d);
}

void
mlc_domain_removed(struct mlc_domain *d, const char *path)
{
    if (!d->backend->removed)
        return;
    begin(d);
    d->backend->removed(d, path);
    end(d);
}

int
mlc_domain_describe(struct mlc_domain *d, const char *path,
                    struct mlc_info *ret)
{
    int r;

    memset(ret, 0, sizeof *ret);
    ret->expires_ms = -1;
    if (!d->backend->describe)
        return 0;
    begin(d);
    r = d->backend->describe(d, path, ret);
    end(d);
    return r;
}

void
mlc_domain_get_status(struct mlc_domain *d, struct mlc_status *ret)
{
    memset(ret, 0, sizeof *ret);
    if (!d->backend->status)
        return;
    begin(d);
    d->backend->status(d, ret);
    end(d);
}

const struct mlc_base *
mlc_domain_base(const struct mlc_domain *d, const char *path,
                const char **ret_rel)
{
    const struct mlc_base *best = &d->bases[0];
    size_t len = 0;

    for (unsigned i = 1; i < d->n_bases; i++)
        if (mlc_path_is_under(path, d->bases[i].prefix) &&
            strlen(d->bases[i].prefix) > len) {
            best = &d->bases[i];
            len = strlen(best->prefix);
        }
    *ret_rel = path + len;
    if (len && **ret_rel == '/')
        (*ret_rel)++;
    return best;
}

int
mlc_entry_local(const struct stat *local, struct mlc_entry *ret)
{
    ret->kind = MLC_KIND_LOCAL;
    return local ? 0 : -ENOENT;
}

int
mlc_entry_dir(int64_t mtime_ms, uint32_t ttl_ms, struct mlc_entry *ret)
{
    ret->kind = MLC_KIND_DIR;
    ret->mtime_ms = mtime_ms;
    ret->ttl_ms = ttl_ms;
    return 0;
}

void
mlc_entry_done(struct mlc_entry *e)
{
    free(e->text);
    memset(e, 0, sizeof *e);
}

void
mlc_info_done(struct mlc_info *i)
{
    free(i->url);
    free(i->etag);
    free(i->mime_type);
    free(i->filename);
    memset(i, 0, sizeof *i);
}
