/* SPDX-License-Identifier: MIT */
/* The frame of a model's wheel, and its RECORD. */
#include "config.h"

#include "backends/format/wheel.h"

#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/zip-reader.h"
#include "tests/zip-writer.h"

#define N_OF(a) (sizeof(a) / sizeof(*(a)))

#define MODEL   "xx_toy_sm"
#define RELEASE "3.8.0"
#define DATA    MODEL "/" MODEL "-" RELEASE
#define INFO    MODEL "-" RELEASE ".dist-info"
#define META    "{\"lang\":\"xx\",\"name\":\"toy_sm\",\"version\":\"3.8.0\"}"

#define N_ITEMS 8
#define RECORD_ 7 /* which of them RECORD is */

/* As setuptools writes them: all deflated, RECORD last. */
static const struct zip_item wheel_items[N_ITEMS] = {
    {.name = MODEL "/__init__.py", .data = "import spacy\n"},
    {.name = MODEL "/meta.json", .data = META},
    {.name = DATA "/config.cfg", .data = "[nlp]\nlang = \"xx\"\n"},
    {.name = DATA "/meta.json", .data = META},
    {.name = DATA "/vocab/key2row", .data = "\x80"},
    {.name = INFO "/METADATA", .data = "Metadata-Version: 2.1\n"},
    {.name = INFO "/WHEEL", .data = "Wheel-Version: 1.0\n"},
    {.name = INFO "/RECORD"},
};

struct wheel {
    struct zip_item items[N_ITEMS + 1];
    size_t n;
    char record[4096];
};

/* hash: 43 digits and a NUL. */
static void
format_sha256(const char *data, char hash[44])
{
    unsigned char digest[32];
    unsigned char text[45]; /* padded */

    assert_int_equal(
        EVP_Digest(data, strlen(data), digest, NULL, EVP_sha256(), NULL), 1);
    EVP_EncodeBlock(text, digest, sizeof(digest));
    for (size_t i = 0; i < 43; i++)
        hash[i] = (char)(text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
    hash[43] = '\0';
}

static void
add_line(struct wheel *w, const char *path, const char *data)
{
    char hash[44], line[500];

    format_sha256(data, hash);
    snprintf(line, sizeof(line), "%s,sha256=%s,%zu\n", path, hash,
             strlen(data));
    assert_true(strlen(w->record) + strlen(line) < sizeof(w->record));
    strcat(w->record, line);
}

/* Lists what is there now. */
static void
fill_record(struct wheel *w)
{
    w->record[0] = '\0';
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->items[i].name, INFO "/RECORD") != 0)
            add_line(w, w->items[i].name, w->items[i].data);
    }
    strcat(w->record, INFO "/RECORD,,\n");
}

static void
wheel_init(struct wheel *w)
{
    w->n = N_ITEMS;
    memcpy(w->items, wheel_items, sizeof(wheel_items));
    for (size_t i = 0; i < w->n; i++)
        w->items[i].how = ZIP_DEFLATE;
    w->items[RECORD_].data = w->record;
    fill_record(w);
}

/* The two checks, one after the other. */
static int
check(const struct wheel *w, struct mlc_record **ret_record, char *why)
{
    struct zip_image image = zip_write(w->items, w->n, 0, NULL, 0);
    struct mlc_zip *z = NULL;
    struct zip_source source;
    int r;

    zip_source_init(&source, &image);
    r = zip_parse_image(&image, 0, NULL, &z, why);
    if (r == 0)
        r = mlc_wheel_check(z, MODEL, RELEASE, why);
    if (r == 0)
        r = mlc_wheel_read_record(z, MODEL, RELEASE, zip_source_read, &source,
                                  NULL, ret_record, why);
    mlc_zip_free(z);
    zip_image_done(&image);
    return r;
}

static void
assert_accepted(const struct wheel *w)
{
    char why[MLC_ZIP_WHY_SIZE] = "?";
    struct mlc_record *record = NULL;
    int r = check(w, &record, why);

    if (r != 0)
        fail_msg("%d: %s", r, why);
    assert_string_equal(why, "");
    assert_int_equal(mlc_record_n_lines(record), w->n - 1);
    mlc_record_free(record);
}

static void
assert_refused(const struct wheel *w, const char *shown)
{
    char why[MLC_ZIP_WHY_SIZE] = "";
    struct mlc_record *record = NULL;
    int r = check(w, &record, why);

    if (r != -EBADMSG || !strstr(why, shown))
        fail_msg("%d: \"%s\", not \"%s\"", r, why, shown);
    assert_null(record);
    assert_int_equal(check(w, &record, NULL), -EBADMSG);
}

/* --- the frame ----------------------------------------------------------- */

static void
wheel_as_setuptools_writes_it_is_taken(void **state)
{
    struct wheel w;

    wheel_init(&w);
    assert_accepted(&w);
}

