/* SPDX-License-Identifier: MIT */
/* Extended attributes: user.mlcachefs.* say what the cache knows of a file;
 * all others belong to the file on disk.  Ours are answered by name and not
 * listed, so that cp -a and rsync -X do not copy them. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/cache/pins.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

#define OUR_PREFIX "user.mlcachefs."
#define MIME_TYPE  "user.mime_type"

static const char *const our_names[] = {
    "state", "url",     "etag",   "present", "expires", "filename",
    "pin",   "refresh", "verify", "evict",   NULL};

/* Only these lie with the file on disk.  Programs ask for labels and ACLs of
 * every file that they list: no need to open it each time. */
static bool
is_on_disk(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0;
}

static bool
is_ours(const char *name)
{
    if (strncmp(name, OUR_PREFIX, strlen(OUR_PREFIX)) != 0)
        return false;
    for (size_t i = 0; our_names[i]; i++)
        if (strcmp(name + strlen(OUR_PREFIX), our_names[i]) == 0)
            return true;
    return false;
}

/* "/proc/self/fd/N" of the node's file on disk: the xattr calls have no *at
 * forms, and this one follows no link but the last. -errno when not on disk. */
static int
open_for_xattr(struct mlc_fs *fs, struct mlc_node *n, char *ret_proc,
               size_t size)
{
    mlc_autofree char *path = NULL;
    int fd, r;

    if (n->is_status_dir ||
        (n->type != MLC_NODE_LOCAL && n->type != MLC_NODE_DIR))
        return -ENODATA;
    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_path(fs, n, &path);
    fd = r < 0 ? r : mlc_local_open(n->domain, path, O_PATH, 0);
    pthread_rwlock_unlock(&fs->names);
    if (r == -ESTALE && n->type == MLC_NODE_LOCAL)
        fd = mlc_node_dup_fd(fs, n);
    if (r == -ESTALE && fd < 0)
        return -ENODATA;
    if (fd == -ENOENT)
        return -ENODATA;
    if (fd >= 0)
        snprintf(ret_proc, size, "/proc/self/fd/%d", fd);
    return fd;
}

/* --- what the cache knows ------------------------------------------------ */

static uint64_t
present_of(struct mlc_fs *fs, struct mlc_node *n, const char *path)
{
    struct mlc_object *obj = mlc_node_get_object(fs, n);
    struct mlc_ask ask = {.only_known = true};
    struct mlc_entry e = {0};
    uint64_t present = 0;

    if (obj) {
        present = mlc_object_present(obj);
        mlc_object_unref(obj);
    } else if (mlc_domain_lookup(n->domain, path, NULL, &ask, &e) == 0) {
        present = e.present;
    }
    mlc_entry_done(&e);
    return present;
}

static const char *
state_of(struct mlc_fs *fs, struct mlc_node *n, const char *path)
{
    const char *state = "local";

    switch ((enum mlc_node_type)n->type) {
    case MLC_NODE_LOCAL:
        state = n->is_cached ? "cached" : "local";
        break;
    case MLC_NODE_OBJECT: {
        uint64_t present = present_of(fs, n, path);

        state = present == 0        ? "remote"
                : present < n->size ? "partial"
                                    : "cached";
        break;
    }
    case MLC_NODE_PRIVATE:
        state = n->is_cached ? "cached" : "view";
        break;
    case MLC_NODE_VIEW:
    case MLC_NODE_SYMLINK:
    case MLC_NODE_INLINE:
    case MLC_NODE_STATUS:
        state = "view";
        break;
    case MLC_NODE_DIR: {
        struct mlc_file_id id;
        struct stat st;

        if (n->is_status_dir) {
            state = "view";
            break;
        }
        pthread_rwlock_rdlock(&fs->names);
        if (mlc_local_stat(n->domain, path, &st, &id) < 0)
            state = "remote";
        pthread_rwlock_unlock(&fs->names);
        break;
    }
    }
    return state;
}

static bool
is_evicted(struct mlc_fs *fs, struct mlc_node *n, const char *path)
{
    struct mlc_file_id id;
    struct stat st;
    int r;

    if (n->type != MLC_NODE_LOCAL || !n->is_cached)
        return false;
    pthread_rwlock_rdlock(&fs->names);
    r = mlc_local_stat(n->domain, path, &st, &id);
    pthread_rwlock_unlock(&fs->names);
    return r == -ENOENT;
}

/* Caller frees; NULL: no memory. */
static char *
path_in_mount(const struct mlc_node *n, const char *path)
{
    return mlc_path_join(n->domain->backend->name, path);
}

