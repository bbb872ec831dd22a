/* SPDX-License-Identifier: MIT */
/* How much memory headers take while folders are made of them: what a mount
 * cannot show. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/cache/cache.h"
#include "backends/cache/pool.h"
#include "backends/cache/source.h"
#include "backends/diffusers_i.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"

#define LONG   ((size_t)15 << 20)
#define N_LONG (MLC_DC_MAX_LIVE / LONG) /* that find room */

struct fixture {
    char dir[64];
    struct mlc_cache cache;
    struct mlc_domain d;
    struct mlc_dc dc;
    struct mlc_wait wait;
    unsigned n_woken;
};

static bool
is_inside(const struct mlc_domain *d, const char *path, const char **ret)
{
    return false;
}

static struct mlc_domain *
find(const struct mlc_domain *d, const char *inside, const char **ret)
{
    return NULL;
}

static void
write_file(struct fixture *f, const char *name, const char *head,
           const void *text, size_t len)
{
    FILE *file;
    char *path;

    assert_true(asprintf(&path, "%s/%s", f->dir, name) > 0);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(head, 1, 8, file), 8);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    free(path);
}

/* file0.safetensors to file5.safetensors: headers of LONG bytes, of nothing. */
static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char *text = malloc(LONG), name[32], head[8] = {0, 0, (char)0xf0};

    assert_true(f && text);
    assert_true(N_LONG == 5);
    memset(text, ' ', LONG);
    memcpy(text, "{}", 2);
    strcpy(f->dir, "/tmp/mlc-headers.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    for (unsigned i = 0; i <= N_LONG; i++) {
        snprintf(name, sizeof(name), "file%u.safetensors", i);
        write_file(f, name, head, text, LONG);
    }
    free(text);
    f->d.n_bases = 1;
    f->d.bases[0] = (struct mlc_base){"", open(f->dir, O_PATH), f->dir};
    f->d.is_inside = is_inside;
    f->d.find = find;
    f->d.cache = &f->cache;
    f->cache.fetch.timeout_ms = 20;
    assert_int_equal(mlc_pool_new(1, 0, &f->cache.pool), 0);
    f->dc.d = &f->d;
    mlc_dc_heads_init(&f->dc);
    pthread_mutex_init(&f->dc.lock, NULL);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    char *command;

    mlc_pool_stop(f->cache.pool);
    mlc_pool_free(f->cache.pool);
    while (f->dc.n_heads > 0)
        mlc_dc_head_unref(f->dc.heads[--f->dc.n_heads]);
    assert_int_equal(f->dc.heads_len, 0);
    close(f->d.bases[0].fd);
    pthread_mutex_destroy(&f->dc.lock);
    assert_true(asprintf(&command, "rm -r '%s'", f->dir) > 0);
    assert_int_equal(system(command), 0);
    free(command);
    free(f);
    return 0;
}

static void
find_file(struct fixture *f, unsigned i, struct mlc_found *ret)
{
    struct mlc_ref ref = {.d = &f->d, .may_leave = true};
    char *path, *why = NULL;

    assert_true(asprintf(&path, "%s/file%u.safetensors", f->dir, i) > 0);
    assert_int_equal(mlc_ref_find(&ref, path, ret, &why), 0);
    free(path);
}

static int
get_head(struct fixture *f, unsigned i, bool *ret_is_crowded,
         struct mlc_dc_head **ret)
{
    struct mlc_found found;
    int r;

    find_file(f, i, &found);
    *ret_is_crowded = false;
    r = mlc_dc_head_get(&f->dc, &found, NULL, ret_is_crowded, ret);
    mlc_found_done(&found);
    return r;
}

/* As those of other builds that are under way. */
static void
fill(struct fixture *f, struct mlc_dc_head *heads[N_LONG])
{
    bool is_crowded;

    for (unsigned i = 0; i < N_LONG; i++) {
        assert_int_equal(get_head(f, i, &is_crowded, &heads[i]), 0);
        assert_int_equal(heads[i]->len, LONG);
    }
    assert_int_equal(f->dc.heads_len, N_LONG * LONG);
}

static void
headers_in_use_have_one_bound(void **state)
{
    struct fixture *f = *state;
    struct mlc_dc_head *heads[N_LONG], *more = NULL;
    bool is_crowded;

    fill(f, heads);
    assert_int_equal(get_head(f, N_LONG, &is_crowded, &more), -EAGAIN);
    assert_true(is_crowded);
    /* One that is there takes no more. */
    assert_int_equal(get_head(f, N_LONG - 1, &is_crowded, &more), 0);
    assert_ptr_equal(more, heads[N_LONG - 1]);
    mlc_dc_head_unref(more);
    assert_int_equal(f->dc.heads_len, N_LONG * LONG);
    mlc_dc_head_unref(heads[0]);
    assert_int_equal(get_head(f, N_LONG, &is_crowded, &heads[0]), 0);
    assert_int_equal(f->dc.heads_len, N_LONG * LONG);
    for (unsigned i = 0; i < N_LONG; i++)
        mlc_dc_head_unref(heads[i]);
}

