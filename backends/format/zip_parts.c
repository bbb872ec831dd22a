/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/zip_i.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "backends/format/zip.h"

#define EXTRA_ZIP64        0x0001u
#define EXTRA_UNICODE_PATH 0x7075u /* another name, for some readers */
#define EXTRA_LIBARCHIVE   0x6c78u /* another type, for libarchive */

uint16_t
mlc_zip_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t
mlc_zip_le32(const uint8_t *p)
{
    return mlc_zip_le16(p) | (uint32_t)mlc_zip_le16(p + 2) << 16;
}

uint64_t
mlc_zip_le64(const uint8_t *p)
{
    return mlc_zip_le32(p) | (uint64_t)mlc_zip_le32(p + 4) << 32;
}

static bool
is_saturated(const struct mlc_zip_sizes *s)
{
    return s->usize == UINT32_MAX || s->csize == UINT32_MAX ||
           s->offset == UINT32_MAX || s->disk == UINT16_MAX;
}

/* The zip64 field has those values that the header has no room for, in this
 * order; what comes after is no concern of ours. */
static const char *
resolve_zip64(const uint8_t *p, size_t len, struct mlc_zip_sizes *s)
{
    uint64_t *const wide[] = {&s->usize, &s->csize, &s->offset};

    for (size_t i = 0; i < sizeof(wide) / sizeof(*wide); i++) {
        if (*wide[i] != UINT32_MAX)
            continue;
        if (len < 8)
            return "a zip64 field that is too short";
        *wide[i] = mlc_zip_le64(p);
        p += 8;
        len -= 8;
    }
    if (s->disk == UINT16_MAX) {
        if (len < 4)
            return "a zip64 field that is too short";
        s->disk = mlc_zip_le32(p);
    }
    return NULL;
}

const char *
mlc_zip_resolve(const uint8_t *extra, size_t len, struct mlc_zip_sizes *sizes)
{
    const char *fault;
    bool has_zip64 = false, wants_zip64 = is_saturated(sizes);

    while (len > 0) {
        size_t field;
        uint16_t id;

        if (len < 4)
            return "extra fields that end in the middle";
        id = mlc_zip_le16(extra);
        field = mlc_zip_le16(extra + 2);
        if (field > len - 4)
            return "an extra field beyond its end";
        if (id == EXTRA_UNICODE_PATH || id == EXTRA_LIBARCHIVE)
            return "an extra field that gives it another name or type";
        if (id == EXTRA_ZIP64) {
            if (has_zip64)
                return "two zip64 fields";
            has_zip64 = true;
            fault = resolve_zip64(extra + 4, field, sizes);
            if (fault)
                return fault;
        }
        extra += 4 + field;
        len -= 4 + field;
    }
    return wants_zip64 && !has_zip64 ? "no zip64 field" : NULL;
}

void
mlc_zip_no_reason(char *why)
{
    if (why)
        *why = '\0';
}

int
mlc_zip_refuse(int r, char *why, const char *fmt, ...)
{
    va_list ap;
    size_t len;

    if (!why)
        return r;
    va_start(ap, fmt);
    if (vsnprintf(why, MLC_ZIP_WHY_SIZE, fmt, ap) < 0)
        *why = '\0';
    va_end(ap);
    len = strlen(why);
    if (len > 0 && why[len - 1] == '\n') /* some of libarchive's texts */
        why[len - 1] = '\0';
    for (; *why; why++) {
        if (*why < ' ' || *why > '~')
            *why = '?';
    }
    return r;
}
