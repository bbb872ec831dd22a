/* SPDX-License-Identifier: MIT */
/* From a pointer to a member (a job, a timer, a request) to the struct that it
 * is embedded in. */
#ifndef MLC_UTIL_CONTAINER_H
#define MLC_UTIL_CONTAINER_H

#include <stddef.h>

#define mlc_container_of(ptr, type, member)                                    \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
