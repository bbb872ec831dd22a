/* SPDX-License-Identifier: MIT */
/* The trees that are known: the last used ones in memory, all of them on
 * disk. */
#include "config.h"

#include "backends/hf_i.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define MAX_TREE_FILE ((size_t)1 << 29)
#define MAX_SEARCH    64  /* commits whose trees are looked through */
#define MAX_FOUND     256 /* paths of one commit that are asked for singly */

static struct mlc_hf_kept *
find_locked(struct mlc_hf *hf, const char *folder, const char *sha)
{
    for (size_t i = 0; i < hf->n_kept; i++)
        if (strcmp(hf->kept[i].sha, sha) == 0 &&
            strcmp(hf->kept[i].folder, folder) == 0) {
            hf->kept[i].used = ++hf->tick;
            return &hf->kept[i];
        }
    return NULL;
}

static void
forget_locked(struct mlc_hf *hf, size_t i)
{
    hf->n_kept_files -= mlc_hf_tree_n_files(hf->kept[i].tree);
    mlc_hf_tree_unref(hf->kept[i].tree);
    hf->kept[i] = hf->kept[--hf->n_kept];
}

static void
keep(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
     struct mlc_hf_tree *t)
{
    size_t n = mlc_hf_tree_n_files(t);
    struct mlc_hf_kept *k;

    MLC_LOCK_SCOPE(&hf->lock);
    if (find_locked(hf, p->folder, sha))
        return;
    while (hf->n_kept == MLC_HF_MAX_KEPT ||
           (hf->n_kept && hf->n_kept_files + n > MLC_HF_MAX_KEPT_FILES)) {
        size_t oldest = 0;

        for (size_t i = 1; i < hf->n_kept; i++)
            if (hf->kept[i].used < hf->kept[oldest].used)
                oldest = i;
        forget_locked(hf, oldest);
    }
    k = &hf->kept[hf->n_kept++];
    snprintf(k->folder, sizeof k->folder, "%s", p->folder);
    snprintf(k->sha, sizeof k->sha, "%s", sha);
    k->tree = mlc_hf_tree_ref(t);
    k->used = ++hf->tick;
    hf->n_kept_files += n;
}

static void
store(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
      struct mlc_hf_tree *t)
{
    mlc_autofree char *rel =
        mlc_hf_private(hf, p->folder, "trees/%s.json", sha);
    struct mlc_buf buf;
    int r;

    if (hf->d->is_read_only || hf->d->privfd < 0 || !rel)
        return;
    mlc_buf_init(&buf, MAX_TREE_FILE);
    r = mlc_hf_tree_format(t, &buf);
    if (r == 0)
        r = mlc_mkdir_parents_at(hf->d->privfd, rel);
    if (r == 0)
        r = mlc_write_file_at(hf->d->privfd, rel, buf.data, buf.len, 0644);
    mlc_buf_done(&buf);
    if (r < 0)
        mlc_warn("hf: cannot write the tree of %s at %s: %s", p->folder, sha,
                 strerrordesc_np(-r));
}

static int
load(int dirfd, const char *rel, struct mlc_hf_tree **ret)
{
    mlc_autofree char *text = NULL;
    size_t len = 0;
    int r;

    r = mlc_read_file_at(dirfd, rel, MAX_TREE_FILE, &text, &len);
    if (r < 0)
        return r;
    return mlc_hf_tree_parse(text, len, ret);
}

int
mlc_hf_tree_known(struct mlc_hf *hf, const struct mlc_hf_path *p,
                  const char *sha, struct mlc_hf_tree **ret)
{
    mlc_autofree char *own = NULL;
    mlc_autofree char *clients = NULL;
    struct mlc_hf_tree *t = NULL;
    struct mlc_hf_kept *k;
    int dirfd = -1;

    pthread_mutex_lock(&hf->lock);
    k = find_locked(hf, p->folder, sha);
    if (k)
        *ret = mlc_hf_tree_ref(k->tree);
    pthread_mutex_unlock(&hf->lock);
    if (k)
        return 0;

    /* Of many who miss a tree at the same time only one parses it. */
    MLC_LOCK_SCOPE(&hf->io);
    pthread_mutex_lock(&hf->lock);
    k = find_locked(hf, p->folder, sha);
    if (k)
        *ret = mlc_hf_tree_ref(k->tree);
    pthread_mutex_unlock(&hf->lock);
    if (k)
        return 0;

    own = mlc_hf_private(hf, p->folder, "trees/%s.json", sha);
    clients = mlc_hf_on_disk(hf, &dirfd, p->folder, "trees/%s.json", sha);
    if (!own || !clients)
        return -ENOMEM;
    if (hf->d->privfd < 0 || load(hf->d->privfd, own, &t) < 0) {
        /* What a client with a token of its own wrote is no promise that
         * the bytes will be given to us. */
        if (!hf->d->cache->is_offline && !mlc_hf_repo_is_confirmed(hf, p))
            return -ENOENT;
        if (load(dirfd, clients, &t) < 0)
            return -ENOENT;
        store(hf, p, sha, t);
    }
    keep(hf, p, sha, t);
    *ret = t;
    return 0;
}

