/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/checkpoint.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "backends/format/safetensors.h"
#include "backends/util/refuse.h"

#define UNET   "model.diffusion_model."
#define BLOCKS UNET "input_blocks."

const char *
mlc_family_name(enum mlc_family family)
{
    switch (family) {
    case MLC_FAMILY_OTHER:
        break;
    case MLC_FAMILY_SD1:
        return "Stable Diffusion 1";
    case MLC_FAMILY_SD2:
        return "Stable Diffusion 2";
    case MLC_FAMILY_SDXL:
        return "SDXL";
    case MLC_FAMILY_REFINER:
        return "SDXL refiner";
    }
    return "of no known family";
}

/* --- what can't be used ----------------------------------------------- */

int
mlc_checkpoint_check(const struct mlc_safetensors *f, char **ret_err)
{
    static const char *const markers[] = {
        ".scale_weight", "scaled_fp8",   ".weight_scale", "bitsandbytes",
        "quant_state",   ".comfy_quant", ".absmax",
    };
    size_t i, k;

    for (i = 0; i < mlc_safetensors_n_tensors(f); i++) {
        const char *name = mlc_safetensors_get(f, i)->name;

        for (k = 0; k < sizeof markers / sizeof *markers; k++) {
            if (strstr(name, markers[k]))
                return mlc_refuse(ret_err,
                                  "its weights are quantised (tensor '%.*s'): "
                                  "take a version in fp16, bf16 or fp32",
                                  MLC_SHOWN(name));
        }
    }
    return 0;
}

/* Names that tell another kind of file, the first that is found counts. */
static const struct {
    const char *prefix;
    const char *what;
} others[] = {
    {"control_model.", "a ControlNet"},
    {"controlnet_cond_embedding.", "a ControlNet"},
    {"clip_txt_mapper.", "Stable Cascade"},
    {"down_blocks.1.0.channelwise.", "Stable Cascade"},
    {UNET "joint_blocks.", "Stable Diffusion 3"},
    {"joint_blocks.", "Stable Diffusion 3"},
    {UNET "single_stream_modulation.", "FLUX.2"},
    {"single_stream_modulation.", "FLUX.2"},
    {UNET "distilled_guidance_layer.", "Chroma"},
    {"distilled_guidance_layer.", "Chroma"},
    {UNET "double_blocks.", "FLUX"},
    {"double_blocks.", "FLUX"},
    {UNET "input_blocks.1.0.time_stack.", "Stable Video Diffusion"},
    {"down_blocks.0.motion_modules.", "an AnimateDiff motion module"},
};

static int
refuse_others(const struct mlc_safetensors *f, char **ret_err)
{
    size_t i;

    for (i = 0; i < sizeof others / sizeof *others; i++) {
        if (mlc_safetensors_find_prefix(f, others[i].prefix))
            return mlc_refuse(ret_err,
                              "%s: only checkpoints of Stable Diffusion 1 and "
                              "2, SDXL and its refiner can be used; take the "
                              "model's diffusers folder, through hf/",
                              others[i].what);
    }
    return 0;
}

/* No UNet is in it: what else may it be? */
static int
refuse_no_unet(const struct mlc_safetensors *f, char **ret_err)
{
    if (mlc_safetensors_find_prefix(f, "lora_unet_") ||
        mlc_safetensors_find_prefix(f, "lora_te"))
        return mlc_refuse(ret_err, "a LoRA, no checkpoint: name it as `lora`");
    if (mlc_safetensors_find_prefix(f, "down_blocks.") ||
        mlc_safetensors_find_prefix(f, "encoder.down_blocks.") ||
        mlc_safetensors_find_prefix(f, "text_model."))
        return mlc_refuse(ret_err, "a weights file of a diffusers folder, no "
                                   "checkpoint: use that folder");
    if (mlc_safetensors_find_prefix(f, "encoder.conv_in.") ||
        mlc_safetensors_find_prefix(f, "first_stage_model."))
        return mlc_refuse(ret_err, "a VAE alone, no checkpoint: name it as "
                                   "`vae`");
    return mlc_refuse(ret_err, "no checkpoint of a known family: no tensor's "
                               "name begins with '" BLOCKS "'");
}

