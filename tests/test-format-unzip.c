/* SPDX-License-Identifier: MIT */
/* The bytes of a zip archive's members: all of them, or an error. */
#include "config.h"

#include "backends/format/zip.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "tests/zip-reader.h"
#include "tests/zip-writer.h"

#define N_OF(a) (sizeof(a) / sizeof(*(a)))

#define BIG_LEN ((size_t)3 << 20) /* more than any buffer on the way */

struct sink {
    struct zip_source source; /* first: the argument of zip_source_read() */
    char *data;
    size_t len;
    size_t max;    /* what comes beyond fails the test */
    size_t n_good; /* writes until one fails; 0: none does */
    size_t n_writes;
};

static int
take(void *arg, const void *data, size_t len)
{
    struct sink *s = arg;

    assert_true(len > 0);
    assert_non_null(data);
    assert_true(s->len + len <= s->max);
    if (s->n_good > 0 && s->n_writes == s->n_good)
        return -ENOSPC;
    s->n_writes++;
    memcpy(s->data + s->len, data, len);
    s->len += len;
    return 0;
}

static struct mlc_zip *
parse(const struct zip_image *image)
{
    char why[MLC_ZIP_WHY_SIZE] = "?";
    struct mlc_zip *z = NULL;
    int r = zip_parse_image(image, 0, NULL, &z, why);

    if (r != 0)
        fail_msg("%d: %s", r, why);
    return z;
}

static void
sink_init(struct sink *s, const struct zip_image *image, size_t max)
{
    *s = (struct sink){.max = max, .data = malloc(max + 1)};
    assert_non_null(s->data);
    zip_source_init(&s->source, image);
}

/* Unpacks a member, and looks at what was asked for. */
static int
unpack(struct sink *s, const struct mlc_zip_member *m, const atomic_bool *stop,
       char *why)
{
    int r = mlc_zip_extract(m, zip_source_read, take, s, stop, why);

    if (s->source.low != UINT64_MAX) {
        assert_true(s->source.low >= m->offset);
        assert_true(s->source.high <= m->end);
    }
    return r;
}

/* All members of an archive of these items come out as they went in.  Frees the
 * image. */
static void
assert_unpacks_in(struct zip_image image, const struct zip_item *items,
                  size_t n, size_t most)
{
    struct mlc_zip *z = parse(&image);

    for (size_t i = 0; i < n; i++) {
        const struct mlc_zip_member *m = NULL;
        char why[MLC_ZIP_WHY_SIZE] = "?";
        struct sink s;
        size_t len = items[i].len ? items[i].len
                                  : strlen(items[i].data ? items[i].data : "");
        int r;

        assert_int_equal(mlc_zip_find(z, items[i].name, &m), 0);
        sink_init(&s, &image, len);
        s.source.most = most;
        r = unpack(&s, m, NULL, why);
        if (r != 0)
            fail_msg("%s: %d: %s", items[i].name, r, why);
        assert_string_equal(why, "");
        assert_int_equal(s.len, len);
        if (len > 0)
            assert_memory_equal(s.data, items[i].data, len);
        free(s.data);
    }
    mlc_zip_free(z);
    zip_image_done(&image);
}

static void
assert_unpacks(const struct zip_item *items, size_t n)
{
    assert_unpacks_in(zip_write(items, n, 0, NULL, 0), items, n, 0);
    assert_unpacks_in(zip_write(items, n, ZIP_WIDE_END, "x", 1), items, n, 1);
}

/* Member 'name' can't be unpacked, and no more than it declares comes of it.
 * Frees the image. */
