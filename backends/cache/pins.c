/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/pins.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define FILE_NAME  "pins"
#define NEW_NAME   "pins.new"
#define FIRST_LINE "mlcachefs pins 1"
#define MAX_PINS   ((size_t)10000)
#define MAX_FILE   ((size_t)64 << 20)

struct mlc_pins {
    int dirfd; /* immutable */
    pthread_mutex_t lock;
    char **paths; /* lock; sorted */
    size_t n;     /* lock */
};

/* The first path that is not before 'path'. */
static size_t
lower_bound_locked(const struct mlc_pins *p, const char *path)
{
    size_t from = 0, to = p->n;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (strcmp(p->paths[mid], path) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static bool
is_at_locked(const struct mlc_pins *p, size_t i, const char *path)
{
    return i < p->n && strcmp(p->paths[i], path) == 0;
}

static int
insert_locked(struct mlc_pins *p, size_t i, const char *path)
{
    char *copy = strdup(path);
    char **grown;

    if (!copy)
        return -ENOMEM;
    grown = reallocarray(p->paths, p->n + 1, sizeof(*grown));
    if (!grown) {
        free(copy);
        return -ENOMEM;
    }
    p->paths = grown;
    memmove(p->paths + i + 1, p->paths + i, (p->n - i) * sizeof(*p->paths));
    p->paths[i] = copy;
    p->n++;
    return 0;
}

static void
remove_locked(struct mlc_pins *p, size_t i)
{
    free(p->paths[i]);
    p->n--;
    memmove(p->paths + i, p->paths + i + 1, (p->n - i) * sizeof(*p->paths));
}

/* --- the file ------------------------------------------------------------ */

/* Synced first: a power cut must not leave an empty list in its place. */
static int
replace_file(const struct mlc_pins *p)
{
    mlc_autoclose int fd = -1;

    fd = openat(p->dirfd, NEW_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fdatasync(fd) < 0 ||
        renameat(p->dirfd, NEW_NAME, p->dirfd, FILE_NAME) < 0)
        return -errno;
    return 0;
}

static int
save_locked(const struct mlc_pins *p)
{
    struct mlc_buf b;
    int r;

    mlc_buf_init(&b, MAX_FILE);
    r = mlc_buf_puts(&b, FIRST_LINE "\n");
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        mlc_autofree char *line = mlc_url_encode(p->paths[i], true);

        r = line ? mlc_buf_printf(&b, "%s\n", line) : -ENOMEM;
    }
    if (r == 0)
        r = mlc_write_file_at(p->dirfd, NEW_NAME, b.data, b.len, 0600);
    mlc_buf_done(&b);
    return r < 0 ? r : replace_file(p);
}

static int
load_line(struct mlc_pins *p, char *line)
{
    size_t i;

    if (mlc_url_decode(line) < 0)
        return -EBADMSG;
    i = lower_bound_locked(p, line);
    if (is_at_locked(p, i, line))
        return 0;
    return p->n < MAX_PINS ? insert_locked(p, i, line) : -EBADMSG;
}

static int
load(struct mlc_pins *p)
{
    mlc_autofree char *text = NULL;
    char *line, *rest;
    int r;

    r = mlc_read_file_at(p->dirfd, FILE_NAME, MAX_FILE, &text, NULL);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    rest = text;
    line = strsep(&rest, "\n");
    if (strcmp(line, FIRST_LINE) != 0)
        r = -EBADMSG;
    while (r == 0 && (line = strsep(&rest, "\n")))
        if (*line)
            r = load_line(p, line);
    return r;
}

/* --- what is pinned ------------------------------------------------------ */

int
mlc_pins_set(struct mlc_pins *p, const char *path, bool is_pinned)
{
    size_t i;
    int r = 0;

    MLC_LOCK_SCOPE(&p->lock);
    i = lower_bound_locked(p, path);
    if (is_at_locked(p, i, path) == is_pinned)
        return 0;
    if (is_pinned && p->n == MAX_PINS)
        return -ENOSPC;
    if (is_pinned)
        r = insert_locked(p, i, path);
    else
        remove_locked(p, i);
    if (r == 0)
        r = save_locked(p);
    if (r == 0)
        return 0;
    if (is_pinned && is_at_locked(p, i, path))
        remove_locked(p, i);
    else if (!is_pinned)
        (void)insert_locked(p, i, path);
    return r;
}

static bool
has_locked(const struct mlc_pins *p, const char *path)
{
    mlc_autofree char *dir = strdup(path);
    char *slash;

    if (!dir)
        return true; /* rather too much is kept */
    do {
        if (is_at_locked(p, lower_bound_locked(p, dir), dir))
            return true;
        slash = strrchr(dir, '/');
        if (slash)
            *slash = '\0';
    } while (slash);
    return false;
}

bool
mlc_pins_any(struct mlc_pins *p)
{
    if (!p)
        return false;
    MLC_LOCK_SCOPE(&p->lock);
    return p->n > 0;
}

bool
mlc_pins_has(struct mlc_pins *p, const char *path)
{
    if (!p)
        return false;
    MLC_LOCK_SCOPE(&p->lock);
    return p->n > 0 && has_locked(p, path);
}

static bool
is_any(void *arg, const char *path)
{
    return true;
}

bool
mlc_pins_touches(struct mlc_pins *p, const char *path)
{
    return mlc_pins_has(p, path) || mlc_pins_each(p, path, is_any, NULL);
}

bool
mlc_pins_each(struct mlc_pins *p, const char *dir,
              bool (*fn)(void *arg, const char *path), void *arg)
{
    mlc_autofree char *last = NULL;

    /* One after the other, by its name: fn is called without the lock. */
    while (p) {
        char *path;
        size_t i;

        pthread_mutex_lock(&p->lock);
        i = last ? lower_bound_locked(p, last) : 0;
        if (last && is_at_locked(p, i, last))
            i++;
        while (i < p->n && !mlc_path_is_under(p->paths[i], dir))
            i++;
        path = i < p->n ? strdup(p->paths[i]) : NULL;
        pthread_mutex_unlock(&p->lock);
        free(last);
        last = path;
        if (!path)
            return false;
        if (fn(arg, path))
            return true;
    }
    return false;
}

/* --- begin and end ------------------------------------------------------- */

int
mlc_pins_open(int dirfd, struct mlc_pins **ret)
{
    struct mlc_pins *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    p->dirfd = dirfd;
    r = load(p);
    if (r < 0) {
        mlc_pins_close(p);
        return mlc_log_err(r, "the list of pins (" FILE_NAME
                              ") can't be read; put it right or remove it");
    }
    *ret = p;
    return 0;
}

void
mlc_pins_close(struct mlc_pins *p)
{
    if (!p)
        return;
    while (p->n > 0)
        free(p->paths[--p->n]);
    free(p->paths);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
