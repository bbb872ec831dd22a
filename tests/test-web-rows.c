/* SPDX-License-Identifier: MIT */
/* Rows of dgenerate's database, and what counts as one. */
#include "config.h"

#include "backends/web_rows.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "backends/web_url.h"

static void
use_zone(const char *name)
{
    setenv("TZ", name, 1);
    tzset();
}

static void
check_date(const char *text, int64_t wanted_us)
{
    int64_t got;

    assert_int_equal(mlc_web_parse_date(text, &got), 0);
    assert_int_equal(got, wanted_us);
}

static void
dates_are_local_time(void **state)
{
    use_zone("UTC0");
    check_date("2024-02-29 12:34:56", INT64_C(1709210096000000));
    check_date("2024-02-29 12:34:56.000789", INT64_C(1709210096000789));
    check_date("1969-12-31 23:59:59.500000", -500000);
    use_zone("XXX-2");
    check_date("1970-01-01 02:00:01", 1000000);
    /* Clocks are set back from 3 to 2 on October 27th. */
    use_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    check_date("2024-10-27 01:59:59", INT64_C(1729987199000000));
    check_date("2024-10-27 02:30:00", INT64_C(1729989000000000));
    check_date("2024-10-27 03:00:00", INT64_C(1729994400000000));
    use_zone("UTC0");
}

static void
other_texts_are_no_dates(void **state)
{
    static const char *const texts[] = {
        "",
        "2024-02-29",
        "2024-02-29T12:34:56",
        "2024-02-29 12:34",
        "2024-02-29 12:34:56.",
        "2024-02-29 12:34:56.12345",
        "2024-02-29 12:34:56.1234567",
        "2024-02-29 12:34:56+00:00",
        "2024-02-29 24:00:00",
        "2024-13-29 12:34:56",
        "2024-00-29 12:34:56",
        "0000-01-01 00:00:00",
        "-024-02-29 12:34:56",
        " 2024-02-29 12:34:56",
    };
    int64_t got;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_int_equal(mlc_web_parse_date(texts[i], &got), -EINVAL);
}

static void
check_same(const char *url, const char *wanted)
{
    char *got = NULL;
    int r = mlc_web_same_url(url, &got);

    assert_int_equal(r, wanted ? 0 : -EINVAL);
    if (wanted)
        assert_string_equal(got, wanted);
    free(got);
}

static void
spellings_of_a_url_are_one(void **state)
{
    check_same("https://h.example/a", "https://h.example/a");
    check_same("https://H.Example:443/A?B=c", "https://h.example/A?B=c");
    check_same("http://h:80/a", "http://h/a");
    check_same("http://h:443/a", "http://h:443/a");
    check_same("http://h", "http://h/");
    check_same("http://h?x", "http://h/?x");
    check_same("http://h/a b#part", "http://h/a%20b");
    check_same("http://h/a%20b", "http://h/a%20b");
    check_same("http://h/\xc3\xa4", "http://h/%C3%A4");
    check_same("http://h/a?token=T&b=", "http://h/a?token=T&b=");
}

static void
tokens_of_civitai_are_left_out(void **state)
{
    check_same("https://civitai.com/api/download/models/1?type=M&token=T",
               "https://civitai.com/api/download/models/1?type=M");
    check_same("https://civitai.com/api/download/models/1?token=T",
               "https://civitai.com/api/download/models/1");
    check_same("http://civitai.com/api/downloads?token=T&a=b+c&d=&e=%2f",
               "http://civitai.com/api/downloads?a=b%20c&e=%2F");
    check_same("https://civitai.com/api/other?token=T",
               "https://civitai.com/api/other?token=T");
}

static void
other_keys_are_no_urls(void **state)
{
    check_same("ftp://h/a", NULL);
    check_same("https:", NULL);
    check_same("https://", NULL);
    check_same("HTTPS://h/a", NULL);
    check_same("https://user@h/a", NULL);
    check_same("https://h/../a", NULL);
    check_same("download pointer: https://h/a, output: x", NULL);
}

/* A database made by these statements; the caller frees it. */
static unsigned char *
make_db(const char *sql, size_t *ret_len)
{
    sqlite3_int64 len = 0;
    sqlite3 *db = NULL;
    unsigned char *data, *copy;

    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    data = sqlite3_serialize(db, "main", &len, 0);
    assert_non_null(data);
    copy = malloc((size_t)len);
    assert_non_null(copy);
    memcpy(copy, data, (size_t)len);
    sqlite3_free(data);
    sqlite3_close(db);
    *ret_len = (size_t)len;
    return copy;
}

