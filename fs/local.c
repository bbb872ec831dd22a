/* SPDX-License-Identifier: MIT */
/* Files on disk, by their path in a domain.
 *
 * Every path is opened beneath the domain's base directory without following
 * a symlink: links are the kernel's business, in the mount's own name space.
 * Callers hold fs.names for reading from building a path to the last system
 * call that uses it.
 */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

/* A name just emptied by O_TRUNC, until its opener comes back for it. */
#define SUPERSEDED_MS 5000

struct mlc_truncated {
    struct mlc_truncated *next;
    const struct mlc_domain *domain;
    int64_t until_ms;
    char path[];
};

static void
id_from_statx(const struct stat *st, const struct statx *sx,
              struct mlc_file_id *ret)
{
    ret->dev = st->st_dev;
    ret->ino = st->st_ino;
    ret->birth_ns = 0;
    if (sx->stx_mask & STATX_BTIME)
        ret->birth_ns =
            sx->stx_btime.tv_sec * INT64_C(1000000000) + sx->stx_btime.tv_nsec;
}

void
mlc_stat_id(int fd, const struct stat *st, struct mlc_file_id *ret)
{
    struct statx sx = {0};

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &sx) < 0)
        sx.stx_mask = 0;
    id_from_statx(st, &sx, ret);
}

static bool
is_private(const struct mlc_domain *d, const char *path)
{
    const char *rel;

    mlc_domain_base(d, path, &rel);
    return mlc_path_is_under(rel, MLC_PRIVATE_DIR);
}

/* A backend's name may be longer than any on disk. */
static bool
has_long_name(const char *path)
{
    for (;;) {
        size_t len = strcspn(path, "/");

        if (len > NAME_MAX)
            return true;
        if (!path[len])
            return false;
        path += len + 1;
    }
}

int
mlc_local_parent(const struct mlc_domain *d, const char *path, bool make,
                 const char **ret_base)
{
    const struct mlc_base *base;
    const char *rel;
    int fd;

    if (is_private(d, path))
        return make ? -EPERM : -ENOENT;
    if (has_long_name(path))
        return -ENAMETOOLONG;
    base = mlc_domain_base(d, path, &rel);
    fd = mlc_open_parent(base->fd, rel, ret_base);
    if (fd == -ENOENT && make) {
        int r = mlc_mkdir_parents_at(base->fd, rel);

        if (r < 0)
            return r;
        fd = mlc_open_parent(base->fd, rel, ret_base);
    }
    return fd;
}

int
mlc_local_stat(const struct mlc_domain *d, const char *path, struct stat *ret,
               struct mlc_file_id *ret_id)
{
    mlc_autoclose int dirfd = -1;
    struct statx sx = {0};
    const char *name, *rel;
    const struct mlc_base *base = mlc_domain_base(d, path, &rel);

