/* SPDX-License-Identifier: MIT */
/* The modules of a model by their flat names (facts: checkpoints 5.3). */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/lora_i.h"
#include "backends/util/cleanup.h"

/* A name of a module. */
struct entry {
    enum mlc_part part;
    char *flat; /* owned */
    size_t module;
};

struct mlc_lora_names {
    struct mlc_lora_module *modules;
    size_t n_modules;
    struct entry *entries; /* sorted by part and name */
    size_t n_entries;
};

MLC_DEFINE_CLEANUP(names, struct mlc_lora_names *, mlc_lora_names_free);

void
mlc_lora_names_free(struct mlc_lora_names *names)
{
    size_t i;

    if (!names)
        return;
    for (i = 0; i < names->n_entries; i++)
        free(names->entries[i].flat);
    free(names->entries);
    free(names->modules);
    free(names);
}

static bool
ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);

    return len > n && strcmp(name + len - n, end) == 0;
}

static const char *
skip_text_model(enum mlc_part part, const char *name)
{
    if (part != MLC_PART_UNET && strncmp(name, "text_model.", 11) == 0)
        return name + 11;
    return name;
}

/* Whether it is the weight of a module that LoRAs change. */
static bool
is_module(const struct mlc_lora_target *target)
{
    if (target->part != MLC_PART_UNET &&
        target->part != MLC_PART_TEXT_ENCODER &&
        target->part != MLC_PART_TEXT_ENCODER_2)
        return false;
    return target->n_dims >= 2 && ends_with(target->name, ".weight") &&
           !strstr(target->name, "embeddings.");
}

static int
compare_modules(const void *a, const void *b)
{
    const struct mlc_lora_module *x = a, *y = b;

    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void
add_modules(struct mlc_lora_names *names, const struct mlc_lora_target *targets,
            size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        const char *name = skip_text_model(targets[i].part, targets[i].name);

        if (is_module(&targets[i]))
            names->modules[names->n_modules++] = (struct mlc_lora_module){
                .part = targets[i].part,
                .name = name,
                .name_len = strlen(name) - strlen(".weight"),
                .weight = targets[i],
                .target = i,
                .bias = MLC_LORA_NO_TARGET,
            };
    }
    qsort(names->modules, names->n_modules, sizeof *names->modules,
          compare_modules);
}

/* Finds a module's bias among the targets: those are searched once. */
static int
add_biases(struct mlc_lora_names *names, const struct mlc_lora_target *targets,
           size_t n)
{
    struct mlc_lora_module wanted = {0}, *found;
    const char *name;
    char *weight;
    size_t i, len;

    for (i = 0; i < n; i++) {
        if (targets[i].n_dims != 1 || !ends_with(targets[i].name, ".bias"))
            continue;
        name = skip_text_model(targets[i].part, targets[i].name);
        len = strlen(name) - strlen(".bias");
        weight = malloc(len + sizeof ".weight");
        if (!weight)
            return -ENOMEM;
        memcpy(weight, name, len);
        memcpy(weight + len, ".weight", sizeof ".weight");
        wanted.part = targets[i].part;
        wanted.name = weight;
        found = bsearch(&wanted, names->modules, names->n_modules,
                        sizeof *names->modules, compare_modules);
        free(weight);
        if (found)
            found->bias = i;
    }
    return 0;
}

static int
compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return strcmp(x->flat, y->flat);
}

static int
add_entry(struct mlc_lora_names *names, size_t module, const char *name,
          size_t len)
{
    char *flat = strndup(name, len), *at;

    if (!flat)
        return -ENOMEM;
    for (at = strchr(flat, '.'); at; at = strchr(at, '.'))
        *at = '_';
    names->entries[names->n_entries++] = (struct entry){
        .part = names->modules[module].part, .flat = flat, .module = module};
    return 0;
}

static int
add_entries(struct mlc_lora_names *names)
{
    const struct mlc_lora_module *m;
    const char *source;
    size_t i;
    int r;

    for (i = 0; i < names->n_modules; i++) {
        m = &names->modules[i];
        r = add_entry(names, i, m->name, m->name_len);
        source = m->weight.source_name;
        if (r == 0 && m->part == MLC_PART_UNET && source &&
            ends_with(source, ".weight"))
            r = add_entry(names, i, source, strlen(source) - strlen(".weight"));
        if (r < 0)
            return r;
    }
    qsort(names->entries, names->n_entries, sizeof *names->entries,
          compare_entries);
    for (i = 1; i < names->n_entries; i++)
        if (compare_entries(&names->entries[i - 1], &names->entries[i]) == 0 &&
            names->entries[i - 1].module != names->entries[i].module)
            return -EEXIST;
    return 0;
}

int
mlc_lora_names_new(const struct mlc_lora_target *targets, size_t n,
                   struct mlc_lora_names **ret_names)
{
    __attribute__((cleanup(mlc_cleanup_names))) struct mlc_lora_names *names =
        calloc(1, sizeof *names);
    int r;

    if (!names)
        return -ENOMEM;
    names->modules = calloc(n + 1, sizeof *names->modules);
    names->entries = calloc(n + 1, 2 * sizeof *names->entries);
    if (!names->modules || !names->entries)
        return -ENOMEM;
    add_modules(names, targets, n);
    r = add_biases(names, targets, n);
    if (r == 0)
        r = add_entries(names);
    if (r < 0)
        return r;
    *ret_names = mlc_steal(&names);
    return 0;
}

size_t
mlc_lora_names_count(const struct mlc_lora_names *names, enum mlc_part part)
{
    size_t i, count = 0;

    for (i = 0; i < names->n_modules; i++)
        count += names->modules[i].part == part;
    return count;
}

struct sought {
    enum mlc_part part;
    const char *flat;
};

static int
compare_sought(const void *a, const void *b)
{
    const struct sought *x = a;
    const struct entry *y = b;

    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return strcmp(x->flat, y->flat);
}

const struct mlc_lora_module *
mlc_lora_names_find(const struct mlc_lora_names *names, enum mlc_part part,
                    const char *flat)
{
    const struct entry *found =
        bsearch(&(struct sought){part, flat}, names->entries, names->n_entries,
                sizeof *names->entries, compare_sought);

    return found ? &names->modules[found->module] : NULL;
}
