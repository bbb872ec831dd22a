/* SPDX-License-Identifier: MIT */
/* Operations on open files.
 *
 * A handle has the descriptor of a local file, or a reference to an object
 * whose bytes may still be arriving, or to a view that puts them together, or
 * (virtual files) the bytes themselves.
 */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/cache/view.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

/* After an object's own deadline has passed, which knows a better errno. */
#define READ_GRACE_MS 1000

static struct mlc_handle *
handle_of(const struct fuse_file_info *fi)
{
    return (struct mlc_handle *)(uintptr_t)fi->fh;
}

struct mlc_handle *
mlc_handle_new(void)
{
    struct mlc_handle *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    pthread_mutex_init(&h->lock, NULL);
    h->fd = -1;
    return h;
}

void
mlc_handle_free(struct mlc_fs *fs, struct mlc_handle *h)
{
    if (h->tmp[0] && h->node)
        unlinkat(h->node->domain->privfd, h->tmp, 0);
    if (h->obj && h->node)
        h->node->present = mlc_object_present(h->obj);
    if (h->node)
        mlc_node_remove_handle(fs, h->node, h);
    /* A close comes after the replies to what was read, by way of the kernel:
     * said here for those who don't see that way (ThreadSanitizer). */
    (void)atomic_load_explicit(&h->n_done, memory_order_acquire);
    if (h->fd >= 0)
        close(h->fd);
    if (h->obj) {
        mlc_object_close(h->obj);
        mlc_object_unref(h->obj);
    }
    if (h->view) {
        mlc_view_stop(h->view);
        mlc_view_unref(h->view);
    }
    mlc_listing_free(h->listing);
    mlc_node_unref(fs, h->dir);
    free(h->name);
    free(h->text);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* --- open ---------------------------------------------------------------- */

/* Has the file changed since it was last opened?  If not, the kernel may keep
 * what it has cached of it. */
static bool
is_unchanged(struct mlc_fs *fs, struct mlc_node *n, int fd)
{
    struct stat st;
    bool same;

    if (fstat(fd, &st) < 0)
        return false;
    MLC_LOCK_SCOPE(&fs->table.lock);
    /* What was read of an object before it came home is the same content. */
    same =
        n->open_size < 0
            ? n->is_cached
            : n->open_size == st.st_size &&
                  memcmp(&n->open_mtime, &st.st_mtim, sizeof(st.st_mtim)) ==
                      0 &&
                  memcmp(&n->open_ctime, &st.st_ctim, sizeof(st.st_ctim)) == 0;
    n->open_size = st.st_size;
    n->open_mtime = st.st_mtim;
    n->open_ctime = st.st_ctim;
    return same;
}

/* So that what was opened last is evicted last.  is_added: it is the origin's,
 * also where that was not noted when it came. */
static void
note_open(const struct mlc_node *n, int fd, bool is_added)
{
    struct stat st;

    if (!n->domain->store || fstat(fd, &st) < 0)
        return;
    if (is_added)
        mlc_ledger_add(mlc_store_ledger(n->domain->store), &st);
    else
        mlc_ledger_opened(mlc_store_ledger(n->domain->store), &st);
}

static int
open_local(struct mlc_fs *fs, struct mlc_node *n, const char *path,
           struct mlc_op *op, struct mlc_handle *h)
{
    /* A pipe put there behind our back would be waited for. */
    int flags =
        (op->fi.flags & ~(O_APPEND | O_DIRECT | O_CREAT | O_EXCL)) | O_NONBLOCK;
    struct mlc_file_id id;
    struct stat st;

    pthread_rwlock_rdlock(&fs->names);
    h->fd = mlc_local_open(n->domain, path, flags, 0);
    pthread_rwlock_unlock(&fs->names);
    /* The name may be gone, or lead elsewhere by now, changed behind our back:
     * the kernel looks it up again. */
    if (h->fd == -ENOENT || h->fd == -ENXIO)
        return -ESTALE;
    if (h->fd < 0)
        return h->fd;
    if (fstat(h->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ESTALE;
    mlc_stat_id(h->fd, &st, &id);
    if (n->is_whole)
        mlc_node_become_local(fs, n, &id, false);
    else if (!mlc_node_has_id(fs, n, &id))
        return -ESTALE;
    op->fi.direct_io = n->is_whole;
    op->fi.keep_cache = !n->is_whole && is_unchanged(fs, n, h->fd);
    if (n->is_cached)
        note_open(n, h->fd, false);
    mlc_local_is_superseded(fs, n->domain, path, true);
    return 0;
}

static int
open_private(struct mlc_node *n, const char *text, bool is_cached,
             struct mlc_op *op, struct mlc_handle *h)
{
    h->fd = mlc_open_beneath(n->domain->privfd, text, O_RDONLY, 0);
    op->fi.keep_cache = 1;
    /* Replaced by other content since: the kernel looks it up again. */
    if (h->fd < 0)
        return h->fd == -ENOENT ? -ESTALE : h->fd;
    if (is_cached)
        note_open(n, h->fd, true);
    return 0;
}

/* Without a name, but still open somewhere: /proc/PID/fd leads here. */
static int
open_nameless(struct mlc_fs *fs, struct mlc_node *n, struct mlc_op *op,
              struct mlc_handle *h)
{
    int flags =
        op->fi.flags & ~(O_APPEND | O_DIRECT | O_CREAT | O_EXCL | O_NOFOLLOW);
    mlc_autoclose int fd = -1;
    char proc[64];

    if (n->type != MLC_NODE_LOCAL || n->is_cached)
        return -ESTALE;
    fd = mlc_node_dup_fd(fs, n);
    if (fd < 0)
        return -ESTALE;
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    h->fd = open(proc, flags | O_CLOEXEC);
    h->is_writer = (flags & O_ACCMODE) != O_RDONLY;
    return h->fd < 0 ? -errno : 0;
}

/* Its old bytes stay what everybody else sees until the new ones are there. */
static int
open_whole(struct mlc_fs *fs, struct mlc_node *n, const char *path,
           struct mlc_op *op, struct mlc_handle *h)
{
    struct stat st = {0};
    double timeout;
    int r;

    r = mlc_local_may_own(fs, &op->ctx);
    if (r == 0)
        r = mlc_domain_may_create(n->domain, path, S_IFREG);
    if (r == 0)
        r = mlc_attr_get(fs, n, NULL, &st, &timeout);
    if (r == 0)
        r = mlc_node_get_name(fs, n, &h->dir, &h->name);
    if (r < 0)
        return r;
    h->fd =
        mlc_local_new_tmp(fs, n->domain, &op->ctx, st.st_mode & 0777, h->tmp);
    if (h->fd < 0) {
        h->tmp[0] = '\0';
        return h->fd;
    }
    atomic_store(&h->is_apart, true);
    h->is_writer = true;
    op->fi.direct_io = 1;
    return 0;
}

/* Its finished file may lie at home already, put there since the node was made:
 * then the node is that local file from here on. */
static bool
is_at_home(struct mlc_fs *fs, struct mlc_node *n, const char *path)
{
    struct mlc_ask ask = {.only_known = true};
    struct mlc_entry e = {0};
    struct mlc_file_id id;
    bool is_home = false;
    struct stat st;
    int r;

    pthread_rwlock_rdlock(&fs->names);
    r = mlc_local_stat(n->domain, path, &st, &id);
    pthread_rwlock_unlock(&fs->names);
    if (r < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != n->size)
        return false;
    r = mlc_domain_lookup(n->domain, path, &st, &ask, &e);
    if (r == 0 && e.kind == MLC_KIND_LOCAL && e.is_cached) {
        mlc_node_become_local(fs, n, &id, true);
        is_home = true;
    }
    mlc_entry_done(&e);
    return is_home;
}

/* The object came home since it was looked up, to a private file. */
static int
open_private_home(struct mlc_node *n, const char *path, struct mlc_op *op,
                  struct mlc_ask *ask, struct mlc_handle *h)
{
    struct mlc_entry e = {0};
    int r = mlc_domain_lookup(n->domain, path, NULL, ask, &e);

    if (r == 0 && e.kind == MLC_KIND_PRIVATE && n->content != 0 &&
        e.content == n->content)
        r = open_private(n, e.text, e.is_cached, op, h);
    else if (r != -EAGAIN)
        r = -ESTALE;
    mlc_entry_done(&e);
    return r;
}

static int
open_object(struct mlc_fs *fs, struct mlc_node *n, const char *path,
            struct mlc_op *op, struct mlc_ask *ask, struct mlc_handle *h)
{
    enum mlc_object_state state;
    uint64_t content;
    int r;

    if (is_at_home(fs, n, path))
        return open_local(fs, n, path, op, h);
    r = mlc_domain_locate(n->domain, path, ask, &h->obj);
    if (r == -ESTALE)
        return open_private_home(n, path, op, ask, h);
    if (r < 0)
        return r;
    state = mlc_object_get_state(h->obj);
    content = mlc_object_content(h->obj);
    if (state == MLC_OBJECT_DEAD || mlc_object_size(h->obj) != n->size ||
        (content && content != n->content)) {
        mlc_object_unref(h->obj);
        h->obj = NULL;
        mlc_node_detach_all(fs, n);
        return -ESTALE;
    }
    mlc_object_open(h->obj);
    if (state == MLC_OBJECT_WHOLE && mlc_object_fd(h->obj) >= 0)
        note_open(n, mlc_object_fd(h->obj), false);
    op->fi.keep_cache = state == MLC_OBJECT_WHOLE;
    return 0;
}

static int
open_view(struct mlc_fs *fs, struct mlc_node *n, const char *path,
          struct mlc_op *op, struct mlc_ask *ask, struct mlc_handle *h)
{
    int r = mlc_domain_view(n->domain, path, ask, &h->view);
    bool is_whole;

    if (r < 0)
        return r;
    if (mlc_view_content(h->view) != n->content ||
        mlc_view_size(h->view) != n->size) {
        mlc_view_unref(h->view);
        h->view = NULL;
        mlc_node_detach_all(fs, n);
        return -ESTALE;
    }
    /* Not what was read before its sources were verified. */
    is_whole = mlc_view_is_whole(h->view);
    op->fi.keep_cache = atomic_exchange(&n->is_settled, is_whole) && is_whole;
    return 0;
}

static int
open_node(struct mlc_fs *fs, struct mlc_node *n, struct mlc_op *op,
          struct mlc_ask *ask, struct mlc_handle *h)
{
    bool is_write = (op->fi.flags & O_ACCMODE) != O_RDONLY;
    bool is_trunc = op->fi.flags & O_TRUNC;
    mlc_autofree char *path = NULL;
    int r;

    if (n->type == MLC_NODE_STATUS) {
        op->fi.direct_io = 1;
        return is_write || is_trunc
                   ? -EACCES
                   : mlc_status_render(fs, n->text, &h->text, &h->text_len);
    }
    if ((is_write || is_trunc) && fs->is_read_only)
        return -EROFS;
    r = mlc_node_path(fs, n, &path);
    if (r == -ESTALE)
        return open_nameless(fs, n, op, h);
    if (r < 0)
        return r;
    if (is_trunc && n->is_whole)
        return open_whole(fs, n, path, op, h);
    if ((is_write || is_trunc) && (n->type != MLC_NODE_LOCAL || n->is_cached)) {
        if (!is_trunc)
            return op->ctx.uid == 0 ? -EPERM : -EACCES;
        r = mlc_local_supersede(fs, n, path, &op->ctx);
        if (r == 0)
            mlc_node_detach_all(fs, n);
        return r < 0 ? r : -ESTALE;
    }
    h->is_writer = is_write;
    atomic_store(&h->is_written, is_trunc);
    switch ((enum mlc_node_type)n->type) {
    case MLC_NODE_LOCAL:
        return open_local(fs, n, path, op, h);
    case MLC_NODE_PRIVATE:
        return open_private(n, n->text, n->is_cached, op, h);
    case MLC_NODE_OBJECT:
        return open_object(fs, n, path, op, ask, h);
    case MLC_NODE_VIEW:
        return open_view(fs, n, path, op, ask, h);
    case MLC_NODE_INLINE:
        op->fi.direct_io = n->is_whole;
        return 0;
    case MLC_NODE_DIR:
    case MLC_NODE_SYMLINK:
    case MLC_NODE_STATUS:
        break;
    }
    return -EIO;
}

static int
run_open(struct mlc_op *op, struct mlc_ask *ask)
{
    struct mlc_handle *h = mlc_handle_new();
    int r;

    if (!h)
        return -ENOMEM;
    r = open_node(op->fs, op->node, op, ask, h);
    if (r < 0) {
        mlc_handle_free(op->fs, h);
        return r;
    }
    mlc_node_add_handle(op->fs, op->node, h);
    op->fi.fh = (uintptr_t)h;
    if (fuse_reply_open(op->req, &op->fi) == -ENOENT)
        mlc_handle_free(op->fs, h);
    return 0;
}

void
mlc_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_op *op = mlc_op_new(fs, req, run_open, ino, NULL);

    if (!op)
        return;
    op->fi = *fi;
    mlc_op_start(op);
}

/* --- read ---------------------------------------------------------------- */

/* Below this a copy costs less than setting up a pipe would, and less than
 * the buffer that libfuse allocates for such a reply. */
#define SMALL_READ ((size_t)16 * 1024)

static void
reply_small(struct mlc_fs *fs, fuse_req_t req, struct mlc_handle *h, int fd,
            size_t size, off_t off)
{
    char data[SMALL_READ];
    ssize_t n = pread(fd, data, size, off);
    int r = n < 0 ? -errno : 0;

    atomic_fetch_add_explicit(&h->n_done, 1, memory_order_release);
    if (r < 0)
        mlc_reply_err(fs, req, r);
    else
        fuse_reply_buf(req, data, (size_t)n);
}

static void
reply_fd(struct mlc_fs *fs, fuse_req_t req, struct mlc_handle *h, int fd,
         size_t size, off_t off)
{
    struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);

    if (size <= SMALL_READ) {
        reply_small(fs, req, h, fd, size, off);
        return;
    }
    buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    buf.buf[0].fd = fd;
    buf.buf[0].pos = off;
    atomic_fetch_add_explicit(&h->n_done, 1, memory_order_release);
    fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

/* From a copy: the handle that owns the text may be closed, on another thread,
 * as soon as the reply is out. */
static void
reply_text(struct mlc_fs *fs, fuse_req_t req, const char *text, size_t len,
           size_t size, uint64_t off)
{
    mlc_autofree char *copy = NULL;

    if (off >= len) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    if (size > len - off)
        size = len - off;
    copy = malloc(size);
    if (!copy) {
        mlc_reply_err(fs, req, -ENOMEM);
        return;
    }
    memcpy(copy, text + off, size);
    fuse_reply_buf(req, copy, size);
}

/* The part of the request that lies within the object; 0: nothing does. */
static size_t
cut(const struct mlc_object *obj, uint64_t off, size_t size)
{
    uint64_t total = mlc_object_size(obj);

    if (off >= total)
        return 0;
    return total - off < size ? (size_t)(total - off) : size;
}

static int
run_read(struct mlc_op *op, struct mlc_ask *ask)
{
    struct mlc_object *obj = op->handle->obj;
    size_t len = cut(obj, op->off, op->size);
    int r = len ? mlc_object_want(obj, op->off, len, ask) : 0;

    if (r == 0 && len)
        r = mlc_object_check_file(obj);
    if (r == -EIO && mlc_object_get_state(obj) == MLC_OBJECT_DEAD)
        mlc_node_detach_all(op->fs, op->node);
    if (r < 0)
        return r;
    if (len == 0)
        fuse_reply_buf(op->req, NULL, 0);
    else
        reply_fd(op->fs, op->req, op->handle, mlc_object_fd(obj), len,
                 (off_t)op->off);
    return 0;
}

static void *
take_scratch(struct mlc_fs *fs, size_t size)
{
    if (size <= fs->max_read) {
        MLC_LOCK_SCOPE(&fs->scratch.lock);
        if (fs->scratch.n > 0)
            return fs->scratch.free[--fs->scratch.n];
        size = fs->max_read;
    }
    return malloc(size);
}

static void
give_scratch(struct mlc_fs *fs, void *buffer, size_t size)
{
    if (buffer && size <= fs->max_read) {
        MLC_LOCK_SCOPE(&fs->scratch.lock);
        if (fs->scratch.n < MLC_MAX_SCRATCH) {
            fs->scratch.free[fs->scratch.n++] = buffer;
            return;
        }
    }
    free(buffer);
}

void
mlc_scratch_done(struct mlc_fs *fs)
{
    while (fs->scratch.n > 0)
        free(fs->scratch.free[--fs->scratch.n]);
    pthread_mutex_destroy(&fs->scratch.lock);
}

static int
run_read_view(struct mlc_op *op, struct mlc_ask *ask)
{
    void *buffer = take_scratch(op->fs, op->size);
    struct mlc_handle *h = op->handle;
    struct mlc_view_bytes bytes;
    int r;

    r = buffer ? mlc_view_read(h->view, op->off, op->size, ask, buffer, &bytes)
               : -ENOMEM;
    if (r == 0 && bytes.fd >= 0) {
        reply_fd(op->fs, op->req, h, bytes.fd, bytes.len, (off_t)bytes.pos);
    } else if (r == 0) {
        atomic_fetch_add_explicit(&h->n_done, 1, memory_order_release);
        fuse_reply_buf(op->req, buffer, bytes.len);
    }
    give_scratch(op->fs, buffer, op->size);
    return r;
}

/* The wait ends 'timeout=' after the last byte that came for this file. */
static int64_t
read_deadline(struct mlc_op *op)
{
    const struct mlc_handle *h = op->handle;
    int64_t progress =
        h->obj ? mlc_object_progress_ms(h->obj) : mlc_view_progress_ms(h->view);
    int64_t from = progress > op->start_ms ? progress : op->start_ms;

    return from + op->fs->cache->fetch.timeout_ms + READ_GRACE_MS;
}

void
mlc_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
            struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = handle_of(fi);
    struct mlc_node *n = mlc_node_of(fs, ino);
    struct mlc_op *op;

    atomic_fetch_add(&fs->n_reads, 1);
    atomic_fetch_add(&fs->n_read_bytes, size);
    if (h->fd >= 0) {
        reply_fd(fs, req, h, h->fd, size, off);
        return;
    }
    if (!h->obj && !h->view) {
        if (h->text)
            reply_text(fs, req, h->text, h->text_len, size, (uint64_t)off);
        else
            reply_text(fs, req, n->text ? n->text : "", n->size, size,
                       (uint64_t)off);
        return;
    }
    op = mlc_op_new(fs, req, h->obj ? run_read : run_read_view, ino, NULL);
    if (!op)
        return;
    op->handle = h;
    op->is_read = true;
    op->off = (uint64_t)off;
    op->size = size;
    op->deadline = read_deadline;
    mlc_op_start(op);
}

/* --- write --------------------------------------------------------------- */

void
mlc_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *buf,
                 off_t off, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = handle_of(fi);
    struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(buf));
    ssize_t n;

    if (h->fd < 0) {
        mlc_reply_err(fs, req, -EBADF);
        return;
    }
    out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    out.buf[0].fd = h->fd;
    out.buf[0].pos = off;
    n = fuse_buf_copy(&out, buf, 0);
    if (n == -ENOSPC &&
        mlc_evict_make_room(fs->cache->evictor, h->fd, fuse_buf_size(buf)))
        n = fuse_buf_copy(&out, buf, 0);
    if (n < 0) {
        mlc_reply_err(fs, req, (int)n);
        return;
    }
    atomic_store(&h->is_written, true);
    fuse_reply_write(req, (size_t)n);
}