void
mlc_hf_tree_keep(struct mlc_hf *hf, const struct mlc_hf_path *p,
                 const char *sha, struct mlc_hf_tree *t)
{
    store(hf, p, sha, t);
    keep(hf, p, sha, t);
}

void
mlc_hf_trees_forget(struct mlc_hf *hf, const char *folder)
{
    MLC_LOCK_SCOPE(&hf->lock);
    for (size_t i = hf->n_kept; i-- > 0;)
        if (strcmp(hf->kept[i].folder, folder) == 0)
            forget_locked(hf, i);
}

/* --- listings under way -------------------------------------------------- */

static struct mlc_hf_pending **
find_pending_locked(struct mlc_hf *hf, const char *folder, const char *sha)
{
    struct mlc_hf_pending **at = &hf->pending;

    while (*at &&
           (strcmp((*at)->sha, sha) != 0 || strcmp((*at)->folder, folder) != 0))
        at = &(*at)->next;
    return at;
}

int
mlc_hf_pending_begin(struct mlc_hf *hf, const struct mlc_hf_path *p,
                     const char *sha)
{
    struct mlc_hf_pending *n;

    MLC_LOCK_SCOPE(&hf->lock);
    if (*find_pending_locked(hf, p->folder, sha))
        return 0;
    n = calloc(1, sizeof *n);
    if (!n)
        return -ENOMEM;
    snprintf(n->folder, sizeof n->folder, "%s", p->folder);
    snprintf(n->sha, sizeof n->sha, "%s", sha);
    n->next = hf->pending;
    hf->pending = n;
    return 0;
}

static void
free_found(struct mlc_hf_found *f)
{
    mlc_hf_tree_unref(f->tree);
    free(f);
}

static void
free_pending(struct mlc_hf_pending *n)
{
    while (n->found) {
        struct mlc_hf_found *f = n->found;

        n->found = f->next;
        free_found(f);
    }
    free(n);
}

void
mlc_hf_pending_free(struct mlc_hf *hf)
{
    while (hf->pending) {
        struct mlc_hf_pending *n = hf->pending;

        hf->pending = n->next;
        free_pending(n);
    }
}

void
mlc_hf_pending_end(struct mlc_hf *hf, const struct mlc_hf_path *p,
                   const char *sha)
{
    struct mlc_hf_pending **at;
    struct mlc_hf_pending *n;

    MLC_LOCK_SCOPE(&hf->lock);
    at = find_pending_locked(hf, p->folder, sha);
    n = *at;
    if (!n)
        return;
    *at = n->next;
    free_pending(n);
}

void
mlc_hf_pending_point(struct mlc_hf *hf, const struct mlc_hf_path *p,
                     const char *sha, struct mlc_hf_tree *t)
{
    const struct mlc_hf_pending *n;
    const struct mlc_hf_found *f;

    pthread_mutex_lock(&hf->lock);
    n = *find_pending_locked(hf, p->folder, sha);
    f = n ? n->found : NULL;
    pthread_mutex_unlock(&hf->lock);
    for (; f; f = f->next) { /* more are only put before the first */
        struct mlc_hf_file file;
        struct stat st;
        size_t i;

        if (mlc_hf_tree_find(t, f->path, &i) < 0)
            continue;
        mlc_hf_tree_get(t, i, &file);
        if (mlc_hf_blob_stat(hf, p->folder, file.etag, &st) == 0 &&
            (uint64_t)st.st_size == file.size)
            mlc_hf_point(hf, p, sha, t, i);
    }
}

bool
mlc_hf_is_pending(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    MLC_LOCK_SCOPE(&hf->lock);
    return *find_pending_locked(hf, p->folder, p->commit) != NULL;
}

int
mlc_hf_pending_find(struct mlc_hf *hf, const struct mlc_hf_path *p,
                    struct mlc_hf_tree **ret)
{
    const struct mlc_hf_pending *n;

