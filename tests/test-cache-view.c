/* SPDX-License-Identifier: MIT */
/* Views of files and of an object, and blocks: what a mount cannot show. */
#include "config.h"

#include "backends/cache/view.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/cache/blocks.h"
#include "backends/cache/source.h"
#include "backends/util/clock.h"
#include "tests/object-reader.h"

#define SIZE  (20 * MLC_BUFFER + 100)
#define PIECE 256 /* of that size */

struct fixture {
    struct bench bench;
    uint8_t *bytes;
    struct mlc_blocks *blocks;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_woken; /* lock */
    /* The feed: which pieces were wanted; brings them if told so. */
    atomic_bool is_silent;
    atomic_uint n_made;
    atomic_int make_error;
    /* What blocks begin with: of so many bytes, if any. */
    size_t prepared_len;
    unsigned n_prepared, n_alive; /* lock; ever, and not let go of */
    unsigned n_together;          /* lock; so many at once are waited for */
    atomic_int prepare_error;
};

/* --- a feed that brings exactly what is wanted ------------------------ */

static void
feed_want(void *feed, struct mlc_object *obj, uint64_t index)
{
    struct fixture *f = feed;
    uint64_t i = index;

    if (atomic_load(&f->is_silent))
        return;
    for (; i != UINT64_MAX; i = mlc_object_next_wanted(obj, 0, UINT64_MAX)) {
        uint64_t end =
            mlc_object_wanted_end(obj, i, mlc_object_span_end(obj, i));
        size_t off = i * mlc_object_piece_size(obj);
        size_t len = (size_t)mlc_object_span_len(obj, i, end);
        void *buffer = mlc_budget_take_buffer(f->bench.budget);

        assert_non_null(buffer);
        memcpy(buffer, f->bytes + off, len);
        if (mlc_object_put_span(obj, i, buffer, len) == 0)
            continue;
        mlc_budget_give_buffer(f->bench.budget, buffer);
        return;
    }
}

static void
feed_room(void *feed, struct mlc_object *obj)
{
    uint64_t i = mlc_object_next_wanted(obj, 0, UINT64_MAX);

    if (i != UINT64_MAX)
        feed_want(feed, obj, i);
}

static void
feed_opened(void *feed, struct mlc_object *obj, bool is_open)
{
    /* Never as a whole. */
    assert_false(is_open);
    assert_false(mlc_object_is_open(obj));
}

static void
feed_free(void *feed)
{
}

static const struct mlc_feed_ops feed_ops = {.want = feed_want,
                                             .opened = feed_opened,
                                             .free = feed_free,
                                             .room = feed_room};

/* --- waiting ---------------------------------------------------------- */

struct asker {
    struct mlc_wait wait;
    struct fixture *f;
};

static void
asker_wake(struct mlc_wait *w)
{
    struct fixture *f = ((struct asker *)w)->f;

    pthread_mutex_lock(&f->lock);
    f->is_woken = true;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static void
asker_free(struct mlc_wait *w)
{
    free(w);
}

static struct mlc_wait *
asker_get(struct mlc_ask *ask)
{
    return &((struct asker *)ask->arg)->wait;
}

/* Reads as fs/ does; what the last question said. */
static int
read_view(struct fixture *f, struct mlc_view *v, uint64_t off, size_t len,
          void *ret, size_t *ret_len)
{
    struct asker *a = calloc(1, sizeof(*a));
    struct mlc_ask ask = {.get_wait = asker_get, .arg = a};
    struct mlc_view_bytes bytes;
    int r;

    assert_non_null(a);
    atomic_init(&a->wait.refs, 1);
    a->wait.wake = asker_wake;
    a->wait.free = asker_free;
    a->f = f;
    for (;;) {
        struct timespec until = mlc_mono_after(30000);

        r = mlc_view_read(v, off, len, &ask, ret, &bytes);
        if (r != -EAGAIN)
            break;
        pthread_mutex_lock(&f->lock);
        while (!f->is_woken)
            assert_int_equal(pthread_cond_timedwait(&f->cond, &f->lock, &until),
                             0);
        f->is_woken = false;
        pthread_mutex_unlock(&f->lock);
    }
    atomic_store(&a->wait.is_dead, true);
    mlc_wait_unref(&a->wait);
    if (r < 0)
        return r;
    if (bytes.fd >= 0)
        assert_int_equal(pread(bytes.fd, ret, bytes.len, (off_t)bytes.pos),
                         bytes.len);
    *ret_len = bytes.len;
    return 0;
}

/* --- what is read ------------------------------------------------------ */

static struct mlc_source *
file_source(struct fixture *f)
{
    struct mlc_source *s = NULL;
    int fd = openat(f->bench.dirfd, "file", O_CREAT | O_TRUNC | O_RDWR, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, f->bytes, SIZE), SIZE);
    assert_int_equal(mlc_source_new_file(fd, "file", &s), 0);
    return s;
}