static bool
is_value(const char *value, size_t size, char wanted)
{
    return size == 1 && value[0] == wanted;
}

/* Pinned files and directories are not evicted; what is not of a domain never
 * is. */
static int
set_pin(struct mlc_fs *fs, struct mlc_node *n, const char *value, size_t size)
{
    mlc_autofree char *path = NULL, *full = NULL;
    int r;

    if (!is_value(value, size, '0') && !is_value(value, size, '1'))
        return -EINVAL;
    if (fs->is_read_only || !fs->cache->pins)
        return -EROFS;
    if (n->is_status_dir || n->type == MLC_NODE_STATUS ||
        !n->domain->backend->name[0])
        return -EOPNOTSUPP;
    r = mlc_node_path(fs, n, &path);
    if (r < 0)
        return r;
    full = path_in_mount(n, path);
    return full ? mlc_pins_set(fs->cache->pins, full, value[0] == '1')
                : -ENOMEM;
}

/* Removes the node's file, but no other that was put in its place.  Under
 * fs.names. */
static int
unlink_own(struct mlc_fs *fs, struct mlc_node *n, const char *path)
{
    mlc_autoclose int dirfd = -1;
    struct mlc_file_id id;
    const char *name;
    struct stat st;
    int r;

    r = mlc_local_stat(n->domain, path, &st, &id);
    if (r == 0 && !mlc_node_has_id(fs, n, &id))
        return -ESTALE;
    dirfd = r < 0 ? r : mlc_local_parent(n->domain, path, false, &name);
    if (dirfd < 0)
        return dirfd == -ENOENT ? 0 : dirfd;
    return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* What is here of a file that can be had again goes, as by rm, but its name
 * stays. */
static int
evict(struct mlc_fs *fs, struct mlc_node *n, const char *value, size_t size)
{
    mlc_autofree char *path = NULL;
    bool is_local = n->type == MLC_NODE_LOCAL;
    int r;

    if (is_value(value, size, '0'))
        return 0;
    if (!is_value(value, size, '1'))
        return -EINVAL;
    if (fs->is_read_only)
        return -EROFS;
    if (is_local && !n->is_cached)
        return -EPERM;
    if (!is_local && n->type != MLC_NODE_OBJECT && n->type != MLC_NODE_PRIVATE)
        return -EOPNOTSUPP;
    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_path(fs, n, &path);
    if (r == 0 && is_local)
        r = unlink_own(fs, n, path);
    pthread_rwlock_unlock(&fs->names);
    if (r < 0)
        return r;
    mlc_node_detach_all(fs, n);
    mlc_domain_removed(n->domain, path);
    mlc_evict_removed(fs->cache->evictor);
    return 0;
}

/* 0 for those that can't be set: what only the cache can say is no reason for a
 * copy to fail. */
static int
set_ours(struct mlc_fs *fs, struct mlc_node *n, const char *name,
         const char *value, size_t size)
{
    if (strcmp(name, "pin") == 0)
        return set_pin(fs, n, value, size);
    return strcmp(name, "evict") == 0 ? evict(fs, n, value, size) : 0;
}

/* The value of one of ours; caller frees.  -ENODATA: has none; -ESTALE. */
static int
our_value(struct mlc_fs *fs, struct mlc_node *n, const char *name,
          char **ret_value)
{
    mlc_autofree char *path = NULL;
    struct mlc_info info = {.expires_ms = -1};
    char buf[64] = "";
    const char *value = NULL;
    int r;

    r = mlc_node_path(fs, n, &path);
    if (r == 0 && is_evicted(fs, n, path))
        r = -ESTALE;
    if (r < 0) /* if stale, the kernel looks the name up again */
        return r;
    if (strcmp(name, "state") == 0) {
        value = state_of(fs, n, path);
    } else if (strcmp(name, "present") == 0) {
        struct stat st;
        double timeout;
        uint64_t present = 0;

        if (n->type == MLC_NODE_OBJECT)
            present = present_of(fs, n, path);
        else if (n->type != MLC_NODE_DIR && n->type != MLC_NODE_VIEW &&
                 mlc_attr_get(fs, n, NULL, &st, &timeout) == 0)
            present = (uint64_t)st.st_size;
        snprintf(buf, sizeof(buf), "%llu", (unsigned long long)present);
        value = buf;
    } else if (strcmp(name, "pin") == 0) {
        mlc_autofree char *full = path_in_mount(n, path);

        value = full && mlc_pins_has(fs->cache->pins, full) ? "1" : "0";
    } else if (!n->is_status_dir) {
        r = mlc_domain_describe(n->domain, path, &info);
        if (r == 0 && strcmp(name, "url") == 0)
            value = info.url;
        else if (r == 0 && strcmp(name, "etag") == 0)
            value = info.etag;
        else if (r == 0 && strcmp(name, "filename") == 0)
            value = info.filename;
        else if (r == 0 && strcmp(name, "mime_type") == 0)
            value = info.mime_type;
        else if (r == 0 && strcmp(name, "expires") == 0 &&
                 info.expires_ms >= 0) {
            snprintf(buf, sizeof(buf), "%lld",
                     (long long)(info.expires_ms / 1000));
            value = buf;
        }
    }
    *ret_value = value ? strdup(value) : NULL;
    mlc_info_done(&info);
    if (!value)
        return -ENODATA;
    return *ret_value ? 0 : -ENOMEM;
}

static void
reply_value(struct mlc_fs *fs, fuse_req_t req, const char *value, size_t len,
            size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, len);
    else if (len > size)
        mlc_reply_err(fs, req, -ERANGE);
    else
        fuse_reply_buf(req, value, len);
}

