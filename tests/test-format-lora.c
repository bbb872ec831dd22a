/* SPDX-License-Identifier: MIT */
/* LoRA files: which tensors of a model they change, by how much, and what is
 * refused. */
#include "config.h"

#include "backends/format/lora.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/format/half.h"
#include "backends/util/buf.h"
#include "tests/fuzz/seed.h"

#define N_OF(array) (sizeof(array) / sizeof *(array))

/* ------------------------------------------------------------------------
 * Models: names by the rules of each family, narrow */

#define WIDTH 4
#define TEXT  "text_model.encoder.layers."

struct model {
    struct mlc_lora_target targets[3000];
    uint64_t shapes[3000][4];
    size_t n;
    size_t n_modules; /* of the UNet, those with norms too */
};

static void __attribute__((format(printf, 1, 0)))
copy_text(const char *fmt, va_list ap, char **ret)
{
    assert_true(vasprintf(ret, fmt, ap) >= 0);
}

static char *__attribute__((format(printf, 1, 2))) text(const char *fmt, ...)
{
    char *made;
    va_list ap;

    va_start(ap, fmt);
    copy_text(fmt, ap, &made);
    va_end(ap);
    return made;
}

/* kernel: 0 for a linear layer, -1 for a norm. */
static void
add(struct model *m, enum mlc_part part, const char *source, const char *name,
    uint64_t rows, uint64_t cols, int kernel, bool has_bias)
{
    unsigned n_dims = kernel < 0 ? 1 : kernel == 0 ? 2 : 4;
    uint64_t *shape;
    int is_bias;

    for (is_bias = 0; is_bias <= has_bias; is_bias++) {
        const char *what = is_bias ? "bias" : "weight";

        assert_true(m->n < N_OF(m->targets));
        shape = m->shapes[m->n];
        shape[0] = rows;
        shape[1] = cols;
        shape[2] = shape[3] = (uint64_t)kernel;
        m->targets[m->n++] = (struct mlc_lora_target){
            .part = part,
            .name = text("%s.%s", name, what),
            .source_name = source ? text("%s.%s", source, what) : NULL,
            .dtype = MLC_DTYPE_F16,
            .shape = shape,
            .n_dims = is_bias ? 1 : n_dims};
    }
    if (part == MLC_PART_UNET)
        m->n_modules++;
}

static void __attribute__((format(printf, 6, 7)))
unet(struct model *m, const char *source, const char *name, int kernel,
     bool has_bias, const char *fmt, ...)
{
    char *rest, *from, *to;
    va_list ap;

    va_start(ap, fmt);
    copy_text(fmt, ap, &rest);
    va_end(ap);
    from = text("%s%s", source, rest);
    to = text("%s%s", name, rest);
    add(m, MLC_PART_UNET, from, to, WIDTH, WIDTH, kernel, has_bias);
    free(rest);
    free(from);
    free(to);
}

static void
pair(struct model *m, const char *source, const char *in, const char *name,
     const char *out, int kernel)
{
    char *from = text("%s%s", source, in), *to = text("%s%s", name, out);

    add(m, MLC_PART_UNET, from, to, WIDTH, WIDTH, kernel, true);
    free(from);
    free(to);
}

static void
add_resnet(struct model *m, char *source, char *name, bool has_shortcut)
{
    pair(m, source, ".in_layers.0", name, ".norm1", -1);
    pair(m, source, ".in_layers.2", name, ".conv1", 3);
    pair(m, source, ".emb_layers.1", name, ".time_emb_proj", 0);
    pair(m, source, ".out_layers.0", name, ".norm2", -1);
    pair(m, source, ".out_layers.3", name, ".conv2", 3);
    if (has_shortcut)
        pair(m, source, ".skip_connection", name, ".conv_shortcut", 1);
    free(source);
    free(name);
}

static void
add_attention(struct model *m, char *source, char *name, int depth,
              bool is_linear)
{
    int i, j;

    unet(m, source, name, -1, true, ".norm");
    unet(m, source, name, is_linear ? 0 : 1, true, ".proj_in");
    unet(m, source, name, is_linear ? 0 : 1, true, ".proj_out");
    for (i = 0; i < depth; i++) {
        for (j = 1; j <= 2; j++) {
            const char *of = ".transformer_blocks";

            unet(m, source, name, 0, false, "%s.%d.attn%d.to_q", of, i, j);
            unet(m, source, name, 0, false, "%s.%d.attn%d.to_k", of, i, j);
            unet(m, source, name, 0, false, "%s.%d.attn%d.to_v", of, i, j);
            unet(m, source, name, 0, true, "%s.%d.attn%d.to_out.0", of, i, j);
        }
        for (j = 1; j <= 3; j++)
            unet(m, source, name, -1, true, ".transformer_blocks.%d.norm%d", i,
                 j);
        unet(m, source, name, 0, true, ".transformer_blocks.%d.ff.net.0.proj",
             i);
        unet(m, source, name, 0, true, ".transformer_blocks.%d.ff.net.2", i);
    }
    free(source);
    free(name);
}

struct family {
    const char *name;
    int n_levels;
    int widths[4];
    int depths[4];
    int mid_depth;
    bool is_linear;
    bool has_label;
    size_t n_modules;
    size_t n_capable;
};

static const struct family families[] = {
    {"SD1", 4, {320, 640, 1280, 1280}, {1, 1, 1, 0}, 1, false, false, 391, 282},
    {"SD2", 4, {320, 640, 1280, 1280}, {1, 1, 1, 0}, 1, true, false, 391, 282},
    {"SDXL", 3, {320, 640, 1280}, {0, 2, 10}, 10, true, true, 1050, 794},
    {"refiner",
     4,
     {384, 768, 1536, 1536},
     {0, 4, 4, 0},
     4,
     true,
     true,
     742,
     554},
};

#define LAYERS 2