static struct mlc_source *
object_source(struct fixture *f)
{
    const struct mlc_object_spec spec = {.key = "key",
                                         .label = "label",
                                         .size = SIZE,
                                         .homefd = f->bench.dirfd,
                                         .home = "home",
                                         .mode = 0600,
                                         .feed_ops = &feed_ops,
                                         .feed = f};
    struct mlc_object *obj;
    struct mlc_source *s = NULL;

    assert_int_equal(mlc_store_get(f->bench.store, &spec, &obj), 0);
    assert_int_equal(mlc_source_new_object(obj, &s), 0);
    return s;
}

/* Each byte of the source, plus one. */
static int
want_plus(const void *arg, struct mlc_source *const *sources, uint64_t off,
          size_t len, struct mlc_ask *ask)
{
    return mlc_source_want(sources[0], off, len, ask);
}

static int
make_plus(const void *arg, const void *prepared,
          struct mlc_source *const *sources, uint64_t off, size_t len,
          void *ret)
{
    struct fixture *f = (struct fixture *)(uintptr_t)arg;
    uint8_t *p = ret;
    int r = mlc_source_read(sources[0], off, ret, len);

    assert_true(f->prepared_len ? prepared == f : !prepared);
    atomic_fetch_add(&f->n_made, 1);
    for (size_t i = 0; i < len; i++)
        p[i]++;
    return atomic_load(&f->make_error) ? atomic_load(&f->make_error) : r;
}

static const struct mlc_compute_ops plus_ops = {.want = want_plus,
                                                .make = make_plus};

/* Waits, but not for long, until as many are at it as shall be. */
static int
prepare_plus(const void *arg, struct mlc_source *const *sources, void **ret,
             size_t *ret_len)
{
    struct fixture *f = (struct fixture *)(uintptr_t)arg;
    struct timespec until = mlc_mono_after(30000);
    int r = 0;

    pthread_mutex_lock(&f->lock);
    f->n_prepared++;
    f->n_alive++;
    pthread_cond_broadcast(&f->cond);
    while (r == 0 && f->n_prepared < f->n_together)
        r = pthread_cond_timedwait(&f->cond, &f->lock, &until);
    if (atomic_load(&f->prepare_error))
        f->n_alive--;
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(r, 0);
    *ret = f;
    *ret_len = f->prepared_len;
    return atomic_load(&f->prepare_error);
}

