/* SPDX-License-Identifier: MIT */
/* The grammar of paths in a HF_HOME: which of them the Hub decides about.
 *
 * Pure: looks at text alone, neither at the disk nor at the network.  Whatever
 * is not clearly the Hub's is MLC_HF_LOCAL, so that no name that clients make
 * up for themselves (locks, temporary files) ever causes a request.
 */
#ifndef MLC_HF_PATH_H
#define MLC_HF_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum mlc_hf_where {
    MLC_HF_LOCAL,     /* plain local storage */
    MLC_HF_ROOT,      /* "" */
    MLC_HF_HUB,       /* hub */
    MLC_HF_TAG,       /* hub/CACHEDIR.TAG */
    MLC_HF_SHARED,    /* hub/blobs, the clients' shared store */
    MLC_HF_REPO,      /* hub/R, and its five directories: */
    MLC_HF_BLOBS,     /* hub/R/blobs */
    MLC_HF_REFS,      /* hub/R/refs */
    MLC_HF_SNAPSHOTS, /* hub/R/snapshots */
    MLC_HF_TREES,     /* hub/R/trees */
    MLC_HF_NO_EXIST,  /* hub/R/.no_exist */
    MLC_HF_BLOB,      /* hub/R/blobs/ETAG, rest: ETAG */
    MLC_HF_REF,       /* hub/R/refs/REV, rest: REV */
    MLC_HF_SNAPSHOT,  /* hub/R/snapshots/COMMIT[/PATH], rest: PATH or "" */
    MLC_HF_TREE,      /* hub/R/trees/COMMIT.json */
    MLC_HF_ABSENT,    /* hub/R/.no_exist/COMMIT[/PATH], rest: PATH or "" */
};

enum mlc_hf_type {
    MLC_HF_MODEL,
    MLC_HF_DATASET,
    MLC_HF_SPACE,
    MLC_HF_KERNEL,
};

#define MLC_HF_FOLDER_MAX 216 /* "datasets--" + two parts of 96 + "--" */
#define MLC_HF_SHA_LEN    40

/* From MLC_HF_REPO on, the fields are filled as 'where' says. */
struct mlc_hf_path {
    enum mlc_hf_where where;
    enum mlc_hf_type type;
    char folder[MLC_HF_FOLDER_MAX]; /* "models--org--name" */
    char id[MLC_HF_FOLDER_MAX];     /* "org/name" or "name" */
    char commit[MLC_HF_SHA_LEN + 1];
    const char *rest; /* borrowed from the path; never NULL */
};

void mlc_hf_path_parse(const char *path, struct mlc_hf_path *ret);

/* "org/name" or "name" as the Hub allows it. */
bool mlc_hf_id_is_valid(const char *id);
/* A branch, tag, pull request or short hash; full hashes are none. */
bool mlc_hf_rev_is_valid(const char *rev);
/* Is rev in the directory 'dir' of refs ("a/b" in "a")? */
bool mlc_hf_rev_is_below(const char *rev, const char *dir);
/* "models", "datasets": the API's word and the folder's prefix. */
const char *mlc_hf_type_name(enum mlc_hf_type type);
/* What stands before the id in a resolve URL: "", "datasets/". */
const char *mlc_hf_type_prefix(enum mlc_hf_type type);
/* The pointer's text for a file at 'path' in a snapshot.  Caller frees; NULL:
 * no memory. */
char *mlc_hf_pointer_text(const char *path, const char *etag);
/* The part of a Link header with rel="next" as a URL on 'endpoint', whatever
 * host it named.  0 (*ret NULL: there is none), -EBADMSG, -ENOMEM. */
int mlc_hf_next_url(const char *link, const char *endpoint, char **ret);

#endif