static void
add_down(struct model *m, const struct family *f)
{
    int n = 1, width = f->widths[0], i, j;

    for (i = 0; i < f->n_levels; i++) {
        for (j = 0; j < LAYERS; j++, n++) {
            add_resnet(m, text("input_blocks.%d.0", n),
                       text("down_blocks.%d.resnets.%d", i, j),
                       width != f->widths[i]);
            width = f->widths[i];
            if (f->depths[i])
                add_attention(m, text("input_blocks.%d.1", n),
                              text("down_blocks.%d.attentions.%d", i, j),
                              f->depths[i], f->is_linear);
        }
        if (i + 1 < f->n_levels) {
            char *source = text("input_blocks.%d.0.op", n++);
            char *name = text("down_blocks.%d.downsamplers.0.conv", i);

            pair(m, source, "", name, "", 3);
            free(source);
            free(name);
        }
    }
}

/* All resnets of the way up have a shortcut, for they take what was kept. */
static void
add_up(struct model *m, const struct family *f)
{
    int n = 0, level, i, j;

    for (i = 0; i < f->n_levels; i++) {
        level = f->n_levels - 1 - i;
        for (j = 0; j <= LAYERS; j++, n++) {
            add_resnet(m, text("output_blocks.%d.0", n),
                       text("up_blocks.%d.resnets.%d", i, j), true);
            if (f->depths[level])
                add_attention(m, text("output_blocks.%d.1", n),
                              text("up_blocks.%d.attentions.%d", i, j),
                              f->depths[level], f->is_linear);
        }
        if (level > 0) {
            char *source = text("output_blocks.%d.%d.conv", n - 1,
                                f->depths[level] ? 2 : 1);
            char *name = text("up_blocks.%d.upsamplers.0.conv", i);

            pair(m, source, "", name, "", 3);
            free(source);
            free(name);
        }
    }
}

static void
add_unet(struct model *m, const struct family *f)
{
    pair(m, "time_embed.0", "", "time_embedding.linear_1", "", 0);
    pair(m, "time_embed.2", "", "time_embedding.linear_2", "", 0);
    if (f->has_label) {
        pair(m, "label_emb.0.0", "", "add_embedding.linear_1", "", 0);
        pair(m, "label_emb.0.2", "", "add_embedding.linear_2", "", 0);
    }
    pair(m, "input_blocks.0.0", "", "conv_in", "", 3);
    add_down(m, f);
    add_resnet(m, text("middle_block.0"), text("mid_block.resnets.0"), false);
    add_attention(m, text("middle_block.1"), text("mid_block.attentions.0"),
                  f->mid_depth, f->is_linear);
    add_resnet(m, text("middle_block.2"), text("mid_block.resnets.1"), false);
    add_up(m, f);
    pair(m, "out.0", "", "conv_norm_out", "", -1);
    pair(m, "out.2", "", "conv_out", "", 3);
}

static void
add_text(struct model *m, enum mlc_part part, int n_layers)
{
    static const char *const of_layer[] = {
        "self_attn.q_proj",   "self_attn.k_proj", "self_attn.v_proj",
        "self_attn.out_proj", "mlp.fc1",          "mlp.fc2",
    };
    /* As OpenCLIP's in_proj_weight is that of three. */
    const char *source = "transformer.resblocks.0.attn.in_proj_weight";
    size_t j;
    int i;

    add(m, part, NULL, "text_model.embeddings.token_embedding", 9, WIDTH, 0,
        false);
    for (i = 0; i < n_layers; i++)
        for (j = 0; j < N_OF(of_layer); j++) {
            char *name = text(TEXT "%d.%s", i, of_layer[j]);

            add(m, part, source, name, WIDTH, WIDTH, 0, true);
            free(name);
        }
    if (part == MLC_PART_TEXT_ENCODER_2)
        add(m, part, NULL, "text_projection", WIDTH, WIDTH, 0, false);
}

static void
free_model(struct model *m)
{
    size_t i;

    for (i = 0; i < m->n; i++) {
        free((void *)(uintptr_t)m->targets[i].name);
        free((void *)(uintptr_t)m->targets[i].source_name);
    }
    free(m);
}

static struct model *
make_model(const struct family *f)
{
    struct model *m = calloc(1, sizeof *m);

    assert_non_null(m);
    add_unet(m, f);
    add_text(m, MLC_PART_TEXT_ENCODER, 12);
    add_text(m, MLC_PART_TEXT_ENCODER_2, 11);
    return m;
}

/* ------------------------------------------------------------------------
 * LoRA files */

struct file {
    struct mlc_buf header;
    struct mlc_buf seed; /* the same, as tests/fuzz/fuzz-lora.c has it */
    uint64_t len;        /* of the tensors so far */
    uint64_t begin;      /* of the first in the file, once it is opened */
    struct {
        uint64_t offset;
        enum mlc_dtype dtype;
        double value;
    } alphas[3000];
    size_t n_alphas;
    size_t n_reads;
    size_t n_wants, n_wanted;
    int answer; /* of wants and reads */
};

static struct file *
new_file(const char *metadata)
{
    struct file *f = calloc(1, sizeof *f);

    assert_non_null(f);
    mlc_buf_init(&f->header, 16 << 20);
    mlc_buf_init(&f->seed, 16 << 20);
    mlc_buf_printf(&f->header, "{\"__metadata__\":{%s}", metadata);
    mlc_buf_printf(&f->seed, "%s\n", metadata);
    return f;
}

/* shape: as JSON has it. */
static void
put(struct file *f, enum mlc_dtype dtype, const char *shape, const char *name)
{
    uint64_t n = mlc_dtype_bits(dtype) / 8, size;
    const char *at = shape;

    while ((at = strpbrk(at, "0123456789"))) {
        char *end;

        size = strtoull(at, &end, 10);
        n *= size;
        at = end;
    }
    mlc_buf_printf(&f->header,
                   ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":"
                   "[%llu,%llu]}",
                   name, mlc_dtype_name(dtype), shape,
                   (unsigned long long)f->len,
                   (unsigned long long)(f->len + n));
    mlc_buf_printf(&f->seed, "%s %s %s\n", mlc_dtype_name(dtype), shape, name);
    f->len += n;
}

