/* SPDX-License-Identifier: MIT */
/* The configurations of the models that checkpoints are made of (facts:
 * checkpoints 2.5, 4.5). */
#include "config.h"

#include "backends/format/folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/pretty.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/json.h"

MLC_DEFINE_CLEANUP(folder, struct mlc_folder *, mlc_folder_free);
MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

/* JSON, written as such. */
#define JSON(...) #__VA_ARGS__

/* clang-format off */

/* --- model_index.json ------------------------------------------------- */

static const char index_all[] = JSON({
    "_diffusers_version": "0.42.1",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "image_encoder": [null, null],
    "feature_extractor": [null, null]
});

static const char index_sd[] = JSON({
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": [null, null],
    "requires_safety_checker": false
});

/* It needs a depth estimator, which no checkpoint has: the caller passes it. */
static const char index_depth[] = JSON({
    "depth_estimator": [null, null],
    "feature_extractor": [null, null]
});

static const char index_sdxl[] = JSON({
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "force_zeros_for_empty_prompt": true
});

static const char index_refiner[] = JSON({
    "text_encoder": [null, null],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": [null, null],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "force_zeros_for_empty_prompt": false,
    "requires_aesthetics_score": true
});

/* --- unet ------------------------------------------------------------- */

static const char unet_all[] = JSON({
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.42.1",
    "act_fn": "silu",
    "center_input_sample": false,
    "downsample_padding": 1,
    "flip_sin_to_cos": true,
    "freq_shift": 0,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4
});

static const char unet_sd1[] = JSON({
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                         "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D",
                       "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "sample_size": 64
});

static const char unet_sd2[] = JSON({
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                         "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D",
                       "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "dual_cross_attention": false,
    "num_class_embeds": null,
    "only_cross_attention": false,
    "sample_size": 64,
    "use_linear_projection": true
});

/* Of the model that makes 768 x 768. */
static const char unet_sd2_text[] = JSON({
    "sample_size": 96,
    "upcast_attention": true
});

static const char unet_xl[] = JSON({
    "addition_embed_type": "text_time",
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 256,
    "class_embed_type": null,
    "class_embeddings_concat": false,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": null,
    "dual_cross_attention": false,
    "encoder_hid_dim": null,
    "encoder_hid_dim_type": null,
    "mid_block_only_cross_attention": null,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_attention_heads": null,
    "num_class_embeds": null,
    "only_cross_attention": false,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": false,
    "resnet_time_scale_shift": "default",
    "sample_size": 128,
    "time_cond_proj_dim": null,
    "time_embedding_act_fn": null,
    "time_embedding_dim": null,
    "time_embedding_type": "positional",
    "timestep_post_act": null,
    "upcast_attention": null,
    "use_linear_projection": true
});

static const char unet_sdxl[] = JSON({
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D",
                         "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                       "UpBlock2D"],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "projection_class_embeddings_input_dim": 2816,
    "transformer_layers_per_block": [1, 2, 10]
});

static const char unet_refiner[] = JSON({
    "block_out_channels": [384, 768, 1536, 1536],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D",
                         "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D",
                       "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [6, 12, 24, 24],
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
    "transformer_layers_per_block": 4
});

/* --- vae -------------------------------------------------------------- */

static const char vae_all[] = JSON({
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.42.1",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D",
                         "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "force_upcast": true,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 512,
    "scaling_factor": 0.18215,
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D",
                       "UpDecoderBlock2D", "UpDecoderBlock2D"]
});

static const char vae_xl[] = JSON({
    "sample_size": 1024,
    "scaling_factor": 0.13025
});

/* --- text encoders ---------------------------------------------------- */

/* eos_token_id is no mistake: 2 chooses how the text is pooled. */
static const char clip_all[] = JSON({
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "pad_token_id": 1,
    "vocab_size": 49408
});

static const char clip_l[] = JSON({
    "architectures": ["CLIPTextModel"],
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768
});

