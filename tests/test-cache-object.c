/* SPDX-License-Identifier: MIT */
/* The object engine with a feed made here: what a mount cannot show. */
#include "config.h"

#include "backends/cache/object.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/object-reader.h"

/* What the feed brings at a time: buffers, each of many pieces. */
#define N_BUFFERS 6
#define SIZE      (5 * MLC_BUFFER + 1000)
#define PIECE     ((size_t)256)
#define A_BUFFER  (MLC_BUFFER / PIECE) /* pieces */
#define N_PIECES  (5 * A_BUFFER + 4)

/* --- a feed that brings what is wanted, at once -------------------------- */

struct toy {
    struct mlc_budget *budget;
    const uint8_t *bytes;
    size_t size;
    pthread_mutex_t turn; /* one at a time brings buffers */
    pthread_mutex_t lock;
    unsigned puts[64];  /* lock; of each buffer */
    unsigned bad_below; /* lock; so many puts of the last buffer are wrong */
    unsigned n_wants;   /* lock */
    bool is_silent;     /* lock; brings nothing */
    atomic_bool is_freed;
};

struct dead_wait {
    struct mlc_wait wait;
    atomic_uint n_wakes;
};

struct fixture {
    struct bench bench;
    uint8_t *bytes;
    struct mlc_object_spec spec;
    /* Here, not on the stack: the pool may be the last to let go. */
    struct toy t, t2;
    struct dead_wait w;
};

#define NONE UINT64_MAX

/* false: not now, toy_room() follows. */
static bool
toy_put(struct toy *t, struct mlc_object *obj, uint64_t index)
{
    size_t off = index * MLC_BUFFER;
    size_t len = t->size - off < MLC_BUFFER ? t->size - off : MLC_BUFFER;
    uint8_t *buffer;
    int r;

    buffer = mlc_budget_take_buffer(t->budget);
    assert_non_null(buffer);
    memcpy(buffer, t->bytes + off, len);
    pthread_mutex_lock(&t->lock);
    if (off + len == t->size && t->puts[index] < t->bad_below)
        buffer[0] ^= 1;
    t->puts[index]++;
    pthread_mutex_unlock(&t->lock);
    r = mlc_object_put_span(obj, off / mlc_object_piece_size(obj), buffer, len);
    if (r < 0)
        mlc_budget_give_buffer(t->budget, buffer);
    if (r == -EAGAIN) {
        pthread_mutex_lock(&t->lock);
        t->puts[index]--;
        pthread_mutex_unlock(&t->lock);
    }
    return r != -EAGAIN;
}

static void
toy_bring(struct toy *t, struct mlc_object *obj)
{
    size_t a_buffer = MLC_BUFFER / mlc_object_piece_size(obj);
    uint64_t w;

    pthread_mutex_lock(&t->turn);
    w = mlc_object_next_wanted(obj, 0, NONE);
    while (w != NONE && toy_put(t, obj, w / a_buffer))
        w = mlc_object_next_wanted(obj, mlc_object_span_end(obj, w), NONE);
    pthread_mutex_unlock(&t->turn);
}

static void
toy_want(void *feed, struct mlc_object *obj, uint64_t index)
{
    struct toy *t = feed;
    bool is_silent;

    pthread_mutex_lock(&t->lock);
    t->n_wants++;
    is_silent = t->is_silent;
    pthread_mutex_unlock(&t->lock);
    if (!is_silent)
        toy_bring(t, obj);
}

static void
toy_opened(void *feed, struct mlc_object *obj, bool is_open)
{
}

static void
toy_room(void *feed, struct mlc_object *obj)
{
    toy_bring(feed, obj);
}

static void
toy_free(void *feed)
{
    ((struct toy *)feed)->is_freed = true;
}

static const struct mlc_feed_ops toy_ops = {
    .want = toy_want, .opened = toy_opened, .free = toy_free, .room = toy_room};

static void
toy_init(struct toy *t, struct fixture *f)
{
    memset(t, 0, sizeof(*t));
    t->budget = f->bench.budget;
    t->bytes = f->bytes;
    t->size = (size_t)f->spec.size;
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->turn, NULL);
}

static unsigned
toy_n_puts(struct toy *t)
{
    unsigned n = 0;

    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < 64; i++)
        n += t->puts[i];
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* The object, opened; its feed is t. */
static struct mlc_object *
get_open(struct fixture *f, struct toy *t)
{
    struct mlc_object *obj = NULL;

    f->spec.feed = t;
    assert_int_equal(mlc_store_get(f->bench.store, &f->spec, &obj), 0);
    mlc_object_open(obj);
    return obj;
}

static void
put_away(struct mlc_object *obj)
{
    mlc_object_close(obj);
    mlc_object_unref(obj);
}

static void
restart(struct fixture *f)
{
    bench_stop(&f->bench);
    bench_start(&f->bench);
}

static void
dead_wake(struct mlc_wait *w)
{
    ((struct dead_wait *)(void *)w)->n_wakes++;
}

static void
dead_free(struct mlc_wait *w)
{
}

