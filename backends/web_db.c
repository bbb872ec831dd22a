/* SPDX-License-Identifier: MIT */
/* What dgenerate has fetched: its web/cache.db, read when it has changed.
 *
 * Nothing is ever written, made or rolled back: the bytes of the file are read
 * under the locks that its users take (cache.db.lock, and SQLite's own), and
 * looked into afterwards.  Locks that were taken through the mount are not seen
 * here: what was read counts only if nobody had the database open there, before
 * and after.  A journal says that somebody is at work on it, or died while he
 * was.  Whatever is wrong with the database is no reason for an error: then
 * dgenerate has fetched nothing, or (somebody has it locked) what was known
 * last. */
#include "config.h"

#include "backends/web_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define DB      "cache.db"
#define LOCK    "cache.db.lock"
#define JOURNAL "cache.db-journal"
#define WAL     "cache.db-wal"
/* Where SQLite locks: a byte that writers-to-be hold, and a range that readers
 * share and the one who writes has for himself. */
#define PENDING_BYTE 0x40000000
#define SHARED_FIRST (PENDING_BYTE + 2)
#define SHARED_SIZE  510
/* A locked one is not tried again for that long, unless it changes. */
#define BUSY_MS 20
/* One that changes all the time is believed after that many readings, each
 * within CALM_MS of the one before. */
#define MAX_IN_ROW 16
#define CALM_MS    100