/* --- operations ---------------------------------------------------------- */

void
mlc_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    mlc_autofree char *value = NULL;
    mlc_autoclose int fd = -1;
    char proc[64];
    ssize_t len;
    int r;

    if (is_ours(name)) {
        r = our_value(fs, n, name + strlen(OUR_PREFIX), &value);
        if (r < 0)
            mlc_reply_err(fs, req, r);
        else
            reply_value(fs, req, value, strlen(value), size);
        return;
    }
    if (!is_on_disk(name)) {
        mlc_reply_err(fs, req, -EOPNOTSUPP);
        return;
    }
    fd = open_for_xattr(fs, n, proc, sizeof(proc));
    if (fd < 0) {
        r = fd;
        if (strcmp(name, MIME_TYPE) == 0 && r == -ENODATA)
            r = our_value(fs, n, "mime_type", &value);
        if (value)
            reply_value(fs, req, value, strlen(value), size);
        else
            mlc_reply_err(fs, req, r);
        return;
    }
    value = size ? malloc(size) : NULL;
    if (size && !value) {
        mlc_reply_err(fs, req, -ENOMEM);
        return;
    }
    len = getxattr(proc, name, value, size);
    if (len < 0)
        mlc_reply_err(fs, req, -errno);
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)len);
    else
        fuse_reply_buf(req, value, (size_t)len);
}

void
mlc_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                const char *value, size_t size, int flags)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    mlc_autoclose int fd = -1;
    char proc[64];

    if (is_ours(name)) {
        mlc_reply_err(fs, req,
                      set_ours(fs, n, name + strlen(OUR_PREFIX), value, size));
        return;
    }
    if (fs->is_read_only || !is_on_disk(name)) {
        mlc_reply_err(fs, req, fs->is_read_only ? -EROFS : -EOPNOTSUPP);
        return;
    }
    fd = open_for_xattr(fs, n, proc, sizeof(proc));
    if (fd < 0)
        mlc_reply_err(fs, req, fd == -ENODATA ? -EOPNOTSUPP : fd);
    else
        mlc_reply_err(
            fs, req, setxattr(proc, name, value, size, flags) < 0 ? -errno : 0);
}

void
mlc_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    mlc_autofree char *list = size ? malloc(size) : NULL;
    mlc_autoclose int fd = -1;
    char proc[64];
    ssize_t len = 0;

    if (size && !list) {
        mlc_reply_err(fs, req, -ENOMEM);
        return;
    }
    fd = open_for_xattr(fs, mlc_node_of(fs, ino), proc, sizeof(proc));
    if (fd < 0 && fd != -ENODATA) {
        mlc_reply_err(fs, req, fd);
        return;
    }
    if (fd >= 0)
        len = listxattr(proc, list, size);
    if (len < 0)
        mlc_reply_err(fs, req, -errno);
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)len);
    else
        fuse_reply_buf(req, list, (size_t)len);
}

void
mlc_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    mlc_autoclose int fd = -1;
    char proc[64];

    if (is_ours(name)) {
        mlc_reply_err(fs, req, 0);
        return;
    }
    if (fs->is_read_only || !is_on_disk(name)) {
        mlc_reply_err(fs, req, fs->is_read_only ? -EROFS : -EOPNOTSUPP);
        return;
    }
    fd = open_for_xattr(fs, mlc_node_of(fs, ino), proc, sizeof(proc));
    if (fd < 0)
        mlc_reply_err(fs, req, fd);
    else
        mlc_reply_err(fs, req, removexattr(proc, name) < 0 ? -errno : 0);
}
