/* SPDX-License-Identifier: MIT */
/* Operations on names: look-up, attributes, creating, removing, renaming. */
#include "config.h"

#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

static struct mlc_fs *
fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* --- look-up ---------------------------------------------------------------
 */

/* Names that are not paths in a domain: the domains' roots and .mlcachefs/ in
 * the mount's root; the store's own .mlcachefs elsewhere, which is hidden. */
static bool
lookup_special(struct mlc_fs *fs, struct mlc_node *dir, const char *name,
               struct mlc_node **ret)
{
    *ret = NULL;
    if (dir == fs->root) {
        if (strcmp(name, MLC_PRIVATE_DIR) == 0) {
            *ret = fs->status_dir;
            return true;
        }
        for (unsigned i = 0; !fs->only && i < fs->n_domains; i++)
            if (strcmp(name, fs->domains[i].backend->name) == 0) {
                *ret = fs->domain_roots[i];
                return true;
            }
    }
    return false;
}

static double
entry_timeout(const struct mlc_entry *e)
{
    if (e->ttl_ms == MLC_TTL_FOREVER)
        return MLC_TTL_PINNED;
    if (e->ttl_ms > 0)
        return e->ttl_ms >= (uint32_t)(MLC_TTL_PINNED * 1000)
                   ? MLC_TTL_PINNED
                   : e->ttl_ms / 1000.0;
    switch (e->kind) {
    case MLC_KIND_LOCAL:
    case MLC_KIND_DIR:
        return MLC_TTL_SHORT;
    case MLC_KIND_SYMLINK:
    case MLC_KIND_INLINE:
    case MLC_KIND_PRIVATE:
    case MLC_KIND_OBJECT:
        break;
    }
    return 0;
}

static int
reply_node(struct mlc_fs *fs, struct mlc_node *n, double timeout,
           const struct stat *known, struct fuse_entry_param *ret)
{
    int r;

    memset(ret, 0, sizeof(*ret));
    ret->ino = (uintptr_t)n;
    ret->entry_timeout = timeout;
    r = mlc_attr_get(fs, n, known, &ret->attr, &ret->attr_timeout);
    if (r < 0)
        mlc_node_put_lookup(fs, n);
    return r;
}

static void
count_lookup(struct mlc_fs *fs, struct mlc_node *n)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    n->nlookup++;
}

/* What is on disk and what the backend says about (dir, name). */
static int
ask_domain(struct mlc_fs *fs, struct mlc_node *dir, const char *name,
           struct mlc_ask *ask, struct mlc_entry *e, struct stat *st,
           struct mlc_file_id *id, char **ret_path)
{
    struct mlc_domain *d = dir->domain;
    bool is_local = false;
    int r;

    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_child_path(fs, dir, name, ret_path);
    if (r == 0) {
        r = mlc_local_stat(d, *ret_path, st, id);
        is_local = r == 0;
        if (r == -ENOENT)
            r = 0;
    }
    pthread_rwlock_unlock(&fs->names);
    if (r < 0)
        return r == -ESTALE ? -ENOENT : r; /* the directory was removed */
    if (is_local && mlc_local_is_superseded(fs, d, *ret_path, false)) {
        e->kind = MLC_KIND_LOCAL;
        return 0;
    }
    /* Asked after the disk: unlinking hides first. */
    ask->is_unlinked = !is_local && mlc_is_hidden(fs, d, *ret_path, true);
    return mlc_domain_lookup(d, *ret_path, is_local ? st : NULL, ask, e);
}

int
mlc_lookup(struct mlc_fs *fs, struct mlc_node *dir, const char *name,
           struct mlc_ask *ask, struct fuse_entry_param *ret)
{
    mlc_autofree char *path = NULL;
    struct mlc_entry e = {0};
    struct mlc_file_id id = {0};
    struct mlc_node *n;
    struct stat st;
    double timeout;
    int r;

