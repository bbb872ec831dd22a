/* SPDX-License-Identifier: MIT */
/* The grammar of HF_HOME: what the Hub decides about, and what never causes a
 * request. */
#include "config.h"

#include "backends/hf_path.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHA    "0123456789abcdef0123456789abcdef01234567"
#define SHA256 SHA "89abcdef0123456789abcdef"

static enum mlc_hf_where
where(const char *path)
{
    struct mlc_hf_path p;

    mlc_hf_path_parse(path, &p);
    return p.where;
}

static void
repo_folders_give_type_and_id(void **state)
{
    static const struct {
        const char *path, *id;
        enum mlc_hf_type type;
    } good[] = {
        {"hub/models--gpt2", "gpt2", MLC_HF_MODEL},
        {"hub/models--a--b", "a/b", MLC_HF_MODEL},
        {"hub/datasets--a.b_c-d--E.f", "a.b_c-d/E.f", MLC_HF_DATASET},
        {"hub/datasets--squad", "squad", MLC_HF_DATASET},
        {"hub/spaces--o--n", "o/n", MLC_HF_SPACE},
        {"hub/kernels--o--n", "o/n", MLC_HF_KERNEL},
    };
    struct mlc_hf_path p;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        mlc_hf_path_parse(good[i].path, &p);
        assert_int_equal(p.where, MLC_HF_REPO);
        assert_int_equal(p.type, good[i].type);
        assert_string_equal(p.id, good[i].id);
        assert_string_equal(p.folder, good[i].path + 4);
    }
}

static void
odd_folders_are_local(void **state)
{
    static const char *const names[] = {
        "hub/models--",
        "hub/models",
        "hub/model--a--b",
        "hub/models--a--",
        "hub/models----b",
        "hub/models--a--b--c",
        "hub/models---a--b",
        "hub/models--a---b",
        "hub/models--a--.b",
        "hub/models--a--b.",
        "hub/models--a.--b",
        "hub/models--a--b..c",
        "hub/models--a--b.git",
        "hub/models--a--b c",
        "hub/models--a--b%2f",
        "hub/models--\xc3\xa9",
        "hub/spaces--n",
        "hub/Models--a--b",
        "hub/.locks",
        "hub/tmpab12cd34",
        "hub/version.txt",
        "hub/blobs/ab",
        "token",
        "hubs/models--a--b",
        "datasets/x",
        "hub/CACHEDIR.TAG/x",
        ".locks/models--a--b",
        "xet/logs",
        "models--a--b",
    };
    char *longest = calloc(1, 300);

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(where(names[i]), MLC_HF_LOCAL);

    strcpy(longest, "hub/models--");
    memset(longest + 12, 'a', 96);
    assert_int_equal(where(longest), MLC_HF_REPO);
    memset(longest + 12, 'a', 97);
    assert_int_equal(where(longest), MLC_HF_LOCAL);
    memset(longest + 12, 'a', 250);
    assert_int_equal(where(longest), MLC_HF_LOCAL);
    free(longest);
}

