/* SPDX-License-Identifier: MIT */
/* Weight files: from a layout and LoRAs to the plans of views.  Most tensors
 * are ranges of the checkpoint; those that LoRAs change, and the one that is
 * transposed, are computed. */
#include "config.h"

#include "backends/diffusers_i.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backends/cache/cache.h"
#include "backends/cache/source.h"
#include "backends/format/merge.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/refuse.h"

/* Bytes that are computed at a time: some rows. */
#define BLOCK ((uint64_t)4 * 1024 * 1024)
/* Another number whenever the same inputs give other bytes: merged tensors on
 * disk outlive a release. */
#define ARITHMETIC 1
/* More is no model's, and would have to be in memory at once. */
#define MAX_ROW     ((uint64_t)16 * 1024 * 1024)
#define MAX_FACTORS ((uint64_t)64 * 1024 * 1024)
/* Between alphas that are fetched in one range. */
#define MAX_GAP ((uint64_t)1024 * 1024)

struct delta {
    const struct mlc_lora_delta *d; /* borrowed from weights.loras */
    unsigned source;                /* of the part's */
    double scale;
};

/* A tensor that is computed. */
struct tensor {
    const struct mlc_target *target; /* borrowed from the layout */
    uint64_t rows, cols, row_len;    /* row_len: bytes */
    struct delta *deltas;
    size_t n_deltas;
    uint64_t key;
};

struct part {
    const struct mlc_component *component;
    unsigned *inputs; /* [0]: where the tensors lie; then LoRAs */
    unsigned n_inputs;
    struct tensor *tensors; /* those that are computed */
    size_t n_tensors;
};

struct mlc_dc_weights {
    atomic_uint refs;
    struct mlc_layout *layout;
    struct mlc_lora **loras;
    size_t n_loras;
    struct part *parts;                /* as many as the layout's components */
    const struct mlc_dc_input *inputs; /* valid until it is made */
};

