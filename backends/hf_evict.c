/* SPDX-License-Identifier: MIT */
/* Eviction of blobs that we fetched.  Those that were there before us, or that
 * a client brought, stay: they are somebody's own cache. */
#include "config.h"

#include "backends/hf_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/cache/object.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

MLC_DEFINE_CLEANUP(tree, struct mlc_hf_tree *, mlc_hf_tree_unref);

/* --- what there is -------------------------------------------------------- */

static void
list_blobs(struct mlc_hf *hf, const char *folder, struct mlc_evict_round *round)
{
    mlc_autofree char *path = NULL;
    mlc_autodir DIR *dir = NULL;
    const struct dirent *d;
    int base;

    path = mlc_hf_on_disk(hf, &base, folder, "blobs");
    dir = path ? mlc_opendir_beneath(base, path) : NULL;
    while (dir && (d = readdir(dir))) {
        mlc_autofree char *name = NULL;
        int64_t used_us;
        struct stat st;

        if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode) ||
            !mlc_ledger_find(mlc_store_ledger(hf->d->store), &st, &used_us))
            continue;
        if (asprintf(&name, "hub/%s/blobs/%s", folder, d->d_name) < 0) {
            name = NULL;
            continue;
        }
        /* All its names together are the whole: each but the last frees
         * nothing, and they go one after the other. */
        mlc_evict_offer(round, name, &st,
                        (uint64_t)st.st_size / (uint64_t)st.st_nlink, used_us,
                        false);
    }
}

static void
list(void *arg, struct mlc_evict_round *round)
{
    struct mlc_hf *hf = arg;
    const struct mlc_base *base;
    mlc_autodir DIR *dir = NULL;
    const struct dirent *d;
    const char *rel;

    base = mlc_domain_base(hf->d, "hub", &rel);
    dir = mlc_opendir_beneath(base->fd, rel);
    while (dir && (d = readdir(dir))) {
        mlc_autofree char *path = mlc_path_join("hub", d->d_name);
        struct mlc_hf_path p;

        if (!path)
            continue;
        mlc_hf_path_parse(path, &p);
        if (p.where == MLC_HF_REPO)
            list_blobs(hf, p.folder, round);
    }
}

/* --- what goes ------------------------------------------------------------ */

/* The pointer to the blob, and the directories up to the snapshot's own that it
 * leaves empty: the stock tools take a pointer to nothing for a damaged cache.
 */
static void
remove_pointer(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
               const struct mlc_hf_file *f)
{
    mlc_autofree char *text = mlc_hf_pointer_text(f->path, f->etag);
    mlc_autofree char *rel = NULL;
    mlc_autoclose int fd = -1;
    char there[PATH_MAX];
    const char *name;
    size_t n_dirs = 1;
    int dirfd;
    ssize_t len;

    rel =
        mlc_hf_on_disk(hf, &dirfd, p->folder, "snapshots/%s/%s", sha, f->path);
    fd = rel && text ? mlc_open_parent(dirfd, rel, &name) : -1;
    len = fd < 0 ? -1 : readlinkat(fd, name, there, sizeof(there) - 1);
    if (len < 0)
        return;
    there[len] = '\0';
    if (strcmp(there, text) != 0 || unlinkat(fd, name, 0) < 0)
        return;
    for (const char *s = f->path; *s; s++)
        n_dirs += *s == '/';
    while (n_dirs-- > 0) {
        *strrchr(rel, '/') = '\0';
        if (unlinkat(dirfd, rel, AT_REMOVEDIR) < 0)
            break;
    }
}

/* What mlc_hf_point() made for the blob.  A client that is offline believes a
 * tree file, and insists on every file in it. */
static void
unpoint(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    mlc_autofree char *list = NULL;
    char(*commits)[MLC_HF_SHA_LEN + 1] = NULL;
    size_t n = 0;

    if (mlc_hf_commits(hf, p, &commits, &n) < 0)
        return;
    list = (char *)commits;
    for (size_t i = 0; i < n; i++) {
        __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
        mlc_autofree char *rel = NULL;
        size_t first = 0, n_files;
        int dirfd;

        if (mlc_hf_tree_known(hf, p, commits[i], &t) < 0)
            continue;
        MLC_LOCK_SCOPE(&hf->io);
        n_files = mlc_hf_tree_find_etag(t, p->rest, &first);
        for (size_t k = 0; k < n_files; k++) {
            struct mlc_hf_file f;

            mlc_hf_tree_get(t, mlc_hf_tree_by_etag(t, first + k), &f);
            remove_pointer(hf, p, commits[i], &f);
        }
        rel = n_files ? mlc_hf_on_disk(hf, &dirfd, p->folder, "trees/%s.json",
                                       commits[i])
                      : NULL;
        if (!rel)
            continue;
        unlinkat(dirfd, rel, 0);
        atomic_store(mlc_hf_tree_cursor(t), 0);
    }
}

static uint64_t
drop(void *arg, const char *path, int64_t since_us,
     struct mlc_evict_round *round)
{
    struct mlc_hf *hf = arg;
    const struct mlc_base *base = NULL;
    mlc_autoclose int fd = -1;
    struct mlc_hf_path p;
    const char *rel, *name;
    int64_t used_us;
    struct stat st;

    mlc_hf_path_parse(path, &p);
    base = mlc_domain_base(hf->d, path, &rel);
    fd = mlc_open_parent(base->fd, rel, &name);
    if (fd < 0 || p.where != MLC_HF_BLOB ||
        fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !mlc_ledger_find(mlc_store_ledger(hf->d->store), &st, &used_us) ||
        used_us > since_us || mlc_evict_is_open(round, &st) ||
        unlinkat(fd, name, 0) < 0)
        return 0;
    mlc_hf_forget_bad(hf, &p); /* inode numbers come again */
    unpoint(hf, &p);
    if (st.st_nlink > 1) /* the others have more of it now */
        mlc_evict_removed(hf->d->cache->evictor);
    return (uint64_t)st.st_size / (uint64_t)st.st_nlink;
}

int
mlc_hf_evict_init(struct mlc_hf *hf)
{
    const struct mlc_evict_source source = {
        .list = list, .drop = drop, .arg = hf};

    return hf->d->store ? mlc_evictor_add(hf->d->cache->evictor, &source) : 0;
}
