/* SPDX-License-Identifier: MIT */
/* A file that dgenerate has fetched becomes a body of ours.
 *
 * It is copied (or shares its blocks, where the file system can do that),
 * since dgenerate writes a file anew under its name, and whoever reads it then
 * would get a mix.  What was written to meanwhile is no copy.  The record is
 * made last and ends when dgenerate's row does; what the origin said of itself
 * (ETag, date) says nothing of these bytes, and is not kept with them.
 *
 * The pool copies a part at a time, so that other jobs get their turn. */
#include "config.h"

#include "backends/web_i.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define PART_BYTES ((uint64_t)64 << 20) /* of one turn in the pool */
#define COPY_BYTES ((size_t)4 << 20)    /* of one system call */
/* Until the look-up that asked comes to wait. */
#define FIRST_WAIT_MS 2000

struct mlc_web_adoption {
    struct mlc_job job;
    struct mlc_web *web;           /* immutable */
    char *path;                    /* immutable */
    struct mlc_web_found found;    /* immutable */
    struct mlc_web_rec rec;        /* the job's; what to know if it fails */
    int64_t start_ms;              /* immutable; monotonic */
    int from, to;                  /* the job's; -1: not open */
    struct stat st;                /* the job's; of 'from' at the start */
    uint64_t off;                  /* the job's; bytes copied */
    struct mlc_web_adoption *next; /* web.lock */
    struct mlc_waitlist waiters;   /* web.lock */
};

static void
adoption_free(struct mlc_web_adoption *a)
{
    char home[MLC_WEB_BODY_PATH];

    if (!a)
        return;
    if (a->from >= 0)
        close(a->from);
    if (a->to >= 0) { /* it did not come to its end */
        close(a->to);
        mlc_web_body_path(a->rec.gen, home);
        unlinkat(a->web->d->privfd, home, 0);
    }
    free(a->path);
    mlc_web_found_done(&a->found);
    mlc_web_rec_done(&a->rec);
    free(a->waiters.items);
    free(a);
}

/* --- copying --------------------------------------------------------- */

static int
open_both(struct mlc_web_adoption *a)
{
    char home[MLC_WEB_BODY_PATH];

    a->from = mlc_web_found_open(a->web, &a->found);
    if (a->from < 0)
        return a->from;
    if (fstat(a->from, &a->st) < 0)
        return -errno;
    mlc_web_body_path(a->rec.gen, home);
    a->to = mlc_open_beneath(a->web->d->privfd, home, O_RDWR | O_CREAT | O_EXCL,
                             0600);
    if (a->to < 0)
        return a->to;
    if (ioctl(a->to, FICLONE, a->from) == 0)
        a->off = a->found.size;
    return 0;
}

/* Where the kernel can't copy between the two. */
static ssize_t
copy_by_hand(int from, int to, off_t off, size_t len)
{
    mlc_autofree char *data = malloc(len);
    ssize_t n, done = 0;

    if (!data)
        return -1;
    n = pread(from, data, len, off);
    while (n > 0 && done < n) {
        ssize_t k = pwrite(to, data + done, (size_t)(n - done), off + done);

        if (k < 0)
            return -1;
        done += k;
    }
    return n;
}

static int
copy_some(struct mlc_web_adoption *a, size_t len)
{
    off_t in = (off_t)a->off, out = (off_t)a->off;
    ssize_t n = copy_file_range(a->from, &in, a->to, &out, len, 0);

    if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                  errno == EOPNOTSUPP))
        n = copy_by_hand(a->from, a->to, (off_t)a->off, len);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ESTALE; /* it has become shorter */
    a->off += (uint64_t)n;
    return 0;
}

static bool
is_wanted(struct mlc_web_adoption *a)
{
    if (mlc_mono_ms() - a->start_ms < FIRST_WAIT_MS)
        return true;
    MLC_LOCK_SCOPE(&a->web->lock);
    return mlc_waitlist_is_wanted(&a->waiters);
}

/* 0: all of it is there; -EAGAIN: some. */
static int
copy_part(struct mlc_web_adoption *a)
{
    uint64_t end = a->off + PART_BYTES;
    int r = 0;

    if (end > a->found.size)
        end = a->found.size;
    while (r == 0 && a->off < end) {
        uint64_t left = end - a->off;

        r = copy_some(a, left < COPY_BYTES ? (size_t)left : COPY_BYTES);
        if (r == 0 && !is_wanted(a))
            r = -ECANCELED;
    }
    return r == 0 && a->off < a->found.size ? -EAGAIN : r;
}

/* Is the copy one of the file that it was at the start? */
static int
check_source(const struct mlc_web_adoption *a)
{
    struct stat st;

    if (fstat(a->from, &st) < 0)
        return -errno;
    return st.st_size == a->st.st_size &&
                   st.st_mtim.tv_sec == a->st.st_mtim.tv_sec &&
                   st.st_mtim.tv_nsec == a->st.st_mtim.tv_nsec &&
                   st.st_ctim.tv_sec == a->st.st_ctim.tv_sec &&
                   st.st_ctim.tv_nsec == a->st.st_ctim.tv_nsec
               ? 0
               : -ESTALE;
}

