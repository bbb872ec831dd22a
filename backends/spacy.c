/* SPDX-License-Identifier: MIT */
/* spacy/: every released spaCy model as a directory.
 *
 * Names, versions and dist-info follow from the table alone (spacy_table.h), so
 * that they never need the network; sizes and names inside of a model from its
 * wheel's index (spacy_index.c); bytes from the wheel itself (spacy_unpack.c),
 * all of them as soon as a file of the model's weights is opened
 * (spacy_whole.c).  What dgenerate, or anybody, has put there is plain local
 * storage and hides what we would show.
 */
#include "config.h"

#include "backends/spacy_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/option.h"
#include "backends/util/path.h"

/* spaCy's own (facts: spacy 1, 2); too long to be shown in --help. */
#define COMPAT_URL                                                             \
    "https://raw.githubusercontent.com/explosion/spacy-models/master/"         \
    "compatibility.json"
#define DOWNLOAD_URL                                                           \
    "https://github.com/explosion/spacy-models/releases/download"

/* How often a question is asked anew after its answer came at once. */
#define MAX_TURNS 8
/* Who removes models one after the other is not told of names in those of which
 * nothing is here: each would cost a wheel's index. */
#define REMOVING_MS     2000
#define REMOVING_MODELS 3

MLC_DEFINE_CLEANUP(table, struct mlc_spacy_table *, mlc_spacy_table_unref);
MLC_DEFINE_CLEANUP(index, struct mlc_spacy_index *, mlc_spacy_index_unref);

#define autotable __attribute__((cleanup(mlc_cleanup_table)))
#define autoindex __attribute__((cleanup(mlc_cleanup_index)))

static const char *const top_files[] = {"__init__.py", "meta.json"};
static const char *const info_files[] = {"METADATA", "WHEEL",
                                         "entry_points.txt", "top_level.txt"};

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* --- answers ------------------------------------------------------------- */

static int
answer_local(const struct stat *local, struct mlc_entry *ret)
{
    ret->kind = MLC_KIND_LOCAL;
    return local ? 0 : -ENOENT;
}

static int
answer_dir(int64_t mtime_ms, struct mlc_entry *ret)
{
    ret->kind = MLC_KIND_DIR;
    ret->mtime_ms = mtime_ms;
    ret->ttl_ms = MLC_SPACY_TTL_MS;
    return 0;
}

static int
answer_text(char *text, int64_t mtime_ms, struct mlc_entry *ret)
{
    if (!text)
        return -ENOMEM;
    ret->kind = MLC_KIND_INLINE;
    ret->text = text;
    ret->text_len = ret->size = strlen(text);
    ret->mtime_ms = mtime_ms;
    ret->ttl_ms = MLC_SPACY_TTL_MS;
    return 0;
}

static int
answer_absent(struct mlc_entry *ret)
{
    ret->ttl_ms = MLC_SPACY_TTL_MS;
    return -ENOENT;
}

/* --- names that follow from the table ------------------------------------ */

/* Does the table have it?  *ret_shown (may be NULL): the version that is shown,
 * "" for none. */
static bool
has_version(const struct mlc_spacy_table *t, const struct mlc_spacy_path *p,
            const char *version)
{
    const struct mlc_spacy_model *m = mlc_spacy_table_find(t, p->name);

    return m && (!version || mlc_spacy_model_has(m, version));
}

/* 0: *ret is the table that has the name (and version, if not NULL), a
 * reference; -ENOENT: none has; -EAGAIN: the first answer of the day may. */
static int
need_model(struct mlc_spacy *s, const struct mlc_spacy_path *p,
           const char *version, struct mlc_ask *ask,
           struct mlc_spacy_table **ret, int64_t *ret_since_ms)
{
    for (unsigned i = 0; i < MAX_TURNS; i++) {
        autotable struct mlc_spacy_table *t =
            mlc_spacy_table_get(s, ret_since_ms);
        int r;

        if (has_version(t, p, version)) {
            *ret = mlc_steal(&t);
            return 0;
        }
        if (!mlc_spacy_is_likely_name(p->name))
            break;
        r = mlc_spacy_table_wait(s, ask);
        if (r < 0)
            return r;
    }
    return -ENOENT;
}

static int
lookup_table(struct mlc_spacy *s, const struct stat *local,
             struct mlc_entry *ret)
{
    autotable struct mlc_spacy_table *t = NULL;
    int64_t since_ms;
    const char *text;
    size_t len;
    int r;

