/* SPDX-License-Identifier: MIT */
/* Reads the members of a configuration that say which tensors a model has.
 * The first failure stays: read all, then look at 'r'. */
#ifndef MLC_FORMAT_MEMBERS_H
#define MLC_FORMAT_MEMBERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLC_MAX_LEVELS 16
#define MLC_MAX_COUNT  ((uint64_t)1 << 20) /* of channels, layers, words */

struct mlc_members {
    const json_t *object; /* borrowed */
    const char *path;     /* of its file, for what is said */
    char **ret_err;
    int r; /* 0 or -EBADMSG */
};

/* Refuses the configuration, unless it is already. */
void mlc_members_fail(struct mlc_members *m, const char *key, const char *what);
/* 1..MLC_MAX_COUNT; absent or null: as given. */
uint64_t mlc_members_count(struct mlc_members *m, const char *key,
                           uint64_t absent);
bool mlc_members_flag(struct mlc_members *m, const char *key, bool absent);
/* A list of counts, at most MLC_MAX_LEVELS: how many.  A single number stands
 * for a list of 'n_absent' of it; absent and null as 'absent' would. */
size_t mlc_members_counts(struct mlc_members *m, const char *key,
                          size_t n_absent, uint64_t absent,
                          uint64_t ret[MLC_MAX_LEVELS]);
/* A list of n strings, each one of the two: whether it is the first. */
void mlc_members_choices(struct mlc_members *m, const char *key, size_t n,
                         const char *first, const char *second,
                         bool ret[MLC_MAX_LEVELS]);
/* The string; absent or null: as given, which may be NULL. */
const char *mlc_members_string(struct mlc_members *m, const char *key,
                               const char *absent);
/* Refuses what isn't known to the maps: the member must be absent, null, false
 * or, unless that is NULL, this string. */
void mlc_members_only(struct mlc_members *m, const char *key,
                      const char *string);

#endif
