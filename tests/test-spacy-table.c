/* SPDX-License-Identifier: MIT */
/* The table of models, and the paths that follow from it. */
#include "config.h"

#include "backends/spacy_path.h"
#include "backends/spacy_table.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mlc_spacy_table *
join(const struct mlc_spacy_table *base, const char *text, const char *minor)
{
    struct mlc_spacy_table *t = NULL;

    assert_int_equal(
        mlc_spacy_table_new(base, text, strlen(text), minor, &t, NULL), 0);
    return t;
}

static void
assert_refused(const char *text, const char *wanted)
{
    struct mlc_spacy_table *t = NULL;
    const char *why = NULL;

    assert_int_equal(
        mlc_spacy_table_new(NULL, text, strlen(text), NULL, &t, &why),
        -EBADMSG);
    assert_string_equal(why, wanted);
}

static void
snapshot_has_every_row(void **state)
{
    static const struct {
        const char *name, *version;
    } some[] = {
        {"en_core_web_sm", "3.8.0"},  {"en_core_web_sm", "3.7.1"},
        {"en_core_web_sm", "3.7.0"},  {"en_core_web_lg", "3.0.0"},
        {"zh_core_web_trf", "3.8.0"}, {"xx_sent_ud_sm", "3.8.0"},
        {"xx_ent_wiki_sm", "3.0.0"},
    };
    struct mlc_spacy_table *t = NULL;
    const struct mlc_spacy_model *m;
    size_t n_shown = 0;

    assert_int_equal(mlc_spacy_table_new(NULL, NULL, 0, NULL, &t, NULL), 0);
    for (size_t i = 0; i < mlc_spacy_table_count(t); i++) {
        m = mlc_spacy_table_at(t, i);
        assert_true(mlc_spacy_is_name(m->name));
        assert_true(mlc_spacy_is_likely_name(m->name));
        n_shown += m->shown != NULL;
        for (size_t k = 0; k < m->n_versions; k++)
            assert_true(mlc_spacy_is_version(m->versions[k]));
    }
    assert_int_equal(n_shown, 84);
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        m = mlc_spacy_table_find(t, some[i].name);
        assert_non_null(m);
        assert_true(mlc_spacy_model_has(m, some[i].version));
    }
    m = mlc_spacy_table_find(t, "en_core_web_sm");
    assert_string_equal(m->versions[0], "3.8.0");
    assert_string_equal(m->shown, "3.8.0");
    assert_false(mlc_spacy_model_has(m, "2.3.0"));
    assert_null(mlc_spacy_table_find(t, "en"));
    mlc_spacy_table_unref(t);
}

static void
minor_chooses_what_is_shown(void **state)
{
    struct mlc_spacy_table *t = NULL;

    assert_int_equal(mlc_spacy_table_new(NULL, NULL, 0, "3.7", &t, NULL), 0);
    assert_string_equal(mlc_spacy_table_find(t, "en_core_web_sm")->shown,
                        "3.7.1");
    mlc_spacy_table_unref(t);
    assert_int_equal(mlc_spacy_table_new(NULL, NULL, 0, "9.9", &t, NULL), 0);
    assert_null(mlc_spacy_table_find(t, "en_core_web_sm")->shown);
    mlc_spacy_table_unref(t);
    /* By number, not by text. */
    t = join(NULL, "{\"3.10\": {\"aa_b_c_sm\": [\"3.10.0\"]}}", NULL);
    assert_string_equal(mlc_spacy_table_find(t, "aa_b_c_sm")->shown, "3.10.0");
    assert_null(mlc_spacy_table_find(t, "en_core_web_sm")->shown);
    mlc_spacy_table_unref(t);
}

static void
joined_rows_come_first_and_none_is_lost(void **state)
{
    struct mlc_spacy_table *a, *b;
    const struct mlc_spacy_model *m;
    const char *text;
    size_t len;

    a = join(NULL,
             "{\"spacy\": {\"3.8\": {\"en_core_web_sm\": [\"3.8.1\"],"
             "\"aa_b_c_sm\": [\"3.8.0\"]}}}",
             NULL);
    m = mlc_spacy_table_find(a, "en_core_web_sm");
    assert_string_equal(m->shown, "3.8.1");
    assert_true(mlc_spacy_model_has(m, "3.8.0"));
    assert_string_equal(m->versions[0], "3.8.1");
    b = join(a, "{\"3.9\": {\"dd_e_f_sm\": [\"3.9.0\"]}}", "3.8");
    assert_non_null(mlc_spacy_table_find(b, "aa_b_c_sm"));
    assert_string_equal(mlc_spacy_table_find(b, "en_core_web_sm")->shown,
                        "3.8.1");
    assert_null(mlc_spacy_table_find(b, "dd_e_f_sm")->shown);
    /* What it keeps on disk is what it reads. */
    text = mlc_spacy_table_text(b, &len);
    mlc_spacy_table_unref(a);
    a = join(NULL, text, "3.8");
    assert_string_equal(mlc_spacy_table_text(a, &len), text);
    mlc_spacy_table_unref(a);
    mlc_spacy_table_unref(b);
}

