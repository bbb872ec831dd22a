/* SPDX-License-Identifier: MIT */
/* Listings: what is on disk, merged with what the backend says is there, less
 * what was unlinked.  A listing is a snapshot taken when reading starts. */
#include "config.h"

#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/util/cleanup.h"
#include "backends/util/path.h"

/* Above this many entries attributes are left to look-ups: the kernel would
 * otherwise make an inode of every name that somebody merely lists. */
#define MAX_WITH_ATTRIBUTES 1000
/* A backend that never stops listing is wrong. */
#define MAX_ENTRIES ((size_t)4 << 20)

struct listed {
    size_t name; /* offset in names */
    ino_t ino;
    unsigned char type;
    bool is_remote;
};

struct mlc_listing {
    struct listed *items;
    size_t n, cap;
    char *names; /* NUL-terminated, one after another */
    size_t len, size;
};

/* What fill_*() work with. */
struct filler {
    struct mlc_fs *fs;
    struct mlc_node *dir;
    struct mlc_domain *domain;
    const char *path;
    struct mlc_listing *listing;
    bool for_removal;
    int r;
};

static int
add(struct mlc_listing *l, const char *name, unsigned char type, ino_t ino,
    bool is_remote)
{
    size_t need = strlen(name) + 1;

    if (l->n == MAX_ENTRIES)
        return -EFBIG;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct listed *grown = realloc(l->items, cap * sizeof(grown[0]));

        if (!grown)
            return -ENOMEM;
        l->items = grown;
        l->cap = cap;
    }
    if (l->size - l->len < need) {
        size_t size = l->size * 2 + need + 1024;
        char *grown = realloc(l->names, size);

        if (!grown)
            return -ENOMEM;
        l->names = grown;
        l->size = size;
    }
    memcpy(l->names + l->len, name, need);
    l->items[l->n++] = (struct listed){l->len, ino, type, is_remote};
    l->len += need;
    return 0;
}

static int
fill_remote(void *arg, const char *name, unsigned char type)
{
    struct filler *f = arg;
    mlc_autofree char *path = NULL;

    if (!mlc_name_is_safe(name))
        return 0;
    path = mlc_path_join(f->path, name);
    if (!path)
        return f->r = -ENOMEM;
    if (mlc_is_hidden(f->fs, f->domain, path, f->for_removal))
        return 0;
    f->r = add(f->listing, name, type, mlc_ino_hash(f->domain, path), true);
    return f->r;
}

static bool
is_left_out(const struct filler *f, const char *name)
{
    const char *rel;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return true;
    mlc_domain_base(f->domain, f->path, &rel);
    if (!rel[0] && strcmp(name, MLC_PRIVATE_DIR) == 0)
        return true;
    /* Directories of STORE that a domain stands for are listed as such. */
    for (unsigned i = 0;
         f->domain == &f->fs->plain && !f->path[0] && i < f->fs->n_domains; i++)
        if (strcmp(name, f->fs->domains[i].backend->name) == 0)
            return true;
    return mlc_domain_is_unlisted(f->domain, f->path, name);
}

/* It came to the disk after it had been unlinked: no obstacle to removing the
 * directory. */
static bool
is_unlinked(const struct filler *f, const char *dir, const char *name)
{
    mlc_autofree char *path = mlc_path_join(dir, name);

    return path && mlc_is_hidden(f->fs, f->domain, path, true);
}

static int
fill_disk(struct filler *f)
{
    int fd, r = 0;
    mlc_autofree char *path = NULL;
    struct dirent *de;
    struct stat st;
    DIR *dp;

    pthread_rwlock_rdlock(&f->fs->names);
    /* Anew: it may have been renamed while the backend was asked. */
    fd = mlc_node_path(f->fs, f->dir, &path);
    if (fd == 0)
        fd = mlc_local_opendir(f->domain, path);
    pthread_rwlock_unlock(&f->fs->names);
    if (fd < 0)
        return fd == -ENOENT || fd == -ESTALE ? 0 : fd;
    dp = fstat(fd, &st) < 0 ? NULL : fdopendir(fd);
    if (!dp) {
        r = -errno;
        close(fd);
        return r;
    }
    while (r == 0) {
        errno = 0;
        de = readdir(dp);
        if (!de) {
            r = -errno;
            break;
        }
        if (is_left_out(f, de->d_name))
            continue;
        if (f->for_removal && is_unlinked(f, path, de->d_name))
            continue;
        r = add(f->listing, de->d_name, de->d_type,
                mlc_ino_on_disk(f->fs, st.st_dev, de->d_ino), false);
    }
    closedir(dp);
    return r;
}