#define CREATE                                                                 \
    "CREATE TABLE store (key TEXT PRIMARY KEY, value TEXT, "                   \
    "creation_date TIMESTAMP);"

static int
read_sql(const char *sql, struct mlc_web_rows *ret)
{
    size_t len;
    unsigned char *data = make_db(sql, &len);
    int r = mlc_web_rows_read(data, len, ret);

    free(data);
    return r;
}

static void
rows_are_found_by_url(void **state)
{
    struct mlc_web_rows rows;
    size_t i;

    use_zone("UTC0");
    assert_int_equal(read_sql(CREATE
                              "INSERT INTO store VALUES "
                              "('http://h/b', '{\"path\": \"/m/web/b.png\", "
                              "\"metadata\": {\"mime-type\": \"image/png\"}}', "
                              "'1970-01-01 00:00:02'), "
                              "('http://h/a', '{\"path\": \"a\", \"metadata\": "
                              "{\"mime-type\": \"unknown\"}}', "
                              "'1970-01-01 00:00:01'), "
                              "('download pointer: x', '{\"path\": \"c\"}', "
                              "'1970-01-01 00:00:01'), "
                              "('http://H/b', '{\"path\": \"later\"}', "
                              "'1970-01-01 00:00:03')",
                              &rows),
                     0);
    assert_int_equal(rows.n, 2);
    i = mlc_web_rows_bound(&rows, "http://h/a");
    assert_int_equal(i, 0);
    assert_string_equal(rows.items[i].name, "a");
    assert_null(rows.items[i].type);
    assert_int_equal(rows.items[i].date_us, 1000000);
    /* Of two rows the later one. */
    i = mlc_web_rows_bound(&rows, "http://h/b");
    assert_int_equal(i, 1);
    assert_string_equal(rows.items[i].name, "later");
    assert_int_equal(mlc_web_rows_bound(&rows, "http://i"), 2);
    mlc_web_rows_done(&rows);
}

static void
too_many_rows_are_none(void **state)
{
    struct mlc_web_rows rows;

    assert_int_equal(
        read_sql(CREATE
                 "INSERT INTO store WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
                 "SELECT i + 1 FROM n WHERE i < 900) SELECT 'http://h/' || i "
                 "|| '?' || printf('%.*c', 4000, ' '), '{\"path\": \"p\"}', "
                 "'2024-01-01 00:00:00' FROM n",
                 &rows),
        -EFBIG);
    assert_int_equal(rows.n, 0);
}

/* Whatever the bytes are, there are rows or there are none. */
static void
damage_is_no_harm(void **state)
{
    size_t len;
    unsigned char *whole = make_db(
        CREATE
        "INSERT INTO store WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i "
        "+ 1 FROM n WHERE i < 200) SELECT 'http://h/' || i, '{\"path\": "
        "\"p\"}', '2024-01-01 00:00:00' FROM n",
        &len);
    unsigned char *data = malloc(len);
    uint32_t random = 1;

    assert_non_null(data);
    for (unsigned round = 0; round < 2000; round++) {
        size_t cut = len;
        struct mlc_web_rows rows;
        int r;

        memcpy(data, whole, len);
        for (unsigned i = 0; i < 1 + round % 16; i++) {
            random = random * 1664525 + 1013904223;
            data[(random >> 4) % (round % 2 ? len : 4096)] =
                (unsigned char)(random >> 24);
        }
        if (round % 5 == 0)
            cut = random % len;
        r = mlc_web_rows_read(data, cut, &rows);
        assert_true(r == 0 || r == -EBADMSG || r == -EFBIG);
        assert_true(r == 0 || rows.n == 0);
        mlc_web_rows_done(&rows);
    }
    free(data);
    free(whole);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_local_time),
        cmocka_unit_test(other_texts_are_no_dates),
        cmocka_unit_test(spellings_of_a_url_are_one),
        cmocka_unit_test(tokens_of_civitai_are_left_out),
        cmocka_unit_test(other_keys_are_no_urls),
        cmocka_unit_test(rows_are_found_by_url),
        cmocka_unit_test(too_many_rows_are_none),
        cmocka_unit_test(damage_is_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