/* The file gets the name that it was written for.  1: it did, *ret_path is the
 * caller's to free; 0: not needed; -errno. */
static int
take_name_locked(struct mlc_fs *fs, struct mlc_node *n, struct mlc_handle *h,
                 char **ret_path)
{
    mlc_autofree char *path = NULL;
    mlc_autoclose int dirfd = -1;
    struct mlc_file_id id;
    const char *name;
    struct stat st;
    int r;

    if (!h->tmp[0] || !atomic_load(&h->is_written))
        return 0;
    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_child_path(fs, h->dir, h->name, &path);
    if (r == 0)
        dirfd = mlc_local_parent(n->domain, path, true, &name);
    if (r == 0 && dirfd < 0)
        r = dirfd;
    if (r == 0 && fstat(h->fd, &st) < 0)
        r = -errno;
    if (r == 0 && renameat(n->domain->privfd, h->tmp, dirfd, name) < 0)
        r = -errno;
    pthread_rwlock_unlock(&fs->names);
    if (r < 0)
        return r == -ESTALE ? 0 : r; /* the directory is gone */
    h->tmp[0] = '\0';
    atomic_store(&h->is_apart, false);
    mlc_stat_id(h->fd, &st, &id);
    mlc_node_become_local(fs, n, &id, false);
    *ret_path = mlc_steal(&path);
    return 1;
}