void
mlc_dc_weights_unref(struct mlc_dc_weights *w)
{
    if (!w || atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    for (size_t i = 0; w->parts && i < w->layout->n_components; i++) {
        struct part *p = &w->parts[i];

        for (size_t k = 0; k < p->n_tensors; k++)
            free(p->tensors[k].deltas);
        free(p->tensors);
        free(p->inputs);
    }
    free(w->parts);
    for (size_t i = 0; i < w->n_loras; i++)
        mlc_lora_free(w->loras[i]);
    free(w->loras);
    mlc_layout_free(w->layout);
    free(w);
}

MLC_DEFINE_CLEANUP(weights, struct mlc_dc_weights *, mlc_dc_weights_unref);

static void
unref_owner(void *owner)
{
    mlc_dc_weights_unref(owner);
}

/* --- computing --------------------------------------------------------- */

static int
want_tensor(const void *arg, struct mlc_source *const *sources, uint64_t off,
            size_t len, struct mlc_ask *ask)
{
    const struct tensor *t = arg;
    const struct mlc_target *g = t->target;
    bool is_whole = g->transform == MLC_TRANSPOSE;
    int r =
        mlc_source_want(sources[0], g->source_begin + (is_whole ? 0 : off),
                        is_whole ? g->tensor.end - g->tensor.begin : len, ask);

    for (size_t i = 0; i < t->n_deltas; i++) {
        const struct delta *x = &t->deltas[i];
        int q = 0;

        if (r < 0 && r != -EAGAIN)
            return r;
        if (x->d->a.len > 0)
            q = mlc_source_want(sources[x->source], x->d->a.offset, x->d->a.len,
                                ask);
        if (q < 0)
            r = q;
        if (r < 0 && r != -EAGAIN)
            return r;
        q = mlc_source_want(sources[x->source], x->d->b.offset, x->d->b.len,
                            ask);
        if (q < 0)
            r = q;
    }
    return r;
}

/* Rows first.. of the transposed matrix: columns of the source. */
static int
read_transposed(const struct tensor *t, struct mlc_source *s, uint64_t first,
                uint64_t n, char *ret)
{
    size_t item = mlc_dtype_bits(t->target->tensor.dtype) / 8;
    size_t strip = (size_t)n * item;
    mlc_autofree char *column = malloc(strip);

    if (!column)
        return -ENOMEM;
    /* The source has t->cols rows of t->rows values. */
    for (uint64_t c = 0; c < t->cols; c++) {
        int r = mlc_source_read(
            s, t->target->source_begin + (c * t->rows + first) * item, column,
            strip);

        if (r < 0)
            return r;
        for (uint64_t k = 0; k < n; k++)
            memcpy(ret + (k * t->cols + c) * item, column + k * item, item);
    }
    return 0;
}

/* What all rows of the tensor need: A of each delta. */
static int
prepare_tensor(const void *arg, struct mlc_source *const *sources, void **ret,
               size_t *ret_len)
{
    const struct tensor *t = arg;
    struct mlc_merge *plan = NULL;
    mlc_autofree struct mlc_merge_delta *deltas =
        calloc(t->n_deltas, sizeof(deltas[0]));
    mlc_autofree char *factors = NULL;
    size_t len = 0, at = 0;
    int r = 0;

    for (size_t i = 0; i < t->n_deltas; i++)
        len += (size_t)t->deltas[i].d->a.len;
    factors = malloc(len ? len : 1);
    if (!deltas || !factors)
        return -ENOMEM;
    for (size_t i = 0; i < t->n_deltas && r == 0; i++) {
        const struct mlc_lora_delta *d = t->deltas[i].d;

        deltas[i] = (struct mlc_merge_delta){
            .a = d->a.len > 0 ? factors + at : NULL,
            .a_type = d->a.dtype,
            .b_type = d->b.dtype,
            .rank = d->rank,
            .is_conv = d->is_conv,
            .scale = t->deltas[i].scale,
        };
        r = mlc_source_read(sources[t->deltas[i].source], d->a.offset,
                            factors + at, (size_t)d->a.len);
        at += (size_t)d->a.len;
    }
    if (r == 0)
        r = mlc_merge_new(t->target->tensor.dtype, t->cols, deltas, t->n_deltas,
                          &plan);
    if (r < 0)
        return r;
    *ret = plan;
    *ret_len = (size_t)mlc_merge_size(t->cols, deltas, t->n_deltas);
    return 0;
}

static void
unprepare_tensor(void *plan)
{
    mlc_merge_free(plan);
}

static int
merge_rows(const struct tensor *t, const struct mlc_merge *plan,
           struct mlc_source *const *sources, uint64_t first, uint64_t n,
           void *rows)
{
    mlc_autofree const void **b = calloc(t->n_deltas, sizeof(b[0]));
    mlc_autofree char *factors = NULL;
    size_t len = 0, at = 0;

    for (size_t i = 0; i < t->n_deltas; i++)
        len += (size_t)(t->deltas[i].d->b.len / t->rows * n);
    factors = malloc(len);
    if (!b || !factors)
        return -ENOMEM;
    for (size_t i = 0; i < t->n_deltas; i++) {
        const struct delta *x = &t->deltas[i];
        uint64_t row = x->d->b.len / t->rows;
        int r =
            mlc_source_read(sources[x->source], x->d->b.offset + first * row,
                            factors + at, (size_t)(n * row));

        if (r < 0)
            return r;
        b[i] = factors + at;
        at += (size_t)(n * row);
    }
    return mlc_merge_rows(plan, n, b, rows, rows);
}

static int
make_tensor(const void *arg, const void *plan,
            struct mlc_source *const *sources, uint64_t off, size_t len,
            void *ret)
{
    const struct tensor *t = arg;
    uint64_t first = off / t->row_len, n = len / t->row_len;
    int r;

    if (t->target->transform == MLC_TRANSPOSE)
        r = read_transposed(t, sources[0], first, n, ret);
    else
        r = mlc_source_read(sources[0], t->target->source_begin + off, ret,
                            len);
    if (r == 0 && plan)
        r = merge_rows(t, plan, sources, first, n, ret);
    return r;
}

static const struct mlc_compute_ops merged_ops = {
    .want = want_tensor,
    .prepare = prepare_tensor,
    .unprepare = unprepare_tensor,
    .make = make_tensor,
};
static const struct mlc_compute_ops transposed_ops = {
    .want = want_tensor,
    .make = make_tensor,
};

/* --- LoRAs --------------------------------------------------------------- */

struct reader {
    struct mlc_source *source;
    struct mlc_ask *ask;
};

/* All of them at once.  Those that lie near each other are one range: what lies
 * between costs less than to ask again. */
static int
want_alphas(void *arg, const struct mlc_lora_span *spans, size_t n)
{
    struct reader *a = arg;
    uint64_t end;
    int r = 0, q;

    for (size_t i = 0, next; i < n; i = next) {
        end = spans[i].offset + spans[i].len;
        for (next = i + 1; next < n && spans[next].offset - end < MAX_GAP;
             next++)
            end = spans[next].offset + spans[next].len;
        q = mlc_source_want(a->source, spans[i].offset, end - spans[i].offset,
                            a->ask);
        if (q < 0)
            r = q;
        if (r < 0 && r != -EAGAIN)
            return r;
    }
    return r;
}

static int
read_alpha(void *arg, uint64_t offset, void *ret_bytes, size_t len)
{
    struct reader *a = arg;

    return mlc_source_read(a->source, offset, ret_bytes, len);
}

static int
names_new(const struct mlc_layout *l, struct mlc_lora_names **ret)
{
    mlc_autofree struct mlc_lora_target *all = NULL;
    size_t n = 0, k = 0;

    for (size_t i = 0; i < l->n_components; i++)
        n += l->components[i].n_targets;
    all = calloc(n ? n : 1, sizeof(all[0]));
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < l->n_components; i++) {
        const struct mlc_component *c = &l->components[i];

        for (size_t j = 0; j < c->n_targets; j++)
            all[k++] = (struct mlc_lora_target){
                .part = c->part,
                .name = c->targets[j].name,
                .source_name = c->targets[j].source_name,
                .shape = c->targets[j].tensor.shape,
                .n_dims = c->targets[j].tensor.n_dims,
                .dtype = c->targets[j].tensor.dtype,
            };
    }
    return mlc_lora_names_new(all, n, ret);
}

