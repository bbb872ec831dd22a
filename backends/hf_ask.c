/* SPDX-License-Identifier: MIT */
/* Questions to the Hub, and what its answers mean. */
#include "config.h"

#include "backends/hf_i.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/json.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define MAX_BODY  ((size_t)64 << 20)
#define MAX_PAGE  ((size_t)16 << 20)
#define MAX_PAGES 20000
#define BROKEN_MS 10000 /* how long an answer that makes no sense is kept */

MLC_DEFINE_CLEANUP(json, json_t *, json_decref);
MLC_DEFINE_CLEANUP(tree, struct mlc_hf_tree *, mlc_hf_tree_unref);

struct query {
    struct mlc_hf *hf;
    struct mlc_hf_path p;
    enum mlc_hf_what what;
    char *arg;                           /* as mlc_hf_ask()'s */
    char *bearer;                        /* NULL: none is sent */
    struct mlc_hf_tree_builder *builder; /* TREE */
    unsigned n_pages;
    char *last_url; /* TREE: of the page before, against circles */
};

static void
drop_bearer(struct query *q)
{
    if (q->bearer)
        explicit_bzero(q->bearer, strlen(q->bearer));
    free(q->bearer);
    q->bearer = NULL;
}

static void
free_query(void *arg)
{
    struct query *q = arg;

    if (!q)
        return;
    free(q->arg);
    drop_bearer(q);
    mlc_hf_tree_builder_free(q->builder);
    free(q->last_url);
    free(q);
}

MLC_DEFINE_CLEANUP(query, struct query *, free_query);

/* --- URLs ------------------------------------------------------------ */

static void
get_id(struct mlc_hf *hf, const struct mlc_hf_path *p,
       char ret_id[MLC_HF_FOLDER_MAX])
{
    const struct mlc_hf_repo *repo;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    snprintf(ret_id, MLC_HF_FOLDER_MAX, "%s", repo ? repo->id : p->id);
}

char *
mlc_hf_resolve_url(struct mlc_hf *hf, const struct mlc_hf_path *p,
                   const char *sha, const char *path)
{
    mlc_autofree char *encoded = mlc_url_encode(path, true);
    char id[MLC_HF_FOLDER_MAX];
    char *url = NULL;

    get_id(hf, p, id);
    if (!encoded || asprintf(&url, "%s/%s%s/resolve/%s/%s", hf->endpoint,
                             mlc_hf_type_prefix(p->type), id, sha, encoded) < 0)
        return NULL;
    return url;
}

static char *
api_url(const struct query *q)
{
    mlc_autofree char *rev = NULL;
    char id[MLC_HF_FOLDER_MAX];
    char *url = NULL;
    int r = -1;

    get_id(q->hf, &q->p, id);
    switch (q->what) {
    case MLC_HF_ASK_INFO:
        r = asprintf(&url, "%s/api/%s/%s", q->hf->endpoint,
                     mlc_hf_type_name(q->p.type), id);
        break;
    case MLC_HF_ASK_REV:
        rev = mlc_url_encode(q->arg, false);
        if (rev)
            r = asprintf(&url, "%s/api/%s/%s/revision/%s", q->hf->endpoint,
                         mlc_hf_type_name(q->p.type), id, rev);
        break;
    case MLC_HF_ASK_REFS:
        r = asprintf(&url, "%s/api/%s/%s/refs?include_prs=1", q->hf->endpoint,
                     mlc_hf_type_name(q->p.type), id);
        break;
    case MLC_HF_ASK_TREE:
        r = asprintf(&url, "%s/api/%s/%s/tree/%s?recursive=true&expand=false",
                     q->hf->endpoint, mlc_hf_type_name(q->p.type), id, q->arg);
        break;
    case MLC_HF_ASK_PATH:
        r = asprintf(&url, "%s/api/%s/%s/paths-info/%s", q->hf->endpoint,
                     mlc_hf_type_name(q->p.type), id, q->p.commit);
        break;
    }
    return r < 0 ? NULL : url;
}

/* Of the failure memory and of requests under way. */
static char *
doc_key(const struct query *q)
{
    static const char *const words[] = {
        [MLC_HF_ASK_INFO] = "info", [MLC_HF_ASK_REV] = "rev",
        [MLC_HF_ASK_REFS] = "refs", [MLC_HF_ASK_TREE] = "tree",
        [MLC_HF_ASK_PATH] = "path",
    };
    const char *at = q->what == MLC_HF_ASK_PATH ? q->p.commit : "";
    char *key = NULL;

    if (asprintf(&key, "hf/%s/%s/%s%s%s", q->p.folder, words[q->what], at,
                 *at ? "/" : "", q->arg) < 0)
        return NULL;
    return key;
}

