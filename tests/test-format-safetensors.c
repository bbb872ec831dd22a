/* SPDX-License-Identifier: MIT */
/* safetensors headers: what is refused, what is found, what is written. */
#include "config.h"

#include "backends/format/safetensors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/seed.h"

#define T(name, dtype, shape, begin, end)                                      \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape                  \
    "],\"data_offsets\":[" begin "," end "]}"

/* A file of that header and that many bytes of data. */
static int
parse(const char *header, size_t data, struct mlc_safetensors **ret)
{
    size_t len = strlen(header);
    char *copy = malloc(len + 1); /* of the right size, for sanitizers */
    char *err = NULL;
    int r;

    fuzz_save_seed(header, len);
    assert_non_null(copy);
    memcpy(copy, header, len + 1);
    copy = realloc(copy, len ? len : 1);
    r = mlc_safetensors_parse(copy, len, 8 + len + data, ret, &err);
    free(copy);
    if (r == -EBADMSG)
        assert_non_null(err);
    else
        assert_null(err);
    free(err);
    return r;
}

static struct mlc_safetensors *
parsed(const char *header, size_t data)
{
    struct mlc_safetensors *f = NULL;

    assert_int_equal(parse(header, data, &f), 0);
    return f;
}

static void
assert_refused(const char *header, size_t data)
{
    struct mlc_safetensors *f = NULL;
    int r = parse(header, data, &f);

    if (r != -EBADMSG)
        fail_msg("%d for %s", r, header);
    assert_null(f);
}

static void
assert_taken(const char *header, size_t data)
{
    struct mlc_safetensors *f = NULL;
    int r = parse(header, data, &f);

    if (r != 0)
        fail_msg("%d for %s", r, header);
    mlc_safetensors_free(f);
}

static int
header_len(const char *prefix, uint64_t size, size_t *ret)
{
    uint8_t bytes[8];
    char *err = NULL;
    int r;

    memcpy(bytes, prefix, 8);
    r = mlc_safetensors_header_len(bytes, size, ret, &err);
    if (r == -EBADMSG)
        assert_non_null(err);
    free(err);
    return r;
}

static void
length_is_bounded(void **state)
{
    size_t len = 0;

    assert_int_equal(header_len("\2\1\0\0\0\0\0\0", 8 + 258, &len), 0);
    assert_int_equal(len, 258);
    assert_int_equal(header_len("\0\341\365\5\0\0\0\0", 1 << 30, &len), 0);
    assert_int_equal(len, 100000000);
    assert_int_equal(header_len("\2\1\0\0\0\0\0\0", 7, &len), -EBADMSG);
    assert_int_equal(header_len("\2\1\0\0\0\0\0\0", 8 + 257, &len), -EBADMSG);
    assert_int_equal(header_len("\1\341\365\5\0\0\0\0", 1 << 30, &len),
                     -EBADMSG);
    assert_int_equal(
        header_len("\377\377\377\377\377\377\377\377", INT64_MAX, &len),
        -EBADMSG);
}

static void
other_formats_are_named(void **state)
{
    static const struct {
        const char *prefix, *word;
    } files[] = {
        {"PK\3\4\0\0\0\0", "zip"},
        {"PK\3\4\0\0\10\10", "zip"},
        {"\200\2\212\nl\374\234F", "pickle"},
        {"GGUF\3\0\0\0", "GGUF"},
    };
    size_t i;

    for (i = 0; i < sizeof files / sizeof *files; i++) {
        uint8_t prefix[8];
        char *err = NULL;
        size_t len;

        memcpy(prefix, files[i].prefix, 8);
        assert_int_equal(
            mlc_safetensors_header_len(prefix, 1 << 30, &len, &err), -EBADMSG);
        assert_non_null(strstr(err, files[i].word));
        free(err);
    }
}

