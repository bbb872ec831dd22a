/* SPDX-License-Identifier: MIT */
/* What doc.c remembers: with what the last question about a key ended, and
 * which hosts are down.  Both are bounded; the oldest go first.
 * Locks: all is under docs.lock, which the caller holds, but for
 * mlc_memo_new() and mlc_memo_hash().
 */
#ifndef MLC_CACHE_MEMO_H
#define MLC_CACHE_MEMO_H

#include <stddef.h>
#include <stdint.h>

#define MLC_MEMO_BUCKETS 1024

/* A failure for as long as it is believed, or, for an instant, that the answer
 * has just come. */
struct mlc_memo {
    struct mlc_memo *chain; /* the bucket */
    struct mlc_memo *older, *newer;
    uint64_t hash;    /* immutable */
    int64_t until_ms; /* monotonic */
    int r;            /* 0: just came */
    unsigned n_left;  /* r == 0: how often that is said */
    char key[];       /* immutable */
};

struct mlc_memos { /* zeroed: none */
    struct mlc_memo *oldest, *newest;
    size_t n;
    struct mlc_memo *buckets[MLC_MEMO_BUCKETS];
};

struct mlc_hosts {         /* zeroed: none */
    struct mlc_host *list; /* latest first */
};

uint64_t mlc_memo_hash(const char *key);
/* Of a copy of key, to be put later, which then cannot fail; free() it if it is
 * not put.  NULL: no memory. */
struct mlc_memo *mlc_memo_new(const char *key);
/* Takes m over, in place of what is known of its key: r for ms from now. */
void mlc_memos_put(struct mlc_memos *all, struct mlc_memo *m, int r,
                   int64_t ms);
/* Borrowed until the lock is given back; NULL: none that is still believed. */
struct mlc_memo *mlc_memos_find(struct mlc_memos *all, const char *key,
                                uint64_t hash);
void mlc_memos_drop(struct mlc_memos *all, struct mlc_memo *m);
/* Those whose key begins so. */
void mlc_memos_forget(struct mlc_memos *all, const char *prefix);
void mlc_memos_done(struct mlc_memos *all);

/* An origin ("https://host:port") has just failed with r: not asked for 10 s.
 * Silently not remembered without memory. */
void mlc_hosts_mark(struct mlc_hosts *all, const char *origin, int r);
/* The errno that the origin failed with, or 0. */
int mlc_hosts_result(struct mlc_hosts *all, const char *origin);
void mlc_hosts_done(struct mlc_hosts *all);

#endif