/* A whole file that was written takes its name. */
static int
publish(struct mlc_fs *fs, struct mlc_node *n, struct mlc_handle *h)
{
    mlc_autofree char *path = NULL;
    struct mlc_node *other;
    int r;

    /* Over the rename: whose close comes second finds the file in its place. */
    pthread_mutex_lock(&h->lock);
    r = take_name_locked(fs, n, h, &path);
    pthread_mutex_unlock(&h->lock);
    if (r <= 0)
        return r;
    mlc_unhide(fs, n->domain, path);
    mlc_domain_changed(n->domain, path);
    /* Who looked the name up a moment ago may have got what it was before. */
    other = mlc_node_peek(fs, h->dir, h->name);
    if (other && other != n)
        mlc_node_detach(fs, h->dir, h->name);
    mlc_node_unref(fs, other);
    return 0;
}

/* Tells the backend that a file which it may know is complete now. */
static void
tell_written(struct mlc_fs *fs, struct mlc_node *n, struct mlc_handle *h)
{
    mlc_autofree char *path = NULL;

    if (!h->is_writer || !atomic_exchange(&h->is_written, false))
        return;
    if (mlc_node_path(fs, n, &path) == 0)
        mlc_domain_changed(n->domain, path);
}

void
mlc_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = handle_of(fi);
    int fd = h->fd >= 0 && h->is_writer ? fcntl(h->fd, F_DUPFD_CLOEXEC, 0) : -1;
    int r = publish(fs, mlc_node_of(fs, ino), h);

    tell_written(fs, mlc_node_of(fs, ino), h);
    /* Errors of the file system below that show at close (NFS, quotas). */
    if (fd >= 0 && close(fd) < 0 && r == 0)
        r = -errno;
    mlc_reply_err(fs, req, r);
}

