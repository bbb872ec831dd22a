/* SPDX-License-Identifier: MIT */
/* hf/: a Hugging Face HF_HOME in which every repo of the Hub appears.
 *
 * hub/R exists when the Hub says so; refs/REV, snapshots/COMMIT/... and
 * blobs/ETAG follow from one revision call and one tree listing a commit,
 * which is kept: a commit never changes.  Whatever a client may write of its
 * own accord is plain local storage (hf_path.h says which).
 */
#include "config.h"

#include "backends/hf_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/cache/object.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/option.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

/* How often a question is asked anew after its answer came at once. */
#define MAX_TURNS    8
#define MAX_TREES    16 /* that one look-up of a blob asks for */
#define MAX_INLINE   ((size_t)1 << 29)
#define CACHEDIR_TAG "Signature: 8a477f597d28d172789f06886806bc55\n"

MLC_DEFINE_CLEANUP(tree, struct mlc_hf_tree *, mlc_hf_tree_unref);

/* --- answers --------------------------------------------------------- */

static int
answer_local(const struct stat *local, struct mlc_entry *ret)
{
    ret->kind = MLC_KIND_LOCAL;
    return local ? 0 : -ENOENT;
}

static int
answer_absent(uint32_t ttl_ms, struct mlc_entry *ret)
{
    ret->ttl_ms = ttl_ms;
    return -ENOENT;
}

/* What lies there on disk wins if it is no directory. */
static int
answer_dir(const struct stat *local, int64_t since_ms, uint32_t ttl_ms,
           struct mlc_entry *ret)
{
    if (local && !S_ISDIR(local->st_mode))
        return answer_local(local, ret);
    ret->kind = MLC_KIND_DIR;
    ret->mtime_ms = since_ms;
    ret->ttl_ms = ttl_ms;
    return 0;
}

static int
answer_text(enum mlc_kind kind, char *text, int64_t since_ms, uint32_t ttl_ms,
            struct mlc_entry *ret)
{
    if (!text)
        return -ENOMEM;
    ret->kind = kind;
    ret->text = text;
    ret->text_len = strlen(text);
    ret->content = XXH3_64bits(text, ret->text_len);
    ret->mtime_ms = since_ms;
    ret->ttl_ms = ttl_ms;
    return 0;
}

/* An error of the Hub's.  The kernel may not believe it at all: the next token
 * changes it. */
static int
answer_error(int r, struct mlc_entry *ret)
{
    ret->ttl_ms = 0;
    return r;
}

/* --- what must be known ------------------------------------------------ */

/* 0: the repo exists. */
static int
need_repo(struct mlc_hf *hf, const struct mlc_hf_path *p, struct mlc_ask *ask)
{
    for (unsigned i = 0; i < MAX_TURNS; i++) {
        int r;

        if (mlc_hf_repo_exists(hf, p))
            return 0;
        r = mlc_hf_ask(hf, p, MLC_HF_ASK_INFO, NULL, ask);
        if (r < 0)
            return r;
    }
    return -EIO;
}

int
mlc_hf_need_tree(struct mlc_hf *hf, const struct mlc_hf_path *p,
                 struct mlc_ask *ask, struct mlc_hf_tree **ret)
{
    for (unsigned i = 0; i < MAX_TURNS; i++) {
        int r = mlc_hf_tree_known(hf, p, p->commit, ret);

        if (r == 0) {
            atomic_fetch_add(&hf->hits, 1);
            return 0;
        }
        if (r != -ENOENT)
            return r;
        r = mlc_hf_ask(hf, p, MLC_HF_ASK_TREE, p->commit, ask);
        if (r < 0)
            return r;
    }
    return -EIO;
}

/* --- hub/R/refs -------------------------------------------------------- */

enum ref_state { REF_UNKNOWN, REF_DIR, REF_KNOWN };

struct known_ref {
    char sha[MLC_HF_SHA_LEN + 1];
    int64_t asked_ms;
};

