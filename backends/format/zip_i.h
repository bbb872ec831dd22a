/* SPDX-License-Identifier: MIT */
/* What the two halves of zip.h share: the layout (APPNOTE 4.3, 4.5) and how
 * to say no. */
#ifndef MLC_FORMAT_ZIP_I_H
#define MLC_FORMAT_ZIP_I_H

#include <stddef.h>
#include <stdint.h>

struct mlc_zip_limits;

#define MLC_ZIP_SIG_LOCAL      0x04034b50u
#define MLC_ZIP_SIG_CENTRAL    0x02014b50u
#define MLC_ZIP_SIG_DESCRIPTOR 0x08074b50u
#define MLC_ZIP_SIG_END        0x06054b50u
#define MLC_ZIP_SIG_END64      0x06064b50u
#define MLC_ZIP_SIG_LOCATOR    0x07064b50u

#define MLC_ZIP_LOCAL_SIZE   30 /* without name and extra fields */
#define MLC_ZIP_CENTRAL_SIZE 46 /* without name, extra fields and comment */
#define MLC_ZIP_END_SIZE     22 /* without the comment */
#define MLC_ZIP_END64_SIZE   56
#define MLC_ZIP_LOCATOR_SIZE 20

#define MLC_ZIP_FLAG_DESCRIPTOR 0x0008u
#define MLC_ZIP_FLAG_UTF8       0x0800u

#define MLC_ZIP_STORED   0
#define MLC_ZIP_DEFLATED 8

/* The sizes of an entry: 32 bits each in its header, where all ones mean that
 * the zip64 field has the value. */
struct mlc_zip_sizes {
    uint64_t usize;
    uint64_t csize;
    uint64_t offset; /* 0 in a local header, which has none */
    uint32_t disk;   /* likewise */
};

uint16_t mlc_zip_le16(const uint8_t *p);
uint32_t mlc_zip_le32(const uint8_t *p);
uint64_t mlc_zip_le64(const uint8_t *p);
/* Where the central directory is, as the end record says. */
struct mlc_zip_directory {
    uint64_t offset; /* in the archive */
    uint64_t size;   /* bytes */
    uint64_t n;      /* entries */
};

/* From the last len bytes of an archive of size bytes.  0: all of it lies in
 * the tail.  Else as mlc_zip_parse(). */
int mlc_zip_find_directory(uint64_t size, const uint8_t *tail, size_t len,
                           const struct mlc_zip_limits *limits,
                           struct mlc_zip_directory *ret, uint64_t *ret_from,
                           char *why);
/* Walks an entry's extra fields and puts in what the zip64 one says.  NULL, or
 * what is wrong with them. */
const char *mlc_zip_resolve(const uint8_t *extra, size_t len,
                            struct mlc_zip_sizes *sizes);
/* Writes why, unless it is NULL, fit for a log, and returns r. */
int mlc_zip_refuse(int r, char *why, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void mlc_zip_no_reason(char *why);

#endif