void
mlc_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = handle_of(fi);

    publish(fs, mlc_node_of(fs, ino), h);
    tell_written(fs, mlc_node_of(fs, ino), h);
    mlc_handle_free(fs, h);
    fuse_reply_err(req, 0);
}

void
mlc_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
             struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = handle_of(fi);
    int r = 0;

    if (h->fd >= 0 && (datasync ? fdatasync(h->fd) : fsync(h->fd)) < 0)
        r = -errno;
    mlc_reply_err(fs, req, r);
}

void
mlc_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                 struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = handle_of(fi);
    int r = -EBADF;

    if (h->fd >= 0 && h->is_writer) {
        r = fallocate(h->fd, mode, off, len) < 0 ? -errno : 0;
        if (r == -ENOSPC &&
            mlc_evict_make_room(fs->cache->evictor, h->fd, (uint64_t)len))
            r = fallocate(h->fd, mode, off, len) < 0 ? -errno : 0;
        atomic_store(&h->is_written, true);
    }
    mlc_reply_err(fs, req, r);
}

void
mlc_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
             struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = handle_of(fi);
    struct mlc_node *n = mlc_node_of(fs, ino);
    off_t r;

    if (h->fd >= 0 && n->type == MLC_NODE_LOCAL) {
        r = lseek(h->fd, off, whence);
        if (r < 0)
            mlc_reply_err(fs, req, -errno);
        else
            fuse_reply_lseek(req, r);
        return;
    }
    /* Holes in a file that is still being fetched are none of the content's:
     * all is data up to the end. */
    if (off < 0 || (uint64_t)off >= n->size)
        mlc_reply_err(fs, req, -ENXIO);
    else
        fuse_reply_lseek(req, whence == SEEK_HOLE ? (off_t)n->size : off);
}