    /* What is no such table is somebody's own. */
    if (local && (!S_ISREG(local->st_mode) || !mlc_spacy_table_join(s, local)))
        return answer_local(local, ret);
    t = mlc_spacy_table_get(s, &since_ms);
    text = mlc_spacy_table_text(t, &len);
    r = answer_text(strndup(text, len), since_ms, ret);
    ret->ttl_ms = 0; /* it may change at any time */
    return r;
}

static int
lookup_model(struct mlc_spacy *s, const struct mlc_spacy_path *p,
             const char *version, const struct stat *local, struct mlc_ask *ask,
             struct mlc_entry *ret)
{
    autotable struct mlc_spacy_table *t = NULL;
    int64_t since_ms = 0;
    int r;

    if (local && !S_ISDIR(local->st_mode))
        return answer_local(local, ret);
    r = local ? 0 : need_model(s, p, version, ask, &t, &since_ms);
    if (r == -ENOENT)
        return answer_absent(ret);
    if (r < 0)
        return r;
    if (!t)
        t = mlc_spacy_table_get(s, &since_ms);
    if (!has_version(t, p, version))
        return answer_local(local, ret);
    return answer_dir(since_ms, ret);
}

/* The dist-info that is shown of a model: that of the version whose files
 * stand directly in NAME/. */
static bool
is_shown(const struct mlc_spacy_table *t, const char *name, const char *version)
{
    const struct mlc_spacy_model *m = mlc_spacy_table_find(t, name);

    return m && m->shown && strcmp(m->shown, version) == 0;
}

bool
mlc_spacy_is_shown(struct mlc_spacy *s, const struct mlc_spacy_wheel *w)
{
    autotable struct mlc_spacy_table *t = mlc_spacy_table_get(s, NULL);

    return is_shown(t, w->name, w->version);
}

/* The texts stay the same for ever: who has one open must not see another size
 * (facts: spacy 4.2). */
static char *
info_text(const struct mlc_spacy_path *p)
{
    char *text = NULL;
    int n = -1;

    if (strcmp(p->rest, "METADATA") == 0)
        n = asprintf(&text, "Metadata-Version: 2.1\nName: %s\nVersion: %s\n",
                     p->name, p->version);
    else if (strcmp(p->rest, "WHEEL") == 0)
        n = asprintf(&text, "Wheel-Version: 1.0\nGenerator: mlcachefs\n"
                            "Root-Is-Purelib: true\nTag: py3-none-any\n");
    else if (strcmp(p->rest, "entry_points.txt") == 0)
        n = asprintf(&text, "[spacy_models]\n%s = %s\n", p->name, p->name);
    else if (strcmp(p->rest, "top_level.txt") == 0)
        n = asprintf(&text, "%s\n", p->name);
    return n < 0 ? NULL : text;
}

static bool
is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

static int
lookup_info(struct mlc_spacy *s, const struct mlc_spacy_path *p,
            const struct stat *local, struct mlc_entry *ret)
{
    autotable struct mlc_spacy_table *t = NULL;
    int64_t since_ms;

    if (local && !S_ISDIR(local->st_mode))
        return answer_local(local, ret);
    t = mlc_spacy_table_get(s, &since_ms);
    if (!is_shown(t, p->name, p->version))
        return local ? answer_local(local, ret) : answer_absent(ret);
    if (p->where == MLC_SPACY_INFO)
        return answer_dir(since_ms, ret);
    if (local)
        return answer_local(local, ret);
    if (!is_one_of(p->rest, info_files, N_OF(info_files)))
        return answer_absent(ret);
    return answer_text(info_text(p), since_ms, ret);
}

/* --- what lies in a wheel ------------------------------------------------ */

/* The wheel that a file of a model comes from: 0, -ENOENT: from none, -EAGAIN.
 */
static int
need_wheel(struct mlc_spacy *s, const struct mlc_spacy_path *p,
           struct mlc_ask *ask, struct mlc_spacy_wheel **ret)
{
    autotable struct mlc_spacy_table *t = NULL;
    const struct mlc_spacy_model *m;
    const char *version;
    int64_t since_ms;
    int r;

