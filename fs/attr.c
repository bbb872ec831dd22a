/* SPDX-License-Identifier: MIT */
/* What stat and statfs show, and setattr. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends/cache/object.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

uint64_t
mlc_ino_hash(const struct mlc_domain *d, const char *path)
{
    const char *name = d->backend->name;
    uint64_t seed = XXH3_64bits(name, strlen(name));

    /* The top bit keeps these apart from numbers of files on disk. */
    return XXH3_64bits_withSeed(path, strlen(path), seed) | (uint64_t)1 << 63;
}

static void
override_owner(const struct mlc_fs *fs, struct stat *st)
{
    if (fs->has_uid)
        st->st_uid = fs->uid;
    if (fs->has_gid)
        st->st_gid = fs->gid;
    if (fs->has_umask && !S_ISLNK(st->st_mode))
        st->st_mode = (st->st_mode & S_IFMT) | (0777 & ~fs->umask);
}

void
mlc_attr_local(const struct mlc_fs *fs, const struct mlc_node *n,
               const struct stat *in, struct stat *ret)
{
    *ret = *in;
    ret->st_ino = n->ino;
    override_owner(fs, ret);
}

static void
synthesise(const struct mlc_fs *fs, const struct mlc_node *n, mode_t mode,
           uint64_t size, int64_t mtime_ms, struct stat *ret)
{
    if (mtime_ms == 0)
        mtime_ms = fs->birth_ms;
    memset(ret, 0, sizeof(*ret));
    ret->st_ino = n->ino;
    ret->st_mode = mode;
    ret->st_nlink = S_ISDIR(mode) ? 2 : 1;
    ret->st_uid = fs->uid;
    ret->st_gid = fs->gid;
    ret->st_size = (off_t)size;
    ret->st_blksize = 4096;
    ret->st_blocks = (blkcnt_t)((size + 511) / 512);
    ret->st_mtim.tv_sec = mtime_ms / 1000;
    ret->st_mtim.tv_nsec = (mtime_ms % 1000) * 1000000;
    ret->st_ctim = ret->st_atim = ret->st_mtim;
    override_owner(fs, ret);
}

int
mlc_node_dup_fd(struct mlc_fs *fs, struct mlc_node *n)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    for (struct mlc_handle *h = n->handles; h; h = h->next) {
        /* An object's file is the node's once it is at home. */
        if (h->obj && mlc_object_fd(h->obj) >= 0)
            return fcntl(mlc_object_fd(h->obj), F_DUPFD_CLOEXEC, 0);
        if (h->fd >= 0 && !atomic_load(&h->is_apart))
            return fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    }
    return -1;
}

struct mlc_object *
mlc_node_get_object(struct mlc_fs *fs, struct mlc_node *n)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    for (struct mlc_handle *h = n->handles; h; h = h->next)
        if (h->obj)
            return mlc_object_ref(h->obj);
    return NULL;
}

static int
stat_local(struct mlc_fs *fs, struct mlc_node *n, struct stat *ret)
{
    mlc_autofree char *path = NULL;
    mlc_autoclose int fd = -1;
    struct stat st;
    int r;

    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_path(fs, n, &path);
    if (r == 0) {
        struct mlc_file_id id;

        r = mlc_local_stat(n->domain, path, &st, &id);
        /* The name may lead to another file by now, or to none, done behind
         * our back: the kernel then looks it up again. */
        if (n->type == MLC_NODE_LOCAL &&
            (r == -ENOENT || (r == 0 && !mlc_node_has_id(fs, n, &id))))
            r = -ESTALE;
    }
    pthread_rwlock_unlock(&fs->names);
    if (r == 0) {
        mlc_attr_local(fs, n, &st, ret);
        return 0;
    }
    if (n->type != MLC_NODE_LOCAL)
        return r;
    fd = mlc_node_dup_fd(fs, n);
    if (fd < 0 || fstat(fd, &st) < 0)
        return r;
    mlc_attr_local(fs, n, &st, ret);
    return 0;
}

/* Bytes on disk of an object, for st_blocks: du shows the space used. */
static uint64_t
present_bytes(struct mlc_fs *fs, struct mlc_node *n, bool *ret_is_whole)
{
    struct mlc_object *obj = mlc_node_get_object(fs, n);
    uint64_t present = n->present;

    *ret_is_whole = false;
    if (obj) {
        present = mlc_object_present(obj);
        *ret_is_whole = mlc_object_get_state(obj) == MLC_OBJECT_WHOLE;
        mlc_object_unref(obj);
    }
    return present;
}

int
mlc_attr_get(struct mlc_fs *fs, struct mlc_node *n, const struct stat *known,
             struct stat *ret, double *ret_timeout)
{
    bool is_whole;
    int r;

