/* SPDX-License-Identifier: MIT */
/* Small zip archives for tests, right or wrong: zip_write() lays one out and
 * says where its parts are, zip_put16() and the like then spoil them.  Aborts
 * where memory runs out. */
#ifndef TESTS_ZIP_WRITER_H
#define TESTS_ZIP_WRITER_H

#include <stddef.h>
#include <stdint.h>

#define ZIP_MAX_ITEMS 64

/* How an item is written: any of these together. */
enum {
    ZIP_DEFLATE = 1,         /* else stored */
    ZIP_DESCRIPTOR = 2,      /* sizes and CRC come after the data */
    ZIP_DESCRIPTOR_BARE = 4, /* without its signature */
    ZIP_DESCRIPTOR_WIDE = 8, /* sizes of 64 bits */
    ZIP_WIDE_LOCAL = 16,     /* a zip64 field in the local header */
    ZIP_WIDE_CENTRAL = 32,   /* and in the directory, for offset too */
    ZIP_UTF8 = 64,           /* the flag */
};

/* How the archive is: any of these together. */
enum {
    ZIP_WIDE_END = 1, /* zip64 end record and locator; all ones in the other */
};

struct zip_item {
    const char *name;
    size_t name_len; /* 0: up to its NUL */
    const char *data;
    size_t len; /* 0: up to its NUL */
    unsigned how;
    uint32_t mode;      /* of Unix; 0: as the name says */
    const char *extra;  /* in the directory, beside zip64 */
    size_t extra_len;   /* bytes */
    const char *packed; /* instead of what data is packed to; CRC and usize */
    size_t packed_len;  /* remain data's */
    const char *local_name; /* as long as name; NULL: the same */
    const char *local_extra;
    size_t local_extra_len;
    size_t gap; /* bytes of nothing before the local header */
};

struct zip_image {
    uint8_t *bytes;
    size_t len;
    /* Offsets of each item's parts, and of the records at the end. */
    size_t local[ZIP_MAX_ITEMS];
    size_t data[ZIP_MAX_ITEMS];
    size_t data_end[ZIP_MAX_ITEMS];
    size_t central[ZIP_MAX_ITEMS];
    size_t directory;
    size_t end64; /* ZIP_WIDE_END only; the locator is 56 bytes on */
    size_t end;
};

/* Offsets of fields within the records. */
enum {
    LOCAL_FLAGS = 6,
    LOCAL_METHOD = 8,
    LOCAL_CRC = 14,
    LOCAL_CSIZE = 18,
    LOCAL_USIZE = 22,
    LOCAL_NAME_LEN = 26,
    LOCAL_EXTRA_LEN = 28,
    LOCAL_NAME = 30,
    CENTRAL_SYSTEM = 5,
    CENTRAL_FLAGS = 8,
    CENTRAL_METHOD = 10,
    CENTRAL_CRC = 16,
    CENTRAL_CSIZE = 20,
    CENTRAL_USIZE = 24,
    CENTRAL_NAME_LEN = 28,
    CENTRAL_EXTRA_LEN = 30,
    CENTRAL_COMMENT_LEN = 32,
    CENTRAL_DISK = 34,
    CENTRAL_ATTRIBUTES = 38,
    CENTRAL_OFFSET = 42,
    CENTRAL_NAME = 46,
    END_DISK = 4,
    END_DIR_DISK = 6,
    END_N_HERE = 8,
    END_N = 10,
    END_DIR_SIZE = 12,
    END_DIR_OFFSET = 16,
    END_COMMENT_LEN = 20,
    END64_SIZE = 4,
    END64_DISK = 16,
    END64_N_HERE = 24,
    END64_N = 32,
    END64_DIR_SIZE = 40,
    END64_DIR_OFFSET = 48,
    LOCATOR_DISK = 4,
    LOCATOR_OFFSET = 8,
    LOCATOR_N_DISKS = 16,
};

/* comment_len 0: none.  For zip_image_done(). */
struct zip_image zip_write(const struct zip_item *items, size_t n, unsigned how,
                           const char *comment, size_t comment_len);
struct zip_image zip_image_copy(const struct zip_image *image);
void zip_image_done(struct zip_image *image);
/* Puts len bytes where there are 'gone' at offset 'at'; what the fields and
 * this image's offsets say stays. */
void zip_splice(struct zip_image *image, size_t at, size_t gone,
                const void *bytes, size_t len);

void zip_put16(struct zip_image *image, size_t at, uint16_t v);
void zip_put32(struct zip_image *image, size_t at, uint32_t v);
void zip_put64(struct zip_image *image, size_t at, uint64_t v);

#endif