/* --- answers --------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
complain(struct query *q, const struct mlc_doc_answer *a, const char *fmt, ...)
{
    mlc_autofree char *url = a->url ? mlc_url_redact(a->url) : NULL;
    mlc_autofree char *what = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        what = NULL;
    va_end(ap);
    atomic_fetch_add(&q->hf->errors, 1);
    mlc_warn("hf: %s: %s", url ? url : q->p.folder, what ? what : "error");
}

static bool
is_bad_token(const struct mlc_doc_answer *a)
{
    const char *msg = a->header(a, "X-Error-Message");

    return (msg && strstr(msg, "Invalid credentials")) ||
           (a->body && strstr(a->body, "Invalid credentials"));
}

/* Any answer but a 2xx (facts: hub 1.7). */
static void
judge_status(struct query *q, const struct mlc_doc_answer *a,
             struct mlc_doc_verdict *ret)
{
    const char *code = a->header(a, "X-Error-Code");
    bool is_gated = code && strcmp(code, "GatedRepo") == 0;

    ret->memo_ms = MLC_HF_NOT_FOUND_MS;
    switch (a->status) {
    case 400:
    case 404:
    case 410:
        ret->r = -ENOENT;
        return;
    case 401:
        if (q->bearer && !is_gated && is_bad_token(a)) {
            mlc_hf_token_refused(q->hf, q->bearer);
            drop_bearer(q);
            ret->r = -EINPROGRESS;
            ret->is_retry_anonymous = true;
            return;
        }
        /* To the anonymous the Hub says so of what is not there, too. */
        ret->r = is_gated || q->bearer ? -EACCES : -ENOENT;
        break;
    case 403:
        ret->r = -EACCES;
        break;
    default:
        ret->r = -EIO;
        ret->memo_ms = 0;
        break;
    }
    if (ret->r != -ENOENT)
        complain(q, a, "HTTP status %d%s%s", a->status, code ? ", " : "",
                 code ? code : "");
}

static void
judge_broken(struct query *q, const struct mlc_doc_answer *a, const char *why,
             struct mlc_doc_verdict *ret)
{
    complain(q, a, "not what the Hub would answer: %s", why ? why : "?");
    ret->r = -EIO;
    ret->memo_ms = BROKEN_MS;
}

static bool
is_known_ref(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *rev)
{
    const struct mlc_hf_repo *repo;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    for (size_t i = 0; repo && i < repo->n_refs; i++)
        if (strcmp(repo->refs[i].rev, rev) == 0)
            return true;
    return false;
}

static void
finish_info(struct query *q, const struct mlc_doc_answer *a,
            struct mlc_doc_verdict *ret)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *root = NULL;
    mlc_autofree char *err = NULL;
    const char *sha = NULL;
    const char *id = NULL;
    const char *gated = NULL;
    bool is_private = false;
    bool is_new;
    const char *rev = q->what == MLC_HF_ASK_REV ? q->arg : "main";

    if (mlc_json_parse(a->body, a->len, &root, &err) < 0) {
        judge_broken(q, a, err, ret);
        return;
    }
    if (!json_is_object(root) || (mlc_json_str(root, "id", &id) < 0 &&
                                  mlc_json_str(root, "sha", &sha) < 0)) {
        judge_broken(q, a, "neither id nor sha", ret);
        return;
    }
    if (mlc_json_str(root, "sha", &sha) < 0 || !mlc_is_hex(sha, MLC_HF_SHA_LEN))
        sha = NULL;
    if (!sha && q->what == MLC_HF_ASK_REV) {
        judge_broken(q, a, "no sha", ret);
        return;
    }
    mlc_json_bool(root, "private", &is_private);
    mlc_json_str(root, "gated", &gated);
    ret->r = mlc_hf_repo_adopt(q->hf, &q->p, id, is_private, gated);
    /* The repo's own answer is that of its default branch. */
    if (ret->r < 0 || !sha)
        return;
    is_new = !is_known_ref(q->hf, &q->p, rev);
    ret->r = mlc_hf_adopt_ref(q->hf, &q->p, rev, sha, mlc_real_ms());
    if (ret->r == 0)
        mlc_hf_point_ref(q->hf, &q->p, rev, sha, is_new);
}

