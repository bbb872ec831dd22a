/* SPDX-License-Identifier: MIT */
/* The web backend's own: what its sources share.
 *
 * What is known of a name is a record: that it is a file (and which bytes), a
 * directory, or absent.  Records are kept in memory, sorted by path, and in a
 * log on disk, privfd/web/index, of which the last line about a path counts.
 * The bytes of a file have a number of their own, the generation, drawn at
 * random when they are first heard of: a whole file is
 * privfd/web/bodies/GENERATION and never changes, one that is still being
 * fetched is an object with its home there.
 * Locks: lock (level 2), held over small disk writes, never over the network;
 * db.lock and a stream's own are leaves.  Functions named _locked want lock
 * held, all others none.
 */
#ifndef MLC_WEB_I_H
#define MLC_WEB_I_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"
#include "backends/cache/pool.h"
#include "backends/web_rows.h"
#include "backends/web_url.h"

#define MLC_WEB_HEAD_BYTES ((size_t)64 * 1024) /* asked for at a look-up */
#define MLC_WEB_N_HEADS    8
#define MLC_WEB_ABSENT_MS  (INT64_C(5) * 60 * 1000)
#define MLC_WEB_TTL_MS     1000
#define MLC_WEB_BODIES     "web/bodies" /* below privfd */
#define MLC_WEB_BODY_PATH  40           /* "web/bodies/" + 16 hex digits */

enum mlc_web_kind {
    MLC_WEB_FILE = 'F',
    MLC_WEB_DIR = 'D',
    MLC_WEB_ABSENT = 'A',
};

struct mlc_web_rec {
    char *path; /* in the domain */
    enum mlc_web_kind kind;
    int64_t fetched_ms; /* real time at which the origin said so */
    /* FILE: */
    uint64_t gen;
    uint64_t size;
    int64_t mtime_ms;
    uint64_t xxh;      /* XXH3 of a small body; 0: not known */
    bool is_stored;    /* the body was written at once: whole or not at all */
    bool is_whole;     /* not on disk: the body lies at home */
    bool is_checked;   /* not on disk: xxh was found right since the start */
    bool is_dismissed; /* not on disk: expired whatever its time */
    bool is_going;     /* the sweep's */
    char *etag, *modified, *type, *filename; /* NULL: not told */
};

struct mlc_web_adoption;
struct mlc_web_stream;

/* A file that dgenerate has fetched. */
struct mlc_web_found {
    char *name;      /* in web/ */
    char *type;      /* its Content-Type; NULL: not told */
    int64_t date_us; /* real time at which it had it */
    uint64_t size;
};

/* What is known of dgenerate's cache.db. */
struct mlc_web_db {
    pthread_mutex_t lock;        /* leaf */
    struct mlc_web_rows rows;    /* lock; as they were last read */
    struct mlc_waitlist waiters; /* lock; for is_reading to end */
    struct mlc_job job;
    bool is_reading;   /* lock */
    struct stat seen;  /* lock; the file when it was last looked at */
    int64_t read_ms;   /* lock; monotonic; when that was */
    unsigned n_in_row; /* lock; readings, one right after the other */
    int result;        /* lock; of the last one */
    unsigned said;     /* lock; complaints that were logged */
};

/* The first MLC_WEB_HEAD_BYTES of a larger file, which came with its look-up,
 * until somebody reads it. */
struct mlc_web_head {
    uint64_t gen;
    char *data;
};

struct mlc_web {
    struct mlc_domain *d;           /* immutable */
    bool is_open;                   /* immutable */
    int64_t expiry_ms;              /* immutable */
    bool is_stale_allowed;          /* immutable */
    uint64_t max_unsized;           /* immutable */
    char *token;                    /* immutable; CivitAI's; NULL: none */
    char *netrc;                    /* immutable; path; NULL: none */
    pthread_mutex_t lock;           /* level 2 */
    struct mlc_web_rec **recs;      /* lock; sorted by path */
    size_t n_recs, cap_recs;        /* lock */
    int log_fd;                     /* lock; -1: nothing is written down */
    size_t n_lines;                 /* lock; in the log */
    bool is_log_broken;             /* lock; said so already */
    uint64_t *doomed;               /* lock; generations still open somewhere */
    size_t n_doomed;                /* lock */
    struct mlc_web_stream *streams; /* lock */
    struct mlc_web_adoption *adoptions; /* lock */
    struct mlc_web_db db;
    struct mlc_web_head heads[MLC_WEB_N_HEADS]; /* lock; a ring */
    unsigned n_heads;                           /* lock; how many came so far */
    struct mlc_timer watch;                     /* of the streams */
    bool is_watching;                           /* lock; it is armed */
    int64_t swept_ms;                           /* lock; real time */
    bool is_sweeping;                           /* lock */
    struct mlc_timer timer;
    struct mlc_job sweep_job;
    atomic_ullong hits, misses, errors;
};

/* --- web_index.c: what is known -------------------------------------- */

int mlc_web_index_open(struct mlc_web *web);
void mlc_web_index_close(struct mlc_web *web);
void mlc_web_rec_done(struct mlc_web_rec *rec);
/* 0: *ret is a copy, to be released with mlc_web_rec_done(); -ENOENT, -ENOMEM.
 */
int mlc_web_get(struct mlc_web *web, const char *path, struct mlc_web_rec *ret);
/* Takes rec's strings over, in any case.  Bytes of another generation that the
 * path had are freed. */
int mlc_web_put(struct mlc_web *web, struct mlc_web_rec *rec);
/* The record of that generation, if path still has it, is believed anew. */
bool mlc_web_renew(struct mlc_web *web, const char *path, uint64_t gen,
                   int64_t now_ms);
