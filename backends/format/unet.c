/* SPDX-License-Identifier: MIT */
/* UNet2DConditionModel: Stable Diffusion 1 and 2, SDXL and its refiner (facts:
 * checkpoints 3.2).  Every tensor is the source's, unchanged. */
#include "config.h"

#include <stdbool.h>

#include "backends/format/members.h"
#include "backends/format/wants.h"

#define MAX_LAYERS 64

struct unet {
    uint64_t in, out;
    uint64_t layers; /* resnets of a level, on its way down */
    size_t n_levels;
    uint64_t widths[MLC_MAX_LEVELS];
    uint64_t depths[MLC_MAX_LEVELS]; /* blocks of a transformer */
    bool attends_down[MLC_MAX_LEVELS];
    bool attends_up[MLC_MAX_LEVELS];
    bool is_linear;    /* projections into transformers: matrices */
    uint64_t context;  /* width of the text */
    uint64_t time;     /* width of the time's embedding */
    uint64_t addition; /* width of what is added to it; 0: nothing is */
};

/* --- the configuration ------------------------------------------------ */

/* What the maps don't know must not be there. */
static void
refuse_unknown(struct mlc_members *m)
{
    static const struct {
        const char *key, *value;
    } only[] = {
        {"_class_name", "UNet2DConditionModel"},
        {"addition_embed_type", "text_time"},
        {"attention_type", "default"},
        {"class_embed_type", NULL},
        {"class_embeddings_concat", NULL},
        {"cross_attention_norm", NULL},
        {"dual_cross_attention", NULL},
        {"encoder_hid_dim", NULL},
        {"encoder_hid_dim_type", NULL},
        {"mid_block_only_cross_attention", NULL},
        {"mid_block_type", "UNetMidBlock2DCrossAttn"},
        {"num_class_embeds", NULL},
        {"only_cross_attention", NULL},
        {"resnet_time_scale_shift", "default"},
        {"reverse_transformer_layers_per_block", NULL},
        {"time_cond_proj_dim", NULL},
        {"time_embedding_type", "positional"},
    };
    size_t i;

    for (i = 0; i < sizeof only / sizeof *only; i++)
        mlc_members_only(m, only[i].key, only[i].value);
}

/* Up blocks are listed from the deepest level. */
static void
read_blocks(struct mlc_members *m, struct unet *u)
{
    bool up[MLC_MAX_LEVELS] = {false};
    size_t i;

    mlc_members_choices(m, "down_block_types", u->n_levels,
                        "CrossAttnDownBlock2D", "DownBlock2D", u->attends_down);
    mlc_members_choices(m, "up_block_types", u->n_levels, "CrossAttnUpBlock2D",
                        "UpBlock2D", up);
    for (i = 0; i < u->n_levels; i++)
        u->attends_up[i] = up[u->n_levels - 1 - i];
}

static int
read_config(struct mlc_members *m, struct unet *u)
{
    size_t n;

    refuse_unknown(m);
    u->in = mlc_members_count(m, "in_channels", 4);
    u->out = mlc_members_count(m, "out_channels", 4);
    u->layers = mlc_members_count(m, "layers_per_block", 2);
    u->n_levels = mlc_members_counts(m, "block_out_channels", 0, 0, u->widths);
    n = mlc_members_counts(m, "transformer_layers_per_block", u->n_levels, 1,
                           u->depths);
    read_blocks(m, u);
    u->is_linear = mlc_members_flag(m, "use_linear_projection", false);
    u->context = mlc_members_count(m, "cross_attention_dim", 1280);
    u->time = mlc_members_count(m, "time_embedding_dim", 4 * u->widths[0]);
    u->addition = 0;
    if (mlc_members_string(m, "addition_embed_type", NULL))
        u->addition =
            mlc_members_count(m, "projection_class_embeddings_input_dim", 0);
    if (m->r == 0 && (n != u->n_levels || u->layers > MAX_LAYERS))
        mlc_members_fail(m, "layers_per_block",
                         "it or transformer_layers_per_block is out of range");
    return m->r;
}

/* --- its pieces ------------------------------------------------------- */

