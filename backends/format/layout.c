/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/folder.h"
#include "backends/format/members.h"
#include "backends/format/wants.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/refuse.h"

#define TEXT_MODEL     "text_model."
#define MAX_SHAPE_TEXT 400 /* 16 numbers of 64 bits */

/* Where a component's tensors are looked for. */
struct source {
    const struct mlc_safetensors *file;
    enum mlc_origin origin;
    const char *prefix;
    bool has_target_names; /* it is in diffusers' form already */
};

struct layouter {
    const struct mlc_folder *folder;
    const struct mlc_safetensors *checkpoint, *vae;
    const struct mlc_layout_options *options;
    char **ret_err;
};

MLC_DEFINE_CLEANUP(layout, struct mlc_layout *, mlc_layout_free);

static void
wants_done(struct mlc_wants *w)
{
    mlc_wants_done(w);
}

/* --- one tensor ------------------------------------------------------- */

static void
show_shape(const uint64_t *shape, unsigned n_dims, char text[MAX_SHAPE_TEXT])
{
    size_t at = 1;
    unsigned i;

    text[0] = '[';
    for (i = 0; i < n_dims; i++)
        at += (size_t)snprintf(text + at, MAX_SHAPE_TEXT - at, "%s%" PRIu64,
                               i > 0 ? "," : "", shape[i]);
    snprintf(text + at, MAX_SHAPE_TEXT - at, "]");
}

/* The shape that the whole tensor must have in the source. */
static void
source_shape(const struct mlc_want *want, uint64_t shape[MLC_TARGET_MAX_DIMS])
{
    memcpy(shape, want->shape, sizeof want->shape);
    shape[0] *= want->n_parts;
    if (want->transform == MLC_TRANSPOSE) {
        shape[0] = want->shape[1];
        shape[1] = want->shape[0];
    }
}

static bool
has_shape(const struct mlc_tensor *t, const struct mlc_want *want)
{
    uint64_t shape[MLC_TARGET_MAX_DIMS];
    unsigned i;

    if (t->n_dims < want->n_dims ||
        (t->n_dims > want->n_dims && !want->may_have_ones))
        return false;
    source_shape(want, shape);
    for (i = 0; i < t->n_dims; i++) {
        if (t->shape[i] != (i < want->n_dims ? shape[i] : 1))
            return false;
    }
    return true;
}

static bool
is_float(enum mlc_dtype dtype)
{
    switch (dtype) {
    case MLC_DTYPE_F8_E5M2:
    case MLC_DTYPE_F8_E4M3:
    case MLC_DTYPE_F8_E4M3FNUZ:
    case MLC_DTYPE_F8_E5M2FNUZ:
    case MLC_DTYPE_F16:
    case MLC_DTYPE_BF16:
    case MLC_DTYPE_F32:
    case MLC_DTYPE_F64:
        return true;
    case MLC_DTYPE_BOOL:
    case MLC_DTYPE_F4:
    case MLC_DTYPE_F6_E2M3:
    case MLC_DTYPE_F6_E3M2:
    case MLC_DTYPE_U8:
    case MLC_DTYPE_I8:
    case MLC_DTYPE_F8_E8M0:
    case MLC_DTYPE_I16:
    case MLC_DTYPE_U16:
    case MLC_DTYPE_I32:
    case MLC_DTYPE_U32:
    case MLC_DTYPE_C64:
    case MLC_DTYPE_I64:
    case MLC_DTYPE_U64:
    case MLC_N_DTYPES:
        break;
    }
    return false;
}

static int
check_tensor(const struct mlc_tensor *t, const struct mlc_want *want,
             const char *name, char **ret_err)
{
    char has[MAX_SHAPE_TEXT];
    char needs[MAX_SHAPE_TEXT];
    uint64_t shape[MLC_TARGET_MAX_DIMS];

    if (!t)
        return mlc_refuse(ret_err, "tensor '%s' is missing", name);
    if (!is_float(t->dtype))
        return mlc_refuse(ret_err,
                          "tensor '%s' holds %s, no floating point numbers: "
                          "quantised weights can't be used",
                          name, mlc_dtype_name(t->dtype));
    if (has_shape(t, want))
        return 0;
    source_shape(want, shape);
    show_shape(t->shape, t->n_dims, has);
    show_shape(shape, want->n_dims, needs);
    return mlc_refuse(ret_err,
                      "tensor '%s' has the shape %s, not %s: a model of other "
                      "widths needs a `config`",
                      name, has, needs);
}

/* The target that is wanted; takes the names from 'want'. */
static int
find_target(const struct source *s, struct mlc_want *want, bool is_flat,
            struct mlc_target *ret, char **ret_err)
{
    mlc_autofree char *name = NULL;
    const struct mlc_tensor *t;
    uint64_t bytes;
    int r;