    *ret_timeout = MLC_TTL_SHORT;
    switch ((enum mlc_node_type)n->type) {
    case MLC_NODE_DIR:
        if (!n->is_status_dir && stat_local(fs, n, ret) == 0)
            return 0;
        synthesise(fs, n, S_IFDIR | (n->is_status_dir ? 0555 : 0755), 4096,
                   n->mtime_ms, ret);
        if (!n->is_root && !n->is_status_dir && mlc_node_is_nameless(fs, n))
            ret->st_nlink = 0;
        return 0;
    case MLC_NODE_LOCAL:
        r = 0;
        if (known)
            mlc_attr_local(fs, n, known, ret);
        else
            r = stat_local(fs, n, ret);
        if (r == 0 && n->is_cached && ret->st_nlink > 0)
            *ret_timeout = MLC_TTL_PINNED;
        return r;
    case MLC_NODE_SYMLINK:
        synthesise(fs, n, S_IFLNK | 0777, n->size, n->mtime_ms, ret);
        *ret_timeout = MLC_TTL_PINNED;
        return 0;
    case MLC_NODE_INLINE:
    case MLC_NODE_PRIVATE:
        synthesise(fs, n, S_IFREG | (n->mode ? n->mode : 0644), n->size,
                   n->mtime_ms, ret);
        return 0;
    case MLC_NODE_OBJECT:
        synthesise(fs, n, S_IFREG | (n->mode ? n->mode : 0644), n->size,
                   n->mtime_ms, ret);
        ret->st_blocks =
            (blkcnt_t)(present_bytes(fs, n, &is_whole) + 511) / 512;
        /* tar -S takes a file without blocks for a hole. */
        if (ret->st_blocks == 0 && n->size > 0)
            ret->st_blocks = 1;
        *ret_timeout = is_whole ? MLC_TTL_SHORT : 0;
        return 0;
    case MLC_NODE_VIEW:
        synthesise(fs, n, S_IFREG | (n->mode ? n->mode : 0644), n->size,
                   n->mtime_ms, ret);
        /* It takes no space; but see above. */
        ret->st_blocks = n->size > 0;
        return 0;
    case MLC_NODE_STATUS:
        /* Its bytes are made when it is opened; read until the end. */
        synthesise(fs, n, S_IFREG | 0444, 0, 0, ret);
        *ret_timeout = 0;
        return 0;
    }
    return -EIO;
}

/* --- operations ----------------------------------------------------------- */

static struct mlc_handle *
handle_of(struct fuse_file_info *fi)
{
    return fi ? (struct mlc_handle *)(uintptr_t)fi->fh : NULL;
}

void
mlc_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    double timeout;
    struct stat st;
    int r = mlc_attr_get(fs, mlc_node_of(fs, ino), NULL, &st, &timeout);

    if (r < 0)
        mlc_reply_err(fs, req, r);
    else
        fuse_reply_attr(req, &st, timeout);
}

/* What is not the user's to change: EPERM tells root, whom modes don't stop,
 * that it is not a matter of permission. */
static int
deny(const struct fuse_ctx *ctx)
{
    return ctx->uid == 0 ? -EPERM : -EACCES;
}

static void
pick_times(const struct stat *attr, int to_set, struct timespec ts[2])
{
    ts[0].tv_sec = ts[1].tv_sec = 0;
    ts[0].tv_nsec = ts[1].tv_nsec = UTIME_OMIT;
    if (to_set & FUSE_SET_ATTR_ATIME_NOW)
        ts[0].tv_nsec = UTIME_NOW;
    else if (to_set & FUSE_SET_ATTR_ATIME)
        ts[0] = attr->st_atim;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        ts[1].tv_nsec = UTIME_NOW;
    else if (to_set & FUSE_SET_ATTR_MTIME)
        ts[1] = attr->st_mtim;
}

/* Applies to a file that lies on disk, through a descriptor for its content or
 * by name in dirfd. */
static int
set_local(int fd, int dirfd, const char *name, bool is_link,
          const struct stat *attr, int to_set)
{
    const int time_bits = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
                          FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;

    if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
        uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
        gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

        if ((fd >= 0
                 ? fchown(fd, uid, gid)
                 : fchownat(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW)) < 0)
            return -errno;
    }
    if (to_set & FUSE_SET_ATTR_MODE) {
        if (is_link)
            return -EOPNOTSUPP;
        if ((fd >= 0 ? fchmod(fd, attr->st_mode & 07777)
                     : fchmodat(dirfd, name, attr->st_mode & 07777, 0)) < 0)
            return -errno;
    }
    if ((to_set & FUSE_SET_ATTR_SIZE) && fd >= 0 &&
        ftruncate(fd, attr->st_size) < 0)
        return -errno;
    if (to_set & time_bits) {
        struct timespec ts[2];

        pick_times(attr, to_set, ts);
        if ((fd >= 0 ? futimens(fd, ts)
                     : utimensat(dirfd, name, ts, AT_SYMLINK_NOFOLLOW)) < 0)
            return -errno;
    }
    return 0;
}

