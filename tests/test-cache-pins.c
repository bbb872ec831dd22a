/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/pins.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64];
    int fd;
    struct mlc_pins *p;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->dir, "/tmp/mlc-pins.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY);
    assert_true(f->fd >= 0);
    assert_int_equal(mlc_pins_open(f->fd, &f->p), 0);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_pins_close(f->p);
    unlinkat(f->fd, "pins", 0);
    close(f->fd);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void
reopen(struct fixture *f)
{
    mlc_pins_close(f->p);
    f->p = NULL;
    assert_int_equal(mlc_pins_open(f->fd, &f->p), 0);
}

static void
a_pin_survives_a_restart(void **state)
{
    struct fixture *f = *state;

    assert_false(mlc_pins_any(f->p));
    assert_int_equal(mlc_pins_set(f->p, "hf/hub/a b%\n", true), 0);
    assert_int_equal(mlc_pins_set(f->p, "hf/hub/a b%\n", true), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(mlc_pins_any(f->p));
        assert_true(mlc_pins_has(f->p, "hf/hub/a b%\n"));
        assert_false(mlc_pins_has(f->p, "hf/hub/a b"));
        reopen(f);
    }
    assert_int_equal(mlc_pins_set(f->p, "hf/hub/a b%\n", false), 0);
    assert_int_equal(mlc_pins_set(f->p, "hf/hub/a b%\n", false), 0);
    reopen(f);
    assert_false(mlc_pins_any(f->p));
}

static void
a_directory_pins_what_is_below_it(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mlc_pins_set(f->p, "web/a/b", true), 0);
    assert_true(mlc_pins_has(f->p, "web/a/b"));
    assert_true(mlc_pins_has(f->p, "web/a/b/c/d"));
    assert_false(mlc_pins_has(f->p, "web/a/bc"));
    assert_false(mlc_pins_has(f->p, "web/a"));
    assert_true(mlc_pins_touches(f->p, "web/a"));
    assert_true(mlc_pins_touches(f->p, "web/a/b/c"));
    assert_false(mlc_pins_touches(f->p, "web/b"));
}

struct seen {
    char text[100];
    unsigned n, limit;
};

static bool
see(void *arg, const char *path)
{
    struct seen *s = arg;

    strcat(strcat(s->text, path), " ");
    return ++s->n == s->limit;
}

static void
each_of_a_directory_is_told(void **state)
{
    struct fixture *f = *state;
    struct seen s = {0}, two = {.limit = 2};

    assert_int_equal(mlc_pins_set(f->p, "web/c", true), 0);
    assert_int_equal(mlc_pins_set(f->p, "web/a", true), 0);
    assert_int_equal(mlc_pins_set(f->p, "web", true), 0);
    assert_int_equal(mlc_pins_set(f->p, "webb", true), 0);
    assert_int_equal(mlc_pins_set(f->p, "hf/x", true), 0);
    assert_false(mlc_pins_each(f->p, "web", see, &s));
    assert_string_equal(s.text, "web web/a web/c ");
    assert_true(mlc_pins_each(f->p, "web", see, &two));
    assert_string_equal(two.text, "web web/a ");
    assert_false(mlc_pins_each(NULL, "web", see, &s));
}

static void
what_is_no_list_is_refused(void **state)
{
    static const char *const texts[] = {"nonsense\n", "mlcachefs pins 1\na%\n",
                                        "mlcachefs pins 1\na%00b\n", ""};
    struct fixture *f = *state;

    mlc_pins_close(f->p);
    f->p = NULL;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int fd = openat(f->fd, "pins", O_WRONLY | O_CREAT | O_TRUNC, 0600);

        assert_int_equal(write(fd, texts[i], strlen(texts[i])),
                         strlen(texts[i]));
        close(fd);
        assert_int_equal(mlc_pins_open(f->fd, &f->p), -EBADMSG);
    }
}

static void
there_is_a_bound(void **state)
{
    struct fixture *f = *state;
    int fd = openat(f->fd, "pins", O_WRONLY | O_CREAT | O_TRUNC, 0600);

    mlc_pins_close(f->p);
    f->p = NULL;
    dprintf(fd, "mlcachefs pins 1\n");
    for (int i = 0; i < 10000; i++)
        dprintf(fd, "p%d\n", i);
    close(fd);
    assert_int_equal(mlc_pins_open(f->fd, &f->p), 0);
    assert_true(mlc_pins_has(f->p, "p9999"));
    assert_int_equal(mlc_pins_set(f->p, "more", true), -ENOSPC);
    assert_int_equal(mlc_pins_set(f->p, "p1", false), 0);
    assert_int_equal(mlc_pins_set(f->p, "more", true), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pin_survives_a_restart),
        TEST(a_directory_pins_what_is_below_it),
        TEST(each_of_a_directory_is_told),
        TEST(what_is_no_list_is_refused),
        TEST(there_is_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
