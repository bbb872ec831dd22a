/* SPDX-License-Identifier: MIT */
/* The spacy backend's own: what its sources share.
 *
 * A wheel (NAME-VERSION) is known by its index, which comes from the archive's
 * last bytes and is kept on disk (privfd/spacy/index/).  Its files are objects
 * of the store, whose feed unpacks them from the wheel's own object, which has
 * no home and goes as soon as all of them are at theirs.
 * Locks: spacy.lock (level 2), under which a task's (spacy_task.h) may be
 * taken. Functions named _locked want spacy.lock held, all others none.
 */
#ifndef MLC_SPACY_I_H
#define MLC_SPACY_I_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/backend.h"
#include "backends/cache/object.h"
#include "backends/cache/pool.h"
#include "backends/format/record.h"
#include "backends/format/zip.h"
#include "backends/spacy_path.h"
#include "backends/spacy_table.h"

#define MLC_SPACY_TTL_MS 1000
/* Where private files lie, below privfd. */
#define MLC_SPACY_DIR "spacy"

/* What is known of a wheel's inside.  Immutable, reference-counted. */
struct mlc_spacy_index {
    atomic_uint refs;
    uint64_t size;     /* bytes of the wheel */
    char *validator;   /* ETag, else Last-Modified, else "" */
    int64_t mtime_ms;  /* Last-Modified, or one of ours; > 0 */
    uint64_t identity; /* of validator and size */
    struct mlc_zip *zip;
    struct mlc_record *record;
    /* The archive's last bytes, while they are of use. */
    uint64_t tail_from;
    uint8_t *tail;
    size_t tail_len;
};

struct mlc_spacy_unpack; /* a file's feed, spacy_unpack.c */
struct mlc_spacy_whole;  /* a wheel that is brought whole, spacy_whole.c */
struct mlc_spacy_parts;  /* what has come of an index, spacy_index.c */

/* A wheel that somebody asked about; never freed before the end. */
struct mlc_spacy_wheel {
    struct mlc_spacy *s;                  /* immutable */
    struct mlc_spacy_wheel *next;         /* spacy.lock */
    char name[MLC_SPACY_NAME_MAX + 1];    /* immutable */
    char version[MLC_SPACY_NAME_MAX + 1]; /* immutable */
    char stem[MLC_SPACY_STEM_SIZE];       /* immutable */
    struct mlc_spacy_index *index;        /* lock; NULL: not known */
    bool is_loaded;                       /* lock; the disk was read */
    bool is_stale;                 /* lock; the origin has another, or none */
    struct mlc_spacy_index *old;   /* lock; what was before that; NULL */
    struct mlc_spacy_parts *parts; /* lock; NULL: none */
    uint64_t want_from, want_to;   /* lock; 0, 0: the head */
    int64_t failed_ms; /* lock; monotonic; when it was asked in vain */
    uint64_t *bad;     /* lock; hashes of the paths of damaged files */
    size_t n_bad;      /* lock */
    int64_t bad_ms;    /* lock; monotonic; until when they are believed */
    struct mlc_spacy_whole *whole; /* lock; NULL: nobody asked for all of it */
    unsigned n_jumps;      /* lock; ranges asked for out of turn meanwhile */
    struct mlc_digest sum; /* lock; what spaCy says; kind NONE: nothing */
    bool is_sum_asked;     /* lock; it has answered */
    uint64_t condemned;    /* lock; the identity that has another sum; 0 */
    int64_t condemned_ms;  /* lock; monotonic; until when that is believed */
    bool is_leaving;       /* lock; its files are being evicted */
    bool is_spent;         /* lock; all files came home: its own bytes may go */
};

struct mlc_spacy {
    struct mlc_domain *d;          /* immutable */
    bool is_open;                  /* immutable */
    char *compat_url;              /* immutable */
    char *download_url;            /* immutable; without a '/' at its end */
    char *minor;                   /* immutable; NULL: the newest */
    pthread_mutex_t lock;          /* level 2 */
    struct mlc_spacy_table *table; /* lock */
    int64_t since_ms;              /* lock; real time of the table */
    char *etag;                    /* lock; of what was fetched; NULL */
    int64_t asked_ms;              /* lock; real time of the last answer */
    int64_t tried_ms; /* lock; monotonic, of the last one in vain */
    /* dgenerate's own copy of the table, as it was when it was last joined. */
    struct timespec local_mtime;      /* lock */
    ino_t local_ino;                  /* lock */
    struct mlc_spacy_wheel *wheels;   /* lock */
    struct mlc_spacy_unpack *unpacks; /* lock; those at work */
    struct mlc_spacy_unpack *ready;   /* lock; those that wait for ready_job */
    bool is_unpacking;                /* lock; ready_job is submitted or runs */
    struct mlc_job ready_job;
    /* Models that were removed one soon after the other, and when the last. */
    unsigned n_removed; /* lock */
    int64_t removed_ms; /* lock; monotonic */
    struct mlc_timer timer;
    atomic_ullong hits, misses, errors;
    atomic_bool is_used; /* somebody looked into the domain since the start */
};

/* --- spacy_refresh.c: the table as it is now ------------------------------ */

/* From the snapshot and the disk. */
int mlc_spacy_table_load(struct mlc_spacy *s);
/* A reference. */
struct mlc_spacy_table *mlc_spacy_table_get(struct mlc_spacy *s,
                                            int64_t *ret_since_ms);
