/* SPDX-License-Identifier: MIT */
/* Rename, of what lies on disk: what does not is EXDEV, so that mv copies. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <stdio.h>
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
    if (mlc_lookup_special(fs, olddir, oldname, &special) ||
        mlc_lookup_special(fs, dir, name, &special) || dir->is_status_dir ||
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
        return mlc_is_remote(d, from) ? -EXDEV : -ENOENT;
    if (r < 0)
        return r;
    is_dir = S_ISDIR(st.st_mode);
    remote = mlc_is_remote(d, from);
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
    struct mlc_fs *fs = fuse_req_userdata(req);

    mlc_reply_err(fs, req,
                  do_rename(fs, mlc_node_of(fs, parent), name,
                            mlc_node_of(fs, newparent), newname, flags));
}
