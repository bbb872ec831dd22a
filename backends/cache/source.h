/* SPDX-License-Identifier: MIT */
/* Sources: the files that a view takes its bytes from, wherever those lie: on
 * disk, or in an object that may still have to be fetched.
 *
 * A source is one content.  A file on disk whose size or time of modification
 * is not what it was when the source was made gives -EIO from then on, and so
 * does a read during which that happened: never a mix of old and new bytes.  A
 * file that was replaced by rename, or deleted, stays readable.
 * Of an object only what is wanted is fetched, whatever fetch= says.
 * Lifetime: reference-counted.  Locks: none; called with none held. */
#ifndef MLC_CACHE_SOURCE_H
#define MLC_CACHE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/cache/wait.h"

struct mlc_object;
struct mlc_source;

/* fd is taken over, also on failure; -EINVAL: no regular file.  label: for log
 * lines, copied. */
int mlc_source_new_file(int fd, const char *label, struct mlc_source **ret);
/* The reference to obj is taken over, also on failure. */
int mlc_source_new_object(struct mlc_object *obj, struct mlc_source **ret);
struct mlc_source *mlc_source_ref(struct mlc_source *s);
void mlc_source_unref(struct mlc_source *s); /* takes NULL */

uint64_t mlc_source_size(const struct mlc_source *s);
const char *mlc_source_label(const struct mlc_source *s);
/* What tells the content of a file on disk from another: of its device, number,
 * size and times of modification and change (the first of which anybody may
 * set).  0 is none. */
uint64_t mlc_file_identity(const struct stat *st);
/* Of the file that the source has; 0 of an object. */
uint64_t mlc_source_identity(const struct mlc_source *s);

/* May [off, off+len) be read now?  As mlc_object_want(); -EIO also for a range
 * past the end. */
int mlc_source_want(struct mlc_source *s, uint64_t off, uint64_t len,
                    struct mlc_ask *ask);
/* All of a range that mlc_source_want() allowed.  0 or -errno. */
int mlc_source_read(struct mlc_source *s, uint64_t off, void *ret, size_t len);
/* A descriptor from which such a range may be sent as it is, borrowed; -1: its
 * bytes could change while they are sent. */
int mlc_source_fd(struct mlc_source *s);
/* Are bytes of it still to be fetched? */
bool mlc_source_is_remote(struct mlc_source *s);
/* As mlc_object_progress_ms(); 0 of a file. */
int64_t mlc_source_progress_ms(const struct mlc_source *s);

#endif