static enum ref_state
find_ref(struct mlc_hf *hf, const struct mlc_hf_path *p, struct known_ref *ret)
{
    const struct mlc_hf_repo *repo;
    enum ref_state state = REF_UNKNOWN;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    for (size_t i = 0; repo && i < repo->n_refs; i++) {
        const struct mlc_hf_ref *f = &repo->refs[i];

        if (mlc_hf_rev_is_below(f->rev, p->rest)) {
            state = REF_DIR;
        } else if (strcmp(f->rev, p->rest) == 0) {
            memcpy(ret->sha, f->sha, sizeof ret->sha);
            ret->asked_ms = f->asked_ms;
            return REF_KNOWN;
        }
    }
    return state;
}

/* Does the Hub's list of refs, if it is fresh enough, say anything?  That there
 * are names below is believed for hf_ref_ttl, that there are none shorter. */
static bool
has_names_below(struct mlc_hf *hf, const struct mlc_hf_path *p,
                bool *ret_is_dir)
{
    int64_t limit_ms = MLC_HF_NOT_FOUND_MS;
    const struct mlc_hf_repo *repo;

    MLC_LOCK_SCOPE(&hf->lock);
    repo = mlc_hf_repo_get_locked(hf, p);
    if (!repo || !repo->has_names)
        return false;
    *ret_is_dir = false;
    for (size_t i = 0; i < repo->n_names; i++)
        *ret_is_dir |= mlc_hf_rev_is_below(repo->names[i], p->rest);
    if (*ret_is_dir && hf->ref_ttl_ms > limit_ms)
        limit_ms = hf->ref_ttl_ms;
    return mlc_mono_ms() - repo->names_ms < limit_ms;
}

/* The revision is none: do others lie below its name?  0: yes. */
static int
need_ref_dir(struct mlc_hf *hf, const struct mlc_hf_path *p,
             struct mlc_ask *ask)
{
    for (unsigned i = 0; i < MAX_TURNS; i++) {
        bool is_known = false;
        bool is_dir = false;
        int r;

        is_known = has_names_below(hf, p, &is_dir);
        if (is_known)
            return is_dir ? 0 : -ENOENT;
        if (!mlc_hf_repo_exists(hf, p))
            return -ENOENT;
        r = mlc_hf_ask(hf, p, MLC_HF_ASK_REFS, NULL, ask);
        if (r < 0)
            return r;
    }
    return -EIO;
}

static int
answer_ref(const struct known_ref *f, struct mlc_entry *ret)
{
    return answer_text(MLC_KIND_INLINE, strdup(f->sha), f->asked_ms,
                       MLC_HF_SHORT_TTL_MS, ret);
}

static int
lookup_ref(struct mlc_hf *hf, const struct mlc_hf_path *p,
           const struct stat *local, struct mlc_ask *ask, struct mlc_entry *ret)
{
    struct known_ref known = {0};
    enum ref_state state = find_ref(hf, p, &known);
    char sha[MLC_HF_SHA_LEN + 1];
    int64_t mtime_ms = 0;
    bool is_exact = false;
    bool is_on_disk = false;

    if (local && S_ISDIR(local->st_mode))
        return answer_dir(local, 0, MLC_TTL_FOREVER, ret);
    if (strcmp(p->rest, "refs") == 0 || strcmp(p->rest, "refs/pr") == 0 ||
        strcmp(p->rest, "refs/convert") == 0)
        return answer_dir(local, mlc_hf_repo_since(hf, p), MLC_TTL_FOREVER,
                          ret);

    if (local &&
        mlc_hf_ref_read(hf, p, p->rest, sha, &is_exact, &mtime_ms) == 0) {
        is_on_disk = true;
        if (state != REF_KNOWN ||
            (strcmp(known.sha, sha) != 0 && mtime_ms >= known.asked_ms)) {
            /* Written by somebody after we asked. */
            int r = mlc_hf_adopt_ref(hf, p, p->rest, sha, mtime_ms);

            if (r < 0)
                return r;
            memcpy(known.sha, sha, sizeof known.sha);
            known.asked_ms = mtime_ms;
            state = REF_KNOWN;
        }
    }
    for (unsigned i = 0; i < MAX_TURNS && state == REF_UNKNOWN; i++) {
        int r = mlc_hf_ask(hf, p, MLC_HF_ASK_REV, p->rest, ask);

        if (r == -ENOENT && !hf->d->cache->is_offline) {
            r = need_ref_dir(hf, p, ask);
            if (r == 0)
                state = REF_DIR;
        }
        if (r < 0)
            return answer_error(r, ret);
        if (state == REF_UNKNOWN)
            state = find_ref(hf, p, &known);
    }
    if (state == REF_UNKNOWN)
        return -EIO;
    if (state == REF_DIR)
        return answer_dir(NULL, mlc_hf_repo_since(hf, p), MLC_HF_SHORT_TTL_MS,
                          ret);

    atomic_fetch_add(&hf->hits, 1);
    if (hf->ref_ttl_ms != MLC_NEVER_MS &&
        mlc_real_ms() - known.asked_ms > hf->ref_ttl_ms)
        mlc_hf_ask(hf, p, MLC_HF_ASK_REV, p->rest, NULL);
    ret->is_whole = true;
    if (is_on_disk && is_exact && strcmp(sha, known.sha) == 0) {
        ret->ttl_ms = MLC_HF_SHORT_TTL_MS;
        return answer_local(local, ret);
    }
    return answer_ref(&known, ret);
}

