/* SPDX-License-Identifier: MIT */
/* Moving a whole, verified object home: the first home gets the data file
 * itself, the others a link to it, or a copy where no link can be made. */
#include "config.h"

#include "backends/cache/object_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/cache/evict.h"
#include "backends/cache/ledger.h"
#include "backends/util/cleanup.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define COPY_STEP ((size_t)1024 * 1024)
#define MAX_TRIES 5
#define SYNC_STEP ((uint64_t)16 * 1024 * 1024)

static struct mlc_home *
next_home_locked(struct mlc_object *obj)
{
    struct mlc_home *h = obj->homes;

    while (h && (h->is_done || h->is_failed || h->is_unwanted))
        h = h->next;
    return atomic_load(&obj->store->is_stopped) ? NULL : h;
}

bool
mlc_publish_kick_locked(struct mlc_object *obj)
{
    if (obj->state != MLC_OBJECT_WHOLE || obj->is_publishing ||
        !next_home_locked(obj))
        return false;
    obj->is_publishing = true;
    mlc_object_ref(obj);
    return true;
}

/* fdatasync() in steps: it can't be given up, and takes as long as the disk
 * needs for a whole model.  -ECANCELED: the store was stopped; the pieces are
 * in the map, and the next run goes on. */
static int
sync_data(struct mlc_object *obj)
{
    const unsigned flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                           SYNC_FILE_RANGE_WAIT_AFTER;
    int fd = atomic_load(&obj->fd);

    for (uint64_t off = 0; off < obj->size; off += SYNC_STEP) {
        if (atomic_load(&obj->store->is_stopped))
            return -ECANCELED;
        /* Not every file system has it; then the last call does it all. */
        if (sync_file_range(fd, (off_t)off, (off_t)SYNC_STEP, flags) < 0)
            break;
    }
    if (atomic_load(&obj->store->is_stopped))
        return -ECANCELED;
    return fdatasync(fd) < 0 ? -errno : 0;
}

/* One step of a copy by hand, where the kernel can't do it. */
static ssize_t
copy_chunk(int from, int to, off_t off)
{
    char chunk[32 * 1024];
    ssize_t n, done = 0;

    n = pread(from, chunk, sizeof(chunk), off);
    while (n > done) {
        ssize_t w = pwrite(to, chunk + done, (size_t)(n - done), off + done);

        if (w < 0 && errno != EINTR)
            return -1;
        if (w > 0)
            done += w;
    }
    return n;
}

static int
copy_bytes(struct mlc_object *obj, int from, int to)
{
    bool by_hand = false;
    off_t off = 0;

    while ((uint64_t)off < obj->size) {
        off_t in = off, out = off;
        ssize_t n;

        if (atomic_load(&obj->store->is_stopped))
            return -ECANCELED;
        if (by_hand)
            n = copy_chunk(from, to, off);
        else
            n = copy_file_range(from, &in, to, &out, COPY_STEP, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 && !by_hand) {
            by_hand = true;
            continue;
        }
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EBADMSG;
        off += n;
    }
    return 0;
}

/* The time that the file showed while it was fetched. */
static void
set_mtime(const struct mlc_home *h, int fd)
{
    struct timespec ts[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = h->mtime_ms / 1000,
         .tv_nsec = (h->mtime_ms % 1000) * 1000000},
    };

    if (h->mtime_ms > 0 && futimens(fd, ts) < 0)
        mlc_debug("object", "%s: its time cannot be set: %m", h->path);
}

/* Before it gets its name: after a kill it must not pass for a user's. */
static void
note_fetched(const struct mlc_object *obj, int fd)
{
    struct stat st;

    if (fstat(fd, &st) == 0)
        mlc_ledger_add(obj->store->ledger, &st);
}