static int
read_lora(const struct mlc_dc_weights_spec *spec,
          const struct mlc_lora_names *names, const struct mlc_dc_lora *lora,
          struct mlc_lora **ret, char **ret_err)
{
    const struct mlc_dc_input *in = &spec->inputs[lora->input];
    mlc_autofree char *label = mlc_ref_label(in->spelled), *why = NULL;
    struct reader arg = {.ask = spec->ask};
    const struct mlc_lora_reader reader = {want_alphas, read_alpha, &arg};
    int r;

    r = mlc_dc_head_open(spec->dc, lora->head, &in->found, spec->ask,
                         &arg.source);
    if (r == 0)
        r = mlc_lora_new(names, lora->head->file, &reader, ret, &why);
    mlc_source_unref(arg.source);
    if (r < 0 && r != -EAGAIN &&
        asprintf(ret_err, "lora %s: %s", label ? label : "?",
                 why ? why : mlc_ref_why(r)) < 0)
        *ret_err = NULL;
    if (r == 0 && (*ret)->n_unmatched > 0)
        mlc_info("%s: %zu of its %zu modules are not in the model, such as %s",
                 label ? label : "?", (*ret)->n_unmatched, (*ret)->n_modules,
                 (*ret)->first_unmatched ? (*ret)->first_unmatched : "?");
    return r;
}

static int
read_loras(struct mlc_dc_weights *w, const struct mlc_dc_weights_spec *spec,
           char **ret_err)
{
    struct mlc_lora_names *names = NULL;
    int r, q;

    if (spec->n_loras == 0)
        return 0;
    w->loras = calloc(spec->n_loras, sizeof(w->loras[0]));
    if (!w->loras)
        return -ENOMEM;
    r = names_new(w->layout, &names);
    if (r == -EEXIST) {
        *ret_err = strdup("LoRAs can't be merged: two of the model's modules "
                          "have names that LoRA files write alike");
        return -EBADMSG;
    }
    while ((r == 0 || r == -EAGAIN) && w->n_loras < spec->n_loras) {
        q = read_lora(spec, names, &spec->loras[w->n_loras],
                      &w->loras[w->n_loras], ret_err);
        w->n_loras++;
        if (q < 0)
            r = q;
    }
    mlc_lora_names_free(names);
    /* Until all of them are there. */
    for (size_t i = 0; r != -EAGAIN && i < spec->n_loras; i++)
        mlc_dc_head_close(spec->dc, spec->loras[i].head);
    return r;
}

/* --- tensors that are computed -------------------------------------------- */