    r = need_model(s, p, p->where == MLC_SPACY_DATA ? p->version : NULL, ask,
                   &t, &since_ms);
    if (r < 0)
        return r;
    m = mlc_spacy_table_find(t, p->name);
    version = p->where == MLC_SPACY_DATA ? p->version : m->shown;
    if (!version)
        return -ENOENT;
    *ret = mlc_spacy_wheel_get(s, p->name, version);
    return *ret ? 0 : -ENOMEM;
}

/* Is what lies on disk the finished file that we would fetch? */
static bool
is_ours(struct mlc_spacy *s, const struct mlc_spacy_path *p, const char *path,
        const struct stat *local)
{
    struct mlc_ask ask = {.only_known = true};
    const struct mlc_zip_member *m = NULL;
    autoindex struct mlc_spacy_index *x = NULL;
    struct mlc_spacy_wheel *w;

    return S_ISREG(local->st_mode) && need_wheel(s, p, &ask, &w) == 0 &&
           mlc_spacy_need_index(s, w, &ask, &x) == 0 &&
           mlc_zip_find(x->zip, path, &m) == 0 &&
           mlc_spacy_is_as_put(x, m, local);
}

/* Did we put it there when another version was shown? */
static bool
is_of_another(struct mlc_spacy *s, const struct mlc_spacy_path *p,
              const char *path, const struct stat *local)
{
    autotable struct mlc_spacy_table *t = mlc_spacy_table_get(s, NULL);
    const struct mlc_spacy_model *m = mlc_spacy_table_find(t, p->name);

    for (size_t i = 0; m && m->shown && i < m->n_versions; i++) {
        struct mlc_spacy_wheel *w =
            mlc_spacy_wheel_get(s, p->name, m->versions[i]);
        struct mlc_ask ask = {.only_known = true};
        autoindex struct mlc_spacy_index *x = NULL;
        const struct mlc_zip_member *f = NULL;

        if (w && mlc_spacy_need_index(s, w, &ask, &x) == 0 &&
            mlc_zip_find(x->zip, path, &f) == 0 &&
            mlc_spacy_is_as_put(x, f, local))
            return true;
    }
    return false;
}

static int
answer_file(struct mlc_spacy *s, struct mlc_spacy_wheel *w,
            struct mlc_spacy_index *x, const struct mlc_zip_member *m,
            struct mlc_entry *ret)
{
    mlc_autofree char *key = mlc_spacy_key(w, x, m->name);

    if (!key)
        return -ENOMEM;
    ret->kind = MLC_KIND_OBJECT;
    ret->size = m->usize;
    ret->present = s->d->store ? mlc_store_present(s->d->store, key) : 0;
    ret->content = XXH3_64bits(key, strlen(key));
    ret->mtime_ms = x->mtime_ms;
    ret->ttl_ms = MLC_SPACY_TTL_MS;
    if (s->d->cache->is_offline && ret->present < ret->size)
        return answer_absent(ret);
    return 0;
}

/* A name is looked up that listings may hold back (is_removing()). */
static void
somebody_reads(struct mlc_spacy *s)
{
    MLC_LOCK_SCOPE(&s->lock);

    if (s->n_removed >= REMOVING_MODELS)
        s->n_removed = 0;
}

/* Did somebody else put the version there, as dgenerate does?  meta.json is
 * there, and what loading tries and does not find must not be an error. */
static bool
is_extracted(const struct mlc_spacy *s, const struct mlc_spacy_path *p)
{
    char path[2 * MLC_SPACY_STEM_SIZE + 32];
    mlc_autoclose int fd = -1;

    if (p->where == MLC_SPACY_DATA)
        snprintf(path, sizeof(path), "%s/%s-%s/meta.json", p->name, p->name,
                 p->version);
    else
        snprintf(path, sizeof(path), "%s/meta.json", p->name);
    fd = mlc_open_beneath(s->d->bases[0].fd, path, O_PATH | O_NOFOLLOW, 0);
    return fd >= 0;
}

