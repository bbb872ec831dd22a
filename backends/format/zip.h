/* SPDX-License-Identifier: MIT */
/* Zip archives that lie elsewhere: the index from the archive's last bytes, and
 * the bytes of one member from its own range (facts: spacy 6; PKWARE's
 * APPNOTE).
 *
 * An archive is hostile input: the index is refused as a whole where anything
 * is odd (mlc_zip_parse), so that what it holds is safe to use as paths, and
 * members lie apart from each other.  Names and sizes are the directory's;
 * libarchive only decodes.
 * Blocking: as read and write do, which are called on the caller's thread.
 * Locks: none; an index is immutable, so it may be shared by threads. */
#ifndef MLC_FORMAT_ZIP_H
#define MLC_FORMAT_ZIP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backends/util/cleanup.h"

/* Why something was refused, for the log: one line without control bytes, no
 * full stop.  Where a function takes a ret_why, it is a buffer of this many
 * bytes, or NULL; it holds a text after -EBADMSG and -EFBIG, else "". */
#define MLC_ZIP_WHY_SIZE 256

/* What mlc_zip_parse() returns where it needs more of the archive's end. */
#define MLC_ZIP_MORE 1
/* A first tail of this size is enough for nearly every archive (bytes). */
#define MLC_ZIP_FIRST_TAIL ((size_t)64 << 10)

#define MLC_ZIP_MAX_PATH  1024 /* bytes */
#define MLC_ZIP_MAX_DEPTH 16   /* components */

struct mlc_zip_limits {
    uint64_t max_directory; /* bytes of the central directory */
    uint64_t max_entries;
    uint64_t max_member; /* bytes of one member, unpacked */
    uint64_t max_total;  /* bytes of all members, unpacked */
};

/* What facts (6.3, 6.4) recommend. */
extern const struct mlc_zip_limits mlc_zip_default_limits;

struct mlc_zip_member {
    const char *name; /* borrowed; a directory's ends in '/' */
    uint64_t offset;  /* of its local header in the archive */
    uint64_t end;     /* its window's end: nothing of it lies there or after */
    uint64_t csize;   /* bytes as packed */
    uint64_t usize;   /* bytes unpacked */
    uint32_t crc;
    uint16_t method; /* 0: stored, 8: deflated */
    uint16_t flags;
    bool is_dir;
};

struct mlc_zip; /* the index */

/* The index of an archive of 'size' bytes, whose last 'len' (at most size) are
 * at 'tail' (borrowed for the call).
 *   0             *ret_zip, for mlc_zip_free()
 *   MLC_ZIP_MORE  call again with the tail that begins at *ret_from, which is
 *                 earlier than the one given; at most limits->max_directory
 *                 and some 70 kB before the end.  Comes at most three times.
 *   -EBADMSG      not a zip, or one we don't believe
 *   -EFBIG        beyond a limit
 *   -ENOMEM */
int mlc_zip_parse(uint64_t size, const void *tail, size_t len,
                  const struct mlc_zip_limits *limits, struct mlc_zip **ret_zip,
                  uint64_t *ret_from, char *ret_why);
void mlc_zip_free(struct mlc_zip *z); /* takes NULL */
MLC_DEFINE_CLEANUP(zip, struct mlc_zip *, mlc_zip_free);

/* In the order of names (bytes). */
size_t mlc_zip_n_members(const struct mlc_zip *z);
/* i < n_members; borrowed from z. */
const struct mlc_zip_member *mlc_zip_member(const struct mlc_zip *z, size_t i);
/* 0: a file, *ret_member (may be NULL) is borrowed from z; -EISDIR: a
 * directory, whether it has an entry or only things below it ("" is one);
 * -ENOENT.  path: without a slash at its end. */
int mlc_zip_find(const struct mlc_zip *z, const char *path,
                 const struct mlc_zip_member **ret_member);
/* name: one component; m: the file, or NULL for a directory.  Not 0: stop, and
 * that is mlc_zip_list()'s answer. */
typedef int mlc_zip_emit_fn(void *arg, const char *name,
                            const struct mlc_zip_member *m);
/* What lies directly in dir ("": at the top), each once, in order.  0, -ENOENT,
 * -ENOTDIR, -ENOMEM, or what emit returned. */
int mlc_zip_list(const struct mlc_zip *z, const char *dir,
                 mlc_zip_emit_fn *emit, void *arg);

/* Reads up to len (> 0) bytes of the archive from off on: how many it got, at
 * least one, or -errno.  0 means that the archive is shorter than it said. */
typedef ssize_t mlc_zip_read_fn(void *arg, uint64_t off, void *buf, size_t len);
/* Takes the next bytes of the member (len > 0).  0 or -errno. */
typedef int mlc_zip_write_fn(void *arg, const void *data, size_t len);

/* Unpacks a file (not a directory: -EISDIR).  Asks read for bytes of
 * [m->offset, m->end) only: the local header, what follows the data where there
 * is a data descriptor, then the data from its start to its end.  Never hands
 * on more than m->usize bytes.  What was handed on before an error is
 * worthless: only 0 says that all came, and that its CRC is the directory's.
 * Takes half a megabyte of memory, whatever the member's size.
 * 0; -EBADMSG; -ENOMEM; -ECANCELED soon after *stop (may be NULL) has become
 * true; or what read or write returned. */
int mlc_zip_extract(const struct mlc_zip_member *m, mlc_zip_read_fn *read,
                    mlc_zip_write_fn *write, void *arg, const atomic_bool *stop,
                    char *ret_why);
/* The same into memory, for small members: *ret_data is the caller's to free,
 * NUL-terminated.  arg is read's.  -EFBIG: m->usize is more than max.
 * ret_len may be NULL. */
int mlc_zip_extract_small(const struct mlc_zip_member *m, size_t max,
                          mlc_zip_read_fn *read, void *arg,
                          const atomic_bool *stop, char **ret_data,
                          size_t *ret_len, char *ret_why);

#endif
