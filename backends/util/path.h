/* SPDX-License-Identifier: MIT */
/* Names and paths that come from outside, and URLs made of them.
 * Paths inside a domain are relative, '/'-separated, without empty, "." or
 * ".." parts; "" is the domain's root. */
#ifndef MLC_UTIL_PATH_H
#define MLC_UTIL_PATH_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

/* One path component: 1..255 bytes, not "." or "..", no '/', NUL. */
bool mlc_name_is_safe(const char *name);
/* A relative path from an index on the network: each part a safe name without
 * control bytes or backslashes, at most 'max' bytes in all.  "" is not. */
bool mlc_path_is_safe(const char *path, size_t max);
/* path equals dir or lies below it ("foo" is not under "fo"); "" holds all. */
bool mlc_path_is_under(const char *path, const char *dir);
/* dir + "/" + name, or name when dir is "".  Caller frees; NULL: no memory. */
char *mlc_path_join(const char *dir, const char *name);
/* The last component (borrowed from path). */
const char *mlc_path_base(const char *path);
/* Percent-encodes all but A-Za-z0-9-._~ and, if keep_slash, '/'. Caller
 * frees; NULL: no memory. */
char *mlc_url_encode(const char *text, bool keep_slash);
/* The URL fit for a log line: user info and everything after '?' or '#'
 * replaced by "…" (signatures and tokens live there), control bytes masked, cut
 * at 300 bytes.
 * Caller frees; NULL: no memory. */
char *mlc_url_redact(const char *url);
/* Makes every directory of relpath's parent below dirfd (mode 0777 & ~umask),
 * following no symlink.  0 or -errno. */
int mlc_mkdir_parents_at(int dirfd, const char *relpath);
/* Opens relpath below dirfd; no component may be a symlink nor leave dirfd
 * (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, O_CLOEXEC added).  relpath
 * "" opens dirfd itself anew.  fd or -errno: -ELOOP for a symlink (but O_PATH |
 * O_NOFOLLOW opens a last component that is one), -EINVAL for a path that is
 * not of the form above.  mode counts only where something is created. */
int mlc_open_beneath(int dirfd, const char *relpath, int flags, unsigned mode);
/* The directory at relpath below dirfd, likewise, to be read; the caller closes
 * it.  NULL and errno. */
DIR *mlc_opendir_beneath(int dirfd, const char *relpath);
/* Opens the directory that holds relpath's last component (O_PATH) as above
 * and points *ret_base at that component (borrowed from relpath).  fd or
 * -errno; -EINVAL for "". */
int mlc_open_parent(int dirfd, const char *relpath, const char **ret_base);
/* Temporary names of mlc_write_file_at(): this and 16 hex digits.  A kill may
 * leave one behind. */
#define MLC_TMP_PREFIX ".mlc-tmp-"
/* Writes a small file whole or not at all: temporary name beside it, rename.
 * Its directory must exist.  Not synced.  0 or -errno. */
int mlc_write_file_at(int dirfd, const char *relpath, const void *data,
                      size_t len, unsigned mode);
/* Reads a regular file of at most max bytes; caller frees *ret_data, which is
 * NUL-terminated.  Never blocks on a FIFO.  0, -EFBIG, -EISDIR, -EINVAL for
 * other kinds, or -errno.  ret_len may be NULL. */
int mlc_read_file_at(int dirfd, const char *relpath, size_t max,
                     char **ret_data, size_t *ret_len);

#endif