    if (lookup_special(fs, dir, name, &n)) {
        count_lookup(fs, n);
        return reply_node(fs, n, MLC_TTL_PINNED, NULL, ret);
    }
    if (dir->is_status_dir) {
        memset(ret, 0, sizeof(*ret));
        if (!mlc_status_has(name))
            return -ENOENT;
        e.kind = MLC_KIND_INLINE;
        e.text = strdup(name);
        if (!e.text)
            return -ENOMEM;
    } else {
        r = ask_domain(fs, dir, name, ask, &e, &st, &id, &path);
        if (r == -ENOENT) {
            memset(ret, 0, sizeof(*ret));
            ret->entry_timeout =
                e.ttl_ms == MLC_TTL_FOREVER || e.ttl_ms >= 3600000
                    ? MLC_TTL_PINNED
                    : e.ttl_ms / 1000.0;
            mlc_entry_done(&e);
            return ret->entry_timeout > 0 ? 0 : -ENOENT;
        }
        if (r < 0) {
            mlc_entry_done(&e);
            return r;
        }
    }
    timeout = entry_timeout(&e);
    r = mlc_node_resolve(fs, dir, name, &e, &st, &id, &n);
    mlc_entry_done(&e);
    if (r < 0)
        return r;
    if (path)
        mlc_note_seen(fs, dir->domain, path);
    return reply_node(fs, n, timeout, n->type == MLC_NODE_LOCAL ? &st : NULL,
                      ret);
}

static int
run_lookup(struct mlc_op *op, struct mlc_ask *ask)
{
    struct fuse_entry_param e;
    int r = mlc_lookup(op->fs, op->node, op->name, ask, &e);

    if (r < 0)
        return r;
    if (fuse_reply_entry(op->req, &e) == -ENOENT && e.ino)
        mlc_node_put_lookup(op->fs, mlc_node_of(op->fs, e.ino));
    return 0;
}

void
mlc_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mlc_fs *fs = fs_of(req);
    struct mlc_op *op = mlc_op_new(fs, req, run_lookup, parent, name);

    atomic_fetch_add(&fs->n_lookups, 1);
    if (op)
        mlc_op_start(op);
}

void
mlc_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    struct mlc_fs *fs = fs_of(req);

    mlc_node_forget(fs, mlc_node_of(fs, ino), nlookup);
    fuse_reply_none(req);
    mlc_table_trim(fs);
}

void
mlc_op_forget_multi(fuse_req_t req, size_t count,
                    struct fuse_forget_data *forgets)
{
    struct mlc_fs *fs = fs_of(req);

    for (size_t i = 0; i < count; i++)
        mlc_node_forget(fs, mlc_node_of(fs, forgets[i].ino),
                        forgets[i].nlookup);
    fuse_reply_none(req);
    mlc_table_trim(fs);
}

/* --- attributes --------------------------------------------------------------
 */

static struct mlc_handle *
handle_of(struct fuse_file_info *fi)
{
    return fi ? (struct mlc_handle *)(uintptr_t)fi->fh : NULL;
}

void
mlc_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fs_of(req);
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
        fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
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
    struct mlc_fs *fs = fs_of(req);
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
    struct mlc_fs *fs = fs_of(req);
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
    struct mlc_fs *fs = fs_of(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    const struct mlc_domain *d = n->domain;
    struct statvfs st;

    /* The file system that new files of this domain end on. */
    if (fstatvfs(d->bases[d->n_bases - 1].fd, &st) < 0)
        mlc_reply_err(fs, req, -errno);
    else
        fuse_reply_statfs(req, &st);
}

/* --- creating ------------------------------------------------------------ */

enum make_kind { MAKE_NODE, MAKE_DIR, MAKE_SYMLINK, MAKE_FILE };

struct make {
    enum make_kind kind;
    mode_t mode;
    dev_t rdev;
    const char *target; /* MAKE_SYMLINK */
    int flags;          /* MAKE_FILE: of open() */
    int fd;             /* MAKE_FILE: the open file; else -1 */
};

