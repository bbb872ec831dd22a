/* SPDX-License-Identifier: MIT */
/* The hf backend's own: what its sources share.
 *
 * State: repos (name, refs, commits: a small JSON record on disk each), and
 * trees (the files of a commit, immutable, on disk as a client would write
 * them), of which the last used are kept in memory.  All of it lies below
 * privfd in hf/<hash of the endpoint>/<repo folder>/.
 * Locks: io, save (level 1; held over small disk reads and writes, never over
 * the network or a sync), lock (level 2).  Functions named _locked want lock
 * held, all others none.
 */
#ifndef MLC_HF_I_H
#define MLC_HF_I_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/backend.h"
#include "backends/hf_path.h"
#include "backends/hf_tree.h"

#define MLC_HF_NOT_FOUND_MS 30000 /* how long a 404 is believed */
#define MLC_HF_SHORT_TTL_MS 1000

struct mlc_hf_commit {
    char sha[MLC_HF_SHA_LEN + 1];
    int64_t first_seen_ms; /* real time */
};

struct mlc_hf_ref {
    char *rev;
    char sha[MLC_HF_SHA_LEN + 1];
    int64_t asked_ms; /* real time at which the Hub, or a client, said so */
};

/* A repo that exists, at the Hub or on disk. */
struct mlc_hf_repo {
    char folder[MLC_HF_FOLDER_MAX]; /* immutable */
    char id[MLC_HF_FOLDER_MAX];     /* lock; canonical name */
    bool is_loaded;                 /* lock; record and disk were read */
    bool is_confirmed;              /* lock; the Hub itself showed it to us */
    bool is_private;                /* lock */
    char gated[16];                 /* lock; "", "auto", "manual" */
    int64_t first_seen_ms;          /* lock; real time */
    struct mlc_hf_commit *commits;  /* lock; last used last */
    size_t n_commits;
    struct mlc_hf_ref *refs; /* lock */
    size_t n_refs;
    /* What the Hub's own list of refs says, for hf_ref_ttl. */
    char **names; /* lock */
    size_t n_names;
    bool has_names;   /* lock */
    int64_t names_ms; /* lock; monotonic */
};

struct mlc_hf_kept { /* a tree in memory */
    char folder[MLC_HF_FOLDER_MAX];
    char sha[MLC_HF_SHA_LEN + 1];
    struct mlc_hf_tree *tree; /* a reference */
    uint64_t used;            /* of hf.tick */
};

#define MLC_HF_MAX_KEPT 64
/* An object's key: this and the ETag. */
#define MLC_HF_KEY_PREFIX     "hf/"
#define MLC_HF_MAX_KEPT_FILES ((size_t)2000000)

struct mlc_hf_token_file {
    int dirfd;  /* borrowed; AT_FDCWD for an absolute path */
    char *path; /* immutable */
    struct timespec mtime;
    ino_t ino;
    off_t size;
    char *value; /* NULL: none there */
};

#define MLC_HF_MAX_TOKEN_FILES 3

struct mlc_hf_tokens {
    pthread_mutex_t lock; /* level 3 */
    char *fixed;          /* immutable; from the environment */
    struct mlc_hf_token_file files[MLC_HF_MAX_TOKEN_FILES]; /* lock */
    unsigned n_files;                                       /* immutable */
    int64_t checked_ms;                                     /* lock */
    char *refused;      /* lock; the Hub did not know it */
    int64_t refused_ms; /* lock; monotonic */
};

/* The Hub's word on one path of a commit whose listing is still coming. */
struct mlc_hf_found {
    struct mlc_hf_found *next;
    int r;                    /* 0: a file, -EISDIR, -ENOENT */
    struct mlc_hf_tree *tree; /* r == 0: that file alone; a reference */
    char path[];
};

