/* SPDX-License-Identifier: MIT */
/* diffusers_converted/: a single-file checkpoint is a diffusers folder.
 *
 * A file NAME.recipe in its root (mlcachefs-recipe(5)) makes the directory
 * NAME/ appear, whose weight files are views of what the recipe names.  One
 * that can't be served holds error.txt, which says why.  Everything else is
 * plain local storage, dgenerate's own component folders among it. */
#include "config.h"

#include "backends/diffusers_i.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/cache/blocks.h"
#include "backends/cache/cache.h"
#include "backends/cache/kept.h"
#include "backends/cache/source.h"
#include "backends/format/recipe.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define SUFFIX ".recipe"
/* How long inputs are believed to be what they were; and what could not be
 * served is not tried again. */
#define FRESH_MS 1000
#define RETRY_MS 2000
/* How often a recipe is read anew that changed while it was read. */
#define MAX_TURNS 4
/* Of memory=, for tensors that were merged. */
#define BLOCKS_SHARE 4
#define MIN_BLOCKS   ((uint64_t)4 << 20)
/* Merged tensors on disk, below privfd. */
#define KEPT     "merged"
#define MAX_KEPT ((uint64_t)8 << 30)

MLC_DEFINE_CLEANUP(model, struct mlc_dc_model *, mlc_dc_model_unref);

/* --- names --------------------------------------------------------------- */