static void
tensors_and_metadata_are_found(void **state)
{
    static const char header[] =
        " {\"__metadata__\":{\"b\":\"2\",\"a\":\"\\u00e9\\n\"},"
        "\"b.weight\":{\"data_offsets\":[4,12],\"more\":{\"x\":[1.5e3,null]},"
        "\"shape\":[2,1,2],\"dtype\":\"BF16\"}," T(
            "a", "I32", "", "0", "4") "," T("b\\\"\\ud83d\\ude00", "F32", "0,5",
                                            "12", "12") "}  \n";
    struct mlc_safetensors *f = parsed(header, 12);
    const struct mlc_tensor *t = mlc_safetensors_find(f, "b.weight");
    uint64_t start = 8 + strlen(header);

    assert_int_equal(mlc_safetensors_n_tensors(f), 3);
    assert_non_null(t);
    assert_int_equal(t->dtype, MLC_DTYPE_BF16);
    assert_int_equal(t->n_dims, 3);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 1);
    assert_int_equal(t->shape[2], 2);
    assert_int_equal(t->begin, start + 4);
    assert_int_equal(t->end, start + 12);
    t = mlc_safetensors_find(f, "a");
    assert_int_equal(t->n_dims, 0);
    assert_int_equal(t->begin, start);
    assert_non_null(mlc_safetensors_find(f, "b\"\xf0\x9f\x98\x80"));
    assert_string_equal(mlc_safetensors_get(f, 0)->name, "a");
    assert_null(mlc_safetensors_find(f, "b"));
    assert_null(mlc_safetensors_find(f, "c"));
    assert_string_equal(mlc_safetensors_find_prefix(f, "b.")->name, "b.weight");
    assert_null(mlc_safetensors_find_prefix(f, "b.x"));
    assert_string_equal(mlc_safetensors_metadata(f, "a"), "\xc3\xa9\n");
    assert_string_equal(mlc_safetensors_metadata(f, "b"), "2");
    assert_null(mlc_safetensors_metadata(f, "c"));
    mlc_safetensors_free(f);
}

static void
what_the_reference_takes_is_taken(void **state)
{
    assert_taken("{}", 0);
    assert_taken("\t{ }\r\n", 0);
    assert_taken("{\"__metadata__\":null}", 0);
    assert_taken("{\"__metadata__\": { } }", 0);
    assert_taken("{" T("a", "F32", "", "0", "4") "}", 4);
    assert_taken("{" T("a", "F4", "2", "0", "1") "}", 1);
    assert_taken("{" T("a", "F6_E2M3", "4", "0", "3") "}", 3);
    assert_taken("{" T("a", "F16", "0,18446744073709551615", "0", "0") "}", 0);
    assert_taken(
        "{" T("a", "BOOL", "3", "0", "3") "," T("b", "U8", "0", "3", "3") "," T(
            "c", "U8", "0", "3", "3") "," T("d", "C64", "1", "3", "11") "}",
        11);
    assert_taken("{" T("", "U8", "1", "0", "1") "}", 1);
}

static void
other_json_is_refused(void **state)
{
    static const char *const headers[] = {
        "",
        " ",
        "[]",
        "null",
        "1",
        "{",
        "{}x",
        "{}{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":1}",
        "{\"a\":null}",
        "{a:{}}",
        "{\"__metadata__\":1}",
        "{\"__metadata__\":[]}",
        "{\"__metadata__\":nul}",
        "{\"__metadata__\":n}",
        "{\"__metadata__\":{\"a\":1}}",
        "{\"__metadata__\":{\"a\":null}}",
        "{\"__metadata__\":{\"a\":{}}}",
        "{\"__metadata__\":{\"a\":\"1\",}}",
        "{\"__metadata__\":{\"a\":\"1\"},}",
        "{\"__metadata__\":{\"a\":\"\\x\"}}",
        "{\"__metadata__\":{\"a\":\"\\u12\"}}",
        "{\"__metadata__\":{\"a\":\"\\u0000\"}}",
        "{\"__metadata__\":{\"a\":\"\\ud83d\"}}",
        "{\"__metadata__\":{\"a\":\"\\ud83d\\u0041\"}}",
        "{\"__metadata__\":{\"a\":\"\\ude00\"}}",
        "{\"__metadata__\":{\"a\":\"\n\"}}",
        "{\"__metadata__\":{\"a\":\"",
        "{\"__metadata__\":{\"a\":\"\\",
        "{\"__metadata__\":{\"a\":\"\xff\"}}",
        "{\"__metadata__\":{\"a\":\"\xc0\xaf\"}}",
        "{\"__metadata__\":{\"a\":\"\xe0\x80\xaf\"}}",
        "{\"__metadata__\":{\"a\":\"\xed\xa0\x80\"}}",
        "{\"__metadata__\":{\"a\":\"\xf4\x90\x80\x80\"}}",
        "{\"__metadata__\":{\"a\":\"\xe2\x82\"}}",
        "{\"__metadata__\":{},\"__metadata__\":{}}",
        "{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}",
    };
    size_t i;

    for (i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_refused(headers[i], 0);
}