static const char openclip_h[] = JSON({
    "architectures": ["CLIPTextModel"],
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 23,
    "projection_dim": 512
});

static const char openclip_bigg[] = JSON({
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280
});

/* --- schedulers ------------------------------------------------------- */

static const char scheduler_all[] = JSON({
    "_diffusers_version": "0.42.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": false,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": false,
    "skip_prk_steps": true,
    "steps_offset": 1,
    "trained_betas": null
});

static const char scheduler_pndm[] = JSON({
    "_class_name": "PNDMScheduler"
});

static const char scheduler_ddim[] = JSON({
    "_class_name": "DDIMScheduler"
});

static const char scheduler_v[] = JSON({
    "_class_name": "DDIMScheduler",
    "prediction_type": "v_prediction"
});

static const char scheduler_euler[] = JSON({
    "_class_name": "EulerDiscreteScheduler",
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "use_karras_sigmas": false
});

/* --- tokenizers, feature extractor ------------------------------------ */

static const char tokenizer_config[] = JSON({
    "add_prefix_space": false,
    "bos_token": {"__type": "AddedToken", "content": "<|startoftext|>",
                  "lstrip": false, "normalized": true, "rstrip": false,
                  "single_word": false},
    "do_lower_case": true,
    "eos_token": {"__type": "AddedToken", "content": "<|endoftext|>",
                  "lstrip": false, "normalized": true, "rstrip": false,
                  "single_word": false},
    "errors": "replace",
    "model_max_length": 77,
    "tokenizer_class": "CLIPTokenizer",
    "unk_token": {"__type": "AddedToken", "content": "<|endoftext|>",
                  "lstrip": false, "normalized": true, "rstrip": false,
                  "single_word": false}
});

static const char special_tokens[] = JSON({
    "bos_token": {"content": "<|startoftext|>", "lstrip": false,
                  "normalized": true, "rstrip": false, "single_word": false},
    "eos_token": {"content": "<|endoftext|>", "lstrip": false,
                  "normalized": true, "rstrip": false, "single_word": false},
    "unk_token": {"content": "<|endoftext|>", "lstrip": false,
                  "normalized": true, "rstrip": false, "single_word": false}
});

static const char pad_clip[] = JSON({"pad_token": "<|endoftext|>"});
static const char pad_openclip[] = JSON({"pad_token": "!"});

static const char feature_extractor[] = JSON({
    "crop_size": 224,
    "do_center_crop": true,
    "do_convert_rgb": true,
    "do_normalize": true,
    "do_resize": true,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224
});

/* clang-format on */

/* --- putting them together -------------------------------------------- */

/* What each family has: for one component, documents of which the later add to
 * the earlier, or replace their members. */
struct document {
    const char *path;
    const char *parts[3];
};

static const struct document sd1[] = {
    {"model_index.json", {index_all, index_sd}},
    {"unet/config.json", {unet_all, unet_sd1}},
    {"vae/config.json", {vae_all}},
    {"text_encoder/config.json", {clip_all, clip_l}},
    {"feature_extractor/preprocessor_config.json", {feature_extractor}},
    {"tokenizer/tokenizer_config.json", {tokenizer_config, pad_clip}},
    {"tokenizer/special_tokens_map.json", {special_tokens, pad_clip}},
    {.path = NULL},
};

static const struct document sd2[] = {
    {"model_index.json", {index_all, index_sd}},
    {"unet/config.json", {unet_all, unet_sd2}},
    {"vae/config.json", {vae_all}},
    {"text_encoder/config.json", {clip_all, openclip_h}},
    {"feature_extractor/preprocessor_config.json", {feature_extractor}},
    {"tokenizer/tokenizer_config.json", {tokenizer_config, pad_openclip}},
    {"tokenizer/special_tokens_map.json", {special_tokens, pad_openclip}},
    {.path = NULL},
};

