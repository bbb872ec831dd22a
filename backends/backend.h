/* SPDX-License-Identifier: MIT */
/* The interface of a domain: what a name means.
 *
 * A backend answers three questions about a path in its domain: what is
 * there (lookup), what lies under it (list), where its bytes come from
 * (locate).  Fetching, checking, storing, evicting and locking belong to the
 * engine (backends/cache); local files, and everything the kernel sees, to
 * fs/.  A backend never sees a FUSE request.
 *
 * Paths are relative to the domain's root, "" is the root itself, and their
 * form is checked (backends/util/path.h) before a backend sees them.
 * Answers that need the network: return what mlc_doc_ask() or
 * mlc_object_want() returned; the question comes again (cache/wait.h).
 * Calls come from many threads at once when flags has MLC_BACKEND_CONCURRENT,
 * else one at a time per domain.
 */
#ifndef MLC_BACKEND_H
#define MLC_BACKEND_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/cache/wait.h"
#include "backends/util/option.h"

struct mlc_cache;
struct mlc_object;
struct mlc_store;
struct mlc_view;

/* A directory on disk that holds the part of a domain below 'prefix'. */
struct mlc_base {
    const char *prefix; /* "" or e.g. "hub"; the longest match counts */
    int fd;             /* O_PATH; the domain's */
    char *path;         /* absolute, for messages; the domain's */
};

#define MLC_MAX_BASES 2

struct mlc_domain {
    const struct mlc_backend *backend;
    const struct mlc_options *options; /* borrowed */
    struct mlc_cache *cache;           /* borrowed */
    struct mlc_base bases[MLC_MAX_BASES];
    unsigned n_bases; /* >= 1; bases[0].prefix is "" */
    /* Where unfinished and private files lie: the ".mlcachefs" directory of
     * the file system that finished ones end on. */
    int privfd;              /* borrowed; -1: none can be written (ro) */
    struct mlc_store *store; /* borrowed; NULL likewise */
    bool is_read_only;       /* never write below bases or privfd */
    /* Is 'path' below the mountpoint?  Then *ret_inside (borrowed) is its
     * remainder, e.g. "hf/token" (the daemon never opens through its own
     * mount: map it to a base instead). */
    bool (*is_inside)(const struct mlc_domain *d, const char *path,
                      const char **ret_inside);
    /* The domain that 'inside' (relative to the mount's root) lies in, to be
     * asked as the kernel would, and the path in it (borrowed).  Take no lock
     * into that call. NULL: in none that is mounted. */
    struct mlc_domain *(*find)(const struct mlc_domain *d, const char *inside,
                               const char **ret_path);
    /* For a local file that a backend reads although clients may write it
     * through the mount, where their locks stay.  watch: NULL when somebody has
     * the file behind fd open there now (or no memory); else to be given to
     * unwatch: has nobody opened it there since? */
    void *(*watch)(struct mlc_domain *d, int fd);
    bool (*unwatch)(struct mlc_domain *d, void *watch);
    void *fs;             /* fs/'s own */
    void *priv;           /* priv_size zeroed bytes for the backend */
    pthread_mutex_t turn; /* level 0; registry.c's: one call at a time */
    bool is_open;         /* registry.c's */
};

enum mlc_kind {
    MLC_KIND_LOCAL,   /* what lies on disk at that path, as it is */
    MLC_KIND_DIR,     /* a directory that exists whether or not on disk */
    MLC_KIND_SYMLINK, /* text: the target */
    MLC_KIND_INLINE,  /* text, size: the bytes; small */
    MLC_KIND_PRIVATE, /* text: path below privfd of a plain file that holds
                         the bytes; never changes under that name */
    MLC_KIND_OBJECT,  /* locate() says where the bytes come from */
    MLC_KIND_VIEW,    /* view() does: put together as they are read */
};

#define MLC_TTL_FOREVER UINT32_MAX
#define MLC_TTL_NONE    (UINT32_MAX - 1) /* not for a moment */

/* What is at a path. Zeroed before lookup; text is freed by the core. */
struct mlc_entry {
    enum mlc_kind kind;
    uint64_t size;    /* bytes; of a SYMLINK, INLINE: set by the core */
    uint64_t present; /* OBJECT: bytes on disk so far */
    int64_t mtime_ms; /* real time; stable over remounts */
    /* Equal means the same bytes; OBJECT, PRIVATE, VIEW.  LOCAL that is_cached:
     * the same as of the OBJECT before it came home, or 0: not known. */
    uint64_t content;
    uint32_t ttl_ms; /* how long the kernel may believe this entry (and,
                        for -ENOENT, its absence) */
    unsigned mode;   /* permission bits; 0: 0644, 0755, as the kind */
    /* LOCAL: these bytes are finished content of an origin, verified when it
     * was stored: writing in place is refused.  PRIVATE: of an origin, too. */
    bool is_cached;
    /* LOCAL, INLINE: a reader is to see the old bytes or the new ones and
     * nothing in between: what is written after O_TRUNC takes the name when it
     * is closed. */
    bool is_whole;
    char *text;
    size_t text_len;
};

/* One name in a listing; type is DT_DIR, DT_REG, DT_LNK.  Nonzero: stop. */
typedef int mlc_list_fn(void *arg, const char *name, unsigned char type);

