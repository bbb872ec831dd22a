/* SPDX-License-Identifier: MIT */
/* From a recipe to the files of its folder. */
#include "config.h"

#include "backends/diffusers_i.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/cache/source.h"
#include "backends/format/checkpoint.h"
#include "backends/format/folder.h"
#include "backends/format/recipe.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/path.h"

#define MAX_INPUTS 256
#define CLIP_REPO  "hf://openai/clip-vit-large-patch14"
#define BIGG_REPO  "hf://laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"

#define NO_INPUT UINT32_MAX

/* A model that is being made.  What fails with -EBADMSG has set err. */
struct build {
    struct mlc_dc *dc;
    struct mlc_ref ref;
    struct mlc_dc_model *m;
    struct mlc_recipe recipe;
    char *err;       /* for error.txt */
    bool is_waiting; /* for one thing or another */
    bool is_crowded; /* for other builds, too */
    unsigned checkpoint, vae;
    struct mlc_dc_lora loras[MLC_RECIPE_MAX_LORAS];
    size_t n_loras;
    struct mlc_dc_head *head, *vae_head;
    struct mlc_dc_head *lora_heads[MLC_RECIPE_MAX_LORAS];
    size_t heads_len; /* bytes, of them all */
    struct mlc_folder *folder;
};

static int refuse(struct build *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
refuse(struct build *b, const char *fmt, ...)
{
    char *text;
    va_list ap;

    /* Which may be made of what was said before. */
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    free(b->err);
    b->err = text;
    return b->err ? -EBADMSG : -ENOMEM;
}

/* --- models -------------------------------------------------------------- */

void
mlc_dc_model_unref(struct mlc_dc_model *m)
{
    if (!m || atomic_fetch_sub(&m->refs, 1) > 1)
        return;
    for (size_t i = 0; i < m->n_files; i++) {
        free(m->files[i].path);
        free(m->files[i].text);
        free(m->files[i].inputs);
        mlc_view_plan_unref(m->files[i].plan);
    }
    for (size_t i = 0; i < m->n_inputs; i++) {
        free(m->inputs[i].spelled);
        mlc_found_done(&m->inputs[i].found);
    }
    free(m->files);
    free(m->inputs);
    free(m->name);
    free(m);
}

static int
compare_files(const void *a, const void *b)
{
    return strcmp(((const struct mlc_dc_file *)a)->path,
                  ((const struct mlc_dc_file *)b)->path);
}

const struct mlc_dc_file *
mlc_dc_model_find(const struct mlc_dc_model *m, const char *path)
{
    size_t low = 0, high = m->n_files;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int r = strcmp(path, m->files[mid].path);

        if (r == 0)
            return &m->files[mid];
        if (r < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* Room for one more; zeroed.  path is taken over, also on failure. */
static struct mlc_dc_file *
add_file(struct mlc_dc_model *m, char *path)
{
    struct mlc_dc_file *grown =
        path ? reallocarray(m->files, m->n_files + 1, sizeof(grown[0])) : NULL;

    if (!grown) {
        free(path);
        return NULL;
    }
    m->files = grown;
    grown += m->n_files++;
    *grown = (struct mlc_dc_file){.path = path};
    return grown;
}

static int
add_text(struct mlc_dc_model *m, const char *path, const char *text, size_t len)
{
    struct mlc_dc_file *f = add_file(m, strdup(path));

    if (!f)
        return -ENOMEM;
    f->text = malloc(len + 1);
    if (!f->text)
        return -ENOMEM;
    memcpy(f->text, text, len);
    f->text[len] = '\0';
    f->len = len;
    return 0;
}

/* What they take but for what the weights do, about. */
static size_t
len_of_files(const struct mlc_dc_model *m)
{
    size_t len = m->n_inputs * sizeof(m->inputs[0]);

    for (size_t i = 0; i < m->n_files; i++)
        len += sizeof(m->files[i]) + m->files[i].len;
    return len;
}

/* --- what the recipe names ----------------------------------------------- */

struct mlc_ref
mlc_dc_ref(struct mlc_dc *dc, const struct stat *stamp, struct mlc_ask *ask)
{
    /* Who may write here may be another than who runs the daemon. */
    return (struct mlc_ref){
        .d = dc->d,
        .ask = ask,
        .may_leave = stamp->st_uid == geteuid() || stamp->st_uid == 0,
        .uid = stamp->st_uid,
    };
}

/* Finds a file.  spelled is taken over, also on failure (NULL: no memory).
 * what: for the message; NULL: -ENOENT is the caller's to judge. */
static int
add_input(struct build *b, const char *what, char *spelled, unsigned *ret)
{
    mlc_autofree char *owned = spelled, *label = NULL, *why = NULL;
    struct mlc_dc_model *m = b->m;
    struct mlc_dc_input *grown;
    int r;

    if (!spelled)
        return -ENOMEM;
    if (m->n_inputs == MAX_INPUTS)
        return refuse(b, "more than %d files are needed", MAX_INPUTS);
    grown = reallocarray(m->inputs, m->n_inputs + 1, sizeof(grown[0]));
    if (!grown)
        return -ENOMEM;
    m->inputs = grown;
    grown += m->n_inputs;
    r = mlc_ref_find(&b->ref, spelled, &grown->found, &why);
    if (r == -EAGAIN)
        b->is_waiting = true;
    if (r == -EAGAIN || r == -ENOMEM || (r == -ENOENT && !what))
        return r;
    if (r < 0) {
        label = mlc_ref_label(spelled);
        return refuse(b, "%s %s: %s", what ? what : "config",
                      label ? label : "?", why ? why : mlc_ref_why(r));
    }
    grown->spelled = mlc_steal(&owned);
    *ret = (unsigned)m->n_inputs++;
    return 0;
}

/* The same, of one of several: what is only to be waited for is no failure
 * yet, so that all of them are asked for at once. */
static int
add_one(struct build *b, const char *what, const char *spelled, unsigned *ret)
{
    int r = add_input(b, what, strdup(spelled), ret);

    return r == -EAGAIN ? 0 : r;
}

static int
find_inputs(struct build *b)
{
    const struct mlc_recipe *rec = &b->recipe;
    int r;

    b->vae = NO_INPUT;
    r = add_one(b, "checkpoint", rec->checkpoint, &b->checkpoint);
    if (r == 0 && rec->vae)
        r = add_one(b, "vae", rec->vae, &b->vae);
    for (size_t i = 0; r == 0 && i < rec->n_loras; i++) {
        b->loras[i].scale = rec->loras[i].scale;
        r = add_one(b, "lora", rec->loras[i].path, &b->loras[i].input);
    }
    b->n_loras = rec->n_loras;
    return r == 0 && b->is_waiting ? -EAGAIN : r;
}

/* Is it another recipe line's, too? */
static bool
is_held_twice(const struct build *b, const struct mlc_dc_head *h)
{
    unsigned n = b->head == h ? 1 : 0;

    n += b->vae_head == h ? 1 : 0;
    for (size_t i = 0; i < b->n_loras; i++)
        n += b->lora_heads[i] == h ? 1 : 0;
    return n > 1;
}

static int
read_head(struct build *b, const char *what, unsigned input,
          struct mlc_dc_head **ret)
{
    const struct mlc_dc_input *in = &b->m->inputs[input];
    mlc_autofree char *label = mlc_ref_label(in->spelled);
    int r = mlc_dc_head_get(b->dc, &in->found, b->ref.ask, &b->is_crowded, ret);

    if (r == -EAGAIN && !b->is_crowded) {
        b->is_waiting = true;
        return 0;
    }
    if (r == -EAGAIN || r == -ENOMEM || r == -ESTALE)
        return r;
    if (r < 0)
        return refuse(b, "%s %s: %s", what, label ? label : "?",
                      mlc_ref_why(r));
    if ((*ret)->err)
        return refuse(b, "%s %s: %s", what, label ? label : "?", (*ret)->err);
    if (!is_held_twice(b, *ret))
        b->heads_len += (*ret)->len;
    if (b->heads_len > MLC_DC_MAX_HEADERS)
        return refuse(b,
                      "%s %s: with its header the recipe's files have more "
                      "than %zu bytes of headers; name fewer",
                      what, label ? label : "?", MLC_DC_MAX_HEADERS);
    return 0;
}

static int
read_heads(struct build *b)
{
    int r = read_head(b, "checkpoint", b->checkpoint, &b->head);

    if (r == 0 && b->vae != NO_INPUT)
        r = read_head(b, "vae", b->vae, &b->vae_head);
    for (size_t i = 0; r == 0 && i < b->n_loras; i++) {
        r = read_head(b, "lora", b->loras[i].input, &b->lora_heads[i]);
        b->loras[i].head = b->lora_heads[i];
    }
    return r == 0 && b->is_waiting ? -EAGAIN : r;
}

/* --- the small files ----------------------------------------------------- */

/* A file that is shown as the input has it. */
static int
add_passed(struct build *b, const char *path, unsigned input)
{
    const struct mlc_found *found = &b->m->inputs[input].found;
    struct mlc_dc_file *f;
    mlc_autofree struct mlc_extent *extent = NULL;
    int r;

    mlc_folder_pass(b->folder, path);
    if (found->size == 0)
        return add_text(b->m, path, "", 0);
    if (found->kind == MLC_KIND_INLINE)
        return add_text(b->m, path, found->text, (size_t)found->size);
    f = add_file(b->m, strdup(path));
    extent = calloc(1, sizeof(*extent));
    if (!f || !extent)
        return -ENOMEM;
    f->inputs = malloc(sizeof(f->inputs[0]));
    if (!f->inputs)
        return -ENOMEM;
    f->inputs[0] = input;
    f->n_inputs = 1;
    f->content = found->identity;
    extent->end = found->size;
    r = mlc_view_plan_new(NULL, 0, extent, 1, NULL, NULL, &f->plan);
    if (r == 0)
        extent = NULL;
    return r;
}

/* What a call of backends/format gave, and its clause, which is taken over. */
static int
refuse_taking(struct build *b, int r, const char *what, char *why)
{
    if (r == -EBADMSG)
        r = refuse(b, "%s: %s", what, why ? why : "not valid");
    free(why);
    return r;
}

static int
add_config(struct build *b, const char *path, unsigned input)
{
    const struct mlc_found *found = &b->m->inputs[input].found;
    mlc_autofree char *text = NULL;
    char *why = NULL;
    size_t len;
    int r;

    r = mlc_found_read(found, MLC_FOLDER_MAX_TEXT, b->ref.ask, &text, &len);
    if (r == -EAGAIN) {
        b->is_waiting = true;
        return 0;
    }
    if (r == -ENOMEM || r == -ESTALE)
        return r;
    if (r < 0)
        return refuse(b, "config: %s: %s", path, mlc_ref_why(r));
    r = mlc_folder_add(b->folder, path, text, len, &why);
    return refuse_taking(b, r, path, why);
}

/* One of the files that the user's config holds. */
static int
take_wanted(struct build *b, const struct mlc_wanted *w)
{
    unsigned input;
    int r = add_input(b, w->is_required ? "config" : NULL,
                      mlc_ref_in_config(b->dc->d, b->recipe.config, w->path),
                      &input);

    if (r == -EAGAIN || (r == -ENOENT && !w->is_required))
        return 0;
    if (r < 0)
        return r;
    return w->kind == MLC_FILE_TEXT ? add_config(b, w->path, input)
                                    : add_passed(b, w->path, input);
}

static int
take_config(struct build *b)
{
    struct mlc_wanted w = {"model_index.json", MLC_FILE_TEXT, true};
    int r = mlc_folder_new(&b->folder);

    if (r == 0)
        r = take_wanted(b, &w);
    if (r == 0 && b->is_waiting)
        return -EAGAIN;
    for (size_t i = 0; r == 0 && mlc_folder_wanted(b->folder, i, &w); i++)
        r = take_wanted(b, &w);
    return r == 0 && b->is_waiting ? -EAGAIN : r;
}

static char *
in_repo(const char *repo, const char *name)
{
    char *joined;

    return asprintf(&joined, "%s/%s", repo, name) < 0 ? NULL : joined;
}

/* The same in both repositories. */
static int
take_tokenizer(struct build *b, const char *folder, const char *name)
{
    bool is_second = strcmp(folder, "tokenizer_2") == 0;
    const char *first = is_second ? BIGG_REPO : CLIP_REPO;
    const char *other = is_second ? CLIP_REPO : BIGG_REPO;
    mlc_autofree char *path = mlc_path_join(folder, name);
    unsigned input;
    int r;

    if (!path)
        return -ENOMEM;
    r = add_input(b, NULL, in_repo(first, name), &input);
    if (r == -ENOENT)
        r = add_input(b, "tokenizer", in_repo(other, name), &input);
    if (r == -EBADMSG)
        return refuse(
            b,
            "%.*s\n\nNo checkpoint holds a tokenizer: it is taken "
            "from the Hub.  A line \"config = DIRECTORY\" (of a model "
            "folder or its configurations and tokenizers, on this "
            "disk) does without.",
            (int)strlen(b->err), b->err);
    if (r == -EAGAIN)
        return 0;
    return r < 0 ? r : add_passed(b, path, input);
}

static int
take_builtin(struct build *b)
{
    struct mlc_checkpoint_kind kind;
    const char *folder;
    char *why = NULL;
    int r;

    r = mlc_checkpoint_detect(b->head->file, &kind, &why);
    if (r == 0)
        r = mlc_folder_new_builtin(&kind, &b->folder);
    r = refuse_taking(b, r, "checkpoint", why);
    for (size_t i = 0; r == 0 && (folder = mlc_folder_tokenizer(b->folder, i));
         i++) {
        r = take_tokenizer(b, folder, "vocab.json");
        if (r == 0)
            r = take_tokenizer(b, folder, "merges.txt");
    }
    return r == 0 && b->is_waiting ? -EAGAIN : r;
}

static int
take_folder(struct build *b)
{
    char *why = NULL;
    int r = mlc_checkpoint_check(b->head->file, &why);

    r = refuse_taking(b, r, "checkpoint", why);
    if (r < 0)
        return r;
    return b->recipe.config ? take_config(b) : take_builtin(b);
}

/* --- the weights --------------------------------------------------------- */

static int
add_weights_file(struct build *b, const struct mlc_dc_part *part,
                 const char *variant)
{
    const struct mlc_component *c = part->component;
    mlc_autofree char *name = mlc_component_file(c, variant);
    struct mlc_dc_file *f;

    if (!name)
        return -ENOMEM;
    f = add_file(b->m, mlc_path_join(c->folder, name));
    if (!f)
        return -ENOMEM;
    f->inputs = calloc(part->n_inputs, sizeof(f->inputs[0]));
    if (!f->inputs)
        return -ENOMEM;
    memcpy(f->inputs, part->inputs, part->n_inputs * sizeof(f->inputs[0]));
    f->n_inputs = part->n_inputs;
    f->content = part->content;
    f->plan = mlc_view_plan_ref(part->plan);
    return 0;
}

static int
add_weights(struct build *b, struct mlc_dc_weights *w, size_t n)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        struct mlc_dc_part part = {0};

        r = mlc_dc_weights_part(w, i, &part);
        if (r == 0)
            r = add_weights_file(b, &part, NULL);
        if (r == 0 && b->recipe.variant)
            r = add_weights_file(b, &part, b->recipe.variant);
        mlc_view_plan_unref(part.plan);
        free(part.inputs);
    }
    return r;
}

static int
make_weights(struct build *b)
{
    const struct mlc_layout_options options = {
        .flat_clip_names = b->recipe.has_flat_clip_names,
    };
    struct mlc_dc_weights_spec spec = {
        .inputs = b->m->inputs,
        .checkpoint = b->checkpoint,
        .vae = b->vae,
        .loras = b->loras,
        .n_loras = b->n_loras,
        .lora_scale = b->recipe.lora_scale,
        .dc = b->dc,
        .ask = b->ref.ask,
    };
    struct mlc_dc_weights *w = NULL;
    char *why = NULL;
    size_t n;
    int r;

    r = mlc_layout_new(b->folder, b->head->file,
                       b->vae_head ? b->vae_head->file : NULL, &options,
                       &spec.layout, &why);
    if (r < 0)
        return refuse_taking(
            b, r, b->vae_head ? "checkpoint or vae" : "checkpoint", why);
    r = mlc_folder_finish(b->folder, spec.layout, &why);
    if (r < 0) {
        mlc_layout_free(spec.layout);
        return refuse_taking(b, r, "config", why);
    }
    n = spec.layout->n_components;
    r = mlc_dc_weights_new(&spec, &w, &why);
    if (r < 0 && why && r != -EAGAIN && r != -ESTALE)
        r = refuse(b, "%s", why);
    free(why);
    if (r == 0)
        b->m->len += mlc_dc_weights_len(w);
    if (r == 0)
        r = add_weights(b, w, n);
    mlc_dc_weights_unref(w);
    return r;
}

static int
add_texts(struct build *b)
{
    const char *path, *text;
    size_t len;
    int r = 0;

    for (size_t i = 0;
         r == 0 && (path = mlc_folder_get(b->folder, i, &text, &len)); i++)
        r = add_text(b->m, path, text, len);
    return r;
}

/* --- all of it ----------------------------------------------------------- */

static int
read_recipe(struct build *b, const char *name)
{
    mlc_autofree char *file = NULL, *text = NULL, *why = NULL;
    size_t len;
    int r;

    if (asprintf(&file, "%s.recipe", name) < 0) {
        file = NULL;
        return -ENOMEM;
    }
    r = mlc_read_file_at(b->dc->d->bases[0].fd, file, MLC_RECIPE_MAX, &text,
                         &len);
    if (r < 0)
        return refuse(b, "%s: %s", file, mlc_ref_why(r));
    r = mlc_recipe_parse(text, len, &b->recipe, &why);
    return r == -EBADMSG ? refuse(b, "%s: %s", file, why ? why : "not valid")
                         : r;
}

static int
build(struct build *b, const char *name)
{
    int r = read_recipe(b, name);

    if (r == 0)
        r = find_inputs(b);
    if (r == 0)
        r = read_heads(b);
    if (r == 0)
        r = take_folder(b);
    if (r == 0)
        r = make_weights(b);
    if (r == 0)
        r = add_texts(b);
    if (r == 0)
        b->m->len += len_of_files(b->m);
    if (r == 0)
        qsort(b->m->files, b->m->n_files, sizeof(b->m->files[0]),
              compare_files);
    return r;
}

static void
build_done(struct build *b)
{
    mlc_recipe_done(&b->recipe);
    mlc_dc_head_unref(b->head);
    mlc_dc_head_unref(b->vae_head);
    for (size_t i = 0; i < b->n_loras; i++)
        mlc_dc_head_unref(b->lora_heads[i]);
    mlc_folder_free(b->folder);
    mlc_dc_model_unref(b->m);
    free(b->err);
}

static int
model_new(const char *name, const struct stat *stamp, struct mlc_dc_model **ret)
{
    struct mlc_dc_model *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    atomic_init(&m->refs, 1);
    atomic_init(&m->checked_ms, mlc_mono_ms());
    m->stamp = *stamp;
    m->name = strdup(name);
    if (!m->name) {
        mlc_dc_model_unref(m);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

/* The folder that says why it is none. */
static int
fail(struct build *b, const char *name, const struct stat *stamp)
{
    mlc_autofree char *text = NULL;
    int r;

    mlc_dc_model_unref(mlc_steal(&b->m));
    r = model_new(name, stamp, &b->m);
    if (r < 0)
        return r;
    b->m->is_failed = true;
    if (asprintf(&text,
                 "%s.recipe can't be served:\n\n%s\n\nSee "
                 "mlcachefs-recipe(5) for what a recipe may say.\n",
                 name, b->err) < 0) {
        text = NULL;
        return -ENOMEM;
    }
    return add_text(b->m, "error.txt", text, strlen(text));
}

/* *ret_is_crowded: -EAGAIN for want of room. */
static int
build_once(struct mlc_dc *dc, const char *name, const struct stat *stamp,
           struct mlc_ask *ask, struct mlc_dc_model **ret, bool *ret_is_crowded)
{
    struct build *b = calloc(1, sizeof(*b));
    int r;

    *ret_is_crowded = false;
    if (!b)
        return -ENOMEM;
    b->dc = dc;
    b->ref = mlc_dc_ref(dc, stamp, ask);
    r = model_new(name, stamp, &b->m);
    if (r == 0)
        r = build(b, name);
    *ret_is_crowded = b->is_crowded;
    if (r < 0 && r != -EAGAIN && r != -ENOMEM) {
        if (!b->err)
            refuse(b, "%s", mlc_ref_why(r));
        r = b->err ? fail(b, name, stamp) : -ENOMEM;
    }
    if (r == 0)
        *ret = mlc_steal(&b->m);
    build_done(b);
    free(b);
    return r;
}

static void
begin_build(struct mlc_dc *dc)
{
    MLC_LOCK_SCOPE(&dc->lock);
    dc->n_builds++;
}

/* Lets those go on that wait for room.  An asker that found none becomes one of
 * them (what it waits for ends by itself, but not always as soon as a look-up
 * has to), and lets none go on: they would be in each other's way again.  True:
 * nobody else is at it, so that there is room now. */
static bool
end_build(struct mlc_dc *dc, bool is_crowded, struct mlc_ask *ask, int *ret_r)
{
    struct mlc_waitlist who = {0};
    bool is_alone;

    pthread_mutex_lock(&dc->lock);
    is_alone = --dc->n_builds == 0;
    if (!is_crowded) {
        mlc_waitlist_take(&dc->room, &who);
    } else if (!is_alone) {
        ask->deadline_ms = mlc_mono_ms() + dc->d->cache->fetch.timeout_ms;
        *ret_r = mlc_waitlist_add(&dc->room, ask);
    }
    pthread_mutex_unlock(&dc->lock);
    mlc_waitlist_wake(&who);
    return is_crowded && is_alone;
}

int
mlc_dc_model_build(struct mlc_dc *dc, const char *name,
                   const struct stat *stamp, struct mlc_ask *ask,
                   struct mlc_dc_model **ret)
{
    bool is_crowded;
    int r;

    do {
        begin_build(dc);
        r = build_once(dc, name, stamp, ask, ret, &is_crowded);
    } while (end_build(dc, is_crowded, ask, &r));
    return r;
}
