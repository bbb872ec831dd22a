/* SPDX-License-Identifier: MIT */
/* The input is a recipe. */
/* seeds: test-format-recipe */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/recipe.h"

#define check(x)                                                               \
    do {                                                                       \
        if (!(x))                                                              \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mlc_recipe r;
    char *err = NULL;
    int q = mlc_recipe_parse((const char *)data, size, &r, &err);

    if (q < 0) {
        check(q == -EBADMSG && err && *err && !r.checkpoint && !r.loras);
        free(err);
        return 0;
    }
    check(!err && r.checkpoint && *r.checkpoint && isfinite(r.lora_scale));
    check(r.n_loras <= MLC_RECIPE_MAX_LORAS);
    for (size_t i = 0; i < r.n_loras; i++)
        check(*r.loras[i].path && isfinite(r.loras[i].scale));
    check(!r.variant || !strpbrk(r.variant, "/. \n"));
    mlc_recipe_done(&r);
    return 0;
}