static void
unprepare_plus(void *prepared)
{
    struct fixture *f = prepared;

    pthread_mutex_lock(&f->lock);
    f->n_alive--;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static const struct mlc_compute_ops prepared_ops = {.want = want_plus,
                                                    .prepare = prepare_plus,
                                                    .unprepare = unprepare_plus,
                                                    .make = make_plus};

#define HEAD  10
#define FIRST ((uint64_t)3 * MLC_BUFFER) /* bytes 5.. of the source */
#define PLUS  ((uint64_t)700000)         /* bytes 0.. plus one, in blocks */
#define LAST  ((uint64_t)1000) /* 11 buffers on, adjacent to nothing */
#define TOTAL (HEAD + FIRST + PLUS + LAST)

static uint8_t
byte_of(const struct fixture *f, uint64_t off)
{
    if (off < HEAD)
        return (uint8_t)('a' + off);
    off -= HEAD;
    if (off < FIRST)
        return f->bytes[5 + off];
    off -= FIRST;
    if (off < PLUS)
        return (uint8_t)(f->bytes[off] + 1);
    return f->bytes[11 * MLC_BUFFER + off - PLUS];
}

/* A head, two extents that lie together in the source, computed bytes, and
 * others from elsewhere. */
static struct mlc_view *
make_view(struct fixture *f, struct mlc_source *s)
{
    struct mlc_extent *e = calloc(4, sizeof(*e));
    struct mlc_view_plan *plan;
    struct mlc_view *v;
    char *head = malloc(HEAD);

    assert_true(e && head);
    memcpy(head, "abcdefghij", HEAD);
    e[0] = (struct mlc_extent){
        .begin = HEAD, .end = HEAD + 1000, .source_begin = 5};
    e[1] = (struct mlc_extent){
        .begin = HEAD + 1000, .end = HEAD + FIRST, .source_begin = 1005};
    e[2] =
        (struct mlc_extent){.begin = HEAD + FIRST,
                            .end = HEAD + FIRST + PLUS,
                            .ops = f->prepared_len ? &prepared_ops : &plus_ops,
                            .arg = f,
                            .key = 7,
                            .block_len = 100000};
    e[3] = (struct mlc_extent){.begin = HEAD + FIRST + PLUS,
                               .end = TOTAL,
                               .source_begin = 11 * MLC_BUFFER};
    assert_int_equal(mlc_view_plan_new(head, HEAD, e, 4, NULL, NULL, &plan), 0);
    assert_int_equal(mlc_view_plan_size(plan), TOTAL);
    assert_int_equal(mlc_view_new(plan, &s, 1, 1, f->blocks, &v), 0);
    mlc_view_plan_unref(plan);
    return v;
}

static void
check(struct fixture *f, struct mlc_view *v, uint64_t off, size_t len)
{
    uint8_t *got = malloc(len);
    uint64_t left = off < TOTAL ? TOTAL - off : 0;
    size_t n = 0;

    assert_non_null(got);
    assert_int_equal(read_view(f, v, off, len, got, &n), 0);
    assert_int_equal(n, left < len ? left : len);
    for (size_t i = 0; i < n; i++)
        if (got[i] != byte_of(f, off + i))
            fail_msg("a wrong byte at %zu of [%llu, +%zu)", i,
                     (unsigned long long)off, len);
    free(got);
}

static void
check_everywhere(struct fixture *f, struct mlc_view *v)
{
    const uint64_t edges[] = {0,
                              HEAD,
                              HEAD + 1000,
                              HEAD + FIRST,
                              HEAD + FIRST + 100000,
                              HEAD + FIRST + PLUS,
                              TOTAL};
    const size_t lens[] = {1, 2, 4096, 100001, 300000, (size_t)TOTAL + 5};

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++)
            for (uint64_t d = 0; d < 3; d++)
                if (edges[i] + d >= 1)
                    check(f, v, edges[i] + d - 1, lens[k]);
}

/* --- tests -------------------------------------------------------------- */

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    bench_init(&f->bench, 64u << 20);
    f->bytes = make_bytes(SIZE, 1);
    pthread_mutex_init(&f->lock, NULL);
    mlc_cond_init(&f->cond);
    assert_int_equal(mlc_blocks_new(f->bench.pool, f->bench.budget, 4u << 20,
                                    NULL, &f->blocks),
                     0);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_store_stop(f->bench.store);
    mlc_pool_stop(f->bench.pool);
    mlc_blocks_free(f->blocks);
    bench_done(&f->bench);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free(f->bytes);
    free(f);
    return 0;
}

static void
any_range_of_a_file_is_right(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v = make_view(f, file_source(f));

    check_everywhere(f, v);
    mlc_view_unref(v);
}

static void
any_range_of_an_object_is_right(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v = make_view(f, object_source(f));

    check_everywhere(f, v);
    mlc_view_unref(v);
}

static void
only_its_own_bytes_are_fetched(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v = make_view(f, object_source(f));

    for (uint64_t off = 0; off < TOTAL; off += 100000)
        check(f, v, off, 100000);
    /* To the ends of their pieces; the computed lie in the first. */
    assert_int_equal(mlc_store_present(f->bench.store, "key"),
                     FIRST + PIECE + 4 * PIECE);
    mlc_view_unref(v);
}