static void
unfit_names_and_versions_are_left_out(void **state)
{
    struct mlc_spacy_table *t;
    char text[20000], *p = text;

    p += sprintf(p, "{\"3.8\": {\"../x\": [\"3.8.0\"], \"\": [\"3.8.0\"],"
                    "\"a/b\": [\"3.8.0\"], \"\xc3\xa9\": [\"3.8.0\"], \"");
    memset(p, 'a', 10000);
    p += 10000;
    strcpy(p,
           "\": [\"3.8.0\"], \"aa_b_c_sm\": [\"../1\", \"\", \"v1\", 5, null,"
           "\"3.8.0/x\", \"3.8.0\", \"3.8.0\"], \"aa_b_c_md\": \"3.8.0\","
           "\"aa_b_c_lg\": []}, \"2.3\": {\"old_one\": [\"2.3.0\"]}}");
    t = join(NULL, text, NULL);
    assert_null(mlc_spacy_table_find(t, "../x"));
    assert_null(mlc_spacy_table_find(t, ""));
    assert_null(mlc_spacy_table_find(t, "a/b"));
    assert_null(mlc_spacy_table_find(t, "aa_b_c_md"));
    assert_null(mlc_spacy_table_find(t, "aa_b_c_lg"));
    assert_null(mlc_spacy_table_find(t, "old_one"));
    assert_int_equal(mlc_spacy_table_find(t, "aa_b_c_sm")->n_versions, 1);
    mlc_spacy_table_unref(t);
}

static void
garbage_is_refused(void **state)
{
    char *many = malloc(4 << 20), *p = many;

    assert_non_null(many);
    assert_refused("", "not JSON");
    assert_refused("<html>", "not JSON");
    assert_refused("[]", "not an object");
    assert_refused("{\"spacy\": 5}", "not an object");
    assert_refused("{}", "not one row for spaCy 3");
    assert_refused("{\"spacy\": {}}", "not one row for spaCy 3");
    assert_refused("{\"3.8\": 5}", "not one row for spaCy 3");
    assert_refused("{\"2.0\": {\"a\": [\"2.0.0\"]}}",
                   "not one row for spaCy 3");
    p += sprintf(p, "{\"3.8\": {");
    for (int i = 0; i < 100000; i++)
        p += sprintf(p, "\"a%d\": [\"3.8.0\"],", i);
    strcpy(p, "\"b\": [\"3.8.0\"]}}");
    assert_refused(many, "too many rows");
    free(many);
}

static void
assert_path(const char *path, enum mlc_spacy_where where, const char *name,
            const char *version, const char *rest)
{
    struct mlc_spacy_path p;

    mlc_spacy_path_parse(path, &p);
    assert_int_equal(p.where, where);
    if (where == MLC_SPACY_LOCAL)
        return;
    assert_string_equal(p.name, name);
    assert_string_equal(p.version, version);
    assert_string_equal(p.rest, rest);
}

static void
paths_are_told_apart(void **state)
{
    char path[1000];

    assert_path("", MLC_SPACY_ROOT, "", "", "");
    assert_path("compatibility.json", MLC_SPACY_TABLE, "", "", "");
    assert_path("a_b", MLC_SPACY_MODEL, "a_b", "", "");
    assert_path("a_b/__init__.py", MLC_SPACY_TOP, "a_b", "", "__init__.py");
    assert_path("a_b/a_b-3.8.0", MLC_SPACY_DATA, "a_b", "3.8.0", "");
    assert_path("a_b/a_b-3.8.0/c/d", MLC_SPACY_DATA, "a_b", "3.8.0", "c/d");
    assert_path("a_b-3.8.0.dist-info", MLC_SPACY_INFO, "a_b", "3.8.0", "");
    assert_path("a_b-3.8.0.dist-info/METADATA", MLC_SPACY_INFO_FILE, "a_b",
                "3.8.0", "METADATA");
    assert_path("a_b/c_d-3.8.0", MLC_SPACY_TOP, "a_b", "", "c_d-3.8.0");
    for (size_t i = 0; i < 7; i++) {
        static const char *const local[] = {".lock",
                                            "a_b/__pycache__/x",
                                            "a_b/c_d-3.8.0/x",
                                            "a-3.8.0.dist-info/a/b",
                                            "-3.8.0.dist-info",
                                            "a-.dist-info",
                                            "a_b-3.8.0.whl"};

        assert_path(local[i], MLC_SPACY_LOCAL, "", "", "");
    }
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_path(path, MLC_SPACY_LOCAL, "", "", "");
    assert_true(mlc_spacy_is_likely_name("en_core_web_sm"));
    assert_true(mlc_spacy_is_likely_name("xx_sent_ud_trf"));
    assert_false(mlc_spacy_is_likely_name("en_core_web"));
    assert_false(mlc_spacy_is_likely_name("en_core_web_xl"));
    assert_false(mlc_spacy_is_likely_name("en__web_sm"));
    assert_false(mlc_spacy_is_likely_name("eng_core_web_sm"));
    assert_false(mlc_spacy_is_likely_name("en_core_web_sm_x"));
    assert_false(mlc_spacy_is_likely_name("_lock"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshot_has_every_row),
        cmocka_unit_test(minor_chooses_what_is_shown),
        cmocka_unit_test(joined_rows_come_first_and_none_is_lost),
        cmocka_unit_test(unfit_names_and_versions_are_left_out),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(paths_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
