/* SPDX-License-Identifier: MIT */
/* The index of a zip archive: what is believed, and what is not. */
#include "config.h"

#include "backends/format/zip.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/zip-reader.h"
#include "tests/zip-writer.h"

#define N_OF(a) (sizeof(a) / sizeof(*(a)))

#define LONG_64                                                                \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LONG_256 LONG_64 LONG_64 LONG_64 LONG_64

static const struct zip_item plain[] = {
    {.name = "m/__init__.py", .data = "import this\n", .how = ZIP_DEFLATE},
    {.name = "m/data/a.cfg", .data = "a = 1\n"},
    {.name = "m/data/b.bin", .data = LONG_256 LONG_256, .how = ZIP_DEFLATE},
    {.name = "n/RECORD", .data = "what there is\n", .how = ZIP_DEFLATE},
};

static struct zip_image
write_plain(void)
{
    return zip_write(plain, N_OF(plain), 0, NULL, 0);
}

/* r and a text for the log; frees the image. */
static void
assert_refused(struct zip_image image, int want, const char *shown)
{
    char why[MLC_ZIP_WHY_SIZE] = "";
    struct mlc_zip *z = NULL;
    int r = zip_parse_image(&image, 0, NULL, &z, why);

    if (r != want || !strstr(why, shown))
        fail_msg("%d, \"%s\", not %d and \"%s\"", r, why, want, shown);
    assert_null(z);
    for (const char *p = why; *p; p++)
        assert_in_range(*p, ' ', '~');
    assert_int_equal(zip_parse_image(&image, 1, NULL, &z, NULL), want);
    zip_image_done(&image);
}

static struct mlc_zip *
accept(const struct zip_image *image, size_t first_tail)
{
    char why[MLC_ZIP_WHY_SIZE] = "?";
    struct mlc_zip *z = NULL;
    int r = zip_parse_image(image, first_tail, NULL, &z, why);

    if (r != 0)
        fail_msg("%d: %s", r, why);
    assert_string_equal(why, "");
    return z;
}

