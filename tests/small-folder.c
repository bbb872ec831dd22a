/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/small-folder.h"

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
    {"text_encoder_2/config.json", clip_json},
    {"scheduler/scheduler_config.json", "{}"},
    {"feature_extractor/preprocessor_config.json", "{}"},
};

static int
wants_of(const struct mlc_folder *folder, const char *path,
         struct mlc_wants *ret)
{
    const json_t *config = mlc_folder_json(folder, path);
    int r = -1;

    if (config && strncmp(path, "unet", 4) == 0)
        r = mlc_unet_wants(config, path, ret, NULL);
    else if (config && strncmp(path, "vae", 3) == 0)
        r = mlc_vae_wants(config, path, ret, NULL);
    else if (config)
        r = mlc_openclip_wants(config, path, true, ret, NULL);
    return r < 0 ? r : ret->r;
}

/* The whole tensors that they are parts of. */
static int
add_wants(struct mlc_wants *all, const struct mlc_folder *folder,
          const char *path, const char *prefix)
{
    const struct mlc_at at = {mlc_namef("%s", ""), mlc_namef("%s", "")};
    struct mlc_wants wants = {.r = 0};
    int r = wants_of(folder, path, &wants);
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
        snprintf(name, sizeof name, "%s%s", prefix, w->source_name);
        if (!mlc_want(all, &at, name, w->name, w->n_dims, shape))
            r = all->r;
    }
    mlc_wants_done(&wants);
    return r;
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
small_checkpoint(const struct mlc_folder *folder,
                 const struct small_change *change)
{
    struct mlc_safetensors *f = NULL;
    struct mlc_wants all = {.r = 0};

    if (add_wants(&all, folder, "unet/config.json", "model.diffusion_model.") ==
            0 &&
        add_wants(&all, folder, "vae/config.json", "first_stage_model.") == 0 &&
        add_wants(&all, folder, "text_encoder_2/config.json",
                  "conditioner.embedders.1.model.") == 0)
        f = make_checkpoint(&all, change);
    mlc_wants_done(&all);
    return f;
}
