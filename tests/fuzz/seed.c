/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/fuzz/seed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "backends/util/cleanup.h"

void
fuzz_save_seed(const void *data, size_t len)
{
    const char *dir = getenv("MLC_FUZZ_SEEDS");
    mlc_autofree char *path = NULL;
    FILE *f;

    if (!dir || len > FUZZ_SEED_MAX)
        return;
    /* The same input twice is one file. */
    if (asprintf(&path, "%s/%016" PRIx64, dir, XXH64(data, len, 0)) < 0)
        abort();
    f = fopen(path, "w");
    if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0)
        abort();
}