/* A root directory has no parent to be named in: by its own descriptor. */
static int
set_root(const struct mlc_domain *d, const struct stat *attr, int to_set)
{
    mlc_autoclose int fd =
        mlc_open_beneath(d->bases[0].fd, "", O_RDONLY | O_DIRECTORY, 0);

    return fd < 0 ? fd : set_local(fd, -1, NULL, false, attr, to_set);
}

/* A file that is open somewhere, but has no name; fd may be read-only. */
static int
set_nameless(int fd, const struct stat *attr, int to_set)
{
    char proc[64];

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    if ((to_set & FUSE_SET_ATTR_SIZE) && truncate(proc, attr->st_size) < 0)
        return -errno;
    return set_local(fd, -1, NULL, false, attr, to_set & ~FUSE_SET_ATTR_SIZE);
}

static int
setattr(struct mlc_fs *fs, const struct fuse_ctx *ctx, struct mlc_node *n,
        const struct stat *attr, int to_set, struct mlc_handle *h)
{
    mlc_autoclose int dirfd = -1, fd = -1;
    mlc_autofree char *path = NULL;
    const char *name = NULL;
    struct stat st;
    int r;

    if (h && h->fd >= 0 &&
        (atomic_load(&h->is_apart) || n->type == MLC_NODE_LOCAL))
        return set_local(h->fd, -1, NULL, false, attr, to_set);
    if ((to_set & FUSE_SET_ATTR_SIZE) &&
        (n->type != MLC_NODE_LOCAL || n->is_cached))
        return deny(ctx);
    /* Accepted and without effect: what is not on disk has no attributes of
     * its own. */
    if (n->type != MLC_NODE_LOCAL && n->type != MLC_NODE_DIR)
        return 0;
    if (n->is_status_dir)
        return 0;

    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_path(fs, n, &path);
    if (r == -ESTALE && n->type == MLC_NODE_LOCAL) {
        /* The kernel names no handle for what goes through a descriptor. */
        fd = mlc_node_dup_fd(fs, n);
        r = fd < 0 ? r : set_nameless(fd, attr, to_set);
        goto out;
    }
    if (r == 0 && n->is_root) {
        r = set_root(n->domain, attr, to_set);
        goto out;
    }
    if (r == 0)
        dirfd = mlc_local_parent(n->domain, path, false, &name);
    if (r == 0 && dirfd < 0)
        r = dirfd;
    if (r == 0 && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    if (r == -ENOENT && n->type == MLC_NODE_DIR)
        r = 0;
    else if (r == -ENOENT)
        r = -ESTALE; /* the kernel looks it up again */
    else if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE)) {
        fd =
            openat(dirfd, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
        r = fd < 0 ? -errno : 0;
    }
    if (r == 0 && name && dirfd >= 0)
        r = set_local(fd, dirfd, name, S_ISLNK(st.st_mode), attr, to_set);
out:
    pthread_rwlock_unlock(&fs->names);
    return r;
}

void
mlc_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
               struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    int r = setattr(fs, fuse_req_ctx(req), n, attr, to_set, handle_of(fi));
    double timeout;
    struct stat st;

    if (r == 0)
        r = mlc_attr_get(fs, n, NULL, &st, &timeout);
    if (r < 0)
        mlc_reply_err(fs, req, r);
    else
        fuse_reply_attr(req, &st, timeout);
}

void
mlc_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    mlc_autofree char *path = NULL;
    mlc_autoclose int dirfd = -1;
    char target[PATH_MAX];
    const char *name;
    ssize_t len = -1;
    int r;

    if (n->type == MLC_NODE_SYMLINK) {
        fuse_reply_readlink(req, n->text);
        return;
    }
    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_path(fs, n, &path);
    if (r == 0) {
        dirfd = mlc_local_parent(n->domain, path, false, &name);
        r = dirfd < 0 ? dirfd : 0;
    }
    if (r == 0) {
        len = readlinkat(dirfd, name, target, sizeof(target) - 1);
        r = len < 0 ? -errno : 0;
    }
    pthread_rwlock_unlock(&fs->names);
    /* Evicted, or changed behind our back: the kernel looks it up again. */
    if (r == -ENOENT || r == -EINVAL)
        r = -ESTALE;
    if (r < 0 || len < 0) {
        mlc_reply_err(fs, req, r);
        return;
    }
    target[len] = '\0';
    fuse_reply_readlink(req, target);
}

void
mlc_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    const struct mlc_domain *d = n->domain;
    struct statvfs st;

    /* The file system that new files of this domain end on. */
    if (fstatvfs(d->bases[d->n_bases - 1].fd, &st) < 0)
        mlc_reply_err(fs, req, -errno);
    else
        fuse_reply_statfs(req, &st);
}