static void
unusual_wheels_are_taken(void **state)
{
    struct wheel w;
    struct zip_item record;

    /* All stored; data descriptors; zip64. */
    for (unsigned how = 0; how < ZIP_UTF8; how++) {
        wheel_init(&w);
        for (size_t i = 0; i < w.n; i++)
            w.items[i].how = how;
        assert_accepted(&w);
    }
    /* RECORD first. */
    wheel_init(&w);
    record = w.items[RECORD_];
    memmove(w.items + 1, w.items, RECORD_ * sizeof(record));
    w.items[0] = record;
    assert_accepted(&w);
    /* A third level in dist-info. */
    wheel_init(&w);
    w.items[w.n++] =
        (struct zip_item){.name = INFO "/licenses/LICENSE", .data = "MIT\n"};
    fill_record(&w);
    assert_accepted(&w);
    /* A path that RECORD has to quote. */
    wheel_init(&w);
    w.items[w.n++] = (struct zip_item){.name = DATA "/a,\"b", .data = ""};
    fill_record(&w);
    assert_refused(&w, "a quote or line end where none can be");
    w.n--;
    fill_record(&w);
    w.n++;
    add_line(&w, "\"" DATA "/a,\"\"b\"", "");
    assert_accepted(&w);
}

static void
directory_entries_need_no_line(void **state)
{
    struct wheel w;
    struct mlc_record *record = NULL;

    wheel_init(&w);
    w.items[w.n++] = (struct zip_item){.name = MODEL "/"};
    assert_int_equal(check(&w, &record, NULL), 0);
    mlc_record_free(record);
}

static void
other_names_at_the_top_are_refused(void **state)
{
    static const char *const names[] = {
        "evil/__init__.py",
        "evil.pth",
        MODEL "-" RELEASE ".data/scripts/x",
        MODEL "-" RELEASE "/setup.py",
        MODEL "-" RELEASE ".dist-infos/x",
        MODEL "-3.8.1.dist-info/RECORD",
        MODEL "x/__init__.py",
        MODEL ".py",
        "xx_toy/x",
        "XX_TOY_SM/x",
        MODEL "-" RELEASE ".dist-info2",
    };

    for (size_t i = 0; i < N_OF(names); i++) {
        struct wheel w;
        char shown[100];

        wheel_init(&w);
        w.items[w.n++] = (struct zip_item){.name = names[i], .data = "x"};
        fill_record(&w);
        snprintf(shown, sizeof(shown),
                 "%s: not in one of the wheel's directories", names[i]);
        assert_refused(&w, shown);
    }
}

static void
file_in_the_place_of_a_directory_is_refused(void **state)
{
    static const struct zip_item items[] = {{.name = MODEL, .data = "x"}};
    struct zip_image image = zip_write(items, 1, 0, NULL, 0);
    struct mlc_zip *z = NULL;

    assert_int_equal(zip_parse_image(&image, 0, NULL, &z, NULL), 0);
    assert_int_equal(mlc_wheel_check(z, MODEL, RELEASE, NULL), -EBADMSG);
    mlc_zip_free(z);
    zip_image_done(&image);
}

static void
required_members_must_be_files(void **state)
{
    static const char *const required[] = {
        MODEL "/__init__.py", MODEL "/meta.json", DATA "/config.cfg",
        DATA "/meta.json",    INFO "/RECORD",
    };

    for (size_t i = 0; i < N_OF(required); i++) {
        struct wheel w;
        char shown[100], below[100];
        size_t k = 0;

        wheel_init(&w);
        while (strcmp(w.items[k].name, required[i]) != 0)
            k++;
        snprintf(shown, sizeof(shown), "no %s", required[i]);
        snprintf(below, sizeof(below), "%s/x", required[i]);
        w.items[k].name = below;
        assert_refused(&w, shown);
        w.items[k] = w.items[--w.n];
        assert_refused(&w, shown);
    }
}

static void
wheel_of_another_version_is_refused(void **state)
{
    struct wheel w;
    struct zip_image image;
    struct mlc_zip *z = NULL;
    char why[MLC_ZIP_WHY_SIZE];

    wheel_init(&w);
    image = zip_write(w.items, w.n, 0, NULL, 0);
    assert_int_equal(zip_parse_image(&image, 0, NULL, &z, NULL), 0);
    assert_int_equal(mlc_wheel_check(z, MODEL, "3.8", why), -EBADMSG);
    assert_int_equal(mlc_wheel_check(z, "xx_toy_md", RELEASE, why), -EBADMSG);
    assert_int_equal(mlc_wheel_check(z, "", "", why), -EBADMSG);
    assert_int_equal(mlc_wheel_check(z, MODEL, RELEASE, why), 0);
    mlc_zip_free(z);
    zip_image_done(&image);
    /* Nothing at all. */
    image = zip_write(NULL, 0, 0, NULL, 0);
    assert_int_equal(zip_parse_image(&image, 0, NULL, &z, NULL), 0);
    assert_int_equal(mlc_wheel_check(z, MODEL, RELEASE, why), -EBADMSG);
    assert_string_equal(why, "no " MODEL "/__init__.py");
    mlc_zip_free(z);
    zip_image_done(&image);
}

/* --- RECORD -------------------------------------------------------------- */