/* --- hub/R/snapshots, .no_exist, trees ----------------------------------- */

static int
answer_pointer(struct mlc_hf *hf, const struct mlc_hf_path *p,
               const struct mlc_hf_file *f, struct mlc_entry *ret)
{
    return answer_text(MLC_KIND_SYMLINK, mlc_hf_pointer_text(f->path, f->etag),
                       mlc_hf_commit_since(hf, p), MLC_TTL_FOREVER, ret);
}

/* While a long listing is coming (somebody waits for it already) the Hub is
 * asked for the path alone. */
static int
lookup_single(struct mlc_hf *hf, const struct mlc_hf_path *p,
              const struct stat *local, struct mlc_ask *ask,
              struct mlc_entry *ret)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    struct mlc_hf_file f;
    int r;

    if (!*p->rest)
        return answer_dir(local, mlc_hf_commit_since(hf, p),
                          MLC_HF_SHORT_TTL_MS, ret);
    r = mlc_hf_pending_find(hf, p, &t);
    if (r == -EAGAIN && mlc_hf_ask(hf, p, MLC_HF_ASK_PATH, p->rest, ask) == 0)
        r = mlc_hf_pending_find(hf, p, &t);
    if (r == -ENOENT)
        return answer_absent(MLC_HF_SHORT_TTL_MS, ret);
    if (r == -EISDIR)
        return answer_dir(local, mlc_hf_commit_since(hf, p),
                          MLC_HF_SHORT_TTL_MS, ret);
    if (r < 0)
        return -EAGAIN;
    mlc_hf_tree_get(t, 0, &f);
    return answer_pointer(hf, p, &f, ret);
}

static int
lookup_snapshot(struct mlc_hf *hf, const struct mlc_hf_path *p,
                const struct stat *local, struct mlc_ask *ask,
                struct mlc_entry *ret)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    struct mlc_hf_file f;
    struct stat st;
    size_t i = 0;
    int r;

    /* Below a commit that is on disk, what is on disk needs no tree. */
    if (local && *p->rest) {
        r = mlc_hf_tree_known(hf, p, p->commit, &t);
        if (r == 0)
            r = mlc_hf_tree_find(t, p->rest, &i);
        ret->is_cached = r == 0 && S_ISLNK(local->st_mode);
        /* Where the tree has no such folder it is a user's own. */
        if (!S_ISDIR(local->st_mode) || (t && r != -EISDIR))
            return answer_local(local, ret);
        return answer_dir(local, 0, MLC_TTL_FOREVER, ret);
    }

    r = mlc_hf_need_tree(hf, p, ask, &t);
    if (r == -EAGAIN && mlc_hf_is_pending(hf, p))
        return lookup_single(hf, p, local, ask, ret);
    if (!*p->rest) {
        /* A cache that was there before us goes on without the Hub. */
        if (local && r < 0 && r != -EAGAIN)
            return answer_dir(local, 0, MLC_HF_SHORT_TTL_MS, ret);
        if (r == 0)
            r = mlc_hf_adopt_commit(hf, p, p->commit);
        if (r < 0)
            return answer_error(r, ret);
        return answer_dir(local, mlc_hf_commit_since(hf, p), MLC_TTL_FOREVER,
                          ret);
    }
    if (r < 0)
        return answer_error(r, ret);

    r = mlc_hf_tree_find(t, p->rest, &i);
    if (r == -ENOENT)
        return answer_absent(MLC_TTL_FOREVER, ret);
    if (r == -EISDIR)
        return answer_dir(local, mlc_hf_commit_since(hf, p), MLC_TTL_FOREVER,
                          ret);
    mlc_hf_tree_get(t, i, &f);
    if (hf->d->cache->is_offline && !mlc_hf_has_bytes(hf, p->folder, &f))
        return answer_absent(MLC_HF_SHORT_TTL_MS, ret);
    /* Fetched under another commit: this one's pointer comes along now. */
    if (!hf->d->is_read_only &&
        !(ask && (ask->only_known || ask->is_unlinked)) &&
        mlc_hf_blob_stat(hf, p->folder, f.etag, &st) == 0 &&
        (uint64_t)st.st_size == f.size)
        mlc_hf_point(hf, p, p->commit, t, i);
    return answer_pointer(hf, p, &f, ret);
}

