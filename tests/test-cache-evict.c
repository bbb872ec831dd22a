/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/evict.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/cache/pool.h"
#include "backends/util/clock.h"

#define MAX_THINGS 6000
#define MIB        ((uint64_t)1 << 20)

/* What a source has: names are numbers. */
struct thing {
    uint64_t bytes;
    int64_t used_us;
    bool is_kept, is_gone;
    ino_t ino;
    dev_t dev;
};

struct fixture {
    struct mlc_pool *pool;
    struct mlc_evictor *e;
    struct thing things[MAX_THINGS];
    size_t n;
    unsigned n_lists, n_drops;
    uint64_t used_meanwhile; /* a thing that is used while others are dropped */
};

/* --- a disk -------------------------------------------------------------- */

static uint64_t disk_free = UINT64_MAX; /* UINT64_MAX: the real one */

int __real_fstatvfs(int fd, struct statvfs *ret);
int __wrap_fstatvfs(int fd, struct statvfs *ret);

int
__wrap_fstatvfs(int fd, struct statvfs *ret)
{
    int r = __real_fstatvfs(fd, ret);

    if (disk_free == UINT64_MAX)
        return r;
    ret->f_frsize = 1024;
    ret->f_blocks = 1 << 20;
    ret->f_bfree = ret->f_bavail = disk_free / 1024;
    ret->f_files = 0;
    return r;
}

/* --- the source ---------------------------------------------------------- */

static void
list(void *arg, struct mlc_evict_round *round)
{
    struct fixture *f = arg;

    f->n_lists++;
    for (size_t i = 0; i < f->n; i++) {
        const struct thing *t = &f->things[i];
        struct stat st = {.st_dev = t->dev, .st_ino = t->ino};
        char name[24];

        snprintf(name, sizeof(name), "%zu", i);
        if (!t->is_gone)
            mlc_evict_offer(round, name, &st, t->bytes, t->used_us, t->is_kept);
    }
}

static uint64_t
drop(void *arg, const char *name, int64_t since_us,
     struct mlc_evict_round *round)
{
    struct fixture *f = arg;
    struct thing *t = &f->things[atoi(name)];
    struct stat st = {.st_dev = t->dev, .st_ino = t->ino};

    f->n_drops++;
    if (t->is_gone || t->used_us > since_us || mlc_evict_is_open(round, &st))
        return 0;
    t->is_gone = true;
    if (disk_free != UINT64_MAX)
        disk_free += t->bytes;
    return t->bytes;
}

static struct thing *
add(struct fixture *f, uint64_t bytes, int64_t used_us)
{
    struct thing *t = &f->things[f->n++];

    *t = (struct thing){.bytes = bytes, .used_us = used_us};
    return t;
}

/* --- rounds -------------------------------------------------------------- */

struct barrier {
    struct mlc_job job;
    sem_t sem;
};

static void
pass(struct mlc_job *job)
{
    sem_post(&((struct barrier *)(void *)job)->sem);
}

static void
wait_for_sem(struct mlc_job *job)
{
    while (sem_wait(&((struct barrier *)(void *)job)->sem) < 0 &&
           errno == EINTR)
        ;
}

/* There is one thread: what was asked for before is done after this. */
static void
settle(struct fixture *f)
{
    struct barrier b = {.job.run = pass};

    sem_init(&b.sem, 0, 0);
    mlc_evict_submit(f->e, &b.job);
    while (sem_wait(&b.sem) < 0 && errno == EINTR)
        ;
    sem_destroy(&b.sem);
}

static void
start(struct fixture *f, uint64_t max, bool is_offline)
{
    const struct mlc_evict_source source = {
        .list = list, .drop = drop, .arg = f};

    assert_int_equal(mlc_evictor_new(max, is_offline, f->pool, &f->e), 0);
    assert_int_equal(mlc_evictor_add(f->e, &source), 0);
    mlc_evictor_start(f->e);
    settle(f);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(mlc_pool_new(1, 1, &f->pool), 0);
    disk_free = UINT64_MAX;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_evictor_stop(f->e);
    mlc_pool_stop(f->pool);
    mlc_evictor_free(f->e);
    mlc_pool_free(f->pool);
    free(f);
    disk_free = UINT64_MAX;
    return 0;
}

/* --- the limit ----------------------------------------------------------- */

static void
the_oldest_go_until_the_rest_fits(void **state)
{
    struct fixture *f = *state;
    const struct thing *c = add(f, 40, 30), *a = add(f, 40, 10);
    const struct thing *d = add(f, 40, 40), *b = add(f, 40, 20);
    struct mlc_evict_stats stats;

    start(f, 100, false);
    assert_true(a->is_gone && b->is_gone);
    assert_false(c->is_gone || d->is_gone);
    mlc_evictor_get_stats(f->e, &stats);
    assert_int_equal(stats.files, 2);
    assert_int_equal(stats.bytes, 80);
    assert_int_equal(stats.estimate, 80);
}