/* --- the family ------------------------------------------------------- */

/* Size of a matrix's second dimension; 0: there is none. */
static uint64_t
columns(const struct mlc_safetensors *f, const char *name)
{
    const struct mlc_tensor *t = mlc_safetensors_find(f, name);

    return t && t->n_dims >= 2 ? t->shape[1] : 0;
}

/* The width of the text that the first cross attention takes. */
static uint64_t
context_width(const struct mlc_safetensors *f)
{
    static const char end[] = ".attn2.to_k.weight";
    const struct mlc_tensor *t = mlc_safetensors_find_prefix(f, BLOCKS);
    const struct mlc_tensor *last =
        mlc_safetensors_get(f, mlc_safetensors_n_tensors(f) - 1);

    for (; t <= last && strncmp(t->name, BLOCKS, strlen(BLOCKS)) == 0; t++) {
        size_t len = strlen(t->name);

        if (len >= strlen(end) && t->n_dims == 2 &&
            strcmp(t->name + len - strlen(end), end) == 0)
            return t->shape[1];
    }
    return 0;
}

static enum mlc_family
family_of(uint64_t context, uint64_t addition)
{
    static const struct {
        enum mlc_family family;
        uint64_t context, addition;
    } families[] = {
        {MLC_FAMILY_SD1, 768, 0},
        {MLC_FAMILY_SD2, 1024, 0},
        {MLC_FAMILY_SDXL, 2048, 2816},
        {MLC_FAMILY_REFINER, 1280, 2560},
    };
    size_t i;

    for (i = 0; i < sizeof families / sizeof *families; i++) {
        if (families[i].context == context && families[i].addition == addition)
            return families[i].family;
    }
    return MLC_FAMILY_OTHER;
}

/* False: no model of that family has as many channels. */
static bool
task_of(enum mlc_family family, uint64_t channels, enum mlc_task *ret)
{
    switch (channels) {
    case 4:
        *ret = MLC_TASK_TEXT;
        return true;
    case 9:
        *ret = MLC_TASK_INPAINT;
        return family != MLC_FAMILY_REFINER;
    case 8:
        *ret = MLC_TASK_EDIT;
        return family == MLC_FAMILY_SD1;
    case 5:
        *ret = MLC_TASK_DEPTH;
        return family == MLC_FAMILY_SD2;
    default:
        return false;
    }
}

int
mlc_checkpoint_detect(const struct mlc_safetensors *f,
                      struct mlc_checkpoint_kind *ret, char **ret_err)
{
    struct mlc_checkpoint_kind kind = {.family = MLC_FAMILY_OTHER};
    uint64_t context, addition, channels;
    int r = mlc_checkpoint_check(f, ret_err);

    if (r == 0)
        r = refuse_others(f, ret_err);
    if (r < 0)
        return r;
    if (!mlc_safetensors_find_prefix(f, BLOCKS))
        return refuse_no_unet(f, ret_err);
    if (mlc_safetensors_find(f, "edm_mean"))
        return mlc_refuse(ret_err, "it is Playground 2.5 or its like, which "
                                   "needs a `config` of its own");

    context = context_width(f);
    addition = columns(f, UNET "label_emb.0.0.weight");
    channels = columns(f, BLOCKS "0.0.weight");
    kind.family = family_of(context, addition);
    if (kind.family == MLC_FAMILY_OTHER)
        return mlc_refuse(ret_err,
                          "a UNet of no known family (text of width %" PRIu64
                          ", label_emb of %" PRIu64
                          "): name a `config` that describes it",
                          context, addition);
    if (!task_of(kind.family, channels, &kind.task))
        return mlc_refuse(ret_err,
                          "%s with %" PRIu64 " input channels isn't known: "
                          "name a `config` that describes it",
                          mlc_family_name(kind.family), channels);
    *ret = kind;
    return 0;
}
