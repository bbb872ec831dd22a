/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/object-reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/util/clock.h"

#define TOO_LONG_S 30

#define MUST(x)                                                                \
    do {                                                                       \
        if (!(x)) {                                                            \
            perror("object-reader: " #x);                                      \
            abort();                                                           \
        }                                                                      \
    } while (0)

void
bench_start(struct bench *b)
{
    MUST(mlc_pool_new(2, 2, &b->pool) == 0);
    MUST(mlc_store_open(b->dirfd, b->pool, b->budget, NULL, 1000, &b->store) ==
         0);
}

void
bench_stop(struct bench *b)
{
    mlc_store_stop(b->store);
    mlc_pool_stop(b->pool);
    mlc_store_close(b->store);
    mlc_pool_free(b->pool);
    b->store = NULL;
    b->pool = NULL;
}

void
bench_init(struct bench *b, uint64_t memory)
{
    memset(b, 0, sizeof(*b));
    snprintf(b->dir, sizeof(b->dir), "/tmp/mlc-object-XXXXXX");
    MUST(mkdtemp(b->dir));
    b->dirfd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(b->dirfd >= 0);
    MUST(mlc_budget_new(memory, &b->budget) == 0);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->cond, NULL);
    bench_start(b);
}

void
bench_done(struct bench *b)
{
    char cmd[128];

    if (b->store)
        bench_stop(b);
    if (mlc_budget_used(b->budget) != 0) {
        fprintf(stderr, "buffers were not given back\n");
        abort();
    }
    mlc_budget_free(b->budget);
    close(b->dirfd);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", b->dir);
    MUST(system(cmd) == 0);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->cond);
}

void
bench_published(void *arg, const char *home, int r)
{
    struct bench *b = arg;

    pthread_mutex_lock(&b->lock);
    if (r == 0)
        b->n_published++;
    else
        b->n_rejected++;
    pthread_cond_broadcast(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

static void
wait_count(struct bench *b, const unsigned *count, unsigned n)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TOO_LONG_S;
    pthread_mutex_lock(&b->lock);
    while (*count < n)
        MUST(pthread_cond_timedwait(&b->cond, &b->lock, &until) == 0);
    pthread_mutex_unlock(&b->lock);
}

void
bench_wait_published(struct bench *b, unsigned n)
{
    wait_count(b, &b->n_published, n);
}

void
bench_wait_rejected(struct bench *b, unsigned n)
{
    wait_count(b, &b->n_rejected, n);
}

unsigned
bench_count(const struct bench *b, const char *dir)
{
    int fd = openat(b->dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *e;
    unsigned n = 0;
    DIR *d;

    if (fd < 0)
        return 0;
    d = fdopendir(fd);
    MUST(d);
    while ((e = readdir(d)))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

bool
bench_file_is(const struct bench *b, const char *path, const void *bytes,
              size_t len)
{
    int fd = openat(b->dirfd, path, O_RDONLY | O_CLOEXEC);
    uint8_t *got = malloc(len + 1);
    size_t n = 0;
    ssize_t k;

    MUST(got);
    if (fd < 0) {
        free(got);
        return false;
    }
    while ((k = read(fd, got + n, len + 1 - n)) > 0)
        n += (size_t)k;
    close(fd);
    k = n == len && memcmp(got, bytes, len) == 0;
    free(got);
    return k;
}

int
bench_open_object(const struct bench *b, const char *suffix)
{
    int dir = openat(b->dirfd, "objects", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *e;
    int fd = -1;
    DIR *d;

    MUST(dir >= 0);
    d = fdopendir(dir);
    MUST(d);
    while (fd < 0 && (e = readdir(d))) {
        size_t n = strlen(e->d_name);

        if (n > strlen(suffix) &&
            !strcmp(e->d_name + n - strlen(suffix), suffix))
            fd = openat(dir, e->d_name, O_RDWR | O_CLOEXEC);
    }
    closedir(d);
    return fd;
}

uint8_t *
make_bytes(size_t size, unsigned seed)
{
    uint8_t *p = malloc(size + 8);
    uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;

    MUST(p);
    for (size_t i = 0; i < size; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
    return p;
}

struct mlc_digest
sha256_of(const void *bytes, size_t len)
{
    struct mlc_digest_state *s = NULL;
    struct mlc_digest d;

    MUST(mlc_digest_new(MLC_DIGEST_SHA256, len, &s) == 0);
    MUST(mlc_digest_update(s, bytes, len) == 0);
    MUST(mlc_digest_finish(s, &d) == 0);
    mlc_digest_free(s);
    return d;
}

struct sleeper {
    struct mlc_wait wait;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_woken; /* lock */
};

static void
sleeper_wake(struct mlc_wait *w)
{
    struct sleeper *s = (struct sleeper *)(void *)w;

    pthread_mutex_lock(&s->lock);
    s->is_woken = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static void
sleeper_free(struct mlc_wait *w)
{
    struct sleeper *s = (struct sleeper *)(void *)w;

    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->cond);
    free(s);
}

static struct mlc_wait *
sleeper_get(struct mlc_ask *ask)
{
    return ask->arg;
}

int
read_object(struct mlc_object *obj, uint64_t off, void *buf, size_t len)
{
    struct sleeper *s = calloc(1, sizeof(*s));
    struct mlc_ask ask = {.get_wait = sleeper_get,
                          .arg = s,
                          .deadline_ms = mlc_mono_ms() + TOO_LONG_S * 1000};
    struct timespec until;
    int r;

    MUST(s);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TOO_LONG_S;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->cond, NULL);
    atomic_init(&s->wait.refs, 1);
    s->wait.wake = sleeper_wake;
    s->wait.free = sleeper_free;
    while ((r = mlc_object_want(obj, off, len, &ask)) == -EAGAIN) {
        pthread_mutex_lock(&s->lock);
        while (!s->is_woken &&
               pthread_cond_timedwait(&s->cond, &s->lock, &until) == 0)
            continue;
        if (!s->is_woken)
            r = -ETIME;
        s->is_woken = false;
        pthread_mutex_unlock(&s->lock);
        if (r == -ETIME)
            break;
    }
    atomic_store(&s->wait.is_dead, true);
    mlc_wait_unref(&s->wait);
    if (r == 0 && len > 0)
        MUST(pread(mlc_object_fd(obj), buf, len, (off_t)off) == (ssize_t)len);
    return r;
}

int
compare_object(struct mlc_object *obj, const uint8_t *bytes, uint64_t from,
               size_t part)
{
    uint64_t size = mlc_object_size(obj);
    uint8_t *buf = malloc(part);
    int r = 0;

    MUST(buf);
    while (r == 0 && from < size) {
        size_t len = size - from < part ? (size_t)(size - from) : part;

        r = read_object(obj, from, buf, len);
        if (r == 0 && memcmp(buf, bytes + from, len) != 0)
            r = -EBADE;
        from += len;
    }
    free(buf);
    return r;
}