    if (asprintf(&name, "%s%s", s->prefix,
                 s->has_target_names ? want->name : want->source_name) < 0) {
        name = NULL;
        return -ENOMEM;
    }
    t = mlc_safetensors_find(s->file, name);
    r = check_tensor(t, want, name, ret_err);
    if (r < 0)
        return r;
    bytes = (t->end - t->begin) / want->n_parts;
    *ret = (struct mlc_target){
        .tensor = {.dtype = t->dtype, .n_dims = want->n_dims},
        .source_begin = t->begin + want->part * bytes,
        .transform = want->transform,
        .name = mlc_steal(&want->name),
        .source_name = mlc_steal(&want->source_name),
    };
    memcpy(ret->dims, want->shape, sizeof ret->dims);
    ret->tensor.name = ret->name;
    if (is_flat && strncmp(ret->name, TEXT_MODEL, strlen(TEXT_MODEL)) == 0)
        ret->tensor.name += strlen(TEXT_MODEL);
    return 0;
}

/* --- one component ---------------------------------------------------- */

static void
component_done(struct mlc_component *c)
{
    size_t i;

    for (i = 0; i < c->n_targets; i++) {
        free(c->targets[i].name);
        free(c->targets[i].source_name);
    }
    free(c->targets);
    free(c->header);
}

static int
by_tensor(const void *a, const void *b)
{
    const struct mlc_target *x = a;
    const struct mlc_target *y = b;

    return mlc_tensor_compare(&x->tensor, &y->tensor);
}

/* Puts the targets in order and gives each its place in the file. */
static int
write_header(struct mlc_component *c)
{
    mlc_autofree struct mlc_tensor *tensors = NULL;
    size_t i;
    int r;

    qsort(c->targets, c->n_targets, sizeof *c->targets, by_tensor);
    tensors = calloc(c->n_targets, sizeof *tensors);
    if (!tensors)
        return -ENOMEM;
    for (i = 0; i < c->n_targets; i++) {
        c->targets[i].tensor.shape = c->targets[i].dims;
        tensors[i] = c->targets[i].tensor;
    }
    r = mlc_safetensors_format(tensors, c->n_targets, &c->header,
                               &c->header_len);
    if (r < 0)
        return r;
    for (i = 0; i < c->n_targets; i++)
        c->targets[i].tensor = tensors[i]; /* they were in order */
    c->size = tensors[c->n_targets - 1].end;
    return 0;
}

static enum mlc_dtype
usual_dtype(const struct mlc_component *c)
{
    uint64_t bytes[MLC_N_DTYPES] = {0};
    size_t best = 0;
    size_t i;

    for (i = 0; i < c->n_targets; i++) {
        const struct mlc_tensor *t = &c->targets[i].tensor;

        bytes[t->dtype] += t->end - t->begin;
        if (bytes[t->dtype] > bytes[best])
            best = t->dtype;
    }
    return (enum mlc_dtype)best;
}

/* wants->n > 0, as each component wants something. */
static int
fill_component(struct mlc_component *c, const struct source *s,
               struct mlc_wants *wants, bool is_flat, char **ret_err)
{
    size_t i;
    int r;

    c->origin = s->origin;
    c->targets = calloc(wants->n, sizeof *c->targets);
    if (!c->targets)
        return -ENOMEM;
    for (i = 0; i < wants->n; i++) {
        r = find_target(s, &wants->all[i], is_flat, &c->targets[i], ret_err);
        if (r < 0)
            return r;
        c->n_targets++;
    }
    r = write_header(c);
    if (r < 0)
        return r;
    c->dtype = usual_dtype(c);
    return 0;
}

/* --- the components --------------------------------------------------- */

/* The configuration of a component; -EBADMSG: the folder lacks it. */
static int
get_config(const struct layouter *l, const char *path, const json_t **ret)
{
    const json_t *config = mlc_folder_json(l->folder, path);

    if (!config)
        return mlc_refuse(l->ret_err, "the `config` has no %s", path);
    *ret = config;
    return 0;
}

/* What came of reading a configuration. */
static int
check_wants(const struct layouter *l, int r, const struct mlc_wants *w,
            const char *path)
{
    if (r < 0)
        return r;
    if (w->r == -EFBIG)
        return mlc_refuse(l->ret_err, "%s: a model of more than %zu tensors",
                          path, MLC_MAX_WANTS);
    return w->r;
}

/* The component must be there, of that class. */
static int
check_class(const struct layouter *l, const char *component, const char *wanted)
{
    const char *class = mlc_folder_class(l->folder, component);

    if (!class)
        return mlc_refuse(l->ret_err,
                          "the `config` names no %s in its "
                          "model_index.json",
                          component);
    if (strcmp(class, wanted) != 0)
        return mlc_refuse(l->ret_err, "the `config`: %s is a %.*s, not a %s",
                          component, MLC_SHOWN(class), wanted);
    return 0;
}