static const struct mlc_base *
base_of(const struct mlc_web *web)
{
    const char *rel;

    return mlc_domain_base(web->d, DB, &rel);
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
           a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* --- reading (pool) -------------------------------------------- */

/* dgenerate's lock, where there is one.  The descriptor that holds it; -ENOENT:
 * there is none; -EBUSY: another has it. */
static int
take_lock(int dirfd)
{
    mlc_autoclose int fd = -1;
    struct stat st;

    fd = mlc_open_beneath(dirfd, LOCK, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return -EINVAL;
    if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    /* Removed by who had it until now: another may have a new one. */
    if (fstat(fd, &st) < 0 || st.st_nlink == 0)
        return -EBUSY;
    return mlc_steal_fd(&fd);
}

/* As a reader of SQLite's does.  They go with the descriptor. */
static int
take_sqlite_locks(int fd)
{
    struct flock lock = {
        .l_type = F_RDLCK,
        .l_whence = SEEK_SET,
        .l_start = PENDING_BYTE,
        .l_len = 1,
    };

    if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
    lock.l_start = SHARED_FIRST;
    lock.l_len = SHARED_SIZE;
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
    return 0;
}

/* Is there more to the database than its file? */
static bool
has_bytes(int dirfd, const char *name)
{
    struct stat st;

    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_size > 0;
}

static int
read_whole(int fd, size_t len, unsigned char **ret)
{
    mlc_autofree unsigned char *data = malloc(len + 1);
    size_t off = 0;

    if (!data)
        return -ENOMEM;
    while (off < len) {
        ssize_t n = pread(fd, data + off, len - off, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EBUSY;
        off += (size_t)n;
    }
    *ret = mlc_steal(&data);
    return 0;
}

/* The bytes of the database when nobody was at work on it. */
static int
read_locked(int dirfd, int fd, unsigned char **ret, struct stat *ret_seen)
{
    struct stat after;
    int r;

    r = take_sqlite_locks(fd);
    if (r == 0 && (has_bytes(dirfd, JOURNAL) || has_bytes(dirfd, WAL)))
        r = -EBUSY;
    if (r == 0 && fstat(fd, ret_seen) < 0)
        r = -errno;
    if (r == 0 && !S_ISREG(ret_seen->st_mode))
        r = -EBADMSG;
    if (r == 0 &&
        (ret_seen->st_size < 0 || (uint64_t)ret_seen->st_size > MLC_WEB_MAX_DB))
        r = -EFBIG;
    if (r == 0)
        r = read_whole(fd, (size_t)ret_seen->st_size, ret);
    if (r == 0 && (fstat(fd, &after) < 0 || !is_same(&after, ret_seen)))
        r = -EBUSY;
    return r;
}

/* *ret_seen: the file, as far as it could be looked at, whatever the result. */
static int
read_db(struct mlc_web *web, unsigned char **ret, struct stat *ret_seen)
{
    struct mlc_domain *d = web->d;
    int dirfd = base_of(web)->fd;
    mlc_autoclose int lock = take_lock(dirfd);
    mlc_autoclose int fd = -1;
    void *watch = NULL;
    int r;

    if (fstatat(dirfd, DB, ret_seen, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (lock < 0 && lock != -ENOENT)
        return lock;
    fd = mlc_open_beneath(dirfd, DB, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    if (d->watch) {
        watch = d->watch(d, fd);
        if (!watch)
            return -EBUSY;
    }
    r = read_locked(dirfd, fd, ret, ret_seen);
    if (watch && !d->unwatch(d, watch) && r == 0)
        r = -EBUSY;
    return r;
}

/* --- what came of it ------------------------------------------------- */

static const char *
why_not(int r)
{
    switch (r) {
    case -EBUSY:
        return "it is locked, or open";
    case -EFBIG:
        return "it is too large";
    case -EBADMSG:
        return "it is no database of dgenerate's";
    }
    return strerror(-r);
}

/* Once for each of the causes, until it has been read again. */
static void
complain_locked(struct mlc_web_db *db, int r)
{
    unsigned bit = 1u << ((unsigned)-r % 31);

    if (r == 0)
        db->said &= 1u << (EBUSY % 31); /* that comes and goes */
    if (r == 0 || r == -ENOENT || (db->said & bit))
        return;
    db->said |= bit;
    mlc_info("web: dgenerate's cache.db is not used: %s", why_not(r));
}

static void
run(struct mlc_job *job)
{
    struct mlc_web *web = mlc_container_of(job, struct mlc_web, db.job);
    struct mlc_web_db *db = &web->db;
    mlc_autofree unsigned char *data = NULL;
    struct mlc_web_rows rows = {0};
    struct mlc_waitlist waiters;
    struct stat seen = {0};
    int r;

    r = read_db(web, &data, &seen);
    /* One without a byte has no rows: it was made a moment ago. */
    if (r == 0 && seen.st_size > 0) {
        r = mlc_web_rows_read(data, (size_t)seen.st_size, &rows);
        /* Its keys hold tokens. */
        explicit_bzero(data, (size_t)seen.st_size);
    }
    pthread_mutex_lock(&db->lock);
    if (r != -EBUSY) {
        mlc_web_rows_done(&db->rows);
        db->rows = rows;
    }
    db->seen = seen;
    db->result = r;
    db->read_ms = mlc_mono_ms();
    db->is_reading = false;
    complain_locked(db, r);
    mlc_waitlist_take(&db->waiters, &waiters);
    pthread_mutex_unlock(&db->lock);
    mlc_waitlist_wake(&waiters);
}

/* --- asking ---------------------------------------------------------- */

/* Is there anything to be learnt from reading it now?  now: what it is. */
static bool
is_due_locked(struct mlc_web_db *db, const struct stat *now)
{
    int64_t ago = mlc_mono_ms() - db->read_ms;

    if (is_same(now, &db->seen) && (db->result != -EBUSY || ago < BUSY_MS))
        return false;
    db->n_in_row = ago < CALM_MS ? db->n_in_row + 1 : 0;
    return db->n_in_row < MAX_IN_ROW;
}

int
mlc_web_db_refresh(struct mlc_web *web, struct mlc_ask *ask)
{
    struct mlc_web_db *db = &web->db;
    struct stat st;
    bool is_there =
        fstatat(base_of(web)->fd, DB, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode);
    int r;

    MLC_LOCK_SCOPE(&db->lock);
    if (!is_there) {
        if (!db->is_reading) {
            mlc_web_rows_done(&db->rows);
            memset(&db->seen, 0, sizeof(db->seen));
        }
        return 0;
    }
    if (ask->only_known || (!db->is_reading && !is_due_locked(db, &st)))
        return 0;
    r = mlc_waitlist_add(&db->waiters, ask);
    if (r == -EAGAIN && !db->is_reading) {
        db->is_reading = true;
        mlc_pool_submit(web->d->cache->pool, MLC_LANE_QUICK, &db->job);
    }
    return r;
}

/* --- what it says ---------------------------------------------------- */

static bool
is_fresh(const struct mlc_web *web, const struct mlc_web_row *row,
         int64_t now_ms)
{
    struct mlc_web_rec rec = {
        .kind = MLC_WEB_FILE,
        .fetched_ms = row->date_us / 1000,
    };

    return mlc_web_is_fresh(web, &rec, now_ms);
}

/* A file that was written after its row was made is being written anew, or was
 * left in the middle of it. */
static bool
is_of_date(const struct stat *st, int64_t date_us)
{
    int64_t mtime_us = (int64_t)st->st_mtim.tv_sec * 1000000 +
                       (int64_t)st->st_mtim.tv_nsec / 1000;

    return S_ISREG(st->st_mode) && st->st_size >= 0 && mtime_us <= date_us;
}

int
mlc_web_found_copy(const struct mlc_web_found *from, struct mlc_web_found *ret)
{
    *ret = *from;
    ret->name = strdup(from->name);
    ret->type = from->type ? strdup(from->type) : NULL;
    if (ret->name && (ret->type || !from->type))
        return 0;
    mlc_web_found_done(ret);
    return -ENOMEM;
}

/* What the row says, without a look at the file. */
static int
copy_row(const struct mlc_web_row *row, struct mlc_web_found *ret)
{
    const struct mlc_web_found found = {
        .name = row->name,
        .type = row->type,
        .date_us = row->date_us,
    };

    return mlc_web_found_copy(&found, ret);
}

int
mlc_web_db_find(struct mlc_web *web, const char *url, int64_t now_ms,
                struct mlc_web_found *ret)
{
    struct mlc_web_db *db = &web->db;
    mlc_autofree char *same = NULL;
    struct stat st;
    size_t i;
    int r;

    memset(ret, 0, sizeof(*ret));
    r = mlc_web_same_url(url, &same);
    if (r < 0)
        return r == -EINVAL ? -ENOENT : r;
    pthread_mutex_lock(&db->lock);
    i = mlc_web_rows_bound(&db->rows, same);
    r = -ENOENT;
    if (i < db->rows.n && strcmp(db->rows.items[i].url, same) == 0 &&
        is_fresh(web, &db->rows.items[i], now_ms))
        r = copy_row(&db->rows.items[i], ret);
    pthread_mutex_unlock(&db->lock);
    if (r < 0)
        return r;
    if (fstatat(base_of(web)->fd, ret->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !is_of_date(&st, ret->date_us)) {
        mlc_web_found_done(ret);
        return -ENOENT;
    }
    ret->size = (uint64_t)st.st_size;
    return 0;
}

bool
mlc_web_db_has_below(struct mlc_web *web, const char *url, int64_t now_ms)
{
    struct mlc_web_db *db = &web->db;
    mlc_autofree char *same = NULL;
    mlc_autofree char *start = NULL;
    size_t len;

    if (mlc_web_same_url(url, &same) < 0)
        return false;
    start = mlc_path_join(same, "");
    if (!start)
        return false;
    len = strlen(start);
    MLC_LOCK_SCOPE(&db->lock);
    for (size_t i = mlc_web_rows_bound(&db->rows, start); i < db->rows.n; i++) {
        if (strncmp(db->rows.items[i].url, start, len) != 0)
            break;
        if (is_fresh(web, &db->rows.items[i], now_ms))
            return true;
    }
    return false;
}

int
mlc_web_found_open(struct mlc_web *web, const struct mlc_web_found *found)
{
    mlc_autoclose int fd = -1;
    struct stat st;

    fd = mlc_open_beneath(base_of(web)->fd, found->name, O_RDONLY | O_NONBLOCK,
                          0);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!is_of_date(&st, found->date_us) || (uint64_t)st.st_size != found->size)
        return -ESTALE;
    return mlc_steal_fd(&fd);
}

void
mlc_web_found_done(struct mlc_web_found *found)
{
    free(found->name);
    free(found->type);
    memset(found, 0, sizeof(*found));
}

/* --- begin and end --------------------------------------------------- */

void
mlc_web_db_init(struct mlc_web *web)
{
    pthread_mutex_init(&web->db.lock, NULL);
    web->db.job.run = run;
}

void
mlc_web_db_done(struct mlc_web *web)
{
    struct mlc_web_db *db = &web->db;

    mlc_web_rows_done(&db->rows);
    for (size_t i = 0; i < db->waiters.n; i++)
        mlc_wait_unref(db->waiters.items[i]);
    free(db->waiters.items);
    pthread_mutex_destroy(&db->lock);
}