static void
want_resnet(struct mlc_wants *w, const struct unet *u, const struct mlc_at *at,
            uint64_t in, uint64_t out)
{
    mlc_want_norm(w, at, "in_layers.0", "norm1", in);
    mlc_want_conv(w, at, "in_layers.2", "conv1", out, in, 3);
    mlc_want_linear(w, at, "emb_layers.1", "time_emb_proj", out, u->time);
    mlc_want_norm(w, at, "out_layers.0", "norm2", out);
    mlc_want_conv(w, at, "out_layers.3", "conv2", out, out, 3);
    if (in != out)
        mlc_want_conv(w, at, "skip_connection", "conv_shortcut", out, in, 1);
}

/* Names inside a transformer are the same on both sides. */
static void
want_attention(struct mlc_wants *w, const struct mlc_at *at, const char *name,
               uint64_t width, uint64_t context)
{
    struct mlc_name part;

    part = mlc_namef("%s.to_q", name);
    mlc_want_matrix(w, at, part.s, part.s, width, width);
    part = mlc_namef("%s.to_k", name);
    mlc_want_matrix(w, at, part.s, part.s, width, context);
    part = mlc_namef("%s.to_v", name);
    mlc_want_matrix(w, at, part.s, part.s, width, context);
    part = mlc_namef("%s.to_out.0", name);
    mlc_want_linear(w, at, part.s, part.s, width, width);
}

static void
want_transformer_block(struct mlc_wants *w, const struct unet *u,
                       const struct mlc_at *at, uint64_t width)
{
    want_attention(w, at, "attn1", width, width);
    want_attention(w, at, "attn2", width, u->context);
    mlc_want_norm(w, at, "norm1", "norm1", width);
    mlc_want_norm(w, at, "norm2", "norm2", width);
    mlc_want_norm(w, at, "norm3", "norm3", width);
    mlc_want_linear(w, at, "ff.net.0.proj", "ff.net.0.proj", 8 * width, width);
    mlc_want_linear(w, at, "ff.net.2", "ff.net.2", width, 4 * width);
}

static void
want_transformer(struct mlc_wants *w, const struct unet *u,
                 const struct mlc_at *at, uint64_t width, uint64_t depth)
{
    unsigned i;

    mlc_want_norm(w, at, "norm", "norm", width);
    if (u->is_linear) {
        mlc_want_linear(w, at, "proj_in", "proj_in", width, width);
        mlc_want_linear(w, at, "proj_out", "proj_out", width, width);
    } else {
        mlc_want_conv(w, at, "proj_in", "proj_in", width, width, 1);
        mlc_want_conv(w, at, "proj_out", "proj_out", width, width, 1);
    }
    for (i = 0; i < depth && w->r == 0; i++) {
        const struct mlc_at inside = {
            mlc_namef("%s.transformer_blocks.%u", at->source.s, i),
            mlc_namef("%s.transformer_blocks.%u", at->name.s, i),
        };

        want_transformer_block(w, u, &inside, width);
    }
}

/* --- the whole -------------------------------------------------------- */

/* Widths that the input blocks give, which the output blocks take back. */
struct skips {
    uint64_t widths[MLC_MAX_LEVELS * (MAX_LAYERS + 1) + 1];
    size_t n;
};

/* The n-th block of "input_blocks" or "output_blocks": the j-th resnet of a
 * level, and its transformer if it has one. */
static void
want_block(struct mlc_wants *w, const struct unet *u, const char *blocks,
           unsigned n, const char *level, unsigned j, uint64_t in, uint64_t out,
           uint64_t depth)
{
    const struct mlc_at resnet = {
        mlc_namef("%s.%u.0", blocks, n),
        mlc_namef("%s.resnets.%u", level, j),
    };
    const struct mlc_at transformer = {
        mlc_namef("%s.%u.1", blocks, n),
        mlc_namef("%s.attentions.%u", level, j),
    };

    want_resnet(w, u, &resnet, in, out);
    if (depth > 0)
        want_transformer(w, u, &transformer, out, depth);
}

static const struct mlc_at top = {.source = {""}, .name = {""}};

