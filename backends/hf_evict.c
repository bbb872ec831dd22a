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
#include "backends/cache/pins.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

MLC_DEFINE_CLEANUP(tree, struct mlc_hf_tree *, mlc_hf_tree_unref);

/* All names of a file together are the whole: removing one of them frees
 * nothing unless it is the last. */
static uint64_t
share_of(const struct stat *st)
{
    return (uint64_t)st->st_size / (st->st_nlink > 1 ? st->st_nlink : 1);
}

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
        mlc_evict_offer(round, name, &st, share_of(&st), used_us, false);
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
        used_us > since_us || mlc_evict_is_open(round, &st))
        return 0;
    /* Before, so that a kill leaves no pointer to nothing; and after, for who
     * has just looked one up. */
    mlc_hf_unpoint(hf, &p);
    /* Its other names, if it has any, are evicted by the same entry. */
    if (st.st_nlink <= 1)
        mlc_ledger_forget(mlc_store_ledger(hf->d->store), &st);
    if (unlinkat(fd, name, 0) < 0)
        return 0;
    mlc_hf_forget_bad(hf, &p); /* inode numbers come again */
    mlc_hf_unpoint(hf, &p);
    if (st.st_nlink > 1) /* the others have more of it now */
        mlc_evict_removed(hf->d->cache->evictor);
    return share_of(&st);
}

struct pinned {
    struct mlc_hf *hf;
    const char *etag;
};

static bool
is_pin_of(void *arg, const char *path)
{
    const struct pinned *q = arg;
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    struct mlc_hf_hit hit = {0};
    struct mlc_hf_path p;
    bool is_found;

    mlc_hf_path_parse(path + strlen("hf/"), &p);
    if (p.where == MLC_HF_BLOB)
        return strcmp(p.rest, q->etag) == 0;
    if (p.where != MLC_HF_REPO && p.where != MLC_HF_BLOBS)
        return false;
    p.rest = q->etag;
    is_found = mlc_hf_find_etag(q->hf, &p, 0, false, &hit) == 0;
    t = hit.tree;
    return is_found;
}

static bool
is_pinned(void *arg, const char *key)
{
    struct mlc_hf *hf = arg;
    struct pinned q = {hf, key + strlen(MLC_HF_KEY_PREFIX)};

    return strncmp(key, MLC_HF_KEY_PREFIX, strlen(MLC_HF_KEY_PREFIX)) == 0 &&
           (mlc_pins_has(hf->d->cache->pins, "hf/hub") ||
            mlc_pins_each(hf->d->cache->pins, "hf/hub", is_pin_of, &q));
}

int
mlc_hf_evict_init(struct mlc_hf *hf)
{
    const struct mlc_evict_source source = {.domain = "hf",
                                            .is_pinned = is_pinned,
                                            .list = list,
                                            .drop = drop,
                                            .arg = hf};

    return hf->d->store ? mlc_evictor_add(hf->d->cache->evictor, &source) : 0;
}