static void
put_alpha(struct file *f, enum mlc_dtype dtype, const char *shape, double value,
          const char *name)
{
    f->alphas[f->n_alphas].offset = f->len;
    f->alphas[f->n_alphas].dtype = dtype;
    f->alphas[f->n_alphas++].value = value;
    put(f, dtype, shape, name);
}

static void
put_pair(struct file *f, const char *a_shape, const char *a,
         const char *b_shape, const char *b)
{
    put(f, MLC_DTYPE_F16, a_shape, a);
    put(f, MLC_DTYPE_F16, b_shape, b);
}

static int
want_spans(void *arg, const struct mlc_lora_span *spans, size_t n)
{
    struct file *f = arg;
    size_t i;

    for (i = 1; i < n; i++)
        assert_true(spans[i - 1].offset + spans[i - 1].len <= spans[i].offset);
    f->n_wants++;
    f->n_wanted += n;
    return f->answer;
}

static int
read_bytes(void *arg, uint64_t offset, void *ret_bytes, size_t len)
{
    struct file *f = arg;
    uint16_t half;
    float value;
    size_t i;

    f->n_reads++;
    if (f->answer < 0)
        return f->answer;
    for (i = 0; f->begin + f->alphas[i].offset != offset; i++)
        assert_true(i + 1 < f->n_alphas);
    value = (float)f->alphas[i].value;
    half = f->alphas[i].dtype == MLC_DTYPE_F16 ? mlc_to_f16(value)
                                               : mlc_to_bf16(value);
    assert_int_equal(len, mlc_float_size(f->alphas[i].dtype));
    memcpy(ret_bytes,
           len == 8   ? (void *)&f->alphas[i].value
           : len == 4 ? (void *)&value
                      : (void *)&half,
           len);
    return 0;
}

/* Parses it against a model; frees neither. */
static int
parse(struct model *m, struct file *f, struct mlc_lora **ret, char **ret_why)
{
    const struct mlc_lora_reader reader = {want_spans, read_bytes, f};
    struct mlc_safetensors *parsed = NULL;
    struct mlc_lora_names *names = NULL;
    struct mlc_buf header;
    char *why = NULL;
    int r;

    mlc_buf_init(&header, 16 << 20);
    assert_int_equal(mlc_buf_append(&header, f->header.data, f->header.len), 0);
    assert_int_equal(mlc_buf_puts(&header, "}"), 0);
    f->begin = 8 + header.len;
    r = mlc_safetensors_parse(header.data, header.len, f->begin + f->len,
                              &parsed, &why);
    if (r < 0)
        fail_msg("%s", why);
    mlc_buf_done(&header);
    assert_int_equal(mlc_lora_names_new(m->targets, m->n, &names), 0);
    r = mlc_lora_new(names, parsed, &reader, ret, ret_why);
    mlc_lora_names_free(names);
    mlc_safetensors_free(parsed);
    return r;
}

static void
free_file(struct file *f)
{
    mlc_buf_done(&f->header);
    mlc_buf_done(&f->seed);
    free(f);
}

/* The model of most tests, SD1 with a second text encoder. */
static struct model *sd1;

static struct mlc_lora *
take(struct file *f)
{
    struct mlc_lora *lora = NULL;
    char *why = NULL;
    int r = parse(sd1, f, &lora, &why);

    fuzz_save_seed(f->seed.data, f->seed.len);
    if (r < 0)
        fail_msg("%d: %s", r, why);
    free_file(f);
    return lora;
}

/* Refused, with a clause in which that stands. */
static void
refuse(struct file *f, const char *why_part)
{
    struct mlc_lora *lora = NULL;
    char *why = NULL;

    fuzz_save_seed(f->seed.data, f->seed.len);
    assert_int_equal(parse(sd1, f, &lora, &why), -EBADMSG);
    assert_non_null(why);
    if (!strstr(why, why_part))
        fail_msg("'%s' is not in '%s'", why_part, why);
    assert_null(lora);
    free(why);
    free_file(f);
}

static size_t
target_of(const struct model *m, enum mlc_part part, const char *name)
{
    size_t i;

    for (i = 0; i < m->n; i++)
        if (m->targets[i].part == part && strcmp(m->targets[i].name, name) == 0)
            return i;
    fail_msg("no %s", name);
    return 0;
}

static const struct mlc_lora_delta *
delta_of(const struct mlc_lora *lora, enum mlc_part part, const char *name)
{
    const struct mlc_lora_delta *d =
        mlc_lora_find(lora, target_of(sd1, part, name));

    if (!d)
        fail_msg("nothing for %s", name);
    return d;
}

#define UNET_Q "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
#define FLAT_Q "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
#define TEXT_Q TEXT "0.self_attn.q_proj"

#define A_Q "lora_unet_" FLAT_Q ".lora_down.weight"
#define B_Q "lora_unet_" FLAT_Q ".lora_up.weight"

static struct file *
new_kohya(const char *metadata)
{
    struct file *f = new_file(metadata);

    put_pair(f, "[2,4]", A_Q, "[4,2]", B_Q);
    return f;
}

/* ------------------------------------------------------------------------
 * Names */

/* A file that has all of the UNet's modules, by one of their two names. */
static struct file *
new_whole(const struct model *m, bool by_source)
{
    struct file *f = new_file("");
    size_t i;

    for (i = 0; i < m->n; i++) {
        const struct mlc_lora_target *t = &m->targets[i];
        const char *name = by_source ? t->source_name : t->name;
        bool is_linear = t->n_dims == 2;
        char *flat, *at, *a, *b, shape[32];

        if (t->part != MLC_PART_UNET || t->n_dims < 2)
            continue;
        flat = text("%.*s", (int)(strlen(name) - strlen(".weight")), name);
        for (at = flat; *at; at++)
            if (*at == '.')
                *at = '_';
        a = text("lora_unet_%s.lora_down.weight", flat);
        b = text("lora_unet_%s.lora_up.weight", flat);
        snprintf(shape, sizeof shape, is_linear ? "[1,4]" : "[1,4,%llu,%llu]",
                 (unsigned long long)t->shape[2],
                 (unsigned long long)t->shape[3]);
        put_pair(f, shape, a, is_linear ? "[4,1]" : "[4,1,1,1]", b);
        free(flat);
        free(a);
        free(b);
    }
    return f;
}

