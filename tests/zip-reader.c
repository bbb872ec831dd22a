/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/zip-reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/seed.h"

/* From a copy of just these bytes, so that sanitizers see a step beyond. */
static int
parse_tail(const struct zip_image *image, uint64_t from,
           const struct mlc_zip_limits *limits, struct mlc_zip **ret_zip,
           uint64_t *ret_from, char *why)
{
    mlc_autofree uint8_t *tail = malloc(image->len - from + 1);
    uint8_t *end;

    assert_non_null(tail);
    end = tail + 1;
    memcpy(end, image->bytes + from, image->len - from);
    return mlc_zip_parse(image->len, end, image->len - from, limits, ret_zip,
                         ret_from, why);
}

int
zip_parse_image(const struct zip_image *image, size_t first_tail,
                const struct mlc_zip_limits *limits, struct mlc_zip **ret_zip,
                char *why)
{
    uint64_t from = 0, next = 0;
    int r;

    fuzz_save_seed(image->bytes, image->len);
    if (!limits)
        limits = &mlc_zip_default_limits;
    if (first_tail == 0)
        first_tail = MLC_ZIP_FIRST_TAIL;
    if (image->len > first_tail)
        from = image->len - first_tail;
    for (int n_more = 0;; n_more++) {
        r = parse_tail(image, from, limits, ret_zip, &next, why);
        if (r != MLC_ZIP_MORE)
            return r;
        assert_true(n_more < 3);
        assert_true(next < from);
        from = next;
    }
}

void
zip_source_init(struct zip_source *s, const struct zip_image *image)
{
    *s = (struct zip_source){.image = image, .low = UINT64_MAX};
}

ssize_t
zip_source_read(void *arg, uint64_t off, void *buf, size_t len)
{
    struct zip_source *s = arg;

    assert_true(len > 0);
    assert_true(off + len <= s->image->len);
    if (s->low > off)
        s->low = off;
    if (s->high < off + len)
        s->high = off + len;
    if (s->n_good > 0 && s->n_reads == s->n_good) {
        if (s->stop)
            atomic_store(s->stop, true);
        if (s->result <= 0)
            return s->result;
    }
    s->n_reads++;
    if (s->most > 0 && len > s->most)
        len = s->most;
    memcpy(buf, s->image->bytes + off, len);
    return (ssize_t)len;
}
