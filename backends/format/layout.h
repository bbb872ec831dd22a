/* SPDX-License-Identifier: MIT */
/* Layouts: the weight files of a diffusers folder, each a header of its own and
 * after it tensors, every one a range of bytes of a checkpoint.
 *
 * Which tensors there are, and their shapes, follows from the folder's
 * configurations; which tensor of the checkpoint each of them is, from its name
 * alone (facts: checkpoints 3).  A checkpoint that lacks one, or has it in
 * another shape, is refused by that tensor's name; all else that is in it is
 * left alone.  dtypes are passed through, tensor by tensor.
 *
 * A layout is immutable once made.  Errors as in safetensors.h. */
#ifndef MLC_FORMAT_LAYOUT_H
#define MLC_FORMAT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/format/checkpoint.h"
#include "backends/format/safetensors.h"

struct mlc_folder;

enum mlc_part {
    MLC_PART_UNET,
    MLC_PART_VAE,
    MLC_PART_TEXT_ENCODER,
    MLC_PART_TEXT_ENCODER_2,
    MLC_N_PARTS,
};

/* The files that tensors lie in. */
enum mlc_origin {
    MLC_ORIGIN_CHECKPOINT,
    MLC_ORIGIN_VAE, /* the one that `vae` names */
};

enum mlc_transform {
    MLC_COPY,
    MLC_TRANSPOSE, /* of a matrix: shape[] is the target's; the source's is
                      the reverse */
};

#define MLC_TARGET_MAX_DIMS 4

struct mlc_target {
    /* As the header has it; sorted by begin, without holes.  begin and end
     * are offsets in the component's file. */
    struct mlc_tensor tensor;
    /* Its name in diffusers, always with "text_model." where CLIPTextModel had
     * it before transformers 5.6: what LoRA files call it, less ".weight". */
    char *name; /* owned */
    /* Its name in the checkpoint without the component's prefix
     * ("input_blocks.1.1.proj_in.weight"); of a part of a tensor (q, k, v of
     * in_proj) the whole tensor's.  Equals name in a VAE of diffusers' form. */
    char *source_name; /* owned */
    /* First byte in the file of component.origin; as many as the target. */
    uint64_t source_begin;
    enum mlc_transform transform;
    uint64_t dims[MLC_TARGET_MAX_DIMS]; /* tensor.shape points here */
};

/* One weights file. */
struct mlc_component {
    enum mlc_part part;
    enum mlc_origin origin;
    const char *folder; /* "unet", "text_encoder_2" */
    /* Of text encoders: flat names exist (a CLIPTextModel). */
    bool has_flat_names;
    enum mlc_dtype dtype; /* what most of its bytes are */
    char *header;         /* canonical, first 8 bytes included */
    size_t header_len;
    uint64_t size; /* bytes of the file */
    struct mlc_target *targets;
    size_t n_targets;
};

struct mlc_layout {
    enum mlc_family family; /* told by the UNet's configuration */
    struct mlc_component *components;
    size_t n_components;
};

struct mlc_layout_options {
    bool flat_clip_names; /* what transformers >= 5.6 would save */
};

/* vae may be NULL: its tensors are the checkpoint's.  Neither is needed
 * afterwards.  Also -EBADMSG where the folder's configurations are of a form
 * that is not known. */
int mlc_layout_new(const struct mlc_folder *folder,
                   const struct mlc_safetensors *checkpoint,
                   const struct mlc_safetensors *vae,
                   const struct mlc_layout_options *options,
                   struct mlc_layout **ret, char **ret_err);
void mlc_layout_free(struct mlc_layout *l); /* takes NULL */

/* NULL: the folder has none. */
const struct mlc_component *mlc_layout_find(const struct mlc_layout *l,
                                            enum mlc_part part);
/* The target that holds the file's byte at offset; NULL: that is the header's,
 * or past the end.  Empty targets hold no byte. */
const struct mlc_target *mlc_component_at(const struct mlc_component *c,
                                          uint64_t offset);
/* Name of a component's weights file: "model.fp16.safetensors".  variant may be
 * NULL.  Caller frees; NULL: no memory. */
char *mlc_component_file(const struct mlc_component *c, const char *variant);

#endif
