/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends/cache/object.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"

/* Waited for in one go, so that a range of any length is counted. */
#define MAX_WANT ((size_t)1 << 30)

struct mlc_source {
    atomic_uint refs;
    struct mlc_object *obj; /* immutable, as all here; NULL: a file */
    int fd;                 /* of the file; -1 */
    struct stat st;         /* of the file, when it was opened */
    char *label;
    atomic_bool is_changed; /* and logged */
};

static struct mlc_source *
source_new(const char *label)
{
    struct mlc_source *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->fd = -1;
    s->label = strdup(label);
    if (!s->label) {
        free(s);
        return NULL;
    }
    return s;
}

int
mlc_source_new_file(int fd, const char *label, struct mlc_source **ret)
{
    mlc_autoclose int owned = fd;
    struct mlc_source *s;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    s = source_new(label);
    if (!s)
        return -ENOMEM;
    s->st = st;
    s->fd = mlc_steal_fd(&owned);
    *ret = s;
    return 0;
}

int
mlc_source_new_object(struct mlc_object *obj, struct mlc_source **ret)
{
    struct mlc_source *s = source_new(mlc_object_label(obj));

    if (!s) {
        mlc_object_unref(obj);
        return -ENOMEM;
    }
    s->obj = obj;
    mlc_object_open_part(obj);
    *ret = s;
    return 0;
}

struct mlc_source *
mlc_source_ref(struct mlc_source *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void
mlc_source_unref(struct mlc_source *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    if (s->obj) {
        mlc_object_close_part(s->obj);
        mlc_object_unref(s->obj);
    }
    if (s->fd >= 0)
        close(s->fd);
    free(s->label);
    free(s);
}

uint64_t
mlc_source_size(const struct mlc_source *s)
{
    return s->obj ? mlc_object_size(s->obj) : (uint64_t)s->st.st_size;
}

const char *
mlc_source_label(const struct mlc_source *s)
{
    return s->label;
}

uint64_t
mlc_file_identity(const struct stat *st)
{
    uint64_t key[] = {st->st_dev,
                      st->st_ino,
                      (uint64_t)st->st_size,
                      (uint64_t)st->st_mtim.tv_sec,
                      (uint64_t)st->st_mtim.tv_nsec,
                      (uint64_t)st->st_ctim.tv_sec,
                      (uint64_t)st->st_ctim.tv_nsec};

    return XXH3_64bits(key, sizeof(key)) | 1;
}

uint64_t
mlc_source_identity(const struct mlc_source *s)
{
    return s->obj ? 0 : mlc_file_identity(&s->st);
}

static int
check_unchanged(struct mlc_source *s)
{
    struct stat st;

    if (fstat(s->fd, &st) < 0)
        return mlc_log_err(-errno, "%s: %m", s->label);
    if (st.st_size == s->st.st_size &&
        st.st_mtim.tv_sec == s->st.st_mtim.tv_sec &&
        st.st_mtim.tv_nsec == s->st.st_mtim.tv_nsec)
        return 0;
    if (!atomic_exchange(&s->is_changed, true))
        mlc_log_err(-EIO, "%s: changed while it was read", s->label);
    return -EIO;
}

int
mlc_source_want(struct mlc_source *s, uint64_t off, uint64_t len,
                struct mlc_ask *ask)
{
    uint64_t size = mlc_source_size(s);
    int r = 0;

    if (off > size || len > size - off)
        return mlc_log_err(-EIO, "%s: ends at %" PRIu64, s->label, size);
    if (!s->obj)
        return check_unchanged(s);
    while (len > 0) {
        size_t n = len < MAX_WANT ? (size_t)len : MAX_WANT;
        int q = mlc_object_want(s->obj, off, n, ask);

        if (q < 0 && q != -EAGAIN)
            return q;
        if (q < 0)
            r = q;
        off += n;
        len -= n;
    }
    return r == 0 ? mlc_object_check_file(s->obj) : r;
}

int
mlc_source_read(struct mlc_source *s, uint64_t off, void *ret, size_t len)
{
    int fd = s->obj ? mlc_object_fd(s->obj) : s->fd;
    char *p = ret;

    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mlc_log_err(-errno, "%s: %m", s->label);
        if (n == 0)
            return mlc_log_err(-EIO, "%s: ends at %" PRIu64, s->label, off);
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return s->obj ? 0 : check_unchanged(s);
}

int
mlc_source_fd(struct mlc_source *s)
{
    return s->obj ? mlc_object_fd(s->obj) : -1;
}

bool
mlc_source_is_remote(struct mlc_source *s)
{
    return s->obj && mlc_object_get_state(s->obj) != MLC_OBJECT_WHOLE;
}

int64_t
mlc_source_progress_ms(const struct mlc_source *s)
{
    return s->obj ? mlc_object_progress_ms(s->obj) : 0;
}