/* A listing of more than one page that is under way: the commit exists. */
struct mlc_hf_pending {
    struct mlc_hf_pending *next;
    char folder[MLC_HF_FOLDER_MAX];
    char sha[MLC_HF_SHA_LEN + 1];
    struct mlc_hf_found *found;
    size_t n_found;
};

/* A blob that a client put there and whose digest is wrong. */
struct mlc_hf_bad {
    struct mlc_hf_bad *next;
    ino_t ino;
    char folder[MLC_HF_FOLDER_MAX];
    char etag[MLC_HF_ETAG_LEN + 1];
};

struct mlc_hf_verify;

struct mlc_hf {
    struct mlc_domain *d; /* immutable */
    bool is_open;         /* immutable */
    char *endpoint;       /* immutable; no '/' at the end */
    char dir[32];         /* immutable; below privfd */
    int64_t ref_ttl_ms;   /* immutable */
    struct mlc_hf_tokens tokens;
    pthread_mutex_t io;         /* level 1: loading trees, pointers */
    pthread_mutex_t save;       /* level 1: writing records */
    pthread_mutex_t lock;       /* level 2 */
    struct mlc_hf_repo **repos; /* lock; sorted by folder */
    size_t n_repos;
    struct mlc_hf_kept kept[MLC_HF_MAX_KEPT]; /* lock */
    size_t n_kept, n_kept_files;              /* lock */
    uint64_t tick;                            /* lock */
    struct mlc_hf_pending *pending;           /* lock */
    struct mlc_hf_bad *bad;                   /* lock */
    struct mlc_hf_verify *verifies;           /* lock; under way */
    atomic_ullong hits, misses, errors;
};

/* --- hf_place.c: where the cache lies ------------------------------- */

int mlc_hf_place(struct mlc_domain *d, const char *store);
/* Is path below the mount?  rest as in backend.h. */
bool mlc_hf_is_inside(const struct mlc_domain *d, const char *path,
                      const char **ret_rest);
/* What a variable or option says ("~/" is $HOME), as an absolute path; caller
 * frees; NULL: no memory. */
char *mlc_hf_expand(const char *path);
/* $HF_HOME or its default; caller frees; NULL: no memory, or no HOME. */
char *mlc_hf_env_home(void);
/* The base and the path below it of hub/FOLDER[/...]; caller frees; NULL: no
 * memory. */