/* The deltas' factors are in the order in which they were put. */
static void
assert_all_found(const struct model *m, const struct mlc_lora *lora)
{
    uint64_t last = 0;
    size_t i;

    for (i = 0; i < m->n; i++) {
        const struct mlc_lora_delta *d = mlc_lora_find(lora, i);

        if (m->targets[i].part != MLC_PART_UNET || m->targets[i].n_dims < 2) {
            assert_null(d);
            continue;
        }
        assert_non_null(d);
        assert_int_equal(d->target, i);
        assert_true(d->a.offset > last && d->b.offset > d->a.offset);
        last = d->b.offset;
    }
}

static void
both_names_of_every_module_are_known(void **arg)
{
    size_t i;
    int by_source;

    for (i = 0; i < N_OF(families); i++) {
        struct model *m = make_model(&families[i]);

        assert_int_equal(m->n_modules, families[i].n_modules);
        for (by_source = 0; by_source < 2; by_source++) {
            struct file *f = new_whole(m, by_source);
            struct mlc_lora *lora = NULL;
            char *why = NULL;

            if (parse(m, f, &lora, &why) < 0)
                fail_msg("%s: %s", families[i].name, why);
            assert_int_equal(lora->n_modules, families[i].n_capable);
            assert_int_equal(lora->n_deltas, families[i].n_capable);
            assert_int_equal(lora->n_unmatched, 0);
            assert_all_found(m, lora);
            mlc_lora_free(lora);
            free_file(f);
        }
        free_model(m);
    }
}

static void
modules_are_counted_by_part(void **arg)
{
    struct mlc_lora_names *names = NULL;

    assert_int_equal(mlc_lora_names_new(sd1->targets, sd1->n, &names), 0);
    assert_int_equal(mlc_lora_names_count(names, MLC_PART_UNET), 282);
    assert_int_equal(mlc_lora_names_count(names, MLC_PART_TEXT_ENCODER), 72);
    assert_int_equal(mlc_lora_names_count(names, MLC_PART_TEXT_ENCODER_2), 67);
    assert_int_equal(mlc_lora_names_count(names, MLC_PART_VAE), 0);
    mlc_lora_names_free(names);
}

static void
two_modules_of_one_flat_name_are_refused(void **arg)
{
    static const uint64_t shape[] = {4, 4};
    struct mlc_lora_target targets[] = {
        {MLC_PART_UNET, "a.b_c.weight", NULL, MLC_DTYPE_F16, 2, shape},
        {MLC_PART_UNET, "a_b.c.weight", NULL, MLC_DTYPE_F16, 2, shape},
    };
    struct mlc_lora_names *names = NULL;

    assert_int_equal(mlc_lora_names_new(targets, 2, &names), -EEXIST);
    assert_null(names);
    targets[1].part = MLC_PART_TEXT_ENCODER;
    assert_int_equal(mlc_lora_names_new(targets, 2, &names), 0);
    mlc_lora_names_free(names);
}

/* Each of them changes the first attn1.to_q, or the first q_proj. */
static void
each_form_of_a_file_is_read(void **arg)
{
#define UNET_A "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    static const struct {
        const char *a, *b;
        enum mlc_part part;
        const char *target;
    } forms[] = {
        {A_Q, B_Q, MLC_PART_UNET, UNET_Q},
        {"lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q."
         "lora_down.weight",
         "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q."
         "lora_up.weight",
         MLC_PART_UNET, UNET_Q},
        {"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down."
         "weight",
         "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
         MLC_PART_TEXT_ENCODER, TEXT_Q},
        {"lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down."
         "weight",
         "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
         MLC_PART_TEXT_ENCODER, TEXT_Q},
        {"lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_down."
         "weight",
         "lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
         MLC_PART_TEXT_ENCODER_2, TEXT_Q},
        {"lora_te2_text_projection.lora_down.weight",
         "lora_te2_text_projection.lora_up.weight", MLC_PART_TEXT_ENCODER_2,
         "text_projection"},
        {"unet." UNET_Q ".lora_A.weight", "unet." UNET_Q ".lora_B.weight",
         MLC_PART_UNET, UNET_Q},
        {"unet." UNET_Q ".lora.down.weight", "unet." UNET_Q ".lora.up.weight",
         MLC_PART_UNET, UNET_Q},
        {"unet." UNET_A ".processor.to_q_lora.down.weight",
         "unet." UNET_A ".processor.to_q_lora.up.weight", MLC_PART_UNET,
         UNET_Q},
        {"unet." UNET_A ".processor.to_out_lora.down.weight",
         "unet." UNET_A ".processor.to_out_lora.up.weight", MLC_PART_UNET,
         UNET_A ".to_out.0"},
        {"text_encoder." TEXT_Q ".lora_A.weight",
         "text_encoder." TEXT_Q ".lora_B.weight", MLC_PART_TEXT_ENCODER,
         TEXT_Q},
        {"text_encoder.encoder.layers.0.self_attn.q_proj.lora_A.weight",
         "text_encoder.encoder.layers.0.self_attn.q_proj.lora_B.weight",
         MLC_PART_TEXT_ENCODER, TEXT_Q},
        {"text_encoder_2." TEXT_Q ".lora_A.weight",
         "text_encoder_2." TEXT_Q ".lora_B.weight", MLC_PART_TEXT_ENCODER_2,
         TEXT_Q},
        {"text_encoder_2.text_projection.lora_A.weight",
         "text_encoder_2.text_projection.lora_B.weight",
         MLC_PART_TEXT_ENCODER_2, "text_projection"},
        {"text_encoder." TEXT_Q ".lora_linear_layer.down.weight",
         "text_encoder." TEXT_Q ".lora_linear_layer.up.weight",
         MLC_PART_TEXT_ENCODER, TEXT_Q},
        {"text_encoder." TEXT "0.self_attn.to_q_lora.down.weight",
         "text_encoder." TEXT "0.self_attn.to_q_lora.up.weight",
         MLC_PART_TEXT_ENCODER, TEXT_Q},
        {"text_encoder." TEXT "0.self_attn.to_out_lora.down.weight",
         "text_encoder." TEXT "0.self_attn.to_out_lora.up.weight",
         MLC_PART_TEXT_ENCODER, TEXT "0.self_attn.out_proj"},
    };
    size_t i;

    for (i = 0; i < N_OF(forms); i++) {
        struct file *f = new_file("");
        char *name = text("%s.weight", forms[i].target);
        const struct mlc_lora_delta *d;
        struct mlc_lora *lora;

        put_pair(f, "[2,4]", forms[i].a, "[4,2]", forms[i].b);
        lora = take(f);
        assert_int_equal(lora->n_deltas, 1);
        d = delta_of(lora, forms[i].part, name);
        assert_int_equal(d->rank, 2);
        assert_int_equal(d->a.len, 16);
        assert_int_equal(d->b.offset, d->a.offset + 16);
        assert_false(d->is_conv);
        mlc_lora_free(lora);
        free(name);
    }
}