static int
compare(const void *a, const void *b, void *names)
{
    const struct listed *x = a, *y = b;
    int r =
        strcmp((const char *)names + x->name, (const char *)names + y->name);

    return r ? r : (int)x->is_remote - (int)y->is_remote;
}

/* Names on disk win; a name that the backend gives too has the number that
 * stat will show. */
static void
merge(struct mlc_listing *l)
{
    size_t n = 0;

    if (l->n) /* else items may be NULL, which qsort_r must not be given */
        qsort_r(l->items, l->n, sizeof(l->items[0]), compare, l->names);
    for (size_t i = 0; i < l->n; i++) {
        if (n > 0 && strcmp(l->names + l->items[i].name,
                            l->names + l->items[n - 1].name) == 0) {
            l->items[n - 1].ino = l->items[i].ino;
            continue;
        }
        l->items[n++] = l->items[i];
    }
    l->n = n;
}

int
mlc_listing_new(struct mlc_fs *fs, struct mlc_node *dir, struct mlc_ask *ask,
                bool for_removal, struct mlc_listing **ret)
{
    mlc_autofree char *path = NULL;
    struct mlc_listing *l;
    struct filler f;
    int r;

    l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    f = (struct filler){.fs = fs,
                        .dir = dir,
                        .domain = dir->domain,
                        .listing = l,
                        .for_removal = for_removal};
    if (dir->is_status_dir) {
        f.path = MLC_PRIVATE_DIR;
        r = mlc_status_list(fill_remote, &f);
        if (r < 0)
            mlc_listing_free(l);
        else
            *ret = l;
        return r;
    }
    r = mlc_node_path(fs, dir, &path);
    if (r == -ESTALE) { /* removed, and still open: empty */
        *ret = l;
        return 0;
    }
    f.path = path;
    if (r == 0)
        r = mlc_domain_list(dir->domain, path, ask, fill_remote, &f);
    if (r == 0)
        r = f.r;
    if (r == 0)
        r = fill_disk(&f);
    for (unsigned i = 0;
         r == 0 && dir == fs->root && !fs->only && i < fs->n_domains; i++)
        r = add(l, fs->domains[i].backend->name, DT_DIR,
                fs->domain_roots[i]->ino, true);
    if (r < 0) {
        mlc_listing_free(l);
        return r;
    }
    merge(l);
    *ret = l;
    return 0;
}

void
mlc_listing_free(struct mlc_listing *l)
{
    if (!l)
        return;
    free(l->items);
    free(l->names);
    free(l);
}

size_t
mlc_listing_count(const struct mlc_listing *l)
{
    return l->n;
}

/* --- operations ---------------------------------------------------------- */

void
mlc_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_handle *h = mlc_handle_new();

    if (!h) {
        mlc_reply_err(fs, req, -ENOMEM);
        return;
    }
    mlc_node_add_handle(fs, mlc_node_of(fs, ino), h);
    fi->fh = (uintptr_t)h;
    if (fuse_reply_open(req, fi) == -ENOENT)
        mlc_handle_free(fs, h);
}

void
mlc_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);

    mlc_handle_free(fs, (struct mlc_handle *)(uintptr_t)fi->fh);
    fuse_reply_err(req, 0);
}

void
mlc_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
                struct fuse_file_info *fi)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_node *n = mlc_node_of(fs, ino);
    mlc_autofree char *path = NULL;
    mlc_autoclose int fd = -1;
    int r;

    pthread_rwlock_rdlock(&fs->names);
    r = mlc_node_path(fs, n, &path);
    if (r == 0)
        fd = mlc_local_opendir(n->domain, path);
    pthread_rwlock_unlock(&fs->names);
    if (fd >= 0 && fsync(fd) < 0)
        r = -errno;
    /* A directory that is not on disk has nothing to sync. */
    mlc_reply_err(fs, req, r == -ESTALE ? 0 : r);
}

struct reply {
    fuse_req_t req;
    char *buf;
    size_t len, size;
};

