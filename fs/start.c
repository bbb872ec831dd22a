/* SPDX-License-Identifier: MIT */
/* Start-up between the parsed options and the session loop: directories,
 * locks, the engine, the domains. Nothing here uses the network. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

/* The layout of .mlcachefs/; another number is refused. */
#define STORE_FORMAT "mlcachefs store 1\n"

/* --- paths --------------------------------------------------------------- */

/* The path with every symlink of its existing part resolved. Caller frees;
 * NULL: out of memory or absurd. */
static char *
resolve(const char *path)
{
    mlc_autofree char *head = strdup(path);
    char *cut, *real, *joined = NULL;

    if (!head)
        return NULL;
    real = realpath(head, NULL);
    if (real)
        return real;
    cut = strrchr(head, '/');
    if (!cut || cut == head)
        return strdup(path);
    *cut = '\0';
    real = resolve(head);
    if (!real)
        return NULL;
    if (!cut[1])
        joined = strdup(real);
    else if (asprintf(&joined, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
                      cut + 1) < 0)
        joined = NULL;
    free(real);
    return joined;
}

static bool
starts_with_dir(const char *path, const char *dir, const char **ret_rest)
{
    size_t len = strlen(dir);

    while (len > 1 && dir[len - 1] == '/')
        len--;
    if (strncmp(path, dir, len) != 0 || (path[len] && path[len] != '/'))
        return false;
    path += len;
    while (*path == '/')
        path++;
    *ret_rest = path;
    return true;
}

static bool
is_inside_mount(const struct mlc_fs *fs, const char *path,
                const char **ret_rest)
{
    mlc_autofree char *real = NULL;
    const char *rest;

    if (starts_with_dir(path, fs->mountpoint_given, ret_rest) ||
        starts_with_dir(path, fs->mountpoint, ret_rest))
        return true;
    /* Resolving may go through our own mount once it is up. */
    if (atomic_load(&fs->is_mounted))
        return false;
    real = resolve(path);
    if (!real || !starts_with_dir(real, fs->mountpoint, &rest))
        return false;
    *ret_rest = path + strlen(path);
    return true;
}

static bool
domain_is_inside(const struct mlc_domain *d, const char *path,
                 const char **ret_inside)
{
    return is_inside_mount(d->fs, path, ret_inside);
}

static struct mlc_domain *
find_domain(const struct mlc_domain *d, const char *inside,
            const char **ret_path)
{
    struct mlc_fs *fs = d->fs;
    size_t len = strcspn(inside, "/");

    if (fs->only) {
        *ret_path = inside;
        return fs->only;
    }
    if (mlc_path_is_under(inside, MLC_PRIVATE_DIR))
        return NULL;
    for (unsigned i = 0; i < fs->n_domains; i++) {
        const char *name = fs->domains[i].backend->name;

        if (strlen(name) == len && strncmp(inside, name, len) == 0) {
            *ret_path = inside[len] ? inside + len + 1 : inside + len;
            return &fs->domains[i];
        }
    }
    *ret_path = inside;
    return &fs->plain;
}

static void *
domain_watch(struct mlc_domain *d, int fd)
{
    struct mlc_file_id id;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return NULL;
    mlc_stat_id(fd, &st, &id);
    return mlc_node_watch(d->fs, &id);
}

static bool
domain_unwatch(struct mlc_domain *d, void *watch)
{
    return mlc_node_unwatch(d->fs, watch);
}

static int
make_dirs(const char *path)
{
    mlc_autofree char *p = strdup(path);

    if (!p)
        return -ENOMEM;
    for (char *q = p + 1;; q++) {
        char c = *q;

        if (c && c != '/')
            continue;
        *q = '\0';
        if (mkdir(p, 0777) < 0 && errno != EEXIST)
            return -errno;
        if (!c)
            return 0;
        *q = c;
    }
}

/* The mount must not lie inside what it shows: it would meet itself there. */
static int
check_apart(struct mlc_fs *fs, const char *what, const char *path)
{
    mlc_autofree char *real = resolve(path);
    const char *rest;

    if (!real)
        return -ENOMEM;
    if (starts_with_dir(fs->mountpoint, real, &rest))
        return mlc_log_err(-EINVAL,
                           "the mountpoint %s lies inside %s %s: choose a "
                           "mountpoint outside of it",
                           fs->mountpoint, what, path);
    return 0;
}

/* --- STORE --------------------------------------------------------------- */