static void
assert_refused(struct zip_image image, const char *name, const char *shown)
{
    struct mlc_zip *z = parse(&image);
    const struct mlc_zip_member *m = NULL;
    char why[MLC_ZIP_WHY_SIZE] = "";
    struct sink s;
    int r;

    assert_int_equal(mlc_zip_find(z, name, &m), 0);
    sink_init(&s, &image, (size_t)m->usize);
    r = unpack(&s, m, NULL, why);
    if (r != -EBADMSG || !strstr(why, shown) || !strstr(why, name))
        fail_msg("%d: \"%s\", not \"%s\"", r, why, shown);
    for (const char *p = why; *p; p++)
        assert_in_range(*p, ' ', '~');
    zip_source_init(&s.source, &image);
    s.len = 0;
    assert_int_equal(unpack(&s, m, NULL, NULL), -EBADMSG);
    free(s.data);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static char *
make_noise(size_t len)
{
    char *data = malloc(len);
    uint32_t x = 1;

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        /* Half of it can be packed. */
        data[i] = i / 1000 % 2 ? 'x' : (char)(x >> 24);
    }
    return data;
}

static const struct zip_item plain[] = {
    {.name = "a", .data = "import this\n", .how = ZIP_DEFLATE},
    {.name = "b", .data = "stored as it is\n"},
    {.name = "c", .data = "cccccccccccccccccccccc", .how = ZIP_DEFLATE},
};

static struct zip_image
write_plain(void)
{
    return zip_write(plain, N_OF(plain), 0, NULL, 0);
}

/* --- what works ---------------------------------------------------------- */

static void
all_ways_to_pack_are_unpacked(void **state)
{
    char *noise = make_noise(BIG_LEN);
    struct zip_item items[] = {
        {.name = "text", .data = "text"},
        {.name = "empty", .data = ""},
        {.name = "big", .data = noise, .len = BIG_LEN},
        {.name = "block", .data = noise, .len = (size_t)128 << 10},
        {.name = "block+", .data = noise, .len = ((size_t)128 << 10) + 1},
    };

    for (unsigned how = 0; how < ZIP_UTF8; how++) {
        for (size_t i = 0; i < N_OF(items); i++)
            items[i].how = how;
        assert_unpacks_in(zip_write(items, N_OF(items), how % 2, NULL, 0),
                          items, N_OF(items), 0);
    }
    free(noise);
}

static void
reads_may_be_as_short_as_a_byte(void **state)
{
    assert_unpacks_in(write_plain(), plain, N_OF(plain), 1);
}

static void
descriptor_without_room_behind_it_is_enough(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a",
         .data = "the last one",
         .how = ZIP_DEFLATE | ZIP_DESCRIPTOR | ZIP_DESCRIPTOR_BARE},
    };

    assert_unpacks(items, N_OF(items));
}

/* A reader that looks for the descriptor would stop at this one. */
static void
stored_data_may_look_like_a_descriptor(void **state)
{
    static const char fake[] =
        "begin PK\7\10\0\0\0\0\6\0\0\0\6\0\0\0PK\3\4 end";
    static const struct zip_item items[] = {
        {.name = "a", .data = fake, .len = sizeof(fake), .how = ZIP_DESCRIPTOR},
        {.name = "b", .data = fake, .len = sizeof(fake)},
        {.name = "c",
         .data = fake,
         .len = sizeof(fake),
         .how = ZIP_DESCRIPTOR | ZIP_DESCRIPTOR_WIDE},
    };

    assert_unpacks(items, N_OF(items));
}

static void
names_need_no_locale(void **state)
{
    static const struct zip_item items[] = {
        {.name = "\xe6\x97\xa5\xe6\x9c\xac", .data = "x", .how = ZIP_UTF8},
        {.name = "d/\xc3\xa4 b", .data = "y", .how = ZIP_UTF8 | ZIP_DEFLATE},
    };

    assert_unpacks(items, N_OF(items));
}

static void
local_extra_fields_of_no_account_are_passed_over(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a",
         .data = "data",
         .local_extra = "\x55\x54\5\0\1abcd",
         .local_extra_len = 9},
        {.name = "b",
         .data = "data",
         .local_extra = "\1\0\0\0",
         .local_extra_len = 4},
    };

    assert_unpacks(items, N_OF(items));
}

