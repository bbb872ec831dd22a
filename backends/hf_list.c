/* SPDX-License-Identifier: MIT */
/* What lies under a directory besides what is on disk: what was used, not all
 * that could be. */
#include "config.h"

#include "backends/hf_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/object.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define MAX_LISTING ((size_t)64 << 20)

MLC_DEFINE_CLEANUP(tree, struct mlc_hf_tree *, mlc_hf_tree_unref);

/* Names are gathered under the lock and handed out without it: one byte of
 * type, the name, a NUL. */
static int
gather(struct mlc_buf *names, unsigned char type, const char *name, size_t len)
{
    int r = mlc_buf_append(names, &type, 1);

    if (r == 0)
        r = mlc_buf_append(names, name, len);
    return r < 0 ? r : mlc_buf_append(names, "", 1);
}

static int
gather_repos(struct mlc_hf *hf, struct mlc_buf *names)
{
    int r = 0;

    MLC_LOCK_SCOPE(&hf->lock);
    for (size_t i = 0; r == 0 && i < hf->n_repos; i++)
        r = gather(names, DT_DIR, hf->repos[i]->folder,
                   strlen(hf->repos[i]->folder));
    return r;
}

static bool
has_commit(const struct mlc_hf_repo *repo, const char *sha)
{
    for (size_t i = 0; i < repo->n_commits; i++)
        if (strcmp(repo->commits[i].sha, sha) == 0)
            return true;
    return false;
}

/* What is directly below refs/DIR. */
static int
gather_refs(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *dir,
            struct mlc_buf *names)
{
    const struct mlc_hf_repo *repo;
    int r = 0;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    for (size_t i = 0; repo && r == 0 && i < repo->n_refs; i++) {
        const char *rev = repo->refs[i].rev;
        size_t len;

        if (*dir && !mlc_hf_rev_is_below(rev, dir))
            continue;
        if (!has_commit(repo, repo->refs[i].sha))
            continue;
        if (*dir)
            rev += strlen(dir) + 1;
        len = strcspn(rev, "/");
        r = gather(names, rev[len] ? DT_DIR : DT_REG, rev, len);
    }
    return r;
}

static int
gather_commits(struct mlc_hf *hf, const struct mlc_hf_path *p,
               struct mlc_buf *names)
{
    const struct mlc_hf_repo *repo;
    int r = 0;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    for (size_t i = 0; repo && r == 0 && i < repo->n_commits; i++)
        r = gather(names, DT_DIR, repo->commits[i].sha, MLC_HF_SHA_LEN);
    return r;
}

/* Calls fn for each tree file of our own; NULL: is there one? */
static int
gather_trees(struct mlc_hf *hf, const struct mlc_hf_path *p,
             struct mlc_buf *names, bool *ret_any)
{
    mlc_autofree char *rel = mlc_hf_private(hf, p->folder, "trees");
    struct dirent *e;
    DIR *dir = NULL;
    int r = 0;
    int fd;

    *ret_any = false;
    if (hf->d->privfd < 0)
        return 0;
    if (!rel)
        return -ENOMEM;
    fd = mlc_open_beneath(hf->d->privfd, rel, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return 0;
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -ENOMEM;
    }
    while (r == 0 && (e = readdir(dir))) {
        char sha[MLC_HF_SHA_LEN + 1] = "";

        if (strlen(e->d_name) != MLC_HF_SHA_LEN + 5 ||
            strcmp(e->d_name + MLC_HF_SHA_LEN, ".json") != 0)
            continue;
        memcpy(sha, e->d_name, MLC_HF_SHA_LEN);
        if (!mlc_is_hex(sha, MLC_HF_SHA_LEN))
            continue;
        *ret_any = true;
        if (names)
            r = gather(names, DT_REG, e->d_name, strlen(e->d_name));
    }
    closedir(dir);
    return r;
}

static int
gather_areas(struct mlc_hf *hf, const struct mlc_hf_path *p,
             struct mlc_buf *names)
{
    bool has_trees = false;
    int r;

    r = gather_trees(hf, p, NULL, &has_trees);
    if (r == 0)
        r = gather(names, DT_DIR, "blobs", 5);
    if (r == 0)
        r = gather(names, DT_DIR, "refs", 4);
    if (r == 0)
        r = gather(names, DT_DIR, "snapshots", 9);
    if (r == 0 && has_trees)
        r = gather(names, DT_DIR, "trees", 5);
    return r;
}

/* Blobs of which some bytes are here, or all and on their way home: they are
 * listed, so that who deletes everything that is listed deletes them too. */
static int
gather_partial(struct mlc_hf *hf, const struct mlc_hf_path *p,
               struct mlc_buf *names)
{
    struct mlc_hf_tree *trees[MLC_HF_MAX_KEPT];
    size_t n = 0;
    int r = 0;