static void
flat_text_encoders_are_the_same(void **arg)
{
    static const uint64_t shape[] = {4, 4};
    struct model m = {.n = 1};
    struct file *f = new_file("");
    struct mlc_lora *lora = NULL;

    m.targets[0] =
        (struct mlc_lora_target){MLC_PART_TEXT_ENCODER,
                                 "encoder.layers.0.self_attn.q_proj.weight",
                                 NULL,
                                 MLC_DTYPE_F32,
                                 2,
                                 shape};
    put_pair(f, "[2,4]", "text_encoder." TEXT_Q ".lora_A.weight", "[4,2]",
             "text_encoder." TEXT_Q ".lora_B.weight");
    assert_int_equal(parse(&m, f, &lora, NULL), 0);
    assert_non_null(mlc_lora_find(lora, 0));
    mlc_lora_free(lora);
    free_file(f);
}

static void
of_both_kinds_of_names_diffusers_own_count(void **arg)
{
    struct file *f = new_kohya("");
    struct mlc_lora *lora;

    put_pair(f, "[2,4]",
             "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q."
             "lora_down.weight",
             "[4,2]",
             "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q."
             "lora_up.weight");
    lora = take(f);
    assert_int_equal(lora->n_deltas, 1);
    assert_int_equal(lora->n_unmatched, 1);
    delta_of(lora, MLC_PART_UNET, UNET_Q ".weight");
    mlc_lora_free(lora);
}

static void
modules_that_the_model_lacks_are_counted(void **arg)
{
    struct file *f = new_kohya("");
    struct mlc_lora *lora;

    put_pair(f, "[2,4]", "lora_unet_nowhere_1.lora_down.weight", "[4,2]",
             "lora_unet_nowhere_1.lora_up.weight");
    put_pair(f, "[2,4]", "lora_unet_nowhere_2.lora_down.weight", "[4,2]",
             "lora_unet_nowhere_2.lora_up.weight");
    lora = take(f);
    assert_int_equal(lora->n_modules, 3);
    assert_int_equal(lora->n_unmatched, 2);
    assert_string_equal(lora->first_unmatched,
                        "lora_unet_nowhere_1.lora_down.weight");
    mlc_lora_free(lora);

    f = new_file("\"ss_base_model_version\":\"sdxl_base_v1-0\"");
    put_pair(f, "[2,4]", "lora_unet_nowhere_1.lora_down.weight", "[4,2]",
             "lora_unet_nowhere_1.lora_up.weight");
    refuse(f, "(it says that it is for sdxl_base_v1-0): this one has none of "
              "its 1 modules, such as that of lora_unet_nowhere_1");

    /* Names of diffusers' without one of its components. */
    f = new_file("");
    put_pair(f, "[2,4]", UNET_Q ".lora_A.weight", "[4,2]",
             UNET_Q ".lora_B.weight");
    refuse(f, "no tensor that is named as a LoRA's");
    refuse(new_file(""), "no tensor that is named as a LoRA's");
}

/* ------------------------------------------------------------------------
 * Shapes */

static void
convolutions_and_linear_layers_are_told_apart(void **arg)
{
    static const struct {
        const char *flat, *target, *a, *b;
        bool is_conv;
    } cases[] = {
        {"mid_block_resnets_0_conv1", "mid_block.resnets.0.conv1", "[2,4,3,3]",
         "[4,2,1,1]", true},
        {"mid_block_attentions_0_proj_in", "mid_block.attentions.0.proj_in",
         "[2,4,1,1]", "[4,2,1,1]", false},
        {"mid_block_attentions_0_proj_in", "mid_block.attentions.0.proj_in",
         "[2,4]", "[4,2]", false},
        {FLAT_Q, UNET_Q, "[2,4,1,1]", "[4,2,1,1]", false},
        {FLAT_Q, UNET_Q, "[2,4]", "[4,2]", false},
    };
    size_t i;

    for (i = 0; i < N_OF(cases); i++) {
        char *a = text("lora_unet_%s.lora_down.weight", cases[i].flat);
        char *b = text("lora_unet_%s.lora_up.weight", cases[i].flat);
        char *name = text("%s.weight", cases[i].target);
        struct file *f = new_file("");
        struct mlc_lora *lora;

        put_pair(f, cases[i].a, a, cases[i].b, b);
        lora = take(f);
        assert_true(delta_of(lora, MLC_PART_UNET, name)->is_conv ==
                    cases[i].is_conv);
        mlc_lora_free(lora);
        free(a);
        free(b);
        free(name);
    }
}