static struct mlc_wait *
dead_get(struct mlc_ask *ask)
{
    return ask->arg;
}

/* A wait that only counts. */
static struct dead_wait *
dead_init(struct fixture *f)
{
    atomic_init(&f->w.wait.refs, 1);
    f->w.wait.wake = dead_wake;
    f->w.wait.free = dead_free;
    return &f->w;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    bench_init(&f->bench, 64 * MLC_BUFFER);
    f->bytes = make_bytes(SIZE, 7);
    f->spec = (struct mlc_object_spec){
        .key = "test/one",
        .label = "test: one",
        .size = SIZE,
        .digest = sha256_of(f->bytes, SIZE),
        .homefd = f->bench.dirfd,
        .home = "home/sub/one",
        .mode = 0644,
        .feed_ops = &toy_ops,
        .published = bench_published,
        .published_arg = &f->bench,
    };
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    bench_done(&f->bench);
    free(f->bytes);
    free(f);
    return 0;
}

/* --- the tests ----------------------------------------------------------- */

static void
whole_file_is_right_and_moves_home(void **state)
{
    struct fixture *f = *state;
    struct mlc_store_stats stats;
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, 70001), 0);
    assert_int_equal(mlc_object_get_state(obj), MLC_OBJECT_WHOLE);
    bench_wait_published(&f->bench, 1);
    assert_true(mlc_object_is_published(obj));
    assert_true(bench_file_is(&f->bench, "home/sub/one", f->bytes, SIZE));
    assert_int_equal(bench_count(&f->bench, "home/sub"), 1);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    assert_int_equal(toy_n_puts(t), N_BUFFERS);
    mlc_store_get_stats(f->bench.store, &stats);
    assert_int_equal(stats.bytes_fetched, SIZE);
    assert_int_equal(stats.published, 1);
    assert_int_equal(stats.partial_bytes, 0);
    put_away(obj);
    bench_stop(&f->bench);
    assert_true(t->is_freed);
}

static void
git_digest_and_none_work_too(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;
    struct mlc_digest_state *s = NULL;

    assert_int_equal(mlc_digest_new(MLC_DIGEST_GIT, SIZE, &s), 0);
    mlc_digest_update(s, f->bytes, SIZE);
    mlc_digest_finish(s, &f->spec.digest);
    mlc_digest_free(s);
    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, MLC_BUFFER), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);

    f->spec.digest.kind = MLC_DIGEST_NONE;
    f->spec.key = "test/two";
    f->spec.home = "two";
    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, MLC_BUFFER), 0);
    bench_wait_published(&f->bench, 2);
    assert_true(bench_file_is(&f->bench, "two", f->bytes, SIZE));
    put_away(obj);
}

static void
looking_up_costs_nothing_on_disk(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj = NULL;
    struct toy *const t = &f->t;

    toy_init(t, f);
    f->spec.feed = t;
    assert_int_equal(mlc_store_get(f->bench.store, &f->spec, &obj), 0);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    assert_int_equal(mlc_object_fd(obj), -1);
    mlc_object_open(obj);
    put_away(obj);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
}

static void
restart_resumes_without_fetching_twice(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(read_object(obj, 0, buf, 10), 0);
    assert_int_equal(read_object(obj, 3 * MLC_BUFFER, buf, 10), 0);
    put_away(obj);
    assert_int_equal(mlc_store_present(f->bench.store, "test/one"),
                     2 * MLC_BUFFER);
    restart(f);
    assert_true(mlc_store_present(f->bench.store, "test/one") >=
                2 * MLC_BUFFER);
    obj = get_open(f, t);
    assert_int_equal(mlc_object_present(obj), 2 * MLC_BUFFER);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    assert_int_equal(toy_n_puts(t), N_BUFFERS);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
all_there_after_a_restart_is_published_unasked(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    /* The last buffer stays out, then comes while nobody lets it be checked. */
    for (uint64_t i = 0; i < N_BUFFERS - 1; i++)
        assert_int_equal(read_object(obj, i * MLC_BUFFER, buf, 10), 0);
    put_away(obj);
    restart(f);
    obj = get_open(f, t);
    toy_put(t, obj, N_BUFFERS - 1);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "home/sub/one", f->bytes, SIZE));
    assert_int_equal(toy_n_puts(t), N_BUFFERS);
    put_away(obj);
}

static void
damaged_piece_is_fetched_again(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;
    int fd;

    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(read_object(obj, 0, buf, 10), 0);
    assert_int_equal(read_object(obj, 2 * MLC_BUFFER, buf, 10), 0);
    put_away(obj);
    bench_stop(&f->bench);
    fd = bench_open_object(&f->bench, ".data");
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, buf, 1, 2 * MLC_BUFFER + 5), 1);
    buf[0] ^= 0x10;
    assert_int_equal(pwrite(fd, buf, 1, 2 * MLC_BUFFER + 5), 1);
    close(fd);
    bench_start(&f->bench);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, MLC_BUFFER, 50000), 0);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    assert_int_equal(t->puts[0], 1);
    assert_int_equal(t->puts[2], 2);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