/* What user.mlcachefs.* xattrs say; strings are malloc'd, freed by the core */
struct mlc_info {
    char *url;
    char *etag;
    char *mime_type;
    char *filename;
    int64_t expires_ms; /* real time; -1: never */
};

struct mlc_status {
    uint64_t entries, hits, misses, errors;
};

#define MLC_BACKEND_CONCURRENT 1u
/* Names beyond NAME_MAX, as far as the kernel takes them, are looked up, too;
 * none of them can lie on disk, nor be listed. */
#define MLC_BACKEND_LONG_NAMES 2u

struct mlc_backend {
    const char *name;    /* directory under the mount: [a-z0-9_]+, unique */
    const char *summary; /* one line for --help and the manual */
    unsigned flags;
    size_t priv_size;
    const struct mlc_option *options; /* NULL: none */

    /* NULL: nothing to set up or release.  open may log its error; it must
     * not use the network.  close runs even after a failed open. */
    int (*open)(struct mlc_domain *d);
    void (*close)(struct mlc_domain *d);

    /* NULL: every name is plain local storage.  local: what lies on disk at
     * that path (lstat), or NULL.  -ENOENT: nothing is there, believed for
     * ret->ttl_ms.  Without network a backend that has nothing to say about a
     * path answers LOCAL if 'local', else -ENOENT, with ttl_ms 0 (the core
     * then chooses). */
    int (*lookup)(struct mlc_domain *d, const char *path,
                  const struct stat *local, struct mlc_ask *ask,
                  struct mlc_entry *ret);
    /* Emits names that are not on disk (names on disk are merged by the core,
     * duplicates are fine).  NULL: only what is on disk is listed. */
    int (*list)(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                mlc_list_fn *emit, void *arg);
    /* Required where lookup answers OBJECT. A reference for the caller.
     * -ESTALE: there is no such object any more, or it came home: the name is
     * looked up again. */
    int (*locate)(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                  struct mlc_object **ret);
    /* Required where lookup answers VIEW.  A reference for the caller. -ESTALE:
     * the name means something else by now, and is looked up again. */
    int (*view)(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                struct mlc_view **ret);
    /* NULL: no name on disk is hidden from listings (it is still found by
     * lookup).  */
    bool (*is_unlisted)(struct mlc_domain *d, const char *dir,
                        const char *name);
    /* NULL: anything may be created.  Else 0 or the -errno for create, mkdir,
     * symlink, or rename onto path. */
    int (*may_create)(struct mlc_domain *d, const char *path, mode_t mode);
    /* NULL: no interest.  A local file at path was written and closed, or
     * appeared by rename, link or symlink. */
    void (*changed)(struct mlc_domain *d, const char *path);
    /* NULL: no interest.  A name was unlinked or a directory removed (also
     * when nothing of it was on disk): free what is kept for it. */
    void (*removed)(struct mlc_domain *d, const char *path);
    /* NULL: nothing.  For xattrs; never the network. */
    int (*describe)(struct mlc_domain *d, const char *path,
                    struct mlc_info *ret);
    void (*status)(struct mlc_domain *d, struct mlc_status *ret);
    /* NULL: STORE/NAME.  Where the domain's directories lie; called before
     * open.  May set bases[1] too.  store: the STORE directory. */
    int (*place)(struct mlc_domain *d, const char *store);
};

/* --- the list of backends (registry.c), and their defaults ------------ */

extern const struct mlc_backend *const mlc_backends[]; /* NULL-ended */

/* close undoes what open began, also after a failed one, and may be called
 * without an open. */
int mlc_domain_open(struct mlc_domain *d);
void mlc_domain_close(struct mlc_domain *d);
int mlc_domain_lookup(struct mlc_domain *d, const char *path,
                      const struct stat *local, struct mlc_ask *ask,
                      struct mlc_entry *ret);
int mlc_domain_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                    mlc_list_fn *emit, void *arg);
int mlc_domain_locate(struct mlc_domain *d, const char *path,
                      struct mlc_ask *ask, struct mlc_object **ret);
int mlc_domain_view(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
                    struct mlc_view **ret);
bool mlc_domain_is_unlisted(struct mlc_domain *d, const char *dir,
                            const char *name);
int mlc_domain_may_create(struct mlc_domain *d, const char *path, mode_t mode);
void mlc_domain_changed(struct mlc_domain *d, const char *path);
void mlc_domain_removed(struct mlc_domain *d, const char *path);
int mlc_domain_describe(struct mlc_domain *d, const char *path,
                        struct mlc_info *ret);
void mlc_domain_get_status(struct mlc_domain *d, struct mlc_status *ret);
/* The base that holds path, and path's remainder below it (borrowed). */
const struct mlc_base *mlc_domain_base(const struct mlc_domain *d,
                                       const char *path, const char **ret_rel);
/* Two answers of lookup(): what lies there on disk, or -ENOENT (local is NULL);
 * and a directory. */
int mlc_entry_local(const struct stat *local, struct mlc_entry *ret);
int mlc_entry_dir(int64_t mtime_ms, uint32_t ttl_ms, struct mlc_entry *ret);
void mlc_entry_done(struct mlc_entry *e);
void mlc_info_done(struct mlc_info *i);

#endif
