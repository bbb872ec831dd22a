/* SPDX-License-Identifier: MIT */
/* A LoRA's file: which of its tensors go to which tensors of a diffusers
 * folder, and with what scale.  The arithmetic is merge.h's.
 *
 * Read are kohya's files (sd-scripts, LyCORIS "locon", trainers that write the
 * same), PEFT's as diffusers saves them, and the two older forms of diffusers.
 * Names are not parsed but looked up: a table holds each module by its
 * flattened diffusers name and its flattened name in the checkpoint.
 * Everything else (DoRA, LoHa, LoKr, ...), and what doesn't fit the model, is
 * refused with a sentence that says why.
 *
 * Known differences from diffusers, all of them where it ignores, mistakes or
 * refuses what the file says:
 *   - a module's scale is its own alpha by its own rank, or 1.  diffusers gives
 *     attention projections the most frequent alpha of the component, where a
 *     file's alphas are not all equal, and so modules without one where others
 *     have theirs;
 *   - names of the checkpoint in files for SD 1 and 2, and for the refiner, and
 *     add_embedding_linear_*: it ignores them, or fails;
 *   - text encoders without an attention out_proj among kohya's keys, or whose
 *     text_projection has a rank of its own: it fails;
 *   - 1x1 factors of 4 dimensions on a linear layer, of 2 on a convolution, and
 *     a lora_B.bias where another module of the file has no bias: it fails.
 *
 * Locks: none; what was built can be read by several threads. */
#ifndef MLC_FORMAT_LORA_H
#define MLC_FORMAT_LORA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/format/layout.h"
#include "backends/format/safetensors.h"

/* A tensor that is served.  All of a folder's may be given (layout.h has these
 * fields by the same names): what no LoRA can change is passed over. */
struct mlc_lora_target {
    enum mlc_part part;
    const char *name; /* "mid_block.attentions.0.proj_in.weight"; in a text
                       * encoder with or without "text_model." */
    const char *source_name; /* "middle_block.1.proj_in.weight"; used of the
                              * UNet's alone; NULL: none */
    enum mlc_dtype dtype;
    unsigned n_dims;
    const uint64_t *shape;
};

/* The table of a model's modules. */
struct mlc_lora_names;

/* What the targets point to is borrowed, and must outlive the table; the array
 * isn't needed afterwards.  0; -EEXIST: two modules flatten to one name;
 * -ENOMEM. */
int mlc_lora_names_new(const struct mlc_lora_target *targets, size_t n,
                       struct mlc_lora_names **ret_names);
void mlc_lora_names_free(struct mlc_lora_names *names); /* takes NULL */
/* Modules in it, of a part. */
size_t mlc_lora_names_count(const struct mlc_lora_names *names,
                            enum mlc_part part);

/* Values in the LoRA's file, packed. */
struct mlc_lora_factor {
    uint64_t offset;      /* from the start of the file */
    uint64_t len;         /* bytes; 0: absent (a, of a bias) */
    enum mlc_dtype dtype; /* F16, BF16, F32 or F64 */
};

/* What a LoRA adds to one target: arguments of merge.h. */
struct mlc_lora_delta {
    size_t target;            /* its index among those given */
    struct mlc_lora_factor a; /* rank x columns */
    struct mlc_lora_factor b; /* rows x rank */
    uint32_t rank;
    bool is_conv;   /* a kernel larger than 1x1 */
    double alpha;   /* see mlc_lora_scale() */
    double divisor; /* the rank, or its root (rslora) */
};

struct mlc_lora {
    struct mlc_lora_delta *deltas; /* by ascending target, one a target */
    size_t n_deltas;
    size_t n_modules;      /* of the file */
    size_t n_unmatched;    /* those of them that the model doesn't have */
    char *first_unmatched; /* the name of one; NULL: none */
};

/* Bytes of the LoRA's file. */
struct mlc_lora_span {
    uint64_t offset, len;
};

/* What gives its bytes. */
struct mlc_lora_reader {
    /* All that will be read (alphas, of 8 bytes at most), by ascending offset,
     * n > 0: told once, before the first of them is read.  0; or a negative
     * errno, -EAGAIN when some are to be fetched first.  NULL: all are there.
     */
    int (*want)(void *arg, const struct mlc_lora_span *spans, size_t n);
    /* 0 or a negative errno. */
    int (*read)(void *arg, uint64_t offset, void *ret_bytes, size_t len);
    void *arg;
};

/* 0; -EBADMSG: refused, *ret_why (may be NULL) is a sentence the caller frees,
 * NULL when memory ran out; -ENOMEM; or what the reader returned, and then it
 * can be called again.  Names and shapes are checked before anything is read.
 * The file isn't needed afterwards. */
int mlc_lora_new(const struct mlc_lora_names *names,
                 const struct mlc_safetensors *file,
                 const struct mlc_lora_reader *reader,
                 struct mlc_lora **ret_lora, char **ret_why);
void mlc_lora_free(struct mlc_lora *lora); /* takes NULL */
/* What it adds to a target; NULL: nothing. */
const struct mlc_lora_delta *mlc_lora_find(const struct mlc_lora *lora,
                                           size_t target);
/* s of merge.h, for a LoRA of this weight (set_adapters()' scale) under an
 * overall one (fuse_lora()'s lora_scale). */
double mlc_lora_scale(const struct mlc_lora_delta *delta, double weight,
                      double overall);

#endif