static int
lookup_absent(struct mlc_hf *hf, const struct mlc_hf_path *p,
              const struct stat *local, struct mlc_ask *ask,
              struct mlc_entry *ret)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    size_t i;
    int r;

    if (local && *p->rest)
        return S_ISDIR(local->st_mode)
                   ? answer_dir(local, 0, MLC_TTL_FOREVER, ret)
                   : answer_local(local, ret);
    r = mlc_hf_need_tree(hf, p, ask, &t);
    if (r == -EAGAIN && mlc_hf_is_pending(hf, p))
        return *p->rest ? answer_absent(0, ret)
                        : answer_dir(local, mlc_hf_commit_since(hf, p),
                                     MLC_HF_SHORT_TTL_MS, ret);
    if (r == -EAGAIN || r == -ENOMEM)
        return r;
    if (!*p->rest) {
        if (r == 0)
            r = mlc_hf_adopt_commit(hf, p, p->commit);
        if (r == -ENOENT && !local)
            return answer_error(r, ret);
        return answer_dir(local, mlc_hf_commit_since(hf, p),
                          r == 0 ? MLC_TTL_FOREVER : MLC_HF_SHORT_TTL_MS, ret);
    }
    /* Without the whole tree nothing is known to be absent; and clients take
     * an error here for worse than "don't know". */
    if (r < 0)
        return answer_absent(0, ret);

    r = mlc_hf_tree_find(t, p->rest, &i);
    if (r == 0)
        return answer_absent(MLC_TTL_FOREVER, ret);
    /* A part without a dot is taken for a directory on the way to a name that
     * is probed; a wrong guess costs a client one request (facts: hub 4). */
    if (r == -EISDIR || !strchr(mlc_path_base(p->rest), '.'))
        return answer_dir(NULL, mlc_hf_commit_since(hf, p), MLC_TTL_FOREVER,
                          ret);
    return answer_text(MLC_KIND_INLINE, strdup(""), mlc_hf_commit_since(hf, p),
                       MLC_TTL_FOREVER, ret);
}

static int
lookup_tree(struct mlc_hf *hf, const struct mlc_hf_path *p,
            const struct stat *local, struct mlc_ask *ask,
            struct mlc_entry *ret)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    mlc_autofree char *rel = NULL;
    struct mlc_buf buf;
    struct stat st;
    int64_t since_ms;
    int r;

    if (local)
        return answer_local(local, ret);
    r = mlc_hf_need_tree(hf, p, ask, &t);
    if (r == 0)
        r = mlc_hf_adopt_commit(hf, p, p->commit);
    if (r < 0)
        return answer_error(r, ret);
    since_ms = mlc_hf_commit_since(hf, p);
    rel = mlc_hf_private(hf, p->folder, "trees/%s.json", p->commit);
    if (!rel)
        return -ENOMEM;
    if (hf->d->privfd >= 0 &&
        fstatat(hf->d->privfd, rel, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode)) {
        r = answer_text(MLC_KIND_PRIVATE, mlc_steal(&rel), since_ms,
                        MLC_TTL_FOREVER, ret);
        ret->size = (uint64_t)st.st_size;
        return r;
    }
    /* Read-only, and never written down. */
    mlc_buf_init(&buf, MAX_INLINE);
    r = mlc_hf_tree_format(t, &buf);
    if (r == 0)
        r = answer_text(MLC_KIND_INLINE, mlc_buf_take(&buf, NULL), since_ms,
                        MLC_TTL_FOREVER, ret);
    mlc_buf_done(&buf);
    return r;
}

