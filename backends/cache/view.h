/* SPDX-License-Identifier: MIT */
/* Views: files that lie nowhere, put together as they are read from bytes in
 * memory (a head), ranges of sources, and bytes that are computed from those.
 *
 * A plan says what the bytes are; a view is a plan that somebody has open, with
 * its sources.  Reading waits for what is still remote as other reads do
 * (wait.h), and registers what comes next in the view, so that exactly the
 * view's own bytes are fetched ahead.
 * Computed bytes come in blocks, made on a SLOW thread, and kept in memory for
 * a while for whoever reads the same (blocks.h). Plans are immutable and
 * reference-counted; a view is its handle's. Locks: view.lock (leaf), the
 * read-ahead's state. */
#ifndef MLC_CACHE_VIEW_H
#define MLC_CACHE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/cache/wait.h"

struct mlc_blocks;
struct mlc_source;
struct mlc_view;
struct mlc_view_plan;

/* How the bytes of an extent are computed.  off and len lie within it. */
struct mlc_compute_ops {
    /* Are the sources' bytes there that make() needs?  0, -EAGAIN, or what
     * mlc_source_want() said. */
    int (*want)(const void *arg, struct mlc_source *const *sources,
                uint64_t off, size_t len, struct mlc_ask *ask);
    /* What making any block of the extent begins with, done once for several of
     * them (prepared.h); NULL: nothing.  It may not refer to arg or the
     * sources; several threads use it at once.  *ret_len: bytes of memory.
     * Else as make(). */
    int (*prepare)(const void *arg, struct mlc_source *const *sources,
                   void **ret, size_t *ret_len);
    void (*unprepare)(void *prepared);
    /* Any thread that may take its time; want() said 0.  0 or -errno. */
    int (*make)(const void *arg, const void *prepared,
                struct mlc_source *const *sources, uint64_t off, size_t len,
                void *ret);
};

struct mlc_extent {
    uint64_t begin, end; /* in the view */
    /* Copied: where it begins in which source. */
    unsigned source;
    uint64_t source_begin;
    /* Computed, if ops: in blocks of so many bytes (the last may be short).
     * Equal keys: the same bytes. */
    const struct mlc_compute_ops *ops;
    const void *arg; /* the plan's owner's */
    uint64_t key;
    size_t block_len;
};

/* head and extents are taken over (malloc'd) unless it fails; the extents
 * follow the head and each other without holes, and are not empty.  owner: what
 * their args lie in; free_owner is called with the last reference (NULL: not).
 * -ENOMEM. */
int mlc_view_plan_new(char *head, size_t head_len, struct mlc_extent *extents,
                      size_t n, void *owner, void (*free_owner)(void *owner),
                      struct mlc_view_plan **ret);
struct mlc_view_plan *mlc_view_plan_ref(struct mlc_view_plan *p);
void mlc_view_plan_unref(struct mlc_view_plan *p); /* takes NULL */
uint64_t mlc_view_plan_size(const struct mlc_view_plan *p);

/* The references to sources are taken over, unless it fails.  blocks (borrowed
 * for the view's life): NULL where nothing is computed.  content: as in
 * mlc_entry.  A reference for the caller; -ENOMEM. */
int mlc_view_new(struct mlc_view_plan *plan, struct mlc_source *const *sources,
                 unsigned n_sources, uint64_t content,
                 struct mlc_blocks *blocks, struct mlc_view **ret);
struct mlc_view *mlc_view_ref(struct mlc_view *v);
void mlc_view_unref(struct mlc_view *v); /* takes NULL */
/* Nobody reads on: nothing is fetched ahead any more. */
void mlc_view_stop(struct mlc_view *v);
uint64_t mlc_view_size(const struct mlc_view *v);
uint64_t mlc_view_content(const struct mlc_view *v);
/* Are all of its sources' bytes here, and found right? */
bool mlc_view_is_whole(const struct mlc_view *v);
/* The extent's key, for blocks: the view's own where it was not whole when it
 * was opened, since what it read may turn out to be damaged. */
uint64_t mlc_view_key(const struct mlc_view *v, const struct mlc_extent *e);
/* Those given to mlc_view_new(). */
struct mlc_source *const *mlc_view_sources(const struct mlc_view *v);
/* Monotonic time of the last byte that came for it. */
int64_t mlc_view_progress_ms(const struct mlc_view *v);

/* Bytes to answer a read with: in a file, borrowed while the view is open, or
 * in the buffer that was given. */
struct mlc_view_bytes {
    int fd; /* -1: the buffer */
    uint64_t pos;
    size_t len;
};

/* Of [off, off+len), cut at the end of the view; buffer has room for len.  0;
 * -EAGAIN: the asker was registered; else as mlc_source_want(),
 * mlc_source_read(). */
int mlc_view_read(struct mlc_view *v, uint64_t off, size_t len,
                  struct mlc_ask *ask, void *buffer,
                  struct mlc_view_bytes *ret);

#endif