    if (!hf->d->store)
        return 0;
    pthread_mutex_lock(&hf->lock);
    for (size_t i = 0; i < hf->n_kept; i++)
        if (strcmp(hf->kept[i].folder, p->folder) == 0)
            trees[n++] = mlc_hf_tree_ref(hf->kept[i].tree);
    pthread_mutex_unlock(&hf->lock);
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; r == 0 && i < mlc_hf_tree_n_files(trees[k]); i++) {
            char key[MLC_HF_ETAG_LEN + 4];
            struct mlc_hf_file f;

            mlc_hf_tree_get(trees[k], i, &f);
            snprintf(key, sizeof key, MLC_HF_KEY_PREFIX "%s", f.etag);
            if (mlc_store_present(hf->d->store, key) > 0)
                r = gather(names, DT_REG, f.etag, strlen(f.etag));
        }
        mlc_hf_tree_unref(trees[k]);
    }
    return r;
}

/* Offline: a pointer that leads nowhere makes clients call the repo broken. */
struct cached_only {
    struct mlc_hf *hf;
    const struct mlc_hf_path *p;
    const struct mlc_hf_tree *tree;
    mlc_list_fn *emit;
    void *arg;
};

static int
emit_cached(void *arg, const char *name, unsigned char type)
{
    const struct cached_only *c = arg;
    mlc_autofree char *path = mlc_path_join(c->p->rest, name);
    struct mlc_hf_file f;
    size_t i;

    if (!path)
        return -ENOMEM;
    if (mlc_hf_tree_find(c->tree, path, &i) == 0) {
        mlc_hf_tree_get(c->tree, i, &f);
        if (!mlc_hf_has_bytes(c->hf, c->p->folder, &f))
            return 0;
    }
    return c->emit(c->arg, name, type);
}

static int
list_snapshot(struct mlc_hf *hf, const struct mlc_hf_path *p,
              struct mlc_ask *ask, mlc_list_fn *emit, void *arg)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    mlc_autofree char *rel = NULL;
    struct stat st;
    int dirfd;
    int r;

    r = mlc_hf_need_tree(hf, p, ask, &t);
    if (r == 0) {
        struct cached_only cached = {hf, p, t, emit, arg};

        r = hf->d->cache->is_offline
                ? mlc_hf_tree_list(t, p->rest, emit_cached, &cached)
                : mlc_hf_tree_list(t, p->rest, emit, arg);
        return r == -ENOENT ? 0 : r; /* a user's own directory */
    }
    if (r == -EAGAIN || r == -ENOMEM)
        return r;
    /* What a cache that was there before us holds can be listed as before. */
    rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "snapshots/%s%s%s", p->commit,
                         *p->rest ? "/" : "", p->rest);
    if (rel && fstatat(dirfd, rel, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode))
        return 0;
    return r;
}

int
mlc_hf_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
            mlc_list_fn *emit, void *arg)
{
    struct mlc_hf *hf = d->priv;
    struct mlc_hf_path p;
    struct mlc_buf names;
    bool any;
    int r = 0;

    mlc_hf_path_parse(path, &p);
    mlc_buf_init(&names, MAX_LISTING);
    switch (p.where) {
    case MLC_HF_ROOT:
        r = gather(&names, DT_DIR, "hub", 3);
        break;
    case MLC_HF_HUB:
        r = gather_repos(hf, &names);
        break;
    case MLC_HF_REPO:
        r = gather_areas(hf, &p, &names);
        break;
    case MLC_HF_REFS:
        r = gather_refs(hf, &p, "", &names);
        break;
    case MLC_HF_REF:
        r = gather_refs(hf, &p, p.rest, &names);
        break;
    case MLC_HF_SNAPSHOTS:
        r = gather_commits(hf, &p, &names);
        break;
    case MLC_HF_SNAPSHOT:
        r = list_snapshot(hf, &p, ask, emit, arg);
        break;
    case MLC_HF_TREES:
        r = gather_trees(hf, &p, &names, &any);
        break;
    case MLC_HF_BLOBS:
        r = gather_partial(hf, &p, &names);
        break;
    case MLC_HF_LOCAL:
    case MLC_HF_TAG:
    case MLC_HF_SHARED:
    case MLC_HF_NO_EXIST:
    case MLC_HF_BLOB:
    case MLC_HF_TREE:
    case MLC_HF_ABSENT:
        break;
    }
    for (size_t i = 0; r == 0 && i < names.len;) {
        const char *name = names.data + i + 1;

        r = emit(arg, name, (unsigned char)names.data[i]);
        i += strlen(name) + 2;
    }
    mlc_buf_done(&names);
    return r;
}