/* --- hub/R/blobs ------------------------------------------------------- */

static char *
object_key(const char *etag)
{
    char *key = NULL;

    return asprintf(&key, MLC_HF_KEY_PREFIX "%s", etag) < 0 ? NULL : key;
}

/* 0: *ret is where a tree of the repo has p->rest (a reference). */
static int
need_etag(struct mlc_hf *hf, const struct mlc_hf_path *p, struct mlc_ask *ask,
          struct mlc_hf_hit *ret)
{
    size_t skip = 0;

    for (unsigned i = 0; i < MAX_TREES; i++) {
        int r = mlc_hf_find_etag(hf, p, skip, false, ret);

        if (r != -ENOENT || !*ret->missing)
            return r;
        /* It may be in a commit whose files were never asked for. */
        r = mlc_hf_ask(hf, p, MLC_HF_ASK_TREE, ret->missing, ask);
        /* Refused: a client with a token of its own may bring it. */
        if (r == -ENOENT || r == -EACCES)
            skip++;
        else if (r < 0)
            return r;
    }
    return -ENOENT;
}

/* For as long as that is its name. */
static uint64_t
content_of(const char *etag)
{
    return XXH3_64bits(etag, strlen(etag));
}

static int
lookup_blob(struct mlc_hf *hf, const struct mlc_hf_path *p,
            const struct stat *local, struct mlc_ask *ask,
            struct mlc_entry *ret)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    mlc_autofree char *key = NULL;
    struct mlc_hf_hit hit = {0};
    struct mlc_hf_file f = {0};
    struct stat st;
    int r;

    if (local && S_ISDIR(local->st_mode))
        return answer_local(local, ret);
    if (local) {
        r = mlc_hf_find_etag(hf, p, 0, false, &hit);
        t = hit.tree;
        if (r == 0)
            mlc_hf_tree_get(t, hit.index, &f);
        /* A file cut short, or with wrong bytes, must not be shown. */
        if (mlc_hf_blob_stat(hf, p->folder, p->rest, &st) == 0 &&
            (r < 0 || (uint64_t)st.st_size == f.size) &&
            !mlc_hf_is_bad(hf, p, st.st_ino)) {
            atomic_fetch_add(&hf->hits, 1);
            ret->is_cached = true;
            ret->content = content_of(p->rest);
            ret->ttl_ms = MLC_TTL_FOREVER;
            return answer_local(local, ret);
        }
        if (r < 0 && S_ISLNK(local->st_mode) && hf->d->cache->is_offline)
            return answer_local(local, ret);
    }
    if (!t) {
        r = need_etag(hf, p, ask, &hit);
        if (r < 0)
            return answer_error(r, ret);
        t = hit.tree;
        mlc_hf_tree_get(t, hit.index, &f);
        if (local && mlc_hf_blob_stat(hf, p->folder, p->rest, &st) == 0 &&
            (uint64_t)st.st_size == f.size &&
            !mlc_hf_is_bad(hf, p, st.st_ino)) {
            ret->is_cached = true;
            ret->content = content_of(p->rest);
            return answer_local(local, ret);
        }
    }
    key = object_key(p->rest);
    if (!key)
        return -ENOMEM;
    ret->kind = MLC_KIND_OBJECT;
    ret->size = f.size;
    ret->present = hf->d->store ? mlc_store_present(hf->d->store, key) : 0;
    if (hf->d->cache->is_offline && ret->present < f.size)
        return answer_absent(MLC_HF_SHORT_TTL_MS, ret);
    ret->content = content_of(p->rest);
    ret->mtime_ms = mlc_hf_repo_since(hf, p);
    ret->ttl_ms = MLC_TTL_FOREVER;
    return 0;
}

