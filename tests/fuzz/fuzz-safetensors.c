/* SPDX-License-Identifier: MIT */
/* The input is a header, of a file whose data end where one of its last numbers
 * says. */
/* seeds: test-format-safetensors */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/checkpoint.h"
#include "backends/format/safetensors.h"

#define MAX_TRIES 8

#define check(x)                                                               \
    do {                                                                       \
        if (!(x))                                                              \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is written of the tensors reads as the same tensors. */
static void
write_and_read(const struct mlc_safetensors *f)
{
    size_t n = mlc_safetensors_n_tensors(f);
    struct mlc_tensor *tensors = calloc(n + 1, sizeof *tensors);
    struct mlc_safetensors *again = NULL;
    char *header = NULL;
    uint64_t end;
    size_t len = 0;
    size_t i;

    check(tensors);
    for (i = 0; i < n; i++)
        tensors[i] = *mlc_safetensors_get(f, i);
    check(mlc_safetensors_format(tensors, n, &header, &len) == 0);
    end = n > 0 ? tensors[n - 1].end : len;
    check(mlc_safetensors_parse(header + 8, len - 8, end, &again, NULL) == 0);
    check(mlc_safetensors_n_tensors(again) == n);
    for (i = 0; i < n; i++) {
        const struct mlc_tensor *a = mlc_safetensors_get(f, i);
        const struct mlc_tensor *b = mlc_safetensors_get(again, i);

        check(strcmp(a->name, b->name) == 0);
        check(a->dtype == b->dtype && a->n_dims == b->n_dims);
        check(a->end - a->begin == b->end - b->begin);
        check(a->n_dims == 0 ||
              memcmp(a->shape, b->shape, a->n_dims * sizeof *a->shape) == 0);
    }
    mlc_safetensors_free(again);
    free(header);
    free(tensors);
}

static void
look(const struct mlc_safetensors *f, uint64_t file_size)
{
    struct mlc_checkpoint_kind kind;
    char *err = NULL;
    size_t i;
    int r;

    for (i = 0; i < mlc_safetensors_n_tensors(f); i++) {
        const struct mlc_tensor *t = mlc_safetensors_get(f, i);

        check(mlc_safetensors_find(f, t->name) == t);
        check(t->begin <= t->end && t->end <= file_size);
    }
    mlc_safetensors_metadata(f, "format");
    r = mlc_checkpoint_detect(f, &kind, &err);
    check((r == -EBADMSG) == (err != NULL));
    free(err);
    write_and_read(f);
}

static bool
try(const uint8_t *data, size_t size, uint64_t room)
{
    struct mlc_safetensors *f = NULL;
    char *err = NULL;
    int r = mlc_safetensors_parse((const char *)data, size, 8 + size + room, &f,
                                  &err);

    check(r == (f ? 0 : -EBADMSG));
    check((err != NULL) == (r < 0));
    free(err);
    if (f)
        look(f, 8 + size + room);
    mlc_safetensors_free(f);
    return r == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t i = size;
    int tries;

    if (try(data, size, 0))
        return 0;
    for (tries = 0; tries < MAX_TRIES; tries++) {
        uint64_t room = 0;
        uint64_t digit = 1;

        while (i > 0 && (data[i - 1] < '0' || data[i - 1] > '9'))
            i--;
        for (; i > 0 && data[i - 1] >= '0' && data[i - 1] <= '9'; i--) {
            room += digit * (uint64_t)(data[i - 1] - '0');
            digit *= 10;
        }
        if (room == 0 || room > INT64_MAX / 2 || try(data, size, room))
            break;
    }
    return 0;
}