static int
choose_store(struct mlc_fs *fs)
{
    const char *given = mlc_opt_str(fs->options, "store"), *rest;
    const char *env = getenv("DGENERATE_CACHE"), *home = getenv("HOME");

    if (given) {
        if (is_inside_mount(fs, given, &rest))
            return mlc_log_err(-EINVAL,
                               "STORE %s lies inside the mountpoint %s: give "
                               "another directory",
                               given, fs->mountpoint);
        fs->store_path = strdup(given);
        return fs->store_path ? 0 : -ENOMEM;
    }
    if (env && env[0]) {
        if (!is_inside_mount(fs, env, &rest)) {
            mlc_autofree char *cwd = getcwd(NULL, 0);

            if (env[0] == '/')
                fs->store_path = strdup(env);
            else if (!cwd || asprintf(&fs->store_path, "%s/%s", cwd, env) < 0)
                fs->store_path = NULL;
            return fs->store_path ? 0 : -ENOMEM;
        }
        mlc_info("DGENERATE_CACHE=%s points into the mount: using the default "
                 "store instead",
                 env);
    }
    if (!home || home[0] != '/')
        return mlc_log_err(-EINVAL, "no STORE given, and neither "
                                    "DGENERATE_CACHE nor HOME is set");
    if (asprintf(&fs->store_path, "%s/.cache/dgenerate", home) < 0)
        fs->store_path = NULL;
    return fs->store_path ? 0 : -ENOMEM;
}

/* Takes the one lock on a directory; the descriptor is kept until exit. A
 * file system without locks is used without. */
static int
lock_dir(struct mlc_fs *fs, int dirfd, const char *what, bool *ret_is_taken)
{
    int fd = mlc_open_beneath(dirfd, "", O_RDONLY | O_DIRECTORY, 0);

    *ret_is_taken = false;
    if (fd < 0)
        return fd;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int e = errno;

        if (e == EWOULDBLOCK) {
            close(fd);
            *ret_is_taken = true;
            return fs->is_read_only
                       ? 0
                       : mlc_log_err(-EBUSY,
                                     "%s: another mlcachefs is using it; "
                                     "unmount that one, or mount with -o ro",
                                     what);
        }
        mlc_warn("%s: cannot be locked (%s): do not mount it twice", what,
                 strerrorname_np(e));
    }
    if (fs->n_lockfds < MLC_MAX_DOMAINS)
        fs->lockfds[fs->n_lockfds++] = fd;
    else
        close(fd);
    return 0;
}

static int
check_format(int privfd, const char *store)
{
    mlc_autofree char *text = NULL;
    size_t len;
    int r = mlc_read_file_at(privfd, "format", 64, &text, &len);

    if (r == -ENOENT)
        return mlc_write_file_at(privfd, "format", STORE_FORMAT,
                                 strlen(STORE_FORMAT), 0600);
    if (r == 0 && strcmp(text, STORE_FORMAT) != 0)
        r = -EPROTONOSUPPORT;
    if (r < 0)
        return mlc_log_err(r,
                           "%s/" MLC_PRIVATE_DIR "/format: this store was "
                           "written by another version of mlcachefs; remove "
                           "%s/" MLC_PRIVATE_DIR " to start afresh (finished "
                           "files are kept)",
                           store, store);
    return 0;
}

/* Opens DIR/.mlcachefs for writing; *ret_fd -1 when this mount only reads. */
static int
open_private(struct mlc_fs *fs, int dirfd, const char *path, int *ret_fd)
{
    bool is_taken;
    int r;

    *ret_fd = -1;
    r = lock_dir(fs, dirfd, path, &is_taken);
    if (r < 0 || is_taken)
        return r;
    if (mkdirat(dirfd, MLC_PRIVATE_DIR, 0700) < 0 && errno != EEXIST) {
        r = -errno;
        if (fs->is_read_only)
            return 0;
        return mlc_log_err(r,
                           "%s cannot be written (%s): choose another "
                           "store or mount with -o ro",
                           path, strerrorname_np(-r));
    }
    *ret_fd = openat(dirfd, MLC_PRIVATE_DIR,
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0)
        return mlc_log_err(-errno, "%s/" MLC_PRIVATE_DIR ": %m", path);
    if (faccessat(*ret_fd, ".", W_OK, 0) < 0) {
        r = -errno;
        close(*ret_fd);
        *ret_fd = -1;
        if (fs->is_read_only)
            return 0;
        return mlc_log_err(r,
                           "%s cannot be written (%s): choose another "
                           "store or mount with -o ro",
                           path, strerrorname_np(-r));
    }
    r = check_format(*ret_fd, path);
    if (r == -EROFS && fs->is_read_only) {
        close(*ret_fd);
        *ret_fd = -1;
        return 0;
    }
    return r;
}

