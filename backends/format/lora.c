/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/lora.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/half.h"
#include "backends/format/lora_i.h"
#include "backends/format/merge.h"
#include "backends/util/cleanup.h"
#include "backends/util/refuse.h"

/* A tensor of the file, and what its name says. */
struct item {
    struct mlc_lora_key key;
    const struct mlc_tensor *tensor;
};

/* What the file holds of one module, and the module when the model has it. */
struct group {
    enum mlc_part part;
    const char *flat; /* of one of the items */
    const struct mlc_tensor *of[MLC_LORA_N_ROLES];
    const struct mlc_lora_module *module;
};

struct parser {
    const struct mlc_lora_names *names;
    const struct mlc_safetensors *file;
    const struct mlc_lora_reader *reader;
    char **ret_why;
    bool is_kohya;
    struct item *items;
    size_t n_items;
    struct group *groups;
    size_t n_groups;
    struct mlc_lora_config *config;
    struct mlc_lora *lora;
};

/* ------------------------------------------------------------------------
 * From tensors to groups */

static int
find_kind(struct parser *p)
{
    size_t n = mlc_safetensors_n_tensors(p->file), n_kohya = 0, i;
    const char *foreign = NULL, *name;
    int r;

    for (i = 0; i < n; i++) {
        name = mlc_safetensors_get(p->file, i)->name;
        r = mlc_lora_key_check(name, p->ret_why);
        if (r < 0)
            return r;
        if (mlc_lora_key_is_kohya(name))
            n_kohya++;
        else
            foreign = name;
    }
    if (n_kohya > 0 && foreign)
        return mlc_refuse(p->ret_why,
                          "it mixes kohya's names with others, such as %.*s",
                          MLC_SHOWN(foreign));
    p->is_kohya = n_kohya > 0;
    return 0;
}

static int
compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int r;

    if (x->key.part != y->key.part)
        return x->key.part < y->key.part ? -1 : 1;
    r = strcmp(x->key.flat, y->key.flat);
    if (r != 0)
        return r;
    return (int)x->key.role - (int)y->key.role;
}

static int
parse_keys(struct parser *p)
{
    size_t n = mlc_safetensors_n_tensors(p->file), i;
    struct item *item;
    int r;

    p->items = calloc(n + 1, sizeof *p->items);
    if (!p->items)
        return -ENOMEM;
    for (i = 0; i < n; i++) {
        item = &p->items[p->n_items];
        item->tensor = mlc_safetensors_get(p->file, i);
        r = mlc_lora_key_parse(item->tensor->name, p->is_kohya, &item->key,
                               p->ret_why);
        if (r < 0)
            return r;
        p->n_items += r > 0;
    }
    if (p->n_items == 0)
        return mlc_refuse(p->ret_why,
                          "it has no tensor that is named as a LoRA's: neither "
                          "lora_unet_..., nor unet.... or text_encoder....");
    qsort(p->items, p->n_items, sizeof *p->items, compare_items);
    return 0;
}

static bool
is_same_module(const struct item *a, const struct item *b)
{
    return a->key.part == b->key.part && strcmp(a->key.flat, b->key.flat) == 0;
}

static int
check_group(const struct parser *p, const struct group *g,
            const struct mlc_tensor *any)
{
    const struct mlc_tensor *a = g->of[MLC_LORA_A], *b = g->of[MLC_LORA_B];

    if (!a || !b)
        return mlc_refuse(p->ret_why,
                          "it is damaged: beside %.*s there is no %s factor",
                          MLC_SHOWN(any->name), a ? "up (B)" : "down (A)");
    return 0;
}