static char *
get_bearer(void *arg)
{
    return mlc_hf_token(arg);
}

static bool
bearer_refused(void *arg, const char *bearer, const char *error_code)
{
    if (error_code && strcmp(error_code, "GatedRepo") == 0)
        return false;
    mlc_hf_token_refused(arg, bearer);
    return true;
}

static int
map_status(int status, const char *error_code)
{
    return status == 401 || status == 403 ? -EACCES : -EIO;
}

static int
hf_locate(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
          struct mlc_object **ret)
{
    struct mlc_hf *hf = d->priv;
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    mlc_autofree char *key = NULL;
    mlc_autofree char *label = NULL;
    mlc_autofree char *home = NULL;
    mlc_autofree char *url = NULL;
    struct mlc_object_spec spec = {0};
    struct mlc_fetch_spec fetch = {0};
    struct mlc_hf_hit hit = {0};
    struct mlc_hf_file f;
    struct mlc_hf_path p;
    int r;

    mlc_hf_path_parse(path, &p);
    if (p.where != MLC_HF_BLOB)
        return -ENOENT;
    if (!d->store)
        return -EROFS;
    r = need_etag(hf, &p, ask, &hit);
    if (r < 0)
        return r;
    t = hit.tree;
    mlc_hf_tree_get(t, hit.index, &f);
    key = object_key(p.rest);
    home = mlc_hf_on_disk(hf, &spec.homefd, p.folder, "blobs/%s", p.rest);
    url = mlc_hf_resolve_url(hf, &p, hit.sha, f.path);
    if (asprintf(&label, "hf/%s (%s)", path, f.path) < 0)
        label = NULL;
    if (!key || !home || !url || !label)
        return -ENOMEM;
    r = mlc_digest_parse(p.rest, &spec.digest);
    if (r < 0)
        return r;

    fetch.url = url;
    fetch.label = label;
    /* Not the validator: the Hub's and the CDN's differ for the same bytes;
     * the digest decides. */
    fetch.get_bearer = get_bearer;
    fetch.bearer_refused = bearer_refused;
    fetch.arg = hf;
    fetch.map_status = map_status;
    r = mlc_fetch_new(&d->cache->fetch, &fetch, &spec.feed);
    if (r < 0)
        return r;
    spec.feed_ops = &mlc_fetch_ops;
    spec.key = key;
    spec.label = label;
    spec.size = f.size;
    spec.home = home;
    spec.mode = 0666;
    spec.mtime_ms = mlc_hf_repo_since(hf, &p);
    spec.published = mlc_hf_published;
    spec.published_arg = hf;
    return mlc_store_get(d->store, &spec, ret);
}

/* --- look-up ------------------------------------------------ */

static int
hf_lookup(struct mlc_domain *d, const char *path, const struct stat *local,
          struct mlc_ask *ask, struct mlc_entry *ret)
{
    struct mlc_hf *hf = d->priv;
    struct mlc_hf_path p;
    int r;

    mlc_hf_path_parse(path, &p);
    switch (p.where) {
    case MLC_HF_LOCAL:
    case MLC_HF_SHARED:
        return answer_local(local, ret);
    case MLC_HF_ROOT:
    case MLC_HF_HUB:
        return answer_dir(local, 0, MLC_TTL_FOREVER, ret);
    case MLC_HF_TAG:
        if (local)
            return answer_local(local, ret);
        return answer_text(
            MLC_KIND_INLINE,
            strdup(CACHEDIR_TAG
                   "# This file is a cache directory tag created by "
                   "mlcachefs.\n"
                   "# See https://bford.info/cachedir/\n"),
            0, MLC_TTL_FOREVER, ret);
    case MLC_HF_REPO:
    case MLC_HF_BLOBS:
    case MLC_HF_REFS:
    case MLC_HF_SNAPSHOTS:
    case MLC_HF_TREES:
    case MLC_HF_NO_EXIST:
        r = local ? 0 : need_repo(hf, &p, ask);
        if (r < 0)
            return answer_error(r, ret);
        return answer_dir(local, local ? 0 : mlc_hf_repo_since(hf, &p),
                          MLC_TTL_FOREVER, ret);
    case MLC_HF_BLOB:
        return lookup_blob(hf, &p, local, ask, ret);
    case MLC_HF_REF:
        return lookup_ref(hf, &p, local, ask, ret);
    case MLC_HF_SNAPSHOT:
        return lookup_snapshot(hf, &p, local, ask, ret);
    case MLC_HF_TREE:
        return lookup_tree(hf, &p, local, ask, ret);
    case MLC_HF_ABSENT:
        return lookup_absent(hf, &p, local, ask, ret);
    }
    return -ENOENT;
}