static void
factors_that_do_not_fit_are_refused(void **arg)
{
    static const struct {
        const char *a, *b, *why;
    } cases[] = {
        {"[2,5]", "[4,2]",
         "is [2, 5], and the weight that it would change [4, 4]"},
        {"[2,4]", "[5,2]", "is [5, 2]"},
        {"[2,4]", "[4,3]", "is [4, 3]"},
        {"[2,4,3,3]", "[4,2,1,1]", "is [2, 4, 3, 3]"},
        {"[2,4]", "[4,2,3,3]", "is [4, 2, 3, 3]"},
        {"[2]", "[4,2]", "is [2]"},
        {"[2,4]", "[8]", "is [8]"},
        {"[]", "[4,2]", "a rank that is not 1 to 4096"},
        {"[0,4]", "[4,0]", "a rank that is not 1 to 4096"},
        {"[5000,4]", "[4,5000]", "a rank that is not 1 to 4096"},
    };
    size_t i;

    for (i = 0; i < N_OF(cases); i++) {
        struct file *f = new_file("");

        put_pair(f, cases[i].a, A_Q, cases[i].b, B_Q);
        refuse(f, cases[i].why);
    }
}

static void
factors_and_weights_of_other_types_are_refused(void **arg)
{
    struct file *f = new_file("");
    size_t target = target_of(sd1, MLC_PART_UNET, UNET_Q ".weight");

    put(f, MLC_DTYPE_F8_E4M3, "[2,4]", A_Q);
    put(f, MLC_DTYPE_F16, "[4,2]", B_Q);
    refuse(f, "is F8_E4M3, and F16");

    sd1->targets[target].dtype = MLC_DTYPE_F8_E5M2;
    refuse(new_kohya(""), "the checkpoint's weights are F8_E5M2");
    sd1->targets[target].dtype = MLC_DTYPE_F16;
}

/* ------------------------------------------------------------------------
 * Scales */

static void
assert_scale(const struct mlc_lora *lora, double wanted)
{
    const struct mlc_lora_delta *d =
        delta_of(lora, MLC_PART_UNET, UNET_Q ".weight");

    assert_true(mlc_lora_scale(d, 1, 1) == wanted);
}

static void
a_modules_own_alpha_counts_else_its_rank(void **arg)
{
    static const enum mlc_dtype dtypes[] = {MLC_DTYPE_F16, MLC_DTYPE_BF16,
                                            MLC_DTYPE_F32, MLC_DTYPE_F64};
    struct mlc_lora *lora = take(new_kohya(""));
    struct file *f;
    size_t i;

    assert_scale(lora, 1);
    mlc_lora_free(lora);
    for (i = 0; i < N_OF(dtypes); i++) {
        f = new_kohya("");
        put_alpha(f, dtypes[i], i % 2 ? "[]" : "[1]", 0.75,
                  "lora_unet_" FLAT_Q ".alpha");
        lora = take(f);
        assert_scale(lora, 0.375);
        mlc_lora_free(lora);
    }
}

static void
scales_are_computed_in_order(void **arg)
{
    struct mlc_lora_delta d = {.rank = 3, .alpha = 0.7, .divisor = 3};

    assert_true(mlc_lora_scale(&d, 0.3, 1) == 0.3 * 0.7 / 3);
    assert_true(mlc_lora_scale(&d, 0.3, 0.9) == 0.3 * 0.7 / 3 * 0.9);
}

static void
alphas_that_are_none_are_refused(void **arg)
{
    struct file *f = new_kohya("");

    put(f, MLC_DTYPE_F32, "[2]", "lora_unet_" FLAT_Q ".alpha");
    refuse(f, "is not one number");
    f = new_kohya("");
    put(f, MLC_DTYPE_I64, "[]", "lora_unet_" FLAT_Q ".alpha");
    refuse(f, "is not one number");
    f = new_kohya("");
    put_alpha(f, MLC_DTYPE_F32, "[]", NAN, "lora_unet_" FLAT_Q ".alpha");
    refuse(f, "is not finite");
}

static void
what_reading_says_is_passed_on(void **arg)
{
    struct file *f = new_kohya("");
    struct mlc_lora *lora = NULL;
    char *why = NULL;

    put_alpha(f, MLC_DTYPE_F32, "[]", 1, "lora_unet_" FLAT_Q ".alpha");
    f->answer = -EAGAIN;
    assert_int_equal(parse(sd1, f, &lora, &why), -EAGAIN);
    assert_null(lora);
    assert_null(why);
    f->answer = 0;
    lora = take(f);
    assert_scale(lora, 0.5);
    mlc_lora_free(lora);
}

static void
nothing_is_read_of_what_is_refused(void **arg)
{
    struct file *f = new_kohya("");
    struct mlc_lora *lora = NULL;

    put_alpha(f, MLC_DTYPE_F32, "[]", 1, "lora_unet_" FLAT_Q ".alpha");
    put_pair(
        f, "[2,5]", "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
        "[4,2]", "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight");
    assert_int_equal(parse(sd1, f, &lora, NULL), -EBADMSG);
    assert_int_equal(f->n_wants, 0);
    assert_int_equal(f->n_reads, 0);
    free_file(f);
}

