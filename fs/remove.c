/* SPDX-License-Identifier: MIT */
/* Unlink and rmdir.  What was fetched is evicted; what the origin still has is
 * left out of listings (hidden.c). */
#include "config.h"

#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

void
mlc_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_node *dir = mlc_node_of(fs, parent), *special;
    mlc_autofree char *path = NULL, *dir_path = NULL;
    mlc_autoclose int dirfd = -1;
    const char *base;
    bool remote;
    int r = 0;

    if (mlc_lookup_special(fs, dir, name, &special) || dir->is_status_dir)
        r = -EPERM;
    else if (fs->is_read_only)
        r = -EROFS;
    if (r < 0) {
        mlc_reply_err(fs, req, r);
        return;
    }
    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_child_path(fs, dir, name, &path);
    if (r < 0) {
        pthread_rwlock_unlock(&fs->names);
        mlc_reply_err(fs, req, r == -ESTALE ? -ENOENT : r);
        return;
    }
    dirfd = mlc_local_parent(dir->domain, path, false, &base);
    r = dirfd < 0 ? dirfd : 0;
    pthread_rwlock_unlock(&fs->names);
    remote = mlc_is_remote(dir->domain, path);
    if (remote)
        mlc_hide(fs, dir->domain, path);
    if (r == 0 && unlinkat(dirfd, base, 0) < 0)
        r = -errno;
    if (r == 0 || ((r == -ENOENT || r == -ENAMETOOLONG) && remote)) {
        mlc_node_detach(fs, dir, name);
        mlc_domain_removed(dir->domain, path);
        mlc_evict_removed(fs->cache->evictor);
        r = 0;
    }
    /* Nothing is hidden in a directory that is gone. */
    if (remote && (r < 0 || mlc_node_path(fs, dir, &dir_path) == -ESTALE))
        mlc_unhide(fs, dir->domain, path);
    mlc_reply_err(fs, req, r);
}

/* Removes the files that a backend keeps out of listings, and those that came
 * to the disk after they had been unlinked. */
static void
remove_unlisted(struct mlc_fs *fs, struct mlc_domain *d, const char *path)
{
    int fd = mlc_local_opendir(d, path);
    DIR *dp = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *de;

    if (!dp) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((de = readdir(dp)) != NULL) {
        mlc_autofree char *child = mlc_path_join(path, de->d_name);

        if (child && strcmp(de->d_name, ".") != 0 &&
            strcmp(de->d_name, "..") != 0 &&
            (mlc_domain_is_unlisted(d, path, de->d_name) ||
             mlc_is_hidden(fs, d, child, true)))
            unlinkat(fd, de->d_name, 0);
    }
    closedir(dp);
}

/* Removes what is on disk of a directory in which nothing is listed. */
static int
remove_dir_on_disk(struct mlc_fs *fs, struct mlc_domain *d, const char *path)
{
    mlc_autoclose int dirfd = -1;
    const char *base;

    dirfd = mlc_local_parent(d, path, false, &base);
    if (dirfd < 0)
        return dirfd;
    if (unlinkat(dirfd, base, AT_REMOVEDIR) == 0)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    remove_unlisted(fs, d, path);
    return unlinkat(dirfd, base, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static bool
is_just_removed(struct mlc_fs *fs, struct mlc_node *dir, const char *name)
{
    mlc_autofree char *path = NULL;

    return mlc_node_child_path(fs, dir, name, &path) == 0 &&
           mlc_is_hidden(fs, dir->domain, path, true);
}

static int
run_rmdir(struct mlc_op *op, struct mlc_ask *ask)
{
    struct mlc_fs *fs = op->fs;
    struct mlc_node *dir = op->node, *special, *n = NULL;
    struct mlc_listing *listing = NULL;
    mlc_autofree char *path = NULL;
    size_t n_listed = 0;
    bool remote;
    int r;

    if (mlc_lookup_special(fs, dir, op->name, &special))
        return -EBUSY;
    if (dir->is_status_dir)
        return -EPERM;
    if (fs->is_read_only)
        return -EROFS;
    n = mlc_node_peek(fs, dir, op->name);
    if (n && n->type != MLC_NODE_DIR) {
        mlc_node_unref(fs, n);
        return -ENOTDIR;
    }
    if (n) {
        /* Removed a moment ago by another, and looked up again only by who is
         * about to remove it too: what is on disk decides. */
        if (is_just_removed(fs, dir, op->name))
            r = 0;
        else
            r = mlc_listing_new(fs, n, ask, true, &listing);
        n_listed = listing ? mlc_listing_count(listing) : 0;
        mlc_listing_free(listing);
        mlc_node_unref(fs, n);
        if (r < 0)
            return r;
        if (n_listed > 0)
            return -ENOTEMPTY;
    }
    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_child_path(fs, dir, op->name, &path);
    if (r == 0)
        r = remove_dir_on_disk(fs, dir->domain, path);
    pthread_rwlock_unlock(&fs->names);
    if (!path)
        return r == -ESTALE ? -ENOENT : r;
    if (r < 0 && r != -ENOENT)
        return r;
    remote = mlc_is_remote(dir->domain, path);
    if (r == -ENOENT && !remote)
        return r;
    mlc_node_detach(fs, dir, op->name);
    mlc_unhide_below(fs, dir->domain, path);
    mlc_domain_removed(dir->domain, path);
    if (remote)
        mlc_hide(fs, dir->domain, path);
    fuse_reply_err(op->req, 0);
    return 0;
}

void
mlc_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mlc_op *op =
        mlc_op_new(fuse_req_userdata(req), req, run_rmdir, parent, name);

    if (op)
        mlc_op_start(op);
}
