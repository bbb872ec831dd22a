/* SPDX-License-Identifier: MIT */
/* What spaCy itself says of a release: meta/NAME-VERSION.json, beside its table
 * of models, holds the wheel's SHA-256 (facts: spacy 1, 6.4).  RECORD, by which
 * each file is checked when it is unpacked, lies in the wheel; this does not.
 */
#include "config.h"

#include "backends/spacy_i.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/json.h"
#include "backends/util/log.h"

#define MAX_META     ((size_t)1 << 20)
#define CONDEMNED_MS (INT64_C(60) * 1000) /* how long that is believed */

MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

/* --- what it should be ---------------------------------------------------- */

/* 0; -ENOENT: there is none; -EBADMSG: nothing that we can use; else it could
 * not be asked. */
static int
read_meta(const struct mlc_doc_answer *a, struct mlc_digest *ret)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *meta = NULL;
    const char *hex;

    if (a->r < 0)
        return a->r;
    if (a->status == 404 || a->status == 410)
        return -ENOENT;
    if (a->status != 200)
        return -EIO;
    if (mlc_json_parse(a->body, a->len, &meta, NULL) < 0 ||
        mlc_json_str(meta, "checksum_whl", &hex) < 0 ||
        mlc_digest_parse(hex, ret) < 0 || ret->kind != MLC_DIGEST_SHA256)
        return -EBADMSG;
    return 0;
}

static void
finish(void *arg, const struct mlc_doc_answer *a, struct mlc_doc_verdict *ret)
{
    struct mlc_spacy_wheel *w = arg;
    struct mlc_digest sum = {0};
    int r = read_meta(a, &sum);

    memset(ret, 0, sizeof(*ret));
    if (r < 0)
        mlc_debug("spacy", "%s: its wheel's sha256 is not known: %s", w->stem,
                  strerror(-r));
    if (r < 0 && r != -ENOENT && r != -EBADMSG) {
        ret->r = r;
        return;
    }
    if (r < 0)
        sum.kind = MLC_DIGEST_NONE;
    MLC_LOCK_SCOPE(&w->s->lock);
    w->sum = sum;
    w->is_sum_asked = true;
}

/* Caller frees; NULL: no memory. */
static char *
meta_url(const struct mlc_spacy *s, const struct mlc_spacy_wheel *w)
{
    const char *slash = strrchr(s->compat_url, '/');
    char *url = NULL;

    return asprintf(&url, "%.*s/meta/%s.json", (int)(slash - s->compat_url),
                    s->compat_url, w->stem) < 0
               ? NULL
               : url;
}

static bool
get(struct mlc_spacy *s, const struct mlc_spacy_wheel *w,
    struct mlc_digest *ret)
{
    MLC_LOCK_SCOPE(&s->lock);

    *ret = w->sum;
    return w->is_sum_asked;
}

int
mlc_spacy_sum_need(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                   struct mlc_ask *ask, struct mlc_digest *ret)
{
    mlc_autofree char *url = NULL;
    mlc_autofree char *key = NULL;
    struct mlc_doc_spec spec = {0};
    int r;

    if (get(s, w, ret))
        return ret->kind == MLC_DIGEST_NONE ? -ENOENT : 0;
    url = meta_url(s, w);
    if (!url || asprintf(&key, "spacy/%s/sum", w->stem) < 0)
        return -ENOMEM;
    spec.key = key;
    spec.url = url;
    spec.max_bytes = MAX_META;
    spec.is_status_of_url = true;
    spec.finish = finish;
    spec.arg = w;
    r = mlc_doc_ask(s->d->cache->docs, ask, &spec);
    if (r < 0)
        return r;
    return get(s, w, ret) && ret->kind != MLC_DIGEST_NONE ? 0 : -ENOENT;
}

/* --- another wheel than was released ------------------------------------- */

void
mlc_spacy_condemn(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                  struct mlc_spacy_index *x)
{
    atomic_fetch_add(&s->errors, 1);
    mlc_log_err(-EBADMSG,
                "spacy: %s: its wheel has not the sha256 that spaCy published; "
                "all of it is dropped",
                w->stem);
    pthread_mutex_lock(&s->lock);
    w->condemned = x->identity;
    w->condemned_ms = mlc_mono_ms() + CONDEMNED_MS;
    pthread_mutex_unlock(&s->lock);
    /* Files that are still on their way: mlc_spacy_drop_condemned(). */
    for (size_t i = 0; i < mlc_zip_n_members(x->zip); i++) {
        const struct mlc_zip_member *m = mlc_zip_member(x->zip, i);
        mlc_autofree char *key = mlc_spacy_key(w, x, m->name);

        if (m->is_dir)
            continue;
        if (mlc_spacy_is_home(s, x, m))
            unlinkat(s->d->bases[0].fd, m->name, 0);
        else if (key)
            (void)mlc_store_drop(s->d->store, key);
    }
}

bool
mlc_spacy_is_condemned(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                       const struct mlc_spacy_index *x)
{
    MLC_LOCK_SCOPE(&s->lock);

    if (w->condemned == 0 || w->condemned != x->identity)
        return false;
    if (mlc_mono_ms() < w->condemned_ms)
        return true;
    /* Maybe it was put right; the sum, too. */
    w->condemned = 0;
    w->is_sum_asked = false;
    w->is_stale = true;
    return false;
}

void
mlc_spacy_drop_condemned(struct mlc_spacy_wheel *w, const char *home)
{
    bool is_condemned;

    pthread_mutex_lock(&w->s->lock);
    is_condemned = w->index && w->index->identity == w->condemned;
    pthread_mutex_unlock(&w->s->lock);
    if (is_condemned)
        unlinkat(w->s->d->bases[0].fd, home, 0);
}