files_of_no_use_are_removed_at_start(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;
    int fd;

    toy_init(t, f);
    for (int round = 0; round < 2; round++) {
        obj = get_open(f, t);
        assert_int_equal(read_object(obj, 0, buf, 10), 0);
        put_away(obj);
        assert_int_equal(bench_count(&f->bench, "objects"), 2);
        bench_stop(&f->bench);
        fd = bench_open_object(&f->bench, round == 0 ? ".data" : ".map");
        if (round == 0)
            assert_int_equal(ftruncate(fd, 100), 0);
        else
            assert_int_equal(pwrite(fd, "x", 1, 16), 1);
        close(fd);
        bench_start(&f->bench);
        assert_int_equal(bench_count(&f->bench, "objects"), 0);
        assert_int_equal(mlc_store_present(f->bench.store, "test/one"), 0);
    }
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
mismatch_unseen_is_refetched_once(void **state)
{
    struct fixture *f = *state;
    struct mlc_store_stats stats;
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    t->bad_below = 1;
    obj = get_open(f, t);
    /* In one question: nothing is given away before all is there. */
    assert_int_equal(compare_object(obj, f->bytes, 0, SIZE), 0);
    assert_int_equal(t->puts[0], 2);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "home/sub/one", f->bytes, SIZE));
    mlc_store_get_stats(f->bench.store, &stats);
    assert_int_equal(stats.digest_errors, 1);
    put_away(obj);
}

static void
mismatch_twice_is_an_error_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    t->bad_below = 2;
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, SIZE), -EIO);
    assert_int_equal(t->puts[0], 2);
    bench_wait_rejected(&f->bench, 1);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    assert_int_equal(bench_count(&f->bench, "home"), 0);
    put_away(obj);
}

static void
mismatch_after_bytes_were_given_kills(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj, *other;
    uint8_t buf[10];
    struct toy *const t = &f->t, *const t2 = &f->t2;

    toy_init(t, f);
    toy_init(t2, f);
    t->bad_below = 1;
    obj = get_open(f, t);
    assert_int_equal(read_object(obj, 0, buf, 10), 0);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), -EIO);
    assert_int_equal(mlc_object_get_state(obj), MLC_OBJECT_DEAD);
    assert_int_equal(read_object(obj, 0, buf, 10), -EIO);
    bench_wait_rejected(&f->bench, 1);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    /* The next one starts afresh while the dead one is still open. */
    other = get_open(f, t2);
    assert_true(other != obj);
    assert_int_equal(compare_object(other, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
    put_away(other);
    assert_true(bench_file_is(&f->bench, "home/sub/one", f->bytes, SIZE));
}

static void
last_piece_to_arrive_is_withheld(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;

    toy_init(t, f);
    t->bad_below = 99;
    f->spec.digest.bytes[0] ^= 1;
    obj = get_open(f, t);
    for (uint64_t i = 0; i < N_BUFFERS; i++)
        if (i != 2)
            assert_int_equal(read_object(obj, i * MLC_BUFFER, buf, 10), 0);
    assert_int_equal(read_object(obj, 2 * MLC_BUFFER, buf, 10), -EIO);
    put_away(obj);
}

static void
one_piece_has_no_map(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    f->spec.size = 100;
    f->spec.digest = sha256_of(f->bytes, 100);
    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(bench_count(&f->bench, "objects"), 1);
    assert_int_equal(compare_object(obj, f->bytes, 0, 10), 0);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "home/sub/one", f->bytes, 100));
    put_away(obj);
}

static void
empty_file_needs_no_transfer(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;

    f->spec.size = 0;
    f->spec.digest = sha256_of("", 0);
    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(read_object(obj, 0, buf, 0), 0);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "home/sub/one", "", 0));
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    put_away(obj);

    f->spec.key = "test/wrong";
    f->spec.digest.bytes[3] ^= 1;
    toy_init(t, f);
    obj = get_open(f, t);
    bench_wait_rejected(&f->bench, 1);
    assert_int_equal(read_object(obj, 0, buf, 0), -EIO);
    put_away(obj);
    assert_int_equal(t->n_wants, 0);
}

static void
two_homes_are_one_file(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj, *same = NULL;
    struct stat a, b;
    struct toy *const t = &f->t, *const t2 = &f->t2;

    toy_init(t, f);
    toy_init(t2, f);
    obj = get_open(f, t);
    f->spec.home = "other/two";
    f->spec.feed = t2;
    assert_int_equal(mlc_store_get(f->bench.store, &f->spec, &same), 0);
    assert_ptr_equal(obj, same);
    assert_true(t2->is_freed);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 2);
    assert_int_equal(fstatat(f->bench.dirfd, "home/sub/one", &a, 0), 0);
    assert_int_equal(fstatat(f->bench.dirfd, "other/two", &b, 0), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(bench_count(&f->bench, "other"), 1);
    mlc_object_unref(same);
    put_away(obj);
}

