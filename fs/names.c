/* SPDX-License-Identifier: MIT */
/* Operations on names: look-up and creating.  Removing is in remove.c, renaming
 * in rename.c. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

static struct mlc_fs *
fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* --- look-up ------------------------------------------------------------- */

bool
mlc_lookup_special(struct mlc_fs *fs, struct mlc_node *dir, const char *name,
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
    if (e->ttl_ms == MLC_TTL_NONE)
        return 0;
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
    case MLC_KIND_VIEW:
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

    if (mlc_lookup_special(fs, dir, name, &n)) {
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
            ret->entry_timeout = e.ttl_ms ? entry_timeout(&e) : 0;
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

bool
mlc_is_remote(struct mlc_domain *d, const char *path)
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

    if (mlc_lookup_special(fs, dir, name, &special))
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

/* Where the disk is full, what was fetched goes first. */
static int
make_in(struct mlc_fs *fs, const struct fuse_ctx *ctx, struct mlc_node *dir,
        const char *name, struct make *m, struct fuse_entry_param *ret)
{
    int r = make_local(fs, ctx, dir, name, m, ret);

    if (r == -ENOSPC &&
        mlc_evict_make_room(fs->cache->evictor, dir->domain->bases[0].fd, 0))
        r = make_local(fs, ctx, dir, name, m, ret);
    return r;
}

static void
reply_make(fuse_req_t req, fuse_ino_t parent, const char *name, struct make *m)
{
    struct mlc_fs *fs = fs_of(req);
    struct fuse_entry_param e;
    int r =
        make_in(fs, fuse_req_ctx(req), mlc_node_of(fs, parent), name, m, &e);

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
        r = make_in(fs, fuse_req_ctx(req), mlc_node_of(fs, parent), name, &m,
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

    if (mlc_lookup_special(fs, dir, newname, &special))
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
