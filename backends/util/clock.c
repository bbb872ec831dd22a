/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/util/cleanup.h"

/* Longer waits are cut to this: a timespec must not overflow. */
#define MAX_WAIT_MS ((int64_t)1000 * 86400 * 365 * 30)

static char *clock_path; /* immutable once threads run; NULL: system's clock */

static int64_t
now_ms(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
mlc_mono_ms(void)
{
    return now_ms(CLOCK_MONOTONIC);
}

static bool
read_clock_file(int64_t *ret_ms)
{
    mlc_autoclose int fd = open(clock_path, O_RDONLY | O_CLOEXEC);
    char text[64];
    char *end;
    double secs;
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    secs = strtod(text, &end);
    if (end == text || end[strspn(end, " \t\r\n")] != '\0')
        return false;
    if (!(secs > -1e15 && secs < 1e15))
        return false;
    *ret_ms = (int64_t)llround(secs * 1000);
    return true;
}

bool
mlc_clock_is_file(void)
{
    return clock_path != NULL;
}

int64_t
mlc_time_us(const struct timespec *ts)
{
    return ts->tv_sec * INT64_C(1000000) + ts->tv_nsec / 1000;
}

int64_t
mlc_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return mlc_time_us(&ts);
}

int64_t
mlc_real_ms(void)
{
    int64_t ms;

    if (clock_path && read_clock_file(&ms))
        return ms;
    return now_ms(CLOCK_REALTIME);
}

int
mlc_clock_use_file(const char *path)
{
    char *copy = NULL;

    if (path) {
        copy = strdup(path);
        if (!copy)
            return -ENOMEM;
    }
    free(clock_path);
    clock_path = copy;
    return 0;
}

struct timespec
mlc_mono_after(int64_t ms)
{
    struct timespec ts;

    if (ms < 0)
        ms = 0;
    if (ms > MAX_WAIT_MS)
        ms = MAX_WAIT_MS;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += (time_t)(ms / 1000);
    ts.tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

int
mlc_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    int r;

    r = pthread_condattr_init(&attr);
    if (r != 0)
        return -r;
    r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (r == 0)
        r = pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
    return -r;
}
