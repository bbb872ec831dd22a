/* SPDX-License-Identifier: MIT */
/* How tests of zip archives read what zip-writer.h wrote: as a caller would,
 * and looking at what they are asked for. */
#ifndef TESTS_ZIP_READER_H
#define TESTS_ZIP_READER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backends/format/zip.h"
#include "tests/zip-writer.h"

struct zip_source {
    const struct zip_image *image;
    size_t most;       /* bytes a read gives; 0: what is asked for */
    uint64_t low;      /* the least and */
    uint64_t high;     /* the last byte + 1 that were asked for */
    size_t n_reads;    /* so far */
    size_t n_good;     /* reads until one fails; 0: none does */
    ssize_t result;    /* of that one */
    atomic_bool *stop; /* set at that one too; or NULL */
};

/* The index by way of tails, of which the first has first_tail bytes (0: the
 * recommended); limits NULL: the default.  Fails the test where more is asked
 * for too often, or not more.  Also a seed for fuzzing. */
int zip_parse_image(const struct zip_image *image, size_t first_tail,
                    const struct mlc_zip_limits *limits,
                    struct mlc_zip **ret_zip, char *why);

void zip_source_init(struct zip_source *s, const struct zip_image *image);
mlc_zip_read_fn zip_source_read;

#endif
