/* SPDX-License-Identifier: MIT */
/* Bounded JSON: jansson with a size limit, a depth limit and checked types.
 * Borrowed pointers live as long as the root.  Strings never hold a NUL. */
#ifndef MLC_UTIL_JSON_H
#define MLC_UTIL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLC_JSON_MAX_DEPTH 64
#define MLC_JSON_MAX_LEN   ((size_t)64 << 20)

/* Parses exactly one value.  Scans the nesting depth before jansson recurses.
 * 0 or -EBADMSG (then *ret_err, if asked for, is a sentence the caller
 * frees; NULL if memory ran out), -ENOMEM. */
int mlc_json_parse(const char *text, size_t len, json_t **ret_root,
                   char **ret_err);
/* 0; -ENOENT when absent or null, or obj is NULL; -EBADMSG when of another
 * type (u64: also below zero), or obj is not an object. */
int mlc_json_str(const json_t *obj, const char *key, const char **ret);
int mlc_json_u64(const json_t *obj, const char *key, uint64_t *ret);
int mlc_json_bool(const json_t *obj, const char *key, bool *ret);

#endif
