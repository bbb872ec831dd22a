/* SPDX-License-Identifier: MIT */
/* The files that a recipe names: where they lie, and their bytes.
 *
 *   web/https://host/path   a name in the mount, from its root
 *   /home/me/file           an absolute path: inside the mount, or on this disk
 *   https://host/path       the same as web/https://host/path
 *   hf://ORG/NAME[@REV]/P   a file of a repository on the Hub (default: main)
 *
 * Names in the mount are asked of their domains, never opened through the
 * mount, and so are links that lead there from outside.  What is itself a view
 * is refused: nothing can be made of itself.
 * Nothing here waits: -EAGAIN as in cache/wait.h.  No locks. */
#ifndef MLC_DIFFUSERS_REF_H
#define MLC_DIFFUSERS_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/backend.h"

struct mlc_source;

/* A regular file, found. */
struct mlc_found {
    struct mlc_domain *domain; /* NULL: outside of the mount */
    char *path;                /* in the domain, or absolute */
    enum mlc_kind kind;
    char *text; /* PRIVATE: the path below privfd; INLINE: the bytes */
    uint64_t size;
    uint64_t identity; /* equal means the same bytes */
    uint64_t content;  /* OBJECT: as in mlc_entry */
    bool is_pinned;    /* LOCAL: its name alone tells its content */
};

/* Who asks. */
struct mlc_ref {
    struct mlc_domain *d; /* diffusers_converted's */
    bool may_leave; /* may read files outside of the mount, and all in it */
    uid_t uid;      /* else: what that user may */
    struct mlc_ask *ask;
};

/* 0; -EAGAIN; -ENOENT and other errnos, which mlc_ref_why() explains; -EBADMSG:
 * *ret_err is a clause that says why (the caller's to free; NULL: no memory).
 */
int mlc_ref_find(const struct mlc_ref *ref, const char *spelled,
                 struct mlc_found *ret, char **ret_err);
void mlc_found_done(struct mlc_found *f);
/* -ESTALE: another file is there by now.  Not for INLINE. */
int mlc_found_open(const struct mlc_found *f, struct mlc_ask *ask,
                   struct mlc_source **ret);
/* A whole small file, NUL-terminated, the caller's to free; -EFBIG beyond max.
 */
int mlc_found_read(const struct mlc_found *f, size_t max, struct mlc_ask *ask,
                   char **ret, size_t *ret_len);

/* The name of a file in the directory or repository that 'config' names; caller
 * frees; NULL: no memory. */
char *mlc_ref_in_config(const struct mlc_domain *d, const char *config,
                        const char *path);
/* What a user is told of an errno, borrowed. */
const char *mlc_ref_why(int r);
/* Fit for a message: of URLs without what may be a secret.  Caller frees; NULL:
 * no memory. */
char *mlc_ref_label(const char *spelled);

#endif
