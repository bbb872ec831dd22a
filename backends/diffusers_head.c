/* SPDX-License-Identifier: MIT */
/* Headers of safetensors files: read once, and kept by content. */
#include "config.h"

#include "backends/diffusers_i.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/source.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"

void
mlc_dc_head_unref(struct mlc_dc_head *h)
{
    if (!h || atomic_fetch_sub(&h->refs, 1) > 1)
        return;
    pthread_mutex_lock(&h->dc->lock);
    h->dc->heads_len -= h->len;
    pthread_mutex_unlock(&h->dc->lock);
    mlc_source_unref(h->source);
    mlc_safetensors_free(h->file);
    free(h->err);
    free(h);
}

static struct mlc_dc_head *
find_locked(struct mlc_dc *dc, uint64_t identity)
{
    for (size_t i = 0; i < dc->n_heads; i++)
        if (dc->heads[i]->identity == identity) {
            dc->heads[i]->used = ++dc->tick;
            atomic_fetch_add(&dc->heads[i]->refs, 1);
            return dc->heads[i];
        }
    return NULL;
}

/* The one not asked for longest, if there is no room beside it for one more;
 * out of the list. */
static struct mlc_dc_head *
make_room_locked(struct mlc_dc *dc, size_t len)
{
    struct mlc_dc_head *dropped;
    size_t at = 0;

    for (size_t i = 0; i < dc->n_heads; i++) {
        len += dc->heads[i]->len;
        if (dc->heads[i]->used < dc->heads[at]->used)
            at = i;
    }
    if (dc->n_heads == 0 ||
        (dc->n_heads < MLC_DC_MAX_HEADS && len <= MLC_DC_MAX_KEPT))
        return NULL;
    dropped = dc->heads[at];
    dc->heads[at] = dc->heads[--dc->n_heads];
    return dropped;
}

static void
keep(struct mlc_dc *dc, struct mlc_dc_head *h)
{
    struct mlc_dc_head *dropped;

    for (;;) {
        pthread_mutex_lock(&dc->lock);
        dropped = make_room_locked(dc, h->len);
        if (!dropped) {
            atomic_fetch_add(&h->refs, 1);
            h->used = ++dc->tick;
            dc->heads[dc->n_heads++] = h;
        }
        pthread_mutex_unlock(&dc->lock);
        if (!dropped)
            return;
        mlc_dc_head_unref(dropped);
    }
}

/* The one not asked for longest of those that nobody uses; out of the list. */
static struct mlc_dc_head *
drop_unused_locked(struct mlc_dc *dc)
{
    struct mlc_dc_head *dropped;
    size_t at = dc->n_heads;

    for (size_t i = 0; i < dc->n_heads; i++)
        if (atomic_load(&dc->heads[i]->refs) == 1 &&
            (at == dc->n_heads || dc->heads[i]->used < dc->heads[at]->used))
            at = i;
    if (at == dc->n_heads)
        return NULL;
    dropped = dc->heads[at];
    dc->heads[at] = dc->heads[--dc->n_heads];
    return dropped;
}

/* Counts a header that is to be read, if there is room. */
static bool
take_room(struct mlc_dc *dc, struct mlc_dc_head *h, size_t len)
{
    struct mlc_dc_head *dropped;
    bool is_room;

    do {
        dropped = NULL;
        pthread_mutex_lock(&dc->lock);
        is_room = dc->heads_len + len <= MLC_DC_MAX_LIVE;
        if (is_room)
            dc->heads_len += h->len = len;
        else
            dropped = drop_unused_locked(dc);
        pthread_mutex_unlock(&dc->lock);
        mlc_dc_head_unref(dropped);
    } while (dropped);
    return is_room;
}

/* Bytes of the file; the wait for them ends by itself. */
static int
read_bytes(struct mlc_dc *dc, struct mlc_source *s, uint64_t off, void *ret,
           size_t len, struct mlc_ask *ask)
{
    int r = mlc_source_want(s, off, len, ask);

    if (r == -EAGAIN)
        ask->deadline_ms = mlc_mono_ms() + dc->d->cache->fetch.timeout_ms;
    return r < 0 ? r : mlc_source_read(s, off, ret, len);
}