static const struct document sdxl[] = {
    {"model_index.json", {index_all, index_sdxl}},
    {"unet/config.json", {unet_all, unet_xl, unet_sdxl}},
    {"vae/config.json", {vae_all, vae_xl}},
    {"text_encoder/config.json", {clip_all, clip_l}},
    {"text_encoder_2/config.json", {clip_all, openclip_bigg}},
    {"tokenizer/tokenizer_config.json", {tokenizer_config, pad_clip}},
    {"tokenizer/special_tokens_map.json", {special_tokens, pad_clip}},
    {"tokenizer_2/tokenizer_config.json", {tokenizer_config, pad_openclip}},
    {"tokenizer_2/special_tokens_map.json", {special_tokens, pad_openclip}},
    {.path = NULL},
};

static const struct document refiner[] = {
    {"model_index.json", {index_all, index_refiner}},
    {"unet/config.json", {unet_all, unet_xl, unet_refiner}},
    {"vae/config.json", {vae_all, vae_xl}},
    {"text_encoder_2/config.json", {clip_all, openclip_bigg}},
    {"tokenizer_2/tokenizer_config.json", {tokenizer_config, pad_openclip}},
    {"tokenizer_2/special_tokens_map.json", {special_tokens, pad_openclip}},
    {.path = NULL},
};

static const struct document *
documents(enum mlc_family family)
{
    switch (family) {
    case MLC_FAMILY_SD1:
        return sd1;
    case MLC_FAMILY_SD2:
        return sd2;
    case MLC_FAMILY_SDXL:
        return sdxl;
    case MLC_FAMILY_REFINER:
        return refiner;
    case MLC_FAMILY_OTHER:
        break;
    }
    return NULL;
}

static const char *
pipeline(const struct mlc_checkpoint_kind *kind)
{
    if (kind->family == MLC_FAMILY_REFINER)
        return "StableDiffusionXLImg2ImgPipeline";
    if (kind->family == MLC_FAMILY_SDXL)
        return kind->task == MLC_TASK_INPAINT
                   ? "StableDiffusionXLInpaintPipeline"
                   : "StableDiffusionXLPipeline";
    switch (kind->task) {
    case MLC_TASK_TEXT:
        break;
    case MLC_TASK_INPAINT:
        return "StableDiffusionInpaintPipeline";
    case MLC_TASK_EDIT:
        return "StableDiffusionInstructPix2PixPipeline";
    case MLC_TASK_DEPTH:
        return "StableDiffusionDepth2ImgPipeline";
    }
    return "StableDiffusionPipeline";
}

/* SD2 that makes 512 x 512 predicts the noise, but nothing in its tensors tells
 * it from the one that makes 768 x 768: as diffusers does, we take the
 * latter. */
static const char *
scheduler(const struct mlc_checkpoint_kind *kind)
{
    if (kind->family == MLC_FAMILY_SDXL || kind->family == MLC_FAMILY_REFINER)
        return scheduler_euler;
    if (kind->family == MLC_FAMILY_SD1 && kind->task == MLC_TASK_INPAINT)
        return scheduler_ddim;
    if (kind->family == MLC_FAMILY_SD2 && kind->task == MLC_TASK_TEXT)
        return scheduler_v;
    return scheduler_pndm;
}

static int
channels(enum mlc_task task)
{
    switch (task) {
    case MLC_TASK_TEXT:
        break;
    case MLC_TASK_INPAINT:
        return 9;
    case MLC_TASK_EDIT:
        return 8;
    case MLC_TASK_DEPTH:
        return 5;
    }
    return 4;
}

/* The literals above are JSON, so all that can fail is for want of memory. */
static int
add_members(json_t *to, const char *document)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *more = NULL;
    int r = mlc_json_parse(document, strlen(document), &more, NULL);

    if (r < 0)
        return r;
    return json_object_update(to, more) < 0 ? -ENOMEM : 0;
}