static void
those_that_are_kept_make_room(void **state)
{
    struct fixture *f = *state;
    struct mlc_dc_head *h = NULL;
    bool is_crowded;

    for (unsigned i = 0; i <= 3 * N_LONG; i++) {
        assert_int_equal(get_head(f, i % (N_LONG + 1), &is_crowded, &h), 0);
        mlc_dc_head_unref(h);
        assert_true(f->dc.heads_len <= MLC_DC_MAX_KEPT);
    }
}

static bool
is_open(struct fixture *f, const struct mlc_dc_head *h)
{
    MLC_LOCK_SCOPE(&f->dc.lock);
    return h->source != NULL;
}

/* Kept open for a build that waits, which asks again. */
static void
a_file_that_nobody_asks_for_is_closed(void **state)
{
    struct fixture *f = *state;
    int64_t begin = mlc_mono_ms();
    struct mlc_source *s = NULL;
    struct mlc_dc_head *h[2];
    struct mlc_found found;
    bool is_crowded;

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(get_head(f, i, &is_crowded, &h[i]), 0);
        find_file(f, i, &found);
        assert_int_equal(mlc_dc_head_open(&f->dc, h[i], &found, NULL, &s), 0);
        mlc_found_done(&found);
        mlc_source_unref(s);
    }
    mlc_dc_head_close(&f->dc, h[0]);
    assert_false(is_open(f, h[0]));
    while (is_open(f, h[1]))
        assert_true(mlc_mono_ms() < begin + 10000);
    assert_true(mlc_mono_ms() >= begin + 20);
    mlc_dc_head_unref(h[0]);
    mlc_dc_head_unref(h[1]);
}

/* --- a build beside others ------------------------------------------------ */

static void
wake(struct mlc_wait *w)
{
    ((struct fixture *)((char *)w - offsetof(struct fixture, wait)))->n_woken++;
}

static void
keep_wait(struct mlc_wait *w)
{
}

static struct mlc_wait *
get_wait(struct mlc_ask *ask)
{
    return &((struct fixture *)ask->arg)->wait;
}

static int
build(struct fixture *f, const char *name, const char *recipe)
{
    struct mlc_ask ask = {.get_wait = get_wait, .arg = f};
    struct mlc_dc_model *m = NULL;
    struct stat st;
    char *file;
    int r;

    assert_true(asprintf(&file, "%s.recipe", name) > 0);
    write_file(f, file, "#       ", recipe, strlen(recipe));
    assert_int_equal(fstatat(f->d.bases[0].fd, file, &st, 0), 0);
    free(file);
    r = mlc_dc_model_build(&f->dc, name, &st, &ask, &m);
    /* It may take longer than a look-up. */
    if (r == -EAGAIN)
        assert_true(ask.deadline_ms > 0);
    if (r == 0)
        assert_true(m->is_failed); /* nothing here is a model */
    mlc_dc_model_unref(m);
    return r;
}

static void
a_build_that_finds_no_room_waits_for_another(void **state)
{
    struct fixture *f = *state;
    struct mlc_dc_head *heads[N_LONG];
    char recipe[128];

    atomic_init(&f->wait.refs, 1);
    f->wait.wake = wake;
    f->wait.free = keep_wait;
    snprintf(recipe, sizeof(recipe), "\ncheckpoint = %s/file%u.safetensors\n",
             f->dir, (unsigned)N_LONG);
    fill(f, heads);
    f->dc.n_builds++;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(build(f, "large", recipe), -EAGAIN);
        assert_int_equal(build(f, "large", recipe), -EAGAIN);
        /* Neither for itself nor for its like. */
        assert_int_equal(f->n_woken, i);
        /* One that needs nothing goes on, and its end is one. */
        assert_int_equal(build(f, "none", "\n"), 0);
        assert_int_equal(f->n_woken, i + 1);
    }
    assert_int_equal(f->dc.n_builds, 1);
    for (unsigned i = 0; i < N_LONG; i++)
        mlc_dc_head_unref(heads[i]);
    assert_int_equal(build(f, "large", recipe), 0);
    assert_int_equal(f->n_woken, 3);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(headers_in_use_have_one_bound),
        TEST(those_that_are_kept_make_room),
        TEST(a_file_that_nobody_asks_for_is_closed),
        TEST(a_build_that_finds_no_room_waits_for_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