static int
parse(struct mlc_dc *dc, struct mlc_source *s, struct mlc_ask *ask,
      bool *ret_is_crowded, struct mlc_dc_head *h)
{
    uint8_t prefix[MLC_SAFETENSORS_PREFIX_LEN];
    uint64_t size = mlc_source_size(s);
    mlc_autofree char *text = NULL;
    size_t len = 0;
    int r;

    if (size < sizeof(prefix)) {
        h->err = strdup("it is too short to be a safetensors file");
        return -EBADMSG;
    }
    r = read_bytes(dc, s, 0, prefix, sizeof(prefix), ask);
    if (r == 0)
        r = mlc_safetensors_header_len(prefix, size, &len, &h->err);
    if (r == 0 && len > MLC_DC_MAX_HEADER) {
        if (asprintf(&h->err, "its header has %zu bytes, more than %zu", len,
                     MLC_DC_MAX_HEADER) < 0)
            h->err = NULL;
        r = -EBADMSG;
    }
    if (r < 0)
        return r;
    if (!take_room(dc, h, len)) {
        *ret_is_crowded = true;
        return -EAGAIN;
    }
    text = malloc(len ? len : 1);
    if (!text)
        return -ENOMEM;
    r = read_bytes(dc, s, sizeof(prefix), text, len, ask);
    return r < 0 ? r
                 : mlc_safetensors_parse(text, len, size, &h->file, &h->err);
}

int
mlc_dc_head_get(struct mlc_dc *dc, const struct mlc_found *f,
                struct mlc_ask *ask, bool *ret_is_crowded,
                struct mlc_dc_head **ret)
{
    struct mlc_source *s = NULL;
    struct mlc_dc_head *h;
    int r;

    pthread_mutex_lock(&dc->lock);
    h = find_locked(dc, f->identity);
    pthread_mutex_unlock(&dc->lock);
    if (h) {
        *ret = h;
        return 0;
    }
    h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    atomic_init(&h->refs, 1);
    h->dc = dc;
    h->identity = f->identity;
    if (f->kind == MLC_KIND_INLINE) {
        h->err = strdup("it is no safetensors file");
        r = -EBADMSG;
    } else {
        r = mlc_found_open(f, ask, &s);
    }
    if (r == 0)
        r = parse(dc, s, ask, ret_is_crowded, h);
    mlc_source_unref(s);
    if (r == -EBADMSG && h->err)
        r = 0;
    if (r < 0) {
        mlc_dc_head_unref(h);
        return r == -EBADMSG ? -ENOMEM : r;
    }
    keep(dc, h);
    *ret = h;
    return 0;
}

/* One whose last asker would have given up by now; *ret_next_ms: until that may
 * be so of another, -1: of none. */
static struct mlc_source *
take_unasked_locked(struct mlc_dc *dc, int64_t *ret_next_ms)
{
    int64_t now = mlc_mono_ms(), max = dc->d->cache->fetch.timeout_ms;

    *ret_next_ms = -1;
    for (size_t i = 0; i < dc->n_heads; i++) {
        struct mlc_dc_head *h = dc->heads[i];
        int64_t left = h->asked_ms + max - now;

        if (h->source && left <= 0)
            return mlc_steal(&h->source);
        if (h->source && (*ret_next_ms < 0 || left < *ret_next_ms))
            *ret_next_ms = left;
    }
    return NULL;
}

static void
close_unasked(struct mlc_job *job)
{
    struct mlc_dc *dc = mlc_container_of(job, struct mlc_dc, closer.job);
    struct mlc_source *s;
    int64_t next_ms;

    do {
        pthread_mutex_lock(&dc->lock);
        s = take_unasked_locked(dc, &next_ms);
        if (!s && next_ms >= 0)
            mlc_pool_after(dc->d->cache->pool, &dc->closer, next_ms);
        else if (!s)
            dc->is_closer_armed = false;
        pthread_mutex_unlock(&dc->lock);
        mlc_source_unref(s);
    } while (s);
}

void
mlc_dc_heads_init(struct mlc_dc *dc)
{
    dc->closer.job.run = close_unasked;
}

int
mlc_dc_head_open(struct mlc_dc *dc, struct mlc_dc_head *h,
                 const struct mlc_found *f, struct mlc_ask *ask,
                 struct mlc_source **ret)
{
    struct mlc_source *s = NULL;
    int r;

    pthread_mutex_lock(&dc->lock);
    h->asked_ms = mlc_mono_ms();
    if (h->source)
        s = mlc_source_ref(h->source);
    pthread_mutex_unlock(&dc->lock);
    if (!s) {
        r = mlc_found_open(f, ask, &s);
        if (r < 0)
            return r;
        pthread_mutex_lock(&dc->lock);
        if (!h->source)
            h->source = mlc_source_ref(s);
        if (!dc->is_closer_armed)
            mlc_pool_after(dc->d->cache->pool, &dc->closer,
                           dc->d->cache->fetch.timeout_ms);
        dc->is_closer_armed = true;
        pthread_mutex_unlock(&dc->lock);
    }
    *ret = s;
    return 0;
}

void
mlc_dc_head_close(struct mlc_dc *dc, struct mlc_dc_head *h)
{
    struct mlc_source *s;

    pthread_mutex_lock(&dc->lock);
    s = mlc_steal(&h->source);
    pthread_mutex_unlock(&dc->lock);
    mlc_source_unref(s);
}
