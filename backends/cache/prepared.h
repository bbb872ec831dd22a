/* SPDX-License-Identifier: MIT */
/* Prepared: what making any block of an extent begins with, kept from one of
 * its blocks to the next.
 *
 * Two threads that need the same at once each make it, and one of the two is
 * kept: nobody waits for another's computation.  Kept are a few, the bytes of
 * which the budget had room for, until nobody has used them for a moment.
 * Locks: prepared.lock (leaf, list operations only). */
#ifndef MLC_CACHE_PREPARED_H
#define MLC_CACHE_PREPARED_H

#include <stdint.h>

struct mlc_budget;
struct mlc_extent;
struct mlc_pool;
struct mlc_source;

struct mlc_prepared;
struct mlc_prepared_set;

/* max_bytes: of all that are kept.  -ENOMEM. */
int mlc_prepared_set_new(struct mlc_pool *pool, struct mlc_budget *budget,
                         uint64_t max_bytes, struct mlc_prepared_set **ret);
/* After mlc_pool_stop(), when nobody has a reference. */
void mlc_prepared_set_free(struct mlc_prepared_set *s); /* takes NULL */

/* A reference to what the extent's prepare() makes of the sources; NULL where
 * it has none.  key: as of the extent's blocks.  0 or what prepare() failed
 * with. */
int mlc_prepared_get(struct mlc_prepared_set *s, uint64_t key,
                     const struct mlc_extent *e,
                     struct mlc_source *const *sources,
                     struct mlc_prepared **ret);
void mlc_prepared_unref(struct mlc_prepared *p); /* takes NULL */
/* What prepare() gave, borrowed; NULL of NULL. */
const void *mlc_prepared_data(const struct mlc_prepared *p);

#endif
