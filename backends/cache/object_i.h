/* SPDX-License-Identifier: MIT */
/* Private to the object engine: object.c (pieces, waiters, state), store.c
 * (the table, the start-up scan, drop), map.c (the map on disk), publish.c
 * (moving home).
 * Locks: a feed's own lock, then store.lock, then object.lock. */
#ifndef MLC_CACHE_OBJECT_I_H
#define MLC_CACHE_OBJECT_I_H

#include <pthread.h>
#include <stdatomic.h>

#include "backends/cache/object.h"
#include "backends/cache/pool.h"

#define MLC_NAME_LEN   32                     /* SHA-256 of the key */
#define MLC_NAME_TEXT  (2 * MLC_NAME_LEN + 8) /* hex, suffix, NUL */
#define MLC_NO_PIECE   UINT64_MAX
#define MLC_PIECE_MIN  ((size_t)256)
#define MLC_SPAN_MAX   (MLC_BUFFER / MLC_PIECE_MIN) /* pieces */
#define MLC_N_WARM     8
#define MLC_N_WRITES   4 /* 1 MiB: what a kill may lose per object */
#define MLC_N_FAILURES 8

enum mlc_piece_state {
    MLC_PIECE_ABSENT, /* must be 0: found with memchr */
    MLC_PIECE_QUEUED, /* handed over, being written */
    MLC_PIECE_PRESENT,
    MLC_PIECE_UNCHECKED, /* in the map of an earlier run */
    MLC_PIECE_CHECKING,  /* being compared with the map */
};

struct mlc_slot {
    struct mlc_slot *next;
    uint8_t name[MLC_NAME_LEN];
    struct mlc_object *obj; /* store.lock; no reference; NULL: disk only */
    uint64_t disk_bytes;    /* store.lock; used until obj is loaded */
};

struct mlc_store {
    int fd; /* immutable; "objects" */
    struct mlc_pool *pool;
    struct mlc_budget *budget;
    struct mlc_evictor *evictor; /* may be NULL */
    struct mlc_ledger *ledger;
    int64_t timeout_ms;
    atomic_bool is_stopped;
    atomic_uint_fast64_t published, digest_errors, bytes_fetched;
    pthread_mutex_t lock;    /* level 3 */
    struct mlc_slot **slots; /* store.lock; buckets, a power of two */
    size_t n_buckets;        /* store.lock */
    size_t n_slots;          /* store.lock */
    struct mlc_object *live; /* store.lock; all, the dead ones too */
};

struct mlc_home {
    struct mlc_home *next; /* object.lock; only ever appended */
    int dirfd;             /* immutable */
    char *path;            /* immutable */
    unsigned mode;         /* immutable */
    int64_t mtime_ms;      /* immutable */
    void (*published)(void *arg, const char *home, int r);
    void *published_arg;
    bool is_done;     /* object.lock; the file is there */
    bool is_failed;   /* object.lock; tried again at the next open */
    bool is_unwanted; /* object.lock; until it is asked for anew */
    dev_t dev;        /* of the file that was put there; the publishing job's */
    ino_t ino;
};

struct mlc_waiter {
    struct mlc_waiter *next;
    uint64_t first, last; /* pieces, inclusive */
    struct mlc_wait *wait;
};

struct mlc_write {
    struct mlc_job job;
    struct mlc_object *obj; /* a reference while in use */
    uint64_t index, end;    /* pieces [index, end); the QUEUED ones are its */
    void *buffer;           /* object.lock; NULL: free */
    bool is_retry; /* the disk was full: room is made first, on the evictor's */
};

struct mlc_warm {
    void *buffer;
    uint64_t end; /* piece behind it */
};

struct mlc_failure {
    uint64_t from, to;
    int r;
    int64_t until_ms;
};

struct mlc_object {
    atomic_uint refs;
    struct mlc_object *prev_live, *next_live; /* store.lock */
    struct mlc_store *store; /* immutable, as all up to the lock */
    char *key;
    uint64_t content; /* immutable */
    char *label;
    uint8_t name[MLC_NAME_LEN];
    uint64_t size;
    size_t piece_size;
    uint64_t n_pieces;
    struct mlc_digest digest;
    const struct mlc_feed_ops *feed_ops;
    void *feed;
    atomic_int fd; /* -1 until loaded */
    atomic_int_fast64_t progress_ms;

