/* SPDX-License-Identifier: MIT */
/* The input is a letter and then texts, each ended by a NUL: the files of
 * small_folder.  An empty one is as it is there, "-" is none.  The letter's
 * bits say what form the checkpoint has, which is made to fit. */
/* seeds: test-format-checkpoint */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backends/format/folder.h"
#include "backends/format/layout.h"
#include "backends/util/json.h"
#include "tests/small-folder.h"

#define check(x)                                                               \
    do {                                                                       \
        if (!(x))                                                              \
            abort();                                                           \
    } while (0)

enum {
    IS_SD2 = 1,
    HAS_VAE = 2, /* a file of its own */
    IS_DIFFUSERS_VAE = 4,
    IS_FLAT = 8,
    HAS_NO_WORDS = 64,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 0: as it is to be; all else is a refusal, with a reason. */
static int
judge(int r, char *err)
{
    check(r == 0 || r == -EBADMSG);
    check((r < 0) == (err != NULL));
    free(err);
    return r;
}

/* --- the folder ----------------------------------------------------------- */

/* NULL: a text is refused. */
static struct mlc_folder *
make_folder(const char *text, size_t len, bool has_words)
{
    const char *end = text + len;
    struct mlc_folder *folder = NULL;
    int r = 0;

    check(mlc_folder_new(&folder) == 0);
    for (size_t i = 0; r == 0 && i < SMALL_FOLDER_FILES; i++) {
        const char *stop = memchr(text, '\0', (size_t)(end - text));
        const char *from = text;
        char *err = NULL;

        len = (size_t)((stop ? stop : end) - text);
        text = stop ? stop + 1 : end;
        if (len == 1 && *from == '-')
            continue;
        if (len == 0) {
            from = small_folder[i].text;
            len = strlen(from);
        }
        r = judge(mlc_folder_add(folder, small_folder[i].path, from, len, &err),
                  err);
    }
    if (r < 0) {
        mlc_folder_free(folder);
        return NULL;
    }
    mlc_folder_pass(folder, "tokenizer/vocab.json");
    mlc_folder_pass(folder, "tokenizer/merges.txt");
    if (has_words)
        mlc_folder_pass(folder, "tokenizer_2/tokenizer.json");
    return folder;
}

/* Nothing that is asked for leaves the folder. */
static void
look_at_wanted(const struct mlc_folder *folder)
{
    struct mlc_wanted w;
    const char *name;

    for (size_t i = 0; mlc_folder_wanted(folder, i, &w); i++) {
        check(*w.path && *w.path != '/' && !strstr(w.path, ".."));
        check(w.kind == MLC_FILE_TEXT || w.kind == MLC_FILE_PASSED);
    }
    for (size_t i = 0; (name = mlc_folder_tokenizer(folder, i)); i++)
        check(!strchr(name, '/'));
}

static bool
is_class(const struct mlc_folder *folder, const char *component,
         const char *wanted)
{
    const char *class = mlc_folder_class(folder, component);

    return class && strcmp(class, wanted) == 0;
}

/* Whether the folder names what a checkpoint can have: a UNet, a VAE, and one
 * text encoder of each kind at most. */
static bool
is_known(const struct mlc_folder *folder)
{
    static const char *const names[] = {"text_encoder", "text_encoder_2"};
    size_t n_plain = 0, n_projecting = 0, n = 0;

    for (size_t i = 0; i < 2; i++) {
        n += mlc_folder_class(folder, names[i]) != NULL;
        n_plain += is_class(folder, names[i], "CLIPTextModel");
        n_projecting +=
            is_class(folder, names[i], "CLIPTextModelWithProjection");
    }
    return is_class(folder, "unet", "UNet2DConditionModel") &&
           is_class(folder, "vae", "AutoencoderKL") &&
           n == n_plain + n_projecting && n_plain < 2 && n_projecting < 2;
}

/* --- its layout ----------------------------------------------------------- */

struct sources {
    struct mlc_safetensors *checkpoint, *vae;
};

static uint64_t
end_of(const struct mlc_safetensors *f)
{
    uint64_t last = 0;

    for (size_t i = 0; i < mlc_safetensors_n_tensors(f); i++)
        if (mlc_safetensors_get(f, i)->end > last)
            last = mlc_safetensors_get(f, i)->end;
    return last;
}

/* Every byte of the file has one place in its source, and its header says the
 * same as the layout. */
static void
look_at_component(const struct mlc_component *c,
                  const struct mlc_safetensors *source)
{
    uint64_t at = c->header_len, last = end_of(source);
    struct mlc_safetensors *f = NULL;

    check(mlc_safetensors_parse(c->header + 8, c->header_len - 8, c->size, &f,
                                NULL) == 0);
    check(mlc_safetensors_n_tensors(f) == c->n_targets);
    for (size_t i = 0; i < c->n_targets; i++) {
        const struct mlc_target *t = &c->targets[i];
        uint64_t len = t->tensor.end - t->tensor.begin;
        const struct mlc_tensor *same = mlc_safetensors_find(f, t->tensor.name);

        check(t->tensor.begin == at && t->tensor.end >= at);
        check(len <= last && t->source_begin <= last - len);
        check(same && same->begin == at && same->end == t->tensor.end &&
              same->dtype == t->tensor.dtype);
        if (len > 0)
            check(mlc_component_at(c, at) == t);
        at = t->tensor.end;
    }
    check(at == c->size && !mlc_component_at(c, at));
    mlc_safetensors_free(f);
}

static void
look_at_layout(const struct mlc_layout *layout, const struct sources *s)
{
    for (size_t i = 0; i < layout->n_components; i++) {
        const struct mlc_component *c = &layout->components[i];

        check((c->origin == MLC_ORIGIN_VAE) ==
              (s->vae && c->part == MLC_PART_VAE));
        look_at_component(c,
                          c->origin == MLC_ORIGIN_VAE ? s->vae : s->checkpoint);
    }
}

/* What is shown is JSON, and what the layout took it for. */
static void
look_at_texts(const struct mlc_folder *folder)
{
    const char *path, *text;
    size_t len;

    for (size_t i = 0; (path = mlc_folder_get(folder, i, &text, &len)); i++) {
        json_t *json = NULL;

        check(strlen(text) == len);
        check(mlc_json_parse(text, len, &json, NULL) == 0);
        check(json_equal(json, mlc_folder_json(folder, path)));
        json_decref(json);
    }
    check(mlc_folder_class(folder, "scheduler"));
    check(!mlc_folder_class(folder, "safety_checker"));
}

static void
look_at_kind(const struct mlc_safetensors *checkpoint)
{
    struct mlc_checkpoint_kind kind;
    struct mlc_folder *folder = NULL;
    char *err = NULL;

    if (judge(mlc_checkpoint_detect(checkpoint, &kind, &err), err) < 0)
        return;
    check(mlc_folder_new_builtin(&kind, &folder) == 0);
    check(is_known(folder));
    mlc_folder_free(folder);
}

static int
lay_out(const struct mlc_folder *folder, const struct sources *s, bool is_flat,
        struct mlc_layout **ret)
{
    const struct mlc_layout_options options = {.flat_clip_names = is_flat};
    char *err = NULL;