static void
home_added_to_a_finished_object_is_made(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj, *same;
    struct toy *const t = &f->t, *const t2 = &f->t2;

    toy_init(t, f);
    toy_init(t2, f);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    f->spec.home = "other/two";
    same = get_open(f, t2);
    bench_wait_published(&f->bench, 2);
    assert_true(bench_file_is(&f->bench, "other/two", f->bytes, SIZE));
    put_away(same);
    put_away(obj);
}

static void
home_removed_and_asked_for_is_made_and_told_again(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj, *same;
    struct toy *const t = &f->t, *const t2 = &f->t2;

    toy_init(t, f);
    toy_init(t2, f);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    assert_int_equal(unlinkat(f->bench.dirfd, f->spec.home, 0), 0);
    same = get_open(f, t2);
    bench_wait_published(&f->bench, 2);
    assert_true(bench_file_is(&f->bench, f->spec.home, f->bytes, SIZE));
    put_away(same);
    put_away(obj);
}

static void
home_unwanted_while_open_is_not_made(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    mlc_store_unwant(f->bench.store, f->spec.key, f->spec.homefd, f->spec.home);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    while (mlc_object_get_state(obj) != MLC_OBJECT_WHOLE)
        sched_yield();
    put_away(obj);
    bench_stop(&f->bench);
    assert_false(bench_file_is(&f->bench, f->spec.home, f->bytes, SIZE));
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
}

static void
home_unwanted_and_asked_for_anew_is_made(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj, *same;
    struct toy *const t = &f->t, *const t2 = &f->t2;

    toy_init(t, f);
    toy_init(t2, f);
    obj = get_open(f, t);
    mlc_store_unwant(f->bench.store, f->spec.key, f->spec.homefd, f->spec.home);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    same = get_open(f, t2);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, f->spec.home, f->bytes, SIZE));
    put_away(same);
    put_away(obj);
}

static void
home_unwanted_leaves_the_other(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj, *same = NULL;
    struct toy *const t = &f->t, *const t2 = &f->t2;

    toy_init(t, f);
    toy_init(t2, f);
    obj = get_open(f, t);
    f->spec.home = "other/two";
    f->spec.feed = t2;
    assert_int_equal(mlc_store_get(f->bench.store, &f->spec, &same), 0);
    mlc_store_unwant(f->bench.store, f->spec.key, f->spec.homefd,
                     "home/sub/one");
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "other/two", f->bytes, SIZE));
    assert_false(bench_file_is(&f->bench, "home/sub/one", f->bytes, SIZE));
    mlc_object_unref(same);
    put_away(obj);
}

static void
dead_waiter_has_no_claim(void **state)
{
    struct fixture *f = *state;
    struct dead_wait *const w = dead_init(f);
    struct mlc_ask ask = {.get_wait = dead_get, .arg = w};
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    t->is_silent = true;
    obj = get_open(f, t);
    ask.only_known = true;
    assert_int_equal(mlc_object_want(obj, 0, 1, &ask), -EAGAIN);
    assert_int_equal(mlc_object_next_wanted(obj, 0, N_PIECES), NONE);
    assert_int_equal(t->n_wants, 0);
    ask.only_known = false;
    assert_int_equal(mlc_object_want(obj, 2 * MLC_BUFFER, 1, &ask), -EAGAIN);
    assert_int_equal(mlc_object_next_wanted(obj, 0, N_PIECES), 2 * A_BUFFER);
    assert_int_equal(mlc_object_next_wanted(obj, 2 * A_BUFFER + 1, N_PIECES),
                     NONE);
    assert_int_equal(t->n_wants, 1);
    atomic_store(&w->wait.is_dead, true);
    assert_int_equal(mlc_object_next_wanted(obj, 0, N_PIECES), NONE);
    put_away(obj);
    assert_int_equal(atomic_load(&w->wait.refs), 1);
}

static void
failure_is_told_and_remembered_for_its_range(void **state)
{
    struct fixture *f = *state;
    struct dead_wait *const w = dead_init(f);
    struct mlc_ask ask = {.get_wait = dead_get, .arg = w};
    struct mlc_object *obj;
    struct toy *const t = &f->t;
    uint8_t byte;

    toy_init(t, f);
    t->is_silent = true;
    obj = get_open(f, t);
    assert_int_equal(mlc_object_want(obj, 0, 1, &ask), -EAGAIN);
    mlc_object_fail(obj, 0, 2 * A_BUFFER, -EACCES);
    assert_int_equal(w->n_wakes, 1);
    assert_int_equal(mlc_object_want(obj, 0, 1, &ask), -EACCES);
    assert_int_equal(mlc_object_want(obj, 2 * MLC_BUFFER, 1, &ask), -EAGAIN);
    /* What arrives after all is given. */
    toy_put(t, obj, 0);
    assert_int_equal(read_object(obj, 0, &byte, 1), 0);
    put_away(obj);
}

