/* SPDX-License-Identifier: MIT */
/* Trees: listings from the network, and the clients' file. */
#include "config.h"

#include "backends/hf_tree.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/util/buf.h"
#include "backends/util/clock.h"

#define OID_A "a123456789abcdef0123456789abcdef01234567"
#define OID_B "b123456789abcdef0123456789abcdef01234567"
#define LFS_C "c123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define FILE_(path, size, oid)                                                 \
    "{\"type\":\"file\",\"oid\":\"" oid "\",\"size\":" size                    \
    ",\"path\":\"" path "\"}"

static struct mlc_hf_tree *
make(const char *page, const char *more)
{
    struct mlc_hf_tree_builder *b = NULL;
    struct mlc_hf_tree *t = NULL;

    assert_int_equal(mlc_hf_tree_builder_new(&b), 0);
    assert_int_equal(mlc_hf_tree_add_page(b, page, strlen(page), NULL), 0);
    if (more)
        assert_int_equal(mlc_hf_tree_add_page(b, more, strlen(more), NULL), 0);
    assert_int_equal(mlc_hf_tree_finish(b, &t), 0);
    mlc_hf_tree_builder_free(b);
    return t;
}

static int
refused(const char *page)
{
    struct mlc_hf_tree_builder *b = NULL;
    char *err = NULL;
    int r;

    assert_int_equal(mlc_hf_tree_builder_new(&b), 0);
    r = mlc_hf_tree_add_page(b, page, strlen(page), &err);
    if (r == -EBADMSG)
        assert_non_null(err);
    free(err);
    mlc_hf_tree_builder_free(b);
    return r == -EBADMSG;
}

static int
emit(void *arg, const char *name, unsigned char type)
{
    char *out = arg;

    strcat(out, name);
    strcat(out, type == DT_DIR ? "/ " : type == DT_LNK ? "@ " : "? ");
    return 0;
}

static const char *
list(const struct mlc_hf_tree *t, const char *dir)
{
    static char out[1024];

    *out = '\0';
    if (mlc_hf_tree_list(t, dir, emit, out) < 0)
        return NULL;
    return out;
}

static void
hostile_listings_are_refused_whole(void **state)
{
    static const char *const pages[] = {
        "",
        "{}",
        "[",
        "<html></html>",
        "[1]",
        "[null]",
        "[{}]",
        "[{\"type\":\"file\"}]",
        "[" FILE_("../a", "1", OID_A) "]",
        "[" FILE_("a/../b", "1", OID_A) "]",
        "[" FILE_("/a", "1", OID_A) "]",
        "[" FILE_("", "1", OID_A) "]",
        "[" FILE_("a//b", "1", OID_A) "]",
        "[" FILE_("a/", "1", OID_A) "]",
        "[" FILE_("./a", "1", OID_A) "]",
        "[" FILE_("a\\\\b", "1", OID_A) "]",
        "[" FILE_("a\\nb", "1", OID_A) "]",
        "[" FILE_("a\\u0000b", "1", OID_A) "]",
        "[" FILE_("a", "-1", OID_A) "]",
        "[" FILE_("a", "9007199254740993", OID_A) "]",
        "[" FILE_("a", "1e3", OID_A) "]",
        "[" FILE_("a", "\"1\"", OID_A) "]",
        "[" FILE_("a", "1", "abc") "]",
        "[" FILE_("a", "1", LFS_C) "]",
        "[" FILE_("ok", "1", OID_A) "," FILE_("..", "1", OID_A) "]",
        "[{\"type\":\"link\",\"oid\":\"" OID_A "\",\"size\":1,\"path\":\"a\"}]",
        "[{\"type\":\"directory\",\"path\":\"..\"}]",
        "[{\"type\":\"file\",\"size\":1,\"path\":\"a\"}]",
        "[{\"type\":\"file\",\"oid\":\"" OID_A "\",\"path\":\"a\"}]",
        "[{\"type\":\"file\",\"oid\":\"" OID_A
        "\",\"size\":1,\"path\":\"a\",\"lfs\":{\"size\":2}}]",
        "[{\"type\":\"file\",\"oid\":\"" OID_A
        "\",\"size\":1,\"path\":\"a\",\"lfs\":{\"oid\":\"" OID_B "\"}}]",
        "[{\"type\":\"file\",\"oid\":\"" OID_A
        "\",\"size\":1,\"path\":\"a\",\"lfs\":{\"oid\":\"" LFS_C
        "\",\"size\":-2}}]",
    };
    char *page = calloc(1, 1024);

    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (!refused(pages[i]))
            fail_msg("accepted: %s", pages[i]);

    strcpy(page,
           "[{\"type\":\"file\",\"oid\":\"" OID_A "\",\"size\":1,\"path\":\"");
    memset(page + strlen(page), 'x', 256);
    strcat(page, "\"}]");
    assert_true(refused(page));
    free(page);
}