    return judge(
        mlc_layout_new(folder, s->checkpoint, s->vae, &options, ret, &err),
        err);
}

/* Each tensor of the checkpoint must be there, and what it is. */
static void
change_one(const struct mlc_folder *folder, enum small_form form,
           const struct mlc_safetensors *whole, XXH64_hash_t any)
{
    const struct mlc_tensor *t =
        mlc_safetensors_get(whole, any / 4 % mlc_safetensors_n_tensors(whole));
    const struct small_change change = {t->name, any % 4 == 0   ? WITHOUT
                                                 : any % 4 == 1 ? AS_U8
                                                                : LONGER};
    struct sources s = {small_checkpoint(folder, form, &change), NULL};
    struct mlc_layout *layout = NULL;

    check(s.checkpoint);
    check(lay_out(folder, &s, false, &layout) < 0);
    mlc_safetensors_free(s.checkpoint);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum small_form form, vae_form;
    struct mlc_folder *folder;
    struct mlc_layout *layout = NULL;
    struct sources s = {NULL, NULL};
    char *err = NULL;

    if (size == 0)
        return 0;
    folder = make_folder((const char *)data + 1, size - 1,
                         !(data[0] & HAS_NO_WORDS));
    if (!folder)
        return 0;
    look_at_wanted(folder);
    form = data[0] & IS_SD2 ? SMALL_SD2 : SMALL_SD1;
    vae_form = data[0] & IS_DIFFUSERS_VAE ? SMALL_VAE_DIFFUSERS : SMALL_VAE;
    s.checkpoint = small_checkpoint(folder, form, NULL);
    if (s.checkpoint && data[0] & HAS_VAE)
        s.vae = small_checkpoint(folder, vae_form, NULL);
    if (!s.checkpoint)
        check(mlc_safetensors_parse("{}", 2, 10, &s.checkpoint, NULL) == 0);
    else
        look_at_kind(s.checkpoint);
    if (lay_out(folder, &s, data[0] & IS_FLAT, &layout) < 0) {
        check(mlc_safetensors_n_tensors(s.checkpoint) == 0 ||
              !is_known(folder));
    } else {
        look_at_layout(layout, &s);
        if (!s.vae && is_known(folder))
            change_one(folder, form, s.checkpoint, XXH64(data, size, 0));
        if (judge(mlc_folder_finish(folder, layout, &err), err) == 0)
            look_at_texts(folder);
    }
    mlc_layout_free(layout);
    mlc_safetensors_free(s.checkpoint);
    mlc_safetensors_free(s.vae);
    mlc_folder_free(folder);
    return 0;
}