/* What the wheel has at path. */
static int
lookup_in_wheel(struct mlc_spacy *s, const struct mlc_spacy_path *p,
                const char *path, struct mlc_ask *ask, struct mlc_entry *ret)
{
    const struct mlc_zip_member *m = NULL;
    autoindex struct mlc_spacy_index *x = NULL;
    struct mlc_ask known = {.only_known = true};
    struct mlc_spacy_wheel *w;
    int64_t since_ms;
    int r;

    r = need_wheel(s, p, ask, &w);
    if (r == 0)
        somebody_reads(s);
    /* Names that importers try (__init__.abi3.so, __pycache__) are no reason
     * to ask. */
    if (r == 0 && p->where == MLC_SPACY_TOP &&
        !is_one_of(p->rest, top_files, N_OF(top_files)))
        ask = &known;
    if (r == 0)
        r = mlc_spacy_need_index(s, w, ask, &x);
    if (r == -EAGAIN && ask == &known)
        r = -ENOENT;
    if (r == 0)
        r = mlc_zip_find(x->zip, path, &m);
    if (r == 0) {
        atomic_fetch_add(&s->hits, 1);
        return answer_file(s, w, x, m, ret);
    }
    if (r == -EISDIR) {
        mlc_spacy_table_unref(mlc_spacy_table_get(s, &since_ms));
        return answer_dir(since_ms, ret);
    }
    if (r == -ENOENT || (r != -EAGAIN && r != -ENOMEM && is_extracted(s, p)))
        return answer_absent(ret);
    return r;
}

static int
lookup_member(struct mlc_spacy *s, const struct mlc_spacy_path *p,
              const char *path, const struct stat *local, struct mlc_ask *ask,
              struct mlc_entry *ret)
{
    int r;

    if (!local)
        return lookup_in_wheel(s, p, path, ask, ret);
    if (is_ours(s, p, path, local)) {
        ret->is_cached = true;
        return answer_local(local, ret);
    }
    if (p->where != MLC_SPACY_TOP || !is_of_another(s, p, path, local))
        return answer_local(local, ret);
    /* It must be of the version that dist-info names; but any is better than
     * none. */
    r = lookup_in_wheel(s, p, path, ask, ret);
    if (r == 0 || r == -EAGAIN || r == -ENOMEM)
        return r;
    mlc_entry_done(ret);
    return answer_local(local, ret);
}

static int
spacy_lookup(struct mlc_domain *d, const char *path, const struct stat *local,
             struct mlc_ask *ask, struct mlc_entry *ret)
{
    struct mlc_spacy *s = d->priv;
    struct mlc_spacy_path p;

    mlc_spacy_path_parse(path, &p);
    if (p.where != MLC_SPACY_ROOT)
        atomic_store(&s->is_used, true);
    switch (p.where) {
    case MLC_SPACY_LOCAL:
        break;
    case MLC_SPACY_ROOT:
        return answer_dir(0, ret);
    case MLC_SPACY_TABLE:
        return lookup_table(s, local, ret);
    case MLC_SPACY_MODEL:
        return lookup_model(s, &p, NULL, local, ask, ret);
    case MLC_SPACY_DATA:
        if (!*p.rest)
            return lookup_model(s, &p, p.version, local, ask, ret);
        return lookup_member(s, &p, path, local, ask, ret);
    case MLC_SPACY_TOP:
        return lookup_member(s, &p, path, local, ask, ret);
    case MLC_SPACY_INFO:
    case MLC_SPACY_INFO_FILE:
        return lookup_info(s, &p, local, ret);
    }
    return answer_local(local, ret);
}

/* --- listings ------------------------------------------------------------ */

struct lister {
    mlc_list_fn *emit;
    void *arg;
};

static int
list_root(const struct mlc_spacy_table *t, const struct lister *l)
{
    int r = l->emit(l->arg, "compatibility.json", DT_REG);

    for (size_t i = 0; r == 0 && i < mlc_spacy_table_count(t); i++) {
        const struct mlc_spacy_model *m = mlc_spacy_table_at(t, i);
        char info[MLC_SPACY_STEM_SIZE + sizeof(MLC_SPACY_INFO_SUFFIX)];

        r = l->emit(l->arg, m->name, DT_DIR);
        if (r != 0 || !m->shown)
            continue;
        mlc_spacy_stem(m->name, m->shown, info);
        strcat(info, MLC_SPACY_INFO_SUFFIX);
        r = l->emit(l->arg, info, DT_DIR);
    }
    return r;
}

static bool
is_removing(struct mlc_spacy *s)
{
    MLC_LOCK_SCOPE(&s->lock);
    return s->n_removed >= REMOVING_MODELS &&
           mlc_mono_ms() - s->removed_ms < REMOVING_MS;
}

static bool
is_known(struct mlc_spacy *s, struct mlc_spacy_wheel *w)
{
    struct mlc_ask ask = {.only_known = true};
    autoindex struct mlc_spacy_index *x = NULL;

    return mlc_spacy_need_index(s, w, &ask, &x) == 0;
}