/* The names below refs/ that one list of the answer makes. */
static int
add_names(struct mlc_hf_repo *repo, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        const char *ref = NULL;
        char **names;

        if (!json_is_object(e) || mlc_json_str(e, "ref", &ref) < 0)
            continue;
        if (strncmp(ref, "refs/heads/", 11) == 0)
            ref += 11;
        else if (strncmp(ref, "refs/tags/", 10) == 0)
            ref += 10;
        if (!mlc_hf_rev_is_valid(ref))
            continue;
        names = realloc(repo->names, (repo->n_names + 1) * sizeof *names);
        if (!names)
            return -ENOMEM;
        repo->names = names;
        names[repo->n_names] = strdup(ref);
        if (!names[repo->n_names])
            return -ENOMEM;
        repo->n_names++;
    }
    return 0;
}

static void
finish_refs(struct query *q, const struct mlc_doc_answer *a,
            struct mlc_doc_verdict *ret)
{
    static const char *const lists[] = {"branches", "tags", "converts",
                                        "pullRequests"};
    __attribute__((cleanup(mlc_cleanup_json))) json_t *root = NULL;
    mlc_autofree char *err = NULL;
    struct mlc_hf_repo *repo;

    if (mlc_json_parse(a->body, a->len, &root, &err) < 0 ||
        !json_is_object(root)) {
        judge_broken(q, a, err ? err : "not an object", ret);
        return;
    }
    MLC_LOCK_SCOPE(&q->hf->lock);
    repo = mlc_hf_repo_get_locked(q->hf, &q->p);
    if (!repo) {
        ret->r = -ENOENT;
        return;
    }
    for (size_t i = 0; i < repo->n_names; i++)
        free(repo->names[i]);
    repo->n_names = 0;
    for (size_t i = 0; ret->r == 0 && i < sizeof lists / sizeof *lists; i++)
        ret->r = add_names(repo, json_object_get(root, lists[i]));
    repo->has_names = true;
    repo->names_ms = mlc_mono_ms();
}

static void
finish_tree(struct query *q, const struct mlc_doc_answer *a,
            struct mlc_doc_verdict *ret)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    mlc_autofree char *err = NULL;
    mlc_autofree char *next = NULL;
    const char *link = a->header(a, "Link");
    int r = 0;

    if (!q->builder)
        r = mlc_hf_tree_builder_new(&q->builder);
    if (r == 0)
        r = mlc_hf_tree_add_page(q->builder, a->body, a->len, &err);
    if (r == 0 && link)
        r = mlc_hf_next_url(link, q->hf->endpoint, &next);
    if (r == 0 && next &&
        (++q->n_pages > MAX_PAGES ||
         (q->last_url && strcmp(q->last_url, next) == 0)))
        r = -EBADMSG;
    if (r == -ENOMEM) {
        ret->r = r;
        return;
    }
    if (r < 0) {
        judge_broken(q, a, err ? err : "an endless or misleading list", ret);
        return;
    }
    if (next) {
        if (!q->last_url) {
            r = mlc_hf_pending_begin(q->hf, &q->p, q->arg);
            if (r == 0)
                r = mlc_hf_confirm_commit(q->hf, &q->p, q->arg);
        }
        free(q->last_url);
        q->last_url = strdup(next);
        if (r < 0 || !q->last_url) {
            ret->r = -ENOMEM;
            return;
        }
        ret->r = -EINPROGRESS;
        ret->next_url = mlc_steal(&next);
        return;
    }
    ret->r = mlc_hf_tree_finish(q->builder, &t);
    if (ret->r < 0)
        return;
    mlc_hf_tree_keep(q->hf, &q->p, q->arg, t);
    mlc_hf_pending_point(q->hf, &q->p, q->arg, t);
    ret->r = mlc_hf_confirm_commit(q->hf, &q->p, q->arg);
}

