/* SPDX-License-Identifier: MIT */
/* The two clocks.  Waits and deadlines use the monotonic one; what must mean
 * the same after a remount uses the real one, which tests may set: when
 * mlc_clock_use_file() was called, real time is the number of seconds written
 * in that file (read at each call), so that expiry is tested without waiting. */
#ifndef MLC_UTIL_CLOCK_H
#define MLC_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define MLC_NEVER_MS INT64_MAX

int64_t mlc_mono_ms(void);
int64_t mlc_real_ms(void);
/* path: copied; NULL: the system's clock.  Call before threads start. */
int mlc_clock_use_file(const char *path);
/* A CLOCK_MONOTONIC timespec 'ms' after now, for pthread_cond_timedwait on a
 * condition made by mlc_cond_init(). */
struct timespec mlc_mono_after(int64_t ms);

#endif