static void
what_is_on_disk_does_not_fail_with_the_rest(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t byte;
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(read_object(obj, 3 * MLC_BUFFER, &byte, 1), 0);
    put_away(obj);
    /* Now it has to be checked before it is believed. */
    t->is_silent = true;
    obj = get_open(f, t);
    mlc_object_fail(obj, 0, N_PIECES, -ENOSPC);
    assert_int_equal(read_object(obj, 3 * MLC_BUFFER, &byte, 1), 0);
    assert_int_equal(byte, f->bytes[3 * MLC_BUFFER]);
    assert_int_equal(read_object(obj, 2 * MLC_BUFFER, &byte, 1), -ENOSPC);
    put_away(obj);
}

static void
stop_wakes_everybody(void **state)
{
    struct fixture *f = *state;
    struct dead_wait *const w = dead_init(f);
    struct mlc_ask ask = {.get_wait = dead_get, .arg = w};
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    t->is_silent = true;
    obj = get_open(f, t);
    assert_int_equal(mlc_object_want(obj, 0, 1, &ask), -EAGAIN);
    mlc_store_stop(f->bench.store);
    assert_int_equal(w->n_wakes, 1);
    assert_int_equal(mlc_object_want(obj, 0, 1, &ask), -EIO);
    put_away(obj);
}

static void
full_disk_is_an_error_that_passes(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct rlimit old, low;
    uint8_t buf[10];
    struct toy *const t = &f->t;
    int r;

    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 2 * MLC_BUFFER;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_int_equal(read_object(obj, 0, buf, 10), 0);
    r = read_object(obj, 3 * MLC_BUFFER, buf, 10);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(r, -EFBIG); /* the limit's way to say ENOSPC */
    do {
        r = compare_object(obj, f->bytes, 0, 50000);
    } while (r == -EFBIG);
    assert_int_equal(r, 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
other_validator_is_stale_once_bytes_are_there(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(mlc_object_set_validator(obj, "\"a\"", false), 0);
    assert_int_equal(mlc_object_set_validator(obj, "\"b\"", false), 0);
    assert_int_equal(mlc_object_set_validator(obj, "\"a\"", true), -ESTALE);
    assert_int_equal(read_object(obj, 0, buf, 10), 0);
    put_away(obj);
    restart(f);
    obj = get_open(f, t);
    assert_int_equal(mlc_object_set_validator(obj, "\"b\"", false), 0);
    assert_int_equal(mlc_object_set_validator(obj, "\"a\"", false), -ESTALE);
    mlc_object_kill(obj);
    assert_int_equal(read_object(obj, 0, buf, 10), -EIO);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    put_away(obj);
}

static void
drop_frees_what_nobody_has_open(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;

    assert_int_equal(mlc_store_drop(f->bench.store, "test/one"), 0);
    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(read_object(obj, 0, buf, 10), 0);
    assert_int_equal(mlc_store_drop(f->bench.store, "test/one"), -EBUSY);
    put_away(obj);
    restart(f);
    assert_int_equal(mlc_store_drop(f->bench.store, "test/one"), 0);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    assert_int_equal(mlc_store_present(f->bench.store, "test/one"), 0);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
object_without_a_home_is_read_until_it_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[10];
    struct toy *const t = &f->t;

    f->spec.home = NULL;
    f->spec.digest.kind = MLC_DIGEST_NONE;
    toy_init(t, f);
    obj = get_open(f, t);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    while (mlc_object_get_state(obj) != MLC_OBJECT_WHOLE)
        sched_yield();
    assert_int_equal(mlc_store_drop(f->bench.store, "test/one"), -EBUSY);
    put_away(obj);
    /* It stays on disk, over a restart too. */
    restart(f);
    assert_int_equal(mlc_store_present(f->bench.store, "test/one"), SIZE);
    toy_init(&f->t2, f);
    obj = get_open(f, &f->t2);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    assert_int_equal(toy_n_puts(&f->t2), 0);
    while (mlc_object_get_state(obj) != MLC_OBJECT_WHOLE)
        sched_yield();
    /* Whole, not open, and still referred to. */
    mlc_object_close(obj);
    assert_int_equal(mlc_store_drop(f->bench.store, "test/one"), 0);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    assert_int_equal(mlc_object_get_state(obj), MLC_OBJECT_DEAD);
    assert_int_equal(read_object(obj, 0, buf, 10), -EIO);
    mlc_object_unref(obj);
}

static bool
is_key(void *arg, const char *key)
{
    return strcmp(key, arg) == 0;
}

static void
pruning_drops_what_is_of_no_use(void **state)
{
    static const char *const keys[] = {"test/one", "test/two", "test/open",
                                       "other/one"};
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct mlc_store *s;
    char kept[] = "test/two";
    uint8_t byte;
    struct toy *const t = &f->t;

    toy_init(t, f);
    for (size_t i = 0; i < 4; i++) {
        f->spec.key = keys[i];
        obj = get_open(f, t);
        assert_int_equal(read_object(obj, 0, &byte, 1), 0);
        put_away(obj);
    }
    restart(f);
    s = f->bench.store;
    f->spec.key = "test/open";
    obj = get_open(f, t);
    mlc_store_prune(s, "test/", is_key, kept);
    assert_int_equal(mlc_store_present(s, "test/one"), 0);
    assert_true(mlc_store_present(s, "test/two") > 0);
    assert_true(mlc_store_present(s, "test/open") > 0);
    assert_true(mlc_store_present(s, "other/one") > 0);
    assert_int_equal(bench_count(&f->bench, "objects"), 3 * 2);
    put_away(obj);
}

static void *
read_all(void *arg)
{
    struct {
        struct mlc_object *obj;
        const uint8_t *bytes;
    } *a = arg;
    intptr_t r = compare_object(a->obj, a->bytes, 0, 100000);

    return (void *)r;
}

static void
many_readers_cause_one_transfer(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[16];
    struct toy *const t = &f->t;
    struct {
        struct mlc_object *obj;
        const uint8_t *bytes;
    } a;

    toy_init(t, f);
    a.obj = get_open(f, t);
    a.bytes = f->bytes;
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &a), 0);
    for (size_t i = 0; i < 16; i++) {
        void *r = NULL;

        assert_int_equal(pthread_join(threads[i], &r), 0);
        assert_ptr_equal(r, NULL);
    }
    bench_wait_published(&f->bench, 1);
    put_away(a.obj);
}