    MLC_LOCK_SCOPE(&hf->lock);
    n = *find_pending_locked(hf, p->folder, p->commit);
    if (!n)
        return -EAGAIN;
    for (const struct mlc_hf_found *f = n->found; f; f = f->next)
        if (strcmp(f->path, p->rest) == 0) {
            *ret = f->tree ? mlc_hf_tree_ref(f->tree) : NULL;
            return f->r;
        }
    return n->n_found < MAX_FOUND ? -EAGAIN : -ENOSPC;
}

int
mlc_hf_pending_add(struct mlc_hf *hf, const struct mlc_hf_path *p,
                   const char *path, int r, struct mlc_hf_tree *t)
{
    size_t len = strlen(path);
    struct mlc_hf_found *f = calloc(1, sizeof *f + len + 1);
    struct mlc_hf_pending *n;

    if (!f)
        return -ENOMEM;
    memcpy(f->path, path, len + 1);
    f->r = r;
    f->tree = t ? mlc_hf_tree_ref(t) : NULL;
    MLC_LOCK_SCOPE(&hf->lock);
    n = *find_pending_locked(hf, p->folder, p->commit);
    if (!n) { /* the listing came first */
        free_found(f);
        return 0;
    }
    f->next = n->found;
    n->found = f;
    n->n_found++;
    return 0;
}

int
mlc_hf_commits(struct mlc_hf *hf, const struct mlc_hf_path *p,
               char (**ret)[MLC_HF_SHA_LEN + 1], size_t *ret_n)
{
    char(*list)[MLC_HF_SHA_LEN + 1];
    struct mlc_hf_repo *repo;
    size_t n;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    n = repo ? repo->n_commits : 0;
    list = calloc(n + 1, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        memcpy(list[i], repo->commits[n - 1 - i].sha, sizeof *list);
    *ret = list;
    *ret_n = n;
    return 0;
}

static bool
find_in(struct mlc_hf_tree *t, const char *sha, const char *etag,
        struct mlc_hf_hit *ret)
{
    size_t first = 0;

    if (mlc_hf_tree_find_etag(t, etag, &first) == 0)
        return false;
    ret->tree = t;
    ret->index = mlc_hf_tree_by_etag(t, first);
    snprintf(ret->sha, sizeof ret->sha, "%s", sha);
    return true;
}

/* The most recently used tree in memory that has it. */
static bool
find_in_memory(struct mlc_hf *hf, const struct mlc_hf_path *p,
               struct mlc_hf_hit *ret)
{
    uint64_t used = 0;
    size_t first;

    MLC_LOCK_SCOPE(&hf->lock);
    for (size_t i = 0; i < hf->n_kept; i++) {
        struct mlc_hf_kept *k = &hf->kept[i];

        if (k->used > used && strcmp(k->folder, p->folder) == 0 &&
            mlc_hf_tree_find_etag(k->tree, p->rest, &first) > 0 &&
            find_in(k->tree, k->sha, p->rest, ret))
            used = k->used;
    }
    for (struct mlc_hf_pending *n = used ? NULL : hf->pending; n; n = n->next) {
        if (strcmp(n->folder, p->folder) != 0)
            continue;
        for (struct mlc_hf_found *f = n->found; f && !used; f = f->next)
            used = f->tree && find_in(f->tree, n->sha, p->rest, ret);
    }
    if (!used)
        return false;
    mlc_hf_tree_ref(ret->tree);
    return true;
}

int
mlc_hf_find_etag(struct mlc_hf *hf, const struct mlc_hf_path *p, size_t skip,
                 bool only_memory, struct mlc_hf_hit *ret)
{
    mlc_autofree char *list = NULL;
    char(*commits)[MLC_HF_SHA_LEN + 1] = NULL;
    size_t n = 0;
    int r;

    memset(ret, 0, sizeof *ret);
    if (find_in_memory(hf, p, ret))
        return 0;
    if (only_memory)
        return -ENOENT;
    r = mlc_hf_commits(hf, p, &commits, &n);
    if (r < 0)
        return r;
    list = (char *)commits;
    for (size_t i = 0; i < n && i < MAX_SEARCH; i++) {
        struct mlc_hf_tree *t = NULL;

        r = mlc_hf_tree_known(hf, p, commits[i], &t);
        if (r == -ENOENT && !*ret->missing && skip-- == 0)
            memcpy(ret->missing, commits[i], sizeof ret->missing);
        if (r < 0)
            continue;
        if (find_in(t, commits[i], p->rest, ret))
            return 0;
        mlc_hf_tree_unref(t);
    }
    return -ENOENT;
}