static void
a_block_is_made_once(void **state)
{
    struct fixture *f = *state;
    struct mlc_source *s = file_source(f);
    struct mlc_view *v = make_view(f, mlc_source_ref(s));
    struct mlc_view *w = make_view(f, s);

    for (unsigned i = 0; i < 5; i++) {
        check(f, v, HEAD + FIRST, PLUS);
        check(f, w, HEAD + FIRST + 1, 1);
    }
    assert_int_equal(atomic_load(&f->n_made), 7);
    mlc_view_unref(v);
    mlc_view_unref(w);
}

static void
a_block_that_fails_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v = make_view(f, file_source(f));
    int64_t until = mlc_mono_ms() + 10000;
    char got[8];
    size_t n;

    atomic_store(&f->make_error, -ENOSPC);
    assert_int_equal(read_view(f, v, HEAD + FIRST, 8, got, &n), -ENOSPC);
    atomic_store(&f->make_error, 0);
    assert_int_equal(read_view(f, v, HEAD + FIRST, 8, got, &n), -ENOSPC);
    while (read_view(f, v, HEAD + FIRST, 8, got, &n) < 0)
        assert_true(mlc_mono_ms() < until);
    check(f, v, HEAD + FIRST, 8);
    assert_int_equal(atomic_load(&f->n_made), 2);
    mlc_view_unref(v);
}

static unsigned
wait_alive(struct fixture *f, unsigned n)
{
    struct timespec until = mlc_mono_after(30000);
    unsigned n_prepared;

    pthread_mutex_lock(&f->lock);
    while (f->n_alive != n)
        assert_int_equal(pthread_cond_timedwait(&f->cond, &f->lock, &until), 0);
    n_prepared = f->n_prepared;
    pthread_mutex_unlock(&f->lock);
    return n_prepared;
}

static void
what_blocks_begin_with_is_shared_until_nobody_uses_it(void **state)
{
    struct fixture *f = *state;
    struct mlc_source *s = file_source(f);
    struct mlc_view *v, *w;

    f->prepared_len = 12345;
    v = make_view(f, mlc_source_ref(s));
    w = make_view(f, s);
    for (uint64_t off = 0; off < PLUS; off += 50000)
        check(f, off % 100000 ? v : w, HEAD + FIRST + off, 50000);
    assert_int_equal(atomic_load(&f->n_made), 7);
    assert_int_equal(mlc_budget_used(f->bench.budget), PLUS + 12345);
    assert_int_equal(wait_alive(f, 1), 1);
    /* And then by itself. */
    assert_int_equal(wait_alive(f, 0), 1);
    mlc_view_unref(v);
    mlc_view_unref(w);
    mlc_pool_stop(f->bench.pool);
    assert_int_equal(mlc_budget_used(f->bench.budget), PLUS);
}

static void
two_blocks_at_once_wait_for_nobody(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v;

    f->prepared_len = 12345;
    f->n_together = 2;
    v = make_view(f, file_source(f));
    check(f, v, HEAD + FIRST, 200000);
    /* One of the two is enough. */
    assert_int_equal(wait_alive(f, 1), 2);
    check(f, v, HEAD + FIRST, PLUS);
    assert_int_equal(wait_alive(f, 1), 2);
    mlc_view_unref(v);
}

static void
what_has_no_room_is_not_shared(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v;

    f->prepared_len = (1u << 20) + 1; /* a quarter of what blocks have */
    v = make_view(f, file_source(f));
    check(f, v, HEAD + FIRST, 300000);
    assert_int_equal(wait_alive(f, 0), 3);
    assert_int_equal(mlc_budget_used(f->bench.budget), 300000);
    /* Nor what the budget refuses. */
    f->prepared_len--;
    assert_true(mlc_budget_take(f->bench.budget, (63u << 20) - 300000));
    check(f, v, HEAD + FIRST + 300000, 300000);
    assert_int_equal(wait_alive(f, 0), 6);
    mlc_budget_give(f->bench.budget, (63u << 20) - 300000);
    check(f, v, HEAD + FIRST + 600000, 1);
    assert_int_equal(wait_alive(f, 1), 7);
    mlc_view_unref(v);
}

