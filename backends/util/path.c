/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/parse.h"

#define MAX_NAME_LEN     255
#define MAX_REDACTED_LEN 300
#define MAX_COPIED       600 /* more than is shown */
#define ELLIPSIS         "\xe2\x80\xa6"

static bool
is_safe_part(const char *s, size_t len)
{
    if (len == 0 || len > MAX_NAME_LEN)
        return false;
    if (s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.')))
        return false;
    return true;
}

bool
mlc_name_is_safe(const char *name)
{
    return is_safe_part(name, strlen(name)) && !strchr(name, '/');
}

/* Every part a safe name; "" is not. */
static bool
parts_are_safe(const char *path)
{
    for (;;) {
        size_t len = strcspn(path, "/");

        if (!is_safe_part(path, len))
            return false;
        if (path[len] == '\0')
            return true;
        path += len + 1;
    }
}

bool
mlc_path_is_safe(const char *path, size_t max)
{
    if (strnlen(path, max) == max && path[max] != '\0')
        return false;
    for (const char *p = path; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (c < 0x20 || c == 0x7f || c == '\\')
            return false;
    }
    return parts_are_safe(path);
}

bool
mlc_path_is_under(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    if (len == 0)
        return true;
    return strncmp(path, dir, len) == 0 &&
           (path[len] == '\0' || path[len] == '/');
}

char *
mlc_path_join(const char *dir, const char *name)
{
    char *path;

    if (*dir == '\0')
        return strdup(name);
    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

const char *
mlc_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool
is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

char *
mlc_url_encode(const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size;
    char *out, *p;

    if (__builtin_mul_overflow(strlen(text), 3U, &size) || size == SIZE_MAX)
        return NULL;
    out = malloc(size + 1);
    if (!out)
        return NULL;
    p = out;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (is_unreserved(*text) || (keep_slash && *text == '/')) {
            *p++ = *text;
        } else {
            *p++ = '%';
            *p++ = digits[c >> 4];
            *p++ = digits[c & 15];
        }
    }
    *p = '\0';
    return out;
}

static int
min_int(size_t a, int b)
{
    return a < (size_t)b ? (int)a : b;
}

char *
mlc_url_redact(const char *url)
{
    const char *scheme_end = strstr(url, "://");
    const char *host = url, *tail, *end;
    size_t scheme_len, host_len, keep;
    char *out = NULL;

    /* "://" may also stand in a path or query; then there is no scheme. */
    if (scheme_end && strcspn(url, "/?#@") > (size_t)(scheme_end - url))
        host = scheme_end + 3;
    else if (strncmp(url, "//", 2) == 0)
        host = url + 2;
    scheme_len = (size_t)(host - url);

    host_len = strcspn(host, "/?#");
    for (const char *at = host + host_len; at > host; at--)
        if (at[-1] == '@') { /* the last one: passwords may hold more */
            host = at;
            break;
        }
    end = host + strcspn(host, "?#");
    tail = *end ? ELLIPSIS : "";
    /* The precisions keep what is copied small however long the URL is. */
    if (asprintf(&out, "%.*s%s%.*s%.1s%s", min_int(scheme_len, MAX_COPIED), url,
                 host > url + scheme_len ? ELLIPSIS "@" : "",
                 min_int((size_t)(end - host), MAX_COPIED), host, end,
                 tail) < 0)
        return NULL;

    keep = strlen(out);
    mlc_mask_control(out, keep);
    if (keep > MAX_REDACTED_LEN) {
        keep = MAX_REDACTED_LEN - strlen(ELLIPSIS);
        while (keep > 0 && ((unsigned char)out[keep] & 0xc0) == 0x80)
            keep--; /* not inside a character */
        memcpy(out + keep, ELLIPSIS, sizeof(ELLIPSIS));
    }
    return out;
}

/* Tells a symlink, which the caller must not meet, from what else r means. */
static int
explain(int dirfd, const char *name, int r)
{
    struct stat st;

    if (r == -ENOTDIR && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(st.st_mode))
        return -ELOOP;
    return r;
}

/* Opens one directory below dirfd. */
static int
open_dir(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? explain(dirfd, name, -errno) : fd;
}

/* What openat2 does, for kernels (before 5.6) and sandboxes without it. */
static int
open_by_parts(int dirfd, char *path, int flags, mode_t mode)
{
    mlc_autoclose int cur = -1;
    mlc_autoclose int fd = -1;
    struct stat st;
    char *slash;

    while ((slash = strchr(path, '/'))) {
        int next;

        *slash = '\0';
        next = open_dir(cur >= 0 ? cur : dirfd, path);
        if (next < 0)
            return next;
        if (cur >= 0)
            close(cur);
        cur = next;
        path = slash + 1;
    }
    fd = openat(cur >= 0 ? cur : dirfd, path, flags | O_NOFOLLOW, mode);
    if (fd < 0)
        return explain(cur >= 0 ? cur : dirfd, path, -errno);
    /* With O_PATH, O_NOFOLLOW opens the symlink itself. */
    if ((flags & O_PATH) && !(flags & O_NOFOLLOW)) {
        if (fstat(fd, &st) < 0)
            return -errno;
        if (S_ISLNK(st.st_mode))
            return -ELOOP;
    }
    return mlc_steal_fd(&fd);
}

int
mlc_open_beneath(int dirfd, const char *relpath, int flags, unsigned mode)
{
    mlc_autofree char *copy = NULL;
    bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .mode = creates ? mode & 07777 : 0, /* openat2 refuses more */
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    long fd;

    flags |= O_CLOEXEC;
    if (*relpath == '\0') {
        int r = openat(dirfd, ".", flags, (mode_t)how.mode);

        return r < 0 ? -errno : r;
    }
    if (!parts_are_safe(relpath))
        return -EINVAL;

    /* open() adds O_LARGEFILE where off_t was not always 64 bits wide; a
     * plain syscall does not. */
    how.flags = (unsigned)flags;
    if (!(flags & O_PATH))
        how.flags |= (unsigned)O_LARGEFILE;
    fd = syscall(SYS_openat2, dirfd, relpath, &how, sizeof(how));
    if (fd >= 0)
        return (int)fd;
    /* EPERM: so do old container sandboxes answer calls they don't know. */
    if (errno != ENOSYS && errno != EPERM)
        return -errno;

    copy = strdup(relpath);
    if (!copy)
        return -ENOMEM;
    return open_by_parts(dirfd, copy, flags, (mode_t)how.mode);
}

DIR *
mlc_opendir_beneath(int dirfd, const char *relpath)
{
    int fd = mlc_open_beneath(dirfd, relpath, O_RDONLY | O_DIRECTORY, 0);
    DIR *dir;

    if (fd < 0) {
        errno = -fd;
        return NULL;
    }
    dir = fdopendir(fd);
    if (!dir)
        close(fd);
    return dir;
}

int
mlc_open_parent(int dirfd, const char *relpath, const char **ret_base)
{
    mlc_autofree char *dir = NULL;
    const char *base = mlc_path_base(relpath);
    int fd;

    if (!mlc_name_is_safe(base))
        return -EINVAL;
    dir = strndup(relpath, base > relpath ? (size_t)(base - relpath) - 1 : 0);
    if (!dir)
        return -ENOMEM;
    if (base > relpath && *dir == '\0') /* "/name" */
        return -EINVAL;
    fd = mlc_open_beneath(dirfd, dir, O_PATH | O_DIRECTORY, 0);
    if (fd >= 0)
        *ret_base = base;
    return fd;
}

int
mlc_mkdir_parents_at(int dirfd, const char *relpath)
{
    mlc_autofree char *copy = NULL;
    mlc_autoclose int cur = -1;
    const char *base;
    char *part, *slash;
    int r;

    /* Mostly all is there. */
    r = mlc_open_parent(dirfd, relpath, &base);
    if (r >= 0)
        close(r);
    if (r != -ENOENT)
        return r < 0 ? r : 0;

    copy = strdup(relpath);
    if (!copy)
        return -ENOMEM;
    for (part = copy; (slash = strchr(part, '/')); part = slash + 1) {
        int at = cur >= 0 ? cur : dirfd;

        *slash = '\0';
        if (mkdirat(at, part, 0777) < 0 && errno != EEXIST)
            return -errno;
        r = open_dir(at, part);
        if (r < 0)
            return r;
        if (cur >= 0)
            close(cur);
        cur = r;
    }
    return 0;
}

static int
write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int
mlc_write_file_at(int dirfd, const char *relpath, const void *data, size_t len,
                  unsigned mode)
{
    mlc_autoclose int dir = -1;
    const char *base = NULL;
    char tmp[sizeof(MLC_TMP_PREFIX) + 16];
    uint64_t random;
    int fd, r;

    dir = mlc_open_parent(dirfd, relpath, &base);
    if (dir < 0)
        return dir;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -errno;
    snprintf(tmp, sizeof(tmp), MLC_TMP_PREFIX "%016" PRIx64, random);

    fd = mlc_open_beneath(dir, tmp, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return fd;
    r = write_all(fd, data, len);
    /* Some filesystems tell only now that the disk is full. */
    if (close(fd) < 0 && r == 0 && errno != EINTR)
        r = -errno;
    if (r == 0 && renameat(dir, tmp, dir, base) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(dir, tmp, 0);
    return r;
}

int
mlc_read_file_at(int dirfd, const char *relpath, size_t max, char **ret_data,
                 size_t *ret_len)
{
    mlc_autoclose int fd = -1;
    struct mlc_buf buf;
    char chunk[16384];
    struct stat st;
    int r = 0;

    fd = mlc_open_beneath(dirfd, relpath, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (st.st_size > 0 && (uint64_t)st.st_size > max)
        return -EFBIG;

    mlc_buf_init(&buf, max);
    r = mlc_buf_append(&buf, "", 0); /* so that an empty file gives "" */
    while (r == 0) {
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n == 0)
            break;
        if (n > 0)
            r = mlc_buf_append(&buf, chunk, (size_t)n);
        else if (errno != EINTR)
            r = -errno;
    }
    if (r < 0) {
        mlc_buf_done(&buf);
        return r;
    }
    *ret_data = mlc_buf_take(&buf, ret_len);
    return 0;
}
