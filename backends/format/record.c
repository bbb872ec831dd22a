/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/zip.h"
#include "backends/format/zip_i.h"
#include "backends/util/cleanup.h"
#include "backends/util/parse.h"

#define SHOWN      "%.80s"
#define ALGORITHM  "sha256="
#define BASE64_LEN 43 /* of 32 bytes, without padding */
/* The least that a line other than RECORD's own has, but for the line feed: a
 * path of one byte, two commas, a hash, a digit. */
#define LINE_MIN (1 + 2 + sizeof(ALGORITHM) - 1 + BASE64_LEN + 1)

struct mlc_record {
    char *text;                    /* owned; the paths, unquoted in place */
    struct mlc_record_line *lines; /* owned; by path */
    size_t n;
};

/* The text while it is read: NUL-terminated, without other NULs. */
struct reader {
    char *p; /* the rest of it */
    const char *own_path;
    bool has_own;
    size_t n_read; /* lines */
    char *why;
};

enum { FIELD_PATH, FIELD_HASH, FIELD_SIZE, N_FIELDS };

static int
refuse(const struct reader *in, const char *fault)
{
    return mlc_zip_refuse(-EBADMSG, in->why, "RECORD, line %zu: %s", in->n_read,
                          fault);
}

/* --- CSV ----------------------------------------------------------------- */

/* Takes one field, which is cut off and unquoted in place; *ret_end is the byte
 * that ended it: a comma, a line feed or NUL.  NULL: it is malformed. */
static char *
take_field(struct reader *in, char *ret_end)
{
    char *field = in->p, *from = in->p, *to = in->p;
    bool is_quoted = *from == '"';

    if (is_quoted) {
        for (from++; *from != '"' || from[1] == '"'; from++) {
            if (*from == '\0')
                return NULL;
            from += *from == '"';
            *to++ = *from;
        }
        from++;
    } else {
        while (*from != '\0' && !strchr(",\r\n\"", *from))
            *to++ = *from++;
    }
    if (*from == '\r' && from[1] == '\n')
        from++;
    if (*from != '\0' && *from != ',' && *from != '\n')
        return NULL;
    *ret_end = *from;
    in->p = *from ? from + 1 : from;
    *to = '\0';
    return field;
}

static int
take_fields(struct reader *in, char *fields[N_FIELDS])
{
    in->n_read++;
    for (size_t i = 0; i < N_FIELDS; i++) {
        char end = '\0';

        fields[i] = take_field(in, &end);
        if (!fields[i])
            return refuse(in, "a quote or line end where none can be");
        if ((end == ',') != (i + 1 < N_FIELDS))
            return refuse(in, "not three fields");
    }
    return 0;
}

/* --- one line ------------------------------------------------------------ */

static int
base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *p = c ? strchr(digits, c) : NULL;

    return p ? (int)(p - digits) : -1;
}

/* 43 digits of six bits are 32 bytes, and two bits that must be 0. */
static bool
read_base64(const char *text, uint8_t ret[32])
{
    uint32_t bits = 0;
    unsigned n_bits = 0;

    if (strlen(text) != BASE64_LEN)
        return false;
    for (; *text; text++) {
        int digit = base64_digit(*text);

        if (digit < 0)
            return false;
        bits = (bits << 6 | (uint32_t)digit) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            *ret++ = (uint8_t)(bits >> n_bits);
        }
    }
    return (bits & 3) == 0;
}

static const char *
read_values(char *const fields[N_FIELDS], struct mlc_record_line *line)
{
    const size_t skip = sizeof(ALGORITHM) - 1;

    if (*fields[FIELD_PATH] == '\0')
        return "no path";
    if (strncmp(fields[FIELD_HASH], ALGORITHM, skip) != 0)
        return *fields[FIELD_HASH] ? "an unknown algorithm" : "no hash";
    if (!read_base64(fields[FIELD_HASH] + skip, line->sha256))
        return "not a SHA-256";
    if (mlc_parse_u64(fields[FIELD_SIZE], 0, UINT64_MAX, &line->size) < 0)
        return "not a size";
    line->path = fields[FIELD_PATH];
    return NULL;
}

