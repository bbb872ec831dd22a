/* SPDX-License-Identifier: MIT */
/* What is fetched becomes part of an ordinary cache: pointers, refs and tree
 * files on disk, so that the stock tools find it without the mount. */
#include "config.h"

#include "backends/hf_i.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/digest.h"
#include "backends/cache/object.h"
#include "backends/cache/pool.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/container.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define MAX_TREE_FILE ((size_t)1 << 29)
#define MAX_COMMITS   64

MLC_DEFINE_CLEANUP(tree, struct mlc_hf_tree *, mlc_hf_tree_unref);

int
mlc_hf_blob_stat(struct mlc_hf *hf, const char *folder, const char *etag,
                 struct stat *ret)
{
    mlc_autofree char *rel = NULL;
    int dirfd;

    rel = mlc_hf_on_disk(hf, &dirfd, folder, "blobs/%s", etag);
    if (!rel)
        return -ENOMEM;
    /* Following a link: in an adopted cache the payload may lie in hub/blobs
     * (facts: hub 2.4). */
    if (fstatat(dirfd, rel, ret, 0) < 0)
        return -errno;
    return S_ISREG(ret->st_mode) ? 0 : -ENOENT;
}

/* For utimensat: the access time stays. */
static void
set_mtime_ms(int64_t ms, struct timespec ret[2])
{
    ret[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    ret[1] =
        (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

bool
mlc_hf_has_bytes(struct mlc_hf *hf, const char *folder,
                 const struct mlc_hf_file *f)
{
    mlc_autofree char *key = NULL;
    struct stat st;

    if (f->size == 0)
        return true;
    if (mlc_hf_blob_stat(hf, folder, f->etag, &st) == 0 &&
        (uint64_t)st.st_size == f->size)
        return true;
    key = mlc_path_join("hf", f->etag);
    return key && hf->d->store &&
           mlc_store_present(hf->d->store, key) == f->size;
}

/* 0, also where there is one already. */
static int
make_pointer(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
             const struct mlc_hf_file *f)
{
    mlc_autofree char *rel = NULL;
    mlc_autofree char *text = mlc_hf_pointer_text(f->path, f->etag);
    mlc_autoclose int fd = -1;
    struct mlc_hf_path of = *p;
    struct timespec times[2];
    const char *name;
    int dirfd;
    int r;

    rel =
        mlc_hf_on_disk(hf, &dirfd, p->folder, "snapshots/%s/%s", sha, f->path);
    if (!rel || !text)
        return -ENOMEM;
    r = mlc_mkdir_parents_at(dirfd, rel);
    if (r < 0)
        return r;
    fd = mlc_open_parent(dirfd, rel, &name);
    if (fd < 0)
        return fd;
    if (symlinkat(text, fd, name) < 0)
        return errno == EEXIST ? 0 : -errno;
    /* The time that the look-up has shown so far. */
    snprintf(of.commit, sizeof of.commit, "%s", sha);
    set_mtime_ms(mlc_hf_commit_since(hf, &of), times);
    utimensat(fd, name, times, AT_SYMLINK_NOFOLLOW);
    return 0;
}

static void
write_ref(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *rev,
          const char *sha, int64_t asked_ms)
{
    struct timespec times[2];
    mlc_autofree char *rel = NULL;
    int64_t mtime_ms = 0;
    bool is_exact = false;
    char there[MLC_HF_SHA_LEN + 1];
    int dirfd;

    if (mlc_hf_ref_read(hf, p, rev, there, &is_exact, &mtime_ms) == 0 &&
        ((is_exact && strcmp(there, sha) == 0) || mtime_ms > asked_ms))
        return;
    rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "refs/%s", rev);
    if (!rel || mlc_mkdir_parents_at(dirfd, rel) < 0)
        return;
    if (mlc_write_file_at(dirfd, rel, sha, MLC_HF_SHA_LEN, 0644) < 0)
        return;
    /* Not newer than what it says, else it would pass for an answer that was
     * given just now. */
    set_mtime_ms(asked_ms, times);
    utimensat(dirfd, rel, times, AT_SYMLINK_NOFOLLOW);
}

/* The known refs to that commit; *ret is the caller's (free_refs()). */
static size_t
refs_to(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
        struct mlc_hf_ref **ret)
{
    struct mlc_hf_ref *refs = NULL;
    struct mlc_hf_repo *repo;
    size_t n = 0;

    pthread_mutex_lock(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    refs = repo ? calloc(repo->n_refs + 1, sizeof *refs) : NULL;
    for (size_t i = 0; refs && i < repo->n_refs; i++)
        if (strcmp(repo->refs[i].sha, sha) == 0) {
            refs[n] = repo->refs[i];
            refs[n].rev = strdup(repo->refs[i].rev);
            n += refs[n].rev != NULL;
        }
    pthread_mutex_unlock(&hf->lock);
    *ret = refs;
    return n;
}

static void
free_refs(struct mlc_hf_ref *refs, size_t n)
{
    while (n-- > 0)
        free(refs[n].rev);
    free(refs);
}

static void
write_refs(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha)
{
    struct mlc_hf_ref *refs = NULL;
    size_t n = refs_to(hf, p, sha, &refs);

    for (size_t i = 0; i < n; i++)
        write_ref(hf, p, refs[i].rev, sha, refs[i].asked_ms);
    free_refs(refs, n);
}

/* The commit's files are gone from disk: so go the refs to it, from disk only.
 */
static void
remove_refs(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha)
{
    struct mlc_hf_ref *refs = NULL;
    size_t n = refs_to(hf, p, sha, &refs);

    for (size_t i = 0; i < n; i++) {
        mlc_autofree char *rel = NULL;
        char there[MLC_HF_SHA_LEN + 1];
        int64_t mtime_ms;
        bool is_exact;
        int dirfd;

        rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "refs/%s", refs[i].rev);
        if (rel &&
            mlc_hf_ref_read(hf, p, refs[i].rev, there, &is_exact, &mtime_ms) ==
                0 &&
            strcmp(there, sha) == 0)
            unlinkat(dirfd, rel, 0);
    }
    free_refs(refs, n);
}

void
mlc_hf_point_ref(struct mlc_hf *hf, const struct mlc_hf_path *p,
                 const char *rev, const char *sha, bool is_new)
{
    mlc_autofree char *snapshot = NULL;
    mlc_autofree char *ref = NULL;
    int dirfd;

    if (hf->d->is_read_only)
        return;
    snapshot = mlc_hf_on_disk(hf, &dirfd, p->folder, "snapshots/%s", sha);
    if (!snapshot || faccessat(dirfd, snapshot, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    ref = mlc_hf_on_disk(hf, &dirfd, p->folder, "refs/%s", rev);
    if (ref &&
        (is_new || faccessat(dirfd, ref, F_OK, AT_SYMLINK_NOFOLLOW) == 0))
        write_refs(hf, p, sha);
}

/* Is the file's content on disk?  Empty ones cost nothing and are made. */
static bool
has_blob(struct mlc_hf *hf, const struct mlc_hf_path *p,
         const struct mlc_hf_file *f)
{
    mlc_autofree char *rel = NULL;
    struct mlc_digest want, got;
    struct stat st;
    int dirfd;

    if (mlc_hf_blob_stat(hf, p->folder, f->etag, &st) == 0)
        return (uint64_t)st.st_size == f->size;
    if (f->size > 0 || mlc_digest_parse(f->etag, &want) < 0)
        return false;
    rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "blobs/%s", f->etag);
    if (!rel || mlc_digest_fd(-1, want.kind, 0, NULL, &got) < 0 ||
        !mlc_digest_equal(&want, &got))
        return false;
    return mlc_mkdir_parents_at(dirfd, rel) == 0 &&
           mlc_write_file_at(dirfd, rel, "", 0, 0644) == 0;
}

/* Once all files of a commit are there, the tree file comes too: a client
 * that is offline believes it, and then insists on every file in it. */
static void
complete(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
         struct mlc_hf_tree *t)
{
    atomic_size_t *cursor = mlc_hf_tree_cursor(t);
    size_t n = mlc_hf_tree_n_files(t);
    mlc_autofree char *rel = NULL;
    struct mlc_buf buf;
    int dirfd;

    MLC_LOCK_SCOPE(&hf->io);
    for (size_t i = atomic_load(cursor); i < n; i++) {
        struct mlc_hf_file f;

        mlc_hf_tree_get(t, i, &f);
        if (!has_blob(hf, p, &f) || make_pointer(hf, p, sha, &f) < 0) {
            atomic_store(cursor, i);
            return;
        }
    }
    if (n == 0 || atomic_exchange(cursor, n) == n)
        return;
    rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "trees/%s.json", sha);
    if (!rel || faccessat(dirfd, rel, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return;
    mlc_buf_init(&buf, MAX_TREE_FILE);
    if (mlc_hf_tree_format(t, &buf) == 0 &&
        mlc_mkdir_parents_at(dirfd, rel) == 0)
        mlc_write_file_at(dirfd, rel, buf.data, buf.len, 0644);
    mlc_buf_done(&buf);
}

void
mlc_hf_point(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
             struct mlc_hf_tree *t, size_t index)
{
    struct mlc_hf_file f;

    if (hf->d->is_read_only)
        return;
    mlc_hf_tree_get(t, index, &f);
    if (make_pointer(hf, p, sha, &f) < 0)
        return;
    write_refs(hf, p, sha);
    complete(hf, p, sha, t);
}

void
mlc_hf_point_all(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    mlc_autofree char *list = NULL;
    char(*commits)[MLC_HF_SHA_LEN + 1] = NULL;
    size_t n = 0;

    if (hf->d->is_read_only || mlc_hf_commits(hf, p, &commits, &n) < 0)
        return;
    list = (char *)commits;
    for (size_t i = 0; i < n && i < MAX_COMMITS; i++) {
        __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
        struct mlc_hf_file f;
        size_t first = 0;
        size_t n_files;

        if (mlc_hf_tree_known(hf, p, commits[i], &t) < 0)
            continue;
        n_files = mlc_hf_tree_find_etag(t, p->rest, &first);
        for (size_t k = 0; k < n_files; k++) {
            mlc_hf_tree_get(t, mlc_hf_tree_by_etag(t, first + k), &f);
            make_pointer(hf, p, commits[i], &f);
        }
        if (n_files) {
            write_refs(hf, p, commits[i]);
            complete(hf, p, commits[i], t);
        }
    }
}

/* The pointer to the blob, and the directories up to the snapshot's own that it
 * leaves empty: the stock tools take a pointer to nothing for a damaged cache.
 */
static void
remove_pointer(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
               const struct mlc_hf_file *f)
{
    mlc_autofree char *text = mlc_hf_pointer_text(f->path, f->etag);
    mlc_autofree char *rel = NULL;
    mlc_autoclose int fd = -1;
    char there[PATH_MAX];
    const char *name;
    size_t n_dirs = 1;
    int dirfd;
    ssize_t len;

    rel =
        mlc_hf_on_disk(hf, &dirfd, p->folder, "snapshots/%s/%s", sha, f->path);
    fd = rel && text ? mlc_open_parent(dirfd, rel, &name) : -1;
    len = fd < 0 ? -1 : readlinkat(fd, name, there, sizeof(there) - 1);
    if (len < 0)
        return;
    there[len] = '\0';
    if (strcmp(there, text) != 0 || unlinkat(fd, name, 0) < 0)
        return;
    for (const char *s = f->path; *s; s++)
        n_dirs += *s == '/';
    while (n_dirs > 0) {
        *strrchr(rel, '/') = '\0';
        if (unlinkat(dirfd, rel, AT_REMOVEDIR) < 0)
            break;
        n_dirs--;
    }
    /* A ref to a snapshot that is not there is damage to the stock tools. */
    if (n_dirs == 0)
        remove_refs(hf, p, sha);
}

/* A client that is offline believes a tree file, and insists on every file in
 * it. */
void
mlc_hf_unpoint(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    mlc_autofree char *list = NULL;
    char(*commits)[MLC_HF_SHA_LEN + 1] = NULL;
    size_t n = 0;

    if (mlc_hf_commits(hf, p, &commits, &n) < 0)
        return;
    list = (char *)commits;
    for (size_t i = 0; i < n; i++) {
        __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
        mlc_autofree char *rel = NULL;
        size_t first = 0, n_files;
        int dirfd;

        if (mlc_hf_tree_known(hf, p, commits[i], &t) < 0)
            continue;
        MLC_LOCK_SCOPE(&hf->io);
        n_files = mlc_hf_tree_find_etag(t, p->rest, &first);
        for (size_t k = 0; k < n_files; k++) {
            struct mlc_hf_file f;

            mlc_hf_tree_get(t, mlc_hf_tree_by_etag(t, first + k), &f);
            remove_pointer(hf, p, commits[i], &f);
        }
        rel = n_files ? mlc_hf_on_disk(hf, &dirfd, p->folder, "trees/%s.json",
                                       commits[i])
                      : NULL;
        if (!rel)
            continue;
        unlinkat(dirfd, rel, 0);
        atomic_store(mlc_hf_tree_cursor(t), 0);
    }
}

/* And its folders, where nothing else is left in them. */
static void
remove_blob(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    mlc_autofree char *rel = NULL;
    int dirfd;

    rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "blobs/%s", p->rest);
    if (!rel || unlinkat(dirfd, rel, 0) < 0)
        return;
    for (int i = 0; i < 2; i++) {
        *strrchr(rel, '/') = '\0';
        if (unlinkat(dirfd, rel, AT_REMOVEDIR) < 0)
            break;
    }
}

void
mlc_hf_published(void *arg, const char *home, int r)
{
    struct mlc_hf *hf = arg;
    mlc_autofree char *path = NULL;
    struct mlc_hf_path p;

    if (r < 0 && r != -ECANCELED) {
        atomic_fetch_add(&hf->errors, 1);
        return;
    }
    /* The home is relative to the base, which may be hub/ itself. */
    path = mlc_path_is_under(home, "hub") ? strdup(home)
                                          : mlc_path_join("hub", home);
    if (!path)
        return;
    mlc_hf_path_parse(path, &p);
    if (p.where != MLC_HF_BLOB)
        return;
    mlc_hf_forget_bad(hf, &p); /* inode numbers come again */
    if (r < 0)
        remove_blob(hf, &p);
    else
        mlc_hf_point_all(hf, &p);
}

/* --- blobs that clients bring ------------------------------------------ */

struct mlc_hf_verify {
    struct mlc_job job;
    struct mlc_hf_verify *next; /* hf.lock */
    struct mlc_hf *hf;
    struct mlc_hf_path p;
    char etag[MLC_HF_ETAG_LEN + 1];
};

static void
set_bad(struct mlc_hf *hf, const struct mlc_hf_path *p, ino_t ino)
{
    struct mlc_hf_bad *bad = calloc(1, sizeof *bad);

    if (!bad)
        return;
    bad->ino = ino;
    snprintf(bad->folder, sizeof bad->folder, "%s", p->folder);
    snprintf(bad->etag, sizeof bad->etag, "%s", p->rest);
    MLC_LOCK_SCOPE(&hf->lock);
    bad->next = hf->bad;
    hf->bad = bad;
}

void
mlc_hf_forget_bad(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    MLC_LOCK_SCOPE(&hf->lock);
    for (struct mlc_hf_bad **at = &hf->bad; *at;) {
        struct mlc_hf_bad *b = *at;

        if (strcmp(b->etag, p->rest) != 0 ||
            strcmp(b->folder, p->folder) != 0) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        free(b);
    }
}

bool
mlc_hf_is_bad(struct mlc_hf *hf, const struct mlc_hf_path *p, ino_t ino)
{
    MLC_LOCK_SCOPE(&hf->lock);
    for (const struct mlc_hf_bad *b = hf->bad; b; b = b->next)
        if (b->ino == ino && strcmp(b->etag, p->rest) == 0 &&
            strcmp(b->folder, p->folder) == 0)
            return true;
    return false;
}

static void
verify(struct mlc_hf_verify *v)
{
    mlc_autofree char *rel = NULL;
    mlc_autoclose int fd = -1;
    struct mlc_digest want, got;
    struct stat st;
    int dirfd;
    int r;

    rel = mlc_hf_on_disk(v->hf, &dirfd, v->p.folder, "blobs/%s", v->etag);
    if (!rel || mlc_digest_parse(v->etag, &want) < 0)
        return;
    /* A link into the shared store was checked when it was a file here. */
    fd = mlc_open_beneath(dirfd, rel, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    r = mlc_digest_fd(
        fd, want.kind, (uint64_t)st.st_size,
        v->hf->d->store ? mlc_store_stopping(v->hf->d->store) : NULL, &got);
    if (r == 0 && mlc_digest_equal(&want, &got)) {
        mlc_hf_point_all(v->hf, &v->p);
        return;
    }
    if (r < 0 && r != -EBADMSG)
        return;
    mlc_warn("hf: %s/blobs/%s: a client wrote other bytes than the name "
             "promises; not used",
             v->p.folder, v->etag);
    set_bad(v->hf, &v->p, st.st_ino);
}

static void
run_verify(struct mlc_job *job)
{
    struct mlc_hf_verify *v = mlc_container_of(job, struct mlc_hf_verify, job);
    struct mlc_hf *hf = v->hf;

    verify(v);
    pthread_mutex_lock(&hf->lock);
    for (struct mlc_hf_verify **at = &hf->verifies; *at; at = &(*at)->next)
        if (*at == v) {
            *at = v->next;
            break;
        }
    pthread_mutex_unlock(&hf->lock);
    free(v);
}

void
mlc_hf_verify(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    struct mlc_hf_verify *v = calloc(1, sizeof *v);

    if (!v)
        return;
    v->job.run = run_verify;
    v->hf = hf;
    v->p = *p;
    snprintf(v->etag, sizeof v->etag, "%s", p->rest);
    v->p.rest = v->etag;
    pthread_mutex_lock(&hf->lock);
    v->next = hf->verifies;
    hf->verifies = v;
    pthread_mutex_unlock(&hf->lock);
    mlc_pool_submit(hf->d->cache->pool, MLC_LANE_SLOW, &v->job);
}

void
mlc_hf_verifies_free(struct mlc_hf *hf)
{
    /* The pool has stopped: these were dropped before they began. */
    while (hf->verifies) {
        struct mlc_hf_verify *v = hf->verifies;

        hf->verifies = v->next;
        free(v);
    }
    for (struct mlc_hf_bad *next, *b = hf->bad; b; b = next) {
        next = b->next;
        free(b);
    }
    hf->bad = NULL;
}
