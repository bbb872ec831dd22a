/* SPDX-License-Identifier: MIT */
/* What the tests feed to a parser is what its fuzzing starts from: with
 * MLC_FUZZ_SEEDS=FOLDER in the environment a test leaves its inputs there
 * (tests/fuzz/run.sh). */
#ifndef TESTS_FUZZ_SEED_H
#define TESTS_FUZZ_SEED_H

#include <stddef.h>

/* Long ones are left out: they make fuzzing slow. */
#define FUZZ_SEED_MAX ((size_t)64 << 10)

/* Does nothing outside of fuzzing.  Aborts when it can't write. */
void fuzz_save_seed(const void *data, size_t len);

#endif
