/* SPDX-License-Identifier: MIT */
/* The input is an archive: its index, its frame as a wheel, and all members. */
/* seeds: test-format-zip test-format-unzip test-format-wheel */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "backends/format/wheel.h"

/* Of the wheels of tests/test-format-wheel.c. */
#define MODEL   "xx_toy_sm"
#define RELEASE "3.8.0"

#define FIRST_TAIL 100

#define check(x)                                                               \
    do {                                                                       \
        if (!(x))                                                              \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mlc_zip_limits limits = {
    .max_directory = 64 << 10,
    .max_entries = 100,
    .max_member = 256 << 10,
    .max_total = 1 << 20,
};

struct archive_input {
    const uint8_t *data;
    size_t size;
    const struct mlc_zip_member *m; /* being unpacked; NULL: any */
    uint64_t written;
    uint32_t crc;
};

static ssize_t
read_input(void *arg, uint64_t off, void *buf, size_t len)
{
    const struct archive_input *in = arg;

    check(len > 0 && off <= in->size && len <= in->size - off);
    if (in->m)
        check(off >= in->m->offset && off + len <= in->m->end);
    memcpy(buf, in->data + off, len);
    return (ssize_t)len;
}

static int
take_bytes(void *arg, const void *data, size_t len)
{
    struct archive_input *in = arg;

    check(data && len > 0 && len <= in->m->usize - in->written);
    in->written += len;
    in->crc = (uint32_t)crc32_z(in->crc, data, len);
    return 0;
}

/* In a buffer of its own, so that a step out of the tail is seen. */
static struct mlc_zip *
parse(const uint8_t *data, size_t size, char *why)
{
    uint64_t from = size > FIRST_TAIL ? size - FIRST_TAIL : 0, next = from;
    struct mlc_zip *z = NULL;
    int r;

    for (int n_more = 0;; n_more++) {
        size_t len = size - (size_t)from;
        uint8_t *tail = malloc(len + 1);

        check(tail);
        memcpy(tail + 1, data + from, len);
        r = mlc_zip_parse(size, tail + 1, len, &limits, &z, &next, why);
        free(tail);
        check((r == 0) == (z != NULL));
        check(strlen(why) < MLC_ZIP_WHY_SIZE);
        if (r != MLC_ZIP_MORE)
            return z;
        check(n_more < 3 && next < from);
        from = next;
    }
}

static int
look_up(void *arg, const char *name, const struct mlc_zip_member *m)
{
    const struct mlc_zip *z = arg;
    const struct mlc_zip_member *same = NULL;

    check(*name && !strchr(name, '/') && strcmp(name, "..") != 0);
    if (m) {
        check(mlc_zip_find(z, m->name, &same) == 0 && same == m);
        check(mlc_zip_list(z, m->name, NULL, NULL) == -ENOTDIR);
    }
    return 0;
}

static void
unpack(struct archive_input *in, const struct mlc_zip_member *m, char *why)
{
    int r;

    in->m = m;
    in->written = 0;
    in->crc = 0;
    r = mlc_zip_extract(m, read_input, take_bytes, in, NULL, why);
    if (r == 0)
        check(in->written == m->usize && in->crc == m->crc);
    else
        check(r == -EBADMSG || (m->is_dir && r == -EISDIR));
    in->m = NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct archive_input in = {.data = data, .size = size};
    struct mlc_record *record = NULL;
    char why[MLC_ZIP_WHY_SIZE] = "";
    struct mlc_zip *z = parse(data, size, why);

    if (!z)
        return 0;
    check(mlc_zip_list(z, "", look_up, z) == 0);
    for (size_t i = 0; i < mlc_zip_n_members(z); i++)
        unpack(&in, mlc_zip_member(z, i), why);
    if (mlc_wheel_check(z, MODEL, RELEASE, why) == 0 &&
        mlc_wheel_read_record(z, MODEL, RELEASE, read_input, &in, NULL, &record,
                              why) == 0)
        mlc_record_free(record);
    mlc_zip_free(z);
    return 0;
}