/* Forgets the path and frees its bytes.  gen not 0: only that generation. */
void mlc_web_drop(struct mlc_web *web, const char *path, uint64_t gen);
/* Forgets the path that has gen, and frees its bytes, unless they are still on
 * their way, or open. */
void mlc_web_drop_gen(struct mlc_web *web, uint64_t gen);
/* The bytes of gen came home, or (is_dismissed) are not the origin's. */
void mlc_web_mark(struct mlc_web *web, uint64_t gen, bool is_dismissed);
void mlc_web_mark_checked(struct mlc_web *web, const char *path, uint64_t gen);
/* Real time at which the record ends; MLC_NEVER_MS. */
int64_t mlc_web_expires(const struct mlc_web *web,
                        const struct mlc_web_rec *rec, int64_t now_ms);
bool mlc_web_is_fresh(const struct mlc_web *web, const struct mlc_web_rec *rec,
                      int64_t now_ms);
/* Is a file below path known (and fresh)? */
bool mlc_web_has_below(struct mlc_web *web, const char *path, int64_t now_ms,
                       bool is_fresh);
/* backend.h's list. */
int mlc_web_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                 mlc_list_fn *emit, void *arg);
/* Starts the sweep if it is due (its timer does not know of a clock that was
 * set). */
void mlc_web_sweep_if_due(struct mlc_web *web);
uint64_t mlc_web_count(struct mlc_web *web);
uint64_t mlc_web_new_gen(void);
/* 16 hex digits and nothing else.  0 or -EINVAL. */
int mlc_web_parse_gen(const char *text, uint64_t *ret);
void mlc_web_body_path(uint64_t gen, char ret[MLC_WEB_BODY_PATH]);
/* Where an object of gen is found; ret likewise. */
void mlc_web_object_key(uint64_t gen, char ret[MLC_WEB_BODY_PATH]);

/* --- web_ask.c: questions to origins ---------------------------------- */

/* What is at the URL of 'path'?  rec: what was known (of a FILE its validators
 * are sent along), or NULL.  found: what dgenerate has of it, or NULL: then the
 * first byte alone is asked for, which tells the size.  As mlc_doc_ask(); the
 * answer is in the index. */
int mlc_web_ask(struct mlc_web *web, const char *path,
                const struct mlc_web_name *name, const struct mlc_web_rec *rec,
                const struct mlc_web_found *found, struct mlc_ask *ask);
/* The URL to send, which may hold a token; caller frees; NULL: no memory. */
char *mlc_web_request_url(const struct mlc_web *web, const char *url);
/* struct mlc_fetch_spec's get_head: the bytes that came with the look-up. */
char *mlc_web_take_head(void *arg, uint64_t gen, size_t *ret_len);
/* The path for a log line: its URL without what may be secret.  Caller frees;
 * NULL: no memory. */
char *mlc_web_label(const char *path);
/* Fills what an answer's headers say of a file; find(arg, name) gives one.
 * 0 or -ENOMEM. */
int mlc_web_read_headers(struct mlc_web_rec *rec,
                         const char *(*find)(const void *arg, const char *name),
                         const void *arg);

/* --- web_db.c: dgenerate's cache.db ----------------------------------- */

void mlc_web_db_init(struct mlc_web *web);
void mlc_web_db_done(struct mlc_web *web);
/* Reads cache.db if it has changed.  0: what is known is what can be known now;
 * -EAGAIN: it is being read, the asker waits; -ENOMEM. */
int mlc_web_db_refresh(struct mlc_web *web, struct mlc_ask *ask);
/* Has dgenerate fetched that URL, is it fresh, and is the file still what it
 * was then?  0: *ret is the caller's (mlc_web_found_done()); -ENOENT, -ENOMEM.
 */
int mlc_web_db_find(struct mlc_web *web, const char *url, int64_t now_ms,
                    struct mlc_web_found *ret);
/* Is there a fresh URL below that one? */
bool mlc_web_db_has_below(struct mlc_web *web, const char *url, int64_t now_ms);
/* Opens the file, if it is still that one. fd, or -ESTALE and the like. */
int mlc_web_found_open(struct mlc_web *web, const struct mlc_web_found *found);
int mlc_web_found_copy(const struct mlc_web_found *from,
                       struct mlc_web_found *ret); /* 0 or -ENOMEM */
void mlc_web_found_done(struct mlc_web_found *found);

/* --- web_adopt.c: files of dgenerate's become ours -------------------- */

/* Copies the file, as path's body from here on; if that fails, rec is what is
 * known of path (its strings are taken over).  Look-ups wait for the end with
 * mlc_web_adopt_wait(). */
int mlc_web_adopt(struct mlc_web *web, const char *path,
                  const struct mlc_web_found *found, struct mlc_web_rec *rec);
/* -EAGAIN: under way, the asker waits; -ENOENT: there is none (any more). */
int mlc_web_adopt_wait(struct mlc_web *web, const char *path,
                       struct mlc_ask *ask);
void mlc_web_adoptions_free(struct mlc_web *web);

/* --- web_stream.c: bodies whose length nobody tells ------------------- */

/* Begins to fetch the body, unless that is under way.  is_raw: as it is sent,
 * not decompressed. */
int mlc_web_stream_start(struct mlc_web *web, const char *path, const char *url,
                         bool is_raw);
/* -EAGAIN: under way, the asker waits; 0: it has just come; -ENOENT: there is
 * none; else how it failed just now. */
int mlc_web_stream_wait(struct mlc_web *web, const char *path,
                        struct mlc_ask *ask);
void mlc_web_streams_free(struct mlc_web *web);

/* --- web_evict.c ------------------------------------------------------ */

/* Names the bodies to the engine; 0 or -ENOSPC. */
int mlc_web_evict_init(struct mlc_web *web);

#endif