/* Asks spaCy in the background if that was not done for a day. */
void mlc_spacy_table_refresh(struct mlc_spacy *s);
/* Something that the table lacks is asked for: -EAGAIN: the first answer of
 * this day is waited for; 0: look again; -ENOENT: it has come, or can't. */
int mlc_spacy_table_wait(struct mlc_spacy *s, struct mlc_ask *ask);
/* Joins what lies in the store (st) where dgenerate keeps its copy.  true: that
 * is such a table. */
bool mlc_spacy_table_join(struct mlc_spacy *s, const struct stat *st);
/* Puts a copy there, for dgenerate without a mount, unless there is one. */
void mlc_spacy_table_leave(struct mlc_spacy *s);

/* --- spacy_index.c -------------------------------------------------------- */

/* 0: *ret is a reference; -EAGAIN; -ENOENT: there is no such wheel, or offline;
 * another errno: why it can't be had.  ask NULL or only_known: what is known
 * (-EAGAIN: nothing). */
int mlc_spacy_need_index(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                         struct mlc_ask *ask, struct mlc_spacy_index **ret);
struct mlc_spacy_index *mlc_spacy_index_ref(struct mlc_spacy_index *x);
void mlc_spacy_index_unref(struct mlc_spacy_index *x); /* takes NULL */
/* The wheel's file has changed, or is to be asked for anew. */
void mlc_spacy_index_drop(struct mlc_spacy *s, struct mlc_spacy_wheel *w);
/* Found or made; lives until the backend is closed.  NULL: no memory. */
struct mlc_spacy_wheel *
mlc_spacy_wheel_get(struct mlc_spacy *s, const char *name, const char *version);
void mlc_spacy_wheels_free(struct mlc_spacy *s);
/* Caller frees; NULL: no memory. */
char *mlc_spacy_wheel_url(const struct mlc_spacy *s, const char *stem);
/* Did a question about it just fail? */
bool mlc_spacy_is_unreachable(struct mlc_spacy *s, struct mlc_spacy_wheel *w);

/* --- spacy_unpack.c: bytes ------------------------------------------------ */

/* The object of a file of the wheel (a reference). path: as in the wheel, which
 * is where it goes in the domain, too. */
int mlc_spacy_file(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                   struct mlc_spacy_index *x, const struct mlc_zip_member *m,
                   struct mlc_object **ret);
/* The object of the wheel itself; a reference. */
int mlc_spacy_wheel_object(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                           struct mlc_spacy_index *x, struct mlc_object **ret);
/* Frees the wheel's own bytes, unless something is being unpacked from them. */
void mlc_spacy_wheel_drop(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                          struct mlc_spacy_index *x);
/* The key of a file's object (path), or of the wheel's (NULL); caller frees;
 * NULL: no memory. */
char *mlc_spacy_key(const struct mlc_spacy_wheel *w,
                    const struct mlc_spacy_index *x, const char *path);
/* Was it found damaged a moment ago? */
bool mlc_spacy_is_bad(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                      const char *path);
/* The pool has stopped: what was under way. */
void mlc_spacy_unpacks_free(struct mlc_spacy *s);

/* --- spacy_sum.c: the checksum of a release ------------------------------- */

/* 0: *ret is the wheel's SHA-256, as spaCy published it; -EAGAIN; else nobody
 * says what it is. */
int mlc_spacy_sum_need(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                       struct mlc_ask *ask, struct mlc_digest *ret);
/* The wheel has another: its files go, and are -EIO for a while. */
void mlc_spacy_condemn(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                       struct mlc_spacy_index *x);
bool mlc_spacy_is_condemned(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                            const struct mlc_spacy_index *x);
/* A file of the wheel has come home: too late? */
void mlc_spacy_drop_condemned(struct mlc_spacy_wheel *w, const char *home);

/* --- spacy_whole.c -------------------------------------------------------- */

/* Begins to bring all of the wheel, and its files home, unless that is under
 * way. */
void mlc_spacy_whole_start(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                           struct mlc_spacy_index *x);
/* Gives it up, soon. */
void mlc_spacy_whole_stop(struct mlc_spacy *s, struct mlc_spacy_wheel *w);
/* The pool has stopped: what was under way.  Takes NULL. */
void mlc_spacy_whole_free(struct mlc_spacy_whole *g);
/* Frees what a killed daemon left of a wheel whose files are all at home, once
 * its sum was compared. */
void mlc_spacy_tidy(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
                    struct mlc_spacy_index *x);
/* 0, or -errno: what lies at a path of the domain. */
int mlc_spacy_stat_home(struct mlc_spacy *s, const char *path,
                        struct stat *ret);
/* Does what lies at the file's home look as we would put it there? */
bool mlc_spacy_is_as_put(const struct mlc_spacy_index *x,
                         const struct mlc_zip_member *m, const struct stat *st);
/* The same of what is there now. */
bool mlc_spacy_is_home(struct mlc_spacy *s, const struct mlc_spacy_index *x,
                       const struct mlc_zip_member *m);
/* Is the version the one whose files stand directly in NAME/? */
bool mlc_spacy_is_shown(struct mlc_spacy *s, const struct mlc_spacy_wheel *w);

/* --- spacy_evict.c -------------------------------------------------------- */

/* Names the models to the engine; 0 or -ENOSPC. */
int mlc_spacy_evict_init(struct mlc_spacy *s);

#endif
