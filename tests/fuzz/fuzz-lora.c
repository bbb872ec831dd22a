/* SPDX-License-Identifier: MIT */
/* The input is the header of a LoRA's file (of which the last number says where
 * the data end), against a narrow model. */
/* seeds: test-format-lora */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/half.h"
#include "backends/format/lora.h"
#include "backends/format/merge.h"

#define N_OF(array) (sizeof(array) / sizeof *(array))
#define check(x)                                                               \
    do {                                                                       \
        if (!(x))                                                              \
            abort();                                                           \
    } while (0)

#define WIDTH 4
#define NAME  "down_blocks.0.attentions.0."
#define FROM  "input_blocks.1.1."
#define BLOCK "transformer_blocks.0."
#define TEXT  "text_model.encoder.layers.0."
#define IN    "transformer.resblocks.0.attn.in_proj_weight"

static const uint64_t vector[] = {WIDTH};
static const uint64_t matrix[] = {WIDTH, WIDTH};
static const uint64_t words[] = {9, WIDTH};
static const uint64_t kernel1[] = {WIDTH, WIDTH, 1, 1};
static const uint64_t kernel3[] = {WIDTH, WIDTH, 3, 3};

#define UNET(source, name, shape)                                              \
    {                                                                          \
        MLC_PART_UNET, name, source, MLC_DTYPE_F16, N_OF(shape), shape         \
    }
#define CLIP(part, name, source, shape)                                        \
    {                                                                          \
        part, name, source, MLC_DTYPE_F16, N_OF(shape), shape                  \
    }
#define ENCODER(part)                                                          \
    CLIP(part, "text_model.embeddings.token_embedding.weight", NULL, words),   \
        CLIP(part, TEXT "self_attn.q_proj.weight", IN, matrix),                \
        CLIP(part, TEXT "self_attn.q_proj.bias", IN, vector),                  \
        CLIP(part, TEXT "self_attn.k_proj.weight", IN, matrix),                \
        CLIP(part, TEXT "self_attn.out_proj.weight", NULL, matrix),            \
        CLIP(part, TEXT "mlp.fc1.weight", NULL, matrix)

static const struct mlc_lora_target targets[] = {
    UNET("time_embed.0.weight", "time_embedding.linear_1.weight", matrix),
    UNET("time_embed.0.bias", "time_embedding.linear_1.bias", vector),
    UNET("input_blocks.0.0.weight", "conv_in.weight", kernel3),
    UNET("input_blocks.0.0.bias", "conv_in.bias", vector),
    UNET(FROM "norm.weight", NAME "norm.weight", vector),
    UNET(FROM "proj_in.weight", NAME "proj_in.weight", kernel1),
    UNET(FROM BLOCK "attn1.to_q.weight", NAME BLOCK "attn1.to_q.weight",
         matrix),
    UNET(FROM BLOCK "attn1.to_k.weight", NAME BLOCK "attn1.to_k.weight",
         matrix),
    UNET(FROM BLOCK "attn1.to_out.0.weight", NAME BLOCK "attn1.to_out.0.weight",
         matrix),
    UNET(FROM BLOCK "attn1.to_out.0.bias", NAME BLOCK "attn1.to_out.0.bias",
         vector),
    UNET(FROM BLOCK "ff.net.0.proj.weight", NAME BLOCK "ff.net.0.proj.weight",
         matrix),
    UNET("input_blocks.1.0.in_layers.2.weight",
         "down_blocks.0.resnets.0.conv1.weight", kernel3),
    ENCODER(MLC_PART_TEXT_ENCODER),
    ENCODER(MLC_PART_TEXT_ENCODER_2),
    CLIP(MLC_PART_TEXT_ENCODER_2, "text_projection.weight", NULL, matrix),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
    uint64_t size;
    size_t n_wanted; /* spans that were told and not yet read */
};

static int
want(void *arg, const struct mlc_lora_span *spans, size_t n)
{
    struct file *f = arg;

    check(n > 0 && f->n_wanted == 0);
    for (size_t i = 0; i < n; i++) {
        check(spans[i].len <= 8 && spans[i].len <= f->size &&
              spans[i].offset <= f->size - spans[i].len);
        check(i == 0 ||
              spans[i - 1].offset + spans[i - 1].len <= spans[i].offset);
    }
    f->n_wanted = n;
    return 0;
}

/* Alphas of any bits: what the offset is made of. */
static int
read_bytes(void *arg, uint64_t offset, void *ret_bytes, size_t len)
{
    struct file *f = arg;
    unsigned char *bytes = ret_bytes;

    check(len <= 8 && f->n_wanted > 0);
    f->n_wanted--;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(offset * 0x9e3779b1U >> (8 * (i % 4)));
    return 0;
}

static void
check_factor(const struct mlc_lora_factor *f, uint64_t n, uint64_t file_size)
{
    check(f->len == n * mlc_float_size(f->dtype));
    check(f->len <= file_size && f->offset <= file_size - f->len);
}

static void
look(const struct mlc_lora *lora, uint64_t file_size)
{
    check(lora->n_unmatched <= lora->n_modules);
    check((lora->n_unmatched > 0) == (lora->first_unmatched != NULL));
    for (size_t i = 0; i < lora->n_deltas; i++) {
        const struct mlc_lora_delta *d = &lora->deltas[i];
        const struct mlc_lora_target *t;
        uint64_t columns = 1;

        check(d->target < N_OF(targets));
        check(i == 0 || lora->deltas[i - 1].target < d->target);
        check(mlc_lora_find(lora, d->target) == d);
        t = &targets[d->target];
        for (unsigned k = 1; k < t->n_dims; k++)
            columns *= t->shape[k];
        check(d->rank >= 1 && d->rank <= MLC_MERGE_MAX_RANK);
        if (d->a.len > 0)
            check_factor(&d->a, d->rank * columns, file_size);
        else
            check(t->n_dims == 1 && d->rank == 1);
        check_factor(&d->b, t->shape[0] * d->rank, file_size);
        check(d->divisor > 0 && isfinite(d->divisor));
        (void)mlc_lora_scale(d, 1, 1);
    }
}

static bool
try(const uint8_t *data, size_t size, uint64_t room)
{
    const struct mlc_lora_reader reader = {
        want, read_bytes, &(struct file){.size = 8 + size + room}};
    struct mlc_safetensors *f = NULL;
    struct mlc_lora_names *names = NULL;
    struct mlc_lora *lora = NULL;
    char *why = NULL;
    int r;

    if (mlc_safetensors_parse((const char *)data, size, 8 + size + room, &f,
                              NULL) < 0)
        return false;
    check(mlc_lora_names_new(targets, N_OF(targets), &names) == 0);
    r = mlc_lora_new(names, f, &reader, &lora, &why);
    mlc_lora_names_free(names);
    mlc_safetensors_free(f);
    check(r == 0 || r == -EBADMSG);
    check((r == 0) == (lora != NULL) && (r == 0) == (why == NULL));
    if (lora)
        look(lora, 8 + size + room);
    mlc_lora_free(lora);
    free(why);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t room = 0, digit = 1;
    size_t i = size;

    while (i > 0 && (data[i - 1] < '0' || data[i - 1] > '9'))
        i--;
    for (; i > 0 && data[i - 1] >= '0' && data[i - 1] <= '9'; i--) {
        room += digit * (uint64_t)(data[i - 1] - '0');
        digit *= 10;
    }
    if (room <= INT64_MAX / 2)
        try(data, size, room);
    return 0;
}