/* dgenerate's own: its folders, never ours. */
static bool
is_reserved(const char *name)
{
    static const char *const names[] = {"text_encoder", "text_encoder_2",
                                        "text_encoder_3", "transformer",
                                        "unet"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* "dream.recipe", for a NAME that can be. */
static bool
is_recipe_name(const char *file)
{
    size_t len = strlen(file), n = strlen(SUFFIX);

    return len > n && strcmp(file + len - n, SUFFIX) == 0;
}

/* The first component of path; caller frees. */
static char *
name_of(const char *path)
{
    return strndup(path, strcspn(path, "/"));
}

/* What lies below it. */
static const char *
rest_of(const char *path)
{
    const char *slash = strchr(path, '/');

    return slash ? slash + 1 : "";
}

/* 0: there is a recipe for NAME. */
static int
stat_recipe(const struct mlc_dc *dc, const char *name, struct stat *ret)
{
    mlc_autofree char *file = NULL;

    if (is_reserved(name) || strlen(name) + strlen(SUFFIX) > NAME_MAX)
        return -ENOENT;
    if (asprintf(&file, "%s" SUFFIX, name) < 0) {
        file = NULL;
        return -ENOMEM;
    }
    if (fstatat(dc->d->bases[0].fd, file, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? -ENOENT : -errno;
    return S_ISREG(ret->st_mode) ? 0 : -ENOENT;
}

/* --- models that are kept ------------------------------------------------- */

static bool
is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
           a->st_size == b->st_size && a->st_uid == b->st_uid &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* A reference to the model of that recipe as it was last made; NULL: none. */
static struct mlc_dc_model *
get_kept(struct mlc_dc *dc, const char *name)
{
    MLC_LOCK_SCOPE(&dc->lock);

    for (size_t i = 0; i < dc->n_models; i++)
        if (strcmp(dc->models[i]->name, name) == 0) {
            dc->models[i]->used = ++dc->tick;
            atomic_fetch_add(&dc->models[i]->refs, 1);
            return dc->models[i];
        }
    return NULL;
}

/* Instead of the one that was, or of what was not used for longest; m NULL:
 * forgets it. */
static void
keep(struct mlc_dc *dc, const char *name, struct mlc_dc_model *m)
{
    struct mlc_dc_model *dropped = NULL;
    size_t at;

    pthread_mutex_lock(&dc->lock);
    for (at = 0; at < dc->n_models; at++)
        if (strcmp(dc->models[at]->name, name) == 0)
            break;
    if (at == dc->n_models && m && dc->n_models == MLC_DC_MAX_MODELS) {
        at = 0;
        for (size_t i = 1; i < dc->n_models; i++)
            if (dc->models[i]->used < dc->models[at]->used)
                at = i;
    }
    if (at < dc->n_models)
        dropped = dc->models[at];
    if (m) {
        dc->n_models += at == dc->n_models;
        atomic_fetch_add(&m->refs, 1);
        m->used = ++dc->tick;
        dc->models[at] = m;
    } else if (dropped) {
        dc->models[at] = dc->models[--dc->n_models];
    }
    pthread_mutex_unlock(&dc->lock);
    mlc_dc_model_unref(dropped);
}

/* Are its inputs what they were?  0; -ESTALE; -EAGAIN. */
static int
check_inputs(struct mlc_dc *dc, struct mlc_dc_model *m, const struct stat *st,
             struct mlc_ask *ask)
{
    struct mlc_ref ref = mlc_dc_ref(dc, st, ask);
    int64_t now = mlc_mono_ms();

    if (now - m->checked_ms < FRESH_MS)
        return 0;
    if (m->is_failed)
        return now - m->checked_ms < RETRY_MS ? 0 : -ESTALE;
    for (size_t i = 0; i < m->n_inputs; i++) {
        mlc_autofree char *why = NULL;
        struct mlc_found f;
        uint64_t identity;
        int r;

        r = mlc_ref_find(&ref, m->inputs[i].spelled, &f, &why);
        if (r == -EAGAIN || r == -ENOMEM)
            return r;
        if (r < 0)
            return -ESTALE;
        identity = f.identity;
        mlc_found_done(&f);
        if (identity != m->inputs[i].found.identity)
            return -ESTALE;
    }
    m->checked_ms = now;
    return 0;
}

/* Makes the model of the recipe with that stamp.  -ESTALE: it was another one
 * when it was read, maybe of somebody with other rights. */
static int
build(struct mlc_dc *dc, const char *name, const struct stat *stamp,
      struct mlc_ask *ask, struct mlc_dc_model **ret)
{
    __attribute__((cleanup(mlc_cleanup_model))) struct mlc_dc_model *m = NULL;
    struct stat now;
    int r;

    r = mlc_dc_model_build(dc, name, stamp, ask, &m);
    if (r < 0)
        return r;
    if (stat_recipe(dc, name, &now) < 0 || !is_same_file(stamp, &now))
        return -ESTALE;
    keep(dc, name, m);
    *ret = mlc_steal(&m);
    return 0;
}

/* A reference to what the recipe of NAME makes now.  -ENOENT: there is none. */
static int
get_model(struct mlc_dc *dc, const char *name, struct mlc_ask *ask,
          struct mlc_dc_model **ret)
{
    __attribute__((cleanup(mlc_cleanup_model))) struct mlc_dc_model *m = NULL;
    struct stat st;
    int r = -ESTALE;

    for (unsigned i = 0; r == -ESTALE && i < MAX_TURNS; i++) {
        r = stat_recipe(dc, name, &st);
        if (r < 0)
            return r;
        mlc_dc_model_unref(mlc_steal(&m));
        m = get_kept(dc, name);
        r = m && is_same_file(&m->stamp, &st) ? check_inputs(dc, m, &st, ask)
                                              : -ESTALE;
        if (r == -ESTALE) {
            mlc_dc_model_unref(mlc_steal(&m));
            r = build(dc, name, &st, ask, &m);
        }
    }
    if (r < 0)
        return r == -ESTALE ? -EIO : r;
    *ret = mlc_steal(&m);
    return 0;
}

/* --- look-up ------------------------------------------------------------- */

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
    ret->ttl_ms = MLC_TTL_NONE;
    return 0;
}

static int64_t
mtime_ms_of(const struct stat *st)
{
    return st->st_mtim.tv_sec * INT64_C(1000) + st->st_mtim.tv_nsec / 1000000;
}

static int
answer_file(const struct mlc_dc_model *m, const struct mlc_dc_file *f,
            struct mlc_entry *ret)
{
    ret->mtime_ms = mtime_ms_of(&m->stamp);
    ret->ttl_ms = MLC_TTL_NONE;
    if (f->plan) {
        ret->kind = MLC_KIND_VIEW;
        ret->size = mlc_view_plan_size(f->plan);
        ret->content = f->content;
        return 0;
    }
    ret->kind = MLC_KIND_INLINE;
    ret->text = malloc(f->len + 1);
    if (!ret->text)
        return -ENOMEM;
    memcpy(ret->text, f->text, f->len + 1);
    ret->text_len = f->len;
    return 0;
}

/* Is it the folder of one of the files? */
static bool
is_folder(const struct mlc_dc_model *m, const char *path)
{
    for (size_t i = 0; i < m->n_files; i++)
        if (mlc_path_is_under(m->files[i].path, path))
            return true;
    return false;
}

static int
lookup_in_model(struct mlc_dc *dc, const char *path, struct mlc_ask *ask,
                struct mlc_entry *ret)
{
    __attribute__((cleanup(mlc_cleanup_model))) struct mlc_dc_model *m = NULL;
    mlc_autofree char *name = name_of(path);
    const struct mlc_dc_file *f;
    int r;

    if (!name)
        return -ENOMEM;
    r = get_model(dc, name, ask, &m);
    if (r < 0)
        return r;
    f = mlc_dc_model_find(m, rest_of(path));
    if (f)
        return answer_file(m, f, ret);
    if (is_folder(m, rest_of(path)))
        return answer_dir(mtime_ms_of(&m->stamp), ret);
    return -ENOENT;
}

static int
dc_lookup(struct mlc_domain *d, const char *path, const struct stat *local,
          struct mlc_ask *ask, struct mlc_entry *ret)
{
    struct mlc_dc *dc = d->priv;
    struct stat st;

    if (strchr(path, '/'))
        return local ? answer_local(local, ret)
                     : lookup_in_model(dc, path, ask, ret);
    /* A recipe that is written anew is the old one until it is closed. */
    if (local && S_ISREG(local->st_mode) && is_recipe_name(path))
        ret->is_whole = true;
    if (local && !S_ISDIR(local->st_mode))
        return answer_local(local, ret);
    if (*path && stat_recipe(dc, path, &st) == 0)
        return answer_dir(mtime_ms_of(&st), ret);
    return answer_local(local, ret);
}

/* --- listings ------------------------------------------------------------ */

static int
list_recipes(const struct mlc_dc *dc, mlc_list_fn *emit, void *arg)
{
    int fd =
        mlc_open_beneath(dc->d->bases[0].fd, "", O_RDONLY | O_DIRECTORY, 0);
    DIR *dp = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *de;
    int r = 0;

    if (!dp) {
        r = fd < 0 ? fd : -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    while (r == 0 && (de = readdir(dp))) {
        mlc_autofree char *name = NULL;
        struct stat st;

        if (!is_recipe_name(de->d_name))
            continue;
        name = strndup(de->d_name, strlen(de->d_name) - strlen(SUFFIX));
        if (!name)
            r = -ENOMEM;
        else if (stat_recipe(dc, name, &st) == 0)
            r = emit(arg, name, DT_DIR);
    }
    closedir(dp);
    return r;
}

static int
dc_list(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
        mlc_list_fn *emit, void *arg)
{
    __attribute__((cleanup(mlc_cleanup_model))) struct mlc_dc_model *m = NULL;
    mlc_autofree char *name = name_of(path);
    const char *dir = rest_of(path);
    struct mlc_dc *dc = d->priv;
    int r;

    if (!name)
        return -ENOMEM;
    if (!*path)
        return list_recipes(dc, emit, arg);
    r = get_model(dc, name, ask, &m);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    for (size_t i = 0; r == 0 && i < m->n_files; i++) {
        const char *p = m->files[i].path + strlen(dir);
        mlc_autofree char *entry = NULL;

        if (!mlc_path_is_under(m->files[i].path, dir) || !*p)
            continue;
        p += *dir != '\0';
        entry = name_of(p);
        r = entry ? emit(arg, entry, strchr(p, '/') ? DT_DIR : DT_REG)
                  : -ENOMEM;
    }
    return r;
}

/* --- bytes --------------------------------------------------------------- */

static int
open_sources(const struct mlc_dc_model *m, const struct mlc_dc_file *f,
             struct mlc_ask *ask, struct mlc_source **sources)
{
    for (unsigned i = 0; i < f->n_inputs; i++) {
        int r =
            mlc_found_open(&m->inputs[f->inputs[i]].found, ask, &sources[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

static int
dc_view(struct mlc_domain *d, const char *path, struct mlc_ask *ask,
        struct mlc_view **ret)
{
    __attribute__((cleanup(mlc_cleanup_model))) struct mlc_dc_model *m = NULL;
    mlc_autofree char *name = name_of(path);
    mlc_autofree struct mlc_source **sources = NULL;
    const struct mlc_dc_file *f;
    struct mlc_dc *dc = d->priv;
    int r;

    if (!name)
        return -ENOMEM;
    r = get_model(dc, name, ask, &m);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    f = mlc_dc_model_find(m, rest_of(path));
    if (!f || !f->plan)
        return -ESTALE;
    sources = calloc(f->n_inputs ? f->n_inputs : 1, sizeof(sources[0]));
    if (!sources)
        return -ENOMEM;
    r = open_sources(m, f, ask, sources);
    if (r == 0)
        r = mlc_view_new(f->plan, sources, f->n_inputs, f->content, dc->blocks,
                         ret);
    for (unsigned i = 0; r < 0 && i < f->n_inputs; i++)
        mlc_source_unref(sources[i]);
    /* Changed since it was last looked at. */
    if (r == -ESTALE)
        keep(dc, name, NULL);
    return r;
}

/* --- what happens to names ----------------------------------------------- */

/* A recipe was written: what is wrong with it is said in the log, too.  Not of
 * an empty one, which shells close before they write to it. */
static void
dc_changed(struct mlc_domain *d, const char *path)
{
    mlc_autofree char *text = NULL, *why = NULL;
    struct mlc_recipe recipe;
    size_t len;
    int r;

    if (strchr(path, '/') || !is_recipe_name(path))
        return;
    r = mlc_read_file_at(d->bases[0].fd, path, MLC_RECIPE_MAX, &text, &len);
    if (r == 0 && len == 0)
        return;
    if (r == 0)
        r = mlc_recipe_parse(text, len, &recipe, &why);
    if (r == 0)
        mlc_recipe_done(&recipe);
    else if (r != -ENOENT)
        mlc_warn("diffusers_converted/%s: %s", path,
                 why ? why : mlc_ref_why(r));
}

static void
dc_removed(struct mlc_domain *d, const char *path)
{
    mlc_autofree char *name = NULL;

    if (strchr(path, '/') || !is_recipe_name(path))
        return;
    name = strndup(path, strlen(path) - strlen(SUFFIX));
    if (name)
        keep(d->priv, name, NULL);
}

static void
dc_status(struct mlc_domain *d, struct mlc_status *ret)
{
    struct mlc_dc *dc = d->priv;

    MLC_LOCK_SCOPE(&dc->lock);
    ret->entries = dc->n_models;
}

/* --- begin and end ------------------------------------------------------- */

static int
dc_open(struct mlc_domain *d)
{
    uint64_t share = mlc_opt_size(d->options, "memory") / BLOCKS_SHARE;
    struct mlc_dc *dc = d->priv;
    int r;

    dc->d = d;
    if (d->privfd >= 0 && !d->is_read_only) {
        r = mlc_kept_new(d->privfd, KEPT, MAX_KEPT, d->cache->evictor,
                         &dc->kept);
        if (r < 0) /* computed each time, then */
            mlc_warn("%s/: can't be used: %s", KEPT, strerror(-r));
    }
    r = mlc_blocks_new(d->cache->pool, d->cache->budget,
                       share > MIN_BLOCKS ? share : MIN_BLOCKS, dc->kept,
                       &dc->blocks);
    if (r < 0)
        return r;
    pthread_mutex_init(&dc->lock, NULL);
    dc->is_open = true;
    return 0;
}

static void
dc_close(struct mlc_domain *d)
{
    struct mlc_dc *dc = d->priv;

    if (!dc->is_open)
        return;
    mlc_blocks_free(dc->blocks);
    mlc_kept_free(dc->kept);
    while (dc->n_models > 0)
        mlc_dc_model_unref(dc->models[--dc->n_models]);
    while (dc->n_heads > 0)
        mlc_dc_head_unref(dc->heads[--dc->n_heads]);
    pthread_mutex_destroy(&dc->lock);
    dc->is_open = false;
}

const struct mlc_backend mlc_backend_diffusers_converted = {
    .name = "diffusers_converted",
    .summary = "single-file checkpoints as diffusers folders",
    .flags = MLC_BACKEND_CONCURRENT,
    .priv_size = sizeof(struct mlc_dc),
    .open = dc_open,
    .close = dc_close,
    .lookup = dc_lookup,
    .list = dc_list,
    .view = dc_view,
    .changed = dc_changed,
    .removed = dc_removed,
    .status = dc_status,
};