/* Of the versions that stand beside the one that is shown, those are listed of
 * which something is known: ls -R would else ask for each one's index. */
static int
list_model(struct mlc_spacy *s, const struct mlc_spacy_table *t,
           const char *name, const struct lister *l)
{
    const struct mlc_spacy_model *m = mlc_spacy_table_find(t, name);
    int r = 0;

    for (size_t i = 0; m && r == 0 && i < m->n_versions; i++) {
        const char *version = m->versions[i];
        struct mlc_spacy_wheel *w = mlc_spacy_wheel_get(s, name, version);
        bool is_first = m->shown ? strcmp(version, m->shown) == 0 : i == 0;
        bool is_here = w && is_known(s, w);

        if (!w)
            return -ENOMEM;
        if (!is_here && (!is_first || is_removing(s)))
            continue;
        r = l->emit(l->arg, w->stem, DT_DIR);
        /* A name that can't be looked up now would be an error to whoever
         * lists with attributes. */
        if (!m->shown || !is_first || s->d->cache->is_offline ||
            (!is_here && mlc_spacy_is_unreachable(s, w)))
            continue;
        for (size_t k = 0; r == 0 && k < N_OF(top_files); k++)
            r = l->emit(l->arg, top_files[k], DT_REG);
    }
    return r;
}

static int
emit_member(void *arg, const char *name, const struct mlc_zip_member *m)
{
    const struct lister *l = arg;

    return l->emit(l->arg, name, m ? DT_REG : DT_DIR);
}

static int
list_data(struct mlc_spacy *s, const struct mlc_spacy_path *p, const char *path,
          struct mlc_ask *ask, struct lister *l)
{
    autoindex struct mlc_spacy_index *x = NULL;
    struct mlc_ask known = {.only_known = true};
    struct mlc_spacy_wheel *w;
    int r;

    /* What is here lies on disk. */
    if (s->d->cache->is_offline)
        return 0;
    r = need_wheel(s, p, ask, &w);
    if (r == 0 && is_removing(s))
        ask = &known;
    if (r == 0)
        r = mlc_spacy_need_index(s, w, ask, &x);
    if (r == 0) {
        r = mlc_zip_list(x->zip, path, emit_member, l);
        return r == -ENOTDIR || r == -ENOENT ? 0 : r;
    }
    /* Nothing of it is here, and nobody can say what it holds: empty. */
    if (r == -ENOENT || (r == -EAGAIN && ask == &known) || r == -EHOSTUNREACH ||
        r == -ETIMEDOUT || r == -ECONNREFUSED || r == -ECONNRESET ||
        r == -EPROTO)
        return 0;
    return r;
}

static int
spacy_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
           mlc_list_fn *emit, void *arg)
{
    struct mlc_spacy *s = d->priv;
    autotable struct mlc_spacy_table *t = mlc_spacy_table_get(s, NULL);
    struct lister l = {emit, arg};
    struct mlc_spacy_path p;
    int r = 0;

    atomic_store(&s->is_used, true);
    mlc_spacy_path_parse(path, &p);
    switch (p.where) {
    case MLC_SPACY_ROOT:
        return list_root(t, &l);
    case MLC_SPACY_MODEL:
        return list_model(s, t, p.name, &l);
    case MLC_SPACY_DATA:
        return list_data(s, &p, path, ask, &l);
    case MLC_SPACY_INFO:
        if (!is_shown(t, p.name, p.version))
            return 0;
        for (size_t i = 0; r == 0 && i < N_OF(info_files); i++)
            r = emit(arg, info_files[i], DT_REG);
        return r;
    case MLC_SPACY_LOCAL:
    case MLC_SPACY_TABLE:
    case MLC_SPACY_TOP:
    case MLC_SPACY_INFO_FILE:
        break;
    }
    return 0;
}

/* --- bytes --------------------------------------------------------------- */

/* What tools read to learn about a model, without loading it. */
static bool
is_about(const struct mlc_spacy_path *p)
{
    static const char *const names[] = {
        "__init__.py", "meta.json",        "config.cfg",   "README.md",
        "LICENSE",     "LICENSES_SOURCES", "accuracy.json"};

    return is_one_of(p->rest, names, N_OF(names));
}