static uint64_t
hash_of(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

static uint64_t
identity_of(const struct mlc_dc_weights *w, const struct part *p, unsigned i)
{
    return w->inputs[p->inputs[i]].found.identity;
}

/* Of all that the bytes depend on. */
static uint64_t
key_of(const struct mlc_dc_weights *w, const struct part *p,
       const struct tensor *t)
{
    const struct mlc_target *g = t->target;
    uint64_t base[] = {identity_of(w, p, 0), g->source_begin, t->rows, t->cols,
                       g->tensor.dtype,      g->transform};
    uint64_t key = hash_of(base, sizeof(base), ARITHMETIC);

    for (size_t i = 0; i < t->n_deltas; i++) {
        const struct delta *x = &t->deltas[i];
        uint64_t one[] = {identity_of(w, p, x->source),
                          x->d->a.offset,
                          x->d->a.len,
                          x->d->a.dtype,
                          x->d->b.offset,
                          x->d->b.len,
                          x->d->b.dtype,
                          x->d->rank,
                          x->d->is_conv,
                          0};

        memcpy(&one[9], &x->scale, sizeof(x->scale));
        key = hash_of(one, sizeof(one), key);
    }
    return key;
}

/* The part's source that is this input; made if need be. */
static int
source_of(struct part *p, unsigned input, unsigned *ret)
{
    unsigned *grown;

    for (unsigned i = 1; i < p->n_inputs; i++)
        if (p->inputs[i] == input) {
            *ret = i;
            return 0;
        }
    grown = reallocarray(p->inputs, p->n_inputs + 1, sizeof(grown[0]));
    if (!grown)
        return -ENOMEM;
    p->inputs = grown;
    *ret = p->n_inputs;
    p->inputs[p->n_inputs++] = input;
    return 0;
}

static int
add_deltas(struct mlc_dc_weights *w, const struct mlc_dc_weights_spec *spec,
           struct part *p, size_t index, struct tensor *t)
{
    t->deltas = calloc(w->n_loras ? w->n_loras : 1, sizeof(t->deltas[0]));
    if (!t->deltas)
        return -ENOMEM;
    for (size_t i = 0; i < w->n_loras; i++) {
        const struct mlc_lora_delta *d = mlc_lora_find(w->loras[i], index);
        struct delta *x = &t->deltas[t->n_deltas];
        int r;

        if (!d)
            continue;
        x->d = d;
        x->scale = mlc_lora_scale(d, spec->loras[i].scale, spec->lora_scale);
        r = source_of(p, spec->loras[i].input, &x->source);
        if (r < 0)
            return r;
        t->n_deltas++;
    }
    return 0;
}

static int
check_tensor(const struct tensor *t, char **ret_err)
{
    enum mlc_dtype dtype = t->target->tensor.dtype;
    const char *name = t->target->name;
    uint64_t len = 0;

    if (t->row_len > MAX_ROW)
        return mlc_refuse(ret_err, "%s: its rows are too long to be computed",
                          name);
    if (t->n_deltas > 0 && dtype != MLC_DTYPE_F16 && dtype != MLC_DTYPE_BF16 &&
        dtype != MLC_DTYPE_F32)
        return mlc_refuse(
            ret_err, "%s: LoRAs are merged into F16, BF16 and F32 alone", name);
    for (size_t i = 0; i < t->n_deltas; i++)
        len += t->deltas[i].d->a.len + t->deltas[i].d->b.len;
    if (len > MAX_FACTORS)
        return mlc_refuse(ret_err, "%s: the LoRAs' ranks are too large", name);
    return 0;
}

static int
make_part(struct mlc_dc_weights *w, const struct mlc_dc_weights_spec *spec,
          const struct mlc_component *c, size_t first, struct part *p,
          char **ret_err)
{
    p->component = c;
    p->tensors = calloc(c->n_targets ? c->n_targets : 1, sizeof(p->tensors[0]));
    p->inputs = calloc(1, sizeof(p->inputs[0]));
    if (!p->tensors || !p->inputs)
        return -ENOMEM;
    p->inputs[0] = c->origin == MLC_ORIGIN_VAE ? spec->vae : spec->checkpoint;
    p->n_inputs = 1;
    for (size_t i = 0; i < c->n_targets; i++) {
        const struct mlc_target *g = &c->targets[i];
        uint64_t len = g->tensor.end - g->tensor.begin;
        struct tensor *t = &p->tensors[p->n_tensors];
        int r;

        if (len == 0)
            continue;
        r = add_deltas(w, spec, p, first + i, t);
        if (r < 0 || (t->n_deltas == 0 && g->transform == MLC_COPY)) {
            free(mlc_steal(&t->deltas));
            if (r < 0)
                return r;
            continue;
        }
        p->n_tensors++;
        t->target = g;
        t->rows = g->tensor.n_dims ? g->tensor.shape[0] : 1;
        t->row_len = len / t->rows;
        t->cols = t->row_len / (mlc_dtype_bits(g->tensor.dtype) / 8);
        r = check_tensor(t, ret_err);
        if (r < 0)
            return r;
        t->key = key_of(w, p, t);
    }
    return 0;
}

int
mlc_dc_weights_new(const struct mlc_dc_weights_spec *spec,
                   struct mlc_dc_weights **ret, char **ret_err)
{
    __attribute__((cleanup(mlc_cleanup_weights))) struct mlc_dc_weights *w =
        calloc(1, sizeof(*w));
    size_t first = 0;
    int r;

    *ret_err = NULL;
    if (!w) {
        mlc_layout_free(spec->layout);
        return -ENOMEM;
    }
    atomic_init(&w->refs, 1);
    w->layout = spec->layout;
    w->inputs = spec->inputs;
    w->parts = calloc(w->layout->n_components + 1, sizeof(w->parts[0]));
    r = w->parts ? read_loras(w, spec, ret_err) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < w->layout->n_components; i++) {
        const struct mlc_component *c = &w->layout->components[i];

        r = make_part(w, spec, c, first, &w->parts[i], ret_err);
        first += c->n_targets;
    }
    if (r < 0)
        return r;
    *ret = mlc_steal(&w);
    return 0;
}