static void
longest_local_header_is_read(void **state)
{
    char *extra = calloc(1, UINT16_MAX);
    char name[MLC_ZIP_MAX_PATH + 1] = "";
    struct zip_item item = {
        .name = name,
        .data = "data",
        .how = ZIP_DEFLATE,
        .local_extra = extra,
        .local_extra_len = UINT16_MAX,
    };

    assert_non_null(extra);
    memcpy(extra, "ab\xfb\xff", 4);
    for (size_t i = 0; i < MLC_ZIP_MAX_PATH; i++)
        name[i] = i % 250 == 249 ? '/' : 'n';
    assert_unpacks(&item, 1);
    free(extra);
}

static void
small_members_fit_into_memory(void **state)
{
    struct zip_image image = write_plain();
    struct mlc_zip *z = parse(&image);
    const struct mlc_zip_member *m = NULL;
    char why[MLC_ZIP_WHY_SIZE];
    struct zip_source source;
    char *data = NULL;
    size_t len = 0;

    zip_source_init(&source, &image);
    assert_int_equal(mlc_zip_find(z, "a", &m), 0);
    assert_int_equal(mlc_zip_extract_small(m, 12, zip_source_read, &source,
                                           NULL, &data, &len, why),
                     0);
    assert_string_equal(data, "import this\n");
    assert_int_equal(len, 12);
    assert_string_equal(why, "");
    free(data);
    data = NULL;
    assert_int_equal(mlc_zip_extract_small(m, 11, zip_source_read, &source,
                                           NULL, &data, NULL, why),
                     -EFBIG);
    assert_string_equal(why, "a: 12 bytes");
    assert_null(data);
    mlc_zip_free(z);
    zip_put32(&image, image.data[0], 0);
    z = parse(&image);
    assert_int_equal(mlc_zip_find(z, "a", &m), 0);
    assert_int_equal(mlc_zip_extract_small(m, 12, zip_source_read, &source,
                                           NULL, &data, NULL, why),
                     -EBADMSG);
    assert_null(data);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static void
directory_has_no_bytes(void **state)
{
    static const struct zip_item item = {.name = "d/", .mode = 0040755};
    struct zip_image image = zip_write(&item, 1, 0, NULL, 0);
    struct mlc_zip *z = parse(&image);
    struct sink s;

    sink_init(&s, &image, 0);
    assert_int_equal(unpack(&s, mlc_zip_member(z, 0), NULL, NULL), -EISDIR);
    free(s.data);
    mlc_zip_free(z);
    zip_image_done(&image);
}

/* --- callbacks ----------------------------------------------------------- */

/* What unpacking 'name' gives when the n-th read does that. */
static int
unpack_with_read(const struct zip_image *image, const char *name, size_t n_good,
                 ssize_t result, char *why)
{
    struct mlc_zip *z = parse(image);
    const struct mlc_zip_member *m = NULL;
    struct sink s;
    int r;

    assert_int_equal(mlc_zip_find(z, name, &m), 0);
    sink_init(&s, image, (size_t)m->usize);
    s.source.n_good = n_good;
    s.source.result = result;
    s.source.most = 16;
    r = unpack(&s, m, NULL, why);
    free(s.data);
    mlc_zip_free(z);
    return r;
}

static void
errno_of_a_failed_read_is_kept(void **state)
{
    struct zip_image image = write_plain();
    char why[MLC_ZIP_WHY_SIZE];

    /* In the local header's two parts, and twice in the data. */
    for (size_t n = 1; n <= 4; n++) {
        int r = unpack_with_read(&image, "c", n, -EIO, why);

        /* It may be done by then. */
        if (r != -EIO && r != 0)
            fail_msg("read %zu: %d, %s", n, r, why);
        assert_true(r == -EIO || n > 3);
        assert_string_equal(why, "");
    }
    zip_image_done(&image);
}

static void
archive_that_became_shorter_is_refused(void **state)
{
    struct zip_image image = write_plain();
    char why[MLC_ZIP_WHY_SIZE];

    for (size_t n = 1; n <= 3; n++) {
        assert_int_equal(unpack_with_read(&image, "c", n, 0, why), -EBADMSG);
        assert_string_equal(why, "c: the archive is shorter than it was");
    }
    zip_image_done(&image);
}

static void
errno_of_a_failed_write_is_kept(void **state)
{
    char *noise = make_noise(BIG_LEN);
    struct zip_item items[] = {
        {.name = "a", .data = noise, .len = BIG_LEN, .how = ZIP_DEFLATE},
        {.name = "b", .data = noise, .len = BIG_LEN},
    };
    struct zip_image image = zip_write(items, 2, 0, NULL, 0);
    struct mlc_zip *z = parse(&image);
    char why[MLC_ZIP_WHY_SIZE];

    for (size_t i = 0; i < 2; i++) {
        struct sink s;

        sink_init(&s, &image, BIG_LEN);
        s.n_good = 2;
        assert_int_equal(unpack(&s, mlc_zip_member(z, i), NULL, why), -ENOSPC);
        assert_string_equal(why, "");
        free(s.data);
    }
    mlc_zip_free(z);
    zip_image_done(&image);
    free(noise);
}

static void
stop_is_seen_soon(void **state)
{
    char *noise = make_noise(BIG_LEN);
    struct zip_item item = {.name = "a", .data = noise, .len = BIG_LEN};
    struct zip_image image = zip_write(&item, 1, 0, NULL, 0);
    struct mlc_zip *z = parse(&image);
    atomic_bool stop = true;
    struct sink s;

    sink_init(&s, &image, BIG_LEN);
    assert_int_equal(unpack(&s, mlc_zip_member(z, 0), &stop, NULL), -ECANCELED);
    assert_int_equal(s.source.n_reads, 0);

    /* Becomes true at the sixth read. */
    stop = false;
    s.source.stop = &stop;
    s.source.n_good = 5;
    s.source.result = 1;
    assert_int_equal(unpack(&s, mlc_zip_member(z, 0), &stop, NULL), -ECANCELED);
    assert_true(s.source.n_reads <= 6);
    free(s.data);
    mlc_zip_free(z);
    zip_image_done(&image);
    free(noise);
}

/* --- local headers ------------------------------------------------------- */

static void
local_header_must_agree(void **state)
{
    static const struct {
        size_t field;
        uint16_t value;
        const char *why;
    } cases[] = {
        {0, 0, "no local header"},
        {2, 0x0201, "no local header"},
        {LOCAL_FLAGS, 1, "flags in the local header"},
        {LOCAL_FLAGS, 8, "flags in the local header"},
        {LOCAL_FLAGS, 0x0800, "flags in the local header"},
        {LOCAL_METHOD, 8, "another method"},
        {LOCAL_METHOD, 12, "another method"},
        {LOCAL_CRC, 0, "another CRC"},
        {LOCAL_CSIZE, 15, "other sizes"},
        {LOCAL_CSIZE, 0, "other sizes"},
        {LOCAL_USIZE, 17, "other sizes"},
        {LOCAL_USIZE, 0, "other sizes"},
        {LOCAL_NAME_LEN, 2, "another name"},
        {LOCAL_NAME_LEN, 0, "another name"},
        {LOCAL_NAME_LEN, 0xffff, "another name"},
        {LOCAL_EXTRA_LEN, 1, "overlaps"},
        {LOCAL_EXTRA_LEN, 0xffff, "overlaps"},
    };

    for (size_t i = 0; i < N_OF(cases); i++) {
        struct zip_image image = write_plain();

        zip_put16(&image, image.local[1] + cases[i].field, cases[i].value);
        assert_refused(image, "b", cases[i].why);
    }
}

static void
local_name_must_be_the_directorys(void **state)
{
    static const struct zip_item items[] = {
        {.name = "good/name", .local_name = "../../bad", .data = "x"},
        {.name = "good/namf", .local_name = "good\0namf", .data = "x"},
    };

    for (size_t i = 0; i < N_OF(items); i++)
        assert_refused(zip_write(&items[i], 1, 0, NULL, 0), items[i].name,
                       "another name in the local header");
}

static void
local_extra_fields_that_lead_astray_are_refused(void **state)
{
    static const struct {
        const char *extra;
        size_t len;
        const char *why;
    } cases[] = {
        {"\x75\x70\x05\0\1abcd", 9, "another name or type"},
        {"\x78\x6c\x01\0\0", 5, "another name or type"},
        {"ab\xff\0", 4, "beyond its end"},
        {"a", 1, "end in the middle"},
    };

    for (size_t i = 0; i < N_OF(cases); i++) {
        struct zip_item item = {.name = "a",
                                .data = "data",
                                .local_extra = cases[i].extra,
                                .local_extra_len = cases[i].len};

        assert_refused(zip_write(&item, 1, 0, NULL, 0), "a", cases[i].why);
    }
}

static void
local_zip64_sizes_must_agree(void **state)
{
    static const struct zip_item item = {
        .name = "a", .data = "data", .how = ZIP_WIDE_LOCAL};
    struct zip_image image = zip_write(&item, 1, 0, NULL, 0);
    size_t field = image.local[0] + LOCAL_NAME + 1 + 4;

    zip_put64(&image, field, 5);
    assert_refused(image, "a", "other sizes");
    image = zip_write(&item, 1, 0, NULL, 0);
    zip_put64(&image, field + 8, 0);
    assert_refused(image, "a", "other sizes");
    image = write_plain();
    zip_put32(&image, image.local[1] + LOCAL_USIZE, UINT32_MAX);
    assert_refused(image, "b", "no zip64 field");
}

static void
offset_must_be_that_of_a_header(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a", .data = "x"},
        {.name = "b", .data = "y", .gap = 8},
    };
    struct zip_image image = zip_write(items, 2, 0, NULL, 0);

    zip_put32(&image, image.central[1] + CENTRAL_OFFSET,
              (uint32_t)image.local[1] - 1);
    assert_refused(image, "b", "no local header");
    /* The other's header. */
    image = zip_write(items, 2, 0, NULL, 0);
    zip_put32(&image, image.central[0] + CENTRAL_OFFSET,
              (uint32_t)image.local[1]);
    zip_put32(&image, image.central[1] + CENTRAL_OFFSET,
              (uint32_t)image.local[0]);
    assert_refused(image, "b", "another name in the local header");
}

