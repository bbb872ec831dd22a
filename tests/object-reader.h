/* SPDX-License-Identifier: MIT */
/* For tests of the object engine: a store in a fresh directory with its pool
 * and budget, readers that wait, files looked at from outside. */
#ifndef MLC_TESTS_OBJECT_READER_H
#define MLC_TESTS_OBJECT_READER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/cache/budget.h"
#include "backends/cache/object.h"
#include "backends/cache/pool.h"

struct bench {
    char dir[64];
    int dirfd;
    struct mlc_pool *pool;
    struct mlc_budget *budget;
    struct mlc_store *store;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned n_published, n_rejected; /* lock */
};

/* Everything here aborts the test program where it can't go on. */
void bench_init(struct bench *b, uint64_t memory);
/* The store and pool anew, as after a restart of the daemon. */
void bench_start(struct bench *b);
void bench_stop(struct bench *b);
void bench_done(struct bench *b);
/* For mlc_object_spec: counts in b, the arg. */
void bench_published(void *arg, const char *home, int r);
void bench_wait_published(struct bench *b, unsigned n);
void bench_wait_rejected(struct bench *b, unsigned n);
/* Names in a directory below b->dir; 0 if there is none. */
unsigned bench_count(const struct bench *b, const char *dir);
/* Does the file have exactly these bytes? */
bool bench_file_is(const struct bench *b, const char *path, const void *bytes,
                   size_t len);
/* Opens the only file in objects/ that ends in suffix; -1: there is none. */
int bench_open_object(const struct bench *b, const char *suffix);

/* size bytes that nothing repeats; caller frees. */
uint8_t *make_bytes(size_t size, unsigned seed);
struct mlc_digest sha256_of(const void *bytes, size_t len);

/* Waits until [off, off+len) may be read and reads it, in one question.  What
 * mlc_object_want() said; -ETIME after 30 s. */
int read_object(struct mlc_object *obj, uint64_t off, void *buf, size_t len);
/* Reads the file from 'from' on in parts; 0 if all is as expected, -EBADE if
 * not, else what a question said. */
int compare_object(struct mlc_object *obj, const uint8_t *bytes, uint64_t from,
                   size_t part);

#endif
