/* SPDX-License-Identifier: MIT */
/* One member's bytes.  Its local header is read here and held to the directory;
 * libarchive never sees it, but one of ours in its place, which has the
 * directory's sizes and CRC, a plain name, and nothing else.  So it can't be
 * led astray by names, types, data descriptors or sizes that differ (facts:
 * spacy 6.3 to 6.5), and the data needs no room behind it. */
#include "config.h"

#include "backends/format/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "backends/format/zip_i.h"
#include "backends/util/cleanup.h"

/* Holds any local header too, which has at most 30 bytes, a name that is not
 * longer than the directory's may be, and 64 KiB of extra fields. */
#define BLOCK_SIZE ((size_t)128 << 10)

#define HEAD_SIZE 51 /* ours: 30, a name of 1, and 20 of zip64 */

#define DESCRIPTOR_MAX 24 /* signature, CRC, two sizes of 64 bits */

#define SHOWN "%.80s"

struct extraction {
    const struct mlc_zip_member *m;
    mlc_zip_read_fn *read;
    mlc_zip_write_fn *write;
    void *arg;
    const atomic_bool *stop;
    char *why;
    int err;           /* what came up in the callback below libarchive */
    bool has_head;     /* our header went to libarchive */
    uint64_t at;       /* the next packed byte, in the archive */
    uint64_t data_end; /* the end of them */
    uint64_t written;  /* bytes, unpacked */
    uint32_t crc;      /* of these */
    uint8_t block[BLOCK_SIZE];
};

static void
free_archive(struct archive *a)
{
    (void)archive_read_free(a);
}

MLC_DEFINE_CLEANUP(archive, struct archive *, free_archive);

static int
refuse(const struct extraction *x, const char *fault)
{
    return mlc_zip_refuse(-EBADMSG, x->why, SHOWN ": %s", x->m->name, fault);
}

static int
check_stop(const struct extraction *x)
{
    return x->stop && atomic_load(x->stop) ? -ECANCELED : 0;
}

/* All of [off, off + len), which lies in the member's window. */
static int
read_all(struct extraction *x, uint64_t off, uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t got;
        int r = check_stop(x);

        if (r < 0)
            return r;
        got = x->read(x->arg, off, buf, len);
        if (got < 0)
            return (int)got;
        if (got == 0 || (size_t)got > len)
            return refuse(x, "the archive is shorter than it was");
        off += (size_t)got;
        buf += got;
        len -= (size_t)got;
    }
    return 0;
}

/* --- what surrounds the data --------------------------------------------- */

/* In a local header sizes and CRC may be left to the descriptor. */
static bool
agrees(const struct mlc_zip_member *m, uint64_t local, uint64_t central)
{
    return local == central ||
           (local == 0 && (m->flags & MLC_ZIP_FLAG_DESCRIPTOR));
}

static const char *
find_local_fault(const struct mlc_zip_member *m, const uint8_t *p)
{
    struct mlc_zip_sizes sizes = {
        .csize = mlc_zip_le32(p + 18),
        .usize = mlc_zip_le32(p + 22),
    };
    size_t name_len = mlc_zip_le16(p + 26);
    const char *fault = mlc_zip_resolve(p + MLC_ZIP_LOCAL_SIZE + name_len,
                                        mlc_zip_le16(p + 28), &sizes);

    if (fault)
        return fault;
    if (memcmp(p + MLC_ZIP_LOCAL_SIZE, m->name, name_len) != 0)
        return "another name in the local header";
    if (mlc_zip_le16(p + 6) != m->flags || mlc_zip_le16(p + 8) != m->method)
        return "another method or other flags in the local header";
    if (!agrees(m, sizes.csize, m->csize) ||
        !agrees(m, sizes.usize, m->usize) ||
        !agrees(m, mlc_zip_le32(p + 14), m->crc))
        return "other sizes or another CRC in the local header";
    return NULL;
}