static void
want_ends(struct mlc_wants *w, const struct unet *u)
{
    uint64_t width = u->widths[0];

    mlc_want_linear(w, &top, "time_embed.0", "time_embedding.linear_1", u->time,
                    width);
    mlc_want_linear(w, &top, "time_embed.2", "time_embedding.linear_2", u->time,
                    u->time);
    if (u->addition > 0) {
        mlc_want_linear(w, &top, "label_emb.0.0", "add_embedding.linear_1",
                        u->time, u->addition);
        mlc_want_linear(w, &top, "label_emb.0.2", "add_embedding.linear_2",
                        u->time, u->time);
    }
    mlc_want_conv(w, &top, "input_blocks.0.0", "conv_in", width, u->in, 3);
    mlc_want_norm(w, &top, "out.0", "conv_norm_out", width);
    mlc_want_conv(w, &top, "out.2", "conv_out", u->out, width, 3);
}

/* Gives the width at the bottom. */
static uint64_t
want_down(struct mlc_wants *w, const struct unet *u, struct skips *skips)
{
    uint64_t width = u->widths[0];
    unsigned n = 1; /* block 0 is conv_in */
    unsigned i, j;

    skips->widths[skips->n++] = width;
    for (i = 0; i < u->n_levels && w->r == 0; i++) {
        struct mlc_name level = mlc_namef("down_blocks.%u", i);

        for (j = 0; j < u->layers; j++) {
            want_block(w, u, "input_blocks", n++, level.s, j, width,
                       u->widths[i], u->attends_down[i] ? u->depths[i] : 0);
            width = u->widths[i];
            skips->widths[skips->n++] = width;
        }
        if (i + 1 < u->n_levels) {
            mlc_want_conv(w, &top, mlc_namef("input_blocks.%u.0.op", n++).s,
                          mlc_namef("%s.downsamplers.0.conv", level.s).s, width,
                          width, 3);
            skips->widths[skips->n++] = width;
        }
    }
    return width;
}

static void
want_middle(struct mlc_wants *w, const struct unet *u, uint64_t width)
{
    static const struct mlc_at first = {{"middle_block.0"},
                                        {"mid_block.resnets.0"}};
    static const struct mlc_at transformer = {{"middle_block.1"},
                                              {"mid_block.attentions.0"}};
    static const struct mlc_at second = {{"middle_block.2"},
                                         {"mid_block.resnets.1"}};

    want_resnet(w, u, &first, width, width);
    want_transformer(w, u, &transformer, width, u->depths[u->n_levels - 1]);
    want_resnet(w, u, &second, width, width);
}

static void
want_up(struct mlc_wants *w, const struct unet *u, struct skips *skips,
        uint64_t width)
{
    unsigned n = 0;
    unsigned i, j;

    for (i = 0; i < u->n_levels && w->r == 0; i++) {
        struct mlc_name level = mlc_namef("up_blocks.%u", i);
        size_t k = u->n_levels - 1 - i;

        for (j = 0; j <= u->layers; j++) {
            want_block(w, u, "output_blocks", n++, level.s, j,
                       width + skips->widths[--skips->n], u->widths[k],
                       u->attends_up[k] ? u->depths[k] : 0);
            width = u->widths[k];
        }
        if (k > 0)
            mlc_want_conv(w, &top,
                          mlc_namef("output_blocks.%u.%d.conv", n - 1,
                                    u->attends_up[k] ? 2 : 1)
                              .s,
                          mlc_namef("%s.upsamplers.0.conv", level.s).s, width,
                          width, 3);
    }
}

int
mlc_unet_wants(const json_t *config, const char *path, struct mlc_wants *w,
               char **ret_err)
{
    struct mlc_members m = {
        .object = config,
        .path = path,
        .ret_err = ret_err,
    };
    struct skips skips = {.n = 0};
    struct unet u;
    uint64_t width;
    int r = read_config(&m, &u);

    if (r < 0)
        return r;
    want_ends(w, &u);
    width = want_down(w, &u, &skips);
    want_middle(w, &u, width);
    want_up(w, &u, &skips, width);
    return 0;
}
