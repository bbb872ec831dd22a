/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/parse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/util/clock.h"

#define HOUR_MS (INT64_C(3600) * 1000)
#define DAY_MS  (24 * HOUR_MS)

static int64_t
time_of(const char *text)
{
    int64_t ms = -12345;
    char *err = NULL;
    int r = mlc_parse_time(text, &ms, &err);

    if (r < 0)
        fail_msg("%s: %s", text, err ? err : "?");
    return ms;
}

static void
assert_time_refused(const char *text, int want, const char *shown)
{
    int64_t ms = 77;
    char *err = NULL;

    assert_int_equal(mlc_parse_time(text, &ms, &err), want);
    assert_int_equal(ms, 77);
    assert_non_null(err);
    if (!strstr(err, shown))
        fail_msg("%s: \"%s\" does not show \"%s\"", text, err, shown);
    free(err);
    assert_int_equal(mlc_parse_time(text, &ms, NULL), want);
}

static void
time_sums_named_parts(void **state)
{
    assert_int_equal(time_of("days=5;hours=6"), 5 * DAY_MS + 6 * HOUR_MS);
    assert_int_equal(time_of("weeks=1;days=1;hours=1;minutes=1;seconds=1;"
                             "milliseconds=1;microseconds=1000"),
                     8 * DAY_MS + HOUR_MS + 61002);
}

static void
time_takes_python_floats(void **state)
{
    assert_int_equal(time_of("hours=.5"), HOUR_MS / 2);
    assert_int_equal(time_of("hours=5."), 5 * HOUR_MS);
    assert_int_equal(time_of("hours=+1e1"), 10 * HOUR_MS);
    assert_int_equal(time_of("seconds=1_000.2_5e0_1"), 10002500);
    assert_int_equal(time_of("seconds=0.1"), 100);
    assert_int_equal(time_of("seconds=1E-3"), 1);
}

static void
time_rounds_to_nearest_ms(void **state)
{
    assert_int_equal(time_of("microseconds=499"), 0);
    assert_int_equal(time_of("microseconds=500"), 1);
    assert_int_equal(time_of("microseconds=-500"), -1);
}

static void
time_may_be_zero_or_negative(void **state)
{
    assert_int_equal(time_of("days=0"), 0);
    assert_int_equal(time_of("days=-1;hours=12"), -DAY_MS / 2);
    assert_int_equal(time_of("days=1e20;hours=-24e20"), 0);
}

static void
time_forever_or_nothing_is_never(void **state)
{
    static const char *const texts[] = {
        "", " ", "forever", "FOREVER", "\" ForEver '", "''"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_true(time_of(texts[i]) == MLC_NEVER_MS);
}

static void
time_ignores_end_quotes_and_blanks(void **state)
{
    assert_int_equal(time_of("\" days = 1 ;\thours= 2 '"),
                     DAY_MS + 2 * HOUR_MS);
}

static void
time_refuses_what_dgenerate_refuses(void **state)
{
    assert_time_refused(" \"days=1\"", -EINVAL, "\"days");
    assert_time_refused("days=1;", -EINVAL, "semicolon");
    assert_time_refused(";days=1", -EINVAL, "semicolon");
    assert_time_refused("days=1;;hours=1", -EINVAL, "semicolon");
    assert_time_refused("days", -EINVAL, "\"days\"");
    assert_time_refused("days=", -EINVAL, "days=");
    assert_time_refused("days=1=2", -EINVAL, "1=2");
    assert_time_refused("5", -EINVAL, "\"5\"");
    assert_time_refused("days=1;years=2", -EINVAL, "years");
    assert_time_refused("Days=1", -EINVAL, "Days");
    assert_time_refused("days=1;days=2", -EINVAL, "days");
    assert_time_refused("forever;days=1", -EINVAL, "forever");
}

static void
time_refuses_other_numbers(void **state)
{
    static const char *const numbers[] = {
        "inf", "nan", "-Infinity", "0x10", "1__0", "_1",  "1_",  "1_.5", "1._5",
        "1e",  "1e+", "1e_1",      ".",    "+",    "--1", "1 2", "1,5",  "e5"};
    char text[64];

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        snprintf(text, sizeof(text), "hours=2;days=%s", numbers[i]);
        assert_time_refused(text, -EINVAL, numbers[i]);
    }
}