static int
add_unet(struct layouter *l, struct mlc_component *c)
{
    static const char path[] = "unet/config.json";
    __attribute__((cleanup(wants_done))) struct mlc_wants wants = {.r = 0};
    const struct source source = {
        .file = l->checkpoint,
        .prefix = "model.diffusion_model.",
    };
    const json_t *config = NULL;
    int r = check_class(l, "unet", "UNet2DConditionModel");

    if (r == 0)
        r = get_config(l, path, &config);
    if (r < 0)
        return r;
    r = mlc_unet_wants(config, path, &wants, l->ret_err);
    r = check_wants(l, r, &wants, path);
    if (r < 0)
        return r;
    return fill_component(c, &source, &wants, false, l->ret_err);
}

/* Its tensors lie under a prefix in a checkpoint, and mostly under none in a
 * file of its own. */
static struct source
vae_source(const struct layouter *l)
{
    struct source s = {
        .file = l->vae ? l->vae : l->checkpoint,
        .origin = l->vae ? MLC_ORIGIN_VAE : MLC_ORIGIN_CHECKPOINT,
        .prefix = "first_stage_model.",
    };

    if (mlc_safetensors_find_prefix(s.file, "vae."))
        s.prefix = "vae.";
    else if (!mlc_safetensors_find_prefix(s.file, s.prefix) && l->vae)
        s.prefix = "";
    s.has_target_names =
        *s.prefix == '\0' &&
        mlc_safetensors_find_prefix(s.file, "encoder.down_blocks.");
    return s;
}

static int
add_vae(struct layouter *l, struct mlc_component *c)
{
    static const char path[] = "vae/config.json";
    __attribute__((cleanup(wants_done))) struct mlc_wants wants = {.r = 0};
    const struct source source = vae_source(l);
    const json_t *config = NULL;
    int r = check_class(l, "vae", "AutoencoderKL");

    if (r == 0)
        r = get_config(l, path, &config);
    if (r < 0)
        return r;
    r = mlc_vae_wants(config, path, &wants, l->ret_err);
    r = check_wants(l, r, &wants, path);
    if (r < 0)
        return r;
    return fill_component(c, &source, &wants, false, l->ret_err);
}

/* The text encoders of checkpoints, in the order in which they are looked
 * for. */
static const struct encoder {
    const char *prefix;
    bool is_openclip;
    bool has_projection;
    const char *probe; /* names that tell that it is there */
} encoders[] = {
    {"cond_stage_model.transformer.", false, false,
     "cond_stage_model.transformer.text_model."},
    {"conditioner.embedders.0.transformer.", false, false,
     "conditioner.embedders.0.transformer.text_model."},
    {"cond_stage_model.model.", true, false, "cond_stage_model.model."},
    {"conditioner.embedders.1.model.", true, true,
     "conditioner.embedders.1.model."},
    {"conditioner.embedders.0.model.", true, true,
     "conditioner.embedders.0.model."},
};

static int
find_encoder(const struct layouter *l, const char *component,
             bool has_projection, const struct encoder **ret)
{
    size_t i;

    for (i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        if (encoders[i].has_projection == has_projection &&
            mlc_safetensors_find_prefix(l->checkpoint, encoders[i].probe)) {
            *ret = &encoders[i];
            return 0;
        }
    }
    if (has_projection)
        return mlc_refuse(l->ret_err,
                          "it has no tensors for %s: no '%s', no "
                          "'%s'",
                          component, encoders[3].probe, encoders[4].probe);
    return mlc_refuse(
        l->ret_err, "it has no tensors for %s: no '%s', no '%s', no '%s'",
        component, encoders[0].probe, encoders[1].probe, encoders[2].probe);
}

