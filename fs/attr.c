/* SPDX-License-Identifier: MIT */
/* What stat shows. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/util/cleanup.h"

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
    struct mlc_object *obj = NULL;
    uint64_t present = n->present;

    *ret_is_whole = false;
    pthread_mutex_lock(&fs->table.lock);
    for (struct mlc_handle *h = n->handles; h && !obj; h = h->next)
        if (h->obj)
            obj = mlc_object_ref(h->obj);
    pthread_mutex_unlock(&fs->table.lock);
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
    case MLC_NODE_STATUS:
        /* Its bytes are made when it is opened; read until the end. */
        synthesise(fs, n, S_IFREG | 0444, 0, 0, ret);
        *ret_timeout = 0;
        return 0;
    }
    return -EIO;
}
