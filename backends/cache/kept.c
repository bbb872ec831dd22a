/* SPDX-License-Identifier: MIT */
/* KEY-OFF-LEN in hex: LEN bytes and the XXH3 of them, seeded with KEY. */
#include "config.h"

#include "backends/cache/kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends/cache/evict.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define NAME_LEN   64
#define TMP_SUFFIX ".tmp"
/* What the disk must have left. */
#define MIN_FREE ((uint64_t)1 << 30)

struct mlc_kept {
    int fd;                      /* immutable */
    uint64_t max;                /* immutable */
    struct mlc_evictor *evictor; /* immutable; may be NULL */
    pthread_mutex_t lock;
    uint64_t used; /* lock; bytes, more or less: of files written since the
                      folder was last looked through, and of those then there */
};

struct item {
    char name[NAME_LEN];
    struct stat st;
};

static void
name_of(uint64_t key, uint64_t off, size_t len, char ret[NAME_LEN])
{
    snprintf(ret, NAME_LEN, "%016" PRIx64 "-%" PRIx64 "-%zx", key, off, len);
}

/* --- which files there are ------------------------------------------------ */

static int
by_age(const void *a, const void *b)
{
    const struct timespec *x = &((const struct item *)a)->st.st_mtim;
    const struct timespec *y = &((const struct item *)b)->st.st_mtim;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* All files, those that a kill left half written removed.  *ret is the
 * caller's to free. */
static size_t
read_folder(const struct mlc_kept *k, struct item **ret)
{
    mlc_autodir DIR *dir = mlc_opendir_beneath(k->fd, "");
    struct item *items = NULL;
    const struct dirent *d;
    size_t n = 0, cap = 0;

    while (dir && (d = readdir(dir))) {
        struct stat st;

        if (strlen(d->d_name) >= NAME_LEN ||
            fstatat(k->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        if (strstr(d->d_name, TMP_SUFFIX)) {
            unlinkat(k->fd, d->d_name, 0);
            continue;
        }
        if (n == cap) {
            struct item *grown =
                reallocarray(items, cap ? 2 * cap : 64, sizeof(items[0]));

            if (!grown)
                break;
            items = grown;
            cap = cap ? 2 * cap : 64;
        }
        strcpy(items[n].name, d->d_name);
        items[n++].st = st;
    }
    *ret = items;
    return n;
}

/* The longest unused go until max bytes are left. */
static void
prune_locked(struct mlc_kept *k, uint64_t max)
{
    mlc_autofree struct item *items = NULL;
    size_t n = read_folder(k, &items);

    k->used = 0;
    for (size_t i = 0; i < n; i++)
        k->used += (uint64_t)items[i].st.st_size;
    if (k->used <= max)
        return;
    qsort(items, n, sizeof(items[0]), by_age);
    mlc_evict_removed(k->evictor);
    for (size_t i = 0; i < n && k->used > max; i++)
        if (unlinkat(k->fd, items[i].name, 0) == 0)
            k->used -= (uint64_t)items[i].st.st_size;
}

/* --- reading and writing -------------------------------------------------- */

bool
mlc_kept_get(struct mlc_kept *k, uint64_t key, uint64_t off, void *ret,
             size_t len)
{
    mlc_autoclose int fd = -1;
    char name[NAME_LEN];
    uint64_t sum;
    struct stat st;

    if (!k)
        return false;
    name_of(key, off, len, name);
    fd = openat(k->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        pread(fd, ret, len, 0) == (ssize_t)len &&
        pread(fd, &sum, sizeof(sum), (off_t)len) == (ssize_t)sizeof(sum) &&
        sum == XXH3_64bits_withSeed(ret, len, key)) {
        /* When it was last of use. */
        (void)futimens(fd, NULL);
        return true;
    }
    mlc_info("%s: damaged on this disk, and computed anew", name);
    unlinkat(k->fd, name, 0);
    return false;
}

static bool
has_room(const struct mlc_kept *k)
{
    struct statvfs fs;

    return fstatvfs(k->fd, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize >= MIN_FREE;
}

/* Whole or not at all. */
static bool
write_file(const struct mlc_kept *k, const char *name, const void *data,
           size_t len, uint64_t sum)
{
    mlc_autoclose int fd = -1;
    char tmp[NAME_LEN + sizeof(TMP_SUFFIX)];

    snprintf(tmp, sizeof(tmp), "%s" TMP_SUFFIX, name);
    /* Who finds it there leaves it to the other. */
    fd = openat(k->fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    if (pwrite(fd, data, len, 0) == (ssize_t)len &&
        pwrite(fd, &sum, sizeof(sum), (off_t)len) == (ssize_t)sizeof(sum) &&
        renameat(k->fd, tmp, k->fd, name) == 0)
        return true;
    unlinkat(k->fd, tmp, 0);
    return false;
}

void
mlc_kept_put(struct mlc_kept *k, uint64_t key, uint64_t off, const void *data,
             size_t len)
{
    char name[NAME_LEN];

    if (!k || len > k->max / 4 || !has_room(k))
        return;
    name_of(key, off, len, name);
    if (!write_file(k, name, data, len, XXH3_64bits_withSeed(data, len, key)))
        return;
    mlc_evict_wrote(k->evictor, len + sizeof(uint64_t));
    MLC_LOCK_SCOPE(&k->lock);
    k->used += len + sizeof(uint64_t);
    /* By some more, so that not each one looks through the folder. */
    if (k->used > k->max)
        prune_locked(k, k->max / 4 * 3);
}

/* --- eviction ------------------------------------------------------------ */

static int64_t
used_us(const struct stat *st)
{
    return mlc_time_us(&st->st_mtim);
}

static void
list(void *arg, struct mlc_evict_round *round)
{
    mlc_autofree struct item *items = NULL;
    struct mlc_kept *k = arg;
    size_t n;

    MLC_LOCK_SCOPE(&k->lock);
    n = read_folder(k, &items);
    for (size_t i = 0; i < n; i++)
        mlc_evict_offer(round, items[i].name, &items[i].st,
                        (uint64_t)items[i].st.st_size, used_us(&items[i].st),
                        false);
}

static uint64_t
drop(void *arg, const char *name, int64_t since_us,
     struct mlc_evict_round *round)
{
    struct mlc_kept *k = arg;
    struct stat st;

    (void)round; /* read at once, never kept open */
    MLC_LOCK_SCOPE(&k->lock);
    if (fstatat(k->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        used_us(&st) > since_us || unlinkat(k->fd, name, 0) < 0)
        return 0;
    k->used -= k->used < (uint64_t)st.st_size ? k->used : (uint64_t)st.st_size;
    return (uint64_t)st.st_size;
}

/* --- begin and end ------------------------------------------------------- */

int
mlc_kept_new(int dirfd, const char *name, uint64_t max_bytes,
             struct mlc_evictor *evictor, struct mlc_kept **ret)
{
    struct mlc_evict_source source = {.list = list, .drop = drop};
    mlc_autoclose int fd = -1;
    struct mlc_kept *k;
    int r;

    if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    k = calloc(1, sizeof(*k));
    if (!k)
        return -ENOMEM;
    k->fd = mlc_steal_fd(&fd);
    k->max = max_bytes;
    k->evictor = evictor;
    pthread_mutex_init(&k->lock, NULL);
    source.arg = k;
    r = mlc_evictor_add(evictor, &source);
    if (r < 0) {
        mlc_kept_free(k);
        return r;
    }
    pthread_mutex_lock(&k->lock);
    prune_locked(k, k->max);
    pthread_mutex_unlock(&k->lock);
    *ret = k;
    return 0;
}

void
mlc_kept_free(struct mlc_kept *k)
{
    if (!k)
        return;
    close(k->fd);
    pthread_mutex_destroy(&k->lock);
    free(k);
}
