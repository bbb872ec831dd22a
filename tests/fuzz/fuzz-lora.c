/* SPDX-License-Identifier: MIT */
/* The input is a LoRA's file, written so that what is changed in it still fits
 * together: a line with the members of its metadata, as JSON has them, and one
 * for each tensor, "F16 [4,2] NAME".  The model is a narrow one. */
/* seeds: test-format-lora */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backends/format/half.h"
#include "backends/format/lora.h"
#include "backends/format/merge.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"

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

#define TENSOR(part, name, source, dtype, shape)                               \
    {                                                                          \
        part, name, source, dtype, N_OF(shape), shape                          \
    }
#define UNET(source, name, shape)                                              \
    TENSOR(MLC_PART_UNET, name, source, MLC_DTYPE_F16, shape)
#define ENCODER(part, dtype)                                                   \
    TENSOR(part, "text_model.embeddings.token_embedding.weight", NULL, dtype,  \
           words),                                                             \
        TENSOR(part, TEXT "self_attn.q_proj.weight", IN, dtype, matrix),       \
        TENSOR(part, TEXT "self_attn.q_proj.bias", IN, dtype, vector),         \
        TENSOR(part, TEXT "self_attn.k_proj.weight", IN, dtype, matrix),       \
        TENSOR(part, TEXT "self_attn.out_proj.weight", NULL, dtype, matrix),   \
        TENSOR(part, TEXT "mlp.fc1.weight", NULL, dtype, matrix)

/* Of the names that the test has, and of every type. */
static const struct mlc_lora_target targets[] = {
    UNET("time_embed.0.weight", "time_embedding.linear_1.weight", matrix),
    UNET("time_embed.0.bias", "time_embedding.linear_1.bias", vector),
    UNET(FROM "norm.weight", NAME "norm.weight", vector),
    UNET(FROM BLOCK "attn1.to_q.weight", NAME BLOCK "attn1.to_q.weight",
         matrix),
    UNET(FROM BLOCK "attn1.to_k.weight", NAME BLOCK "attn1.to_k.weight",
         matrix),
    UNET(FROM BLOCK "attn1.to_out.0.weight", NAME BLOCK "attn1.to_out.0.weight",
         matrix),
    UNET(FROM BLOCK "attn1.to_out.0.bias", NAME BLOCK "attn1.to_out.0.bias",
         vector),
    UNET("middle_block.0.in_layers.2.weight",
         "mid_block.resnets.0.conv1.weight", kernel3),
    UNET("middle_block.1.proj_in.weight",
         "mid_block.attentions.0.proj_in.weight", kernel1),
    UNET("middle_block.1." BLOCK "attn1.to_k.weight",
         "mid_block.attentions.0." BLOCK "attn1.to_k.weight", matrix),
    ENCODER(MLC_PART_TEXT_ENCODER, MLC_DTYPE_BF16),
    ENCODER(MLC_PART_TEXT_ENCODER_2, MLC_DTYPE_F32),
    TENSOR(MLC_PART_TEXT_ENCODER, "text_projection.weight", NULL, MLC_DTYPE_F16,
           matrix),
    TENSOR(MLC_PART_TEXT_ENCODER_2, "text_projection.weight", NULL,
           MLC_DTYPE_F8_E5M2, matrix),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the file ----------------------------------------------------------- */

#define MAX_FILE ((uint64_t)1 << 40)

struct file {
    struct mlc_buf header;
    uint64_t len; /* of the tensors so far */
    uint64_t size;
    int answer; /* of want */
    size_t n_spans, n_read;
};

/* Bytes of a shape's tensor; what doesn't fit is the parser's to refuse. */
static uint64_t
bytes_of(const char *dtype, size_t dtype_len, const char *shape,
         size_t shape_len)
{
    uint64_t n = 0, value = 0;

    for (int i = 0; i < MLC_N_DTYPES; i++) {
        const char *name = mlc_dtype_name((enum mlc_dtype)i);

        if (strlen(name) == dtype_len && memcmp(name, dtype, dtype_len) == 0)
            n = mlc_dtype_bits((enum mlc_dtype)i);
    }
    for (size_t i = 0; i < shape_len; i++) {
        bool is_digit = shape[i] >= '0' && shape[i] <= '9';

        if (is_digit)
            value = value * 10 + (uint64_t)(shape[i] - '0');
        if (value > MAX_FILE)
            return 0;
        if (is_digit && !(i + 1 < shape_len && shape[i + 1] >= '0' &&
                          shape[i + 1] <= '9')) {
            if (__builtin_mul_overflow(n, value, &n))
                return 0;
            value = 0;
        }
    }
    return n / 8 <= MAX_FILE ? n / 8 : 0;
}

static void
add_tensor(struct file *f, const char *line, size_t len)
{
    const char *end = line + len;
    const char *shape = memchr(line, ' ', len), *name;
    uint64_t begin = f->len;

    name = shape ? memchr(shape + 1, ' ', (size_t)(end - shape - 1)) : NULL;
    if (!name || f->len > MAX_FILE)
        return;
    f->len += bytes_of(line, (size_t)(shape - line), shape + 1,
                       (size_t)(name - shape - 1));
    check(mlc_buf_printf(&f->header,
                         ",\"%.*s\":{\"dtype\":\"%.*s\",\"shape\":%.*s,"
                         "\"data_offsets\":[%llu,%llu]}",
                         (int)(end - name - 1), name + 1, (int)(shape - line),
                         line, (int)(name - shape - 1), shape + 1,
                         (unsigned long long)begin,
                         (unsigned long long)f->len) == 0);
}

static void
write_header(struct file *f, const char *text, size_t len)
{
    const char *end = text + len, *line = text, *stop;
    bool is_first = true;

    mlc_buf_init(&f->header, 64 << 20);
    for (; line < end; line = stop + (stop < end)) {
        stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop)
            stop = end;
        if (!is_first)
            add_tensor(f, line, (size_t)(stop - line));
        else
            check(mlc_buf_printf(&f->header, "{\"__metadata__\":{%.*s}",
                                 (int)(stop - line), line) == 0);
        is_first = false;
    }
    check(mlc_buf_puts(&f->header, "}") == 0);
    f->size = 8 + f->header.len + f->len;
}