static void
record_must_fit_the_directory(void **state)
{
    struct wheel w;

    wheel_init(&w);
    w.items[0].data = "import spacy \n";
    assert_refused(&w, "RECORD has another size for " MODEL "/__init__.py");
    wheel_init(&w);
    w.items[w.n++] = (struct zip_item){.name = DATA "/new", .data = "x"};
    assert_refused(&w, "RECORD does not list " DATA "/new");
    wheel_init(&w);
    add_line(&w, DATA "/old", "x");
    assert_refused(&w, "RECORD lists what is not in the archive");
    wheel_init(&w);
    memcpy(strstr(w.record, "sha256="), "sha384=", 7);
    assert_refused(&w, "unknown algorithm");
    wheel_init(&w);
    w.record[0] = '\xff';
    assert_refused(&w, "RECORD is not UTF-8");
    wheel_init(&w);
    w.items[RECORD_].data = "";
    assert_refused(&w, "RECORD does not list itself");
}

static void
record_that_cannot_be_unpacked_is_refused(void **state)
{
    struct wheel w;

    wheel_init(&w);
    w.items[RECORD_].packed = w.record;
    w.items[RECORD_].packed_len = 400;
    assert_refused(&w, INFO "/RECORD: ");
}

static void
errors_of_reading_record_are_kept(void **state)
{
    struct wheel w;
    struct zip_image image;
    struct zip_source source;
    struct mlc_zip *z = NULL;
    struct mlc_record *record = NULL;
    atomic_bool stop = true;
    char why[MLC_ZIP_WHY_SIZE] = "?";

    wheel_init(&w);
    image = zip_write(w.items, w.n, 0, NULL, 0);
    assert_int_equal(zip_parse_image(&image, 0, NULL, &z, NULL), 0);
    zip_source_init(&source, &image);
    source.n_good = 2;
    source.result = -EREMOTEIO;
    assert_int_equal(mlc_wheel_read_record(z, MODEL, RELEASE, zip_source_read,
                                           &source, NULL, &record, why),
                     -EREMOTEIO);
    assert_string_equal(why, "");
    assert_int_equal(mlc_wheel_read_record(z, MODEL, RELEASE, zip_source_read,
                                           &source, &stop, &record, why),
                     -ECANCELED);
    assert_int_equal(mlc_wheel_read_record(z, MODEL, "9", zip_source_read,
                                           &source, NULL, &record, why),
                     -EBADMSG);
    assert_null(record);
    mlc_zip_free(z);
    zip_image_done(&image);
}

/* --- meta.json ----------------------------------------------------------- */

static void
meta_must_be_the_models(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"", "meta.json: "},
        {"{", "meta.json: "},
        {"[]", "no lang, name or version"},
        {"{\"lang\":\"xx\",\"name\":\"toy_sm\"}", "no lang, name or version"},
        {"{\"lang\":\"xx\",\"name\":\"toy_sm\",\"version\":3}", "no lang"},
        {"{\"lang\":\"xx\",\"name\":\"toy_sm\",\"version\":\"3.8.1\"}",
         "meta.json is that of xx_toy_sm 3.8.1"},
        {"{\"lang\":\"xx\",\"name\":\"toy_md\",\"version\":\"3.8.0\"}",
         "meta.json is that of xx_toy_md 3.8.0"},
        {"{\"lang\":\"x\",\"name\":\"toy_sm\",\"version\":\"3.8.0\"}",
         "meta.json is that of x_toy_sm 3.8.0"},
        {"{\"lang\":\"\",\"name\":\"xx_toy_sm\",\"version\":\"3.8.0\"}",
         "meta.json is that of _xx_toy_sm"},
    };
    char why[MLC_ZIP_WHY_SIZE] = "?";

    assert_int_equal(
        mlc_wheel_check_meta(META, strlen(META), MODEL, RELEASE, why), 0);
    assert_string_equal(why, "");
    for (size_t i = 0; i < N_OF(cases); i++) {
        assert_int_equal(mlc_wheel_check_meta(cases[i].text,
                                              strlen(cases[i].text), MODEL,
                                              RELEASE, why),
                         -EBADMSG);
        if (!strstr(why, cases[i].why))
            fail_msg("%s: %s", cases[i].text, why);
        assert_int_equal(mlc_wheel_check_meta(cases[i].text,
                                              strlen(cases[i].text), MODEL,
                                              RELEASE, NULL),
                         -EBADMSG);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wheel_as_setuptools_writes_it_is_taken),
        cmocka_unit_test(unusual_wheels_are_taken),
        cmocka_unit_test(directory_entries_need_no_line),
        cmocka_unit_test(other_names_at_the_top_are_refused),
        cmocka_unit_test(file_in_the_place_of_a_directory_is_refused),
        cmocka_unit_test(required_members_must_be_files),
        cmocka_unit_test(wheel_of_another_version_is_refused),
        cmocka_unit_test(record_must_fit_the_directory),
        cmocka_unit_test(record_that_cannot_be_unpacked_is_refused),
        cmocka_unit_test(errors_of_reading_record_are_kept),
        cmocka_unit_test(meta_must_be_the_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
