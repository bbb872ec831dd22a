/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/zip-writer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"

#define MAX_LEN ((size_t)64 << 20)

#define FLAG_DESCRIPTOR 0x0008u
#define FLAG_UTF8       0x0800u

/* What is written of an item. */
struct parts {
    const struct zip_item *item;
    size_t name_len;
    const char *data;
    size_t len;
    char *owned; /* packed data; NULL: not ours */
    const char *packed;
    size_t packed_len;
    uint32_t crc;
    uint16_t flags;
    uint16_t method;
};

static void
append(struct mlc_buf *b, const void *data, size_t len)
{
    if (len > 0 && mlc_buf_append(b, data, len) < 0)
        abort();
}

static void
append_le(struct mlc_buf *b, uint64_t v, size_t len)
{
    for (; len > 0; len--, v >>= 8)
        append(b, &(uint8_t){(uint8_t)v}, 1);
}

/* Raw deflate, as zip has it. */
static char *
deflate_all(const char *data, size_t len, size_t *ret_len)
{
    z_stream z = {0};
    size_t room = len + len / 1000 + 64;
    char *out = malloc(room);

    if (!out || deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY))
        abort();
    z.next_in = (z_const Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    *ret_len = z.total_out;
    deflateEnd(&z);
    return out;
}

static struct parts
make_parts(const struct zip_item *item)
{
    struct parts p = {.item = item};

    p.name_len = item->name_len ? item->name_len : strlen(item->name);
    p.data = item->data ? item->data : "";
    p.len = item->len ? item->len : strlen(p.data);
    p.crc = (uint32_t)crc32_z(0, (const Bytef *)p.data, p.len);
    p.packed = p.data;
    p.packed_len = p.len;
    if (item->how & ZIP_DEFLATE) {
        p.method = 8;
        p.owned = deflate_all(p.data, p.len, &p.packed_len);
        p.packed = p.owned;
    }
    if (item->packed) {
        p.packed = item->packed;
        p.packed_len = item->packed_len;
    }
    if (item->how & ZIP_DESCRIPTOR)
        p.flags |= FLAG_DESCRIPTOR;
    if (item->how & ZIP_UTF8)
        p.flags |= FLAG_UTF8;
    return p;
}

static void
write_local(struct mlc_buf *b, const struct parts *p)
{
    const struct zip_item *item = p->item;
    bool is_wide = item->how & ZIP_WIDE_LOCAL;
    bool is_late = item->how & ZIP_DESCRIPTOR;
    uint64_t csize = is_late ? 0 : p->packed_len, usize = is_late ? 0 : p->len;

    append_le(b, 0x04034b50, 4);
    append_le(b, is_wide ? 45 : 20, 2);
    append_le(b, p->flags, 2);
    append_le(b, p->method, 2);
    append_le(b, 0x58210000, 4); /* time and date */
    append_le(b, is_late ? 0 : p->crc, 4);
    append_le(b, is_wide ? UINT32_MAX : csize, 4);
    append_le(b, is_wide ? UINT32_MAX : usize, 4);
    append_le(b, p->name_len, 2);
    append_le(b, item->local_extra_len + (is_wide ? 20 : 0), 2);
    append(b, item->local_name ? item->local_name : item->name, p->name_len);
    if (is_wide) {
        append_le(b, 1, 2);
        append_le(b, 16, 2);
        append_le(b, usize, 8);
        append_le(b, csize, 8);
    }
    append(b, item->local_extra, item->local_extra_len);
}

static void
write_descriptor(struct mlc_buf *b, const struct parts *p)
{
    size_t size_len = p->item->how & ZIP_DESCRIPTOR_WIDE ? 8 : 4;

    if (!(p->item->how & ZIP_DESCRIPTOR))
        return;
    if (!(p->item->how & ZIP_DESCRIPTOR_BARE))
        append_le(b, 0x08074b50, 4);
    append_le(b, p->crc, 4);
    append_le(b, p->packed_len, size_len);
    append_le(b, p->len, size_len);
}

static void
write_central(struct mlc_buf *b, const struct parts *p, size_t offset)
{
    const struct zip_item *item = p->item;
    bool is_wide = item->how & ZIP_WIDE_CENTRAL;
    bool is_dir = p->name_len > 0 && item->name[p->name_len - 1] == '/';
    uint32_t mode = item->mode ? item->mode : is_dir ? 0040755 : 0100644;

    append_le(b, 0x02014b50, 4);
    append_le(b, (uint64_t)3 << 8 | 45, 2); /* by Unix */
    append_le(b, is_wide ? 45 : 20, 2);
    append_le(b, p->flags, 2);
    append_le(b, p->method, 2);
    append_le(b, 0x58210000, 4);
    append_le(b, p->crc, 4);
    append_le(b, is_wide ? UINT32_MAX : p->packed_len, 4);
    append_le(b, is_wide ? UINT32_MAX : p->len, 4);
    append_le(b, p->name_len, 2);
    append_le(b, item->extra_len + (is_wide ? 28 : 0), 2);
    append_le(b, 0, 2); /* comment */
    append_le(b, 0, 2); /* disk */
    append_le(b, 0, 2); /* internal attributes */
    append_le(b, (uint64_t)mode << 16, 4);
    append_le(b, is_wide ? UINT32_MAX : offset, 4);
    append(b, item->name, p->name_len);
    if (is_wide) {
        append_le(b, 1, 2);
        append_le(b, 24, 2);
        append_le(b, p->len, 8);
        append_le(b, p->packed_len, 8);
        append_le(b, offset, 8);
    }
    append(b, item->extra, item->extra_len);
}

