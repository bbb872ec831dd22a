/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/util/parse.h"

/* PIPE_BUF: what a pipe takes in one piece. */
#define LINE_MAX_LEN 4096

static atomic_int sink_fd = -1; /* -1: stderr */
static atomic_bool sink_stamp;
static atomic_bool show_debug;

void
mlc_log_to_fd(int fd, bool stamp)
{
    atomic_store(&sink_stamp, stamp);
    atomic_store(&sink_fd, fd);
}

void
mlc_log_set_debug(bool on)
{
    atomic_store(&show_debug, on);
}

bool
mlc_log_is_debug(void)
{
    return atomic_load_explicit(&show_debug, memory_order_relaxed);
}

/* UTC, by hand: gmtime_r takes libc's time zone lock, which a child forked from
 * a threaded process may find held for ever. */
static size_t
format_stamp(char *buf, size_t size)
{
    struct timespec now;
    int64_t days, secs, era, doe, yoe, doy, mp;
    int64_t year, month, day;
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    days = now.tv_sec / 86400;
    secs = now.tv_sec % 86400;

    /* Days since 1970 to a date; years begin in March (Hinnant's algorithm,
     * for days after 0000-03-01 only). */
    days += 719468;
    era = days / 146097;
    doe = days % 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    day = doy - (153 * mp + 2) / 5 + 1;
    month = mp < 10 ? mp + 3 : mp - 9;
    year = yoe + era * 400 + (month <= 2 ? 1 : 0);

    n = snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ ", (int)year,
                 (int)month, (int)day, (int)(secs / 3600),
                 (int)(secs / 60 % 60), (int)(secs % 60),
                 (int)(now.tv_nsec / 1000000));
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* Appends to the line, which keeps one byte free for the newline.  False: cut.
 */
static bool __attribute__((format(printf, 3, 0)))
add_va(char *line, size_t *len, const char *fmt, va_list ap)
{
    size_t room = LINE_MAX_LEN - 1 - *len;
    int n = vsnprintf(line + *len, room, fmt, ap);

    if (n < 0)
        return true; /* nothing useful can be said about it here */
    if ((size_t)n < room) {
        *len += (size_t)n;
        return true;
    }
    *len += room - 1;
    return false;
}

static bool __attribute__((format(printf, 3, 4)))
add(char *line, size_t *len, const char *fmt, ...)
{
    va_list ap;
    bool whole;

    va_start(ap, fmt);
    whole = add_va(line, len, fmt, ap);
    va_end(ap);
    return whole;
}

static void __attribute__((format(printf, 3, 0)))
emit(const char *level, const char *area, const char *fmt, va_list ap)
{
    static const char cut[] = "...";
    char line[LINE_MAX_LEN];
    size_t len = 0;
    int saved_errno = errno;
    int fd = atomic_load(&sink_fd);
    ssize_t n;

    if (fd < 0)
        fd = STDERR_FILENO;
    if (atomic_load(&sink_stamp))
        len = format_stamp(line, sizeof(line));
    add(line, &len, "mlcachefs: %s%s%s", level, area ? area : "",
        area ? ": " : "");
    errno = saved_errno; /* for %m */
    if (!add_va(line, &len, fmt, ap))
        memcpy(line + len - (sizeof(cut) - 1), cut, sizeof(cut) - 1);
    /* Callers may end a message with a newline, as libfuse does. */
    while (len > 0 && line[len - 1] == '\n')
        len--;
    mlc_mask_control(line, len);
    line[len++] = '\n';

    /* Once: the rest of a short write would land between other lines. */
    do
        n = write(fd, line, len);
    while (n < 0 && errno == EINTR);
    errno = saved_errno;
}

int
mlc_log_err(int r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit("error: ", NULL, fmt, ap);
    va_end(ap);
    return r;
}

void
mlc_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit("warning: ", NULL, fmt, ap);
    va_end(ap);
}

void
mlc_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit("", NULL, fmt, ap);
    va_end(ap);
}

void
mlc_debug(const char *area, const char *fmt, ...)
{
    va_list ap;

    if (!mlc_log_is_debug())
        return;
    va_start(ap, fmt);
    emit("debug: ", area, fmt, ap);
    va_end(ap);
}