/* So that these bytes are known again when the origin sends them. */
static int
hash_small(const struct mlc_web_adoption *a, uint64_t *ret)
{
    mlc_autofree char *data = NULL;
    char home[MLC_WEB_BODY_PATH];
    size_t len;
    int r;

    *ret = 0;
    if (a->found.size > MLC_WEB_HEAD_BYTES)
        return 0;
    mlc_web_body_path(a->rec.gen, home);
    r = mlc_read_file_at(a->web->d->privfd, home, MLC_WEB_HEAD_BYTES, &data,
                         &len);
    if (r == 0 && len != a->found.size)
        r = -EIO;
    if (r == 0)
        *ret = XXH3_64bits(data, len);
    return r;
}

/* --- the end --------------------------------------------------------- */

/* What is known of the copy. */
static void
fill_record(struct mlc_web_adoption *a)
{
    struct mlc_web_rec *rec = &a->rec;

    rec->fetched_ms = a->found.date_us / 1000;
    if (rec->mtime_ms > rec->fetched_ms)
        rec->mtime_ms = rec->fetched_ms;
    rec->is_stored = rec->is_whole = rec->is_checked = true;
    free(mlc_steal(&rec->etag));
    free(mlc_steal(&rec->modified));
    if (a->found.type) {
        free(rec->type);
        rec->type = mlc_steal(&a->found.type);
    }
}

static int
publish(struct mlc_web_adoption *a)
{
    int r = check_source(a);

    if (r == 0)
        r = hash_small(a, &a->rec.xxh);
    if (r == 0 && fdatasync(a->to) < 0)
        r = -errno;
    if (r < 0)
        return r;
    close(mlc_steal_fd(&a->to));
    fill_record(a);
    return 0;
}

static void
log_end(const struct mlc_web_adoption *a, int r)
{
    mlc_autofree char *label = mlc_web_label(a->path);

    if (r == 0)
        mlc_debug("web", "%s: taken from dgenerate's cache",
                  label ? label : "?");
    else if (r != -ECANCELED)
        mlc_debug("web", "%s: not taken from dgenerate's cache: %s",
                  label ? label : "?", strerror(-r));
}

/* Nobody can have it any more when its waiters look again. */
static void
leave(struct mlc_web_adoption *a)
{
    struct mlc_web *web = a->web;
    struct mlc_waitlist waiters;

    pthread_mutex_lock(&web->lock);
    for (struct mlc_web_adoption **p = &web->adoptions; *p; p = &(*p)->next)
        if (*p == a) {
            *p = a->next;
            break;
        }
    mlc_waitlist_take(&a->waiters, &waiters);
    pthread_mutex_unlock(&web->lock);
    adoption_free(a);
    mlc_waitlist_wake(&waiters);
}

static void
finish(struct mlc_web_adoption *a, int r)
{
    char home[MLC_WEB_BODY_PATH];

    if (r == 0)
        r = publish(a);
    log_end(a, r);
    if (r < 0 && a->to >= 0) {
        mlc_web_body_path(a->rec.gen, home);
        unlinkat(a->web->d->privfd, home, 0);
        close(mlc_steal_fd(&a->to));
    }
    if (r != -ECANCELED) {
        a->rec.path = strdup(a->path);
        if (a->rec.path)
            mlc_web_put(a->web, &a->rec);
    }
    leave(a);
}

static void
run(struct mlc_job *job)
{
    struct mlc_web_adoption *a =
        mlc_container_of(job, struct mlc_web_adoption, job);
    int r = 0;

    if (a->from < 0)
        r = open_both(a);
    if (r == 0)
        r = copy_part(a);
    if (r == -EAGAIN)
        mlc_pool_submit(a->web->d->cache->pool, MLC_LANE_SLOW, &a->job);
    else
        finish(a, r);
}

/* --- what the others call -------------------------------------------- */

int
mlc_web_adopt(struct mlc_web *web, const char *path,
              const struct mlc_web_found *found, struct mlc_web_rec *rec)
{
    struct mlc_web_adoption *a = calloc(1, sizeof(*a));

    if (!a) {
        mlc_web_rec_done(rec);
        return -ENOMEM;
    }
    a->job.run = run;
    a->web = web;
    a->from = a->to = -1;
    a->start_ms = mlc_mono_ms();
    a->rec = *rec;
    memset(rec, 0, sizeof(*rec));
    a->path = strdup(path);
    if (!a->path || mlc_web_found_copy(found, &a->found) < 0) {
        adoption_free(a);
        return -ENOMEM;
    }
    pthread_mutex_lock(&web->lock);
    a->next = web->adoptions;
    web->adoptions = a;
    pthread_mutex_unlock(&web->lock);
    mlc_pool_submit(web->d->cache->pool, MLC_LANE_SLOW, &a->job);
    return 0;
}

int
mlc_web_adopt_wait(struct mlc_web *web, const char *path, struct mlc_ask *ask)
{
    MLC_LOCK_SCOPE(&web->lock);

    for (struct mlc_web_adoption *a = web->adoptions; a; a = a->next) {
        if (strcmp(a->path, path) != 0)
            continue;
        if (ask->only_known)
            return -EAGAIN;
        /* It ends by itself. */
        ask->deadline_ms = MLC_NEVER_MS;
        return mlc_waitlist_add(&a->waiters, ask);
    }
    return -ENOENT;
}

void
mlc_web_adoptions_free(struct mlc_web *web)
{
    while (web->adoptions) {
        struct mlc_web_adoption *a = web->adoptions;

        web->adoptions = a->next;
        for (size_t i = 0; i < a->waiters.n; i++)
            mlc_wait_unref(a->waiters.items[i]);
        adoption_free(a);
    }
}