static int
add_text_encoder(struct layouter *l, const char *class, struct mlc_component *c)
{
    __attribute__((cleanup(wants_done))) struct mlc_wants wants = {.r = 0};
    mlc_autofree char *path = NULL;
    bool has_projection = strcmp(class, "CLIPTextModelWithProjection") == 0;
    const struct encoder *encoder = NULL;
    struct source source = {.file = l->checkpoint};
    const json_t *config = NULL;
    int r = 0;

    if (!has_projection)
        r = check_class(l, c->folder, "CLIPTextModel");
    if (r == 0)
        r = find_encoder(l, c->folder, has_projection, &encoder);
    if (r < 0)
        return r;
    if (asprintf(&path, "%s/config.json", c->folder) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    r = get_config(l, path, &config);
    if (r < 0)
        return r;
    if (encoder->is_openclip)
        r = mlc_openclip_wants(config, path, has_projection, &wants,
                               l->ret_err);
    else
        r = mlc_clip_wants(config, path, &wants, l->ret_err);
    r = check_wants(l, r, &wants, path);
    if (r < 0)
        return r;
    source.prefix = encoder->prefix;
    c->has_flat_names = !has_projection;
    return fill_component(c, &source, &wants,
                          c->has_flat_names && l->options->flat_clip_names,
                          l->ret_err);
}

/* --- the whole -------------------------------------------------------- */

static const char *const folders[MLC_N_PARTS] = {
    [MLC_PART_UNET] = "unet",
    [MLC_PART_VAE] = "vae",
    [MLC_PART_TEXT_ENCODER] = "text_encoder",
    [MLC_PART_TEXT_ENCODER_2] = "text_encoder_2",
};

/* 0 also where the folder has no such component. */
static int
add_part(struct layouter *l, struct mlc_layout *layout, enum mlc_part part)
{
    struct mlc_component *c = &layout->components[layout->n_components];
    const char *class = mlc_folder_class(l->folder, folders[part]);

    c->part = part;
    c->folder = folders[part];
    switch (part) {
    case MLC_PART_UNET:
        layout->n_components++;
        return add_unet(l, c);
    case MLC_PART_VAE:
        layout->n_components++;
        return add_vae(l, c);
    case MLC_PART_TEXT_ENCODER:
    case MLC_PART_TEXT_ENCODER_2:
        if (!class)
            return 0;
        layout->n_components++;
        return add_text_encoder(l, class, c);
    case MLC_N_PARTS:
        break;
    }
    return -EINVAL;
}

/* By what the UNet is told; the widths that matter to a LoRA. */
static enum mlc_family
family_of(const struct mlc_folder *folder)
{
    const json_t *config = mlc_folder_json(folder, "unet/config.json");
    json_int_t context =
        json_integer_value(json_object_get(config, "cross_attention_dim"));
    bool is_xl = json_is_string(json_object_get(config, "addition_embed_type"));

    if (is_xl)
        return context == 2048   ? MLC_FAMILY_SDXL
               : context == 1280 ? MLC_FAMILY_REFINER
                                 : MLC_FAMILY_OTHER;
    return context == 768    ? MLC_FAMILY_SD1
           : context == 1024 ? MLC_FAMILY_SD2
                             : MLC_FAMILY_OTHER;
}

int
mlc_layout_new(const struct mlc_folder *folder,
               const struct mlc_safetensors *checkpoint,
               const struct mlc_safetensors *vae,
               const struct mlc_layout_options *options,
               struct mlc_layout **ret, char **ret_err)
{
    __attribute__((cleanup(mlc_cleanup_layout))) struct mlc_layout *layout =
        calloc(1, sizeof *layout);
    struct layouter l = {
        .folder = folder,
        .checkpoint = checkpoint,
        .vae = vae,
        .options = options,
        .ret_err = ret_err,
    };
    int part;
    int r;

    if (!layout)
        return -ENOMEM;
    r = mlc_checkpoint_check(checkpoint, ret_err);
    if (r == 0 && vae)
        r = mlc_checkpoint_check(vae, ret_err);
    if (r < 0)
        return r;
    layout->components = calloc(MLC_N_PARTS, sizeof *layout->components);
    if (!layout->components)
        return -ENOMEM;
    for (part = 0; part < MLC_N_PARTS; part++) {
        r = add_part(&l, layout, (enum mlc_part)part);
        if (r < 0)
            return r;
    }
    layout->family = family_of(folder);
    *ret = mlc_steal(&layout);
    return 0;
}

void
mlc_layout_free(struct mlc_layout *l)
{
    size_t i;

    if (!l)
        return;
    for (i = 0; i < l->n_components; i++)
        component_done(&l->components[i]);
    free(l->components);
    free(l);
}

/* --- looking up ------------------------------------------------------- */

const struct mlc_component *
mlc_layout_find(const struct mlc_layout *l, enum mlc_part part)
{
    size_t i;

    for (i = 0; i < l->n_components; i++) {
        if (l->components[i].part == part)
            return &l->components[i];
    }
    return NULL;
}

const struct mlc_target *
mlc_component_at(const struct mlc_component *c, uint64_t offset)
{
    size_t low = 0;
    size_t high = c->n_targets;

    /* The first that ends beyond it. */
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (c->targets[mid].tensor.end > offset)
            high = mid;
        else
            low = mid + 1;
    }
    if (low == c->n_targets || c->targets[low].tensor.begin > offset)
        return NULL;
    return &c->targets[low];
}

char *
mlc_component_file(const struct mlc_component *c, const char *variant)
{
    bool is_encoder = c->part != MLC_PART_UNET && c->part != MLC_PART_VAE;
    char *name = NULL;

    if (asprintf(&name, "%s%s%s.safetensors",
                 is_encoder ? "model" : "diffusion_pytorch_model",
                 variant ? "." : "", variant ? variant : "") < 0)
        return NULL;
    return name;
}