static int
make_at(const struct mlc_fs *fs, int dirfd, const char *name, struct make *m)
{
    switch (m->kind) {
    case MAKE_NODE:
        return mknodat(dirfd, name, m->mode, m->rdev) < 0 ? -errno : 0;
    case MAKE_DIR:
        return mkdirat(dirfd, name, m->mode) < 0 ? -errno : 0;
    case MAKE_SYMLINK:
        return symlinkat(m->target, dirfd, name) < 0 ? -errno : 0;
    case MAKE_FILE:
        /* O_APPEND stays with the kernel, which passes true offsets. */
        m->fd = openat(dirfd, name,
                       (m->flags & ~(O_APPEND | O_DIRECT)) | O_CREAT |
                           O_NOFOLLOW | O_CLOEXEC,
                       m->mode);
        return m->fd < 0 ? -errno : 0;
    }
    return -EIO;
}

/* The path of (dir, name), where something may be put, and which no rename
 * changes: fs.names is held for reading when this returns 0. */
static int
hold_new_path(struct mlc_fs *fs, struct mlc_node *dir, const char *name,
              mode_t mode, char **ret_path)
{
    for (;;) {
        mlc_autofree char *path = NULL, *again = NULL;
        int r = mlc_node_child_path(fs, dir, name, &path);

        if (r == 0)
            r = mlc_domain_may_create(dir->domain, path, mode);
        if (r < 0)
            return r == -ESTALE ? -ENOENT : r;
        pthread_rwlock_rdlock(&fs->names);
        r = mlc_node_child_path(fs, dir, name, &again);
        if (r == 0 && strcmp(path, again) == 0) {
            *ret_path = mlc_steal(&path);
            return 0;
        }
        pthread_rwlock_unlock(&fs->names);
        if (r < 0)
            return r == -ESTALE ? -ENOENT : r;
    }
}

/* Is the directory that was just made one that the backend has anyway? */
static bool
is_known_dir(struct mlc_domain *d, const char *path, const struct stat *st)
{
    struct mlc_ask ask = {.only_known = true};
    struct mlc_entry e = {0};
    bool is_dir =
        mlc_domain_lookup(d, path, st, &ask, &e) == 0 && e.kind == MLC_KIND_DIR;

    mlc_entry_done(&e);
    return is_dir;
}

/* Makes a local thing under (dir, name) and answers its entry.  m->fd is the
 * caller's to close, also after a failure. */
static int
make_local(struct mlc_fs *fs, const struct fuse_ctx *ctx, struct mlc_node *dir,
           const char *name, struct make *m, struct fuse_entry_param *ret)
{
    mlc_autofree char *path = NULL;
    mlc_autoclose int dirfd = -1;
    struct mlc_entry e = {.kind = MLC_KIND_LOCAL};
    struct mlc_node *special, *n;
    struct mlc_file_id id;
    bool existed = false;
    struct stat st;
    const char *base;
    int r;

    if (lookup_special(fs, dir, name, &special))
        return -EEXIST;
    if (dir->is_status_dir)
        return -EPERM;
    if (fs->is_read_only)
        return -EROFS;
    r = mlc_local_may_own(fs, ctx);
    if (r < 0)
        return r;

    r = hold_new_path(fs, dir, name, m->mode, &path);
    if (r < 0)
        return r;
    dirfd = mlc_local_parent(dir->domain, path, true, &base);
    r = dirfd < 0 ? dirfd : 0;
    if (r == 0 && m->kind == MAKE_FILE)
        existed = faccessat(dirfd, base, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (r == 0)
        r = make_at(fs, dirfd, base, m);
    if (r == 0 && !existed)
        r = mlc_local_adopt(fs, ctx, dirfd, base, m->mode);
    if (r == 0)
        r = mlc_local_stat(dir->domain, path, &st, &id);
    pthread_rwlock_unlock(&fs->names);
    if (r == 0 && m->kind == MAKE_DIR && is_known_dir(dir->domain, path, &st))
        e.kind = MLC_KIND_DIR;
    if (r == 0)
        r = mlc_node_resolve(fs, dir, name, &e, &st, &id, &n);
    if (r < 0)
        return r;
    mlc_unhide(fs, dir->domain, path);
    if (m->kind == MAKE_SYMLINK)
        mlc_domain_changed(dir->domain, path);
    /* A backend may see things otherwise once the file is written. */
    return reply_node(fs, n, m->kind == MAKE_DIR ? MLC_TTL_SHORT : 0, NULL,
                      ret);
}

static void
reply_make(fuse_req_t req, fuse_ino_t parent, const char *name, struct make *m)
{
    struct mlc_fs *fs = fs_of(req);
    struct fuse_entry_param e;
    int r =
        make_local(fs, fuse_req_ctx(req), mlc_node_of(fs, parent), name, m, &e);

    if (r < 0)
        mlc_reply_err(fs, req, r);
    else if (fuse_reply_entry(req, &e) == -ENOENT)
        mlc_node_put_lookup(fs, mlc_node_of(fs, e.ino));
}

void
mlc_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
             dev_t rdev)
{
    struct make m = {.kind = MAKE_NODE, .mode = mode, .rdev = rdev, .fd = -1};

    reply_make(req, parent, name, &m);
}