/* --- its bytes ---------------------------------------------------------- */

static int
want(void *arg, const struct mlc_lora_span *spans, size_t n)
{
    struct file *f = arg;

    check(n > 0 && !f->n_spans);
    for (size_t i = 0; i < n; i++) {
        check(spans[i].len >= 2 && spans[i].len <= 8);
        check(spans[i].offset >= f->size - f->len &&
              spans[i].offset <= f->size - spans[i].len);
        check(i == 0 ||
              spans[i - 1].offset + spans[i - 1].len <= spans[i].offset);
    }
    f->n_spans = n;
    return f->answer;
}

/* Values of any bits: what the offset is made of. */
static void
make_bytes(uint64_t offset, void *ret, size_t len)
{
    XXH64_hash_t hash;
    char *to = ret;

    for (size_t i = 0; i < len; i++) {
        if (i % sizeof hash == 0)
            hash = XXH64(&i, sizeof i, offset);
        to[i] = (char)(hash >> 8 * (i % sizeof hash));
    }
}

/* Each once, and none that was not asked for; some are no numbers. */
static int
read_bytes(void *arg, uint64_t offset, void *ret_bytes, size_t len)
{
    struct file *f = arg;

    check(f->answer == 0 && len <= 8 && f->n_read < f->n_spans);
    f->n_read++;
    make_bytes(offset, ret_bytes, len);
    if (offset % 4 == 0)
        memset(ret_bytes, 0xff, len);
    return 0;
}

/* --- what is made of it -------------------------------------------------- */

static uint64_t
columns_of(const struct mlc_lora_target *t)
{
    uint64_t n = 1;

    for (unsigned i = 1; i < t->n_dims; i++)
        n *= t->shape[i];
    return n;
}

static void
check_factor(const struct mlc_lora_factor *factor, uint64_t n,
             const struct file *f)
{
    check(factor->len == n * mlc_float_size(factor->dtype));
    check(factor->offset >= f->size - f->len);
    check(factor->len <= f->size && factor->offset <= f->size - factor->len);
}