static void
alphas_are_wanted_together(void **arg)
{
    static const char *const modules[] = {FLAT_Q, "mid_block_attentions_0_"
                                                  "transformer_blocks_0_attn1_"
                                                  "to_k"};
    struct file *f = new_file("");
    struct mlc_lora *lora = NULL;
    char stem[200], down[240], up[240], alpha[240];
    size_t i;

    for (i = 0; i < 2; i++) {
        snprintf(stem, sizeof stem, "lora_unet_%s", modules[i]);
        snprintf(down, sizeof down, "%s.lora_down.weight", stem);
        snprintf(up, sizeof up, "%s.lora_up.weight", stem);
        snprintf(alpha, sizeof alpha, "%s.alpha", stem);
        put_alpha(f, MLC_DTYPE_F32, "[]", 1, alpha);
        put_pair(f, "[2,4]", down, "[4,2]", up);
    }
    f->answer = -EAGAIN;
    assert_int_equal(parse(sd1, f, &lora, NULL), -EAGAIN);
    assert_int_equal(f->n_wants, 1);
    assert_int_equal(f->n_wanted, 2);
    assert_int_equal(f->n_reads, 0);
    f->answer = 0;
    mlc_lora_free(take(f));
}

/* ------------------------------------------------------------------------
 * PEFT's metadata */

#define META(text) "\"lora_adapter_metadata\":\"{" text "}\""

static struct file *
new_peft(const char *metadata)
{
    struct file *f = new_file(metadata);

    put_pair(f, "[2,4]", "unet." UNET_Q ".lora_A.weight", "[4,2]",
             "unet." UNET_Q ".lora_B.weight");
    return f;
}

static void
metadata_gives_the_scale(void **arg)
{
    static const struct {
        const char *metadata;
        double scale;
    } cases[] = {
        {"", 1},
        {META(""), 1},
        {META("\\\"unet.r\\\":2,\\\"unet.lora_alpha\\\":3"), 1.5},
        {META("\\\"unet.r\\\":2,\\\"unet.lora_alpha\\\":0.5"), 0.25},
        {META("\\\"unet.r\\\":2"), 4}, /* PEFT's default is 8 */
        {META("\\\"text_encoder.r\\\":9,\\\"text_encoder.lora_alpha\\\":3"), 1},
        {META("\\\"unet.r\\\":4,\\\"unet.lora_alpha\\\":1,"
              "\\\"unet.rank_pattern\\\":{\\\"to_q\\\":2},"
              "\\\"unet.alpha_pattern\\\":{\\\"o_q\\\":9,\\\"attn1.to_q\\\":6,"
              "\\\"to_q\\\":7}"),
         3},
        {META("\\\"unet.r\\\":2,\\\"unet.lora_alpha\\\":1,"
              "\\\"unet.alpha_pattern\\\":{\\\"^to_q\\\":9,\\\"^" UNET_Q
              "\\\":6}"),
         3},
        {META("\\\"unet.r\\\":2,\\\"unet.lora_alpha\\\":1,"
              "\\\"unet.use_rslora\\\":false,\\\"unet.rank_pattern\\\":null"),
         0.5},
    };
    struct mlc_lora *lora;
    size_t i;

    for (i = 0; i < N_OF(cases); i++) {
        lora = take(new_peft(cases[i].metadata));
        assert_scale(lora, cases[i].scale);
        mlc_lora_free(lora);
    }
    lora = take(new_peft(META("\\\"unet.r\\\":2,\\\"unet.lora_alpha\\\":3,"
                              "\\\"unet.use_rslora\\\":true")));
    assert_scale(lora, 3 / sqrt(2));
    mlc_lora_free(lora);
}

static void
patterns_of_text_encoders_match_either_name(void **arg)
{
    static const char *const entries[] = {
        TEXT_Q, "encoder.layers.0.self_attn.q_proj", "^" TEXT_Q, "q_proj"};
    size_t i;

    for (i = 0; i < N_OF(entries); i++) {
        char *metadata =
            text(META("\\\"text_encoder.r\\\":2,"
                      "\\\"text_encoder.alpha_pattern\\\":{\\\"%s\\\":1}"),
                 entries[i]);
        struct file *f = new_file(metadata);
        struct mlc_lora *lora;

        put_pair(f, "[2,4]", "text_encoder." TEXT_Q ".lora_A.weight", "[4,2]",
                 "text_encoder." TEXT_Q ".lora_B.weight");
        lora = take(f);
        assert_true(mlc_lora_scale(
                        delta_of(lora, MLC_PART_TEXT_ENCODER, TEXT_Q ".weight"),
                        1, 1) == 0.5);
        mlc_lora_free(lora);
        free(metadata);
    }
}

static void
metadata_that_can_not_be_followed_is_refused(void **arg)
{
    refuse(new_peft("\"lora_adapter_metadata\":\"{\""), "not JSON");
    refuse(new_peft("\"lora_adapter_metadata\":\"[]\""), "is no object");
    refuse(new_peft(META("\\\"unet.r\\\":\\\"2\\\"")), "a r that is no number");
    refuse(new_peft(META("\\\"unet.r\\\":3")),
           "says rank 3 of " UNET_Q ", whose factors have 2");
    refuse(new_peft(META("\\\"unet.r\\\":2,\\\"unet.alpha_pattern\\\":"
                         "{\\\".*to_q\\\":1}")),
           "a pattern that is more than a name: .*to_q");
    refuse(new_peft(META("\\\"unet.r\\\":2,\\\"unet.use_dora\\\":true")),
           "a DoRA");
}

/* ------------------------------------------------------------------------
 * Biases */

static void
a_bias_of_b_changes_the_modules_bias(void **arg)
{
    struct file *f =
        new_file(META("\\\"unet.r\\\":2,\\\"unet.lora_alpha\\\":1"));
    const struct mlc_lora_delta *weight, *bias;
    struct mlc_lora *lora;

    put_pair(f, "[2,4]", "unet." UNET_A ".to_out.0.lora_A.weight", "[4,2]",
             "unet." UNET_A ".to_out.0.lora_B.weight");
    put(f, MLC_DTYPE_F32, "[4]", "unet." UNET_A ".to_out.0.lora_B.bias");
    lora = take(f);
    assert_int_equal(lora->n_deltas, 2);
    weight = delta_of(lora, MLC_PART_UNET, UNET_A ".to_out.0.weight");
    bias = delta_of(lora, MLC_PART_UNET, UNET_A ".to_out.0.bias");
    assert_int_equal(bias->a.len, 0);
    assert_int_equal(bias->b.offset, weight->b.offset + 16);
    assert_int_equal(bias->b.len, 16);
    assert_int_equal(bias->rank, 1);
    assert_true(mlc_lora_scale(bias, 1, 1) == 0.5);
    mlc_lora_free(lora);
}

