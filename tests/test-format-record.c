/* SPDX-License-Identifier: MIT */
/* RECORD: the list of a wheel's members. */
#include "config.h"

#include "backends/format/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/seed.h"
#include "tests/zip-reader.h"
#include "tests/zip-writer.h"

#define N_OF(a) (sizeof(a) / sizeof(*(a)))

#define OWN "m-1.dist-info/RECORD"
/* Of no bytes, and of "abc". */
#define SHA_EMPTY "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
#define SHA_ABC   "sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
#define OWN_LINE  OWN ",,\n"

static int
parse(const char *text, size_t len, struct mlc_record **ret, char *why)
{
    /* A copy of just these bytes, so that sanitizers see a step beyond. */
    char *copy = malloc(len + 1);
    int r;

    assert_non_null(copy);
    memcpy(copy + 1, text, len);
    fuzz_save_seed(text, len);
    r = mlc_record_parse(copy + 1, len, OWN, ret, why);
    free(copy);
    return r;
}

static struct mlc_record *
accept(const char *text)
{
    struct mlc_record *record = NULL;
    char why[MLC_ZIP_WHY_SIZE] = "?";
    int r = parse(text, strlen(text), &record, why);

    if (r != 0)
        fail_msg("%d: %s", r, why);
    assert_string_equal(why, "");
    return record;
}

static void
assert_refused_len(const char *text, size_t len, const char *shown)
{
    struct mlc_record *record = NULL;
    char why[MLC_ZIP_WHY_SIZE] = "";
    int r = parse(text, len, &record, why);

    if (r != -EBADMSG || !strstr(why, shown))
        fail_msg("%s: %d, \"%s\", not \"%s\"", text, r, why, shown);
    for (const char *p = why; *p; p++)
        assert_in_range(*p, ' ', '~');
    assert_null(record);
    assert_int_equal(parse(text, len, &record, NULL), -EBADMSG);
}

static void
assert_refused(const char *text, const char *shown)
{
    assert_refused_len(text, strlen(text), shown);
}

static void
lines_are_found_by_path(void **state)
{
    static const uint8_t abc[] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    };
    struct mlc_record *r = accept("m/z," SHA_EMPTY ",0\n" OWN_LINE
                                  "m/a," SHA_ABC ",18446744073709551615\n");
    const struct mlc_record_line *line;

    assert_int_equal(mlc_record_n_lines(r), 2);
    assert_string_equal(mlc_record_line(r, 0)->path, "m/a");
    assert_string_equal(mlc_record_line(r, 1)->path, "m/z");
    line = mlc_record_find(r, "m/a");
    assert_non_null(line);
    assert_int_equal(line->size, UINT64_MAX);
    assert_memory_equal(line->sha256, abc, sizeof(abc));
    assert_null(mlc_record_find(r, "m/b"));
    assert_null(mlc_record_find(r, OWN));
    mlc_record_free(r);
}

static void
csv_may_be_written_in_other_ways(void **state)
{
    static const struct {
        const char *text;
        const char *path;
    } cases[] = {
        {"m/a," SHA_ABC ",3\n" OWN ",,", "m/a"},
        {"m/a," SHA_ABC ",3\r\n" OWN ",,\r\n", "m/a"},
        {OWN_LINE "m/a," SHA_ABC ",3", "m/a"},
        {"\"m/a,b\"," SHA_ABC ",3\n" OWN_LINE, "m/a,b"},
        {"\"m/\"\"a\"\"\"," SHA_ABC ",3\n" OWN_LINE, "m/\"a\""},
        {"\"m/a\",\"" SHA_ABC "\",\"3\"\r\n\"" OWN "\",\"\",\"\"\r\n", "m/a"},
        {"\"m/a\nb\"," SHA_ABC ",3\n" OWN_LINE, "m/a\nb"},
        {"m/\xc3\xa4 '," SHA_ABC ",3\n" OWN_LINE, "m/\xc3\xa4 '"},
    };

    for (size_t i = 0; i < N_OF(cases); i++) {
        struct mlc_record *r = accept(cases[i].text);
        const struct mlc_record_line *line = mlc_record_find(r, cases[i].path);

        assert_int_equal(mlc_record_n_lines(r), 1);
        assert_non_null(line);
        assert_int_equal(line->size, 3);
        mlc_record_free(r);
    }
}