void
mlc_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct make m = {.kind = MAKE_DIR, .mode = S_IFDIR | mode, .fd = -1};

    reply_make(req, parent, name, &m);
}

void
mlc_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
               const char *name)
{
    struct make m = {.kind = MAKE_SYMLINK,
                     .mode = S_IFLNK | 0777,
                     .target = target,
                     .fd = -1};

    reply_make(req, parent, name, &m);
}

void
mlc_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
              struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fs_of(req);
    struct make m = {.kind = MAKE_FILE,
                     .mode = S_IFREG | mode,
                     .flags = fi->flags,
                     .fd = -1};
    struct mlc_handle *h = mlc_handle_new();
    struct fuse_entry_param e;
    int r = -ENOMEM;

    if (h) {
        r = make_local(fs, fuse_req_ctx(req), mlc_node_of(fs, parent), name, &m,
                       &e);
        h->fd = m.fd;
    }
    if (r < 0) {
        if (h)
            mlc_handle_free(fs, h);
        mlc_reply_err(fs, req, r);
        return;
    }
    h->is_writer = (fi->flags & O_ACCMODE) != O_RDONLY;
    atomic_init(&h->is_written, h->is_writer);
    mlc_node_add_handle(fs, mlc_node_of(fs, e.ino), h);
    fi->fh = (uintptr_t)h;
    if (fuse_reply_create(req, &e, fi) == -ENOENT) {
        mlc_handle_free(fs, h);
        mlc_node_put_lookup(fs, mlc_node_of(fs, e.ino));
    }
}

