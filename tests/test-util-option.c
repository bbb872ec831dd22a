/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/option.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/util/clock.h"

static const struct mlc_option table[] = {
    {"offline", MLC_OPT_FLAG, NULL, "MLC_T_OFFLINE", NULL, "no network"},
    {"only", MLC_OPT_STRING, "DOMAIN", "MLC_T_ONLY", NULL, "one domain"},
    {"endpoint", MLC_OPT_URL, "URL", "MLC_T_URL", "https://hub", "the Hub"},
    {"expiry", MLC_OPT_TIME, "TIME", "MLC_T_TIME", "hours=12", "expiry"},
    {"memory", MLC_OPT_SIZE, "SIZE", "MLC_T_SIZE", "256M", "memory"},
    {"connections", MLC_OPT_COUNT, "N", NULL, "16", "connections"},
    {"umask", MLC_OPT_OCTAL, "MASK", NULL, NULL, "mask"},
    {"uid", MLC_OPT_ID, "ID", NULL, NULL, "owner"},
    {"stale", MLC_OPT_CHOICE, "never|on-error", NULL, "never", "stale"},
    {NULL, MLC_OPT_FLAG, NULL, NULL, NULL, NULL},
};

static int
setup(void **state)
{
    struct mlc_options *o = mlc_options_new();

    unsetenv("MLC_T_OFFLINE");
    unsetenv("MLC_T_ONLY");
    unsetenv("MLC_T_URL");
    unsetenv("MLC_T_TIME");
    unsetenv("MLC_T_SIZE");
    *state = o;
    return o ? mlc_options_add_table(o, table) : -1;
}

static int
teardown(void **state)
{
    mlc_options_free(*state);
    return 0;
}

static void
set(struct mlc_options *o, const char *name, const char *value)
{
    assert_int_equal(mlc_options_set(o, name, value, NULL), 0);
}

static void
assert_refused(struct mlc_options *o, const char *name, const char *value,
               const char *sentence)
{
    char *err = NULL;

    assert_int_equal(mlc_options_set(o, name, value, &err), -EINVAL);
    assert_non_null(err);
    assert_string_equal(err, sentence);
    free(err);
    assert_int_equal(mlc_options_set(o, name, value, NULL), -EINVAL);
}

static void
values_have_their_type(void **state)
{
    struct mlc_options *o = *state;

    set(o, "offline", NULL);
    set(o, "only", "hf");
    set(o, "endpoint", "HTTP://localhost:8080/x");
    set(o, "expiry", "seconds=1.5");
    set(o, "memory", "1M");
    set(o, "connections", "1024");
    set(o, "umask", "0022");
    set(o, "uid", "1000");
    set(o, "stale", "on-error");
    assert_int_equal(mlc_options_finish(o, NULL), 0);

    assert_true(mlc_opt_flag(o, "offline"));
    assert_string_equal(mlc_opt_str(o, "only"), "hf");
    assert_string_equal(mlc_opt_str(o, "endpoint"), "HTTP://localhost:8080/x");
    assert_int_equal(mlc_opt_time_ms(o, "expiry"), 1500);
    assert_int_equal(mlc_opt_size(o, "memory"), 1 << 20);
    assert_int_equal(mlc_opt_number(o, "connections"), 1024);
    assert_int_equal(mlc_opt_number(o, "umask"), 022);
    assert_int_equal(mlc_opt_number(o, "uid"), 1000);
    assert_string_equal(mlc_opt_str(o, "stale"), "on-error");
    assert_true(mlc_opt_is_given(o, "stale"));
}

static void
defaults_fill_what_was_not_given(void **state)
{
    struct mlc_options *o = *state;

    assert_int_equal(mlc_options_finish(o, NULL), 0);
    assert_false(mlc_opt_flag(o, "offline"));
    assert_null(mlc_opt_str(o, "offline"));
    assert_null(mlc_opt_str(o, "only"));
    assert_string_equal(mlc_opt_str(o, "endpoint"), "https://hub");
    assert_int_equal(mlc_opt_time_ms(o, "expiry"), 12 * 3600 * 1000);
    assert_int_equal(mlc_opt_size(o, "memory"), 256 << 20);
    assert_int_equal(mlc_opt_number(o, "umask"), 0);
    assert_null(mlc_opt_str(o, "umask"));
    assert_false(mlc_opt_is_given(o, "memory"));
    assert_null(mlc_opt_str(o, "unheard-of"));
}

static void
environment_beats_defaults_and_is_beaten(void **state)
{
    struct mlc_options *o = *state;

    setenv("MLC_T_SIZE", "1k", 1);
    setenv("MLC_T_URL", "https://mirror", 1);
    setenv("MLC_T_OFFLINE", "yes", 1);
    set(o, "endpoint", "https://given");
    assert_int_equal(mlc_options_finish(o, NULL), 0);
    assert_int_equal(mlc_opt_size(o, "memory"), 1024);
    assert_string_equal(mlc_opt_str(o, "endpoint"), "https://given");
    assert_true(mlc_opt_flag(o, "offline"));
    assert_false(mlc_opt_is_given(o, "offline"));
}

static void
empty_variables_count_for_time_only(void **state)
{
    struct mlc_options *o = *state;

    setenv("MLC_T_SIZE", "", 1);
    setenv("MLC_T_URL", "", 1);
    setenv("MLC_T_ONLY", "", 1);
    setenv("MLC_T_TIME", "", 1);
    assert_int_equal(mlc_options_finish(o, NULL), 0);
    assert_int_equal(mlc_opt_size(o, "memory"), 256 << 20);
    assert_string_equal(mlc_opt_str(o, "endpoint"), "https://hub");
    assert_null(mlc_opt_str(o, "only"));
    assert_true(mlc_opt_time_ms(o, "expiry") == MLC_NEVER_MS);
}