    if (!rel[0]) {
        *ret_id = (struct mlc_file_id){0}; /* of files alone */
        return fstat(base->fd, ret) < 0 ? -errno : 0;
    }
    dirfd = mlc_local_parent(d, path, false, &name);
    if (dirfd == -ELOOP || dirfd == -ENOTDIR || dirfd == -ENAMETOOLONG)
        return -ENOENT;
    if (dirfd < 0)
        return dirfd;
    if (fstatat(dirfd, name, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISDIR(ret->st_mode) &&
        statx(dirfd, name, AT_SYMLINK_NOFOLLOW, STATX_BTIME, &sx) < 0)
        sx.stx_mask = 0;
    id_from_statx(ret, &sx, ret_id);
    return 0;
}

int
mlc_local_open(const struct mlc_domain *d, const char *path, int flags,
               mode_t mode)
{
    const struct mlc_base *base;
    const char *rel;

    if (is_private(d, path) || has_long_name(path))
        return -ENOENT;
    base = mlc_domain_base(d, path, &rel);
    return mlc_open_beneath(base->fd, rel, flags | O_NOFOLLOW, mode);
}

int
mlc_local_opendir(const struct mlc_domain *d, const char *path)
{
    int fd = mlc_local_open(d, path, O_RDONLY | O_DIRECTORY, 0);

    return fd == -ENOTDIR || fd == -ELOOP ? -ENOENT : fd;
}

int
mlc_local_may_own(const struct mlc_fs *fs, const struct fuse_ctx *ctx)
{
    return ctx->uid == geteuid() || fs->is_root_user ? 0 : -EACCES;
}

int
mlc_local_adopt(const struct mlc_fs *fs, const struct fuse_ctx *ctx, int dirfd,
                const char *name, mode_t mode)
{
    gid_t gid = ctx->gid;
    struct stat dir;

    /* In a directory with that bit its group is inherited, and the bit. */
    if (fstat(dirfd, &dir) == 0 && (dir.st_mode & S_ISGID)) {
        gid = (gid_t)-1;
        if (S_ISDIR(mode))
            mode |= S_ISGID;
    }
    if (fs->is_root_user && (ctx->uid != 0 || ctx->gid != getegid()) &&
        fchownat(dirfd, name, ctx->uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    /* The kernel has applied the caller's umask; ours came on top. */
    if ((mode & 07777 & fs->process_umask) && !S_ISLNK(mode) &&
        fchmodat(dirfd, name, mode & 07777, 0) < 0)
        return -errno;
    return 0;
}

int
mlc_local_new_tmp(const struct mlc_fs *fs, const struct mlc_domain *d,
                  const struct fuse_ctx *ctx, mode_t mode,
                  char ret_name[MLC_TMP_NAME_LEN + 1])
{
    uint64_t random;
    int fd, r;

    if (d->privfd < 0)
        return -EROFS;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -errno;
    snprintf(ret_name, MLC_TMP_NAME_LEN + 1, MLC_TMP_PREFIX "%016" PRIx64,
             random);
    fd = openat(d->privfd, ret_name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
                mode);
    if (fd < 0)
        return -errno;
    r = mlc_local_adopt(fs, ctx, d->privfd, ret_name, mode);
    if (r == 0)
        return fd;
    close(fd);
    unlinkat(d->privfd, ret_name, 0);
    return r;
}

/* --- O_TRUNC on what is not local ------------------------------------------
 *
 * The node keeps its content for those who have it open, so the writer must
 * get another one: a new empty file takes the name, the open answers ESTALE,
 * and the kernel looks the name up afresh and opens what it finds.  That
 * look-up must find the new file even where a backend would rather not show
 * an empty one. */

int
mlc_local_supersede(struct mlc_fs *fs, struct mlc_node *n, const char *path,
                    const struct fuse_ctx *ctx)
{
    mlc_autoclose int dirfd = -1, fd = -1;
    struct mlc_truncated *t;
    const char *name;
    size_t len = strlen(path) + 1;
    char tmp[MLC_TMP_NAME_LEN + 1];
    struct stat old;
    mode_t mode = 0644;
    int r;

    r = mlc_local_may_own(fs, ctx);
    if (r < 0)
        return r;
    r = mlc_domain_may_create(n->domain, path, S_IFREG);
    if (r < 0)
        return r;
    t = malloc(sizeof(*t) + len);
    if (!t)
        return -ENOMEM;
    pthread_rwlock_rdlock(&fs->names);
    dirfd = mlc_local_parent(n->domain, path, true, &name);
    r = dirfd < 0 ? dirfd : 0;
    if (r == 0 && fstatat(dirfd, name, &old, AT_SYMLINK_NOFOLLOW) == 0)
        mode = old.st_mode & 0777;
    if (r == 0) {
        fd = mlc_local_new_tmp(fs, n->domain, ctx, mode, tmp);
        r = fd < 0 ? fd : 0;
    }
    if (r == 0 && renameat(n->domain->privfd, tmp, dirfd, name) < 0) {
        r = -errno;
        unlinkat(n->domain->privfd, tmp, 0);
    }
    pthread_rwlock_unlock(&fs->names);
    if (r < 0) {
        free(t);
        return r;
    }
    t->domain = n->domain;
    t->until_ms = mlc_mono_ms() + SUPERSEDED_MS;
    memcpy(t->path, path, len);
    mlc_unhide(fs, n->domain, path);
    pthread_mutex_lock(&fs->table.lock);
    t->next = fs->truncated;
    fs->truncated = t;
    pthread_mutex_unlock(&fs->table.lock);
    return 0;
}

void
mlc_local_done(struct mlc_fs *fs)
{
    while (fs->truncated) {
        struct mlc_truncated *t = fs->truncated;

        fs->truncated = t->next;
        free(t);
    }
}

bool
mlc_local_is_superseded(struct mlc_fs *fs, const struct mlc_domain *d,
                        const char *path, bool forget)
{
    bool is_found = false;
    int64_t now;

    MLC_LOCK_SCOPE(&fs->table.lock);
    if (!fs->truncated)
        return false;
    now = mlc_mono_ms();
    for (struct mlc_truncated **p = &fs->truncated; *p;) {
        struct mlc_truncated *t = *p;
        bool is_it = t->domain == d && strcmp(t->path, path) == 0;

        is_found |= is_it && t->until_ms > now;
        if ((is_it && forget) || t->until_ms <= now) {
            *p = t->next;
            free(t);
        } else {
            p = &t->next;
        }
    }
    return is_found;
}
