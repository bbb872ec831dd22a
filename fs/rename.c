/* SPDX-License-Identifier: MIT */
/* Rename, of what lies on disk: what does not is EXDEV, so that mv copies. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/util/cleanup.h"

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

struct renaming {
    struct mlc_fs *fs;
    struct mlc_domain *d;
    struct mlc_node *olddir, *dir;
    const char *oldname, *name;
    unsigned flags;
    char *from, *to; /* owned; paths, true while fs.names has been held since */
    struct stat st;  /* of what is moved */
    struct mlc_file_id id;
    bool is_remote;     /* the backend knows something under 'from', too */
    struct mlc_node *n; /* what was moved, a reference; NULL: not known */
};

static int
get_paths(const struct renaming *x, char **ret_from, char **ret_to)
{
    mlc_autofree char *from = NULL;
    int r = mlc_node_child_path(x->fs, x->olddir, x->oldname, &from);

    if (r == 0)
        r = mlc_node_child_path(x->fs, x->dir, x->name, ret_to);
    if (r == 0)
        *ret_from = mlc_steal(&from);
    return r == -ESTALE ? -ENOENT : r;
}

static void
drop_paths(struct renaming *x)
{
    free(mlc_steal(&x->from));
    free(mlc_steal(&x->to));
}

static bool
are_still_paths(const struct renaming *x)
{
    mlc_autofree char *from = NULL, *to = NULL;

    return get_paths(x, &from, &to) == 0 && strcmp(from, x->from) == 0 &&
           strcmp(to, x->to) == 0;
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

/* May it be done?  Asks the backend, so without locks. */
static int
check(struct renaming *x)
{
    bool is_dir;
    int r;

    drop_paths(x);
    pthread_rwlock_rdlock(&x->fs->names);
    r = get_paths(x, &x->from, &x->to);
    if (r == 0)
        r = mlc_local_stat(x->d, x->from, &x->st, &x->id);
    pthread_rwlock_unlock(&x->fs->names);
    if (!x->from || (r < 0 && r != -ENOENT))
        return r;
    x->is_remote = mlc_is_remote(x->d, x->from);
    if (r == -ENOENT)
        return x->is_remote ? -EXDEV : -ENOENT;
    is_dir = S_ISDIR(x->st.st_mode);
    if (is_dir && x->is_remote)
        return -EXDEV;
    return check_target(x->fs, x->d, x->to, is_dir, x->flags);
}

/* Does it, with fs.names held for writing. */
static int
move_locked(struct renaming *x)
{
    mlc_autoclose int fromfd = -1, tofd = -1;
    const char *fromname, *toname;

    fromfd = mlc_local_parent(x->d, x->from, false, &fromname);
    if (fromfd < 0)
        return fromfd;
    tofd = mlc_local_parent(x->d, x->to, true, &toname);
    if (tofd < 0)
        return tofd;
    if (renameat2(fromfd, fromname, tofd, toname, x->flags) < 0)
        return -errno;
    x->n = mlc_node_peek(x->fs, x->olddir, x->oldname);
    if (x->n && x->n->type == MLC_NODE_OBJECT)
        mlc_node_become_local(x->fs, x->n, &x->id, false);
    mlc_node_move(x->fs, x->olddir, x->oldname, x->dir, x->name,
                  x->flags & RENAME_EXCHANGE);
    return 0;
}

/* The names may have moved since they were checked. 1: they have. */
static int
move(struct renaming *x)
{
    int r = 1;

    pthread_rwlock_wrlock(&x->fs->names);
    if (are_still_paths(x))
        r = move_locked(x);
    pthread_rwlock_unlock(&x->fs->names);
    return r;
}

/* Tells what it means for listings and to the backend. */
static void
tell(const struct renaming *x)
{
    if (x->n && !S_ISDIR(x->st.st_mode))
        refresh_flags(x->fs, x->n, x->to, &x->st);
    mlc_unhide(x->fs, x->d, x->to);
    if (x->is_remote && !(x->flags & RENAME_EXCHANGE)) {
        mlc_domain_removed(x->d, x->from);
        mlc_hide(x->fs, x->d, x->from);
    }
    mlc_domain_changed(x->d, x->to);
    if (x->flags & RENAME_EXCHANGE)
        mlc_domain_changed(x->d, x->from);
}

static int
do_rename(struct renaming *x)
{
    struct mlc_node *special;
    int r;

    if (x->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    if (mlc_lookup_special(x->fs, x->olddir, x->oldname, &special) ||
        mlc_lookup_special(x->fs, x->dir, x->name, &special) ||
        x->dir->is_status_dir || x->olddir->is_status_dir)
        return -EBUSY;
    if (x->fs->is_read_only)
        return -EROFS;
    if (x->olddir->domain != x->d)
        return -EXDEV;
    do {
        r = check(x);
        if (r == 0)
            r = move(x);
    } while (r > 0);
    if (r == 0)
        tell(x);
    return r;
}

void
mlc_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
              fuse_ino_t newparent, const char *newname, unsigned flags)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct renaming x = {
        .fs = fs,
        .olddir = mlc_node_of(fs, parent),
        .dir = mlc_node_of(fs, newparent),
        .oldname = name,
        .name = newname,
        .flags = flags,
    };
    int r;

    x.d = x.dir->domain;
    r = do_rename(&x);
    drop_paths(&x);
    mlc_node_unref(fs, x.n);
    mlc_reply_err(fs, req, r);
}