static int
spacy_locate(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
             struct mlc_object **ret)
{
    struct mlc_spacy *s = d->priv;
    const struct mlc_zip_member *m = NULL;
    autoindex struct mlc_spacy_index *x = NULL;
    struct mlc_spacy_wheel *w;
    struct mlc_spacy_path p;
    int r;

    mlc_spacy_path_parse(path, &p);
    if (p.where != MLC_SPACY_DATA && p.where != MLC_SPACY_TOP)
        return -ENOENT;
    if (!d->store)
        return -EROFS;
    r = need_wheel(s, &p, ask, &w);
    if (r == 0)
        r = mlc_spacy_need_index(s, w, ask, &x);
    if (r == 0)
        r = mlc_zip_find(x->zip, path, &m);
    if (r < 0)
        return r == -EISDIR ? -ESTALE : r;
    if (mlc_spacy_is_bad(s, w, path) || mlc_spacy_is_condemned(s, w, x))
        return -EIO;
    r = mlc_spacy_file(s, w, x, m, ret);
    if (r < 0)
        return r;
    atomic_fetch_add(&s->misses, 1);
    mlc_spacy_table_refresh(s);
    if (!is_about(&p) && d->cache->fetch.is_whole && !d->cache->is_offline)
        mlc_spacy_whole_start(s, w, x);
    return 0;
}

/* --- what happens to names ----------------------------------------------- */

/* A file of a wheel is not wanted any more. */
static void
drop_file(struct mlc_spacy *s, const struct mlc_spacy_path *p, const char *path)
{
    struct mlc_ask known = {.only_known = true};
    autoindex struct mlc_spacy_index *x = NULL;
    mlc_autofree char *key = NULL;
    struct mlc_spacy_wheel *w;

    if (!s->d->store || need_wheel(s, p, &known, &w) < 0)
        return;
    mlc_spacy_whole_stop(s, w);
    if (mlc_spacy_need_index(s, w, &known, &x) < 0)
        return;
    key = mlc_spacy_key(w, x, path);
    if (key)
        (void)mlc_store_drop(s->d->store, key);
}

/* A model's directory: what we know of its inside goes too. */
static void
drop_wheel(struct mlc_spacy *s, const char *name, const char *version)
{
    struct mlc_spacy_wheel *w = mlc_spacy_wheel_get(s, name, version);

    if (!w || s->d->privfd < 0)
        return;
    mlc_spacy_whole_stop(s, w);
    mlc_spacy_index_drop(s, w);
}

static void
count_removed(struct mlc_spacy *s)
{
    int64_t now = mlc_mono_ms();
    MLC_LOCK_SCOPE(&s->lock);

    if (now - s->removed_ms >= REMOVING_MS)
        s->n_removed = 0;
    s->n_removed++;
    s->removed_ms = now;
}

static void
spacy_removed(struct mlc_domain *d, const char *path)
{
    struct mlc_spacy *s = d->priv;
    autotable struct mlc_spacy_table *t = NULL;
    const struct mlc_spacy_model *m;
    struct mlc_spacy_path p;

    mlc_spacy_path_parse(path, &p);
    t = mlc_spacy_table_get(s, NULL);
    m = mlc_spacy_table_find(t, p.name);
    if (p.where == MLC_SPACY_TOP || (p.where == MLC_SPACY_DATA && *p.rest)) {
        drop_file(s, &p, path);
    } else if (p.where == MLC_SPACY_DATA && m &&
               mlc_spacy_model_has(m, p.version)) {
        drop_wheel(s, p.name, p.version);
    } else if (p.where == MLC_SPACY_MODEL && m) {
        for (size_t i = 0; i < m->n_versions; i++)
            drop_wheel(s, p.name, m->versions[i]);
        count_removed(s);
    }
}

static bool
spacy_is_unlisted(struct mlc_domain *d, const char *dir, const char *name)
{
    const size_t suffix_len = strlen(MLC_PUBLISH_SUFFIX);
    size_t len = strlen(name);

    /* What of ours is just being written. */
    return strncmp(name, MLC_TMP_PREFIX, strlen(MLC_TMP_PREFIX)) == 0 ||
           (len > suffix_len &&
            strcmp(name + len - suffix_len, MLC_PUBLISH_SUFFIX) == 0);
}