/* --- pieces and spans ------------------------------------------------------
 */

static void
pieces_are_small_in_small_files(void **state)
{
    const uint64_t mib = UINT64_C(1) << 20, gib = UINT64_C(1) << 30;
    const struct {
        uint64_t size;
        size_t piece;
    } cases[] = {
        {0, MLC_BUFFER},          {1, MLC_BUFFER},
        {MLC_BUFFER, MLC_BUFFER}, /* one piece */
        {MLC_BUFFER + 1, 256},    {12 * mib, 256},
        {64 * mib - 1, 256},      {64 * mib, 512},
        {gib - 1, 4096},          {gib, 8192},
        {4 * gib, 32768},         {32 * gib, MLC_BUFFER},
        {INT64_MAX, MLC_BUFFER},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(mlc_piece_size(cases[i].size), cases[i].piece);
}

static struct mlc_object *
get_open_of_size(struct fixture *f, struct toy *t, size_t size)
{
    f->spec.size = size;
    f->spec.digest = sha256_of(f->bytes, size);
    toy_init(t, f);
    return get_open(f, t);
}

/* The bytes of the pieces [from, to), changed by flip, are handed over. */
static int
put_span(struct fixture *f, struct mlc_object *obj, uint64_t from, uint64_t to,
         uint8_t flip)
{
    size_t len = (size_t)mlc_object_span_len(obj, from, to);
    uint8_t *buffer = mlc_budget_take_buffer(f->bench.budget);
    int r;

    assert_non_null(buffer);
    memcpy(buffer, f->bytes + from * PIECE, len);
    buffer[0] ^= flip;
    r = mlc_object_put_span(obj, from, buffer, len);
    if (r < 0)
        mlc_budget_give_buffer(f->bench.budget, buffer);
    return r;
}

/* Until all of it is on disk. */
static void
put_and_wait(struct fixture *f, struct mlc_object *obj, uint64_t from,
             uint64_t to, uint8_t flip)
{
    uint64_t then = mlc_object_present(obj);

    for (uint64_t i = from; i < to; i++)
        if (!mlc_object_has(obj, i))
            then += mlc_object_span_len(obj, i, i + 1);
    while (put_span(f, obj, from, to, flip) == -EAGAIN)
        sched_yield();
    while (mlc_object_present(obj) != then &&
           mlc_object_get_state(obj) == MLC_OBJECT_PARTIAL)
        sched_yield();
}

static void
odd_sizes_come_whole(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {
        MLC_BUFFER - 1,         MLC_BUFFER,         MLC_BUFFER + 1,
        MLC_BUFFER + PIECE - 1, MLC_BUFFER + PIECE, MLC_BUFFER + PIECE + 1,
        2 * MLC_BUFFER - PIECE, 2 * MLC_BUFFER - 1, 2 * MLC_BUFFER,
        2 * MLC_BUFFER + 1,
    };
    char key[32], home[32];

    f->spec.key = key;
    f->spec.home = home;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct mlc_object *obj;

        snprintf(key, sizeof(key), "test/%zu", i);
        snprintf(home, sizeof(home), "odd/%zu", i);
        obj = get_open_of_size(f, &f->t, sizes[i]);
        assert_int_equal(compare_object(obj, f->bytes, 0, 70001), 0);
        bench_wait_published(&f->bench, (unsigned)i + 1);
        assert_true(bench_file_is(&f->bench, home, f->bytes, sizes[i]));
        put_away(obj);
        restart(f);
    }
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
}

