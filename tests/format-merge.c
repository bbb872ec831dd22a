/* SPDX-License-Identifier: MIT */
/* Merges LoRAs into one weights file of a diffusers folder, for
 * tests/test-client-lora.sh:
 *
 *   format-merge COMPONENT OVERALL BASE RESULT [WEIGHT LORA]...
 *
 * COMPONENT is unet, text_encoder or text_encoder_2.  Each tensor is merged in
 * three calls, so that their borders are seen.  Says how many tensors were
 * changed, and by which kernel. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/lora.h"
#include "backends/format/merge.h"
#include "backends/format/merge_i.h"

#define N_MAX 8

struct file {
    unsigned char *bytes;
    size_t len;
    struct mlc_safetensors *parsed;
};

struct lora {
    struct file file;
    double weight;
    struct mlc_lora *deltas;
};

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
    fprintf(stderr, "format-merge: %s: %s\n", what, why);
    exit(1);
}

static void
read_file(const char *path, struct file *ret)
{
    FILE *file = fopen(path, "rb");
    char *why = NULL;
    size_t len;
    long size;

    if (!file || fseek(file, 0, SEEK_END) < 0 || (size = ftell(file)) < 0)
        die(path, strerror(errno));
    rewind(file);
    ret->len = (size_t)size;
    ret->bytes = malloc(ret->len + 1);
    if (!ret->bytes || fread(ret->bytes, 1, ret->len, file) != ret->len)
        die(path, "can't be read");
    fclose(file);
    if (ret->len < MLC_SAFETENSORS_PREFIX_LEN ||
        mlc_safetensors_header_len(ret->bytes, ret->len, &len, &why) < 0 ||
        mlc_safetensors_parse((char *)ret->bytes + MLC_SAFETENSORS_PREFIX_LEN,
                              len, ret->len, &ret->parsed, &why) < 0)
        die(path, why ? why : "too short");
}

static int
read_alpha(void *arg, uint64_t offset, void *ret_bytes, size_t len)
{
    const struct file *file = arg;

    memcpy(ret_bytes, file->bytes + offset, len);
    return 0;
}

static enum mlc_part
part_of(const char *name)
{
    if (strcmp(name, "unet") == 0)
        return MLC_PART_UNET;
    if (strcmp(name, "text_encoder") == 0)
        return MLC_PART_TEXT_ENCODER;
    if (strcmp(name, "text_encoder_2") == 0)
        return MLC_PART_TEXT_ENCODER_2;
    die(name, "no such component");
}

static struct mlc_lora_names *
make_names(const struct file *base, enum mlc_part part)
{
    size_t n = mlc_safetensors_n_tensors(base->parsed), i;
    struct mlc_lora_target *targets = calloc(n + 1, sizeof *targets);
    struct mlc_lora_names *names = NULL;

    for (i = 0; targets && i < n; i++) {
        const struct mlc_tensor *t = mlc_safetensors_get(base->parsed, i);

        targets[i] = (struct mlc_lora_target){.part = part,
                                              .name = t->name,
                                              .dtype = t->dtype,
                                              .n_dims = t->n_dims,
                                              .shape = t->shape};
    }
    if (!targets || mlc_lora_names_new(targets, n, &names) < 0)
        die("names", "can't be made");
    free(targets);
    return names;
}

/* What is added to a tensor: B's of all of its rows. */
struct deltas {
    struct mlc_merge_delta of[N_MAX];
    const unsigned char *b[N_MAX];
    size_t n;
};

