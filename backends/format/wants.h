/* SPDX-License-Identifier: MIT */
/* The tensors that a component must have, and what each is in a checkpoint: one
 * list, made by walking the model as its configuration describes it, with both
 * names side by side (facts: checkpoints 3 and 7.1). */
#ifndef MLC_FORMAT_WANTS_H
#define MLC_FORMAT_WANTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/format/layout.h"

/* Hostile configurations end here; an SDXL UNet has 1680. */
#define MLC_MAX_WANTS ((size_t)10000)

struct mlc_want {
    char *name;        /* owned; in diffusers */
    char *source_name; /* owned; in the checkpoint, without a prefix */
    unsigned n_dims;
    uint64_t shape[MLC_TARGET_MAX_DIMS]; /* the target's */
    /* The target is the part-th of n_parts equal runs of the source's rows. */
    unsigned part, n_parts;
    enum mlc_transform transform;
    bool may_have_ones; /* the source's shape may go on with ones */
};

struct mlc_wants {
    struct mlc_want *all;
    size_t n, cap;
    int r; /* the first failure: -ENOMEM, or -EFBIG beyond the maximum */
};

void mlc_wants_done(struct mlc_wants *w);

/* A name with numbers in it; too long a one is cut. */
struct mlc_name {
    char s[64];
};
struct mlc_name mlc_namef(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* Each of the following adds tensors: source and name are the modules' names
 * inside those of 'at', and what is added is name.weight and, but for a
 * matrix, name.bias. */
struct mlc_at {
    struct mlc_name source, name; /* "": none */
};
/* One tensor, of this very name.  The new one, until the next call; NULL after
 * a failure. */
struct mlc_want *mlc_want(struct mlc_wants *w, const struct mlc_at *at,
                          const char *source, const char *name, unsigned n_dims,
                          const uint64_t *shape);
void mlc_want_norm(struct mlc_wants *w, const struct mlc_at *at,
                   const char *source, const char *name, uint64_t n);
void mlc_want_matrix(struct mlc_wants *w, const struct mlc_at *at,
                     const char *source, const char *name, uint64_t out,
                     uint64_t in);
void mlc_want_linear(struct mlc_wants *w, const struct mlc_at *at,
                     const char *source, const char *name, uint64_t out,
                     uint64_t in);
void mlc_want_conv(struct mlc_wants *w, const struct mlc_at *at,
                   const char *source, const char *name, uint64_t out,
                   uint64_t in, uint64_t kernel);

/* The components.  config: a JSON object; path: its file, for what is said.  0;
 * -EBADMSG with *ret_err set: a configuration that isn't known; w->r may be set
 * either way. */
int mlc_unet_wants(const json_t *config, const char *path, struct mlc_wants *w,
                   char **ret_err);
int mlc_vae_wants(const json_t *config, const char *path, struct mlc_wants *w,
                  char **ret_err);
/* Of the transformers library's own names, as SD1 and SDXL's first have it. */
int mlc_clip_wants(const json_t *config, const char *path, struct mlc_wants *w,
                   char **ret_err);
/* Of OpenCLIP's names, as SD2 and SDXL's second have it. */
int mlc_openclip_wants(const json_t *config, const char *path,
                       bool has_projection, struct mlc_wants *w,
                       char **ret_err);

#endif