static void
exactly_the_limit_is_not_too_much(void **state)
{
    struct fixture *f = *state;

    add(f, 60, 1);
    add(f, 40, 2);
    start(f, 100, false);
    assert_int_equal(f->n_drops, 0);
}

static void
what_is_written_counts(void **state)
{
    struct fixture *f = *state;
    const struct thing *a = add(f, 40, 1), *b = add(f, 40, 2);

    start(f, 100, false);
    add(f, 40, 3);
    mlc_evict_wrote(f->e, 20);
    settle(f);
    assert_false(a->is_gone);
    mlc_evict_wrote(f->e, 20);
    settle(f);
    assert_true(a->is_gone);
    assert_false(b->is_gone);
}

static void
what_is_kept_counts_and_stays(void **state)
{
    struct fixture *f = *state;
    struct thing *a = add(f, 80, 1), *b = add(f, 40, 2);

    a->is_kept = true;
    start(f, 100, false);
    assert_false(a->is_gone);
    assert_true(b->is_gone);
}

static void
what_was_just_used_stays_but_for_a_full_disk(void **state)
{
    struct fixture *f = *state;
    struct thing *a = add(f, 80, mlc_now_us()), *b = add(f, 40, 1);
    struct stat st;
    int fd = open("/", O_RDONLY);

    assert_int_equal(fstat(fd, &st), 0);
    a->dev = b->dev = st.st_dev;
    start(f, 50, false);
    assert_false(a->is_gone);
    assert_true(b->is_gone);
    disk_free = 0;
    mlc_evict_make_room(f->e, fd, 0);
    assert_true(a->is_gone);
    close(fd);
}

static void
what_is_open_stays(void **state)
{
    struct fixture *f = *state;
    struct thing *a = add(f, 80, 1), *b = add(f, 40, 2);
    char path[] = "/tmp/mlc-evict.XXXXXX";
    int fd = mkstemp(path);
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    a->dev = st.st_dev;
    a->ino = st.st_ino;
    start(f, 100, false);
    close(fd);
    unlink(path);
    assert_false(a->is_gone);
    assert_true(b->is_gone);
}

static void
what_was_removed_otherwise_is_counted_no_more(void **state)
{
    struct fixture *f = *state;
    struct thing *a = add(f, 50, 2);
    const struct thing *b = add(f, 50, 1);

    start(f, 100, false);
    a->is_gone = true;
    mlc_evict_removed(f->e);
    add(f, 50, 3);
    mlc_evict_wrote(f->e, 50);
    settle(f);
    assert_false(b->is_gone);
    assert_int_equal(f->n_drops, 0);
}

static void
without_a_limit_nothing_is_counted(void **state)
{
    struct fixture *f = *state;

    add(f, 1000, 1);
    start(f, UINT64_MAX, false);
    mlc_evict_wrote(f->e, 1000);
    settle(f);
    assert_int_equal(f->n_lists, 0);
}

static void
offline_nothing_goes(void **state)
{
    struct fixture *f = *state;

    add(f, 1000, 1);
    start(f, 10, true);
    mlc_evict_wrote(f->e, 1000);
    settle(f);
    disk_free = 0;
    assert_false(mlc_evict_make_room(f->e, STDIN_FILENO, 0));
    assert_int_equal(f->n_lists, 0);
}

static void
of_very_many_the_oldest_go_in_order(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < MAX_THINGS; i++)
        add(f, 1, (int64_t)(i * 7919 % MAX_THINGS) + 1);
    start(f, MAX_THINGS - 3000, false);
    for (size_t i = 0; i < MAX_THINGS; i++)
        assert_int_equal(f->things[i].is_gone, f->things[i].used_us <= 3000);
}

static void
a_limit_far_below_what_there_is_is_reached(void **state)
{
    struct fixture *f = *state;
    size_t n_left = 0;

    for (size_t i = 0; i < MAX_THINGS; i++)
        add(f, 1, (int64_t)i + 1);
    start(f, 10, false);
    /* More than one count's worth. */
    mlc_evict_wrote(f->e, 0);
    settle(f);
    for (size_t i = 0; i < MAX_THINGS; i++)
        n_left += !f->things[i].is_gone;
    assert_int_equal(n_left, 10);
}

/* --- a full disk --------------------------------------------------------- */

static void
a_full_disk_gets_some_room_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    int fd = open("/", O_RDONLY);

    assert_int_equal(fstat(fd, &st), 0);
    for (int i = 0; i < 10; i++)
        add(f, 10 * MIB, i + 1)->dev = st.st_dev;
    start(f, UINT64_MAX, false);
    disk_free = 0;
    assert_true(mlc_evict_make_room(f->e, fd, 0));
    assert_int_equal(f->n_drops, 2); /* 16 MiB are wanted */
    assert_true(f->things[0].is_gone && f->things[1].is_gone);
    /* There is room now. */
    assert_true(mlc_evict_make_room(f->e, fd, 0));
    assert_int_equal(f->n_drops, 2);
    close(fd);
}