static void
assert_accepted(struct zip_image image, size_t n)
{
    struct mlc_zip *z = accept(&image, 0);

    assert_int_equal(mlc_zip_n_members(z), n);
    mlc_zip_free(z);
    z = accept(&image, 1);
    assert_int_equal(mlc_zip_n_members(z), n);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static struct zip_image
write_one(const struct zip_item *item)
{
    return zip_write(item, 1, 0, NULL, 0);
}

/* --- what an index holds ------------------------------------------------- */

static void
index_is_what_the_directory_says(void **state)
{
    struct zip_image image = write_plain();
    struct mlc_zip *z = accept(&image, 0);
    const struct mlc_zip_member *m = NULL;

    assert_int_equal(mlc_zip_n_members(z), 4);
    assert_string_equal(mlc_zip_member(z, 0)->name, "m/__init__.py");
    assert_string_equal(mlc_zip_member(z, 3)->name, "n/RECORD");
    assert_int_equal(mlc_zip_find(z, "m/data/a.cfg", &m), 0);
    assert_int_equal(m->offset, image.local[1]);
    assert_int_equal(m->end, image.local[2]);
    assert_int_equal(m->csize, 6);
    assert_int_equal(m->usize, 6);
    assert_int_equal(m->method, 0);
    assert_int_equal(m->flags, 0);
    assert_false(m->is_dir);
    assert_int_equal(mlc_zip_find(z, "m/data/b.bin", &m), 0);
    assert_int_equal(m->usize, 512);
    assert_int_equal(m->csize, image.data_end[2] - image.data[2]);
    assert_int_equal(m->method, 8);
    assert_int_equal(mlc_zip_find(z, "n/RECORD", &m), 0);
    assert_int_equal(m->end, image.directory);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static void
find_tells_files_from_directories(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a/b-c"}, {.name = "a/b/d"},   {.name = "a/b.x"},
        {.name = "a/e/"},  {.name = "a/b/f/g"}, {.name = "ab"},
    };
    struct zip_image image = zip_write(items, N_OF(items), 0, NULL, 0);
    struct mlc_zip *z = accept(&image, 0);
    const struct mlc_zip_member *m = NULL;

    assert_int_equal(mlc_zip_find(z, "", &m), -EISDIR);
    assert_int_equal(mlc_zip_find(z, "a", &m), -EISDIR);
    assert_int_equal(mlc_zip_find(z, "a/b", &m), -EISDIR);
    assert_int_equal(mlc_zip_find(z, "a/b/f", &m), -EISDIR);
    assert_int_equal(mlc_zip_find(z, "a/e", &m), -EISDIR);
    assert_int_equal(mlc_zip_find(z, "a/", &m), -ENOENT);
    assert_int_equal(mlc_zip_find(z, "a/e/", &m), -ENOENT);
    assert_int_equal(mlc_zip_find(z, "a/b-", &m), -ENOENT);
    assert_int_equal(mlc_zip_find(z, "b", &m), -ENOENT);
    assert_int_equal(mlc_zip_find(z, "zz", &m), -ENOENT);
    assert_int_equal(mlc_zip_find(z, "a/b/d/x", &m), -ENOENT);
    assert_null(m);
    assert_int_equal(mlc_zip_find(z, "ab", &m), 0);
    assert_string_equal(m->name, "ab");
    assert_int_equal(mlc_zip_find(z, "a/b.x", NULL), 0);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static int
note(void *arg, const char *name, const struct mlc_zip_member *m)
{
    char *out = arg;

    if (m && strcmp(m->name + strlen(m->name) - strlen(name), name) != 0)
        return -EIO;
    strcat(out, name);
    strcat(out, m ? " " : "/ ");
    return strcmp(name, "stop") == 0 ? 7 : 0;
}

static void
list_shows_each_child_once(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a/b-c"}, {.name = "a/b/d"},    {.name = "a/b.x"},
        {.name = "a/e/"},  {.name = "a/b/f/g"},  {.name = "ab"},
        {.name = "a/b/"},  {.name = "a/stop/x"}, {.name = "a/z"},
    };
    struct zip_image image = zip_write(items, N_OF(items), 0, NULL, 0);
    struct mlc_zip *z = accept(&image, 0);
    char out[200] = "";

    assert_int_equal(mlc_zip_list(z, "", note, out), 0);
    assert_string_equal(out, "a/ ab ");
    *out = '\0';
    assert_int_equal(mlc_zip_list(z, "a/b", note, out), 0);
    assert_string_equal(out, "d f/ ");
    *out = '\0';
    assert_int_equal(mlc_zip_list(z, "a/e", note, out), 0);
    assert_string_equal(out, "");
    assert_int_equal(mlc_zip_list(z, "a", note, out), 7);
    assert_string_equal(out, "b-c b.x b/ e/ stop/ ");
    assert_int_equal(mlc_zip_list(z, "ab", note, out), -ENOTDIR);
    assert_int_equal(mlc_zip_list(z, "x", note, out), -ENOENT);
    mlc_zip_free(z);
    zip_image_done(&image);
}

/* --- tails --------------------------------------------------------------- */

static void
any_tail_leads_to_the_same_index(void **state)
{
    struct zip_image image =
        zip_write(plain, N_OF(plain), ZIP_WIDE_END, "comment", 7);

    for (size_t tail = 0; tail <= image.len; tail++) {
        struct mlc_zip *z = accept(&image, tail + 1);

        assert_int_equal(mlc_zip_n_members(z), N_OF(plain));
        mlc_zip_free(z);
    }
    zip_image_done(&image);
}

static void
more_is_asked_for_from_the_directory(void **state)
{
    struct zip_image image = write_plain();
    size_t len = image.len - image.directory - 1;
    struct mlc_zip *z = NULL;
    uint64_t from = 0;

    assert_int_equal(mlc_zip_parse(image.len, image.bytes + image.len - len,
                                   len, &mlc_zip_default_limits, &z, &from,
                                   NULL),
                     MLC_ZIP_MORE);
    assert_int_equal(from, image.directory);
    assert_null(z);
    assert_int_equal(mlc_zip_parse(image.len, image.bytes, image.len + 1,
                                   &mlc_zip_default_limits, &z, &from, NULL),
                     -EINVAL);
    zip_image_done(&image);
}

static void
no_prefix_of_an_archive_is_one(void **state)
{
    for (unsigned how = 0; how <= ZIP_WIDE_END; how++) {
        struct zip_image image = zip_write(plain, N_OF(plain), how, "cc", 2);
        struct mlc_zip *z = NULL;

        while (image.len-- > 0)
            assert_int_equal(zip_parse_image(&image, 40, NULL, &z, NULL),
                             -EBADMSG);
        zip_image_done(&image);
    }
}

/* --- valid but unusual --------------------------------------------------- */

static void
empty_archive_has_no_members(void **state)
{
    assert_accepted(zip_write(NULL, 0, 0, NULL, 0), 0);
    assert_accepted(zip_write(NULL, 0, ZIP_WIDE_END, NULL, 0), 0);
}

static void
comments_are_taken(void **state)
{
    static const size_t lens[] = {1, 15000, 17000, 65534, 65535};
    char *comment = calloc(1, 65535);

    assert_non_null(comment);
    for (size_t i = 0; i < N_OF(lens); i++) {
        assert_accepted(zip_write(plain, N_OF(plain), 0, comment, lens[i]), 4);
        assert_accepted(
            zip_write(plain, N_OF(plain), ZIP_WIDE_END, comment, lens[i]), 4);
    }
    free(comment);
}

static void
zip64_is_taken(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a", .data = "x", .how = ZIP_WIDE_CENTRAL},
        {.name = "b", .data = "xy", .how = ZIP_WIDE_CENTRAL | ZIP_WIDE_LOCAL},
        {.name = "c", .data = "xyz"},
    };
    struct zip_image image = zip_write(items, 3, ZIP_WIDE_END, NULL, 0);
    struct mlc_zip *z = accept(&image, 0);

    for (size_t i = 0; i < 3; i++) {
        const struct mlc_zip_member *m = mlc_zip_member(z, i);

        assert_int_equal(m->offset, image.local[i]);
        assert_int_equal(m->csize, i + 1);
        assert_int_equal(m->usize, i + 1);
    }
    mlc_zip_free(z);
    zip_image_done(&image);
}