static int
spacy_describe(struct mlc_domain *d, const char *path, struct mlc_info *ret)
{
    struct mlc_spacy *s = d->priv;
    struct mlc_ask known = {.only_known = true};
    autoindex struct mlc_spacy_index *x = NULL;
    struct mlc_spacy_wheel *w;
    struct mlc_spacy_path p;

    mlc_spacy_path_parse(path, &p);
    if (p.where != MLC_SPACY_DATA && p.where != MLC_SPACY_TOP)
        return 0;
    if (need_wheel(s, &p, &known, &w) < 0 ||
        mlc_spacy_need_index(s, w, &known, &x) < 0)
        return 0;
    ret->url = mlc_spacy_wheel_url(s, w->stem);
    ret->etag = *x->validator ? strdup(x->validator) : NULL;
    return ret->url && (ret->etag || !*x->validator) ? 0 : -ENOMEM;
}

static void
spacy_status(struct mlc_domain *d, struct mlc_status *ret)
{
    struct mlc_spacy *s = d->priv;
    autotable struct mlc_spacy_table *t = mlc_spacy_table_get(s, NULL);

    ret->hits = atomic_load(&s->hits);
    ret->misses = atomic_load(&s->misses);
    ret->errors = atomic_load(&s->errors);
    ret->entries = mlc_spacy_table_count(t);
}

/* --- begin and end ------------------------------------------------------- */

static bool
is_minor(const char *text)
{
    size_t n = strspn(text, "0123456789");
    size_t m = text[n] == '.' ? strspn(text + n + 1, "0123456789") : 0;

    return n > 0 && m > 0 && text[n + 1 + m] == '\0' &&
           mlc_spacy_is_version(text);
}

static char *
without_slash(const char *url)
{
    char *copy = strdup(url);
    size_t len = copy ? strlen(copy) : 0;

    while (len > 0 && copy[len - 1] == '/')
        copy[--len] = '\0';
    return copy;
}

static const char *
option(const struct mlc_domain *d, const char *name, const char *otherwise)
{
    const char *given = mlc_opt_str(d->options, name);

    return given ? given : otherwise;
}

static int
spacy_open(struct mlc_domain *d)
{
    struct mlc_spacy *s = d->priv;
    const char *minor = mlc_opt_str(d->options, "spacy_version");
    int r;

    s->d = d;
    pthread_mutex_init(&s->lock, NULL);
    s->is_open = true;
    if (minor && !is_minor(minor))
        return mlc_log_err(-EINVAL, "spacy_version=%s: wanted X.Y, as 3.8",
                           minor);
    s->compat_url = strdup(option(d, "spacy_compat_url", COMPAT_URL));
    s->download_url =
        without_slash(option(d, "spacy_download_url", DOWNLOAD_URL));
    s->minor = minor ? strdup(minor) : NULL;
    if (!s->compat_url || !s->download_url || (minor && !s->minor))
        return -ENOMEM;
    r = mlc_spacy_evict_init(s);
    return r < 0 ? r : mlc_spacy_table_load(s);
}

static void
spacy_close(struct mlc_domain *d)
{
    struct mlc_spacy *s = d->priv;

    if (s->is_open) {
        mlc_spacy_wheels_free(s);
        mlc_spacy_unpacks_free(s);
        mlc_spacy_table_unref(s->table);
        pthread_mutex_destroy(&s->lock);
    }
    free(s->compat_url);
    free(s->download_url);
    free(s->minor);
    free(s->etag);
    memset(s, 0, sizeof(*s));
}

static const struct mlc_option options[] = {
    {"spacy_compat_url", MLC_OPT_URL, "URL", NULL, NULL,
     "spaCy's table of models, in place of its own"},
    {"spacy_download_url", MLC_OPT_URL, "URL", NULL, NULL,
     "where the models are, in place of spaCy's releases"},
    {"spacy_version", MLC_OPT_STRING, "X.Y", NULL, NULL,
     "whose models NAME/ shows without a version (default: the newest)"},
    {0},
};

const struct mlc_backend mlc_backend_spacy = {
    .name = "spacy",
    .summary = "every released spaCy model as a directory",
    .flags = MLC_BACKEND_CONCURRENT,
    .priv_size = sizeof(struct mlc_spacy),
    .options = options,
    .open = spacy_open,
    .close = spacy_close,
    .lookup = spacy_lookup,
    .list = spacy_list,
    .locate = spacy_locate,
    .is_unlisted = spacy_is_unlisted,
    .removed = spacy_removed,
    .describe = spacy_describe,
    .status = spacy_status,
};
