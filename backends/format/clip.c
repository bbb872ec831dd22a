/* SPDX-License-Identifier: MIT */
/* Text encoders: CLIP-L, whose names in checkpoints are those of transformers,
 * and OpenCLIP's H and bigG (facts: checkpoints 3.4, 3.5).  Layers that the
 * checkpoint has beyond num_hidden_layers are left alone. */
#include "config.h"

#include <stdbool.h>

#include "backends/format/members.h"
#include "backends/format/wants.h"

struct clip {
    uint64_t width, inner; /* of a layer, and inside its MLP */
    uint64_t layers;
    uint64_t words, positions;
    uint64_t projection;
};

static int
read_config(struct mlc_members *m, struct clip *c)
{
    c->width = mlc_members_count(m, "hidden_size", 512);
    c->inner = mlc_members_count(m, "intermediate_size", 2048);
    c->layers = mlc_members_count(m, "num_hidden_layers", 12);
    c->words = mlc_members_count(m, "vocab_size", 49408);
    c->positions = mlc_members_count(m, "max_position_embeddings", 77);
    c->projection = mlc_members_count(m, "projection_dim", 512);
    return m->r;
}

/* --- CLIP --------------------------------------------------------------- */

static void
want_clip_layer(struct mlc_wants *w, const struct clip *c, unsigned i)
{
    static const char *const projections[] = {
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
    };
    const struct mlc_name name = mlc_namef("text_model.encoder.layers.%u", i);
    const struct mlc_at layer = {name, name};
    size_t p;

    mlc_want_norm(w, &layer, "layer_norm1", "layer_norm1", c->width);
    mlc_want_norm(w, &layer, "layer_norm2", "layer_norm2", c->width);
    for (p = 0; p < sizeof projections / sizeof *projections; p++)
        mlc_want_linear(w, &layer, projections[p], projections[p], c->width,
                        c->width);
    mlc_want_linear(w, &layer, "mlp.fc1", "mlp.fc1", c->inner, c->width);
    mlc_want_linear(w, &layer, "mlp.fc2", "mlp.fc2", c->width, c->inner);
}

int
mlc_clip_wants(const json_t *config, const char *path, struct mlc_wants *w,
               char **ret_err)
{
    static const struct mlc_at model = {{"text_model"}, {"text_model"}};
    struct mlc_members m = {
        .object = config,
        .path = path,
        .ret_err = ret_err,
    };
    struct clip c;
    unsigned i;
    int r = read_config(&m, &c);

    if (r < 0)
        return r;
    mlc_want_matrix(w, &model, "embeddings.token_embedding",
                    "embeddings.token_embedding", c.words, c.width);
    mlc_want_matrix(w, &model, "embeddings.position_embedding",
                    "embeddings.position_embedding", c.positions, c.width);
    mlc_want_norm(w, &model, "final_layer_norm", "final_layer_norm", c.width);
    for (i = 0; i < c.layers && w->r == 0; i++)
        want_clip_layer(w, &c, i);
    return 0;
}

/* --- OpenCLIP --------------------------------------------------------- */

/* The rows of in_proj are those of q, k and v. */
static void
want_in_proj(struct mlc_wants *w, const struct mlc_at *layer,
             const struct clip *c)
{
    static const char *const names[] = {"q_proj", "k_proj", "v_proj"};
    const uint64_t shape[] = {c->width, c->width};
    unsigned i;

    for (i = 0; i < 3; i++) {
        struct mlc_want *weight =
            mlc_want(w, layer, "attn.in_proj_weight",
                     mlc_namef("self_attn.%s.weight", names[i]).s, 2, shape);
        struct mlc_want *bias;

        if (weight) {
            weight->part = i;
            weight->n_parts = 3;
        }
        bias = mlc_want(w, layer, "attn.in_proj_bias",
                        mlc_namef("self_attn.%s.bias", names[i]).s, 1, shape);
        if (bias) {
            bias->part = i;
            bias->n_parts = 3;
        }
    }
}

static void
want_openclip_layer(struct mlc_wants *w, const struct clip *c, unsigned i)
{
    const struct mlc_at layer = {
        mlc_namef("transformer.resblocks.%u", i),
        mlc_namef("text_model.encoder.layers.%u", i),
    };

    mlc_want_norm(w, &layer, "ln_1", "layer_norm1", c->width);
    mlc_want_norm(w, &layer, "ln_2", "layer_norm2", c->width);
    want_in_proj(w, &layer, c);
    mlc_want_linear(w, &layer, "attn.out_proj", "self_attn.out_proj", c->width,
                    c->width);
    mlc_want_linear(w, &layer, "mlp.c_fc", "mlp.fc1", c->inner, c->width);
    mlc_want_linear(w, &layer, "mlp.c_proj", "mlp.fc2", c->width, c->inner);
}

static void
want_projection(struct mlc_wants *w, const struct clip *c)
{
    static const struct mlc_at top = {{""}, {""}};
    const uint64_t shape[] = {c->projection, c->width};
    struct mlc_want *want = mlc_want(w, &top, "text_projection",
                                     "text_projection.weight", 2, shape);

    if (want)
        want->transform = MLC_TRANSPOSE;
}

int
mlc_openclip_wants(const json_t *config, const char *path, bool has_projection,
                   struct mlc_wants *w, char **ret_err)
{
    static const struct mlc_at model = {{""}, {"text_model"}};
    struct mlc_members m = {
        .object = config,
        .path = path,
        .ret_err = ret_err,
    };
    struct clip c;
    uint64_t shape[2];
    unsigned i;
    int r = read_config(&m, &c);

    if (r < 0)
        return r;
    shape[0] = c.positions;
    shape[1] = c.width;
    mlc_want(w, &model, "positional_embedding",
             "embeddings.position_embedding.weight", 2, shape);
    mlc_want_matrix(w, &model, "token_embedding", "embeddings.token_embedding",
                    c.words, c.width);
    mlc_want_norm(w, &model, "ln_final", "final_layer_norm", c.width);
    for (i = 0; i < c.layers && w->r == 0; i++)
        want_openclip_layer(w, &c, i);
    if (has_projection)
        want_projection(w, &c);
    return 0;
}