static void
finish_path(struct query *q, const struct mlc_doc_answer *a,
            struct mlc_doc_verdict *ret)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *root = NULL;
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    mlc_autofree char *err = NULL;
    const json_t *entry;
    const char *type = NULL;
    const char *path = NULL;
    size_t i;
    int r;

    if (mlc_json_parse(a->body, a->len, &root, &err) < 0 ||
        !json_is_array(root)) {
        judge_broken(q, a, err ? err : "not a list", ret);
        return;
    }
    entry = json_array_get(root, 0);
    if (!entry) {
        ret->r = mlc_hf_pending_add(q->hf, &q->p, q->arg, -ENOENT, NULL);
        return;
    }
    if (!json_is_object(entry) || mlc_json_str(entry, "path", &path) < 0 ||
        mlc_json_str(entry, "type", &type) < 0 || strcmp(path, q->arg) != 0) {
        judge_broken(q, a, "not the path that was asked for", ret);
        return;
    }
    if (strcmp(type, "directory") == 0) {
        ret->r = mlc_hf_pending_add(q->hf, &q->p, q->arg, -EISDIR, NULL);
        return;
    }
    r = mlc_hf_tree_builder_new(&q->builder);
    if (r == 0)
        r = mlc_hf_tree_add_page(q->builder, a->body, a->len, &err);
    if (r == 0)
        r = mlc_hf_tree_finish(q->builder, &t);
    if (r == 0)
        r = mlc_hf_tree_find(t, q->arg, &i);
    if (r == -ENOMEM)
        ret->r = r;
    else if (r < 0)
        judge_broken(q, a, err ? err : "not a file", ret);
    else
        ret->r = mlc_hf_pending_add(q->hf, &q->p, q->arg, 0, t);
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
    case -EFBIG:
        return -EIO;
    }
    return r;
}

static void
judge(struct query *q, const struct mlc_doc_answer *a,
      struct mlc_doc_verdict *ret)
{
    memset(ret, 0, sizeof *ret);
    if (a->r < 0) {
        if (a->r != -ECANCELED)
            complain(q, a, "%s", strerrordesc_np(-a->r));
        ret->r = outer_errno(a->r);
        return;
    }
    if (a->status < 200 || a->status > 299) {
        judge_status(q, a, ret);
        if (q->what == MLC_HF_ASK_REV && ret->r == -ENOENT) {
            const char *code = a->header(a, "X-Error-Code");

            /* A branch that is gone; where the repo itself hides we know
             * nothing of the branch. */
            if (code && strcmp(code, "RevisionNotFound") == 0)
                mlc_hf_drop_ref(q->hf, &q->p, q->arg);
        }
        return;
    }
    switch (q->what) {
    case MLC_HF_ASK_INFO:
    case MLC_HF_ASK_REV:
        finish_info(q, a, ret);
        break;
    case MLC_HF_ASK_REFS:
        finish_refs(q, a, ret);
        break;
    case MLC_HF_ASK_TREE:
        finish_tree(q, a, ret);
        break;
    case MLC_HF_ASK_PATH:
        finish_path(q, a, ret);
        break;
    }
}

static void
finish(void *arg, const struct mlc_doc_answer *a, struct mlc_doc_verdict *ret)
{
    struct query *q = arg;

    judge(q, a, ret);
    if (q->what == MLC_HF_ASK_TREE && ret->r != -EINPROGRESS)
        mlc_hf_pending_end(q->hf, &q->p, q->arg);
}

int
mlc_hf_ask(struct mlc_hf *hf, const struct mlc_hf_path *p,
           enum mlc_hf_what what, const char *arg, struct mlc_ask *ask)
{
    __attribute__((cleanup(mlc_cleanup_query))) struct query *q = NULL;
    mlc_autofree char *key = NULL;
    mlc_autofree char *url = NULL;
    mlc_autofree char *form = NULL;
    mlc_autofree char *path = NULL;
    struct mlc_doc_spec spec = {0};

    if (hf->d->cache->is_offline)
        return -ENOENT;
    q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    q->hf = hf;
    q->p = *p;
    q->p.rest = ""; /* it borrowed from the caller's path */
    q->what = what;
    q->arg = strdup(arg ? arg : "");
    if (!q->arg)
        return -ENOMEM;
    key = doc_key(q);
    url = api_url(q);
    if (!key || !url)
        return -ENOMEM;
    if (what == MLC_HF_ASK_PATH) {
        path = mlc_url_encode(arg, false);
        if (!path || asprintf(&form, "paths=%s&expand=False", path) < 0)
            return -ENOMEM;
    }
    q->bearer = mlc_hf_token(hf);

    spec.key = key;
    spec.url = url;
    spec.form = form;
    spec.bearer = q->bearer;
    spec.max_bytes = what == MLC_HF_ASK_TREE ? MAX_PAGE : MAX_BODY;
    spec.finish = finish;
    spec.arg = mlc_steal(&q);
    spec.free_arg = free_query;
    if (!ask) {
        mlc_doc_refresh(hf->d->cache->docs, &spec);
        return 0;
    }
    atomic_fetch_add(&hf->misses, 1);
    return outer_errno(mlc_doc_ask(hf->d->cache->docs, ask, &spec));
}