static void
malformed_csv_is_refused(void **state)
{
    static const char *const fields[] = {
        "m/a\n",
        "m/a," SHA_ABC "\n",
        "m/a," SHA_ABC ",3,\n",
        "m/a," SHA_ABC ",3,x\n",
        "m/a,\n" SHA_ABC ",3\n",
        "\n",
        "m/a," SHA_ABC ",3\n\n",
        "m/a",
    };
    static const char *const quotes[] = {
        "\"m/a," SHA_ABC ",3\n",
        "\"",
        "\"\"\"",
        "\"m/a\"x," SHA_ABC ",3\n",
        "m/\"a\"," SHA_ABC ",3\n",
        "m/a\r," SHA_ABC ",3\n",
        "m/a," SHA_ABC ",3\r",
        "\"m/a\"\r," SHA_ABC ",3\n",
    };

    for (size_t i = 0; i < N_OF(fields); i++)
        assert_refused(fields[i], "not three fields");
    for (size_t i = 0; i < N_OF(quotes); i++)
        assert_refused(quotes[i], "line 1: a quote or line end");
}

static void
other_algorithms_are_refused(void **state)
{
    static const char *const hashes[] = {
        "md5=1B2M2Y8AsgTpgAmY7PhCfg",
        "sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk",
        "sha512=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        "SHA256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        "x"};
    char text[200];

    for (size_t i = 0; i < N_OF(hashes); i++) {
        snprintf(text, sizeof(text), OWN_LINE "m/a,%s,3\n", hashes[i]);
        assert_refused(text, "line 2: an unknown algorithm");
    }
    assert_refused("m/a,,3\n" OWN_LINE, "line 1: no hash");
    assert_refused("m/a,,\n" OWN_LINE, "line 1: no hash");
}

static void
malformed_hashes_are_refused(void **state)
{
    static const char *const hashes[] = {
        "",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuF",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFV",
        " 7DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    };
    char text[200];

    for (size_t i = 0; i < N_OF(hashes); i++) {
        snprintf(text, sizeof(text), "m/a,sha256=%s,3\n" OWN_LINE, hashes[i]);
        assert_refused(text, "line 1: not a SHA-256");
    }
}

static void
malformed_sizes_are_refused(void **state)
{
    static const char *const sizes[] = {
        "", "-1", "+3", " 3", "3x", "0x3", "18446744073709551616"};
    char text[200];

    for (size_t i = 0; i < N_OF(sizes); i++) {
        snprintf(text, sizeof(text), "m/a," SHA_ABC ",%s\n" OWN_LINE, sizes[i]);
        assert_refused(text, "line 1: not a size");
    }
}

static void
own_line_must_be_there_and_empty(void **state)
{
    assert_refused("", "RECORD does not list itself");
    assert_refused("m/a," SHA_ABC ",3\n", "RECORD does not list itself");
    assert_refused(OWN "," SHA_ABC ",\n", "with a hash or a size");
    assert_refused(OWN ",,3\n", "with a hash or a size");
    assert_refused(OWN_LINE OWN_LINE, "line 2: RECORD's own, once more");
}

static void
path_twice_is_refused(void **state)
{
    assert_refused("m/a," SHA_ABC ",3\nm/b," SHA_ABC ",3\n" OWN_LINE
                   "\"m/a\"," SHA_EMPTY ",0\n",
                   "RECORD lists m/a twice");
    assert_refused("," SHA_ABC ",3\n" OWN_LINE, "no path");
}

static void
only_utf8_is_taken(void **state)
{
    assert_refused("m/\xff," SHA_ABC ",3\n" OWN_LINE, "not UTF-8");
    assert_refused("m/\xc3," SHA_ABC ",3\n" OWN_LINE, "not UTF-8");
    assert_refused_len(OWN_LINE "\0", strlen(OWN_LINE) + 1, "not UTF-8");
    assert_refused("\xff\xfem\0", "not UTF-8");
}

static void
length_is_bounded(void **state)
{
    char *text = malloc(MLC_RECORD_MAX_LEN + 1);
    struct mlc_record *record = NULL;
    char why[MLC_ZIP_WHY_SIZE];

    assert_non_null(text);
    memset(text, 'x', MLC_RECORD_MAX_LEN + 1);
    assert_int_equal(
        mlc_record_parse(text, MLC_RECORD_MAX_LEN + 1, OWN, &record, why),
        -EFBIG);
    assert_string_equal(why, "RECORD is too long");
    free(text);
}

/* The room for lines is reckoned from the length: the shortest ones fit. */
static void
shortest_lines_fit(void **state)
{
    char text[8000] = OWN_LINE;
    char line[100];
    struct mlc_record *r;

    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof(line), "%c," SHA_ABC ",%d\n", 0x21 + i % 90,
                 i % 10);
        if (strchr("\",", line[0]) || i >= 90)
            continue;
        strcat(text, line);
    }
    r = accept(text);
    assert_int_equal(mlc_record_n_lines(r), 88);
    mlc_record_free(r);
}

