/* SPDX-License-Identifier: MIT */
/* Blocks: computed bytes of views, in memory while there is room, and kept on
 * disk (kept.h).
 *
 * A block is made once, on a SLOW pool thread, whoever asks for it; those who
 * wait are woken when it is there.  A failure is told to whoever asks within
 * the next second.  The oldest go first when more than the given share of
 * memory is in use; one that nobody has fetched yet stays.  What several blocks
 * begin with is shared between them (prepared.h), and may take a quarter as
 * much.  Locks: blocks.lock (leaf, list operations only). */
#ifndef MLC_CACHE_BLOCKS_H
#define MLC_CACHE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "backends/cache/wait.h"

struct mlc_budget;
struct mlc_extent;
struct mlc_kept;
struct mlc_pool;
struct mlc_view;

struct mlc_blocks;

/* kept: borrowed; NULL: nothing is kept on disk. */
int mlc_blocks_new(struct mlc_pool *pool, struct mlc_budget *budget,
                   uint64_t max_bytes, struct mlc_kept *kept,
                   struct mlc_blocks **ret);
/* After mlc_pool_stop(). */
void mlc_blocks_free(struct mlc_blocks *b); /* takes NULL */

/* Copies bytes [from, from+len) of block 'index' of a computed extent of the
 * view's to ret, if it is there.  0; -EAGAIN: it is being made, the asker was
 * registered; or what making it failed with. */
int mlc_blocks_read(struct mlc_blocks *b, struct mlc_view *v,
                    const struct mlc_extent *e, uint64_t index, size_t from,
                    size_t len, struct mlc_ask *ask, void *ret);

#endif
