/* SPDX-License-Identifier: MIT */
/* Computed bytes kept on disk, so that they need not be computed again: a
 * folder of small files, each believed only when its checksum fits, the longest
 * unused of which go when all together take more than they may.
 *
 * Nobody misses what is not kept: nothing here fails, or is synced; it is
 * evicted like what was fetched (evict.h).
 * Blocking: disk only.  Thread-safe; kept.lock is a leaf, held while the folder
 * is looked through. */
#ifndef MLC_CACHE_KEPT_H
#define MLC_CACHE_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mlc_evictor;
struct mlc_kept;

/* The folder 'name' below dirfd (borrowed for this call) is made if need be.
 * evictor: outlives it, its rounds do not; NULL: none.  0, -ENOMEM, or what
 * opening it failed with. */
int mlc_kept_new(int dirfd, const char *name, uint64_t max_bytes,
                 struct mlc_evictor *evictor, struct mlc_kept **ret);
void mlc_kept_free(struct mlc_kept *k); /* takes NULL */

/* The len bytes at off of what key stands for.  k may be NULL.  False: they are
 * not here; ret may have been written to. */
bool mlc_kept_get(struct mlc_kept *k, uint64_t key, uint64_t off, void *ret,
                  size_t len);
/* k may be NULL.  Not where the disk has less than 1 GiB left. */
void mlc_kept_put(struct mlc_kept *k, uint64_t key, uint64_t off,
                  const void *data, size_t len);

#endif