/* Sets where the data is. */
static int
read_local_header(struct extraction *x)
{
    const struct mlc_zip_member *m = x->m;
    uint8_t *p = x->block;
    size_t name_len = strlen(m->name), rest;
    const char *fault;
    int r;

    r = read_all(x, m->offset, p, MLC_ZIP_LOCAL_SIZE);
    if (r < 0)
        return r;
    if (mlc_zip_le32(p) != MLC_ZIP_SIG_LOCAL)
        return refuse(x, "no local header where the directory says");
    if (mlc_zip_le16(p + 26) != name_len)
        return refuse(x, "another name in the local header");
    rest = name_len + mlc_zip_le16(p + 28);
    /* The index has seen to it that all but the extra fields fit. */
    if (m->csize + rest > m->end - m->offset - MLC_ZIP_LOCAL_SIZE)
        return refuse(x, "overlaps what comes after");
    r = read_all(x, m->offset + MLC_ZIP_LOCAL_SIZE, p + MLC_ZIP_LOCAL_SIZE,
                 rest);
    if (r < 0)
        return r;
    fault = find_local_fault(m, p);
    if (fault)
        return refuse(x, fault);
    x->at = m->offset + MLC_ZIP_LOCAL_SIZE + rest;
    x->data_end = x->at + m->csize;
    return 0;
}

/* Are these the CRC and the sizes, of size_len bytes each? */
static bool
is_descriptor(const struct mlc_zip_member *m, const uint8_t *p, size_t len,
              size_t size_len)
{
    if (len < 4 + 2 * size_len || mlc_zip_le32(p) != m->crc)
        return false;
    if (size_len == 4)
        return mlc_zip_le32(p + 4) == m->csize &&
               mlc_zip_le32(p + 8) == m->usize;
    return mlc_zip_le64(p + 4) == m->csize && mlc_zip_le64(p + 12) == m->usize;
}

/* Its signature is optional, and its sizes have 32 or 64 bits. */
static int
check_descriptor(struct extraction *x)
{
    const struct mlc_zip_member *m = x->m;
    const uint8_t *p = x->block;
    size_t len = DESCRIPTOR_MAX;
    int r;

    if (!(m->flags & MLC_ZIP_FLAG_DESCRIPTOR))
        return 0;
    if (len > m->end - x->data_end)
        len = (size_t)(m->end - x->data_end);
    r = read_all(x, x->data_end, x->block, len);
    if (r < 0)
        return r;
    if (is_descriptor(m, p, len, 4) || is_descriptor(m, p, len, 8))
        return 0;
    if (len >= 4 && mlc_zip_le32(p) == MLC_ZIP_SIG_DESCRIPTOR &&
        (is_descriptor(m, p + 4, len - 4, 4) ||
         is_descriptor(m, p + 4, len - 4, 8)))
        return 0;
    return refuse(x, "no data descriptor, or one that differs");
}

/* --- the data ------------------------------------------------------------ */

static void
put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void
put_le32(uint8_t *p, uint32_t v)
{
    put_le16(p, (uint16_t)v);
    put_le16(p + 2, (uint16_t)(v >> 16));
}

static void
put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

/* Always with a zip64 field: one form for all sizes. */
static void
make_head(const struct mlc_zip_member *m, uint8_t p[HEAD_SIZE])
{
    memset(p, 0, HEAD_SIZE);
    put_le32(p, MLC_ZIP_SIG_LOCAL);
    put_le16(p + 4, 45); /* version needed: zip64 */
    put_le16(p + 8, m->method);
    put_le32(p + 14, m->crc);
    put_le32(p + 18, UINT32_MAX);
    put_le32(p + 22, UINT32_MAX);
    put_le16(p + 26, 1);
    put_le16(p + 28, 20);
    p[30] = 'm';
    put_le16(p + 31, 1);
    put_le16(p + 33, 16);
    put_le64(p + 35, m->usize);
    put_le64(p + 43, m->csize);
}

/* libarchive's read callback: our header, then the data.  It masks what goes
 * wrong here, so that is kept in x->err. */
static la_ssize_t
feed(struct archive *a, void *arg, const void **ret_block)
{
    struct extraction *x = arg;
    size_t len = BLOCK_SIZE;

    *ret_block = x->block;
    if (!x->has_head) {
        x->has_head = true;
        make_head(x->m, x->block);
        return HEAD_SIZE;
    }
    if (len > x->data_end - x->at)
        len = (size_t)(x->data_end - x->at);
    x->err = read_all(x, x->at, x->block, len);
    if (x->err < 0)
        return ARCHIVE_FATAL;
    x->at += len;
    return (la_ssize_t)len;
}

