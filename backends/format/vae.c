/* SPDX-License-Identifier: MIT */
/* AutoencoderKL (facts: checkpoints 3.3).  Only the attention's matrices change
 * their shape, and no byte. */
#include "config.h"

#include <stdbool.h>

#include "backends/format/members.h"
#include "backends/format/wants.h"

#define MAX_LAYERS 64

struct vae {
    uint64_t in, out, latent; /* channels */
    uint64_t layers;          /* resnets of a level in the encoder */
    size_t n_levels;
    uint64_t widths[MLC_MAX_LEVELS];
    bool has_attention, has_quant, has_post_quant;
};

/* --- the configuration ------------------------------------------------ */

static int
read_config(struct mlc_members *m, struct vae *v)
{
    bool is_known[MLC_MAX_LEVELS];

    mlc_members_only(m, "_class_name", "AutoencoderKL");
    v->in = mlc_members_count(m, "in_channels", 3);
    v->out = mlc_members_count(m, "out_channels", 3);
    v->latent = mlc_members_count(m, "latent_channels", 4);
    v->layers = mlc_members_count(m, "layers_per_block", 1);
    v->n_levels = mlc_members_counts(m, "block_out_channels", 1, 64, v->widths);
    mlc_members_choices(m, "down_block_types", v->n_levels,
                        "DownEncoderBlock2D", "DownEncoderBlock2D", is_known);
    mlc_members_choices(m, "up_block_types", v->n_levels, "UpDecoderBlock2D",
                        "UpDecoderBlock2D", is_known);
    v->has_attention = mlc_members_flag(m, "mid_block_add_attention", true);
    v->has_quant = mlc_members_flag(m, "use_quant_conv", true);
    v->has_post_quant = mlc_members_flag(m, "use_post_quant_conv", true);
    if (v->layers > MAX_LAYERS)
        mlc_members_fail(m, "layers_per_block", "out of range");
    return m->r;
}

/* --- its pieces ------------------------------------------------------- */

static void
want_resnet(struct mlc_wants *w, const struct mlc_at *at, uint64_t in,
            uint64_t out)
{
    mlc_want_norm(w, at, "norm1", "norm1", in);
    mlc_want_conv(w, at, "conv1", "conv1", out, in, 3);
    mlc_want_norm(w, at, "norm2", "norm2", out);
    mlc_want_conv(w, at, "conv2", "conv2", out, out, 3);
    if (in != out)
        mlc_want_conv(w, at, "nin_shortcut", "conv_shortcut", out, in, 1);
}

/* Checkpoints have a 1x1 convolution where diffusers has a matrix. */
static void
want_projection(struct mlc_wants *w, const struct mlc_at *at,
                const char *source, const char *name, uint64_t width)
{
    size_t first = w->n;

    mlc_want_linear(w, at, source, name, width, width);
    if (w->r == 0)
        w->all[first].may_have_ones = true;
}

static void
want_middle(struct mlc_wants *w, const struct vae *v, const char *side,
            uint64_t width)
{
    const struct mlc_at first = {
        mlc_namef("%s.mid.block_1", side),
        mlc_namef("%s.mid_block.resnets.0", side),
    };
    const struct mlc_at attention = {
        mlc_namef("%s.mid.attn_1", side),
        mlc_namef("%s.mid_block.attentions.0", side),
    };
    const struct mlc_at second = {
        mlc_namef("%s.mid.block_2", side),
        mlc_namef("%s.mid_block.resnets.1", side),
    };

    want_resnet(w, &first, width, width);
    if (v->has_attention) {
        mlc_want_norm(w, &attention, "norm", "group_norm", width);
        want_projection(w, &attention, "q", "to_q", width);
        want_projection(w, &attention, "k", "to_k", width);
        want_projection(w, &attention, "v", "to_v", width);
        want_projection(w, &attention, "proj_out", "to_out.0", width);
    }
    want_resnet(w, &second, width, width);
}

/* --- the whole -------------------------------------------------------- */

static void
want_encoder(struct mlc_wants *w, const struct vae *v)
{
    static const struct mlc_at encoder = {{"encoder"}, {"encoder"}};
    uint64_t width = v->widths[0];
    unsigned k, j;

    mlc_want_conv(w, &encoder, "conv_in", "conv_in", width, v->in, 3);
    for (k = 0; k < v->n_levels; k++) {
        for (j = 0; j < v->layers; j++) {
            const struct mlc_at resnet = {
                mlc_namef("encoder.down.%u.block.%u", k, j),
                mlc_namef("encoder.down_blocks.%u.resnets.%u", k, j),
            };

            want_resnet(w, &resnet, width, v->widths[k]);
            width = v->widths[k];
        }
        if (k + 1 < v->n_levels)
            mlc_want_conv(w, &encoder,
                          mlc_namef("down.%u.downsample.conv", k).s,
                          mlc_namef("down_blocks.%u.downsamplers.0.conv", k).s,
                          width, width, 3);
    }
    want_middle(w, v, "encoder", width);
    mlc_want_norm(w, &encoder, "norm_out", "conv_norm_out", width);
    mlc_want_conv(w, &encoder, "conv_out", "conv_out", 2 * v->latent, width, 3);
}

/* Checkpoints count the decoder's levels from the widest image, diffusers in
 * the order of computing. */
static void
want_decoder(struct mlc_wants *w, const struct vae *v)
{
    static const struct mlc_at decoder = {{"decoder"}, {"decoder"}};
    uint64_t width = v->widths[v->n_levels - 1];
    unsigned i, j;

    mlc_want_conv(w, &decoder, "conv_in", "conv_in", width, v->latent, 3);
    want_middle(w, v, "decoder", width);
    for (i = 0; i < v->n_levels; i++) {
        unsigned k = (unsigned)v->n_levels - 1 - i;

        for (j = 0; j <= v->layers; j++) {
            const struct mlc_at resnet = {
                mlc_namef("decoder.up.%u.block.%u", k, j),
                mlc_namef("decoder.up_blocks.%u.resnets.%u", i, j),
            };

            want_resnet(w, &resnet, width, v->widths[k]);
            width = v->widths[k];
        }
        if (k > 0)
            mlc_want_conv(w, &decoder, mlc_namef("up.%u.upsample.conv", k).s,
                          mlc_namef("up_blocks.%u.upsamplers.0.conv", i).s,
                          width, width, 3);
    }
    mlc_want_norm(w, &decoder, "norm_out", "conv_norm_out", width);
    mlc_want_conv(w, &decoder, "conv_out", "conv_out", v->out, width, 3);
}

int
mlc_vae_wants(const json_t *config, const char *path, struct mlc_wants *w,
              char **ret_err)
{
    static const struct mlc_at top = {{""}, {""}};
    struct mlc_members m = {
        .object = config,
        .path = path,
        .ret_err = ret_err,
    };
    struct vae v;
    int r = read_config(&m, &v);

    if (r < 0)
        return r;
    want_encoder(w, &v);
    want_decoder(w, &v);
    if (v.has_quant)
        mlc_want_conv(w, &top, "quant_conv", "quant_conv", 2 * v.latent,
                      2 * v.latent, 1);
    if (v.has_post_quant)
        mlc_want_conv(w, &top, "post_quant_conv", "post_quant_conv", v.latent,
                      v.latent, 1);
    return 0;
}
