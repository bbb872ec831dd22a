/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *
parse(const char *text)
{
    json_t *root = NULL;
    char *err = NULL;

    if (mlc_json_parse(text, strlen(text), &root, &err) < 0)
        fail_msg("%s: %s", text, err ? err : "?");
    return root;
}

static void
assert_refused(const char *text, size_t len)
{
    json_t *root = NULL;
    char *err = NULL;

    assert_int_equal(mlc_json_parse(text, len, &root, &err), -EBADMSG);
    assert_null(root);
    assert_non_null(err);
    free(err);
    assert_int_equal(mlc_json_parse(text, len, &root, NULL), -EBADMSG);
}

static void
json_values_are_typed(void **state)
{
    json_t *root =
        parse("{\"s\": \"x\", \"n\": 9007199254740993, \"neg\": -1, "
              "\"f\": 1.0, \"t\": true, \"f2\": false, \"z\": null}");
    const char *s = NULL;
    uint64_t n = 7;
    bool b = false;

    assert_int_equal(mlc_json_str(root, "s", &s), 0);
    assert_string_equal(s, "x");
    assert_int_equal(mlc_json_u64(root, "n", &n), 0);
    assert_true(n == 9007199254740993);
    assert_int_equal(mlc_json_bool(root, "t", &b), 0);
    assert_true(b);
    assert_int_equal(mlc_json_bool(root, "f2", &b), 0);
    assert_false(b);
    json_decref(root);
}

static void
json_absent_and_null_are_enoent(void **state)
{
    json_t *root = parse("{\"z\": null}");
    const char *s = "as before";
    uint64_t n = 7;
    bool b = true;

    assert_int_equal(mlc_json_str(root, "z", &s), -ENOENT);
    assert_int_equal(mlc_json_str(root, "none", &s), -ENOENT);
    assert_int_equal(mlc_json_u64(root, "z", &n), -ENOENT);
    assert_int_equal(mlc_json_bool(root, "none", &b), -ENOENT);
    assert_int_equal(mlc_json_str(NULL, "z", &s), -ENOENT);
    assert_string_equal(s, "as before");
    json_decref(root);
}

static void
json_wrong_types_are_ebadmsg(void **state)
{
    json_t *root = parse("{\"s\": \"1\", \"neg\": -1, \"f\": 1.0, \"n\": 1, "
                         "\"o\": {}, \"a\": []}");
    json_t *array = parse("[1]");
    const char *s = "as before";
    uint64_t n = 7;
    bool b = true;

    assert_int_equal(mlc_json_str(root, "n", &s), -EBADMSG);
    assert_int_equal(mlc_json_str(root, "o", &s), -EBADMSG);
    assert_int_equal(mlc_json_u64(root, "s", &n), -EBADMSG);
    assert_int_equal(mlc_json_u64(root, "neg", &n), -EBADMSG);
    assert_int_equal(mlc_json_u64(root, "f", &n), -EBADMSG);
    assert_int_equal(mlc_json_bool(root, "n", &b), -EBADMSG);
    assert_int_equal(mlc_json_bool(root, "a", &b), -EBADMSG);
    assert_int_equal(mlc_json_str(array, "s", &s), -EBADMSG);
    assert_string_equal(s, "as before");
    assert_int_equal(n, 7);
    json_decref(root);
    json_decref(array);
}

static void
json_root_may_be_any_value(void **state)
{
    json_decref(parse("3"));
    json_decref(parse(" \"x\" "));
    json_decref(parse("null"));
    json_decref(parse("[]"));
}

static void
json_takes_exactly_one_value(void **state)
{
    static const char *const texts[] = {
        "",       " ",          "{} {}",       "{}x",
        "[1,]",   "{\"a\":1,}", "{\"a\"}",     "[1",
        "\"open", "nul",        "01",          "'a'",
        "[1]]",   "NaN",        "{a: 1}",      "// c\n1",
        "\"\\",   "\"\xff\"",   "\"\\ud800\"", "99999999999999999999",
        "1e999"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_refused(texts[i], strlen(texts[i]));
}

static void
json_strings_hold_no_nul(void **state)
{
    assert_refused("{\"path\": \"a\\u0000b\"}", 20);
    assert_refused("{\"a\\u0000\": 1}", 14);
    assert_refused("\"a\0b\"", 5);
    assert_refused("1\0", 2);
    assert_refused("[1,\0"
                   "2]",
                   6);
}

static void
json_depth_is_bounded(void **state)
{
    size_t len = 10000000;
    char *text = malloc(len);
    json_t *root = NULL;

    assert_non_null(text);
    memset(text, '[', len);
    assert_refused(text, len);
    for (size_t i = 0; i + 5 <= len; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_refused(text, len);

    memset(text, '[', MLC_JSON_MAX_DEPTH);
    memset(text + MLC_JSON_MAX_DEPTH, ']', MLC_JSON_MAX_DEPTH);
    assert_int_equal(mlc_json_parse(text, 2 * MLC_JSON_MAX_DEPTH, &root, NULL),
                     0);
    json_decref(root);
    free(text);
}

static void
json_brackets_in_strings_are_not_depth(void **state)
{
    char text[300];

    memset(text, '[', sizeof(text));
    memcpy(text, "[\"\\\"", 4);
    memcpy(text + sizeof(text) - 3, "\"]", 3);
    json_decref(parse(text));
}

static void
json_width_is_not_depth(void **state)
{
    size_t n = 100000;
    char *text = malloc(3 * n + 2);
    json_t *root;

    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < n; i++)
        memcpy(text + 1 + 3 * i, "[],", 3);
    memcpy(text + 3 * n, "]", 2);
    root = parse(text);
    assert_int_equal(json_array_size(root), n);
    json_decref(root);
    free(text);
}

static void
json_length_is_bounded(void **state)
{
    size_t len = MLC_JSON_MAX_LEN + 1;
    char *text = malloc(len);

    assert_non_null(text);
    memset(text, ' ', len);
    text[0] = '1';
    assert_refused(text, len);
    free(text);
}

static void
json_errors_hold_no_control_bytes(void **state)
{
    static const char text[] = "{\"a\": \033[2J}";
    json_t *root = NULL;
    char *err = NULL;

    assert_int_equal(mlc_json_parse(text, strlen(text), &root, &err), -EBADMSG);
    assert_non_null(err);
    for (const char *p = err; *p; p++)
        assert_true((unsigned char)*p >= ' ');
    free(err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_values_are_typed),
        cmocka_unit_test(json_absent_and_null_are_enoent),
        cmocka_unit_test(json_wrong_types_are_ebadmsg),
        cmocka_unit_test(json_root_may_be_any_value),
        cmocka_unit_test(json_takes_exactly_one_value),
        cmocka_unit_test(json_strings_hold_no_nul),
        cmocka_unit_test(json_depth_is_bounded),
        cmocka_unit_test(json_brackets_in_strings_are_not_depth),
        cmocka_unit_test(json_width_is_not_depth),
        cmocka_unit_test(json_length_is_bounded),
        cmocka_unit_test(json_errors_hold_no_control_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