static int
open_store_dir(struct mlc_fs *fs)
{
    struct stat st;
    int r = choose_store(fs);

    if (r < 0)
        return r;
    r = check_apart(fs, "STORE", fs->store_path);
    if (r < 0)
        return r;
    if (!fs->is_read_only) {
        r = make_dirs(fs->store_path);
        if (r < 0)
            return mlc_log_err(r, "%s cannot be made (%s)", fs->store_path,
                               strerrorname_np(-r));
    }
    fs->storefd = open(fs->store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fs->storefd < 0)
        return mlc_log_err(-errno, "%s: %m", fs->store_path);
    r = open_private(fs, fs->storefd, fs->store_path, &fs->privfd);
    if (r < 0)
        return r;
    /* A time that stays: what has none of its own shows it. */
    if ((fs->privfd >= 0 && fstatat(fs->privfd, "format", &st, 0) == 0) ||
        fstat(fs->storefd, &st) == 0)
        fs->birth_ms = st.st_mtim.tv_sec * INT64_C(1000);
    return 0;
}

/* --- the engine and the domains ------------------------------------------ */

static int64_t
lookup_budget_ms(void)
{
    const char *env = getenv("HF_HUB_ETAG_TIMEOUT");
    uint64_t seconds;

    if (env && mlc_parse_u64(env, 1, 60, &seconds) == 0)
        return (int64_t)seconds * 1000;
    return 10000;
}

static int
open_engine(struct mlc_fs *fs)
{
    const char *fetch = mlc_opt_str(fs->options, "fetch");
    struct mlc_cache_conf conf = {
        .memory = mlc_opt_size(fs->options, "memory"),
        .max_size = mlc_opt_str(fs->options, "max_size")
                        ? mlc_opt_size(fs->options, "max_size")
                        : UINT64_MAX,
        .timeout_ms = mlc_opt_time_ms(fs->options, "timeout"),
        .lookup_ms = lookup_budget_ms(),
        .max_connections = (unsigned)mlc_opt_number(fs->options, "connections"),
        .is_whole = strcmp(fetch, "whole") == 0,
        /* Who may not write the store has nowhere to put what it fetches. */
        .is_offline = mlc_opt_flag(fs->options, "offline") || fs->privfd < 0,
    };
    const int64_t longest = INT64_C(7) * 24 * 3600 * 1000;

    if (conf.timeout_ms > longest)
        conf.timeout_ms = longest;
    return mlc_cache_new(&conf, &fs->cache);
}

static int
store_for(struct mlc_fs *fs, struct mlc_domain *d)
{
    const struct mlc_base *base = &d->bases[d->n_bases - 1];
    int privfd = fs->privfd, r;
    struct stat a, b;

    if (fs->privfd < 0) {
        d->privfd = -1;
        d->is_read_only = true;
        return 0;
    }
    /* Unfinished files lie on the file system that finished ones end on. */
    if (fstat(base->fd, &a) < 0 || fstat(fs->storefd, &b) < 0)
        return -errno;
    if (a.st_dev != b.st_dev) {
        r = open_private(fs, base->fd, base->path, &privfd);
        if (r < 0)
            return r;
        if (privfd < 0) {
            d->privfd = -1;
            d->is_read_only = true;
            return 0;
        }
    } else if (a.st_ino != b.st_ino) {
        bool is_taken;

        r = lock_dir(fs, base->fd, base->path, &is_taken);
        if (r < 0)
            return r;
        if (is_taken) {
            d->privfd = -1;
            d->is_read_only = true;
            return 0;
        }
    }
    d->privfd = privfd;
    for (unsigned i = 0; i < fs->n_stores; i++)
        if (fs->store_privfds[i] == privfd)
            d->store = fs->stores[i];
    if (d->store)
        return 0;
    r = mlc_store_open(privfd, fs->cache->pool, fs->cache->budget,
                       fs->cache->evictor, fs->cache->fetch.timeout_ms,
                       &d->store);
    if (r < 0)
        return mlc_log_err(r, "%s/" MLC_PRIVATE_DIR ": cannot be used (%s)",
                           base->path, strerrorname_np(-r));
    fs->store_privfds[fs->n_stores] = privfd;
    fs->stores[fs->n_stores++] = d->store;
    return 0;
}