/* --- data descriptors ---------------------------------------------------- */

static void
descriptor_must_agree(void **state)
{
    static const unsigned hows[] = {
        ZIP_DESCRIPTOR,
        ZIP_DESCRIPTOR | ZIP_DESCRIPTOR_BARE,
        ZIP_DESCRIPTOR | ZIP_DESCRIPTOR_WIDE,
        ZIP_DESCRIPTOR | ZIP_DESCRIPTOR_BARE | ZIP_DESCRIPTOR_WIDE,
        ZIP_DESCRIPTOR | ZIP_DEFLATE,
    };

    for (size_t i = 0; i < N_OF(hows); i++) {
        struct zip_item item = {
            .name = "a", .data = "some data", .how = hows[i]};
        struct zip_image image = zip_write(&item, 1, 0, NULL, 0);
        size_t len = image.directory - image.data_end[0];

        zip_image_done(&image);
        for (size_t at = 0; at < len; at++) {
            image = zip_write(&item, 1, 0, NULL, 0);
            image.bytes[image.data_end[0] + at] ^= 0x40;
            assert_refused(image, "a", "data descriptor");
        }
    }
}

static void
descriptor_must_be_there(void **state)
{
    /* The flag is set by hand, so nothing follows the data. */
    struct zip_image image = write_plain();

    for (size_t i = 0; i < N_OF(plain); i++) {
        zip_put16(&image, image.local[i] + LOCAL_FLAGS, 8);
        zip_put16(&image, image.central[i] + CENTRAL_FLAGS, 8);
    }
    assert_refused(zip_image_copy(&image), "a", "data descriptor");
    assert_refused(zip_image_copy(&image), "b", "data descriptor");
    assert_refused(image, "c", "data descriptor");
}