/* After anything but ARCHIVE_OK.  Its text may be NULL. */
static int
blame(const struct extraction *x, struct archive *a)
{
    const char *text = archive_error_string(a);

    if (x->err < 0)
        return x->err;
    if (archive_errno(a) == ENOMEM)
        return -ENOMEM;
    return refuse(x, text ? text : "can't be unpacked");
}

static int
pass_on(struct extraction *x, const void *data, size_t len, la_int64_t off)
{
    int r = check_stop(x);

    if (r < 0)
        return r;
    if (len == 0) /* and data is NULL, at a stored member's end */
        return 0;
    if (off < 0 || (uint64_t)off != x->written)
        return refuse(x, "unpacks to something with holes");
    if (len > x->m->usize - x->written)
        return refuse(x, "unpacks to more than it says");
    x->written += len;
    x->crc = (uint32_t)crc32_z(x->crc, data, len);
    return x->write(x->arg, data, len);
}

static int
decode(struct extraction *x, struct archive *a)
{
    struct archive_entry *entry;
    int status, r;

    if (archive_read_support_format_zip_streamable(a) != ARCHIVE_OK ||
        archive_read_open(a, x, NULL, feed, NULL) != ARCHIVE_OK ||
        archive_read_next_header(a, &entry) != ARCHIVE_OK)
        return blame(x, a);
    for (;;) {
        const void *data = NULL;
        size_t len = 0;
        la_int64_t off = 0;

        status = archive_read_data_block(a, &data, &len, &off);
        if (status == ARCHIVE_EOF)
            break;
        /* Warnings too: of a wrong size or CRC. */
        if (status != ARCHIVE_OK)
            return blame(x, a);
        r = pass_on(x, data, len, off);
        if (r < 0)
            return r;
    }
    if (x->written != x->m->usize)
        return refuse(x, "unpacks to less than it says");
    return x->crc == x->m->crc ? 0 : refuse(x, "the CRC is wrong");
}

int
mlc_zip_extract(const struct mlc_zip_member *m, mlc_zip_read_fn *read,
                mlc_zip_write_fn *write, void *arg, const atomic_bool *stop,
                char *ret_why)
{
    mlc_autofree struct extraction *x = NULL;
    __attribute__((cleanup(mlc_cleanup_archive))) struct archive *a = NULL;
    int r;

    mlc_zip_no_reason(ret_why);
    if (m->is_dir)
        return -EISDIR;
    x = calloc(1, sizeof(*x));
    a = archive_read_new();
    if (!x || !a)
        return -ENOMEM;
    x->m = m;
    x->read = read;
    x->write = write;
    x->arg = arg;
    x->stop = stop;
    x->why = ret_why;
    r = read_local_header(x);
    if (r == 0)
        r = check_descriptor(x);
    return r < 0 ? r : decode(x, a);
}

/* --- into memory --------------------------------------------------------- */

struct small {
    mlc_zip_read_fn *read;
    void *arg;
    char *data;
    size_t len;
};

static ssize_t
read_small(void *arg, uint64_t off, void *buf, size_t len)
{
    const struct small *s = arg;

    return s->read(s->arg, off, buf, len);
}

/* No more comes than the member's size, for which there is room. */
static int
write_small(void *arg, const void *data, size_t len)
{
    struct small *s = arg;

    memcpy(s->data + s->len, data, len);
    s->len += len;
    return 0;
}

int
mlc_zip_extract_small(const struct mlc_zip_member *m, size_t max,
                      mlc_zip_read_fn *read, void *arg, const atomic_bool *stop,
                      char **ret_data, size_t *ret_len, char *ret_why)
{
    mlc_autofree char *data = NULL;
    struct small s = {.read = read, .arg = arg};
    int r;

    mlc_zip_no_reason(ret_why);
    if (m->usize > max)
        return mlc_zip_refuse(-EFBIG, ret_why, SHOWN ": %" PRIu64 " bytes",
                              m->name, m->usize);
    data = malloc((size_t)m->usize + 1);
    if (!data)
        return -ENOMEM;
    s.data = data;
    r = mlc_zip_extract(m, read_small, write_small, &s, stop, ret_why);
    if (r < 0)
        return r;
    data[s.len] = '\0';
    *ret_data = mlc_steal(&data);
    if (ret_len)
        *ret_len = s.len;
    return 0;
}
