/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/hf_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/json.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define MAX_RECORD    ((size_t)64 << 20)
#define MAX_REF_FILE  4096
#define MAX_REF_DEPTH 8

MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

/* --- in memory ------------------------------------------------------- */

static void
free_names(struct mlc_hf_repo *repo)
{
    for (size_t i = 0; i < repo->n_names; i++)
        free(repo->names[i]);
    free(repo->names);
    repo->names = NULL;
    repo->n_names = 0;
    repo->has_names = false;
}

static void
free_repo(struct mlc_hf_repo *repo)
{
    free(repo->commits);
    for (size_t i = 0; i < repo->n_refs; i++)
        free(repo->refs[i].rev);
    free(repo->refs);
    free_names(repo);
    free(repo);
}

/* Where folder is in the sorted list, or would be. */
static size_t
position_locked(const struct mlc_hf *hf, const char *folder, bool *ret_found)
{
    size_t lo = 0;
    size_t hi = hf->n_repos;

    *ret_found = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(hf->repos[mid]->folder, folder);

        if (c == 0)
            *ret_found = true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct mlc_hf_repo *
make_locked(struct mlc_hf *hf, const char *folder)
{
    struct mlc_hf_repo **repos;
    struct mlc_hf_repo *repo;
    bool is_found;
    size_t i = position_locked(hf, folder, &is_found);

    if (is_found)
        return hf->repos[i];
    repos = realloc(hf->repos, (hf->n_repos + 1) * sizeof *repos);
    if (!repos)
        return NULL;
    hf->repos = repos;
    repo = calloc(1, sizeof *repo);
    if (!repo)
        return NULL;
    snprintf(repo->folder, sizeof repo->folder, "%s", folder);
    memmove(repos + i + 1, repos + i, (hf->n_repos - i) * sizeof *repos);
    repos[i] = repo;
    hf->n_repos++;
    return repo;
}

/* true: it was not there. */
static bool
add_commit(struct mlc_hf_repo *repo, const char *sha, int64_t since_ms)
{
    struct mlc_hf_commit *c;

    for (size_t i = repo->n_commits; i-- > 0;)
        if (strcmp(repo->commits[i].sha, sha) == 0) {
            struct mlc_hf_commit used = repo->commits[i];

            memmove(&repo->commits[i], &repo->commits[i + 1],
                    (repo->n_commits - 1 - i) * sizeof *repo->commits);
            repo->commits[repo->n_commits - 1] = used;
            return false;
        }
    c = realloc(repo->commits, (repo->n_commits + 1) * sizeof *c);
    if (!c)
        return false;
    repo->commits = c;
    c += repo->n_commits++;
    snprintf(c->sha, sizeof c->sha, "%s", sha);
    c->first_seen_ms = since_ms;
    return true;
}

/* true: another value than before, or asked at another time. */
static bool
set_ref(struct mlc_hf_repo *repo, const char *rev, const char *sha,
        int64_t asked_ms)
{
    struct mlc_hf_ref *f = NULL;
    bool is_new = false;

    for (size_t i = 0; i < repo->n_refs && !f; i++)
        if (strcmp(repo->refs[i].rev, rev) == 0)
            f = &repo->refs[i];
    if (!f) {
        f = realloc(repo->refs, (repo->n_refs + 1) * sizeof *f);
        if (!f)
            return false;
        repo->refs = f;
        f += repo->n_refs;
        *f = (struct mlc_hf_ref){.rev = strdup(rev)};
        if (!f->rev)
            return false;
        repo->n_refs++;
        is_new = true;
    }
    is_new |= f->asked_ms != asked_ms || strcmp(f->sha, sha) != 0;
    snprintf(f->sha, sizeof f->sha, "%s", sha);
    f->asked_ms = asked_ms;
    return is_new;
}

/* --- what lies on disk of a cache that was there before us ------------- */

bool
mlc_hf_ref_parse(const char *text, size_t len, char ret_sha[41])
{
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    while (len && strchr(" \t\r\n", *text)) {
        text++;
        len--;
    }
    if (len != MLC_HF_SHA_LEN)
        return false;
    memcpy(ret_sha, text, len);
    ret_sha[len] = '\0';
    return mlc_is_hex(ret_sha, MLC_HF_SHA_LEN);
}

int
mlc_hf_ref_read(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *rev,
                char ret_sha[41], bool *ret_is_exact, int64_t *ret_mtime_ms)
{
    mlc_autofree char *rel = NULL;
    mlc_autoclose int fd = -1;
    char text[MAX_REF_FILE + 1];
    struct stat st;
    ssize_t n;
    int dirfd;

    rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "refs/%s", rev);
    if (!rel)
        return -ENOMEM;
    fd = mlc_open_beneath(dirfd, rel, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EISDIR;
    n = read(fd, text, MAX_REF_FILE);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    /* Empty: a client of old is rewriting it in place right now. */
    if (!mlc_hf_ref_parse(text, (size_t)n, ret_sha))
        return -EBADMSG;
    *ret_is_exact = n == MLC_HF_SHA_LEN;
    *ret_mtime_ms =
        (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 0;
}

static void
read_refs(struct mlc_hf *hf, struct mlc_hf_repo *repo,
          const struct mlc_hf_path *p, const char *prefix, unsigned depth)
{
    mlc_autofree char *rel = NULL;
    mlc_autodir DIR *dir = NULL;
    struct dirent *e;
    int dirfd;

    rel = mlc_hf_on_disk(hf, &dirfd, p->folder, "refs%s%s", *prefix ? "/" : "",
                         prefix);
    dir = rel ? mlc_opendir_beneath(dirfd, rel) : NULL;
    while (dir && (e = readdir(dir))) {
        mlc_autofree char *rev = NULL;
        mlc_autofree char *path = NULL;
        struct mlc_hf_path q;
        int64_t mtime_ms = 0;
        bool is_exact;
        char sha[41];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        rev = mlc_path_join(prefix, e->d_name);
        if (!rev || asprintf(&path, "hub/%s/refs/%s", p->folder, rev) < 0) {
            path = NULL;
            return;
        }
        mlc_hf_path_parse(path, &q);
        if (q.where != MLC_HF_REF)
            continue;
        if (e->d_type == DT_DIR) {
            if (depth < MAX_REF_DEPTH)
                read_refs(hf, repo, p, rev, depth + 1);
            continue;
        }
        if (mlc_hf_ref_read(hf, p, rev, sha, &is_exact, &mtime_ms) < 0)
            continue;
        for (size_t i = 0; i < repo->n_refs; i++)
            if (strcmp(repo->refs[i].rev, rev) == 0 &&
                (repo->refs[i].asked_ms >= mtime_ms ||
                 strcmp(repo->refs[i].sha, sha) == 0))
                mtime_ms = -1;
        if (mtime_ms < 0)
            continue;
        add_commit(repo, sha, mtime_ms);
        set_ref(repo, rev, sha, mtime_ms);
    }
}

static void
read_snapshots(struct mlc_hf *hf, struct mlc_hf_repo *repo,
               const struct mlc_hf_path *p)
{
    mlc_autofree char *rel = NULL;
    mlc_autodir DIR *dir = NULL;
    struct dirent *e;
    struct stat st;
    int fd;

    rel = mlc_hf_on_disk(hf, &fd, p->folder, "snapshots");
    dir = rel ? mlc_opendir_beneath(fd, rel) : NULL;
    while (dir && (e = readdir(dir)))
        if (mlc_is_hex(e->d_name, MLC_HF_SHA_LEN) &&
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(st.st_mode))
            add_commit(repo, e->d_name, (int64_t)st.st_mtim.tv_sec * 1000);
}

/* --- the record ------------------------------------------------------ */

static int
compare_commits(const void *a, const void *b)
{
    const struct mlc_hf_commit *x = a;
    const struct mlc_hf_commit *y = b;

    if (x->first_seen_ms != y->first_seen_ms)
        return x->first_seen_ms < y->first_seen_ms ? -1 : 1;
    return strcmp(x->sha, y->sha);
}

static int64_t
get_ms(const json_t *obj, const char *key)
{
    uint64_t ms = 0;

    if (mlc_json_u64(obj, key, &ms) < 0 || ms > INT64_MAX)
        return 0;
    return (int64_t)ms;
}

static void
parse_record(struct mlc_hf_repo *repo, json_t *root)
{
    const char *s = NULL;
    const char *key;
    json_t *value;

    if (mlc_json_str(root, "id", &s) == 0 && strlen(s) < sizeof repo->id &&
        mlc_hf_id_is_valid(s))
        snprintf(repo->id, sizeof repo->id, "%s", s);
    mlc_json_bool(root, "private", &repo->is_private);
    mlc_json_bool(root, "confirmed", &repo->is_confirmed);
    if (mlc_json_str(root, "gated", &s) == 0)
        snprintf(repo->gated, sizeof repo->gated, "%.15s", s);
    repo->first_seen_ms = get_ms(root, "first_seen");
    json_object_foreach(json_object_get(root, "commits"), key, value)
    {
        if (mlc_is_hex(key, MLC_HF_SHA_LEN) && json_is_integer(value))
            add_commit(repo, key, json_integer_value(value));
    }
    if (repo->n_commits)
        qsort(repo->commits, repo->n_commits, sizeof *repo->commits,
              compare_commits);
    json_object_foreach(json_object_get(root, "refs"), key, value)
    {
        if (mlc_hf_rev_is_valid(key) && mlc_json_str(value, "sha", &s) == 0 &&
            mlc_is_hex(s, MLC_HF_SHA_LEN)) {
            add_commit(repo, s, repo->first_seen_ms);
            set_ref(repo, key, s, get_ms(value, "asked_ms"));
        }
    }
}

/* true: there was a record that could be read. */
static bool
read_record(struct mlc_hf *hf, struct mlc_hf_repo *repo)
{
    mlc_autofree char *rel = mlc_hf_private(hf, repo->folder, "repo.json");
    mlc_autofree char *text = NULL;
    __attribute__((cleanup(mlc_cleanup_json))) json_t *root = NULL;
    uint64_t format = 0;
    size_t len = 0;

    if (!rel || hf->d->privfd < 0 ||
        mlc_read_file_at(hf->d->privfd, rel, MAX_RECORD, &text, &len) < 0)
        return false;
    if (mlc_json_parse(text, len, &root, NULL) < 0 ||
        mlc_json_u64(root, "format", &format) < 0 || format != 1) {
        mlc_warn("hf: the record of %s is damaged, forgotten", repo->folder);
        return false;
    }
    parse_record(repo, root);
    return true;
}

/* The record as text; NULL: nothing to say, or no memory. */
static char *
format_record_locked(const struct mlc_hf_repo *repo)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *root = json_object();
    json_t *commits = json_object();
    json_t *refs = json_object();

    if (!root || !commits || !refs) {
        json_decref(commits);
        json_decref(refs);
        return NULL;
    }
    for (size_t i = 0; i < repo->n_commits; i++)
        json_object_set_new(commits, repo->commits[i].sha,
                            json_integer(repo->commits[i].first_seen_ms));
    for (size_t i = 0; i < repo->n_refs; i++)
        json_object_set_new(refs, repo->refs[i].rev,
                            json_pack("{s:s, s:I}", "sha", repo->refs[i].sha,
                                      "asked_ms",
                                      (json_int_t)repo->refs[i].asked_ms));
    json_object_set_new(root, "format", json_integer(1));
    json_object_set_new(root, "id", json_string(repo->id));
    json_object_set_new(root, "confirmed", json_boolean(repo->is_confirmed));
    json_object_set_new(root, "private", json_boolean(repo->is_private));
    json_object_set_new(root, "gated", json_string(repo->gated));
    json_object_set_new(root, "first_seen", json_integer(repo->first_seen_ms));
    json_object_set_new(root, "commits", commits);
    json_object_set_new(root, "refs", refs);
    return json_dumps(root, JSON_SORT_KEYS | JSON_INDENT(1));
}

static void
save_record(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    mlc_autofree char *rel = NULL;
    mlc_autofree char *text = NULL;
    bool is_found;
    size_t i;
    int r;

    if (hf->d->is_read_only || hf->d->privfd < 0)
        return;
    /* So that of two writers the one with the newer text comes last. */
    MLC_LOCK_SCOPE(&hf->save);
    pthread_mutex_lock(&hf->lock);
    i = position_locked(hf, p->folder, &is_found);
    if (is_found)
        text = format_record_locked(hf->repos[i]);
    pthread_mutex_unlock(&hf->lock);

    rel = mlc_hf_private(hf, p->folder, "repo.json");
    if (!text || !rel)
        return;
    r = mlc_mkdir_parents_at(hf->d->privfd, rel);
    if (r == 0)
        r = mlc_write_file_at(hf->d->privfd, rel, text, strlen(text), 0644);
    if (r < 0)
        mlc_warn("hf: cannot write the record of %s: %s", p->folder,
                 strerrordesc_np(-r));
}

/* --- repos ----------------------------------------------------------- */

static bool
is_on_disk(struct mlc_hf *hf, const char *folder)
{
    mlc_autofree char *rel = NULL;
    struct stat st;
    int dirfd;

    rel = mlc_hf_on_disk(hf, &dirfd, folder, "%s", "");
    return rel && fstatat(dirfd, rel, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

static void
load_locked(struct mlc_hf *hf, struct mlc_hf_repo *repo,
            const struct mlc_hf_path *p)
{
    repo->is_loaded = true;
    read_record(hf, repo);
    if (!*repo->id)
        snprintf(repo->id, sizeof repo->id, "%s", p->id);
    if (!repo->first_seen_ms)
        repo->first_seen_ms = mlc_real_ms();
    read_snapshots(hf, repo, p);
    read_refs(hf, repo, p, "", 0);
}

static bool
has_record(struct mlc_hf *hf, const char *folder)
{
    mlc_autofree char *rel = mlc_hf_private(hf, folder, "repo.json");

    return rel && hf->d->privfd >= 0 &&
           faccessat(hf->d->privfd, rel, F_OK, 0) == 0;
}

struct mlc_hf_repo *
mlc_hf_repo_get_locked(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    struct mlc_hf_repo *repo;
    bool is_found;
    size_t i = position_locked(hf, p->folder, &is_found);

    if (!is_found && !has_record(hf, p->folder) && !is_on_disk(hf, p->folder))
        return NULL;
    repo = is_found ? hf->repos[i] : make_locked(hf, p->folder);
    if (repo && !repo->is_loaded)
        load_locked(hf, repo, p);
    return repo;
}

bool
mlc_hf_repo_exists(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    MLC_LOCK_SCOPE(&hf->lock);
    return mlc_hf_repo_get_locked(hf, p) != NULL;
}

/* As get, but made if need be: the caller knows that it exists. */
static struct mlc_hf_repo *
ensure_locked(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    struct mlc_hf_repo *repo = make_locked(hf, p->folder);

    if (repo && !repo->is_loaded)
        load_locked(hf, repo, p);
    return repo;
}

int
mlc_hf_repo_adopt(struct mlc_hf *hf, const struct mlc_hf_path *p,
                  const char *id, bool is_private, const char *gated)
{
    struct mlc_hf_repo *repo;

    pthread_mutex_lock(&hf->lock);
    repo = ensure_locked(hf, p);
    if (repo) {
        if (id && strlen(id) < sizeof repo->id && mlc_hf_id_is_valid(id))
            snprintf(repo->id, sizeof repo->id, "%s", id);
        repo->is_confirmed = true;
        repo->is_private = is_private;
        snprintf(repo->gated, sizeof repo->gated, "%s", gated ? gated : "");
    }
    pthread_mutex_unlock(&hf->lock);
    if (!repo)
        return -ENOMEM;
    save_record(hf, p);
    return 0;
}

static int
adopt_commit(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *sha,
             bool is_confirmed)
{
    struct mlc_hf_repo *repo;
    bool is_new = false;

    pthread_mutex_lock(&hf->lock);
    repo = ensure_locked(hf, p);
    if (repo) {
        is_new = is_confirmed && !repo->is_confirmed;
        repo->is_confirmed |= is_confirmed;
        is_new |= add_commit(repo, sha, mlc_real_ms());
    }
    pthread_mutex_unlock(&hf->lock);
    if (is_new)
        save_record(hf, p);
    return repo ? 0 : -ENOMEM;
}

int
mlc_hf_adopt_commit(struct mlc_hf *hf, const struct mlc_hf_path *p,
                    const char *sha)
{
    return adopt_commit(hf, p, sha, false);
}

int
mlc_hf_confirm_commit(struct mlc_hf *hf, const struct mlc_hf_path *p,
                      const char *sha)
{
    return adopt_commit(hf, p, sha, true);
}

bool
mlc_hf_repo_is_confirmed(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    const struct mlc_hf_repo *repo;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    return repo && repo->is_confirmed;
}

int
mlc_hf_adopt_ref(struct mlc_hf *hf, const struct mlc_hf_path *p,
                 const char *rev, const char *sha, int64_t asked_ms)
{
    struct mlc_hf_repo *repo;
    bool is_new = false;

    pthread_mutex_lock(&hf->lock);
    repo = ensure_locked(hf, p);
    if (repo) {
        /* In this order: a ref to a commit that is not listed makes clients
         * call the whole repo corrupted. */
        is_new = add_commit(repo, sha, mlc_real_ms());
        is_new |= set_ref(repo, rev, sha, asked_ms);
    }
    pthread_mutex_unlock(&hf->lock);
    if (is_new)
        save_record(hf, p);
    return repo ? 0 : -ENOMEM;
}

/* Empties and removes a directory of ours (two levels of plain files). */
static void
remove_private(struct mlc_hf *hf, const char *folder)
{
    static const char *const dirs[] = {"trees", ""};

    if (hf->d->is_read_only || hf->d->privfd < 0)
        return;
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        mlc_autofree char *rel = mlc_hf_private(hf, folder, "%s", dirs[i]);
        mlc_autodir DIR *dir = NULL;
        struct dirent *e;

        dir = rel ? mlc_opendir_beneath(hf->d->privfd, rel) : NULL;
        while (dir && (e = readdir(dir)))
            if (e->d_type != DT_DIR)
                unlinkat(dirfd(dir), e->d_name, 0);
        if (rel)
            unlinkat(hf->d->privfd, rel, AT_REMOVEDIR);
    }
}

void
mlc_hf_drop_repo(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    mlc_autofree char *prefix = NULL;
    bool is_found;
    size_t i;

    {
        MLC_LOCK_SCOPE(&hf->save);
        pthread_mutex_lock(&hf->lock);
        i = position_locked(hf, p->folder, &is_found);
        if (is_found) {
            free_repo(hf->repos[i]);
            hf->n_repos--;
            memmove(hf->repos + i, hf->repos + i + 1,
                    (hf->n_repos - i) * sizeof *hf->repos);
        }
        pthread_mutex_unlock(&hf->lock);
        remove_private(hf, p->folder);
    }
    mlc_hf_trees_forget(hf, p->folder);
    if (asprintf(&prefix, "hf/%s/", p->folder) < 0)
        prefix = NULL;
    if (prefix && hf->d->cache)
        mlc_doc_forget(hf->d->cache->docs, prefix);
}

void
mlc_hf_drop_commit(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    struct mlc_hf_repo *repo;
    bool is_changed = false;

    pthread_mutex_lock(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    for (size_t i = 0; repo && i < repo->n_commits; i++)
        if (strcmp(repo->commits[i].sha, p->commit) == 0) {
            repo->n_commits--;
            memmove(&repo->commits[i], &repo->commits[i + 1],
                    (repo->n_commits - i) * sizeof *repo->commits);
            is_changed = true;
            break;
        }
    /* A ref that named it is asked for anew, which lists the commit again. */
    for (size_t i = 0; repo && is_changed && i < repo->n_refs;) {
        if (strcmp(repo->refs[i].sha, p->commit) == 0) {
            free(repo->refs[i].rev);
            repo->refs[i] = repo->refs[--repo->n_refs];
        } else {
            i++;
        }
    }
    pthread_mutex_unlock(&hf->lock);
    if (is_changed)
        save_record(hf, p);
}

void
mlc_hf_drop_ref(struct mlc_hf *hf, const struct mlc_hf_path *p, const char *rev)
{
    struct mlc_hf_repo *repo;
    bool is_changed = false;

    pthread_mutex_lock(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    for (size_t i = 0; repo && i < repo->n_refs && !is_changed; i++)
        if (strcmp(repo->refs[i].rev, rev) == 0) {
            free(repo->refs[i].rev);
            repo->refs[i] = repo->refs[--repo->n_refs];
            is_changed = true;
        }
    pthread_mutex_unlock(&hf->lock);
    if (is_changed)
        save_record(hf, p);
}

int64_t
mlc_hf_repo_since(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    struct mlc_hf_repo *repo;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    return repo ? repo->first_seen_ms : mlc_real_ms();
}

int64_t
mlc_hf_commit_since(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    struct mlc_hf_repo *repo;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    for (size_t i = 0; repo && i < repo->n_commits; i++)
        if (strcmp(repo->commits[i].sha, p->commit) == 0)
            return repo->commits[i].first_seen_ms;
    return repo ? repo->first_seen_ms : mlc_real_ms();
}

void
mlc_hf_repos_scan(struct mlc_hf *hf)
{
    mlc_autodir DIR *dir = NULL;
    struct dirent *e;

    dir =
        hf->d->privfd < 0 ? NULL : mlc_opendir_beneath(hf->d->privfd, hf->dir);
    while (dir && (e = readdir(dir))) {
        mlc_autofree char *path = mlc_path_join("hub", e->d_name);
        struct mlc_hf_path p;

        if (!path)
            return;
        mlc_hf_path_parse(path, &p);
        if (p.where != MLC_HF_REPO || !has_record(hf, p.folder))
            continue;
        MLC_LOCK_SCOPE(&hf->lock);
        make_locked(hf, p.folder);
    }
}

void
mlc_hf_repos_free(struct mlc_hf *hf)
{
    for (size_t i = 0; i < hf->n_repos; i++)
        free_repo(hf->repos[i]);
    free(hf->repos);
    hf->repos = NULL;
    hf->n_repos = 0;
}