/* Room that ends where the values do. */
static void *
read_factor(const struct mlc_lora_factor *factor)
{
    void *bytes = factor->len > 0 ? malloc(factor->len) : NULL;

    check(bytes || factor->len == 0);
    if (bytes)
        make_bytes(factor->offset, bytes, factor->len);
    return bytes;
}

static void
merge(const struct mlc_lora_delta *d)
{
    const struct mlc_lora_target *t = &targets[d->target];
    uint64_t rows = t->shape[0], columns = columns_of(t);
    mlc_autofree void *a = read_factor(&d->a), *b = read_factor(&d->b);
    mlc_autofree void *base = calloc(rows * columns, mlc_float_size(t->dtype));
    const struct mlc_merge_delta delta = {
        .a = a,
        .a_type = d->a.dtype,
        .b_type = d->b.dtype,
        .rank = d->rank,
        .is_conv = d->is_conv,
        .scale = mlc_lora_scale(d, 0.5, 1),
    };
    struct mlc_merge *plan = NULL;

    check(base);
    check(mlc_merge_size(columns, &delta, 1) < MAX_FILE);
    check(mlc_merge_new(t->dtype, columns, &delta, 1, &plan) == 0);
    check(mlc_merge_rows(plan, rows, (const void *[]){b}, base, base) == 0);
    mlc_merge_free(plan);
}

static void
look(const struct mlc_lora *lora, const struct file *f)
{
    check(lora->n_deltas > 0 && lora->n_unmatched < lora->n_modules);
    check((lora->n_unmatched > 0) == (lora->first_unmatched != NULL));
    for (size_t i = 0; i < lora->n_deltas; i++) {
        const struct mlc_lora_delta *d = &lora->deltas[i];
        const struct mlc_lora_target *t;

        check(d->target < N_OF(targets));
        check(i == 0 || lora->deltas[i - 1].target < d->target);
        check(mlc_lora_find(lora, d->target) == d);
        t = &targets[d->target];
        check(d->rank >= 1 && d->rank <= MLC_MERGE_MAX_RANK);
        check(d->is_conv == (t->shape == kernel3));
        if (d->a.len > 0)
            check_factor(&d->a, d->rank * columns_of(t), f);
        else
            check(t->n_dims == 1 && d->rank == 1);
        check_factor(&d->b, t->shape[0] * d->rank, f);
        check(d->divisor > 0 && isfinite(d->divisor) && isfinite(d->alpha));
        merge(d);
    }
}

static int
parse(const struct mlc_lora_names *names, const struct mlc_safetensors *parsed,
      struct file *f, struct mlc_lora **ret)
{
    const struct mlc_lora_reader reader = {want, read_bytes, f};
    char *why = NULL;
    int r;

    f->n_spans = f->n_read = 0;
    r = mlc_lora_new(names, parsed, &reader, ret, &why);
    check((r == 0) == (*ret != NULL) && (r == -EBADMSG) == (why != NULL));
    free(why);
    return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mlc_lora_names *names; /* of all inputs */
    struct file f = {.answer = -EAGAIN};
    struct mlc_safetensors *parsed = NULL;
    struct mlc_lora *lora = NULL;
    int first, r;

    if (!names)
        check(mlc_lora_names_new(targets, N_OF(targets), &names) == 0);
    if (size == 0)
        return 0;
    write_header(&f, (const char *)data, size);
    if (mlc_safetensors_parse(f.header.data, f.header.len, f.size, &parsed,
                              NULL) == 0) {
        first = parse(names, parsed, &f, &lora);
        check((first == -EAGAIN) == (f.n_spans > 0));
        mlc_lora_free(mlc_steal(&lora));
        f.answer = 0;
        r = parse(names, parsed, &f, &lora);
        /* What is refused at sight is never read. */
        check(first == -EAGAIN ? r == 0 || r == -EBADMSG : r == first);
        check(r < 0 || f.n_read == f.n_spans);
        if (lora)
            look(lora, &f);
        mlc_lora_free(lora);
        mlc_safetensors_free(parsed);
    }
    mlc_buf_done(&f.header);
    return 0;
}
