/* SPDX-License-Identifier: MIT */
/* A scanner of JSON text, for headers too large to make a tree of: it walks the
 * text once, and takes no memory but the strings that the caller keeps.
 *
 * Stricter than jansson where the reference is: integers are digits alone.
 * Each function skips white space before what it reads.  0, or -EBADMSG with
 * 'why' set (a literal). */
#ifndef MLC_FORMAT_SCAN_H
#define MLC_FORMAT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mlc_scan {
    const char *at, *end; /* what is left; valid UTF-8 */
    char *strings;        /* where the next string goes, see below */
    const char *why;
};

/* -EBADMSG: not UTF-8.  strings: len bytes, owned by the caller, which hold all
 * the strings of the text; they follow one another. */
int mlc_scan_init(struct mlc_scan *s, const char *text, size_t len,
                  char *strings);
/* Whether c comes next; if so it is taken. */
bool mlc_scan_take(struct mlc_scan *s, char c);
int mlc_scan_expect(struct mlc_scan *s, char c);
/* *ret: decoded, NUL-terminated, in s->strings.  A NUL inside is refused. */
int mlc_scan_string(struct mlc_scan *s, const char **ret);
/* Digits, at most 2^64 - 1. */
int mlc_scan_u64(struct mlc_scan *s, uint64_t *ret);
/* Any value. */
int mlc_scan_skip(struct mlc_scan *s);
/* Nothing but white space is left. */
int mlc_scan_finish(struct mlc_scan *s);

/* Steps through an array's or object's members: for (first = true;
 * (r = mlc_scan_next(s, ']', &first)) > 0;) reads one.  1: there is one; 0:
 * the closing bracket is taken. */
int mlc_scan_next(struct mlc_scan *s, char close, bool *first);
/* "key": of an object's member. */
int mlc_scan_key(struct mlc_scan *s, const char **ret);

#endif
