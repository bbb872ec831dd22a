/* SPDX-License-Identifier: MIT */
/* The records at an archive's end, which say where its directory is. */
#include "config.h"

#include "backends/format/zip_i.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "backends/format/zip.h"

#define MAX_COMMENT 65535u

struct tail {
    uint64_t size; /* of the archive */
    uint64_t from; /* the tail's offset in it */
    const uint8_t *data;
    size_t len;
    char *why;
};

/* What the end record, or the zip64 one, says. */
struct end {
    uint64_t at; /* its own offset in the archive: the directory ends there */
    uint16_t disk;
    uint16_t dir_disk;
    uint64_t n_here; /* entries on this disk */
    struct mlc_zip_directory dir;
};

static int
need_from(uint64_t from, uint64_t *ret_from)
{
    *ret_from = from;
    return MLC_ZIP_MORE;
}

/* The record whose comment ends with the archive: there has to be one, and just
 * one, or readers would differ on which it is. */
static int
find_end(const struct tail *t, size_t *ret_at, uint64_t *ret_from)
{
    const size_t reach = MLC_ZIP_END_SIZE + MAX_COMMENT;
    size_t n = 0, first = t->len > reach ? t->len - reach : 0;

    for (size_t at = first; at + MLC_ZIP_END_SIZE <= t->len; at++) {
        const uint8_t *p = t->data + at;

        if (mlc_zip_le32(p) != MLC_ZIP_SIG_END ||
            at + MLC_ZIP_END_SIZE + mlc_zip_le16(p + 20) != t->len)
            continue;
        *ret_at = at;
        n++;
    }
    if (n > 1)
        return mlc_zip_refuse(-EBADMSG, t->why, "more than one end record");
    if (n == 1)
        return 0;
    if (t->from > 0 && t->len < reach)
        return need_from(t->size > reach ? t->size - reach : 0, ret_from);
    return mlc_zip_refuse(-EBADMSG, t->why, "not a zip: no end record");
}

static void
read_end(const struct tail *t, size_t at, struct end *ret)
{
    const uint8_t *p = t->data + at;

    ret->at = t->from + at;
    ret->disk = mlc_zip_le16(p + 4);
    ret->dir_disk = mlc_zip_le16(p + 6);
    ret->n_here = mlc_zip_le16(p + 8);
    ret->dir.n = mlc_zip_le16(p + 10);
    ret->dir.size = mlc_zip_le32(p + 12);
    ret->dir.offset = mlc_zip_le32(p + 16);
}

static bool
has_end64(const struct end *e)
{
    return e->n_here == UINT16_MAX || e->dir.n == UINT16_MAX ||
           e->dir.size == UINT32_MAX || e->dir.offset == UINT32_MAX;
}

/* What the end record has room for must be the same in the zip64 one. */
static bool
is_same(uint64_t narrow, uint64_t wide, uint64_t saturated)
{
    return narrow == saturated || narrow == wide;
}

/* Replaces e, which is saturated, by the zip64 record before it, or says what
 * is wrong with that.  The tail holds both. */
static const char *
read_end64(const struct tail *t, struct end *e)
{
    const uint8_t *locator =
        t->data + (size_t)(e->at - t->from) - MLC_ZIP_LOCATOR_SIZE;
    const uint8_t *p = locator - MLC_ZIP_END64_SIZE;
    struct end wide = {
        .at = e->at - MLC_ZIP_LOCATOR_SIZE - MLC_ZIP_END64_SIZE,
    };

    /* One disk; some writers count it, some don't. */
    if (mlc_zip_le32(locator) != MLC_ZIP_SIG_LOCATOR ||
        mlc_zip_le32(locator + 4) != 0 || mlc_zip_le32(locator + 16) > 1)
        return "no zip64 locator, though the end record wants one";
    if (mlc_zip_le64(locator + 8) != wide.at ||
        mlc_zip_le32(p) != MLC_ZIP_SIG_END64 ||
        mlc_zip_le64(p + 4) != MLC_ZIP_END64_SIZE - 12)
        return "no zip64 end record where the locator says";
    if (e->disk != 0 || e->dir_disk != 0 || mlc_zip_le32(p + 16) != 0 ||
        mlc_zip_le32(p + 20) != 0)
        return "more than one disk";
    wide.n_here = mlc_zip_le64(p + 24);
    wide.dir.n = mlc_zip_le64(p + 32);
    wide.dir.size = mlc_zip_le64(p + 40);
    wide.dir.offset = mlc_zip_le64(p + 48);
    if (!is_same(e->n_here, wide.n_here, UINT16_MAX) ||
        !is_same(e->dir.n, wide.dir.n, UINT16_MAX) ||
        !is_same(e->dir.size, wide.dir.size, UINT32_MAX) ||
        !is_same(e->dir.offset, wide.dir.offset, UINT32_MAX))
        return "two end records that differ";
    *e = wide;
    return NULL;
}

static int
check_end(const struct end *e, const struct mlc_zip_limits *limits, char *why)
{
    uint64_t dir_end;

    if (e->disk != 0 || e->dir_disk != 0 || e->n_here != e->dir.n)
        return mlc_zip_refuse(-EBADMSG, why, "more than one disk");
    if (e->dir.n > limits->max_entries)
        return mlc_zip_refuse(-EFBIG, why, "%" PRIu64 " members", e->dir.n);
    if (e->dir.size > limits->max_directory)
        return mlc_zip_refuse(-EFBIG, why, "a directory of %" PRIu64 " bytes",
                              e->dir.size);
    if (__builtin_add_overflow(e->dir.offset, e->dir.size, &dir_end) ||
        dir_end != e->at)
        return mlc_zip_refuse(-EBADMSG, why,
                              "the directory does not end at the end record");
    return 0;
}

int
mlc_zip_find_directory(uint64_t size, const uint8_t *tail, size_t len,
                       const struct mlc_zip_limits *limits,
                       struct mlc_zip_directory *ret, uint64_t *ret_from,
                       char *why)
{
    const uint64_t more = MLC_ZIP_LOCATOR_SIZE + MLC_ZIP_END64_SIZE;
    struct tail t = {size, size - len, tail, len, why};
    struct end e = {0};
    const char *fault;
    size_t at = 0;
    int r;

    r = find_end(&t, &at, ret_from);
    if (r != 0)
        return r;
    read_end(&t, at, &e);
    if (has_end64(&e)) {
        if (e.at < more)
            return mlc_zip_refuse(-EBADMSG, why, "no zip64 end record");
        if (at < more)
            return need_from(e.at - more, ret_from);
        fault = read_end64(&t, &e);
        if (fault)
            return mlc_zip_refuse(-EBADMSG, why, "%s", fault);
    }
    r = check_end(&e, limits, why);
    if (r < 0)
        return r;
    if (e.dir.offset < t.from)
        return need_from(e.dir.offset, ret_from);
    *ret = e.dir;
    return 0;
}