static bool
hf_is_unlisted(struct mlc_domain *d, const char *dir, const char *name)
{
    /* 0.36 takes the tag for a broken repo when it scans; any client takes a
     * file of ours that is just being written for a ref. */
    return (strcmp(dir, "hub") == 0 && strcmp(name, "CACHEDIR.TAG") == 0) ||
           strncmp(name, ".mlc-tmp-", 9) == 0;
}

/* --- what happens to names ---------------------------------------------- */

static int
hf_may_create(struct mlc_domain *d, const char *path, mode_t mode)
{
    const struct mlc_base *base;
    const char *rel;
    struct stat st;

    /* The clients' shared store would move blobs away under us; they take a
     * refusal silently (facts: hub 2.4). */
    if (strcmp(path, "hub/blobs") != 0)
        return 0;
    base = mlc_domain_base(d, path, &rel);
    return fstatat(base->fd, rel, &st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -EPERM;
}

static void
hf_changed(struct mlc_domain *d, const char *path)
{
    struct mlc_hf *hf = d->priv;
    char sha[MLC_HF_SHA_LEN + 1];
    struct mlc_hf_path p;
    int64_t mtime_ms;
    bool is_exact;

    if (strcmp(path, "token") == 0) {
        mlc_hf_token_changed(hf);
        return;
    }
    mlc_hf_path_parse(path, &p);
    if (p.where == MLC_HF_REF &&
        mlc_hf_ref_read(hf, &p, p.rest, sha, &is_exact, &mtime_ms) == 0)
        mlc_hf_adopt_ref(hf, &p, p.rest, sha, mtime_ms);
    if (p.where == MLC_HF_BLOB)
        mlc_hf_verify(hf, &p);
}

static void
drop_blob(struct mlc_hf *hf, const struct mlc_hf_path *p)
{
    mlc_autofree char *key = object_key(p->rest);
    mlc_autofree char *home = NULL;
    int dirfd;

    home = mlc_hf_on_disk(hf, &dirfd, p->folder, "blobs/%s", p->rest);
    if (hf->d->store && key && home)
        mlc_store_unwant(hf->d->store, key, dirfd, home);
}

static void
hf_removed(struct mlc_domain *d, const char *path)
{
    struct mlc_hf *hf = d->priv;
    struct mlc_hf_path p;

    if (strcmp(path, "token") == 0) {
        mlc_hf_token_changed(hf);
        return;
    }
    mlc_hf_path_parse(path, &p);
    if (p.where == MLC_HF_REPO)
        mlc_hf_drop_repo(hf, &p);
    if (p.where == MLC_HF_SNAPSHOT && !*p.rest)
        mlc_hf_drop_commit(hf, &p);
    if (p.where == MLC_HF_REF)
        mlc_hf_drop_ref(hf, &p, p.rest);
    if (p.where == MLC_HF_BLOB) {
        mlc_hf_forget_bad(hf, &p);
        drop_blob(hf, &p);
    }
}

static int
hf_describe(struct mlc_domain *d, const char *path, struct mlc_info *ret)
{
    struct mlc_hf *hf = d->priv;
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t = NULL;
    struct mlc_hf_hit hit = {0};
    struct mlc_hf_file f;
    struct mlc_hf_path p;

    ret->expires_ms = -1;
    mlc_hf_path_parse(path, &p);
    if (p.where != MLC_HF_BLOB)
        return 0;
    ret->etag = strdup(p.rest);
    if (!ret->etag)
        return -ENOMEM;
    if (mlc_hf_find_etag(hf, &p, 0, false, &hit) < 0)
        return 0;
    t = hit.tree;
    mlc_hf_tree_get(t, hit.index, &f);
    ret->url = mlc_hf_resolve_url(hf, &p, hit.sha, f.path);
    return ret->url ? 0 : -ENOMEM;
}

static void
hf_status(struct mlc_domain *d, struct mlc_status *ret)
{
    struct mlc_hf *hf = d->priv;

    ret->hits = atomic_load(&hf->hits);
    ret->misses = atomic_load(&hf->misses);
    ret->errors = atomic_load(&hf->errors);
    MLC_LOCK_SCOPE(&hf->lock);
    ret->entries = hf->n_repos;
}

/* --- begin and end ------------------------------------------------------ */

static int
hf_open(struct mlc_domain *d)
{
    struct mlc_hf *hf = d->priv;
    size_t len;
    int r;

    hf->d = d;
    hf->endpoint = strdup(mlc_opt_str(d->options, "hf_endpoint"));
    if (!hf->endpoint)
        return -ENOMEM;
    len = strlen(hf->endpoint);
    while (len && hf->endpoint[len - 1] == '/')
        hf->endpoint[--len] = '\0';
    hf->ref_ttl_ms = mlc_opt_time_ms(d->options, "hf_ref_ttl");
    snprintf(hf->dir, sizeof hf->dir, "hf/%016llx",
             (unsigned long long)XXH3_64bits(hf->endpoint, len));
    pthread_mutex_init(&hf->io, NULL);
    pthread_mutex_init(&hf->save, NULL);
    pthread_mutex_init(&hf->lock, NULL);
    hf->is_open = true;
    if (mlc_parse_truthy(getenv("HF_HUB_OFFLINE") ? getenv("HF_HUB_OFFLINE")
                                                  : ""))
        mlc_info("hf: HF_HUB_OFFLINE is for clients, ignored here (-o offline "
                 "is for the mount)");
    mlc_hf_repos_scan(hf);
    r = mlc_hf_evict_init(hf);
    return r < 0 ? r : mlc_hf_tokens_init(hf);
}

static void
hf_close(struct mlc_domain *d)
{
    struct mlc_hf *hf = d->priv;

    if (hf->is_open) {
        mlc_hf_verifies_free(hf);
        mlc_hf_pending_free(hf);
        while (hf->n_kept)
            mlc_hf_tree_unref(hf->kept[--hf->n_kept].tree);
        mlc_hf_repos_free(hf);
        mlc_hf_tokens_done(hf);
        pthread_mutex_destroy(&hf->lock);
        pthread_mutex_destroy(&hf->save);
        pthread_mutex_destroy(&hf->io);
    }
    free(hf->endpoint);
    hf->endpoint = NULL;
    hf->is_open = false;
}

static const struct mlc_option options[] = {
    {"hf_home", MLC_OPT_STRING, "DIR", NULL, NULL,
     "where the Hugging Face cache lies (default: STORE/hf if STORE was given, "
     "else $HF_HOME, else ~/.cache/huggingface)"},
    {"hf_endpoint", MLC_OPT_URL, "URL", "HF_ENDPOINT", "https://huggingface.co",
     "the Hub"},
    {"hf_ref_ttl", MLC_OPT_TIME, "TIME", NULL, "minutes=5",
     "how long a branch or tag is believed"},
    {0},
};

const struct mlc_backend mlc_backend_hf = {
    .name = "hf",
    .summary = "Hugging Face Hub, as a HF_HOME",
    .flags = MLC_BACKEND_CONCURRENT,
    .priv_size = sizeof(struct mlc_hf),
    .options = options,
    .open = hf_open,
    .close = hf_close,
    .lookup = hf_lookup,
    .list = mlc_hf_list,
    .locate = hf_locate,
    .is_unlisted = hf_is_unlisted,
    .may_create = hf_may_create,
    .changed = hf_changed,
    .removed = hf_removed,
    .describe = hf_describe,
    .status = hf_status,
    .place = mlc_hf_place,
};
