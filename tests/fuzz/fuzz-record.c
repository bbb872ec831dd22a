/* SPDX-License-Identifier: MIT */
/* The input is a RECORD. */
/* seeds: test-format-record */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/record.h"
#include "backends/format/zip.h"

/* Of tests/test-format-record.c. */
#define OWN "m-1.dist-info/RECORD"

#define check(x)                                                               \
    do {                                                                       \
        if (!(x))                                                              \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mlc_record *record = NULL;
    char why[MLC_ZIP_WHY_SIZE] = "";
    int r = mlc_record_parse((const char *)data, size, OWN, &record, why);

    check(r == (record ? 0 : -EBADMSG));
    check((*why != '\0') == (r < 0));
    if (!record)
        return 0;
    for (size_t i = 0; i < mlc_record_n_lines(record); i++) {
        const struct mlc_record_line *line = mlc_record_line(record, i);

        check(mlc_record_find(record, line->path) == line);
        check(strcmp(line->path, OWN) != 0);
    }
    mlc_record_free(record);
    return 0;
}
