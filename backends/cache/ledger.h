/* SPDX-License-Identifier: MIT */
/* Which files at home were fetched by us, and when each was last opened: what
 * may be evicted, and in which order.  Not the access time on disk: setting
 * that changes a file's ctime, by which others see that its bytes may have
 * changed.
 *
 * A file is known by its inode number, size and modification time, not by its
 * name: one that somebody put in its place, or wrote to, is theirs.  What is
 * not known is never evicted, so that losing the ledger loses nothing.
 *
 * On disk: FILE "ledger", a head and records of 16 bytes, appended as things
 * happen; the last one about a file counts.  Nothing is synced.
 * Blocking: disk only.  Thread-safe; ledger.lock is a leaf, held while a record
 * is appended, and when the file has grown too long over writing it anew. */
#ifndef MLC_CACHE_LEDGER_H
#define MLC_CACHE_LEDGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct mlc_ledger;

/* dirfd: the ".mlcachefs" directory, borrowed until mlc_ledger_close().  What
 * is there and cannot be read is begun anew.  0, -ENOMEM, or what making the
 * file failed with. */
int mlc_ledger_open(int dirfd, struct mlc_ledger **ret);
void mlc_ledger_close(struct mlc_ledger *l); /* takes NULL */

/* The file was fetched; it counts as opened just now. */
void mlc_ledger_add(struct mlc_ledger *l, const struct stat *st);
/* It was opened; nothing happens if it is not known. */
void mlc_ledger_opened(struct mlc_ledger *l, const struct stat *st);
/* It is about to be removed: another that gets its number is not it. */
void mlc_ledger_forget(struct mlc_ledger *l, const struct stat *st);
/* Is it known?  Then *ret_used_us is the real time at which it was last opened,
 * in microseconds, of which no two files have the same. */
bool mlc_ledger_find(struct mlc_ledger *l, const struct stat *st,
                     int64_t *ret_used_us);

#endif