static void
bad_variables_are_named(void **state)
{
    struct mlc_options *o = *state;
    char *err = NULL;

    setenv("MLC_T_SIZE", "12Q", 1);
    assert_int_equal(mlc_options_finish(o, &err), -EINVAL);
    assert_string_equal(err, "memory=12Q (from $MLC_T_SIZE): expected a size "
                             "such as 512M (k, M, G, T)");
    free(err);
}

static void
errors_say_what_was_expected(void **state)
{
    struct mlc_options *o = *state;

    assert_refused(o, "memory", "12Q",
                   "memory=12Q: expected a size such as 512M (k, M, G, T)");
    assert_refused(o, "memory", "99999999T",
                   "memory=99999999T: too large a size");
    assert_refused(o, "expiry", "days=1;years=2",
                   "expiry=days=1;years=2: \"years\": expected weeks, days, "
                   "hours, minutes, seconds, milliseconds or microseconds");
    assert_refused(o, "connections", "0",
                   "connections=0: expected a whole number from 1 to 1024");
    assert_refused(o, "connections", "1025",
                   "connections=1025: expected a whole number from 1 to 1024");
    assert_refused(o, "umask", "8",
                   "umask=8: expected an octal number such as 022");
    assert_refused(o, "umask", "10000",
                   "umask=10000: expected an octal number such as 022");
    assert_refused(o, "uid", "root", "uid=root: expected a numeric id");
    assert_refused(o, "uid", "4294967295",
                   "uid=4294967295: expected a numeric id");
    assert_refused(o, "stale", "on",
                   "stale=on: expected one of never|on-error");
    assert_refused(o, "stale", "", "stale=: expected one of never|on-error");
}

static void
urls_are_http_with_a_host(void **state)
{
    struct mlc_options *o = *state;

    assert_refused(o, "endpoint", "ftp://x",
                   "endpoint=ftp://x: expected a URL that begins with http:// "
                   "or https://");
    assert_int_equal(mlc_options_set(o, "endpoint", "https://", NULL), -EINVAL);
    assert_int_equal(mlc_options_set(o, "endpoint", "https:///x", NULL),
                     -EINVAL);
    assert_int_equal(mlc_options_set(o, "endpoint", "https://a b", NULL),
                     -EINVAL);
}

static void
errors_hide_passwords_in_urls(void **state)
{
    assert_refused(*state, "endpoint", "ftp://me:secret@x/?sig=1",
                   "endpoint=ftp://…@x/?…: expected a URL that begins with "
                   "http:// or https://");
}

static void
flags_take_no_value_and_others_need_one(void **state)
{
    assert_refused(*state, "offline", "1", "offline=1: expected no value");
    assert_refused(*state, "memory", NULL,
                   "memory: a value is missing: expected a size such as 512M "
                   "(k, M, G, T)");
    assert_refused(*state, "stale", NULL,
                   "stale: a value is missing: expected one of "
                   "never|on-error");
}

static void
last_one_wins_and_errors_change_nothing(void **state)
{
    struct mlc_options *o = *state;

    set(o, "memory", "1k");
    set(o, "memory", "2k");
    assert_int_equal(mlc_options_set(o, "memory", "x", NULL), -EINVAL);
    assert_int_equal(mlc_opt_size(o, "memory"), 2048);
    assert_string_equal(mlc_opt_str(o, "memory"), "2k");
}

static void
unknown_options_are_enoent(void **state)
{
    char *err = NULL;

    assert_int_equal(mlc_options_set(*state, "big_writes", NULL, &err),
                     -ENOENT);
    assert_null(err);
}

static void
a_name_stands_once(void **state)
{
    static const struct mlc_option again[] = {
        {"fresh", MLC_OPT_FLAG, NULL, NULL, NULL, NULL},
        {"memory", MLC_OPT_FLAG, NULL, NULL, NULL, NULL},
        {NULL, MLC_OPT_FLAG, NULL, NULL, NULL, NULL},
    };
    struct mlc_options *o = *state;

    assert_int_equal(mlc_options_add_table(o, again), -EEXIST);
    assert_int_equal(mlc_options_set(o, "fresh", NULL, NULL), -ENOENT);
}

static void
append_name(const struct mlc_option *row, void *arg)
{
    strcat(arg, row->name);
    strcat(arg, " ");
}

static void
each_shows_all_tables_in_order(void **state)
{
    static const struct mlc_option more[] = {
        {"hf_ref", MLC_OPT_STRING, NULL, NULL, NULL, NULL},
        {NULL, MLC_OPT_FLAG, NULL, NULL, NULL, NULL},
    };
    char names[200] = "";

    assert_int_equal(mlc_options_add_table(*state, more), 0);
    mlc_options_each(*state, append_name, names);
    assert_string_equal(names, "offline only endpoint expiry memory "
                               "connections umask uid stale hf_ref ");
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(values_have_their_type),
        TEST(defaults_fill_what_was_not_given),
        TEST(environment_beats_defaults_and_is_beaten),
        TEST(empty_variables_count_for_time_only),
        TEST(bad_variables_are_named),
        TEST(errors_say_what_was_expected),
        TEST(urls_are_http_with_a_host),
        TEST(errors_hide_passwords_in_urls),
        TEST(flags_take_no_value_and_others_need_one),
        TEST(last_one_wins_and_errors_change_nothing),
        TEST(unknown_options_are_enoent),
        TEST(a_name_stands_once),
        TEST(each_shows_all_tables_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