static void
for_a_full_disk_nothing_goes_on_another(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    int fd = open("/", O_RDONLY);

    assert_int_equal(fstat(fd, &st), 0);
    add(f, 100 * MIB, 1)->dev = st.st_dev + 1;
    add(f, 100 * MIB, 2)->dev = st.st_dev;
    start(f, UINT64_MAX, false);
    disk_free = 0;
    assert_true(mlc_evict_make_room(f->e, fd, 0));
    assert_false(f->things[0].is_gone);
    assert_true(f->things[1].is_gone);
    close(fd);
}

static void
a_full_disk_with_nothing_to_give_is_not_counted_again_and_again(void **state)
{
    struct fixture *f = *state;
    int fd = open("/", O_RDONLY);

    start(f, UINT64_MAX, false);
    disk_free = 0;
    for (int i = 0; i < 100; i++)
        assert_false(mlc_evict_make_room(f->e, fd, 0));
    assert_true(f->n_lists < 50); /* once a second */
    close(fd);
}

/* --- waiting for room ---------------------------------------------------- */

struct sleeper {
    struct mlc_wait wait;
    sem_t woken;
};

static void
wake(struct mlc_wait *w)
{
    sem_post(&((struct sleeper *)(void *)w)->woken);
}

static void
free_nothing(struct mlc_wait *w)
{
}

static struct mlc_wait *
get_wait(struct mlc_ask *ask)
{
    return ask->arg;
}

static void
who_cannot_wait_is_woken_when_there_is_room(void **state)
{
    struct fixture *f = *state;
    struct sleeper s = {
        .wait = {.refs = 1, .wake = wake, .free = free_nothing}};
    struct mlc_ask ask = {.get_wait = get_wait, .arg = &s};
    struct stat st;
    int fd = open("/", O_RDONLY);

    sem_init(&s.woken, 0, 0);
    assert_int_equal(fstat(fd, &st), 0);
    add(f, 100 * MIB, 1)->dev = st.st_dev;
    start(f, UINT64_MAX, false);
    disk_free = 0;
    assert_int_equal(mlc_evict_ask_room(f->e, fd, &ask), -EAGAIN);
    sem_wait(&s.woken);
    assert_int_equal(mlc_evict_ask_room(f->e, fd, &ask), 0);
    /* And when there is none. */
    disk_free = 0;
    assert_int_equal(mlc_evict_ask_room(f->e, fd, &ask), -EAGAIN);
    sem_wait(&s.woken);
    assert_int_equal(mlc_evict_ask_room(f->e, fd, &ask), -ENOSPC);
    settle(f);
    sem_destroy(&s.woken);
    close(fd);
}

static void
who_waits_is_woken_at_the_stop(void **state)
{
    struct fixture *f = *state;
    struct sleeper s = {
        .wait = {.refs = 1, .wake = wake, .free = free_nothing}};
    struct mlc_ask ask = {.get_wait = get_wait, .arg = &s};
    struct barrier block = {.job.run = wait_for_sem};
    int fd = open("/", O_RDONLY), n;

    sem_init(&s.woken, 0, 0);
    sem_init(&block.sem, 0, 0);
    start(f, UINT64_MAX, false);
    disk_free = 0;
    mlc_evict_submit(f->e, &block.job); /* so that no round begins */
    assert_int_equal(mlc_evict_ask_room(f->e, fd, &ask), -EAGAIN);
    sem_post(&block.sem);
    mlc_evictor_stop(f->e);
    assert_int_equal(sem_getvalue(&s.woken, &n), 0);
    assert_true(n >= 1);
    assert_int_equal(mlc_evict_ask_room(f->e, fd, &ask), -ENOSPC);
    sem_destroy(&block.sem);
    sem_destroy(&s.woken);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_oldest_go_until_the_rest_fits),
        TEST(exactly_the_limit_is_not_too_much),
        TEST(what_is_written_counts),
        TEST(what_is_kept_counts_and_stays),
        TEST(what_was_just_used_stays_but_for_a_full_disk),
        TEST(what_is_open_stays),
        TEST(what_was_removed_otherwise_is_counted_no_more),
        TEST(without_a_limit_nothing_is_counted),
        TEST(offline_nothing_goes),
        TEST(of_very_many_the_oldest_go_in_order),
        TEST(a_limit_far_below_what_there_is_is_reached),
        TEST(a_full_disk_gets_some_room_and_no_more),
        TEST(for_a_full_disk_nothing_goes_on_another),
        TEST(a_full_disk_with_nothing_to_give_is_not_counted_again_and_again),
        TEST(who_cannot_wait_is_woken_when_there_is_room),
        TEST(who_waits_is_woken_at_the_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
