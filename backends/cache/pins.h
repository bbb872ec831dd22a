/* SPDX-License-Identifier: MIT */
/* What must not be evicted: paths in the mount ("hf/hub/...") of files, and of
 * directories with all that is below them.  A pin belongs to the name, whether
 * anything of it is here or not, and outlives remounts.
 *
 * On disk: the file "pins", a path to a line, percent-encoded; written anew at
 * each change, and synced.  Blocking: disk only.  Thread-safe; pins.lock is a
 * leaf, held over that write. */
#ifndef MLC_CACHE_PINS_H
#define MLC_CACHE_PINS_H

#include <stdbool.h>
#include <stddef.h>

struct mlc_pins;

/* dirfd: the ".mlcachefs" directory, borrowed until mlc_pins_close().  0,
 * -ENOMEM, -EBADMSG: what is there is no list of pins (said in the log), or
 * what reading it failed with. */
int mlc_pins_open(int dirfd, struct mlc_pins **ret);
void mlc_pins_close(struct mlc_pins *p); /* takes NULL */

/* 0, -ENOSPC (there are too many, or the disk is full), -ENOMEM, or what
 * writing failed with; then nothing is changed. */
int mlc_pins_set(struct mlc_pins *p, const char *path, bool is_pinned);
/* Is anything pinned at all? */
bool mlc_pins_any(struct mlc_pins *p);
/* Is path, or a directory that it lies in, pinned?  p may be NULL in these. */
bool mlc_pins_has(struct mlc_pins *p, const char *path);
/* Is path, what it lies in, or something below it pinned? */
bool mlc_pins_touches(struct mlc_pins *p, const char *path);
/* Calls fn for a copy of each pinned path that is below dir, or dir itself,
 * until it returns true.  What the last call returned. */
bool mlc_pins_each(struct mlc_pins *p, const char *dir,
                   bool (*fn)(void *arg, const char *path), void *arg);

#endif