static bool
add_plain(struct reply *b, const char *name, ino_t ino, mode_t mode, off_t next)
{
    struct stat st = {.st_ino = ino, .st_mode = mode};
    size_t need = fuse_add_direntry(b->req, b->buf + b->len, b->size - b->len,
                                    name, &st, next);

    if (need > b->size - b->len)
        return false;
    b->len += need;
    return true;
}

static bool
is_hidden_in(struct mlc_fs *fs, struct mlc_node *dir, const char *name)
{
    mlc_autofree char *path = NULL;

    return mlc_node_child_path(fs, dir, name, &path) == 0 &&
           mlc_is_hidden(fs, dir->domain, path, false);
}

static bool
add_plus(struct mlc_fs *fs, struct reply *b, struct mlc_node *dir,
         const char *name, ino_t ino, mode_t mode, off_t next,
         bool with_attributes)
{
    struct mlc_ask ask = {.only_known = true};
    struct fuse_entry_param e = {0};
    size_t need = fuse_add_direntry_plus(b->req, NULL, 0, name, NULL, 0);

    if (need > b->size - b->len)
        return false;
    /* What was unlinked since is not looked up: that would list it again. */
    if (!with_attributes || is_hidden_in(fs, dir, name) ||
        mlc_lookup(fs, dir, name, &ask, &e) < 0 || e.ino == 0) {
        memset(&e, 0, sizeof(e));
        e.attr.st_ino = ino;
        e.attr.st_mode = mode;
    }
    b->len += fuse_add_direntry_plus(b->req, b->buf + b->len, b->size - b->len,
                                     name, &e, next);
    return true;
}

static int
run_readdir(struct mlc_op *op, struct mlc_ask *ask)
{
    struct mlc_fs *fs = op->fs;
    struct mlc_handle *h = op->handle;
    struct mlc_node *dir = op->node;
    mlc_autofree char *buf = NULL;
    struct reply b = {.req = op->req};
    struct mlc_listing *l;
    bool with_attributes;
    size_t i = op->off;

    pthread_mutex_lock(&h->lock);
    l = h->listing;
    pthread_mutex_unlock(&h->lock);
    if (i == 0 || !l) {
        struct mlc_listing *fresh = NULL;
        int r = mlc_listing_new(fs, dir, ask, false, &fresh);

        if (r < 0)
            return r;
        /* The kernel reads one directory handle one call at a time. */
        pthread_mutex_lock(&h->lock);
        mlc_listing_free(h->listing);
        l = h->listing = fresh;
        pthread_mutex_unlock(&h->lock);
    }

    buf = malloc(op->size);
    if (!buf)
        return -ENOMEM;
    b.buf = buf;
    b.size = op->size;
    with_attributes = l->n <= MAX_WITH_ATTRIBUTES;
    for (; i < l->n + 2; i++) {
        bool is_dot = i < 2, is_added;
        const struct listed *e = is_dot ? NULL : &l->items[i - 2];
        const char *dots = i == 0 ? "." : "..";
        const char *name = is_dot ? dots : l->names + e->name;
        ino_t ino = is_dot ? dir->ino : e->ino;
        mode_t mode = is_dot ? S_IFDIR : DTTOIF(e->type);

        is_added = op->is_plus
                       ? add_plus(fs, &b, dir, name, ino, mode, (off_t)i + 1,
                                  with_attributes && !is_dot)
                       : add_plain(&b, name, ino, mode, (off_t)i + 1);
        if (!is_added)
            break;
    }
    fuse_reply_buf(op->req, b.buf, b.len);
    return 0;
}

static void
start_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
              struct fuse_file_info *fi, bool is_plus)
{
    struct mlc_fs *fs = fuse_req_userdata(req);
    struct mlc_op *op = mlc_op_new(fs, req, run_readdir, ino, NULL);

    if (!op)
        return;
    op->deadline = mlc_op_list_deadline;
    op->handle = (struct mlc_handle *)(uintptr_t)fi->fh;
    op->size = size;
    op->off = (uint64_t)off;
    op->is_plus = is_plus;
    mlc_op_start(op);
}

void
mlc_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
               struct fuse_file_info *fi)
{
    start_readdir(req, ino, size, off, fi, false);
}

void
mlc_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                   struct fuse_file_info *fi)
{
    start_readdir(req, ino, size, off, fi, true);
}