static void
files_are_found_with_size_and_etag(void **state)
{
    struct mlc_hf_tree *t =
        make("[{\"type\":\"directory\",\"oid\":\"x\",\"size\":0,"
             "\"path\":\"d\"},"
             "{\"type\":\"unknown\",\"path\":\"odd\"},"
             "{\"type\":\"file\",\"oid\":\"" OID_A "\",\"size\":134,"
             "\"path\":\"d/w.bin\",\"xetHash\":\"zz\",\"lfs\":{\"oid\":\"" LFS_C
             "\",\"size\":5000000000,\"pointerSize\":134}}]",
             "[" FILE_("c.json", "7", OID_B) "]");
    struct mlc_hf_file f;
    size_t i = 99;

    assert_int_equal(mlc_hf_tree_n_files(t), 2);
    assert_int_equal(mlc_hf_tree_find(t, "d/w.bin", &i), 0);
    mlc_hf_tree_get(t, i, &f);
    assert_string_equal(f.path, "d/w.bin");
    assert_string_equal(f.etag, LFS_C);
    assert_int_equal(f.size, 5000000000);
    assert_int_equal(mlc_hf_tree_find(t, "c.json", &i), 0);
    mlc_hf_tree_get(t, i, &f);
    assert_string_equal(f.etag, OID_B);
    assert_int_equal(f.size, 7);

    assert_int_equal(mlc_hf_tree_find(t, "", &i), -EISDIR);
    assert_int_equal(mlc_hf_tree_find(t, "d", &i), -EISDIR);
    assert_int_equal(mlc_hf_tree_find(t, "d/w", &i), -ENOENT);
    assert_int_equal(mlc_hf_tree_find(t, "d/w.bin/x", &i), -ENOENT);
    assert_int_equal(mlc_hf_tree_find(t, "odd", &i), -ENOENT);
    assert_int_equal(mlc_hf_tree_find(t, "zzz", &i), -ENOENT);

    assert_int_equal(mlc_hf_tree_find_etag(t, LFS_C, &i), 1);
    assert_int_equal(mlc_hf_tree_find_etag(t, OID_B, &i), 1);
    mlc_hf_tree_get(t, mlc_hf_tree_by_etag(t, i), &f);
    assert_string_equal(f.path, "c.json");
    /* The pointer's own id is no name of the file. */
    assert_int_equal(mlc_hf_tree_find_etag(t, OID_A, &i), 0);
    assert_int_equal(mlc_hf_tree_find_etag(t, "nonsense", &i), 0);
    mlc_hf_tree_unref(t);
}

