/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/wants.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
mlc_wants_done(struct mlc_wants *w)
{
    size_t i;

    for (i = 0; i < w->n; i++) {
        free(w->all[i].name);
        free(w->all[i].source_name);
    }
    free(w->all);
    *w = (struct mlc_wants){.r = 0};
}

struct mlc_name
mlc_namef(const char *fmt, ...)
{
    struct mlc_name name;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name.s, sizeof name.s, fmt, ap);
    va_end(ap);
    return name;
}

/* at.name, or at or name where the other is "". */
static char *
join(const char *at, const char *name)
{
    char *whole = NULL;

    if (asprintf(&whole, "%s%s%s", at, *at && *name ? "." : "", name) < 0)
        return NULL;
    return whole;
}

static int
make_room(struct mlc_wants *w)
{
    size_t cap = w->cap ? w->cap * 2 : 256;
    struct mlc_want *all;

    if (w->n == MLC_MAX_WANTS)
        return -EFBIG;
    if (w->n < w->cap)
        return 0;
    all = realloc(w->all, cap * sizeof *all);
    if (!all)
        return -ENOMEM;
    w->all = all;
    w->cap = cap;
    return 0;
}

struct mlc_want *
mlc_want(struct mlc_wants *w, const struct mlc_at *at, const char *source,
         const char *name, unsigned n_dims, const uint64_t *shape)
{
    struct mlc_want *want;

    if (w->r == 0)
        w->r = make_room(w);
    if (w->r < 0)
        return NULL;
    want = &w->all[w->n++];
    *want = (struct mlc_want){
        .name = join(at->name.s, name),
        .source_name = join(at->source.s, source),
        .n_dims = n_dims,
        .n_parts = 1,
    };
    memcpy(want->shape, shape, n_dims * sizeof *shape);
    if (!want->name || !want->source_name) {
        w->r = -ENOMEM;
        return NULL;
    }
    return want;
}

/* The module's own tensor: its weight, its bias. */
static void
want_of(struct mlc_wants *w, const struct mlc_at *at, const char *source,
        const char *name, const char *tensor, unsigned n_dims,
        const uint64_t *shape)
{
    mlc_want(w, at, mlc_namef("%s.%s", source, tensor).s,
             mlc_namef("%s.%s", name, tensor).s, n_dims, shape);
}

void
mlc_want_norm(struct mlc_wants *w, const struct mlc_at *at, const char *source,
              const char *name, uint64_t n)
{
    want_of(w, at, source, name, "weight", 1, &n);
    want_of(w, at, source, name, "bias", 1, &n);
}

void
mlc_want_matrix(struct mlc_wants *w, const struct mlc_at *at,
                const char *source, const char *name, uint64_t out, uint64_t in)
{
    const uint64_t shape[] = {out, in};

    want_of(w, at, source, name, "weight", 2, shape);
}

void
mlc_want_linear(struct mlc_wants *w, const struct mlc_at *at,
                const char *source, const char *name, uint64_t out, uint64_t in)
{
    mlc_want_matrix(w, at, source, name, out, in);
    want_of(w, at, source, name, "bias", 1, &out);
}

void
mlc_want_conv(struct mlc_wants *w, const struct mlc_at *at, const char *source,
              const char *name, uint64_t out, uint64_t in, uint64_t kernel)
{
    const uint64_t shape[] = {out, in, kernel, kernel};

    want_of(w, at, source, name, "weight", 4, shape);
    want_of(w, at, source, name, "bias", 1, &out);
}