static void
a_bias_where_the_model_has_none_is_refused(void **arg)
{
    struct file *f = new_peft("");

    put(f, MLC_DTYPE_F16, "[4]", "unet." UNET_Q ".lora_B.bias");
    refuse(f, "the model has no bias there");
    f = new_file("");
    put_pair(f, "[2,4]", "unet." UNET_A ".to_out.0.lora_A.weight", "[4,2]",
             "unet." UNET_A ".to_out.0.lora_B.weight");
    put(f, MLC_DTYPE_F16, "[5]", "unet." UNET_A ".to_out.0.lora_B.bias");
    refuse(f, "is [5]");
}

/* ------------------------------------------------------------------------
 * What is no LoRA, or a broken one */

static void
other_kinds_are_refused_by_name(void **arg)
{
    static const struct {
        const char *suffix, *why;
    } cases[] = {
        {"dora_scale", "it holds a DoRA"},
        {"hada_w1_a", "it holds a LoHa"},
        {"hada_t2", "it holds a LoHa"},
        {"lokr_w1", "it holds a LoKr"},
        {"lora_mid.weight", "a LoCon with a core tensor"},
        {"oft_blocks", "it holds an OFT"},
        {"a1.weight", "it holds a GLoRA"},
        {"on_input", "it holds an IA3"},
        {"diff", "differences of whole weights"},
        {"diff_b", "differences of whole weights"},
        {"w_norm", "differences of norms"},
        {"set_weight", "replaced weights"},
        {"reshape_weight", "reshaped weights"},
        {"something", "that is no part of a LoRA"},
        {"diffuse", "that is no part of a LoRA"},
    };
    struct file *f;
    size_t i;

    for (i = 0; i < N_OF(cases); i++) {
        char *name = text("lora_unet_" FLAT_Q ".%s", cases[i].suffix);

        f = new_kohya("");
        put(f, MLC_DTYPE_F16, "[4]", name);
        refuse(f, cases[i].why);
        free(name);
    }
    f = new_peft("");
    put(f, MLC_DTYPE_F16, "[4]", "unet." UNET_Q ".lora_magnitude_vector");
    refuse(f, "it holds a DoRA");
}

static void
broken_files_are_refused(void **arg)
{
    struct file *f = new_file("");

    put(f, MLC_DTYPE_F16, "[2,4]", A_Q);
    refuse(f, "there is no up (B) factor");
    f = new_file("");
    put(f, MLC_DTYPE_F16, "[4,2]", B_Q);
    refuse(f, "there is no down (A) factor");
    f = new_kohya("");
    put_alpha(f, MLC_DTYPE_F32, "[]", 1, "lora_unet_nowhere.alpha");
    refuse(f, "there is no down (A) factor");
    f = new_kohya("");
    put(f, MLC_DTYPE_F16, "[4]", "emb.weight");
    refuse(f, "mixes kohya's names with others, such as emb.weight");
    f = new_file("");
    put_pair(f, "[2,4]", "lora_te_text_projection.lora_down.weight", "[4,2]",
             "lora_te_text_projection.lora_up.weight");
    put_pair(f, "[2,4]", "lora_te1_text_projection.lora_down.weight", "[4,2]",
             "lora_te1_text_projection.lora_up.weight");
    refuse(f, "are the same");
    f = new_file("");
    put_pair(f, "[2,4]", "lora_unet_time_embed_0.lora_down.weight", "[4,2]",
             "lora_unet_time_embed_0.lora_up.weight");
    put_pair(f, "[2,4]", "lora_unet_time_embedding_linear_1.lora_down.weight",
             "[4,2]", "lora_unet_time_embedding_linear_1.lora_up.weight");
    refuse(f, "it changes one module twice");
}

static int
make_sd1(void **arg)
{
    sd1 = make_model(&families[0]);
    return 0;
}

static int
free_sd1(void **arg)
{
    free_model(sd1);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_names_of_every_module_are_known),
        cmocka_unit_test(modules_are_counted_by_part),
        cmocka_unit_test(two_modules_of_one_flat_name_are_refused),
        cmocka_unit_test(each_form_of_a_file_is_read),
        cmocka_unit_test(flat_text_encoders_are_the_same),
        cmocka_unit_test(of_both_kinds_of_names_diffusers_own_count),
        cmocka_unit_test(modules_that_the_model_lacks_are_counted),
        cmocka_unit_test(convolutions_and_linear_layers_are_told_apart),
        cmocka_unit_test(factors_that_do_not_fit_are_refused),
        cmocka_unit_test(factors_and_weights_of_other_types_are_refused),
        cmocka_unit_test(a_modules_own_alpha_counts_else_its_rank),
        cmocka_unit_test(scales_are_computed_in_order),
        cmocka_unit_test(alphas_that_are_none_are_refused),
        cmocka_unit_test(what_reading_says_is_passed_on),
        cmocka_unit_test(nothing_is_read_of_what_is_refused),
        cmocka_unit_test(alphas_are_wanted_together),
        cmocka_unit_test(metadata_gives_the_scale),
        cmocka_unit_test(patterns_of_text_encoders_match_either_name),
        cmocka_unit_test(metadata_that_can_not_be_followed_is_refused),
        cmocka_unit_test(a_bias_of_b_changes_the_modules_bias),
        cmocka_unit_test(a_bias_where_the_model_has_none_is_refused),
        cmocka_unit_test(other_kinds_are_refused_by_name),
        cmocka_unit_test(broken_files_are_refused),
    };

    return cmocka_run_group_tests(tests, make_sd1, free_sd1);
}