void
mlc_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
            const char *newname)
{
    struct mlc_fs *fs = fs_of(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    struct mlc_node *dir = mlc_node_of(fs, newparent), *special;
    mlc_autofree char *from = NULL, *to = NULL;
    mlc_autoclose int fromfd = -1, tofd = -1;
    const char *fromname, *toname;
    struct fuse_entry_param e;
    int r = 0;

    if (lookup_special(fs, dir, newname, &special))
        r = -EEXIST;
    else if (dir->is_status_dir)
        r = -EPERM;
    else if (n->type != MLC_NODE_LOCAL || n->is_cached ||
             n->domain != dir->domain)
        r = -EXDEV;
    else if (fs->is_read_only)
        r = -EROFS;
    if (r == 0)
        r = hold_new_path(fs, dir, newname, S_IFREG, &to);
    if (r == 0) {
        r = mlc_node_path(fs, n, &from);
        if (r == -ESTALE)
            r = -ENOENT;
        if (r == 0) {
            fromfd = mlc_local_parent(n->domain, from, false, &fromname);
            r = fromfd < 0 ? fromfd : 0;
        }
        if (r == 0) {
            tofd = mlc_local_parent(dir->domain, to, true, &toname);
            r = tofd < 0 ? tofd : 0;
        }
        if (r == 0 && linkat(fromfd, fromname, tofd, toname, 0) < 0)
            r = -errno;
        pthread_rwlock_unlock(&fs->names);
    }
    if (r == 0)
        r = mlc_node_add_link(fs, n, dir, newname);
    if (r == 0) {
        mlc_unhide(fs, dir->domain, to);
        mlc_domain_changed(dir->domain, to);
        count_lookup(fs, n);
        r = reply_node(fs, n, MLC_TTL_SHORT, NULL, &e);
    }
    if (r < 0)
        mlc_reply_err(fs, req, r);
    else if (fuse_reply_entry(req, &e) == -ENOENT)
        mlc_node_put_lookup(fs, n);
}

/* --- removing ------------------------------------------------------------ */

/* Does the backend know something under path besides what lies on disk? */
static bool
is_remote(struct mlc_domain *d, const char *path)
{
    struct mlc_ask ask = {.only_known = true};
    struct mlc_entry e = {0};
    int r;

    if (!d->backend->lookup)
        return false;
    r = mlc_domain_lookup(d, path, NULL, &ask, &e);
    mlc_entry_done(&e);
    return r == 0 || r == -EAGAIN;
}

void
mlc_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mlc_fs *fs = fs_of(req);
    struct mlc_node *dir = mlc_node_of(fs, parent), *special;
    mlc_autofree char *path = NULL, *dir_path = NULL;
    mlc_autoclose int dirfd = -1;
    const char *base;
    bool remote;
    int r = 0;

    if (lookup_special(fs, dir, name, &special) || dir->is_status_dir)
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
    remote = is_remote(dir->domain, path);
    if (remote)
        mlc_hide(fs, dir->domain, path);
    if (r == 0 && unlinkat(dirfd, base, 0) < 0)
        r = -errno;
    if (r == 0 || (r == -ENOENT && remote)) {
        mlc_node_detach(fs, dir, name);
        mlc_domain_removed(dir->domain, path);
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

    if (lookup_special(fs, dir, op->name, &special))
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
    remote = is_remote(dir->domain, path);
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
    struct mlc_op *op = mlc_op_new(fs_of(req), req, run_rmdir, parent, name);

    if (op)
        mlc_op_start(op);
}

/* --- renaming ------------------------------------------------------------ */

/* The destination as the backend sees it: may something be put there? */
static int
check_target(struct mlc_fs *fs, struct mlc_domain *d, const char *to,
             bool is_dir, unsigned flags)
{
    struct mlc_ask ask = {.only_known = true};
    struct mlc_entry e = {0};
    struct mlc_file_id id;
    struct stat st;
    int r;

    r = mlc_domain_may_create(d, to, is_dir ? S_IFDIR : S_IFREG);
    if (r < 0 || !d->backend->lookup)
        return r;
    if (mlc_local_stat(d, to, &st, &id) == 0)
        return 0; /* the system call will tell */
    r = mlc_domain_lookup(d, to, NULL, &ask, &e);
    if (r < 0) {
        mlc_entry_done(&e);
        return r == -ENOENT || r == -EAGAIN ? 0 : r;
    }
    r = 0;
    if (flags & RENAME_NOREPLACE)
        r = -EEXIST;
    else if (flags & RENAME_EXCHANGE)
        r = -EXDEV;
    else if (e.kind == MLC_KIND_DIR && !is_dir)
        r = -EISDIR;
    else if (e.kind == MLC_KIND_DIR)
        r = -ENOTEMPTY;
    else if (is_dir)
        r = -ENOTDIR;
    mlc_entry_done(&e);
    return r;
}

static int
rename_paths(struct mlc_fs *fs, struct mlc_node *olddir, const char *oldname,
             struct mlc_node *dir, const char *name, char **ret[2])
{
    int r = mlc_node_child_path(fs, olddir, oldname, ret[0]);

    if (r == 0)
        r = mlc_node_child_path(fs, dir, name, ret[1]);
    return r == -ESTALE ? -ENOENT : r;
}

static bool
are_still_paths(struct mlc_fs *fs, struct mlc_node *olddir, const char *oldname,
                const char *from, struct mlc_node *dir, const char *name,
                const char *to)
{
    mlc_autofree char *from_now = NULL, *to_now = NULL;
    char **now[2] = {&from_now, &to_now};

    return rename_paths(fs, olddir, oldname, dir, name, now) == 0 &&
           strcmp(from, from_now) == 0 && strcmp(to, to_now) == 0;
}

/* Under its new name a file may mean more to the backend, or less. */
static void
refresh_flags(struct mlc_fs *fs, struct mlc_node *n, const char *path,
              const struct stat *st)
{
    struct mlc_ask ask = {.only_known = true};
    struct mlc_entry e = {0};
    bool is_known = n->domain->backend->lookup &&
                    mlc_domain_lookup(n->domain, path, st, &ask, &e) == 0 &&
                    e.kind == MLC_KIND_LOCAL;

    n->is_cached = is_known && e.is_cached;
    n->is_whole = is_known && e.is_whole;
    mlc_entry_done(&e);
}

static int
do_rename(struct mlc_fs *fs, struct mlc_node *olddir, const char *oldname,
          struct mlc_node *dir, const char *name, unsigned flags)
{
    struct mlc_domain *d = dir->domain;
    mlc_autofree char *from = NULL, *to = NULL;
    mlc_autoclose int fromfd = -1, tofd = -1;
    const char *fromname, *toname;
    struct mlc_node *special, *n = NULL;
    struct mlc_file_id id;
    struct stat st;
    bool is_there, is_dir, remote;
    char **paths[2] = {&from, &to};
    int r;

    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    if (lookup_special(fs, olddir, oldname, &special) ||
        lookup_special(fs, dir, name, &special) || dir->is_status_dir ||
        olddir->is_status_dir)
        return -EBUSY;
    if (fs->is_read_only)
        return -EROFS;
    if (olddir->domain != d)
        return -EXDEV;
again:
    free(mlc_steal(&from));
    free(mlc_steal(&to));
    pthread_rwlock_rdlock(&fs->names);
    r = rename_paths(fs, olddir, oldname, dir, name, paths);
    is_there = r == 0;
    if (r == 0)
        r = mlc_local_stat(d, from, &st, &id);
    pthread_rwlock_unlock(&fs->names);
    if (!is_there)
        return r;
    if (r == -ENOENT)
        return is_remote(d, from) ? -EXDEV : -ENOENT;
    if (r < 0)
        return r;
    is_dir = S_ISDIR(st.st_mode);
    remote = is_remote(d, from);
    if (is_dir && remote)
        return -EXDEV;
    r = check_target(fs, d, to, is_dir, flags);
    if (r < 0)
        return r;

    pthread_rwlock_wrlock(&fs->names);
    if (!are_still_paths(fs, olddir, oldname, from, dir, name, to)) {
        pthread_rwlock_unlock(&fs->names);
        goto again;
    }
    fromfd = mlc_local_parent(d, from, false, &fromname);
    r = fromfd < 0 ? fromfd : 0;
    if (r == 0) {
        tofd = mlc_local_parent(d, to, true, &toname);
        r = tofd < 0 ? tofd : 0;
    }
    if (r == 0 && renameat2(fromfd, fromname, tofd, toname, flags) < 0)
        r = -errno;
    if (r == 0) {
        n = mlc_node_peek(fs, olddir, oldname);
        if (n && n->type == MLC_NODE_OBJECT)
            mlc_node_become_local(fs, n, &id, false);
        mlc_node_move(fs, olddir, oldname, dir, name, flags & RENAME_EXCHANGE);
    }
    pthread_rwlock_unlock(&fs->names);
    if (r == 0 && n && !is_dir)
        refresh_flags(fs, n, to, &st);
    mlc_node_unref(fs, n);
    if (r < 0)
        return r;
    mlc_unhide(fs, d, to);
    if (remote && !(flags & RENAME_EXCHANGE)) {
        mlc_domain_removed(d, from);
        mlc_hide(fs, d, from);
    }
    mlc_domain_changed(d, to);
    if (flags & RENAME_EXCHANGE)
        mlc_domain_changed(d, from);
    return 0;
}

void
mlc_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
              fuse_ino_t newparent, const char *newname, unsigned flags)
{
    struct mlc_fs *fs = fs_of(req);

    mlc_reply_err(fs, req,
                  do_rename(fs, mlc_node_of(fs, parent), name,
                            mlc_node_of(fs, newparent), newname, flags));
}