static void
what_blocks_begin_with_may_fail(void **state)
{
    struct fixture *f = *state;
    int64_t until = mlc_mono_ms() + 10000;
    struct mlc_view *v;
    char got[8];
    size_t n;

    f->prepared_len = 12345;
    v = make_view(f, file_source(f));
    atomic_store(&f->prepare_error, -ENOSPC);
    assert_int_equal(read_view(f, v, HEAD + FIRST, 8, got, &n), -ENOSPC);
    assert_int_equal(wait_alive(f, 0), 1);
    atomic_store(&f->prepare_error, 0);
    while (read_view(f, v, HEAD + FIRST, 8, got, &n) < 0)
        assert_true(mlc_mono_ms() < until);
    assert_int_equal(wait_alive(f, 1), 2);
    mlc_view_unref(v);
}

/* The oldest go; what is in use by a view that went is freed. */
static void
blocks_take_no_more_than_their_share(void **state)
{
    struct fixture *f = *state;
    struct mlc_blocks *all = f->blocks;
    struct mlc_view *v;

    assert_int_equal(mlc_blocks_new(f->bench.pool, f->bench.budget, 250000,
                                    NULL, &f->blocks),
                     0);
    v = make_view(f, file_source(f));
    for (unsigned i = 0; i < 3; i++) {
        for (uint64_t off = 0; off < PLUS; off += 50000)
            check(f, v, HEAD + FIRST + off, 50000);
        assert_true(mlc_budget_used(f->bench.budget) <= 250000);
    }
    assert_int_equal(atomic_load(&f->n_made), 21);
    mlc_view_unref(v);
    /* A job may still be giving its block back. */
    mlc_store_stop(f->bench.store);
    mlc_pool_stop(f->bench.pool);
    mlc_blocks_free(f->blocks);
    f->blocks = all;
}

static void
a_file_that_changes_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v = make_view(f, file_source(f));
    char got[100];
    size_t n;
    int fd;

    check(f, v, 0, 100);
    fd = openat(f->bench.dirfd, "file", O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, SIZE - 1), 1);
    close(fd);
    assert_int_equal(read_view(f, v, HEAD, 100, got, &n), -EIO);
    assert_int_equal(read_view(f, v, HEAD + FIRST, 100, got, &n), -EIO);
    /* What was made of it before is known to be right. */
    assert_int_equal(read_view(f, v, 0, 5, got, &n), 0);
    mlc_view_unref(v);
}

static void
a_source_has_an_end(void **state)
{
    struct fixture *f = *state;
    struct mlc_source *s = file_source(f);
    struct mlc_ask ask = {0};

    assert_int_equal(mlc_source_want(s, SIZE, 0, &ask), 0);
    assert_int_equal(mlc_source_want(s, SIZE - 1, 2, &ask), -EIO);
    assert_int_equal(mlc_source_want(s, UINT64_MAX, 2, &ask), -EIO);
    assert_int_equal(mlc_source_want(s, 1, UINT64_MAX, &ask), -EIO);
    mlc_source_unref(s);
    assert_int_equal(mlc_source_new_file(open("/", O_RDONLY), "/", &s),
                     -EINVAL);
}

static void
nothing_is_read_ahead_once_nobody_reads(void **state)
{
    struct fixture *f = *state;
    struct mlc_view *v = make_view(f, object_source(f));
    struct mlc_ask ask = {0};
    struct mlc_view_bytes bytes;
    char got[10];

    atomic_store(&f->is_silent, true);
    assert_int_equal(mlc_view_read(v, HEAD, 10, &ask, got, &bytes), -EAGAIN);
    mlc_view_stop(v);
    atomic_store(&f->is_silent, false);
    check(f, v, HEAD + FIRST + PLUS, 10);
    assert_int_equal(mlc_store_present(f->bench.store, "key"), PIECE);
    mlc_view_unref(v);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(any_range_of_a_file_is_right),
        TEST(any_range_of_an_object_is_right),
        TEST(only_its_own_bytes_are_fetched),
        TEST(a_block_is_made_once),
        TEST(a_block_that_fails_is_tried_again),
        TEST(what_blocks_begin_with_is_shared_until_nobody_uses_it),
        TEST(two_blocks_at_once_wait_for_nobody),
        TEST(what_has_no_room_is_not_shared),
        TEST(what_blocks_begin_with_may_fail),
        TEST(blocks_take_no_more_than_their_share),
        TEST(a_file_that_changes_is_an_error),
        TEST(a_source_has_an_end),
        TEST(nothing_is_read_ahead_once_nobody_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
