/* SPDX-License-Identifier: MIT */
/* Text to values, for options and headers.  None of these logs; on error they
 * return -EINVAL (or -ERANGE) and, where there is a parameter for it, set
 * *ret_err to a sentence the caller frees, which shows the offending part.
 * ret_err may be NULL, and *ret_err is NULL when memory ran out. */
#ifndef MLC_UTIL_PARSE_H
#define MLC_UTIL_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TIME as dgenerate parses it: named arguments of Python's
 * datetime.timedelta, separated by semicolons ("days=5;hours=6"); weeks, days,
 * hours, minutes, seconds, milliseconds, microseconds, each at most once, a
 * Python float literal each (sign, exponent, "1_000"; no inf, nan); quotes at
 * the very ends, then blanks, and blanks around names and numbers ignored;
 * "forever" in any case, or empty: *ret_ms = MLC_NEVER_MS.  A sum below zero is
 * allowed and means: expired at once.  -ERANGE: beyond 999999999 days, either
 * way.  (dgenerate lets nothing expire when now - sum lies outside the years 1
 * to 9999; that depends on now and is not done here.) */
int mlc_parse_time(const char *text, int64_t *ret_ms, char **ret_err);
/* SIZE: digits with an optional fraction and one of k, M, G, T (1024-based,
 * either case, optional "iB" or "B"), in bytes.  Without one of them a fraction
 * is refused.  -ERANGE: beyond 2^64 - 1. */
int mlc_parse_size(const char *text, uint64_t *ret_bytes, char **ret_err);
/* A whole decimal number within [min, max] (else -ERANGE), nothing around it
 * (else -EINVAL). */
int mlc_parse_u64(const char *text, uint64_t min, uint64_t max,
                  uint64_t *ret_value);
/* true: 1, ON, YES, TRUE in any case (as the Hub's clients read them). */
bool mlc_parse_truthy(const char *text);
/* Content-Range: "bytes a-b/total" (total may be "*": UINT64_MAX). b is
 * inclusive as on the wire; a <= b < total.  All fit an off_t (else -ERANGE).
 * "bytes *" + "/total", which a 416 brings, is -EINVAL. */
int mlc_parse_content_range(const char *text, uint64_t *ret_from,
                            uint64_t *ret_last, uint64_t *ret_total);
/* Exactly len lower-case hexadecimal digits and no more. */
bool mlc_is_hex(const char *text, size_t len);
/* 2*n hex digits (either case), no more, to n bytes. */
int mlc_parse_hex(const char *text, uint8_t *ret_bytes, size_t n);
/* ret_text: 2*n + 1 bytes. */
void mlc_format_hex(const uint8_t *bytes, size_t n, char *ret_text);
/* Well-formed UTF-8: the shortest forms only, no surrogates, nothing beyond
 * U+10FFFF (RFC 3629). */
bool mlc_is_utf8(const char *text, size_t len);
/* Puts '?' for each control byte, so that text fits one line of a log and
 * cannot steer a terminal (C0, DEL, and C1 as UTF-8 spells it). */
void mlc_mask_control(char *text, size_t len);

#endif