static int
set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

static int
set_pipeline(const struct mlc_checkpoint_kind *kind, json_t *index)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *config = json_object();
    const char *class;
    int r;

    if (!config)
        return -ENOMEM;
    r = add_members(config, scheduler(kind));
    class = json_string_value(json_object_get(config, "_class_name"));
    if (r == 0)
        r = set(index, "scheduler", json_pack("[s, s]", "diffusers", class));
    if (r == 0)
        r = set(index, "_class_name", json_string(pipeline(kind)));
    return r;
}

/* It takes no images of a style, and is given what it measures depth with. */
static int
set_depth(json_t *index)
{
    json_object_del(index, "image_encoder");
    json_object_del(index, "safety_checker");
    json_object_del(index, "requires_safety_checker");
    return add_members(index, index_depth);
}

static int
set_size_of_vae(const struct mlc_checkpoint_kind *kind, json_t *config)
{
    if (kind->family == MLC_FAMILY_SD1 && kind->task == MLC_TASK_INPAINT)
        return set(config, "sample_size", json_integer(256));
    if (kind->family == MLC_FAMILY_SD2 && kind->task == MLC_TASK_TEXT)
        return set(config, "sample_size", json_integer(768));
    return 0;
}

/* What the task makes of a family's document. */
static int
adapt(const struct mlc_checkpoint_kind *kind, const char *path, json_t *json)
{
    int r = 0;

    if (strcmp(path, "model_index.json") == 0) {
        r = set_pipeline(kind, json);
        if (r == 0 && kind->task == MLC_TASK_DEPTH)
            r = set_depth(json);
    } else if (strcmp(path, "unet/config.json") == 0) {
        r = set(json, "in_channels", json_integer(channels(kind->task)));
        if (r == 0 && kind->family == MLC_FAMILY_SD2 &&
            kind->task == MLC_TASK_TEXT)
            r = add_members(json, unet_sd2_text);
    } else if (strcmp(path, "vae/config.json") == 0) {
        r = set_size_of_vae(kind, json);
    }
    return r;
}

static int
add_document(struct mlc_folder *f, const struct mlc_checkpoint_kind *kind,
             const struct document *d)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *json = json_object();
    mlc_autofree char *text = NULL;
    struct mlc_buf b;
    size_t len, i;
    int r = json ? 0 : -ENOMEM;

    for (i = 0; i < sizeof d->parts / sizeof *d->parts; i++) {
        if (r == 0 && d->parts[i])
            r = add_members(json, d->parts[i]);
    }
    if (r == 0)
        r = adapt(kind, d->path, json);
    if (r < 0)
        return r;
    mlc_buf_init(&b, MLC_FOLDER_MAX_TEXT);
    r = mlc_pretty(&b, json);
    if (r < 0) {
        mlc_buf_done(&b);
        return r;
    }
    text = mlc_buf_take(&b, &len);
    return mlc_folder_add(f, d->path, text, len, NULL);
}

int
mlc_folder_new_builtin(const struct mlc_checkpoint_kind *kind,
                       struct mlc_folder **ret)
{
    __attribute__((cleanup(mlc_cleanup_folder))) struct mlc_folder *f = NULL;
    const struct document last = {
        "scheduler/scheduler_config.json",
        {scheduler_all, scheduler(kind)},
    };
    const struct document *d = documents(kind->family);
    int r = d ? mlc_folder_new(&f) : -EINVAL;

    for (; r == 0 && d->path; d++) {
        /* There it comes with the depth estimator. */
        if (kind->task == MLC_TASK_DEPTH &&
            strcmp(d->path, "feature_extractor/preprocessor_config.json") == 0)
            continue;
        r = add_document(f, kind, d);
    }
    if (r == 0)
        r = add_document(f, kind, &last);
    if (r < 0)
        return r;
    *ret = mlc_steal(&f);
    return 0;
}