/* --- plans --------------------------------------------------------------- */

/* Those of the part's tensors, which are in the order of the file. */
static size_t
fill_extents(const struct part *p, struct mlc_extent *extents)
{
    const struct mlc_component *c = p->component;
    const struct tensor *t = p->tensors, *end = t + p->n_tensors;
    size_t n = 0;

    for (size_t i = 0; i < c->n_targets; i++) {
        const struct mlc_target *g = &c->targets[i];
        struct mlc_extent *e = &extents[n];

        if (g->tensor.begin == g->tensor.end)
            continue;
        n++;
        e->begin = g->tensor.begin;
        e->end = g->tensor.end;
        e->source_begin = g->source_begin;
        if (t == end || t->target != g)
            continue;
        e->ops = t->n_deltas > 0 ? &merged_ops : &transposed_ops;
        e->arg = t;
        e->key = t->key;
        e->block_len =
            (size_t)(t->row_len < BLOCK ? BLOCK / t->row_len * t->row_len
                                        : t->row_len);
        t++;
    }
    return n;
}

static uint64_t
content_of(const struct mlc_dc_weights *w, const struct part *p,
           const struct mlc_extent *extents, size_t n)
{
    const struct mlc_component *c = p->component;
    uint64_t key = hash_of(c->header, c->header_len, identity_of(w, p, 0));

    for (size_t i = 0; i < n; i++) {
        uint64_t one[] = {extents[i].end,
                          extents[i].ops ? extents[i].key
                                         : extents[i].source_begin,
                          extents[i].ops != NULL};

        key = hash_of(one, sizeof(one), key);
    }
    return key;
}

static size_t
len_of_component(const struct mlc_component *c, const struct part *p)
{
    size_t len = 2 * c->header_len;

    for (size_t i = 0; i < c->n_targets; i++)
        len += sizeof(c->targets[i]) + strlen(c->targets[i].name) +
               strlen(c->targets[i].source_name) + sizeof(struct mlc_extent) +
               sizeof(p->tensors[0]);
    return len;
}

size_t
mlc_dc_weights_len(const struct mlc_dc_weights *w)
{
    size_t len = 0;

    for (size_t i = 0; i < w->layout->n_components; i++) {
        const struct part *p = &w->parts[i];

        len += len_of_component(&w->layout->components[i], p) +
               p->n_tensors * w->n_loras * sizeof(p->tensors[0].deltas[0]);
    }
    for (size_t i = 0; i < w->n_loras; i++)
        len += w->loras[i]->n_modules * 2 * sizeof(w->loras[i]->deltas[0]);
    return len;
}

int
mlc_dc_weights_part(struct mlc_dc_weights *w, size_t i, struct mlc_dc_part *ret)
{
    const struct part *p = &w->parts[i];
    const struct mlc_component *c = p->component;
    mlc_autofree struct mlc_extent *extents =
        calloc(c->n_targets ? c->n_targets : 1, sizeof(extents[0]));
    mlc_autofree char *head = malloc(c->header_len);
    mlc_autofree unsigned *inputs = calloc(p->n_inputs, sizeof(inputs[0]));
    size_t n;
    int r;

    if (!extents || !head || !inputs)
        return -ENOMEM;
    memcpy(head, c->header, c->header_len);
    memcpy(inputs, p->inputs, p->n_inputs * sizeof(inputs[0]));
    n = fill_extents(p, extents);
    ret->content = content_of(w, p, extents, n);
    r = mlc_view_plan_new(head, c->header_len, extents, n, w, unref_owner,
                          &ret->plan);
    if (r < 0)
        return r;
    atomic_fetch_add(&w->refs, 1);
    head = NULL;
    extents = NULL;
    ret->component = c;
    ret->inputs = mlc_steal(&inputs);
    ret->n_inputs = p->n_inputs;
    return 0;
}