static void
places_that_are_always_there_are_known(void **state)
{
    assert_int_equal(where(""), MLC_HF_ROOT);
    assert_int_equal(where("hub"), MLC_HF_HUB);
    assert_int_equal(where("hub/CACHEDIR.TAG"), MLC_HF_TAG);
    assert_int_equal(where("hub/blobs"), MLC_HF_SHARED);
    assert_int_equal(where("hub/models--a--b/blobs"), MLC_HF_BLOBS);
    assert_int_equal(where("hub/models--a--b/refs"), MLC_HF_REFS);
    assert_int_equal(where("hub/models--a--b/snapshots"), MLC_HF_SNAPSHOTS);
    assert_int_equal(where("hub/models--a--b/trees"), MLC_HF_TREES);
    assert_int_equal(where("hub/models--a--b/.no_exist"), MLC_HF_NO_EXIST);
    assert_int_equal(where("hub/models--a--b/tmp0a1b2c3d"), MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/tmpx/dummy"), MLC_HF_LOCAL);
}

static void
only_whole_etags_are_blobs(void **state)
{
    struct mlc_hf_path p;

    mlc_hf_path_parse("hub/models--a--b/blobs/" SHA, &p);
    assert_int_equal(p.where, MLC_HF_BLOB);
    assert_string_equal(p.rest, SHA);
    assert_int_equal(where("hub/models--a--b/blobs/" SHA256), MLC_HF_BLOB);
    assert_int_equal(
        where("hub/models--a--b/blobs/" SHA ".1a2b3c4d.incomplete"),
        MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/blobs/" SHA ".incomplete"),
                     MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/blobs/tmp_1-2-3"), MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/blobs/." SHA ".1a2b3c4d.new"),
                     MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/blobs/" SHA "/x"), MLC_HF_LOCAL);
}

static void
refs_follow_git(void **state)
{
    static const char *const good[] = {
        "main",    "v1.0", "refs/pr/1", "refs/convert/parquet", "a/b",
        "0123abc", "refs", "x.tmp",     "main.1a2b3c4d.tmpx",   "main.123.tmp",
        "@",       "a%2Fb"};
    static const char *const bad[] = {"a b",
                                      "a~1",
                                      "a^",
                                      "a:b",
                                      "a?",
                                      "a*",
                                      "a[b",
                                      "a\\b",
                                      "a..b",
                                      "a.lock",
                                      "a.lock/b",
                                      ".a",
                                      "a/.b",
                                      "a.",
                                      "a\x01",
                                      "a\x7f",
                                      "a@{1}",
                                      SHA,
                                      "main.1a2b3c4d.tmp",
                                      "a/b.00000000.tmp"};
    struct mlc_hf_path p;
    char path[128];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (strcmp(good[i], "@") == 0)
            continue;
        snprintf(path, sizeof path, "hub/models--a--b/refs/%s", good[i]);
        mlc_hf_path_parse(path, &p);
        assert_int_equal(p.where, MLC_HF_REF);
        assert_string_equal(p.rest, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(path, sizeof path, "hub/models--a--b/refs/%s", bad[i]);
        assert_int_equal(where(path), MLC_HF_LOCAL);
    }
    assert_false(mlc_hf_rev_is_valid("@"));
    assert_false(mlc_hf_rev_is_valid(""));
    assert_false(mlc_hf_rev_is_valid("/a"));
    assert_false(mlc_hf_rev_is_valid("a//b"));
    assert_false(mlc_hf_rev_is_valid("a/"));
}

static void
commits_are_forty_lower_digits(void **state)
{
    struct mlc_hf_path p;

    mlc_hf_path_parse("hub/models--a--b/snapshots/" SHA "/x/y.bin", &p);
    assert_int_equal(p.where, MLC_HF_SNAPSHOT);
    assert_string_equal(p.commit, SHA);
    assert_string_equal(p.rest, "x/y.bin");
    mlc_hf_path_parse("hub/models--a--b/snapshots/" SHA, &p);
    assert_int_equal(p.where, MLC_HF_SNAPSHOT);
    assert_string_equal(p.rest, "");
    mlc_hf_path_parse("hub/models--a--b/.no_exist/" SHA "/c.json", &p);
    assert_int_equal(p.where, MLC_HF_ABSENT);
    assert_string_equal(p.rest, "c.json");
    mlc_hf_path_parse("hub/models--a--b/trees/" SHA ".json", &p);
    assert_int_equal(p.where, MLC_HF_TREE);
    assert_string_equal(p.commit, SHA);

    assert_int_equal(where("hub/models--a--b/snapshots/main"), MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/snapshots/" SHA "0"),
                     MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/snapshots/"
                           "0123456789ABCDEF0123456789abcdef01234567"),
                     MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/trees/tmpabcdefgh.tmp"),
                     MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/trees/" SHA), MLC_HF_LOCAL);
    assert_int_equal(where("hub/models--a--b/trees/" SHA ".json/x"),
                     MLC_HF_LOCAL);
}

static void
pointers_climb_as_deep_as_their_path(void **state)
{
    char *s = mlc_hf_pointer_text("config.json", SHA);

    assert_string_equal(s, "../../blobs/" SHA);
    free(s);
    s = mlc_hf_pointer_text("a/b/x.bin", SHA256);
    assert_string_equal(s, "../../../../blobs/" SHA256);
    free(s);
}

static void
next_pages_stay_on_the_endpoint(void **state)
{
    char *s = NULL;

    assert_int_equal(
        mlc_hf_next_url("<https://huggingface.co/api/models/a/b/tree/c?x=1&"
                        "cursor=Q%3D>; rel=\"next\"",
                        "http://localhost:1/mirror", &s),
        0);
    assert_string_equal(s, "http://localhost:1/mirror/api/models/a/b/tree/"
                           "c?x=1&cursor=Q%3D");
    free(s);
    assert_int_equal(mlc_hf_next_url("<http://h/api/models/a?p=1>; rel=\"prev\""
                                     ", <http://h/api/models/a?p=3>; "
                                     "rel=\"next\"",
                                     "http://h", &s),
                     0);
    assert_string_equal(s, "http://h/api/models/a?p=3");
    free(s);
    assert_int_equal(
        mlc_hf_next_url("</api/models/a?p=3>; rel=next", "http://h", &s), 0);
    assert_string_equal(s, "http://h/api/models/a?p=3");
    free(s);

    /* Quoted text is text, a relation may have several types in any case. */
    assert_int_equal(mlc_hf_next_url("<http://h/api/1>;title=\"a, <b>; "
                                     "rel=next \\\" \";rel=prev,"
                                     "<http://h/api/2,3>;REL = \"last NEXT\"; "
                                     "rel=up,</api/4>; rel=\"next\"",
                                     "http://h", &s),
                     0);
    assert_string_equal(s, "http://h/api/2,3");
    free(s);
    assert_int_equal(mlc_hf_next_url("</api/1>; rel=\"nextish\", </api/2>; "
                                     "xrel=next; rel, </api/3>; rel=\"next",
                                     "http://h", &s),
                     0);
    assert_string_equal(s, "http://h/api/3");
    free(s);

    assert_int_equal(mlc_hf_next_url("", "http://h", &s), 0);
    assert_null(s);
    assert_int_equal(
        mlc_hf_next_url("<http://h/api/x>; rel=\"xet-auth\"", "http://h", &s),
        0);
    assert_null(s);
    assert_int_equal(
        mlc_hf_next_url("<http://evil/x>; rel=\"next\"", "http://h", &s),
        -EBADMSG);
    assert_int_equal(mlc_hf_next_url("<http://h/api/x", "http://h", &s),
                     -EBADMSG);
    assert_int_equal(
        mlc_hf_next_url("<http://h/api/x\r\ny>; rel=\"next\"", "http://h", &s),
        -EBADMSG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repo_folders_give_type_and_id),
        cmocka_unit_test(odd_folders_are_local),
        cmocka_unit_test(places_that_are_always_there_are_known),
        cmocka_unit_test(only_whole_etags_are_blobs),
        cmocka_unit_test(refs_follow_git),
        cmocka_unit_test(commits_are_forty_lower_digits),
        cmocka_unit_test(pointers_climb_as_deep_as_their_path),
        cmocka_unit_test(next_pages_stay_on_the_endpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