/* Puts a copy at base in dir, by way of tmp; synced. */
static int
copy_home(struct mlc_object *obj, const struct mlc_home *h, int dir,
          const char *tmp, const char *base)
{
    mlc_autoclose int to = -1;
    int r;

    unlinkat(dir, tmp, 0);
    to = openat(dir, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                (mode_t)h->mode);
    if (to < 0)
        return -errno;
    r = copy_bytes(obj, atomic_load(&obj->fd), to);
    set_mtime(h, to);
    if (r == 0 && fdatasync(to) < 0)
        r = -errno;
    if (r == 0)
        note_fetched(obj, to);
    if (r == 0 && renameat(dir, tmp, dir, base) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(dir, tmp, 0);
    else
        mlc_evict_wrote(obj->store->evictor, obj->size);
    return r;
}

/* A second name for the data file; replaces what is there. */
static int
link_home(struct mlc_object *obj, int dir, const char *tmp, const char *base)
{
    char proc[40];
    int r = 0;

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", atomic_load(&obj->fd));
    unlinkat(dir, tmp, 0);
    if (linkat(AT_FDCWD, proc, dir, tmp, AT_SYMLINK_FOLLOW) < 0)
        return -errno;
    if (renameat(dir, tmp, dir, base) < 0) {
        r = -errno;
        unlinkat(dir, tmp, 0);
    }
    return r;
}

/* The data file leaves the store's directory; its map goes. */
static int
move_home(struct mlc_object *obj, const struct mlc_home *h, int dir,
          const char *tmp, const char *base)
{
    char text[MLC_NAME_TEXT];
    int r = 0;

    mlc_name_text(obj->name, ".data", text);
    if (obj->size == 0)
        return copy_home(obj, h, dir, tmp, base);
    set_mtime(h, atomic_load(&obj->fd));
    /* Data before name: after a power cut a name must not outlive its bytes. */
    r = sync_data(obj);
    if (r < 0)
        return r;
    note_fetched(obj, atomic_load(&obj->fd));
    if (renameat(obj->store->fd, text, dir, base) < 0) {
        if (errno != EXDEV)
            return -errno;
        r = copy_home(obj, h, dir, tmp, base);
        if (r < 0)
            return r;
        unlinkat(obj->store->fd, text, 0);
    }
    mlc_name_text(obj->name, ".map", text);
    unlinkat(obj->store->fd, text, 0);
    return 0;
}

/* Is what we put there, or the object's own file, still there? */
static bool
is_home(const struct mlc_object *obj, const struct mlc_home *h, int dir,
        const char *base)
{
    struct stat st;

    return fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           ((st.st_dev == obj->dev && st.st_ino == obj->ino) ||
            (st.st_dev == h->dev && st.st_ino == h->ino));
}

/* 1: it was made; 0: it was there. */
static int
publish_home(struct mlc_object *obj, struct mlc_home *h, bool is_first)
{
    mlc_autoclose int parent = -1;
    mlc_autoclose int dir = -1;
    char tmp[2 * MLC_NAME_LEN + 1 + sizeof(MLC_PUBLISH_SUFFIX)];
    const char *base = NULL;
    struct stat st;
    int r;

    r = mlc_mkdir_parents_at(h->dirfd, h->path);
    if (r < 0)
        return r;
    parent = mlc_open_parent(h->dirfd, h->path, &base);
    if (parent < 0)
        return parent;
    dir = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    tmp[0] = '.';
    mlc_format_hex(obj->name, MLC_NAME_LEN, tmp + 1);
    strcpy(tmp + 1 + 2 * MLC_NAME_LEN, MLC_PUBLISH_SUFFIX);

    if (is_first) {
        r = move_home(obj, h, dir, tmp, base);
    } else if (is_home(obj, h, dir, base)) {
        return 0;
    } else {
        r = obj->size > 0 ? link_home(obj, dir, tmp, base) : -ENOENT;
        if (r < 0)
            r = copy_home(obj, h, dir, tmp, base);
    }
    if (r == 0 && fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        h->dev = st.st_dev;
        h->ino = st.st_ino;
    }
    if (r == 0 && fsync(dir) < 0)
        r = -errno;
    return r < 0 ? r : 1;
}

void
mlc_publish_run(struct mlc_job *job)
{
    struct mlc_object *obj =
        mlc_container_of(job, struct mlc_object, publish_job);
    struct mlc_home *h;
    bool is_first;
    int map_fd, r;

    pthread_mutex_lock(&obj->lock);
    while ((h = next_home_locked(obj))) {
        is_first = !obj->is_published;
        /* Asked for anew from here on, it is looked at once more. */
        h->is_done = true;
        pthread_mutex_unlock(&obj->lock);
        r = publish_home(obj, h, is_first);
        /* Its folder was removed just now. */
        for (int i = 0; i < MAX_TRIES && r == -ENOENT; i++)
            r = publish_home(obj, h, is_first);
        if (r < 0 && r != -ECANCELED) {
            errno = -r;
            mlc_log_err(r, "%s: cannot be put at %s: %m", obj->label, h->path);
        }
        pthread_mutex_lock(&obj->lock);
        h->is_failed = r < 0;
        if (r < 0) {
            h->is_done = false;
            continue;
        }
        if (h->is_unwanted)
            r = -ECANCELED;
        map_fd = -1;
        if (is_first) {
            obj->is_published = true;
            map_fd = obj->map_fd;
            obj->map_fd = -1;
            atomic_fetch_add(&obj->store->published, 1);
        }
        pthread_mutex_unlock(&obj->lock);
        if (map_fd >= 0)
            close(map_fd);
        if (r != 0 && h->published)
            h->published(h->published_arg, h->path, r < 0 ? r : 0);
        pthread_mutex_lock(&obj->lock);
    }
    obj->is_publishing = false;
    pthread_mutex_unlock(&obj->lock);
    mlc_object_unref(obj);
}
