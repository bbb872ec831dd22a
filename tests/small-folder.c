/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/small-folder.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/folder.h"
#include "backends/format/safetensors.h"
#include "backends/format/wants.h"
#include "backends/util/cleanup.h"

#define JSON(...) #__VA_ARGS__

static const char index_json[] = JSON({
    "_class_name" : "StableDiffusionPipeline",
    "_name_or_path" : "somewhere",
    "feature_extractor" : [ "transformers", "CLIPFeatureExtractor" ],
    "image_encoder" : [ "transformers", "CLIPVisionModel" ],
    "requires_safety_checker" : true,
    "safety_checker" : [ "stable_diffusion", "StableDiffusionSafetyChecker" ],
    "scheduler" : [ "diffusers", "PNDMScheduler" ],
    "text_encoder_2" : [ "transformers", "CLIPTextModelWithProjection" ],
    "tokenizer_2" : [ "transformers", "CLIPTokenizer" ],
    "unet" : [ "diffusers", "UNet2DConditionModel" ],
    "vae" : [ "diffusers", "AutoencoderKL" ]
});
static const char unet_json[] = JSON({
    "block_out_channels" : [ 4, 4 ],
    "cross_attention_dim" : 768,
    "down_block_types" : [ "CrossAttnDownBlock2D", "DownBlock2D" ],
    "layers_per_block" : 1,
    "up_block_types" : [ "UpBlock2D", "CrossAttnUpBlock2D" ]
});
static const char vae_json[] = JSON({
    "block_out_channels" : [ 4, 8 ],
    "down_block_types" : [ "DownEncoderBlock2D", "DownEncoderBlock2D" ],
    "up_block_types" : [ "UpDecoderBlock2D", "UpDecoderBlock2D" ]
});
static const char clip_json[] = JSON({
    "hidden_size" : 4,
    "intermediate_size" : 16,
    "num_hidden_layers" : 1,
    "projection_dim" : 6,
    "torch_dtype" : "float16",
    "vocab_size" : 10
});

const struct small_file small_folder[SMALL_FOLDER_FILES] = {
    {"model_index.json", index_json},
    {"unet/config.json", unet_json},
    {"vae/config.json", vae_json},
    {"text_encoder/config.json", clip_json},
    {"text_encoder_2/config.json", clip_json},
    {"scheduler/scheduler_config.json", "{}"},
    {"feature_extractor/preprocessor_config.json", "{}"},
};

/* A component, and where its tensors are. */
struct component {
    const char *path, *prefix;
    bool is_openclip, has_projection, has_target_names;
};

static int
wants_of(const struct mlc_folder *folder, const struct component *c,
         struct mlc_wants *ret)
{
    const json_t *config = mlc_folder_json(folder, c->path);
    int r = -1;

    if (config && strncmp(c->path, "unet", 4) == 0)
        r = mlc_unet_wants(config, c->path, ret, NULL);
    else if (config && strncmp(c->path, "vae", 3) == 0)
        r = mlc_vae_wants(config, c->path, ret, NULL);
    else if (config && c->is_openclip)
        r = mlc_openclip_wants(config, c->path, c->has_projection, ret, NULL);
    else if (config)
        r = mlc_clip_wants(config, c->path, ret, NULL);
    return r < 0 ? r : ret->r;
}

/* The whole tensors that they are parts of. */
static int
add_wants(struct mlc_wants *all, const struct mlc_folder *folder,
          const struct component *c)
{
    const struct mlc_at at = {mlc_namef("%s", ""), mlc_namef("%s", "")};
    struct mlc_wants wants = {.r = 0};
    int r = wants_of(folder, c, &wants);
    size_t i;

    for (i = 0; r == 0 && i < wants.n; i++) {
        const struct mlc_want *w = &wants.all[i];
        uint64_t shape[MLC_TARGET_MAX_DIMS];
        char name[200];

        if (w->part > 0)
            continue;
        memcpy(shape, w->shape, sizeof shape);
        shape[0] *= w->n_parts;
        if (w->transform == MLC_TRANSPOSE) {
            shape[0] = w->shape[1];
            shape[1] = w->shape[0];
        }
        snprintf(name, sizeof name, "%s%s", c->prefix,
                 c->has_target_names ? w->name : w->source_name);
        if (!mlc_want(all, &at, name, w->name, w->n_dims, shape))
            r = all->r;
    }
    mlc_wants_done(&wants);
    return r;
}

/* A text encoder, if the folder names it. */
static int
add_encoder(struct mlc_wants *all, const struct mlc_folder *folder,
            const char *name, enum small_form form)
{
    const char *class = mlc_folder_class(folder, name);
    struct component c = {.path = strcmp(name, "text_encoder") == 0
                                      ? "text_encoder/config.json"
                                      : "text_encoder_2/config.json"};

    if (!class)
        return 0;
    c.has_projection = strcmp(class, "CLIPTextModelWithProjection") == 0;
    c.is_openclip = c.has_projection || form == SMALL_SD2;
    c.prefix = c.has_projection ? "conditioner.embedders.1.model."
               : c.is_openclip  ? "cond_stage_model.model."
                                : "cond_stage_model.transformer.";
    return add_wants(all, folder, &c);
}

static struct mlc_safetensors *
make_checkpoint(struct mlc_wants *all, const struct small_change *change)
{
    mlc_autofree struct mlc_tensor *tensors = calloc(all->n, sizeof *tensors);
    struct mlc_safetensors *f = NULL;
    mlc_autofree char *header = NULL;
    size_t len = 0;
    size_t n = 0;
    size_t i;

    for (i = 0; tensors && i < all->n; i++) {
        struct mlc_want *w = &all->all[i];
        struct mlc_tensor t = {
            .name = w->source_name,
            .dtype = MLC_DTYPE_BF16,
            .n_dims = w->n_dims,
            .shape = w->shape,
        };

        if (change && strcmp(t.name, change->tensor) == 0) {
            if (change->how == WITHOUT)
                continue;
            if (change->how == AS_U8)
                t.dtype = MLC_DTYPE_U8;
            if (change->how == LONGER)
                w->shape[0]++;
        }
        tensors[n++] = t;
    }
    if (n == 0 || mlc_safetensors_format(tensors, n, &header, &len) < 0 ||
        mlc_safetensors_parse(header + 8, len - 8, tensors[n - 1].end, &f,
                              NULL) < 0)
        return NULL;
    return f;
}

struct mlc_safetensors *
small_checkpoint(const struct mlc_folder *folder, enum small_form form,
                 const struct small_change *change)
{
    bool is_vae = form == SMALL_VAE || form == SMALL_VAE_DIFFUSERS;
    const struct component unet = {"unet/config.json", "model.diffusion_model.",
                                   false, false, false};
    const struct component vae = {"vae/config.json",
                                  is_vae ? "" : "first_stage_model.", false,
                                  false, form == SMALL_VAE_DIFFUSERS};
    struct mlc_safetensors *f = NULL;
    struct mlc_wants all = {.r = 0};
    int r = add_wants(&all, folder, &vae);

    if (r == 0 && !is_vae)
        r = add_wants(&all, folder, &unet);
    if (r == 0 && !is_vae)
        r = add_encoder(&all, folder, "text_encoder", form);
    if (r == 0 && !is_vae)
        r = add_encoder(&all, folder, "text_encoder_2", form);
    if (r == 0)
        f = make_checkpoint(&all, change);
    mlc_wants_done(&all);
    return f;
}