/* A directory with nothing in it, and no name. */
static int
open_empty(void)
{
    char path[] = "/tmp/mlcachefs.XXXXXX";
    int fd;

    if (!mkdtemp(path))
        return -errno;
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    rmdir(path);
    return fd;
}

/* STORE/NAME, for backends that have no place of their own. */
static int
place_default(struct mlc_fs *fs, struct mlc_domain *d)
{
    const char *name = d->backend->name;

    if (mkdirat(fs->storefd, name, 0777) < 0 && errno != EEXIST &&
        !fs->is_read_only)
        return mlc_log_err(-errno, "%s/%s: %m", fs->store_path, name);
    d->n_bases = 1;
    d->bases[0].prefix = "";
    if (asprintf(&d->bases[0].path, "%s/%s", fs->store_path, name) < 0) {
        d->bases[0].path = NULL;
        return -ENOMEM;
    }
    d->bases[0].fd =
        openat(fs->storefd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* In a store of before, that can only be read. */
    if (d->bases[0].fd < 0 && errno == ENOENT && fs->is_read_only)
        d->bases[0].fd = open_empty();
    return d->bases[0].fd < 0 ? mlc_log_err(-errno, "%s: %m", d->bases[0].path)
                              : 0;
}

static int
open_domain(struct mlc_fs *fs, const struct mlc_backend *backend)
{
    struct mlc_domain *d = &fs->domains[fs->n_domains];
    int r;

    if (fs->n_domains == MLC_MAX_DOMAINS)
        return -ENOSPC;
    d->backend = backend;
    d->options = fs->options;
    d->cache = fs->cache;
    d->fs = fs;
    d->is_inside = domain_is_inside;
    d->find = find_domain;
    d->watch = domain_watch;
    d->unwatch = domain_unwatch;
    d->is_read_only = fs->privfd < 0;
    d->privfd = -1;
    for (unsigned i = 0; i < MLC_MAX_BASES; i++)
        d->bases[i].fd = -1;
    fs->n_domains++;
    if (backend->priv_size) {
        d->priv = calloc(1, backend->priv_size);
        if (!d->priv)
            return -ENOMEM;
    }
    r = backend->place ? backend->place(d, fs->store_path)
                       : place_default(fs, d);
    for (unsigned i = 0; r == 0 && i < d->n_bases; i++)
        r = check_apart(fs, backend->name, d->bases[i].path);
    if (r == 0)
        r = store_for(fs, d);
    if (r == 0)
        r = mlc_domain_open(d);
    if (r < 0)
        return r;
    fs->domain_roots[fs->n_domains - 1] = mlc_node_new_root(fs, d);
    return fs->domain_roots[fs->n_domains - 1] ? 0 : -ENOMEM;
}

static int
open_domains(struct mlc_fs *fs)
{
    const char *only = mlc_opt_str(fs->options, "only");
    int r;

    for (size_t i = 0; mlc_backends[i]; i++) {
        if (only && strcmp(only, mlc_backends[i]->name) != 0)
            continue;
        r = open_domain(fs, mlc_backends[i]);
        if (r < 0)
            return r;
    }
    if (only)
        fs->only = &fs->domains[0];
    return 0;
}

/* What is in STORE beside the domains: plain files, all defaults. */
static const struct mlc_backend plain_backend = {.name = ""};

static int
open_root(struct mlc_fs *fs)
{
    struct mlc_domain *d = &fs->plain;

    d->backend = &plain_backend;
    d->options = fs->options;
    d->cache = fs->cache;
    d->fs = fs;
    d->privfd = fs->privfd;
    d->n_bases = 1;
    d->bases[0] = (struct mlc_base){.prefix = "", .fd = fs->storefd};
    d->bases[0].path = strdup(fs->store_path);
    if (!d->bases[0].path || mlc_domain_open(d) < 0)
        return -ENOMEM;
    fs->root = fs->only ? fs->domain_roots[0] : mlc_node_new_root(fs, d);
    fs->status_dir = mlc_node_new_root(fs, d);
    if (!fs->root || !fs->status_dir)
        return -ENOMEM;
    fs->status_dir->is_status_dir = true;
    fs->status_dir->ino = mlc_ino_hash(d, MLC_PRIVATE_DIR);
    return 0;
}

static void
read_identity(struct mlc_fs *fs)
{
    const struct mlc_options *o = fs->options;

    fs->process_umask = umask(0);
    umask(fs->process_umask);
    fs->is_root_user = geteuid() == 0;
    fs->has_uid = mlc_opt_str(o, "uid") != NULL;
    fs->has_gid = mlc_opt_str(o, "gid") != NULL;
    fs->has_umask = mlc_opt_str(o, "umask") != NULL;
    fs->uid = fs->has_uid ? (uid_t)mlc_opt_number(o, "uid") : geteuid();
    fs->gid = fs->has_gid ? (gid_t)mlc_opt_number(o, "gid") : getegid();
    fs->umask = (mode_t)mlc_opt_number(o, "umask") & 0777;
    fs->ready_fd = mlc_opt_is_given(o, "ready_fd")
                       ? (int)mlc_opt_number(o, "ready_fd")
                       : -1;
}

int
mlc_fs_new(const struct mlc_options *options, const char *mountpoint,
           struct mlc_fs **ret)
{
    struct mlc_fs *fs = calloc(1, sizeof(*fs));
    struct stat st;
    int r;

    if (!fs)
        return -ENOMEM;
    *ret = fs; /* the caller frees it in any case */
    fs->options = options;
    fs->storefd = fs->privfd = -1;
    fs->started_ms = mlc_mono_ms();
    fs->is_read_only = mlc_opt_flag(options, "ro");
    pthread_rwlock_init(&fs->names, NULL);
    pthread_mutex_init(&fs->scratch.lock, NULL);
    r = mlc_table_init(fs);
    if (r == 0)
        r = mlc_parking_init(fs);
    if (r < 0)
        return r;
    read_identity(fs);
    r = mlc_clock_use_file(mlc_opt_str(options, "clock_file"));
    if (r < 0)
        return r;

    fs->mountpoint_given = strdup(mountpoint);
    fs->mountpoint = realpath(mountpoint, NULL);
    if (!fs->mountpoint_given)
        return -ENOMEM;
    if (!fs->mountpoint || stat(fs->mountpoint, &st) < 0)
        return mlc_log_err(-errno, "mountpoint %s: %m", mountpoint);
    if (!S_ISDIR(st.st_mode))
        return mlc_log_err(-ENOTDIR, "mountpoint %s: not a directory",
                           mountpoint);
    r = open_store_dir(fs);
    if (r == 0)
        r = open_engine(fs);
    if (r == 0)
        r = open_domains(fs);
    if (r == 0)
        r = open_root(fs);
    if (r == 0)
        mlc_evictor_start(fs->cache->evictor);
    return r;
}

void
mlc_fs_stop(struct mlc_fs *fs)
{
    mlc_parking_stop(fs);
    if (!fs->cache)
        return;
    mlc_cache_stop_network(fs->cache);
    for (unsigned i = 0; i < fs->n_stores; i++)
        mlc_store_stop(fs->stores[i]);
    mlc_cache_stop(fs->cache);
}

void
mlc_fs_free(struct mlc_fs *fs)
{
    if (!fs)
        return;
    /* Again, or at last where nothing was mounted: timers and jobs point to
     * what is freed here. */
    mlc_fs_stop(fs);
    mlc_table_done(fs);
    mlc_parking_done(fs);
    mlc_scratch_done(fs);
    for (unsigned i = 0; i < fs->n_domains; i++) {
        struct mlc_domain *d = &fs->domains[i];

        mlc_domain_close(d);
        free(d->priv);
        for (unsigned k = 0; k < d->n_bases; k++) {
            free(d->bases[k].path);
            if (d->bases[k].fd >= 0)
                close(d->bases[k].fd);
        }
    }
    mlc_domain_close(&fs->plain);
    free(fs->plain.bases[0].path);
    for (unsigned i = 0; i < fs->n_stores; i++) {
        mlc_store_close(fs->stores[i]);
        if (fs->store_privfds[i] != fs->privfd)
            close(fs->store_privfds[i]);
    }
    mlc_cache_free(fs->cache);
    mlc_local_done(fs);
    for (unsigned i = 0; i < fs->n_lockfds; i++)
        close(fs->lockfds[i]);
    if (fs->privfd >= 0)
        close(fs->privfd);
    if (fs->storefd >= 0)
        close(fs->storefd);
    pthread_rwlock_destroy(&fs->names);
    free(fs->store_path);
    free(fs->mountpoint);
    free(fs->mountpoint_given);
    free(fs);
}