char *mlc_hf_on_disk(struct mlc_hf *hf, int *ret_fd, const char *folder,
                     const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The path below privfd of a repo's own; likewise. */
char *mlc_hf_private(struct mlc_hf *hf, const char *folder, const char *fmt,
                     ...) __attribute__((format(printf, 3, 4)));

/* --- hf_token.c ------------------------------------------------------ */

int mlc_hf_tokens_init(struct mlc_hf *hf);
void mlc_hf_tokens_done(struct mlc_hf *hf);
/* The token to send now, caller frees; NULL: none. Small disk reads only. */
char *mlc_hf_token(struct mlc_hf *hf);
/* Read the files again at the next call, and believe no refusal any more. */
void mlc_hf_token_changed(struct mlc_hf *hf);
/* The Hub does not know that token: not sent again for a while. */
void mlc_hf_token_refused(struct mlc_hf *hf, const char *token);

/* --- hf_repo.c: repos and their records ------------------------------ */

/* NULL: neither recorded nor on disk, or no memory.  Borrowed under lock. */
struct mlc_hf_repo *mlc_hf_repo_get_locked(struct mlc_hf *hf,
                                           const struct mlc_hf_path *p);
bool mlc_hf_repo_exists(struct mlc_hf *hf, const struct mlc_hf_path *p);
/* The Hub said that there is one: made, recorded.  id may be NULL. */
int mlc_hf_repo_adopt(struct mlc_hf *hf, const struct mlc_hf_path *p,
                      const char *id, bool is_private, const char *gated);
/* Somebody named the commit: it is listed from now on. */
int mlc_hf_adopt_commit(struct mlc_hf *hf, const struct mlc_hf_path *p,
                        const char *sha);
int mlc_hf_adopt_ref(struct mlc_hf *hf, const struct mlc_hf_path *p,
                     const char *rev, const char *sha, int64_t asked_ms);
bool mlc_hf_repo_is_confirmed(struct mlc_hf *hf, const struct mlc_hf_path *p);
/* The Hub said so, of a repo that may have been on disk before. */
int mlc_hf_confirm_commit(struct mlc_hf *hf, const struct mlc_hf_path *p,
                          const char *sha);
void mlc_hf_drop_repo(struct mlc_hf *hf, const struct mlc_hf_path *p);
void mlc_hf_drop_commit(struct mlc_hf *hf, const struct mlc_hf_path *p);
void mlc_hf_drop_ref(struct mlc_hf *hf, const struct mlc_hf_path *p,
                     const char *rev);
/* Real times that stay; now if the repo or commit is not known. */
int64_t mlc_hf_repo_since(struct mlc_hf *hf, const struct mlc_hf_path *p);
int64_t mlc_hf_commit_since(struct mlc_hf *hf, const struct mlc_hf_path *p);
/* Fills what was never looked at in the folder of records. */
void mlc_hf_repos_scan(struct mlc_hf *hf);
void mlc_hf_repos_free(struct mlc_hf *hf);
/* What a refs file says: 40 hex digits, blanks around them ignored. */
bool mlc_hf_ref_parse(const char *text, size_t len, char ret_sha[41]);
int mlc_hf_ref_read(struct mlc_hf *hf, const struct mlc_hf_path *p,
                    const char *rev, char ret_sha[41], bool *ret_is_exact,
                    int64_t *ret_mtime_ms);

/* --- hf_trees.c ------------------------------------------------------ */

/* From memory or disk: 0 (a reference), -ENOENT, -ENOMEM. */
int mlc_hf_tree_known(struct mlc_hf *hf, const struct mlc_hf_path *p,
                      const char *sha, struct mlc_hf_tree **ret);
/* Keeps it in memory and on disk. */
void mlc_hf_tree_keep(struct mlc_hf *hf, const struct mlc_hf_path *p,
                      const char *sha, struct mlc_hf_tree *t);
void mlc_hf_trees_forget(struct mlc_hf *hf, const char *folder);
/* The first page of a longer listing came; all of it did, or never will. */
int mlc_hf_pending_begin(struct mlc_hf *hf, const struct mlc_hf_path *p,
                         const char *sha);
void mlc_hf_pending_end(struct mlc_hf *hf, const struct mlc_hf_path *p,
                        const char *sha);
/* The pool has stopped: those that were cut short. */
void mlc_hf_pending_free(struct mlc_hf *hf);
bool mlc_hf_is_pending(struct mlc_hf *hf, const struct mlc_hf_path *p);
/* What the Hub said of p->rest meanwhile: 0 (*ret is a reference to a tree
 * with that file alone), -EISDIR, -ENOENT; -EAGAIN: nothing yet; -ENOSPC: too
 * many were asked for, wait for the listing. */
int mlc_hf_pending_find(struct mlc_hf *hf, const struct mlc_hf_path *p,
                        struct mlc_hf_tree **ret);
/* All of it came: what was fetched meanwhile gets its pointers.  For the one
 * who will end it. */
void mlc_hf_pending_point(struct mlc_hf *hf, const struct mlc_hf_path *p,
                          const char *sha, struct mlc_hf_tree *t);
int mlc_hf_pending_add(struct mlc_hf *hf, const struct mlc_hf_path *p,
                       const char *path, int r, struct mlc_hf_tree *t);

struct mlc_hf_hit {
    struct mlc_hf_tree *tree; /* a reference */
    size_t index;             /* of a file with that content */
    char sha[MLC_HF_SHA_LEN + 1];
    /* Not found: the first commit (after 'skip' others) whose tree is not
     * known; "" if none. */
    char missing[MLC_HF_SHA_LEN + 1];
};

/* Where in the repo is p->rest?  Commits last used first.  only_memory: no
 * disk either. */
int mlc_hf_find_etag(struct mlc_hf *hf, const struct mlc_hf_path *p,
                     size_t skip, bool only_memory, struct mlc_hf_hit *ret);
/* The repo's commits, last used first; caller frees. */
int mlc_hf_commits(struct mlc_hf *hf, const struct mlc_hf_path *p,
                   char (**ret)[MLC_HF_SHA_LEN + 1], size_t *ret_n);

/* --- hf_ask.c: questions to the Hub ---------------------------------- */

enum mlc_hf_what {
    MLC_HF_ASK_INFO, /* the repo, and its default branch */
    MLC_HF_ASK_REV,  /* arg: the revision */
    MLC_HF_ASK_REFS, /* the list of all refs */
    MLC_HF_ASK_TREE, /* arg: the commit */
    MLC_HF_ASK_PATH, /* arg: the path, at p->commit */
};

/* As mlc_doc_ask(); offline: -ENOENT.  ask NULL: a refresh for nobody. */
int mlc_hf_ask(struct mlc_hf *hf, const struct mlc_hf_path *p,
               enum mlc_hf_what what, const char *arg, struct mlc_ask *ask);
/* The URL of a file's bytes; caller frees; NULL: no memory. */
char *mlc_hf_resolve_url(struct mlc_hf *hf, const struct mlc_hf_path *p,
                         const char *sha, const char *path);

/* --- hf.c, hf_list.c ------------------------------------------------- */

/* 0: *ret is a reference to the files of p->commit; else as mlc_hf_ask(). */
int mlc_hf_need_tree(struct mlc_hf *hf, const struct mlc_hf_path *p,
                     struct mlc_ask *ask, struct mlc_hf_tree **ret);
int mlc_hf_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                mlc_list_fn *emit, void *arg);