static void
sizes_left_to_the_descriptor_are_zero(void **state)
{
    static const size_t fields[] = {LOCAL_CRC, LOCAL_CSIZE, LOCAL_USIZE};
    static const struct zip_item item = {
        .name = "a", .data = "some data", .how = ZIP_DESCRIPTOR};

    for (size_t i = 0; i < N_OF(fields); i++) {
        struct zip_image image = zip_write(&item, 1, 0, NULL, 0);

        zip_put32(&image, image.local[0] + fields[i], 7);
        assert_refused(image, "a", "other sizes or another CRC");
    }
}

/* --- data ---------------------------------------------------------------- */

/* An archive of one deflated member that lacks its last 'cut' packed bytes and
 * has others there. */
static struct zip_image
write_spoilt(size_t cut, const char *more, size_t more_len)
{
    static const char text[] = "0123456789 is what was packed, 9876543210";
    struct zip_item item = {.name = "a", .data = text, .how = ZIP_DEFLATE};
    struct zip_image good = zip_write(&item, 1, 0, NULL, 0), bad;
    size_t len = good.data_end[0] - good.data[0];
    char packed[200];

    assert_in_range(len, cut, sizeof(packed) - more_len);
    memcpy(packed, good.bytes + good.data[0], len);
    memcpy(packed + len - cut, more, more_len);
    item.packed = packed;
    item.packed_len = len - cut + more_len;
    bad = zip_write(&item, 1, 0, NULL, 0);
    zip_image_done(&good);
    return bad;
}