static void
listings_show_direct_children_once(void **state)
{
    struct mlc_hf_tree *t =
        make(
            "[" FILE_("b/x", "1", OID_A) "," FILE_("a-", "1", OID_A) "," FILE_("a/2/y", "1", OID_A) "," FILE_(
                "a/1", "1",
                OID_A) "," FILE_("a/2/x", "1",
                                 OID_A) "," FILE_("a0", "1",
                                                  OID_A) "," FILE_("a/2.z", "1",
                                                                   OID_A) "," FILE_("b/x/y",
                                                                                    "1",
                                                                                    OID_A) "," FILE_("a/1",
                                                                                                     "2",
                                                                                                     OID_B) "]",
            NULL);
    struct mlc_hf_file f;
    size_t i;

    assert_string_equal(list(t, ""), "a-@ a/ a0@ b/ ");
    assert_string_equal(list(t, "a"), "1@ 2.z@ 2/ ");
    assert_string_equal(list(t, "a/2"), "x@ y@ ");
    /* A file that is a directory too: the directory stays. */
    assert_string_equal(list(t, "b"), "x/ ");
    assert_string_equal(list(t, "b/x"), "y@ ");
    assert_int_equal(mlc_hf_tree_find(t, "b/x", &i), -EISDIR);
    assert_null(list(t, "c"));
    assert_null(list(t, "a/1"));
    /* Of two of the same name the first one stays. */
    assert_int_equal(mlc_hf_tree_find(t, "a/1", &i), 0);
    mlc_hf_tree_get(t, i, &f);
    assert_string_equal(f.etag, OID_A);
    assert_int_equal(mlc_hf_tree_find_etag(t, OID_A, &i), 7);
    mlc_hf_tree_unref(t);

    t = make("[]", NULL);
    assert_int_equal(mlc_hf_tree_n_files(t), 0);
    assert_string_equal(list(t, ""), "");
    assert_int_equal(mlc_hf_tree_find(t, "a", &i), -ENOENT);
    assert_int_equal(mlc_hf_tree_find_etag(t, OID_A, &i), 0);
    mlc_hf_tree_unref(t);
}

static void
stored_trees_come_back_the_same(void **state)
{
    struct mlc_hf_tree *t =
        make("[" FILE_("q\\\"uote \xc3\xa9.txt", "3",
                       OID_B) ","
                              "{\"type\":\"file\",\"oid\":\"" OID_A
                              "\",\"size\":134,"
                              "\"path\":\"d/w.bin\",\"lfs\":{\"oid\":\"" LFS_C
                              "\",\"size\":12}}]",
             NULL);
    struct mlc_hf_tree *u = NULL;
    struct mlc_hf_file f;
    struct mlc_buf buf;
    size_t i;

    mlc_buf_init(&buf, 1 << 20);
    assert_int_equal(mlc_hf_tree_format(t, &buf), 0);
    /* As json.dumps(indent=1, sort_keys=True) has it. */
    assert_string_equal(
        buf.data, "{\n \"files\": {\n  \"d/w.bin\": {\n"
                  "   \"blob_id\": \"" OID_A "\",\n"
                  "   \"lfs_sha256\": \"" LFS_C "\",\n"
                  "   \"lfs_size\": 12,\n   \"size\": 12\n  },\n"
                  "  \"q\\\"uote \xc3\xa9.txt\": {\n"
                  "   \"blob_id\": \"" OID_B "\",\n   \"size\": 3\n  }\n },\n"
                  " \"format_version\": 1\n}");
    assert_int_equal(mlc_hf_tree_parse(buf.data, buf.len, &u), 0);
    assert_int_equal(mlc_hf_tree_n_files(u), 2);
    assert_int_equal(mlc_hf_tree_find(u, "q\"uote \xc3\xa9.txt", &i), 0);
    assert_int_equal(mlc_hf_tree_find(u, "d/w.bin", &i), 0);
    mlc_hf_tree_get(u, i, &f);
    assert_string_equal(f.etag, LFS_C);
    assert_int_equal(f.size, 12);
    mlc_buf_done(&buf);
    mlc_hf_tree_unref(t);
    mlc_hf_tree_unref(u);
}