/* --- hf_home.c: a cache that the stock tools can read ----------------- */

/* Puts pointer, refs and tree file on disk for a blob that is there. */
void mlc_hf_point(struct mlc_hf *hf, const struct mlc_hf_path *p,
                  const char *sha, struct mlc_hf_tree *t, size_t index);
/* What the Hub said of rev, where files of that commit are there already.
 * is_new: it was not known; else one that was deleted stays away. */
void mlc_hf_point_ref(struct mlc_hf *hf, const struct mlc_hf_path *p,
                      const char *rev, const char *sha, bool is_new);
/* The same as mlc_hf_point() for every known commit that holds p->rest. */
void mlc_hf_point_all(struct mlc_hf *hf, const struct mlc_hf_path *p);
/* For mlc_object_spec. arg: the mlc_hf. */
void mlc_hf_published(void *arg, const char *home, int r);
/* Is a whole regular file there (through a link)?  -ENOENT if not. */
int mlc_hf_blob_stat(struct mlc_hf *hf, const char *folder, const char *etag,
                     struct stat *ret);
/* Are all bytes of f on this disk? */
bool mlc_hf_has_bytes(struct mlc_hf *hf, const char *folder,
                      const struct mlc_hf_file *f);
/* A client's blob: checked on the SLOW lane. */
void mlc_hf_verify(struct mlc_hf *hf, const struct mlc_hf_path *p);
bool mlc_hf_is_bad(struct mlc_hf *hf, const struct mlc_hf_path *p, ino_t ino);
void mlc_hf_forget_bad(struct mlc_hf *hf, const struct mlc_hf_path *p);
void mlc_hf_verifies_free(struct mlc_hf *hf);

/* --- hf_evict.c ------------------------------------------------------- */

/* Names the blobs to the engine; 0 or -ENOSPC. */
int mlc_hf_evict_init(struct mlc_hf *hf);

#endif