static int
read_line(struct reader *in, struct mlc_record *r)
{
    char *fields[N_FIELDS];
    const char *fault;
    int err = take_fields(in, fields);

    if (err < 0)
        return err;
    if (strcmp(fields[FIELD_PATH], in->own_path) == 0) {
        if (*fields[FIELD_HASH] || *fields[FIELD_SIZE])
            return refuse(in, "RECORD's own, with a hash or a size");
        if (in->has_own)
            return refuse(in, "RECORD's own, once more");
        in->has_own = true;
        return 0;
    }
    fault = read_values(fields, &r->lines[r->n]);
    if (fault)
        return refuse(in, fault);
    r->n++;
    return 0;
}

/* --- all of them --------------------------------------------------------- */

static int
compare_paths(const void *a, const void *b)
{
    const struct mlc_record_line *x = a, *y = b;

    return strcmp(x->path, y->path);
}

static int
read_lines(struct reader *in, struct mlc_record *r)
{
    int err;

    while (*in->p) {
        err = read_line(in, r);
        if (err < 0)
            return err;
    }
    if (!in->has_own)
        return mlc_zip_refuse(-EBADMSG, in->why, "RECORD does not list itself");
    qsort(r->lines, r->n, sizeof(*r->lines), compare_paths);
    for (size_t i = 1; i < r->n; i++) {
        if (strcmp(r->lines[i - 1].path, r->lines[i].path) == 0)
            return mlc_zip_refuse(-EBADMSG, in->why,
                                  "RECORD lists " SHOWN " twice",
                                  r->lines[i].path);
    }
    return 0;
}

int
mlc_record_parse(const char *text, size_t len, const char *own_path,
                 struct mlc_record **ret_record, char *ret_why)
{
    __attribute__((cleanup(mlc_cleanup_record))) struct mlc_record *r = NULL;
    struct reader in = {.own_path = own_path, .why = ret_why};
    int err;

    mlc_zip_no_reason(ret_why);
    if (len > MLC_RECORD_MAX_LEN)
        return mlc_zip_refuse(-EFBIG, ret_why, "RECORD is too long");
    if (memchr(text, '\0', len) || !mlc_is_utf8(text, len))
        return mlc_zip_refuse(-EBADMSG, ret_why, "RECORD is not UTF-8");
    r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->text = strndup(text, len);
    r->lines = calloc(len / LINE_MIN + 1, sizeof(*r->lines));
    if (!r->text || !r->lines)
        return -ENOMEM;
    in.p = r->text;
    err = read_lines(&in, r);
    if (err < 0)
        return err;
    *ret_record = mlc_steal(&r);
    return 0;
}

void
mlc_record_free(struct mlc_record *r)
{
    if (!r)
        return;
    free(r->text);
    free(r->lines);
    free(r);
}

size_t
mlc_record_n_lines(const struct mlc_record *r)
{
    return r->n;
}

const struct mlc_record_line *
mlc_record_line(const struct mlc_record *r, size_t i)
{
    return &r->lines[i];
}

const struct mlc_record_line *
mlc_record_find(const struct mlc_record *r, const char *path)
{
    const struct mlc_record_line key = {.path = path};

    return bsearch(&key, r->lines, r->n, sizeof(*r->lines), compare_paths);
}

int
mlc_record_check(const struct mlc_record *r, const struct mlc_zip *z,
                 const char *own_path, char *ret_why)
{
    size_t n = 0;

    mlc_zip_no_reason(ret_why);
    for (size_t i = 0; i < mlc_zip_n_members(z); i++) {
        const struct mlc_zip_member *m = mlc_zip_member(z, i);
        const struct mlc_record_line *line;

        if (m->is_dir || strcmp(m->name, own_path) == 0)
            continue;
        line = mlc_record_find(r, m->name);
        if (!line)
            return mlc_zip_refuse(-EBADMSG, ret_why,
                                  "RECORD does not list " SHOWN, m->name);
        if (line->size != m->usize)
            return mlc_zip_refuse(-EBADMSG, ret_why,
                                  "RECORD has another size for " SHOWN,
                                  m->name);
        n++;
    }
    /* Neither has anything twice. */
    if (n != r->n)
        return mlc_zip_refuse(-EBADMSG, ret_why,
                              "RECORD lists what is not in the archive");
    return 0;
}