static void
only_the_pieces_of_a_span_are_there(void **state)
{
    struct fixture *f = *state;
    struct dead_wait *const w = dead_init(f);
    struct mlc_ask ask = {.get_wait = dead_get, .arg = w};
    struct mlc_object *obj;
    struct toy *const t = &f->t;
    uint8_t buf[3 * PIECE];

    toy_init(t, f);
    t->is_silent = true;
    obj = get_open(f, t);
    put_and_wait(f, obj, 5, 8, 0);
    assert_int_equal(mlc_object_present(obj), 3 * PIECE);
    assert_int_equal(read_object(obj, 5 * PIECE, buf, 3 * PIECE), 0);
    assert_memory_equal(buf, f->bytes + 5 * PIECE, 3 * PIECE);
    assert_int_equal(mlc_object_next_present(obj, 0, N_PIECES), 5);
    assert_int_equal(mlc_object_next_missing(obj, 5), 8);
    assert_int_equal(mlc_object_next_present(obj, 8, N_PIECES), N_PIECES);
    assert_int_equal(mlc_object_want(obj, 5 * PIECE - 1, 2, &ask), -EAGAIN);
    assert_int_equal(mlc_object_want(obj, 8 * PIECE - 1, 2, &ask), -EAGAIN);
    assert_int_equal(mlc_object_next_wanted(obj, 0, N_PIECES), 4);
    assert_int_equal(mlc_object_next_wanted(obj, 5, N_PIECES), 8);
    assert_int_equal(mlc_object_wanted_end(obj, 8, N_PIECES), 9);
    put_away(obj);
}

static void
what_is_wanted_together_ends_together(void **state)
{
    struct fixture *f = *state;
    struct dead_wait *const w = dead_init(f);
    struct mlc_ask ask = {.get_wait = dead_get, .arg = w};
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    t->is_silent = true;
    obj = get_open(f, t);
    assert_int_equal(mlc_object_want(obj, 20 * PIECE, PIECE, &ask), -EAGAIN);
    assert_int_equal(mlc_object_want(obj, 12 * PIECE, 8 * PIECE, &ask),
                     -EAGAIN);
    assert_int_equal(mlc_object_want(obj, 10 * PIECE, 3 * PIECE, &ask),
                     -EAGAIN);
    assert_int_equal(mlc_object_want(obj, 22 * PIECE, 1, &ask), -EAGAIN);
    assert_int_equal(mlc_object_wanted_end(obj, 10, N_PIECES), 21);
    assert_int_equal(mlc_object_wanted_end(obj, 10, 15), 15);
    assert_int_equal(mlc_object_wanted_end(obj, 22, N_PIECES), 23);
    put_away(obj);
}

/* What was there stays: it may have been read. */
static void
span_over_what_is_there_brings_the_rest(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    put_and_wait(f, obj, 3, 5, 0);
    put_and_wait(f, obj, 7, 8, 0);
    /* Its first byte is another one, where nothing is missing. */
    put_and_wait(f, obj, 3, 9, 0x40);
    assert_int_equal(mlc_object_present(obj), 6 * PIECE);
    put_and_wait(f, obj, 0, A_BUFFER, 0);
    assert_int_equal(mlc_object_present(obj), MLC_BUFFER);
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "home/sub/one", f->bytes, SIZE));
    put_away(obj);
}

static void
span_of_no_object_is_not_taken_for_one(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint64_t index;
        size_t len;
    } cases[] = {
        {0, 0},
        {0, PIECE - 1},
        {0, PIECE + 1},
        {N_PIECES, PIECE},
        {N_PIECES - 1, PIECE},
        {N_PIECES - 1, 1000 % PIECE - 1},
        {N_PIECES - 2, 3 * PIECE},
        {UINT64_MAX, PIECE},
        {UINT64_MAX - 1, 2 * PIECE},
    };
    struct mlc_object *obj;

    toy_init(&f->t, f);
    obj = get_open(f, &f->t);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        void *buffer = mlc_budget_take_buffer(f->bench.budget);

        assert_int_equal(
            mlc_object_put_span(obj, cases[i].index, buffer, cases[i].len), 0);
        assert_int_equal(mlc_object_next_present(obj, 0, N_PIECES), N_PIECES);
    }
    assert_int_equal(mlc_budget_used(f->bench.budget), 0);
    put_away(obj);
}

