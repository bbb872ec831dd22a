/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LEN ((size_t)10000)
#define KEY UINT64_C(0x1234)

struct fixture {
    char dir[64];
    int fd;
    struct mlc_kept *k;
    unsigned char data[LEN];
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->dir, "/tmp/mlc-kept.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY);
    assert_true(f->fd >= 0);
    for (size_t i = 0; i < LEN; i++)
        f->data[i] = (unsigned char)(i * 7 + i / 256);
    assert_int_equal(mlc_kept_new(f->fd, "merged", 10 * LEN, NULL, &f->k), 0);
    *state = f;
    return 0;
}

/* Calls fn for each file's name; how many there are. */
static unsigned
each(struct fixture *f, void (*fn)(int fd, const char *name))
{
    int fd = openat(f->fd, "merged", O_RDONLY | O_DIRECTORY);
    DIR *dir = fdopendir(fd);
    const struct dirent *d;
    unsigned n = 0;

    assert_non_null(dir);
    while ((d = readdir(dir)))
        if (d->d_name[0] != '.') {
            n++;
            if (fn)
                fn(fd, d->d_name);
        }
    closedir(dir);
    return n;
}

static void
unlink_one(int fd, const char *name)
{
    assert_int_equal(unlinkat(fd, name, 0), 0);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_kept_free(f->k);
    each(f, unlink_one);
    unlinkat(f->fd, "merged", AT_REMOVEDIR);
    close(f->fd);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void
reopen(struct fixture *f, uint64_t max)
{
    mlc_kept_free(f->k);
    f->k = NULL;
    assert_int_equal(mlc_kept_new(f->fd, "merged", max, NULL, &f->k), 0);
}

static void
what_was_put_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    unsigned char got[LEN];

    assert_false(mlc_kept_get(f->k, KEY, 0, got, LEN));
    mlc_kept_put(f->k, KEY, 0, f->data, LEN);
    reopen(f, 10 * LEN);
    assert_true(mlc_kept_get(f->k, KEY, 0, got, LEN));
    assert_memory_equal(got, f->data, LEN);
}

static void
another_key_place_or_length_is_another_thing(void **state)
{
    struct fixture *f = *state;
    unsigned char got[LEN];

    mlc_kept_put(f->k, KEY, 0, f->data, LEN);
    assert_false(mlc_kept_get(f->k, KEY + 1, 0, got, LEN));
    assert_false(mlc_kept_get(f->k, KEY, LEN, got, LEN));
    assert_false(mlc_kept_get(f->k, KEY, 0, got, LEN - 1));
}

static void
flip_one(int fd, const char *name)
{
    int file = openat(fd, name, O_RDWR);
    unsigned char byte;

    assert_int_equal(pread(file, &byte, 1, 5000), 1);
    byte ^= 1;
    assert_int_equal(pwrite(file, &byte, 1, 5000), 1);
    close(file);
}

static void
cut_one(int fd, const char *name)
{
    int file = openat(fd, name, O_RDWR);

    assert_int_equal(ftruncate(file, 5000), 0);
    close(file);
}

static void
assert_gone_after(struct fixture *f, void (*damage)(int fd, const char *name))
{
    unsigned char got[LEN];

    mlc_kept_put(f->k, KEY, 0, f->data, LEN);
    assert_int_equal(each(f, damage), 1);
    assert_false(mlc_kept_get(f->k, KEY, 0, got, LEN));
    assert_int_equal(each(f, NULL), 0);
}

static void
damaged_ones_are_not_believed(void **state)
{
    assert_gone_after(*state, flip_one);
    assert_gone_after(*state, cut_one);
}

/* A file that was copied to another's name. */
static void
rename_one(int fd, const char *name)
{
    char other[300];

    snprintf(other, sizeof(other), "%s", name);
    other[15] = other[15] == '5' ? '6' : '5';
    assert_int_equal(renameat(fd, name, fd, other), 0);
}

static void
bytes_of_another_key_are_not_believed(void **state)
{
    struct fixture *f = *state;
    unsigned char got[LEN];

    mlc_kept_put(f->k, KEY, 0, f->data, LEN); /* ...1234 becomes ...1235 */
    each(f, rename_one);
    assert_false(mlc_kept_get(f->k, KEY + 1, 0, got, LEN));
}

static void
longest_unused_go_when_there_are_too_many(void **state)
{
    struct fixture *f = *state;
    unsigned char got[LEN];

    for (uint64_t i = 0; i < 30; i++) {
        mlc_kept_put(f->k, KEY, i * LEN, f->data, LEN);
        /* In use all the time. */
        assert_true(mlc_kept_get(f->k, KEY, 0, got, LEN));
        assert_in_range(each(f, NULL), 1, 10);
    }
    assert_true(mlc_kept_get(f->k, KEY, 29 * LEN, got, LEN));
    assert_false(mlc_kept_get(f->k, KEY, LEN, got, LEN));
    reopen(f, 4 * LEN);
    assert_in_range(each(f, NULL), 1, 4);
}

static void
what_a_kill_left_goes_at_the_start(void **state)
{
    struct fixture *f = *state;
    int fd = openat(f->fd, "merged/0000000000001234-0-2710.tmp",
                    O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    close(fd);
    reopen(f, 10 * LEN);
    assert_int_equal(each(f, NULL), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_put_is_there_after_a_restart),
        T(another_key_place_or_length_is_another_thing),
        T(damaged_ones_are_not_believed),
        T(bytes_of_another_key_are_not_believed),
        T(longest_unused_go_when_there_are_too_many),
        T(what_a_kill_left_goes_at_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