static void
zip64_may_replace_some_fields_only(void **state)
{
    static const struct zip_item item = {
        /* One value of 64 bits: the size that its header leaves out. */
        .name = "a",
        .data = "xyz",
        .extra = "\1\0\10\0\3\0\0\0\0\0\0\0",
        .extra_len = 12,
    };
    struct zip_image image = write_one(&item);

    zip_put32(&image, image.central[0] + CENTRAL_USIZE, UINT32_MAX);
    assert_accepted(image, 1);
    /* In the end record likewise. */
    image = zip_write(plain, N_OF(plain), ZIP_WIDE_END, NULL, 0);
    zip_put16(&image, image.end + END_N_HERE, 4);
    zip_put16(&image, image.end + END_N, 4);
    assert_accepted(image, 4);
    /* Of which disk, too. */
    image = write_one(&(struct zip_item){
        .name = "a", .extra = "\1\0\4\0\0\0\0", .extra_len = 8});
    zip_put16(&image, image.central[0] + CENTRAL_DISK, UINT16_MAX);
    assert_accepted(image, 1);
}

static void
other_extra_fields_are_passed_over(void **state)
{
    assert_accepted(
        write_one(&(struct zip_item){
            .name = "a", .extra = "\x55\x54\5\0\1abcdux\0\0", .extra_len = 13}),
        1);
}

static void
entry_comments_are_passed_over(void **state)
{
    struct zip_image image = write_plain();
    size_t name_len = strlen(plain[0].name);

    zip_put16(&image, image.central[0] + CENTRAL_COMMENT_LEN, 3);
    zip_put32(&image, image.end + END_DIR_SIZE,
              (uint32_t)(image.end - image.directory + 3));
    zip_splice(&image, image.central[0] + CENTRAL_NAME + name_len, 0, "abc", 3);
    assert_accepted(image, 4);
}