static void
other_tensors_are_refused(void **state)
{
    static const char *const headers[] = {
        "{\"a\":{}}",
        "{\"a\":[]}",
        "{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}",
        "{\"a\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],"
        "\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"shape\":[4],"
        "\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"x\":NaN,\"shape\":[4],"
        "\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"x\":01,\"shape\":[4],"
        "\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"U8\",\"x\":[1,],\"shape\":[4],"
        "\"data_offsets\":[0,4]}}",
        "{" T("a", "U8", "4", "0", "4") ",}",
        "{" T("a", "u8", "4", "0", "4") "}",
        "{" T("a", "Q4", "4", "0", "4") "}",
        "{" T("a", "U8", "NaN", "0", "4") "}",
        "{" T("a", "U8", "Infinity", "0", "4") "}",
        "{" T("a", "U8", "4.0", "0", "4") "}",
        "{" T("a", "U8", "4e0", "0", "4") "}",
        "{" T("a", "U8", "-4", "0", "4") "}",
        "{" T("a", "U8", "+4", "0", "4") "}",
        "{" T("a", "U8", "04", "0", "4") "}",
        "{" T("a", "U8", "\"4\"", "0", "4") "}",
        "{" T("a", "U8", "4,", "0", "4") "}",
        "{" T("a", "U8", "[4]", "0", "4") "}",
        "{" T("a", "U8", "18446744073709551616", "0", "4") "}",
        /* Offsets. */
        "{" T("a", "U8", "4", "0.0", "4") "}",
        "{" T("a", "U8", "4", "-0", "4") "}",
        "{" T("a", "U8", "4", "4", "0") "}",
        "{" T("a", "U8", "4", "1", "5") "}",
        "{" T("a", "U8", "3", "0", "3") "}",
        "{" T("a", "U8", "5", "0", "5") "}",
        "{" T("a", "U8", "4", "18446744073709551612", "0") "}",
        "{" T("a", "U8", "4", "18446744073709551608",
              "18446744073709551612") "}",
        "{" T("a", "U8", "2", "0", "2") "," T("b", "U8", "1", "3", "4") "}",
        "{" T("a", "U8", "3", "0", "3") "," T("b", "U8", "2", "2", "4") "}",
        "{" T("a", "U8", "4", "0", "4") "," T("b", "U8", "4", "0", "4") "}",
        "{" T("a", "U8", "4", "0", "4") "," T("b", "U8", "0", "5", "5") "}",
        /* Shapes. */
        "{" T("a", "F32", "2", "0", "4") "}",
        "{" T("a", "F32", "", "0", "3") "}",
        "{" T("a", "F4", "3", "0", "4") "}",
        "{" T("a", "U8", "4294967296,4294967296,4", "0", "4") "}",
        "{" T("a", "U64", "2305843009213693952", "0", "4") "}",
        "{" T("a", "U8", "18446744073709551615,2,0", "0", "4") "}",
        "{" T("a", "U8", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4", "0", "4") "}",
        /* Names. */
        "{" T("a", "U8", "4", "0", "4") "," T("a", "U8", "0", "4", "4") "}",
        "{" T("a", "U8", "2", "0", "2") "," T("\\u0061", "U8", "2", "2",
                                              "4") "}",
        "{" T("a\\n", "U8", "4", "0", "4") "}",
        "{" T("a\\u0000", "U8", "4", "0", "4") "}",
        "{" T("a\177", "U8", "4", "0", "4") "}",
    };
    size_t i;

    assert_taken("{" T("a", "U8", "4", "0", "4") "}", 4);
    for (i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_refused(headers[i], 4);
}

static void
the_data_are_all_of_the_file(void **state)
{
    assert_refused("{}", 1);
    assert_refused("{\"__metadata__\":{\"a\":\"b\"}}", 1);
    assert_refused("{" T("a", "U8", "4", "0", "4") "}", 3);
    assert_refused("{" T("a", "U8", "4", "0", "4") "}", 5);
}

static void
deep_nesting_is_refused(void **state)
{
    static const char before[] = "{\"a\":{\"x\":";
    size_t n = 1000000;
    char *header = malloc(sizeof before + n);

    assert_non_null(header);
    memcpy(header, before, sizeof before);
    memset(header + sizeof before - 1, '[', n);
    header[sizeof before - 1 + n] = '\0';
    assert_refused(header, 0);
    free(header);
}

static void
a_long_name_is_refused(void **state)
{
    char name[MLC_SAFETENSORS_MAX_NAME + 2];
    char header[sizeof name + 100];
    size_t len;

    for (len = sizeof name - 2; len < sizeof name; len++) {
        memset(name, 'n', len);
        name[len] = '\0';
        snprintf(header, sizeof header,
                 "{\"%s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":"
                 "[0,1]}}",
                 name);
        if (len > MLC_SAFETENSORS_MAX_NAME)
            assert_refused(header, 1);
        else
            assert_taken(header, 1);
    }
}

static void
reasons_name_the_tensor(void **state)
{
    static const char header[] =
        "{" T("model.x.weight", "F16", "3", "0", "4") "}";
    struct mlc_safetensors *f = NULL;
    char *err = NULL;

    assert_int_equal(mlc_safetensors_parse(header, strlen(header),
                                           strlen(header) + 12, &f, &err),
                     -EBADMSG);
    assert_string_equal(
        err, "tensor 'model.x.weight': its offsets don't fit its shape");
    free(err);
    assert_int_equal(mlc_safetensors_parse(header, strlen(header),
                                           strlen(header) + 12, &f, NULL),
                     -EBADMSG);
}

/* --- writing ---------------------------------------------------------- */

static const uint64_t two_three[] = {2, 3};

static void
assert_written(struct mlc_tensor *tensors, size_t n, const char *json)
{
    char *header = NULL;
    size_t len = 0;
    size_t i;

    assert_int_equal(mlc_safetensors_format(tensors, n, &header, &len), 0);
    assert_int_equal(len, 8 + strlen(json));
    assert_int_equal(len % 8, 0);
    for (i = 0; i < 8; i++)
        assert_int_equal((unsigned char)header[i],
                         (strlen(json) >> (8 * i)) & 0xff);
    assert_string_equal(header + 8, json);
    free(header);
}

static void
a_header_is_padded(void **state)
{
    struct mlc_tensor t = {
        .name = "a.weight",
        .dtype = MLC_DTYPE_F16,
        .n_dims = 2,
        .shape = two_three,
    };

    assert_written(&t, 1,
                   "{\"__metadata__\":{\"format\":\"pt\"},"
                   "\"a.weight\":{\"dtype\":\"F16\",\"shape\":[2,3],"
                   "\"data_offsets\":[0,12]}} ");
    assert_int_equal(t.begin, 8 + 96);
    assert_int_equal(t.end, 8 + 96 + 12);
    assert_written(NULL, 0, "{\"__metadata__\":{\"format\":\"pt\"}}");
}

static void
tensors_are_written_by_dtype_and_name(void **state)
{
    struct mlc_tensor t[] = {
        {.name = "a", .dtype = MLC_DTYPE_BOOL},
        {.name = "l.2.w", .dtype = MLC_DTYPE_F16},
        {.name = "l.10.w", .dtype = MLC_DTYPE_F16},
        {.name = "l_", .dtype = MLC_DTYPE_F16},
        {.name = "l.2", .dtype = MLC_DTYPE_BF16},
        {.name = "\xc3\xa9", .dtype = MLC_DTYPE_F16},
        {.name = "z\"\\\n\1\177/", .dtype = MLC_DTYPE_F32},
    };

    assert_written(
        t, 7,
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"z\\\"\\\\\\n\\u0001\177/\":"
        "{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
        "\"l.2\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[4,6]},"
        "\"l.10.w\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[6,8]},"
        "\"l.2.w\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[8,10]},"
        "\"l_\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[10,12]},"
        "\"\xc3\xa9\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[12,14]"
        "},"
        "\"a\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[14,15]}}");
}

static void
what_is_written_is_read(void **state)
{
    static const uint64_t shape[] = {7, 5, 3};
    struct mlc_tensor t[] = {
        {.name = "a\xf0\x9f\x98\x80",
         .dtype = MLC_DTYPE_U8,
         .n_dims = 3,
         .shape = shape},
        {.name = "b", .dtype = MLC_DTYPE_F64, .n_dims = 1, .shape = shape},
    };
    struct mlc_safetensors *f = NULL;
    char *header = NULL;
    size_t len = 0;

    assert_int_equal(mlc_safetensors_format(t, 2, &header, &len), 0);
    assert_int_equal(
        mlc_safetensors_parse(header + 8, len - 8, len + 161, &f, NULL), 0);
    assert_int_equal(mlc_safetensors_find(f, "b")->begin, len);
    assert_int_equal(mlc_safetensors_find(f, t[1].name)->begin, t[1].begin);
    assert_int_equal(mlc_safetensors_find(f, t[1].name)->end, len + 161);
    mlc_safetensors_free(f);
    free(header);
}

static void
what_has_no_size_is_not_written(void **state)
{
    static const uint64_t huge[] = {UINT64_MAX / 32, 2};
    struct mlc_tensor t = {.name = "a", .dtype = MLC_DTYPE_F32, .n_dims = 2};
    char *header = NULL;
    size_t len = 0;

    t.shape = huge;
    assert_int_equal(mlc_safetensors_format(&t, 1, &header, &len), -EFBIG);
    t.dtype = MLC_DTYPE_F4;
    t.shape = two_three + 1;
    t.n_dims = 1;
    assert_int_equal(mlc_safetensors_format(&t, 1, &header, &len), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test(tensors_and_metadata_are_found),
        cmocka_unit_test(what_the_reference_takes_is_taken),
        cmocka_unit_test(other_json_is_refused),
        cmocka_unit_test(other_tensors_are_refused),
        cmocka_unit_test(the_data_are_all_of_the_file),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_long_name_is_refused),
        cmocka_unit_test(reasons_name_the_tensor),
        cmocka_unit_test(a_header_is_padded),
        cmocka_unit_test(tensors_are_written_by_dtype_and_name),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_has_no_size_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
