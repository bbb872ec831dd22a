/* SPDX-License-Identifier: MIT */
/* RECORD, the list of a wheel's members with their sizes and SHA-256 (Python
 * packaging's specification of binary distributions; facts: spacy 3).
 *
 * Hostile input: one bad line refuses the whole of it.
 * Lifetime: immutable once made, may be shared by threads. */
#ifndef MLC_FORMAT_RECORD_H
#define MLC_FORMAT_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "backends/util/cleanup.h"

struct mlc_zip;
struct mlc_record;

/* A RECORD longer than this is not worth reading (bytes). */
#define MLC_RECORD_MAX_LEN ((size_t)16 << 20)

struct mlc_record_line {
    const char *path; /* borrowed from the record */
    uint64_t size;    /* bytes, unpacked */
    uint8_t sha256[32];
};

/* own_path: RECORD's own, whose line has neither hash nor size, and is not
 * among the lines of the result.  0; -EBADMSG (ret_why: as in zip.h), -EFBIG
 * beyond MLC_RECORD_MAX_LEN, -ENOMEM.  text is borrowed for the call. */
int mlc_record_parse(const char *text, size_t len, const char *own_path,
                     struct mlc_record **ret_record, char *ret_why);
void mlc_record_free(struct mlc_record *r); /* takes NULL */
MLC_DEFINE_CLEANUP(record, struct mlc_record *, mlc_record_free);

size_t mlc_record_n_lines(const struct mlc_record *r);
/* i < n_lines; in the order of paths (bytes).  Borrowed from r. */
const struct mlc_record_line *mlc_record_line(const struct mlc_record *r,
                                              size_t i);
/* NULL: there is no such line. */
const struct mlc_record_line *mlc_record_find(const struct mlc_record *r,
                                              const char *path);
/* Does it list all files of z but own_path, nothing else, and the sizes that
 * the directory gives?  0 or -EBADMSG. */
int mlc_record_check(const struct mlc_record *r, const struct mlc_zip *z,
                     const char *own_path, char *ret_why);

#endif