static int
make_groups(struct parser *p)
{
    const struct item *item;
    struct group *g = NULL;
    size_t i;
    int r;

    p->groups = calloc(p->n_items, sizeof *p->groups);
    if (!p->groups)
        return -ENOMEM;
    for (i = 0; i < p->n_items; i++) {
        item = &p->items[i];
        if (i == 0 || !is_same_module(item - 1, item)) {
            g = &p->groups[p->n_groups++];
            g->part = item->key.part;
            g->flat = item->key.flat;
        }
        if (g->of[item->key.role])
            return mlc_refuse(p->ret_why,
                              "it is damaged: %.*s and %.*s are "
                              "the same",
                              MLC_SHOWN(g->of[item->key.role]->name),
                              MLC_SHOWN(item->tensor->name));
        g->of[item->key.role] = item->tensor;
        if (i + 1 == p->n_items || !is_same_module(item, item + 1)) {
            r = check_group(p, g, item->tensor);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------
 * From groups to modules of the model */

static bool
is_in_block(const char *flat, const char *const *blocks)
{
    for (; *blocks; blocks++)
        if (strstr(flat, *blocks))
            return true;
    return false;
}

/* Whether the UNet's modules go by both of their names: then diffusers takes
 * those that are its own. */
static bool
has_both_names(const struct parser *p, const char *const *sources)
{
    static const char *const own[] = {"down_blocks", "mid_block", "up_blocks",
                                      NULL};
    bool has_own = false, has_source = false;
    const struct group *g;

    for (g = p->groups; g < p->groups + p->n_groups; g++) {
        if (g->part != MLC_PART_UNET)
            continue;
        has_own = has_own || is_in_block(g->flat, own);
        has_source = has_source || is_in_block(g->flat, sources);
    }
    return has_own && has_source;
}

static int
note_unmatched(struct mlc_lora *lora, const struct group *g)
{
    lora->n_unmatched++;
    if (lora->first_unmatched)
        return 0;
    lora->first_unmatched = strdup(g->of[MLC_LORA_A]->name);
    return lora->first_unmatched ? 0 : -ENOMEM;
}

/* " (its base model is said to be ...)" when it says so; caller frees. */
static char *
said_base(const struct parser *p)
{
    const char *base =
        mlc_safetensors_metadata(p->file, "ss_base_model_version");
    char *text;

    if (asprintf(&text, base ? " (it says that it is for %.64s)" : "%s",
                 base ? base : "") < 0)
        return NULL;
    return text;
}

static int
find_modules(struct parser *p)
{
    static const char *const sources[] = {"input_blocks", "middle_block",
                                          "output_blocks", NULL};
    bool is_mixed = has_both_names(p, sources);
    mlc_autofree char *base = NULL;
    struct group *g;
    size_t i;
    int r;

    p->lora->n_modules = p->n_groups;
    for (i = 0; i < p->n_groups; i++) {
        g = &p->groups[i];
        if (!is_mixed || g->part != MLC_PART_UNET ||
            !is_in_block(g->flat, sources))
            g->module = mlc_lora_names_find(p->names, g->part, g->flat);
        if (!g->module) {
            r = note_unmatched(p->lora, g);
            if (r < 0)
                return r;
        }
    }
    if (p->lora->n_unmatched < p->n_groups)
        return 0;
    base = said_base(p);
    return mlc_refuse(p->ret_why,
                      "it is for another model%s: this one has none of its %zu "
                      "modules, such as that of %.*s",
                      base ? base : "", p->n_groups,
                      MLC_SHOWN(p->lora->first_unmatched));
}

/* ------------------------------------------------------------------------
 * Shapes */

/* "[320, 4, 1, 1]"; ret holds MLC_SAFETENSORS_MAX_DIMS numbers. */
#define SHAPE_LEN (MLC_SAFETENSORS_MAX_DIMS * 22 + 3)

static void
print_shape(const uint64_t *shape, unsigned n, char ret[SHAPE_LEN])
{
    size_t len = 0;
    unsigned i;

    len += (size_t)snprintf(ret, SHAPE_LEN, "[");
    for (i = 0; i < n && len < SHAPE_LEN; i++)
        len += (size_t)snprintf(ret + len, SHAPE_LEN - len, "%s%llu",
                                i ? ", " : "", (unsigned long long)shape[i]);
    if (len < SHAPE_LEN)
        snprintf(ret + len, SHAPE_LEN - len, "]");
}

/* Whether shape is rows, and then n more dimensions; those of 1 at the end may
 * be there or not. */
static bool
is_shaped(const struct mlc_tensor *t, uint64_t rows, const uint64_t *shape,
          unsigned n)
{
    unsigned i;

    if (t->n_dims < 2 || t->shape[0] != rows)
        return false;
    for (i = 0; i < n || i + 1 < t->n_dims; i++) {
        uint64_t wanted = i < n ? shape[i] : 1;
        uint64_t got = i + 1 < t->n_dims ? t->shape[i + 1] : 1;

        if (wanted != got)
            return false;
    }
    return true;
}

static int
refuse_shape(const struct parser *p, const struct group *g,
             const struct mlc_tensor *t)
{
    char shape[SHAPE_LEN], wanted[SHAPE_LEN];
    mlc_autofree char *base = said_base(p);

    print_shape(t->shape, t->n_dims, shape);
    print_shape(g->module->weight.shape, g->module->weight.n_dims, wanted);
    return mlc_refuse(p->ret_why,
                      "it is for another model%s: %.*s is %s, and the weight "
                      "that it would change %s",
                      base ? base : "", MLC_SHOWN(t->name), shape, wanted);
}

static int
check_dtype(const struct parser *p, const struct mlc_tensor *t)
{
    if (mlc_float_size(t->dtype) > 0)
        return 0;
    return mlc_refuse(p->ret_why,
                      "%.*s is %s, and F16, BF16, F32 and F64 alone can be "
                      "merged",
                      MLC_SHOWN(t->name), mlc_dtype_name(t->dtype));
}

static int
check_base(const struct parser *p, const struct mlc_lora_target *weight)
{
    if (weight->dtype == MLC_DTYPE_F16 || weight->dtype == MLC_DTYPE_BF16 ||
        weight->dtype == MLC_DTYPE_F32)
        return 0;
    return mlc_refuse(p->ret_why,
                      "the checkpoint's weights are %s, and LoRAs can be "
                      "merged into F16, BF16 and F32 alone",
                      mlc_dtype_name(weight->dtype));
}

static int
check_rank(const struct parser *p, const struct mlc_tensor *a)
{
    if (a->n_dims >= 1 && a->shape[0] >= 1 && a->shape[0] <= MLC_MERGE_MAX_RANK)
        return 0;
    return mlc_refuse(p->ret_why,
                      "it is damaged: %.*s has a rank that is not 1 to %d",
                      MLC_SHOWN(a->name), MLC_MERGE_MAX_RANK);
}

static int
check_bias(const struct parser *p, const struct group *g)
{
    const struct mlc_tensor *bias = g->of[MLC_LORA_BIAS];

    if (!bias)
        return 0;
    if (g->module->bias == MLC_LORA_NO_TARGET)
        return mlc_refuse(p->ret_why,
                          "it has %.*s, but the model has no bias there",
                          MLC_SHOWN(bias->name));
    if (bias->n_dims != 1 || bias->shape[0] != g->module->weight.shape[0])
        return refuse_shape(p, g, bias);
    return check_dtype(p, bias);
}

/* What can be said of a group without reading a byte. */
static int
check_shapes(const struct parser *p, const struct group *g)
{
    const struct mlc_lora_target *weight = &g->module->weight;
    const struct mlc_tensor *a = g->of[MLC_LORA_A], *b = g->of[MLC_LORA_B];
    int r = check_base(p, weight);

    if (r == 0)
        r = check_rank(p, a);
    if (r < 0)
        return r;
    if (!is_shaped(a, a->shape[0], weight->shape + 1, weight->n_dims - 1))
        return refuse_shape(p, g, a);
    if (!is_shaped(b, weight->shape[0], a->shape, 1))
        return refuse_shape(p, g, b);
    r = check_dtype(p, a);
    if (r == 0)
        r = check_dtype(p, b);
    if (r == 0)
        r = check_bias(p, g);
    return r;
}

/* ------------------------------------------------------------------------
 * Scales */

static int
check_alpha(const struct parser *p, const struct mlc_tensor *alpha)
{
    size_t size = mlc_float_size(alpha->dtype);

    if (size > 0 && alpha->end - alpha->begin == size)
        return 0;
    return mlc_refuse(p->ret_why, "it is damaged: %.*s is not one number",
                      MLC_SHOWN(alpha->name));
}

static int
read_alpha(const struct parser *p, const struct mlc_tensor *alpha, double *ret)
{
    size_t size = mlc_float_size(alpha->dtype);
    unsigned char bytes[8];
    double wide;
    float value;
    int r = p->reader->read(p->reader->arg, alpha->begin, bytes, size);

    if (r < 0)
        return r;
    if (alpha->dtype == MLC_DTYPE_F64) {
        memcpy(&wide, bytes, sizeof wide);
    } else {
        mlc_float_read(alpha->dtype, bytes, 1, &value);
        wide = value;
    }
    if (!isfinite(wide))
        return mlc_refuse(p->ret_why, "it is damaged: %.*s is not finite",
                          MLC_SHOWN(alpha->name));
    *ret = wide;
    return 0;
}

static int
find_scale(const struct parser *p, const struct group *g,
           struct mlc_lora_delta *delta)
{
    const struct mlc_tensor *alpha = g->of[MLC_LORA_ALPHA];
    int r = 0;

    delta->alpha = delta->divisor = delta->rank;
    if (!p->is_kohya)
        r = mlc_lora_config_apply(p->config, g->module, delta->rank,
                                  &delta->alpha, &delta->divisor, p->ret_why);
    if (r == 0 && alpha)
        r = read_alpha(p, alpha, &delta->alpha);
    return r;
}

/* ------------------------------------------------------------------------
 * Deltas */

static struct mlc_lora_factor
factor_of(const struct mlc_tensor *t)
{
    return (struct mlc_lora_factor){
        .offset = t->begin, .len = t->end - t->begin, .dtype = t->dtype};
}

static bool
has_large_kernel(const struct mlc_lora_target *weight)
{
    unsigned i;

    for (i = 2; i < weight->n_dims; i++)
        if (weight->shape[i] != 1)
            return true;
    return false;
}

static int
add_deltas(struct parser *p, const struct group *g)
{
    struct mlc_lora_delta delta = {
        .target = g->module->target,
        .a = factor_of(g->of[MLC_LORA_A]),
        .b = factor_of(g->of[MLC_LORA_B]),
        .rank = (uint32_t)g->of[MLC_LORA_A]->shape[0],
        .is_conv = has_large_kernel(&g->module->weight),
    };
    int r = find_scale(p, g, &delta);

    if (r < 0)
        return r;
    p->lora->deltas[p->lora->n_deltas++] = delta;
    if (g->of[MLC_LORA_BIAS]) {
        delta.target = g->module->bias;
        delta.a = (struct mlc_lora_factor){0};
        delta.b = factor_of(g->of[MLC_LORA_BIAS]);
        delta.rank = 1;
        delta.is_conv = false;
        p->lora->deltas[p->lora->n_deltas++] = delta;
    }
    return 0;
}

static int
compare_deltas(const void *a, const void *b)
{
    const struct mlc_lora_delta *x = a, *y = b;

    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    return 0;
}

static int
check_groups(const struct parser *p)
{
    size_t i;
    int r;

    for (i = 0; i < p->n_groups; i++) {
        const struct mlc_tensor *alpha = p->groups[i].of[MLC_LORA_ALPHA];

        if (!p->groups[i].module)
            continue;
        r = check_shapes(p, &p->groups[i]);
        if (r == 0 && alpha)
            r = check_alpha(p, alpha);
        if (r < 0)
            return r;
    }
    return 0;
}

static int
compare_spans(const void *a, const void *b)
{
    const struct mlc_lora_span *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return 0;
}

/* Those of modules that the model has. */
static int
want_alphas(const struct parser *p)
{
    mlc_autofree struct mlc_lora_span *spans =
        calloc(p->n_groups, sizeof *spans);
    const struct mlc_tensor *alpha;
    size_t n = 0, i;

    if (!spans)
        return -ENOMEM;
    for (i = 0; i < p->n_groups; i++) {
        alpha = p->groups[i].of[MLC_LORA_ALPHA];
        if (p->groups[i].module && alpha)
            spans[n++] =
                (struct mlc_lora_span){alpha->begin, alpha->end - alpha->begin};
    }
    if (n == 0 || !p->reader->want)
        return 0;
    qsort(spans, n, sizeof *spans, compare_spans);
    return p->reader->want(p->reader->arg, spans, n);
}

/* A file that can't be used is refused before any of it is fetched. */
static int
make_deltas(struct parser *p)
{
    struct mlc_lora *lora = p->lora;
    size_t i;
    int r = check_groups(p);

    if (r == 0)
        r = want_alphas(p);
    if (r < 0)
        return r;
    lora->deltas = calloc(p->n_groups, 2 * sizeof *lora->deltas);
    if (!lora->deltas)
        return -ENOMEM;
    for (i = 0; i < p->n_groups; i++) {
        r = p->groups[i].module ? add_deltas(p, &p->groups[i]) : 0;
        if (r < 0)
            return r;
    }
    qsort(lora->deltas, lora->n_deltas, sizeof *lora->deltas, compare_deltas);
    for (i = 1; i < lora->n_deltas; i++)
        if (lora->deltas[i - 1].target == lora->deltas[i].target)
            return mlc_refuse(p->ret_why,
                              "it is damaged: it changes one module twice, "
                              "under two names");
    return 0;
}

static int
parse(struct parser *p)
{
    int r = find_kind(p);

    if (r == 0)
        r = parse_keys(p);
    if (r == 0)
        r = make_groups(p);
    if (r == 0)
        r = find_modules(p);
    if (r == 0)
        r = mlc_lora_config_new(
            mlc_safetensors_metadata(p->file, "lora_adapter_metadata"),
            &p->config, p->ret_why);
    if (r == 0)
        r = make_deltas(p);
    return r;
}

int
mlc_lora_new(const struct mlc_lora_names *names,
             const struct mlc_safetensors *file,
             const struct mlc_lora_reader *reader, struct mlc_lora **ret_lora,
             char **ret_why)
{
    struct parser p = {
        .names = names, .file = file, .reader = reader, .ret_why = ret_why};
    size_t i;
    int r = -ENOMEM;

    p.lora = calloc(1, sizeof *p.lora);
    if (p.lora)
        r = parse(&p);
    for (i = 0; i < p.n_items; i++)
        free(p.items[i].key.flat);
    free(p.items);
    free(p.groups);
    mlc_lora_config_free(p.config);
    if (r == 0)
        *ret_lora = mlc_steal(&p.lora);
    mlc_lora_free(p.lora);
    return r;
}

void
mlc_lora_free(struct mlc_lora *lora)
{
    if (!lora)
        return;
    free(lora->deltas);
    free(lora->first_unmatched);
    free(lora);
}

const struct mlc_lora_delta *
mlc_lora_find(const struct mlc_lora *lora, size_t target)
{
    struct mlc_lora_delta wanted = {.target = target};

    if (lora->n_deltas == 0)
        return NULL;
    return bsearch(&wanted, lora->deltas, lora->n_deltas, sizeof *lora->deltas,
                   compare_deltas);
}

double
mlc_lora_scale(const struct mlc_lora_delta *delta, double weight,
               double overall)
{
    double scale = weight * delta->alpha / delta->divisor;

    return overall == 1 ? scale : scale * overall;
}