static void
time_ends_where_timedelta_ends(void **state)
{
    assert_int_equal(time_of("days=999999999;hours=23"),
                     INT64_C(999999999) * DAY_MS + 23 * HOUR_MS);
    assert_int_equal(time_of("days=-999999999"), -INT64_C(999999999) * DAY_MS);
    assert_time_refused("days=999999999;hours=24", -ERANGE, "days=999999999");
    assert_time_refused("days=-999999999;microseconds=-1", -ERANGE, "days=");
    assert_time_refused("days=1e300", -ERANGE, "1e300");
    assert_time_refused("days=1e999", -ERANGE, "1e999");
    assert_time_refused("weeks=1e24;days=1e24", -ERANGE, "weeks");
}

static void
time_takes_hostile_lengths(void **state)
{
    size_t len = 1 << 20;
    char *text = malloc(len + 1);
    int64_t ms;

    assert_non_null(text);
    memset(text, '9', len);
    memcpy(text, "days=", 5);
    text[len] = '\0';
    assert_int_equal(mlc_parse_time(text, &ms, NULL), -EINVAL);
    memset(text, ';', len);
    assert_int_equal(mlc_parse_time(text, &ms, NULL), -EINVAL);
    free(text);
}

static void
size_takes_units_of_1024(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"1k", 1024},
        {"1K", 1024},
        {"3M", 3U << 20},
        {"1.5G", 3U << 29},
        {"1GiB", 1U << 30},
        {"1gb", 1U << 30},
        {"0.5k", 512},
        {"2T", 2ULL << 40},
        {"16777215T", 16777215ULL << 40},
        {"18446744073709551615", UINT64_MAX},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t bytes = 1;

        assert_int_equal(mlc_parse_size(rows[i].text, &bytes, NULL), 0);
        assert_true(bytes == rows[i].bytes);
    }
}

static void
size_refuses_the_rest(void **state)
{
    static const char *const texts[] = {"",    "M",   "12Q", "-1",   "+1",
                                        " 1",  "1 ",  "1.5", ".5G",  "1.G",
                                        "1iB", "1e3", "1MM", "1kBx", "1.5B"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t bytes = 7;
        char *err = NULL;

        assert_int_equal(mlc_parse_size(texts[i], &bytes, &err), -EINVAL);
        assert_true(bytes == 7);
        assert_non_null(err);
        assert_non_null(strstr(err, texts[i]));
        assert_non_null(strstr(err, "512M"));
        free(err);
    }
}

static void
size_refuses_overflow(void **state)
{
    uint64_t bytes = 7;

    assert_int_equal(mlc_parse_size("16777216T", &bytes, NULL), -ERANGE);
    assert_int_equal(mlc_parse_size("18446744073709551616", &bytes, NULL),
                     -ERANGE);
    assert_int_equal(mlc_parse_size("99999999999999999999999k", &bytes, NULL),
                     -ERANGE);
    assert_true(bytes == 7);
}

static void
u64_keeps_its_bounds(void **state)
{
    uint64_t v = 7;

    assert_int_equal(mlc_parse_u64("18446744073709551615", 0, UINT64_MAX, &v),
                     0);
    assert_true(v == UINT64_MAX);
    v = 7;
    assert_int_equal(mlc_parse_u64("18446744073709551616", 0, UINT64_MAX, &v),
                     -ERANGE);
    assert_int_equal(mlc_parse_u64("0", 1, 5, &v), -ERANGE);
    assert_int_equal(mlc_parse_u64("6", 1, 5, &v), -ERANGE);
    assert_int_equal(mlc_parse_u64("", 0, 5, &v), -EINVAL);
    assert_int_equal(mlc_parse_u64("-1", 0, 5, &v), -EINVAL);
    assert_int_equal(mlc_parse_u64("1 ", 0, 5, &v), -EINVAL);
    assert_int_equal(v, 7);
}

static void
truthy_is_what_the_hub_says(void **state)
{
    assert_true(mlc_parse_truthy("1"));
    assert_true(mlc_parse_truthy("on"));
    assert_true(mlc_parse_truthy("Yes"));
    assert_true(mlc_parse_truthy("TRUE"));
    assert_false(mlc_parse_truthy(""));
    assert_false(mlc_parse_truthy("0"));
    assert_false(mlc_parse_truthy("2"));
    assert_false(mlc_parse_truthy("true "));
}

static void
content_range_is_read(void **state)
{
    uint64_t from, last, total;

    assert_int_equal(
        mlc_parse_content_range(" bytes 0-99/1000\r\n", &from, &last, &total),
        0);
    assert_int_equal(from, 0);
    assert_int_equal(last, 99);
    assert_int_equal(total, 1000);
    assert_int_equal(
        mlc_parse_content_range("Bytes 5-5/*", &from, &last, &total), 0);
    assert_int_equal(from, 5);
    assert_true(total == UINT64_MAX);
}