static void
deflate_streams_must_be_whole(void **state)
{
    assert_refused(write_spoilt(1, "", 0), "a", "");
    assert_refused(write_spoilt(5, "", 0), "a", "");
    assert_refused(write_spoilt(20, "", 0), "a", "");
    assert_refused(write_spoilt(20, "\xff\xff\xff\xff", 4), "a", "");
    assert_refused(write_spoilt(0, "garbage behind", 14), "a", "");
    assert_refused(write_spoilt(0, "\0", 1), "a", "");
}

static void
garbage_is_not_unpacked(void **state)
{
    char *noise = make_noise(2000);
    struct zip_item item = {.name = "a",
                            .data = "0123456789",
                            .how = ZIP_DEFLATE,
                            .packed = noise,
                            .packed_len = 2000};

    for (unsigned first = 0; first < 256; first++) {
        noise[0] = (char)first;
        assert_refused(zip_write(&item, 1, 0, NULL, 0), "a", "");
    }
    free(noise);
}

static void
declared_size_is_exact(void **state)
{
    static const int off_by[] = {-20, -1, 1, 500};

    for (size_t i = 0; i < N_OF(off_by); i++) {
        struct zip_image image = write_plain();
        uint32_t usize = (uint32_t)((int)strlen(plain[2].data) + off_by[i]);

        zip_put32(&image, image.local[2] + LOCAL_USIZE, usize);
        zip_put32(&image, image.central[2] + CENTRAL_USIZE, usize);
        assert_refused(image, "c", "");
    }
}

/* 50 MB that declare 1,000 bytes and have the CRC of these: no more comes of
 * it, which the sink of assert_refused() sees to. */
static void
bomb_is_stopped_at_its_declared_size(void **state)
{
    char *zeros = calloc(1, (size_t)50 << 20);
    struct zip_item item = {.name = "zeros",
                            .data = zeros,
                            .len = (size_t)50 << 20,
                            .how = ZIP_DEFLATE};
    struct zip_image image;
    uint32_t crc;

    assert_non_null(zeros);
    crc = (uint32_t)crc32_z(0, (const Bytef *)zeros, 1000);
    image = zip_write(&item, 1, 0, NULL, 0);
    zip_put32(&image, image.local[0] + LOCAL_USIZE, 1000);
    zip_put32(&image, image.local[0] + LOCAL_CRC, crc);
    zip_put32(&image, image.central[0] + CENTRAL_USIZE, 1000);
    zip_put32(&image, image.central[0] + CENTRAL_CRC, crc);
    assert_refused(image, "zeros", "unpacks to more than it says");
    free(zeros);
}