static void
write_end64(struct mlc_buf *b, struct zip_image *image, size_t n)
{
    image->end64 = b->len;
    append_le(b, 0x06064b50, 4);
    append_le(b, 44, 8);
    append_le(b, (uint64_t)3 << 8 | 45, 2);
    append_le(b, 45, 2);
    append_le(b, 0, 8); /* disks */
    append_le(b, n, 8);
    append_le(b, n, 8);
    append_le(b, image->end64 - image->directory, 8);
    append_le(b, image->directory, 8);

    append_le(b, 0x07064b50, 4);
    append_le(b, 0, 4);
    append_le(b, image->end64, 8);
    append_le(b, 1, 4);
}

static void
write_end(struct mlc_buf *b, struct zip_image *image, size_t n, unsigned how,
          size_t comment_len)
{
    bool is_wide = how & ZIP_WIDE_END;
    size_t size = b->len - image->directory;

    if (is_wide)
        write_end64(b, image, n);
    image->end = b->len;
    append_le(b, 0x06054b50, 4);
    append_le(b, 0, 4); /* disks */
    append_le(b, is_wide ? UINT16_MAX : n, 2);
    append_le(b, is_wide ? UINT16_MAX : n, 2);
    append_le(b, is_wide ? UINT32_MAX : size, 4);
    append_le(b, is_wide ? UINT32_MAX : image->directory, 4);
    append_le(b, comment_len, 2);
}

struct zip_image
zip_write(const struct zip_item *items, size_t n, unsigned how,
          const char *comment, size_t comment_len)
{
    struct parts parts[ZIP_MAX_ITEMS];
    struct zip_image image = {0};
    struct mlc_buf b;

    if (n > ZIP_MAX_ITEMS)
        abort();
    mlc_buf_init(&b, MAX_LEN);
    for (size_t i = 0; i < n; i++) {
        parts[i] = make_parts(&items[i]);
        append_le(&b, 0, items[i].gap);
        image.local[i] = b.len;
        write_local(&b, &parts[i]);
        image.data[i] = b.len;
        append(&b, parts[i].packed, parts[i].packed_len);
        image.data_end[i] = b.len;
        write_descriptor(&b, &parts[i]);
    }
    image.directory = b.len;
    for (size_t i = 0; i < n; i++) {
        image.central[i] = b.len;
        write_central(&b, &parts[i], image.local[i]);
        free(parts[i].owned);
    }
    write_end(&b, &image, n, how, comment_len);
    append(&b, comment, comment_len);
    image.len = b.len;
    image.bytes = (uint8_t *)mlc_buf_take(&b, NULL);
    return image;
}

struct zip_image
zip_image_copy(const struct zip_image *image)
{
    struct zip_image copy = *image;

    copy.bytes = malloc(image->len);
    if (!copy.bytes)
        abort();
    memcpy(copy.bytes, image->bytes, image->len);
    return copy;
}

void
zip_image_done(struct zip_image *image)
{
    free(image->bytes);
    image->bytes = NULL;
}

void
zip_splice(struct zip_image *image, size_t at, size_t gone, const void *bytes,
           size_t len)
{
    size_t rest = image->len - at - gone;
    uint8_t *to = malloc(at + len + rest + 1);

    if (!to)
        abort();
    memcpy(to, image->bytes, at);
    if (len > 0)
        memcpy(to + at, bytes, len);
    memcpy(to + at + len, image->bytes + at + gone, rest);
    free(image->bytes);
    image->bytes = to;
    image->len = at + len + rest;
}

static void
put(struct zip_image *image, size_t at, uint64_t v, size_t len)
{
    for (; len > 0; len--, v >>= 8)
        image->bytes[at++] = (uint8_t)v;
}

void
zip_put16(struct zip_image *image, size_t at, uint16_t v)
{
    put(image, at, v, 2);
}

void
zip_put32(struct zip_image *image, size_t at, uint32_t v)
{
    put(image, at, v, 4);
}

void
zip_put64(struct zip_image *image, size_t at, uint64_t v)
{
    put(image, at, v, 8);
}