static void
restart_keeps_single_pieces(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;

    toy_init(t, f);
    obj = get_open(f, t);
    /* The ends of two buffers, and the short last one. */
    put_and_wait(f, obj, A_BUFFER - 3, A_BUFFER + 2, 0);
    put_and_wait(f, obj, 7, 8, 0);
    put_and_wait(f, obj, N_PIECES - 1, N_PIECES, 0);
    put_away(obj);
    restart(f);
    t->is_silent = true;
    obj = get_open(f, t);
    assert_int_equal(mlc_object_present(obj), 6 * PIECE + 1000 % PIECE);
    assert_int_equal(mlc_object_next_present(obj, 0, N_PIECES), 7);
    assert_int_equal(mlc_object_next_missing(obj, 7), 8);
    assert_int_equal(mlc_object_next_present(obj, 8, N_PIECES), A_BUFFER - 3);
    assert_int_equal(mlc_object_next_missing(obj, A_BUFFER), A_BUFFER + 2);
    t->is_silent = false;
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

/* Flips a bit of the file's byte. */
static void
damage(struct fixture *f, size_t off)
{
    int fd = bench_open_object(&f->bench, ".data");
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
    close(fd);
}

static void
damage_costs_its_piece_alone(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;
    uint8_t buf[PIECE];

    toy_init(t, f);
    obj = get_open(f, t);
    put_and_wait(f, obj, 0, A_BUFFER, 0);
    put_away(obj);
    bench_stop(&f->bench);
    damage(f, 9 * PIECE);
    damage(f, 11 * PIECE - 1);
    damage(f, MLC_BUFFER - 1);
    bench_start(&f->bench);
    toy_init(t, f);
    t->is_silent = true;
    obj = get_open(f, t);
    /* All of the buffer is looked at for one piece. */
    assert_int_equal(read_object(obj, 8 * PIECE, buf, PIECE), 0);
    assert_memory_equal(buf, f->bytes + 8 * PIECE, PIECE);
    assert_int_equal(mlc_object_present(obj), MLC_BUFFER - 3 * PIECE);
    assert_int_equal(mlc_object_next_missing(obj, 0), 9);
    assert_int_equal(mlc_object_next_missing(obj, 11), A_BUFFER - 1);
    /* And what is bad is forgotten on disk, too. */
    put_away(obj);
    restart(f);
    obj = get_open(f, t);
    assert_int_equal(mlc_object_present(obj), MLC_BUFFER - 3 * PIECE);
    t->is_silent = false;
    assert_int_equal(compare_object(obj, f->bytes, 0, 50000), 0);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "home/sub/one", f->bytes, SIZE));
    put_away(obj);
}

static void
map_of_other_pieces_is_of_no_use(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;
    uint8_t head[4096];
    uint32_t piece = (uint32_t)MLC_BUFFER;
    uint64_t sum = 0;
    int fd;

    toy_init(t, f);
    obj = get_open(f, t);
    put_and_wait(f, obj, 0, 4, 0);
    put_away(obj);
    bench_stop(&f->bench);
    /* As if it had been written when all pieces were of that size. */
    fd = bench_open_object(&f->bench, ".map");
    assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
    memcpy(head + 12, &piece, sizeof(piece));
    memset(head + 24, 0, sizeof(sum));
    sum = XXH3_64bits(head, sizeof(head));
    memcpy(head + 24, &sum, sizeof(sum));
    assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
    close(fd);
    bench_start(&f->bench);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
    assert_int_equal(mlc_store_present(f->bench.store, "test/one"), 0);
}

/* The last span, however small its pieces. */
static void
last_span_is_withheld_as_a_whole(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    struct toy *const t = &f->t;
    uint8_t buf[PIECE];

    f->spec.digest.bytes[0] ^= 1;
    toy_init(t, f);
    t->is_silent = true;
    obj = get_open(f, t);
    for (uint64_t i = 1; i < N_BUFFERS; i++)
        put_and_wait(f, obj, i * A_BUFFER,
                     i < 5 ? (i + 1) * A_BUFFER : N_PIECES, 0);
    assert_int_equal(read_object(obj, MLC_BUFFER, buf, PIECE), 0);
    put_and_wait(f, obj, 0, A_BUFFER, 0);
    assert_int_equal(read_object(obj, 3 * PIECE, buf, PIECE), -EIO);
    put_away(obj);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(whole_file_is_right_and_moves_home),
        T(git_digest_and_none_work_too),
        T(looking_up_costs_nothing_on_disk),
        T(restart_resumes_without_fetching_twice),
        T(all_there_after_a_restart_is_published_unasked),
        T(damaged_piece_is_fetched_again),
        T(files_of_no_use_are_removed_at_start),
        T(mismatch_unseen_is_refetched_once),
        T(mismatch_twice_is_an_error_and_leaves_nothing),
        T(mismatch_after_bytes_were_given_kills),
        T(last_piece_to_arrive_is_withheld),
        T(one_piece_has_no_map),
        T(empty_file_needs_no_transfer),
        T(two_homes_are_one_file),
        T(home_added_to_a_finished_object_is_made),
        T(home_removed_and_asked_for_is_made_and_told_again),
        T(home_unwanted_while_open_is_not_made),
        T(home_unwanted_and_asked_for_anew_is_made),
        T(home_unwanted_leaves_the_other),
        T(dead_waiter_has_no_claim),
        T(failure_is_told_and_remembered_for_its_range),
        T(what_is_on_disk_does_not_fail_with_the_rest),
        T(stop_wakes_everybody),
        T(full_disk_is_an_error_that_passes),
        T(other_validator_is_stale_once_bytes_are_there),
        T(drop_frees_what_nobody_has_open),
        T(object_without_a_home_is_read_until_it_is_dropped),
        T(pruning_drops_what_is_of_no_use),
        T(many_readers_cause_one_transfer),
        T(pieces_are_small_in_small_files),
        T(odd_sizes_come_whole),
        T(only_the_pieces_of_a_span_are_there),
        T(what_is_wanted_together_ends_together),
        T(span_over_what_is_there_brings_the_rest),
        T(span_of_no_object_is_not_taken_for_one),
        T(restart_keeps_single_pieces),
        T(damage_costs_its_piece_alone),
        T(map_of_other_pieces_is_of_no_use),
        T(last_span_is_withheld_as_a_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