static void
crc_must_be_right(void **state)
{
    static const uint32_t crcs[] = {0, 1, UINT32_MAX};

    for (size_t i = 0; i < N_OF(crcs); i++) {
        for (size_t item = 0; item < N_OF(plain); item++) {
            struct zip_image image = write_plain();

            zip_put32(&image, image.local[item] + LOCAL_CRC, crcs[i]);
            zip_put32(&image, image.central[item] + CENTRAL_CRC, crcs[i]);
            assert_refused(image, plain[item].name, "");
        }
    }
}

/* --- everything ---------------------------------------------------------- */

/* Whatever bit is wrong: what is unpacked under a name is what was packed under
 * it. */
static void
no_wrong_bit_makes_wrong_bytes(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a", .data = "0123456789", .how = ZIP_DEFLATE},
        {.name = "b", .data = "0123", .how = ZIP_DESCRIPTOR},
        {.name = "c", .data = "01234567", .how = ZIP_WIDE_LOCAL},
        {.name = "d", .data = "012345", .how = ZIP_WIDE_CENTRAL | ZIP_DEFLATE},
    };
    struct zip_image image = zip_write(items, N_OF(items), 0, NULL, 0);

    for (size_t bit = 0; bit < image.len * 8; bit++) {
        struct mlc_zip *z = NULL;

        image.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (zip_parse_image(&image, 0, NULL, &z, NULL) == 0) {
            for (size_t i = 0; i < mlc_zip_n_members(z); i++) {
                const struct mlc_zip_member *m = mlc_zip_member(z, i);
                struct sink s;

                sink_init(&s, &image, (size_t)m->usize);
                if (!m->is_dir && unpack(&s, m, NULL, NULL) == 0) {
                    size_t k = (size_t)(m->name[0] - 'a');

                    assert_int_equal(strlen(m->name), 1);
                    assert_in_range(k, 0, N_OF(items) - 1);
                    assert_int_equal(s.len, strlen(items[k].data));
                    assert_memory_equal(s.data, items[k].data, s.len);
                }
                free(s.data);
            }
            mlc_zip_free(z);
        }
        image.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    zip_image_done(&image);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ways_to_pack_are_unpacked),
        cmocka_unit_test(reads_may_be_as_short_as_a_byte),
        cmocka_unit_test(descriptor_without_room_behind_it_is_enough),
        cmocka_unit_test(stored_data_may_look_like_a_descriptor),
        cmocka_unit_test(names_need_no_locale),
        cmocka_unit_test(local_extra_fields_of_no_account_are_passed_over),
        cmocka_unit_test(longest_local_header_is_read),
        cmocka_unit_test(small_members_fit_into_memory),
        cmocka_unit_test(directory_has_no_bytes),
        cmocka_unit_test(errno_of_a_failed_read_is_kept),
        cmocka_unit_test(archive_that_became_shorter_is_refused),
        cmocka_unit_test(errno_of_a_failed_write_is_kept),
        cmocka_unit_test(stop_is_seen_soon),
        cmocka_unit_test(local_header_must_agree),
        cmocka_unit_test(local_name_must_be_the_directorys),
        cmocka_unit_test(local_extra_fields_that_lead_astray_are_refused),
        cmocka_unit_test(local_zip64_sizes_must_agree),
        cmocka_unit_test(offset_must_be_that_of_a_header),
        cmocka_unit_test(descriptor_must_agree),
        cmocka_unit_test(descriptor_must_be_there),
        cmocka_unit_test(sizes_left_to_the_descriptor_are_zero),
        cmocka_unit_test(deflate_streams_must_be_whole),
        cmocka_unit_test(garbage_is_not_unpacked),
        cmocka_unit_test(declared_size_is_exact),
        cmocka_unit_test(bomb_is_stopped_at_its_declared_size),
        cmocka_unit_test(crc_must_be_right),
        cmocka_unit_test(no_wrong_bit_makes_wrong_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