static void
content_range_refuses_nonsense(void **state)
{
    static const char *const texts[] = {"",
                                        "bytes",
                                        "bytes */10",
                                        "bytes 0-9",
                                        "bytes 9-0/10",
                                        "bytes 0-10/10",
                                        "bytes 0-/10",
                                        "bytes -1/10",
                                        "bytes 0-9/x",
                                        "items 0-9/10",
                                        "bytes0-9/10",
                                        "bytes 0-9/10 x",
                                        "bytes 0 -9/10",
                                        "bytes 0-9/*1"};
    uint64_t from = 7, last = 7, total = 7;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(
            mlc_parse_content_range(texts[i], &from, &last, &total), -EINVAL);
    assert_int_equal(from + last + total, 21);
}

static void
content_range_refuses_more_than_off_t(void **state)
{
    uint64_t from, last, total;

    assert_int_equal(mlc_parse_content_range("bytes 0-9223372036854775807/*",
                                             &from, &last, &total),
                     -ERANGE);
    assert_int_equal(mlc_parse_content_range("bytes 0-1/9223372036854775808",
                                             &from, &last, &total),
                     -ERANGE);
    assert_int_equal(mlc_parse_content_range("bytes 0-99999999999999999999/*",
                                             &from, &last, &total),
                     -ERANGE);
}

static void
hex_goes_both_ways(void **state)
{
    uint8_t bytes[3] = {9, 9, 9};
    char text[7];

    assert_true(mlc_is_hex("00ff1a", 6));
    assert_false(mlc_is_hex("00ff1A", 6));
    assert_false(mlc_is_hex("00ff1", 6));
    assert_false(mlc_is_hex("00ff1a0", 6));
    assert_int_equal(mlc_parse_hex("00Ff1", bytes, 3), -EINVAL);
    assert_int_equal(mlc_parse_hex("00Ff1a0", bytes, 3), -EINVAL);
    assert_int_equal(mlc_parse_hex("00Ff1g", bytes, 3), -EINVAL);
    assert_int_equal(bytes[0], 9);
    assert_int_equal(mlc_parse_hex("00Ff1a", bytes, 3), 0);
    mlc_format_hex(bytes, 3, text);
    assert_string_equal(text, "00ff1a");
}

static void
mask_hides_terminal_control_only(void **state)
{
    char text[] = "a\x1b[1m\r\n\x7f\xc2\x9b \xc3\xa9 \xe2\x80\xa6 \xc2";

    mlc_mask_control(text, strlen(text));
    assert_string_equal(text, "a?[1m????? \xc3\xa9 \xe2\x80\xa6 \xc2");
}

static void
utf8_is_well_formed(void **state)
{
    static const char *const good[] = {
        "",
        "abc",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xf0\x90\x80\x80",
        "a\xf4\x8f\xbf\xbfz",
    };
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc3",
        "\xc3(",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xe6\x97",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x98",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "ok\xfe",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(mlc_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(mlc_is_utf8(bad[i], strlen(bad[i])));
    assert_true(mlc_is_utf8("a\0b", 3));
    assert_false(mlc_is_utf8("\xc3\xa4", 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_sums_named_parts),
        cmocka_unit_test(time_takes_python_floats),
        cmocka_unit_test(time_rounds_to_nearest_ms),
        cmocka_unit_test(time_may_be_zero_or_negative),
        cmocka_unit_test(time_forever_or_nothing_is_never),
        cmocka_unit_test(time_ignores_end_quotes_and_blanks),
        cmocka_unit_test(time_refuses_what_dgenerate_refuses),
        cmocka_unit_test(time_refuses_other_numbers),
        cmocka_unit_test(time_ends_where_timedelta_ends),
        cmocka_unit_test(time_takes_hostile_lengths),
        cmocka_unit_test(size_takes_units_of_1024),
        cmocka_unit_test(size_refuses_the_rest),
        cmocka_unit_test(size_refuses_overflow),
        cmocka_unit_test(u64_keeps_its_bounds),
        cmocka_unit_test(truthy_is_what_the_hub_says),
        cmocka_unit_test(content_range_is_read),
        cmocka_unit_test(content_range_refuses_nonsense),
        cmocka_unit_test(content_range_refuses_more_than_off_t),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(mask_hides_terminal_control_only),
        cmocka_unit_test(utf8_is_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