static void
directories_with_a_slash_are_taken(void **state)
{
    static const struct zip_item items[] = {
        {.name = "d/", .mode = 0040755},
        {.name = "d/e/", .mode = 0100644}, /* spoilt below */
        {.name = "d/f"},
    };
    struct zip_image image = zip_write(items, 3, 0, NULL, 0);
    struct mlc_zip *z;

    zip_put32(&image, image.central[1] + CENTRAL_ATTRIBUTES, 0x10);
    z = accept(&image, 0);
    assert_true(mlc_zip_member(z, 0)->is_dir);
    assert_string_equal(mlc_zip_member(z, 1)->name, "d/e/");
    assert_true(mlc_zip_member(z, 1)->is_dir);
    assert_false(mlc_zip_member(z, 2)->is_dir);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static void
permission_bits_are_of_no_account(void **state)
{
    static const uint32_t modes[] = {0100000, 0106777, 0100755, 0644};

    for (size_t i = 0; i < N_OF(modes); i++)
        assert_accepted(
            write_one(&(struct zip_item){.name = "a", .mode = modes[i]}), 1);
}

static void
order_of_the_directory_is_free(void **state)
{
    struct zip_image image = write_plain();
    struct mlc_zip *z;
    const struct mlc_zip_member *m = NULL;
    size_t len = image.central[1] - image.central[0];
    size_t others = image.end - image.central[1];
    uint8_t entry[200];

    /* The first entry becomes the last. */
    assert_in_range(len, 1, sizeof(entry));
    memcpy(entry, image.bytes + image.central[0], len);
    memmove(image.bytes + image.central[0], image.bytes + image.central[1],
            others);
    memcpy(image.bytes + image.central[0] + others, entry, len);
    z = accept(&image, 0);
    assert_int_equal(mlc_zip_find(z, "m/__init__.py", &m), 0);
    assert_int_equal(m->offset, 0);
    assert_int_equal(m->end, image.local[1]);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static void
bytes_between_members_are_passed_over(void **state)
{
    static const struct zip_item items[] = {
        {.name = "a", .data = "x", .gap = 10},
        {.name = "b", .data = "y", .gap = 100},
    };

    assert_accepted(zip_write(items, 2, 0, NULL, 0), 2);
}

static void
names_of_all_scripts_are_taken(void **state)
{
    static const struct zip_item items[] = {
        {.name = "\xe6\x97\xa5/\xf0\x9f\x98\x80.txt", .how = ZIP_UTF8},
        {.name = "a b/!\"#$%&'()*+,;<=>?@[]^`{|}~"},
        {.name = "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16"},
        {.name = "..a/...", .how = ZIP_UTF8},
        {.name = LONG_64 LONG_64 LONG_64 LONG_64},
    };
    struct zip_item longest = items[4];

    longest.name_len = 255;
    assert_accepted(zip_write(items, 4, 0, NULL, 0), 4);
    assert_accepted(write_one(&longest), 1);
}

/* --- the end of the archive ---------------------------------------------- */

static void
what_is_no_zip_is_refused(void **state)
{
    static char html[70000] = "<!DOCTYPE html><title>Not found</title>";
    struct zip_image image = {.bytes = malloc(sizeof(html)),
                              .len = sizeof(html)};

    assert_non_null(image.bytes);
    memset(html + strlen(html), ' ', sizeof(html) - strlen(html));
    memcpy(image.bytes, html, sizeof(html));
    assert_refused(image, -EBADMSG, "no end record");
    assert_refused((struct zip_image){.bytes = calloc(1, 1)}, -EBADMSG,
                   "no end record");
}

static void
end_record_must_end_the_archive(void **state)
{
    struct zip_image image = write_plain();

    zip_splice(&image, image.len, 0, "junk", 4);
    assert_refused(image, -EBADMSG, "no end record");
    image = zip_write(plain, N_OF(plain), 0, "comment", 7);
    zip_put16(&image, image.end + END_COMMENT_LEN, 6);
    assert_refused(image, -EBADMSG, "no end record");
    image = zip_write(plain, N_OF(plain), 0, "comment", 7);
    zip_put16(&image, image.end + END_COMMENT_LEN, 8);
    assert_refused(image, -EBADMSG, "no end record");
}

static void
second_end_record_is_refused(void **state)
{
    static const char fake[22] = "PK\5\6";
    struct zip_image image =
        zip_write(plain, N_OF(plain), 0, fake, sizeof(fake));

    assert_refused(image, -EBADMSG, "more than one end record");
    /* With the first out of reach it is the only one, and has no directory. */
    image = zip_write(plain, N_OF(plain), 0, fake, sizeof(fake));
    zip_put16(&image, image.end + END_COMMENT_LEN, 1);
    assert_refused(image, -EBADMSG, "does not end at the end record");
}

static void
prefix_before_the_archive_is_refused(void **state)
{
    struct zip_image image = write_plain();

    zip_splice(&image, 0, 0, "#!/bin/sh\n", 10);
    assert_refused(image, -EBADMSG, "does not end at the end record");
}

static void
more_than_one_disk_is_refused(void **state)
{
    static const size_t fields[] = {END_DISK, END_DIR_DISK, END_N_HERE};
    struct zip_image image;

    for (size_t i = 0; i < N_OF(fields); i++) {
        image = write_plain();
        zip_put16(&image, image.end + fields[i], 1);
        assert_refused(image, -EBADMSG, "more than one disk");
    }
    image = write_plain();
    zip_put16(&image, image.central[2] + CENTRAL_DISK, 1);
    assert_refused(image, -EBADMSG, "m/data/b.bin: more than one disk");
}

static void
wrong_counts_are_refused(void **state)
{
    static const struct {
        uint16_t n;
        const char *why;
    } cases[] = {
        {3, "more members"},  {0, "more members"},     {5, "fewer members"},
        {6, "fewer members"}, {2000, "fewer members"},
    };

    for (size_t i = 0; i < N_OF(cases); i++) {
        struct zip_image image = write_plain();

        zip_put16(&image, image.end + END_N_HERE, cases[i].n);
        zip_put16(&image, image.end + END_N, cases[i].n);
        assert_refused(image, -EBADMSG, cases[i].why);
    }
}

static void
directory_must_end_at_the_end_record(void **state)
{
    static const uint32_t moves[] = {1, UINT32_MAX, 46, 1000000, 0x7fffff00};

    for (size_t i = 0; i < N_OF(moves); i++) {
        struct zip_image image = write_plain();
        uint32_t size = (uint32_t)(image.end - image.directory);

        zip_put32(&image, image.end + END_DIR_OFFSET,
                  (uint32_t)image.directory + moves[i]);
        assert_refused(image, -EBADMSG, "does not end at the end record");
        image = write_plain();
        zip_put32(&image, image.end + END_DIR_SIZE, size - 1);
        assert_refused(image, -EBADMSG, "does not end at the end record");
    }
}

static void
directory_must_begin_with_an_entry(void **state)
{
    struct zip_image image = write_plain();

    /* All of it moved: offset and size agree, but what is there is data. */
    zip_put32(&image, image.end + END_DIR_OFFSET, 0);
    zip_put32(&image, image.end + END_DIR_SIZE, (uint32_t)image.end);
    assert_refused(image, -EBADMSG, "fewer members");
    image = write_plain();
    zip_put32(&image, image.central[1], 0x02014b51);
    assert_refused(image, -EBADMSG, "fewer members");
}

static void
zip64_records_must_agree(void **state)
{
    static const struct {
        bool in_end; /* the field is in the old end record */
        int field;   /* in the zip64 record; 56 on: in the locator */
        uint32_t value;
        const char *why;
    } cases[] = {
        {false, 0, 1, "no zip64 end record"},
        {false, END64_SIZE, 45, "no zip64 end record"},
        {false, END64_DISK, 1, "more than one disk"},
        {false, END64_DISK + 4, 1, "more than one disk"},
        {false, END64_N_HERE, 3, "more than one disk"},
        {false, END64_N, 5, "more than one disk"},
        {false, END64_DIR_SIZE, 1, "does not end"},
        {false, END64_DIR_SIZE + 4, 1, "bytes"},
        {false, END64_DIR_OFFSET, 1, "does not end"},
        {false, END64_DIR_OFFSET + 4, 0xffffffff, "does not end"},
        {false, 56, 1, "no zip64 locator"},
        {false, 56 + LOCATOR_DISK, 1, "no zip64 locator"},
        {false, 56 + LOCATOR_OFFSET, 0, "no zip64 end record"},
        {false, 56 + LOCATOR_OFFSET + 4, 0xffffffff, "no zip64 end record"},
        {false, 56 + LOCATOR_N_DISKS, 2, "no zip64 locator"},
        {true, END_DIR_SIZE, 1, "differ"},
        {true, END_DIR_OFFSET, 1, "differ"},
        {true, END_N_HERE, 1, "differ"}, /* and END_N: 0 */
        {true, END_DISK, 1, "more than one disk"},
        {true, END_DIR_DISK, 0xffff0001, "more than one disk"},
    };

    for (size_t i = 0; i < N_OF(cases); i++) {
        struct zip_image image =
            zip_write(plain, N_OF(plain), ZIP_WIDE_END, NULL, 0);

        zip_put32(&image,
                  (cases[i].in_end ? image.end : image.end64) +
                      (size_t)cases[i].field,
                  cases[i].value);
        assert_refused(image,
                       strcmp(cases[i].why, "bytes") == 0 ? -EFBIG : -EBADMSG,
                       cases[i].why);
    }
}

static void
zip64_records_come_with_saturated_fields_only(void **state)
{
    struct zip_image image = write_plain();

    /* All ones, and nothing that says what they stand for. */
    zip_put32(&image, image.end + END_DIR_OFFSET, UINT32_MAX);
    assert_refused(image, -EBADMSG, "no zip64 locator");
    image = zip_write(NULL, 0, 0, NULL, 0);
    zip_put32(&image, image.end + END_DIR_OFFSET, UINT32_MAX);
    assert_refused(image, -EBADMSG, "no zip64 end record");

    /* There, but nobody asks for them. */
    image = zip_write(plain, N_OF(plain), ZIP_WIDE_END, NULL, 0);
    zip_put16(&image, image.end + END_N_HERE, 4);
    zip_put16(&image, image.end + END_N, 4);
    zip_put32(&image, image.end + END_DIR_SIZE,
              (uint32_t)(image.end64 - image.directory));
    zip_put32(&image, image.end + END_DIR_OFFSET, (uint32_t)image.directory);
    assert_refused(image, -EBADMSG, "does not end at the end record");
}

/* --- limits -------------------------------------------------------------- */

static int
parse_with(struct mlc_zip_limits limits, char *why)
{
    struct zip_image image = write_plain();
    struct mlc_zip *z = NULL;
    int r = zip_parse_image(&image, 1, &limits, &z, why);

    mlc_zip_free(z);
    zip_image_done(&image);
    return r;
}

static void
limits_are_kept(void **state)
{
    struct zip_image image = write_plain();
    struct mlc_zip_limits just = {
        .max_directory = image.end - image.directory,
        .max_entries = 4,
        .max_member = 512,
        .max_total = 12 + 6 + 512 + 14,
    };
    struct mlc_zip_limits less;
    char why[MLC_ZIP_WHY_SIZE];

    zip_image_done(&image);
    assert_int_equal(parse_with(just, why), 0);
    less = just;
    less.max_directory--;
    assert_int_equal(parse_with(less, why), -EFBIG);
    assert_non_null(strstr(why, "a directory of"));
    less = just;
    less.max_entries--;
    assert_int_equal(parse_with(less, why), -EFBIG);
    assert_string_equal(why, "4 members");
    less = just;
    less.max_member--;
    assert_int_equal(parse_with(less, why), -EFBIG);
    assert_string_equal(why, "m/data/b.bin: 512 bytes");
    less = just;
    less.max_total--;
    assert_int_equal(parse_with(less, why), -EFBIG);
    assert_string_equal(why, "too many bytes in all");
}

/* 10 GiB of zeros take 10.4 MB, so the ratio says nothing against them. */
static void
honest_bomb_is_beyond_a_limit(void **state)
{
    static const struct zip_item item = {
        .name = "zeros",
        .data = "x",
        .how = ZIP_WIDE_CENTRAL,
    };
    struct zip_image image = write_one(&item);
    size_t sizes = image.central[0] + CENTRAL_NAME + strlen("zeros") + 4;

    zip_put16(&image, image.central[0] + CENTRAL_METHOD, 8);
    zip_put64(&image, sizes, (uint64_t)10 << 30);
    zip_put64(&image, sizes + 8, 10420000);
    assert_refused(image, -EFBIG, "zeros: 10737418240 bytes");
}

/* --- names --------------------------------------------------------------- */

static void
hostile_names_are_refused(void **state)
{
    static const struct {
        const char *name;
        size_t len;
        unsigned how;
        const char *why;
    } cases[] = {
        {"../evil", 0, 0, "../evil: a component . or .."},
        {"a/../../e", 0, 0, ". or .."},
        {"..", 0, 0, ". or .."},
        {".", 0, 0, ". or .."},
        {"./a", 0, 0, ". or .."},
        {"a/.", 0, 0, ". or .."},
        {"a/../", 0, 0, ". or .."},
        {"/abs", 0, 0, "empty component"},
        {"/", 0, 0, "empty component"},
        {"a//b", 0, 0, "empty component"},
        {"a//", 0, 0, "empty component"},
        {"C:\\x", 0, 0, "C:\\x: a name with"},
        {"C:x", 0, 0, "backslash or colon"},
        {"a\\b", 0, 0, "backslash"},
        {"..\\evil", 0, 0, "backslash"},
        {"a\0b", 3, 0, "control byte"},
        {"\0", 1, 0, "control byte"},
        {"a\nb", 0, 0, "a?b: a name with a control byte"},
        {"\033[2J", 0, 0, "?[2J: a name"},
        {"a\177", 0, 0, "control byte"},
        {"a\xc2\x9b\x31", 0, ZIP_UTF8, "control byte"},
        {LONG_256, 0, 0, "a component that is too long"},
        {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", 0, 0, "directories"},
        {"\xff\xfe", 0, ZIP_UTF8, "not UTF-8"},
        {"a\xc3", 0, ZIP_UTF8, "not UTF-8"},
        {"\xc0\xaf", 0, ZIP_UTF8, "not UTF-8"},
        {"\xed\xa0\x80", 0, ZIP_UTF8, "not UTF-8"},
        {"\xf4\x90\x80\x80", 0, ZIP_UTF8, "not UTF-8"},
        {"\xc3\xa4.txt", 0, 0, "or not marked as it"},
    };

    for (size_t i = 0; i < N_OF(cases); i++)
        assert_refused(write_one(&(struct zip_item){.name = cases[i].name,
                                                    .name_len = cases[i].len,
                                                    .how = cases[i].how}),
                       -EBADMSG, cases[i].why);
}

static void
long_paths_are_refused(void **state)
{
    char path[6001];

    for (size_t i = 0; i < sizeof(path) - 1; i++)
        path[i] = i % 250 == 249 ? '/' : 'x';
    path[6000] = '\0';
    assert_refused(write_one(&(struct zip_item){.name = path}), -EBADMSG,
                   "too long");
    path[1025] = '\0';
    assert_refused(write_one(&(struct zip_item){.name = path}), -EBADMSG,
                   "too long");
    path[1024] = '\0';
    assert_accepted(write_one(&(struct zip_item){.name = path}), 1);
    for (size_t i = 0; i < 6000; i++)
        path[i] = i % 2 ? '/' : 'x';
    path[5999] = '\0';
    assert_refused(write_one(&(struct zip_item){.name = path}), -EBADMSG,
                   "too long");
}

static void
empty_name_is_refused(void **state)
{
    struct zip_image image = write_plain();

    /* The name's bytes become a comment. */
    zip_put16(&image, image.central[0] + CENTRAL_NAME_LEN, 0);
    zip_put16(&image, image.central[0] + CENTRAL_COMMENT_LEN,
              (uint16_t)strlen(plain[0].name));
    assert_refused(image, -EBADMSG, ": no name");
}

static void
second_names_are_refused(void **state)
{
    static const struct zip_item items[] = {
        /* Info-ZIP's Unicode path, libarchive's way to say "symlink". */
        {.name = "safe.txt", .extra = "\x75\x70\x05\0\1abcd", .extra_len = 9},
        {.name = "safe.txt", .extra = "\x78\x6c\x01\0\0", .extra_len = 5},
    };

    for (size_t i = 0; i < N_OF(items); i++)
        assert_refused(write_one(&items[i]), -EBADMSG,
                       "safe.txt: an extra field that gives it another name");
}

static void
one_name_twice_is_refused(void **state)
{
    static const struct zip_item files[] = {
        {.name = "f"}, {.name = "g"}, {.name = "f"}};
    static const struct zip_item dirs[] = {{.name = "f/"}, {.name = "f/"}};

    assert_refused(zip_write(files, 3, 0, NULL, 0), -EBADMSG, "f: there twice");
    assert_refused(zip_write(dirs, 2, 0, NULL, 0), -EBADMSG, "f/: there twice");
}

static void
file_that_is_a_directory_too_is_refused(void **state)
{
    static const struct zip_item below[] = {
        {.name = "f"}, {.name = "f-g"}, {.name = "f/g"}};
    static const struct zip_item itself[] = {
        {.name = "f"}, {.name = "f-g"}, {.name = "f/"}};

    assert_refused(zip_write(below, 3, 0, NULL, 0), -EBADMSG,
                   "f: both a file and a directory");
    assert_refused(zip_write(itself, 3, 0, NULL, 0), -EBADMSG,
                   "f: both a file and a directory");
}

/* --- types --------------------------------------------------------------- */

static void
only_files_and_directories_are_taken(void **state)
{
    static const struct zip_item items[] = {
        {.name = "link", .data = "../../etc/passwd", .mode = 0120777},
        {.name = "link", .data = "/x", .mode = 0120777, .how = ZIP_DEFLATE},
        {.name = "fifo", .mode = 0010644},
        {.name = "char", .mode = 0020644},
        {.name = "block", .mode = 0060644},
        {.name = "socket", .mode = 0140644},
        {.name = "dir", .mode = 0040755},
    };

    for (size_t i = 0; i < N_OF(items); i++)
        assert_refused(write_one(&items[i]), -EBADMSG, "not a regular file");
}

static void
odd_directories_are_refused(void **state)
{
    struct zip_image image = write_plain();

    assert_refused(write_one(&(struct zip_item){.name = "d/", .mode = 0100644}),
                   -EBADMSG, "d/: a directory that is something else");
    assert_refused(write_one(&(struct zip_item){
                       .name = "d/", .mode = 0040755, .data = "data"}),
                   -EBADMSG, "d/: a directory with data");
    assert_refused(write_one(&(struct zip_item){
                       .name = "d/", .mode = 0040755, .how = ZIP_DEFLATE}),
                   -EBADMSG, "d/: a directory with data");
    zip_put32(&image, image.central[0] + CENTRAL_ATTRIBUTES, 0x10);
    assert_refused(image, -EBADMSG, "a directory without a slash");
}

/* --- methods, flags, sizes ------------------------------------------------ */

static void
other_methods_are_refused(void **state)
{
    static const uint16_t methods[] = {1, 6, 9, 12, 14, 93, 95, 98, 99, 0xffff};

    for (size_t i = 0; i < N_OF(methods); i++) {
        struct zip_image image = write_plain();

        zip_put16(&image, image.central[2] + CENTRAL_METHOD, methods[i]);
        zip_put16(&image, image.local[2] + LOCAL_METHOD, methods[i]);
        assert_refused(image, -EBADMSG, "neither stored nor deflated");
    }
}

static void
encryption_and_unknown_flags_are_refused(void **state)
{
    static const unsigned bits[] = {0, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15};

    for (size_t i = 0; i < N_OF(bits); i++) {
        struct zip_image image = write_plain();

        zip_put16(&image, image.central[2] + CENTRAL_FLAGS,
                  (uint16_t)(1u << bits[i]));
        zip_put16(&image, image.local[2] + LOCAL_FLAGS,
                  (uint16_t)(1u << bits[i]));
        assert_refused(image, -EBADMSG, "encrypted");
    }
}

static void
sizes_that_cannot_be_are_refused(void **state)
{
    struct zip_image image = write_plain();
    size_t csize = image.data_end[2] - image.data[2];

    zip_put32(&image, image.central[1] + CENTRAL_USIZE, 7);
    assert_refused(image, -EBADMSG, "stored, with two sizes");

    image = write_plain();
    zip_put32(&image, image.central[2] + CENTRAL_USIZE,
              (uint32_t)(csize * 1032 + 1033));
    assert_refused(image, -EBADMSG, "more data than deflate can hold");
    image = write_plain();
    zip_put32(&image, image.central[2] + CENTRAL_USIZE,
              (uint32_t)(csize * 1032 + 1032));
    assert_accepted(image, 4);
}

static void
zip64_sizes_that_cannot_be_are_refused(void **state)
{
    static const uint64_t sizes[] = {(uint64_t)1 << 63, UINT64_MAX,
                                     UINT64_MAX - 31, INT64_MAX};
    static const struct zip_item item = {
        .name = "a", .data = "x", .how = ZIP_WIDE_CENTRAL};

    for (size_t i = 0; i < N_OF(sizes); i++) {
        struct zip_image image = write_one(&item);
        size_t field = image.central[0] + CENTRAL_NAME + 1 + 4;

        zip_put64(&image, field, sizes[i]);
        zip_put64(&image, field + 8, sizes[i]);
        assert_refused(image, -EBADMSG, "a: a size that can't be");
        image = write_one(&item);
        zip_put64(&image, field + 16, sizes[i]);
        assert_refused(image, -EBADMSG, "a: overlaps");
    }
}

static void
saturated_fields_need_a_zip64_field(void **state)
{
    static const size_t fields[] = {CENTRAL_CSIZE, CENTRAL_USIZE,
                                    CENTRAL_OFFSET};
    struct zip_image image;

    for (size_t i = 0; i < N_OF(fields); i++) {
        image = write_plain();
        zip_put32(&image, image.central[2] + fields[i], UINT32_MAX);
        assert_refused(image, -EBADMSG, "m/data/b.bin: no zip64 field");
    }
    image = write_plain();
    zip_put16(&image, image.central[2] + CENTRAL_DISK, UINT16_MAX);
    assert_refused(image, -EBADMSG, "m/data/b.bin: no zip64 field");
}

static void
malformed_extra_fields_are_refused(void **state)
{
    static const struct {
        const char *extra;
        size_t len;
        const char *why;
    } cases[] = {
        {"\1", 1, "end in the middle"},
        {"\1\0\0", 3, "end in the middle"},
        {"ab\1\0", 4, "beyond its end"},
        {"ab\xff\xff", 4, "beyond its end"},
        {"ab\0\0c", 5, "end in the middle"},
        {"\1\0\0\0\1\0\0\0", 8, "two zip64 fields"},
    };
    struct zip_image image;

    for (size_t i = 0; i < N_OF(cases); i++)
        assert_refused(write_one(&(struct zip_item){.name = "a",
                                                    .extra = cases[i].extra,
                                                    .extra_len = cases[i].len}),
                       -EBADMSG, cases[i].why);
    image = write_one(&(struct zip_item){
        .name = "a", .extra = "\1\0\7\0abcdefg", .extra_len = 11});
    zip_put32(&image, image.central[0] + CENTRAL_OFFSET, UINT32_MAX);
    assert_refused(image, -EBADMSG, "too short");
    image = write_one(&(struct zip_item){
        .name = "a", .extra = "\1\0\3\0abc", .extra_len = 7});
    zip_put16(&image, image.central[0] + CENTRAL_DISK, UINT16_MAX);
    assert_refused(image, -EBADMSG, "too short");
}

static void
entry_beyond_the_directory_is_refused(void **state)
{
    static const size_t fields[] = {CENTRAL_NAME_LEN, CENTRAL_EXTRA_LEN,
                                    CENTRAL_COMMENT_LEN};

    for (size_t i = 0; i < N_OF(fields); i++) {
        struct zip_image image = write_plain();

        zip_put16(&image, image.central[3] + fields[i], UINT16_MAX);
        assert_refused(image, -EBADMSG, "an entry beyond its directory");
    }
}

/* --- where members lie --------------------------------------------------- */

static void
shared_and_nested_members_are_refused(void **state)
{
    struct zip_image image = write_plain();

    /* Two entries for one local header. */
    zip_put32(&image, image.central[1] + CENTRAL_OFFSET,
              (uint32_t)image.local[2]);
    assert_refused(image, -EBADMSG, "overlaps");
    /* A header within another's data. */
    image = write_plain();
    zip_put32(&image, image.central[3] + CENTRAL_OFFSET,
              (uint32_t)image.data[2] + 1);
    assert_refused(image, -EBADMSG, "m/data/b.bin: overlaps");
    /* Just one byte of room too little. */
    image = write_plain();
    zip_put32(&image, image.central[2] + CENTRAL_OFFSET,
              (uint32_t)image.local[2] - 1);
    assert_refused(image, -EBADMSG, "m/data/a.cfg: overlaps");
}

/* The overlap bomb: each member's data is the next one's header and data. */
static void
quoted_members_are_refused(void **state)
{
    struct zip_image image = write_plain();

    for (size_t i = 0; i < 3; i++) {
        uint32_t size = (uint32_t)(image.data_end[3] - image.data[i]);

        zip_put16(&image, image.central[i] + CENTRAL_METHOD, 0);
        zip_put32(&image, image.central[i] + CENTRAL_CSIZE, size);
        zip_put32(&image, image.central[i] + CENTRAL_USIZE, size);
    }
    assert_refused(image, -EBADMSG, "m/__init__.py: overlaps");
}

static void
members_lie_before_the_directory(void **state)
{
    struct zip_image image = write_plain();

    zip_put32(&image, image.central[3] + CENTRAL_OFFSET,
              (uint32_t)image.directory - 20);
    assert_refused(image, -EBADMSG, "n/RECORD: overlaps");
    image = write_plain();
    zip_put32(&image, image.central[3] + CENTRAL_OFFSET,
              (uint32_t)image.directory);
    assert_refused(image, -EBADMSG, "n/RECORD: overlaps");
    image = write_plain();
    zip_put32(&image, image.central[3] + CENTRAL_OFFSET, 1000000);
    assert_refused(image, -EBADMSG, "n/RECORD: overlaps");
    image = write_plain();
    zip_put32(&image, image.central[3] + CENTRAL_CSIZE, 1000000);
    zip_put32(&image, image.central[3] + CENTRAL_USIZE, 1000000);
    assert_refused(image, -EBADMSG, "n/RECORD: overlaps");
}

static void
index_of_many_members_is_in_order(void **state)
{
    struct zip_item items[ZIP_MAX_ITEMS];
    char names[ZIP_MAX_ITEMS][16];
    struct zip_image image;
    struct mlc_zip *z;

    for (size_t i = 0; i < ZIP_MAX_ITEMS; i++) {
        snprintf(names[i], sizeof(names[i]), "%zu/%zu", i * 37 % 8,
                 i * 61 % 64);
        items[i] = (struct zip_item){.name = names[i], .data = names[i]};
    }
    image = zip_write(items, ZIP_MAX_ITEMS, 0, NULL, 0);
    z = accept(&image, 0);
    for (size_t i = 0; i < ZIP_MAX_ITEMS; i++) {
        const struct mlc_zip_member *m = NULL;

        assert_int_equal(mlc_zip_find(z, names[i], &m), 0);
        assert_int_equal(m->offset, image.local[i]);
        if (i > 0)
            assert_true(strcmp(mlc_zip_member(z, i - 1)->name,
                               mlc_zip_member(z, i)->name) < 0);
    }
    mlc_zip_free(z);
    zip_image_done(&image);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_is_what_the_directory_says),
        cmocka_unit_test(find_tells_files_from_directories),
        cmocka_unit_test(list_shows_each_child_once),
        cmocka_unit_test(any_tail_leads_to_the_same_index),
        cmocka_unit_test(more_is_asked_for_from_the_directory),
        cmocka_unit_test(no_prefix_of_an_archive_is_one),
        cmocka_unit_test(empty_archive_has_no_members),
        cmocka_unit_test(comments_are_taken),
        cmocka_unit_test(zip64_is_taken),
        cmocka_unit_test(zip64_may_replace_some_fields_only),
        cmocka_unit_test(other_extra_fields_are_passed_over),
        cmocka_unit_test(entry_comments_are_passed_over),
        cmocka_unit_test(directories_with_a_slash_are_taken),
        cmocka_unit_test(permission_bits_are_of_no_account),
        cmocka_unit_test(order_of_the_directory_is_free),
        cmocka_unit_test(bytes_between_members_are_passed_over),
        cmocka_unit_test(names_of_all_scripts_are_taken),
        cmocka_unit_test(what_is_no_zip_is_refused),
        cmocka_unit_test(end_record_must_end_the_archive),
        cmocka_unit_test(second_end_record_is_refused),
        cmocka_unit_test(prefix_before_the_archive_is_refused),
        cmocka_unit_test(more_than_one_disk_is_refused),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(directory_must_end_at_the_end_record),
        cmocka_unit_test(directory_must_begin_with_an_entry),
        cmocka_unit_test(zip64_records_must_agree),
        cmocka_unit_test(zip64_records_come_with_saturated_fields_only),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(honest_bomb_is_beyond_a_limit),
        cmocka_unit_test(hostile_names_are_refused),
        cmocka_unit_test(long_paths_are_refused),
        cmocka_unit_test(empty_name_is_refused),
        cmocka_unit_test(second_names_are_refused),
        cmocka_unit_test(one_name_twice_is_refused),
        cmocka_unit_test(file_that_is_a_directory_too_is_refused),
        cmocka_unit_test(only_files_and_directories_are_taken),
        cmocka_unit_test(odd_directories_are_refused),
        cmocka_unit_test(other_methods_are_refused),
        cmocka_unit_test(encryption_and_unknown_flags_are_refused),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(zip64_sizes_that_cannot_be_are_refused),
        cmocka_unit_test(saturated_fields_need_a_zip64_field),
        cmocka_unit_test(malformed_extra_fields_are_refused),
        cmocka_unit_test(entry_beyond_the_directory_is_refused),
        cmocka_unit_test(shared_and_nested_members_are_refused),
        cmocka_unit_test(quoted_members_are_refused),
        cmocka_unit_test(members_lie_before_the_directory),
        cmocka_unit_test(index_of_many_members_is_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