/* --- beside the archive -------------------------------------------------- */

/* What the record of that text says of an archive of m/a ("abc"), a directory,
 * and RECORD. */
static int
check(const char *text, char *why)
{
    static const struct zip_item items[] = {
        {.name = "m/a", .data = "abc"}, {.name = "m/d/"}, {.name = OWN}};
    struct zip_image image = zip_write(items, N_OF(items), 0, NULL, 0);
    struct mlc_record *record = accept(text);
    struct mlc_zip *z = NULL;
    int r;

    assert_int_equal(zip_parse_image(&image, 0, NULL, &z, NULL), 0);
    r = mlc_record_check(record, z, OWN, why);
    mlc_zip_free(z);
    mlc_record_free(record);
    zip_image_done(&image);
    return r;
}

static void
record_must_list_just_what_is_there(void **state)
{
    char why[MLC_ZIP_WHY_SIZE] = "?";

    assert_int_equal(check("m/a," SHA_ABC ",3\n" OWN_LINE, why), 0);
    assert_string_equal(why, "");
    assert_int_equal(check(OWN_LINE, why), -EBADMSG);
    assert_string_equal(why, "RECORD does not list m/a");
    assert_int_equal(check("m/a," SHA_ABC ",4\n" OWN_LINE, why), -EBADMSG);
    assert_string_equal(why, "RECORD has another size for m/a");
    assert_int_equal(
        check("m/a," SHA_ABC ",3\nm/b," SHA_ABC ",3\n" OWN_LINE, why),
        -EBADMSG);
    assert_string_equal(why, "RECORD lists what is not in the archive");
    assert_int_equal(
        check("m/a," SHA_ABC ",3\nm/d/," SHA_EMPTY ",0\n" OWN_LINE, NULL),
        -EBADMSG);
    assert_int_equal(check("M/A," SHA_ABC ",3\n" OWN_LINE, NULL), -EBADMSG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_found_by_path),
        cmocka_unit_test(csv_may_be_written_in_other_ways),
        cmocka_unit_test(malformed_csv_is_refused),
        cmocka_unit_test(other_algorithms_are_refused),
        cmocka_unit_test(malformed_hashes_are_refused),
        cmocka_unit_test(malformed_sizes_are_refused),
        cmocka_unit_test(own_line_must_be_there_and_empty),
        cmocka_unit_test(path_twice_is_refused),
        cmocka_unit_test(only_utf8_is_taken),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(shortest_lines_fit),
        cmocka_unit_test(record_must_list_just_what_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