    pthread_mutex_t lock;        /* level 4 */
    enum mlc_object_state state; /* this and all below: lock */
    bool is_loaded;
    bool is_published;
    bool is_given;     /* a want was answered since the bytes arrived */
    bool is_refetched; /* the one refetch after a mismatch is used up */
    bool is_resetting;
    bool is_put_refused;
    unsigned n_open;
    unsigned n_open_part;
    dev_t dev;
    ino_t ino;
    int map_fd;
    char *validator;
    uint8_t *pieces;   /* enum mlc_piece_state each */
    uint64_t n_absent; /* pieces */
    uint64_t present;  /* bytes */
    /* Pieces given to nobody before the digest is known; none if equal. */
    uint64_t withheld, withheld_end;
    int write_error; /* of the data file, believed until write_error_ms */
    int64_t write_error_ms;
    struct mlc_waiter *waiters;
    struct mlc_failure failures[MLC_N_FAILURES];
    unsigned n_failures; /* total, the array is a ring */
    unsigned n_queued;
    struct mlc_write writes[MLC_N_WRITES];
    /* Spans from piece warm_first on, one behind the other, that were just
     * written and come next in the digest, still in memory: it need not read
     * them back.  Only such: the digest gets to them in any case, so that they
     * do not hold on to the budget. */
    struct mlc_warm warm[MLC_N_WARM];
    unsigned n_warm;
    uint64_t warm_first;
    struct mlc_digest_state *digest_state; /* owned by the running step */
    uint64_t digest_next;
    uint64_t step_end; /* the running step works on the pieces up to there */
    bool is_stepping;  /* step_job is submitted or runs, with a reference */
    struct mlc_job step_job;
    bool is_checking; /* the same for check_job */
    struct mlc_job check_job;
    bool is_publishing; /* the same for publish_job */
    struct mlc_job publish_job;
    struct mlc_home *homes;
};

/* --- object.c --- */
int mlc_object_new(struct mlc_store *s, const struct mlc_object_spec *spec,
                   const uint8_t *name, struct mlc_object **ret);
void mlc_object_free(struct mlc_object *obj);
/* 0 or -ENOMEM; a home that is known already is looked after again. */
int mlc_object_add_home_locked(struct mlc_object *obj,
                               const struct mlc_object_spec *spec);
/* Takes all waiters off; wake them with mlc_waiters_wake() without locks. */
struct mlc_waiter *mlc_object_take_all_locked(struct mlc_object *obj);
void mlc_waiters_wake(struct mlc_waiter *list);
/* Closes the files and forgets the pieces; nothing may be under way. */
void mlc_object_unload_locked(struct mlc_object *obj);
bool mlc_object_is_busy_locked(const struct mlc_object *obj);

/* --- store.c --- */
/* "HEX" suffix, into text[MLC_NAME_TEXT]. */
void mlc_name_text(const uint8_t *name, const char *suffix, char *text);
int mlc_key_name(const char *key, uint8_t *ret_name);
/* Marks obj dead, removes its files and its place in the table. */
void mlc_store_kill(struct mlc_store *s, struct mlc_object *obj, bool quiet);
/* The last reference may go: true if it did and obj is out of the table. */
bool mlc_store_forget(struct mlc_store *s, struct mlc_object *obj);

/* --- map.c --- */
int mlc_map_write_head(int fd, const char *key, uint64_t size,
                       const char *validator);
/* -EBADMSG unless whole, of our format, its pieces have the size that follows
 * from the object's, and its key has that name.  Caller
 * frees key and validator; NULL: not wanted. */
int mlc_map_read_head(int fd, const uint8_t *name, uint64_t *ret_size,
                      char **ret_key, char **ret_validator);
int mlc_map_set(int fd, uint64_t index, const uint64_t *hashes, size_t n);
/* 0: not there. */
int mlc_map_get(int fd, uint64_t index, uint64_t *ret_hashes, size_t n);
/* Sets states[i] to UNCHECKED where the map has an entry. */
int mlc_map_load(int fd, uint64_t n_pieces, uint8_t *states);
/* Forgets all entries and the validator. */
int mlc_map_clear(int fd, const char *key, uint64_t size);
/* What the map holds for a piece with that XXH3: never 0. */
uint64_t mlc_map_hash(uint64_t xxh3);

/* --- publish.c --- */
/* True if the caller must submit obj->publish_job (SLOW; the reference is
 * taken) after it dropped the lock. */
bool mlc_publish_kick_locked(struct mlc_object *obj);
void mlc_publish_run(struct mlc_job *job);

#endif
