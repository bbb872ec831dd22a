/* SPDX-License-Identifier: MIT */
/* The two clocks.  Waits and deadlines use the monotonic one; what must mean
 * the same after a remount uses the real one, which tests may set: when
 * mlc_clock_use_file() was called, real time is the number of seconds written
 * in that file (read at each call; a fraction is allowed), so that expiry is
 * tested without waiting.  While the file can't be read or holds no number, the
 * system's clock counts: replace it by rename. */
#ifndef MLC_UTIL_CLOCK_H
#define MLC_UTIL_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define MLC_NEVER_MS INT64_MAX

int64_t mlc_mono_ms(void);
int64_t mlc_real_ms(void);
/* Microseconds since 1970; now: by the system's clock, whatever was set, to be
 * compared with the times of files. */
int64_t mlc_time_us(const struct timespec *ts);
int64_t mlc_now_us(void);
/* path: copied; NULL: the system's clock.  Call before threads start.  0 or
 * -ENOMEM. */
int mlc_clock_use_file(const char *path);
/* May real time be set by that file?  Then it says nothing of how long a moment
 * to come is off. */
bool mlc_clock_is_file(void);
/* A CLOCK_MONOTONIC timespec 'ms' after now, for pthread_cond_timedwait on a
 * condition made by mlc_cond_init().  Less than 0: now; MLC_NEVER_MS and the
 * like: some decades from now. */
struct timespec mlc_mono_after(int64_t ms);
/* A condition whose timed waits follow CLOCK_MONOTONIC.  0 or -errno. */
int mlc_cond_init(pthread_cond_t *c);

#endif
