/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/ledger.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64];
    int fd;
    struct mlc_ledger *l;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->dir, "/tmp/mlc-ledger.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY);
    assert_true(f->fd >= 0);
    assert_int_equal(mlc_ledger_open(f->fd, &f->l), 0);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_ledger_close(f->l);
    unlinkat(f->fd, "ledger", 0);
    close(f->fd);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void
reopen(struct fixture *f)
{
    mlc_ledger_close(f->l);
    f->l = NULL;
    assert_int_equal(mlc_ledger_open(f->fd, &f->l), 0);
}

static struct stat
file(ino_t ino)
{
    return (struct stat){.st_ino = ino, .st_size = 1000, .st_mtime = 7};
}

static int64_t
used(struct fixture *f, ino_t ino)
{
    struct stat st = file(ino);
    int64_t ms = 0;

    assert_true(mlc_ledger_find(f->l, &st, &ms));
    return ms;
}

static bool
is_known(struct fixture *f, const struct stat *st)
{
    int64_t ms;

    return mlc_ledger_find(f->l, st, &ms);
}

static void
add(struct fixture *f, ino_t ino)
{
    struct stat st = file(ino);

    mlc_ledger_add(f->l, &st);
}

static void
open_it(struct fixture *f, ino_t ino)
{
    struct stat st = file(ino);

    mlc_ledger_opened(f->l, &st);
}

static off_t
size_on_disk(const struct fixture *f)
{
    struct stat st;

    assert_int_equal(fstatat(f->fd, "ledger", &st, 0), 0);
    return st.st_size;
}

static void
the_order_of_opens_survives_a_restart(void **state)
{
    struct fixture *f = *state;

    for (ino_t i = 1; i <= 3; i++)
        add(f, i);
    open_it(f, 1);
    for (int i = 0; i < 2; i++) {
        assert_true(used(f, 2) < used(f, 3));
        assert_true(used(f, 3) < used(f, 1));
        reopen(f);
    }
    open_it(f, 2);
    assert_true(used(f, 1) < used(f, 2));
}

static void
what_was_not_fetched_is_not_known(void **state)
{
    struct fixture *f = *state;
    struct stat st = file(1);

    open_it(f, 1);
    assert_false(is_known(f, &st));
}

static void
a_file_that_was_written_to_is_another_one(void **state)
{
    struct fixture *f = *state;
    struct stat st = file(1);

    add(f, 1);
    st.st_size++;
    assert_false(is_known(f, &st));
    st = file(1);
    st.st_mtim.tv_nsec++;
    assert_false(is_known(f, &st));
    st = file(2);
    assert_false(is_known(f, &st));
}

static void
what_is_forgotten_stays_so_until_it_is_fetched_again(void **state)
{
    struct fixture *f = *state;
    struct stat first = file(1);

    add(f, 1);
    add(f, 2);
    mlc_ledger_forget(f->l, &first);
    for (int i = 0; i < 2; i++) {
        open_it(f, 1);
        assert_false(is_known(f, &first));
        reopen(f);
    }
    assert_true(used(f, 2) > 0);
    add(f, 1);
    assert_true(used(f, 1) > used(f, 2));
}

static void
what_was_torn_at_the_end_does_not_count(void **state)
{
    struct fixture *f = *state;
    struct stat second = file(2);
    int fd;

    add(f, 1);
    add(f, 2);
    mlc_ledger_close(f->l);
    fd = openat(f->fd, "ledger", O_WRONLY);
    assert_int_equal(ftruncate(fd, size_on_disk(f) - 5), 0);
    close(fd);
    assert_int_equal(mlc_ledger_open(f->fd, &f->l), 0);
    assert_false(is_known(f, &second));
    add(f, 3);
    reopen(f);
    assert_true(used(f, 1) < used(f, 3));
}

static void
a_file_of_another_kind_is_begun_anew(void **state)
{
    struct fixture *f = *state;
    struct stat first = file(1);
    int fd;

    add(f, 1);
    mlc_ledger_close(f->l);
    fd = openat(f->fd, "ledger", O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "something else entirely\n", 24), 24);
    close(fd);
    assert_int_equal(mlc_ledger_open(f->fd, &f->l), 0);
    assert_false(is_known(f, &first));
    add(f, 2);
    reopen(f);
    assert_true(used(f, 2) > 0);
}

static void
many_opens_take_little_room(void **state)
{
    struct fixture *f = *state;

    add(f, 1);
    add(f, 2);
    for (int i = 0; i < 100000; i++)
        open_it(f, 1 + i % 2);
    assert_true(size_on_disk(f) < 80000 * 16);
    reopen(f);
    assert_true(used(f, 1) < used(f, 2));
    assert_int_equal(size_on_disk(f), 3 * 16);
}

static void
many_files_are_all_known(void **state)
{
    struct fixture *f = *state;

    for (ino_t i = 1; i <= 20000; i++)
        add(f, i);
    reopen(f);
    for (ino_t i = 2; i <= 20000; i++)
        assert_true(used(f, i - 1) < used(f, i));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_order_of_opens_survives_a_restart,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_fetched_is_not_known,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_file_that_was_written_to_is_another_one, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_forgotten_stays_so_until_it_is_fetched_again, setup,
            teardown),
        cmocka_unit_test_setup_teardown(what_was_torn_at_the_end_does_not_count,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_of_another_kind_is_begun_anew,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(many_opens_take_little_room, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(many_files_are_all_known, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