static void
odd_stored_trees_are_not_believed(void **state)
{
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"format_version\":2,\"files\":{}}",
        "{\"format_version\":\"1\",\"files\":{}}",
        "{\"format_version\":1,\"files\":[]}",
        "{\"format_version\":1,\"files\":{\"a\":{\"size\":1}}}",
        "{\"format_version\":1,\"files\":{\"a\":{\"blob_id\":\"" OID_A "\"}}}",
        "{\"format_version\":1,\"files\":{\"../a\":{\"size\":1,\"blob_id\":"
        "\"" OID_A "\"}}}",
        "{\"format_version\":1,\"files\":{\"a\":{\"size\":1,\"blob_id\":"
        "\"" OID_A "\",\"xet_hash\":\"short\"}}}",
    };
    static const char good[] =
        "{\"files\":{\"a\":{\"size\":1,\"blob_id\":\"" OID_A
        "\",\"new\":[1]}},\"format_version\":1}";
    struct mlc_hf_tree *t = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (mlc_hf_tree_parse(bad[i], strlen(bad[i]), &t) != -EBADMSG)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(mlc_hf_tree_parse(good, strlen(good), &t), 0);
    mlc_hf_tree_unref(t);
}

static int
count(void *arg, const char *name, unsigned char type)
{
    (*(size_t *)arg)++;
    return 0;
}

static void
twenty_thousand_files_are_quick(void **state)
{
    struct mlc_hf_tree_builder *b = NULL;
    struct mlc_hf_tree *t = NULL;
    struct mlc_hf_tree *u = NULL;
    int64_t begin_ms = mlc_mono_ms();
    struct mlc_buf buf;
    size_t n = 0;
    size_t i;

    assert_int_equal(mlc_hf_tree_builder_new(&b), 0);
    mlc_buf_init(&buf, 64 << 20);
    for (size_t page = 0; page < 20; page++) {
        for (size_t k = 0; k < 1000; k++)
            assert_int_equal(
                mlc_buf_printf(&buf,
                               "%s{\"type\":\"file\",\"oid\":\"%040zx\","
                               "\"size\":%zu,\"path\":\"d%zu/f%zu.bin\"}",
                               k ? "," : "[", page * 1000 + k, k, k % 10,
                               page * 1000 + k),
                0);
        assert_int_equal(mlc_buf_puts(&buf, "]"), 0);
        assert_int_equal(mlc_hf_tree_add_page(b, buf.data, buf.len, NULL), 0);
        mlc_buf_done(&buf);
    }
    assert_int_equal(mlc_hf_tree_finish(b, &t), 0);
    mlc_hf_tree_builder_free(b);
    assert_int_equal(mlc_hf_tree_n_files(t), 20000);
    for (size_t k = 0; k < 20000; k++) {
        char path[64];
        char etag[41];

        snprintf(path, sizeof path, "d%zu/f%zu.bin", k % 10, k);
        assert_int_equal(mlc_hf_tree_find(t, path, &i), 0);
        snprintf(etag, sizeof etag, "%040zx", k);
        assert_int_equal(mlc_hf_tree_find_etag(t, etag, &i), 1);
    }
    assert_int_equal(mlc_hf_tree_list(t, "d3", count, &n), 0);
    assert_int_equal(n, 2000);
    n = 0;
    assert_int_equal(mlc_hf_tree_list(t, "", count, &n), 0);
    assert_int_equal(n, 10);
    assert_int_equal(mlc_hf_tree_format(t, &buf), 0);
    assert_int_equal(mlc_hf_tree_parse(buf.data, buf.len, &u), 0);
    assert_int_equal(mlc_hf_tree_n_files(u), 20000);
    mlc_buf_done(&buf);
    mlc_hf_tree_unref(t);
    mlc_hf_tree_unref(u);
    /* Some 0.1 s here; the limit is for quadratic mistakes only. */
    assert_true(mlc_mono_ms() - begin_ms < 10000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_listings_are_refused_whole),
        cmocka_unit_test(files_are_found_with_size_and_etag),
        cmocka_unit_test(listings_show_direct_children_once),
        cmocka_unit_test(stored_trees_come_back_the_same),
        cmocka_unit_test(odd_stored_trees_are_not_believed),
        cmocka_unit_test(twenty_thousand_files_are_quick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