/* The result takes the base's place. */
static void
merge(const struct mlc_tensor *t, const struct deltas *d, unsigned char *bytes)
{
    uint64_t rows = t->shape[0], cuts[4], size;
    struct mlc_merge *plan = NULL;
    const void *b[N_MAX];
    unsigned i, k;

    size = (t->end - t->begin) / rows;
    if (mlc_merge_new(t->dtype, size / mlc_float_size(t->dtype), d->of, d->n,
                      &plan) < 0)
        die(t->name, "no plan");
    cuts[0] = 0;
    cuts[1] = rows / 3;
    cuts[2] = rows / 3 * 2 + rows % 3;
    cuts[3] = rows;
    for (i = 0; i < 3; i++) {
        unsigned char *from = bytes + t->begin + cuts[i] * size;

        for (k = 0; k < d->n; k++)
            b[k] = d->b[k] +
                   cuts[i] * d->of[k].rank * mlc_float_size(d->of[k].b_type);
        if (mlc_merge_rows(plan, cuts[i + 1] - cuts[i], b, from, from) < 0)
            die(t->name, "no memory");
    }
    mlc_merge_free(plan);
}

static void
find_deltas(const struct lora *loras, size_t n, double overall, size_t target,
            struct deltas *ret)
{
    const struct mlc_lora_delta *d;
    size_t i;

    ret->n = 0;
    for (i = 0; i < n; i++) {
        d = loras[i].deltas ? mlc_lora_find(loras[i].deltas, target) : NULL;
        if (!d)
            continue;
        ret->b[ret->n] = loras[i].file.bytes + d->b.offset;
        ret->of[ret->n++] = (struct mlc_merge_delta){
            .a = d->a.len ? loras[i].file.bytes + d->a.offset : NULL,
            .a_type = d->a.dtype,
            .b_type = d->b.dtype,
            .rank = d->rank,
            .is_conv = d->is_conv,
            .scale = mlc_lora_scale(d, loras[i].weight, overall)};
    }
}

static void
open_lora(const char *weight, const char *path,
          const struct mlc_lora_names *names, struct lora *ret)
{
    const struct mlc_lora_reader reader = {.read = read_alpha,
                                           .arg = &ret->file};
    char *why = NULL;

    read_file(path, &ret->file);
    ret->weight = strtod(weight, NULL);
    if (mlc_lora_new(names, ret->file.parsed, &reader, &ret->deltas, &why) < 0)
        die(path, why ? why : "no memory");
    if (ret->deltas->n_unmatched)
        fprintf(stderr, "%s: %zu of %zu modules are not in this component\n",
                path, ret->deltas->n_unmatched, ret->deltas->n_modules);
    mlc_safetensors_free(ret->file.parsed);
}

int
main(int argc, char **argv)
{
    struct lora loras[N_MAX];
    struct deltas deltas;
    struct mlc_lora_names *names;
    size_t n_loras = 0, n_changed = 0, i;
    struct file base = {0};
    FILE *out;

    if (argc < 7 || argc % 2 == 0 || (argc - 5) / 2 > N_MAX) {
        fprintf(stderr, "usage: see the source\n");
        return 2;
    }
    memset(loras, 0, sizeof loras);
    read_file(argv[3], &base);
    names = make_names(&base, part_of(argv[1]));
    for (n_loras = 0; 5 + 2 * (int)n_loras < argc; n_loras++)
        open_lora(argv[5 + 2 * n_loras], argv[6 + 2 * n_loras], names,
                  &loras[n_loras]);
    for (i = 0; i < mlc_safetensors_n_tensors(base.parsed); i++) {
        find_deltas(loras, n_loras, strtod(argv[2], NULL), i, &deltas);
        if (deltas.n > 0)
            merge(mlc_safetensors_get(base.parsed, i), &deltas, base.bytes);
        n_changed += deltas.n > 0;
    }
    out = fopen(argv[4], "wb");
    if (!out || fwrite(base.bytes, 1, base.len, out) != base.len ||
        fclose(out) != 0)
        die(argv[4], strerror(errno));
    printf("%zu %s\n", n_changed,
           mlc_merge_avx2(MLC_DTYPE_F16) ? "avx2" : "plain");
    for (i = 0; i < n_loras; i++) {
        free(loras[i].file.bytes);
        mlc_lora_free(loras[i].deltas);
    }
    mlc_lora_names_free(names);
    mlc_safetensors_free(base.parsed);
    free(base.bytes);
    return 0;
}
