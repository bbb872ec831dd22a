/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/scan.h"
#include "backends/util/cleanup.h"
#include "backends/util/refuse.h"

/* Training scripts write about a hundred. */
#define MAX_METADATA ((size_t)10000)

static const struct {
    const char *name;
    unsigned bits;
} dtypes[MLC_N_DTYPES] = {
    [MLC_DTYPE_BOOL] = {"BOOL", 8},
    [MLC_DTYPE_F4] = {"F4", 4},
    [MLC_DTYPE_F6_E2M3] = {"F6_E2M3", 6},
    [MLC_DTYPE_F6_E3M2] = {"F6_E3M2", 6},
    [MLC_DTYPE_U8] = {"U8", 8},
    [MLC_DTYPE_I8] = {"I8", 8},
    [MLC_DTYPE_F8_E5M2] = {"F8_E5M2", 8},
    [MLC_DTYPE_F8_E4M3] = {"F8_E4M3", 8},
    [MLC_DTYPE_F8_E8M0] = {"F8_E8M0", 8},
    [MLC_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [MLC_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [MLC_DTYPE_I16] = {"I16", 16},
    [MLC_DTYPE_U16] = {"U16", 16},
    [MLC_DTYPE_F16] = {"F16", 16},
    [MLC_DTYPE_BF16] = {"BF16", 16},
    [MLC_DTYPE_I32] = {"I32", 32},
    [MLC_DTYPE_U32] = {"U32", 32},
    [MLC_DTYPE_F32] = {"F32", 32},
    [MLC_DTYPE_C64] = {"C64", 64},
    [MLC_DTYPE_F64] = {"F64", 64},
    [MLC_DTYPE_I64] = {"I64", 64},
    [MLC_DTYPE_U64] = {"U64", 64},
};

struct metadata {
    const char *key, *value; /* in strings */
};

struct mlc_safetensors {
    struct mlc_tensor *tensors; /* sorted by name */
    size_t n_tensors, cap_tensors;
    uint64_t *dims; /* of all tensors */
    size_t n_dims, cap_dims;
    struct metadata *metadata;
    size_t n_metadata, cap_metadata;
    char *strings;
};

MLC_DEFINE_CLEANUP(safetensors, struct mlc_safetensors *, mlc_safetensors_free);

const char *
mlc_dtype_name(enum mlc_dtype dtype)
{
    return dtypes[dtype].name;
}

unsigned
mlc_dtype_bits(enum mlc_dtype dtype)
{
    return dtypes[dtype].bits;
}

/* --- the length ------------------------------------------------------- */

static int
refuse_foreign(const uint8_t *prefix, char **ret_err)
{
    if (memcmp(prefix, "PK\3\4", 4) == 0)
        return mlc_refuse(ret_err, "a zip archive, most likely a .ckpt pickle: "
                                   "only .safetensors files can be used");
    if (prefix[0] == 0x80 && prefix[1] >= 2 && prefix[1] <= 5)
        return mlc_refuse(ret_err, "a pickle: only .safetensors files can be "
                                   "used");
    if (memcmp(prefix, "GGUF", 4) == 0)
        return mlc_refuse(ret_err, "a GGUF file, whose weights are quantised: "
                                   "only .safetensors files can be used");
    return 0;
}

int
mlc_safetensors_header_len(const uint8_t prefix[MLC_SAFETENSORS_PREFIX_LEN],
                           uint64_t file_size, size_t *ret_len, char **ret_err)
{
    uint64_t len = 0;
    int i;

    if (file_size < MLC_SAFETENSORS_PREFIX_LEN)
        return mlc_refuse(ret_err, "shorter than 8 bytes");
    for (i = MLC_SAFETENSORS_PREFIX_LEN - 1; i >= 0; i--)
        len = len << 8 | prefix[i];
    /* A header may have that very length; what is inside it then decides. */
    if (len > MLC_SAFETENSORS_MAX_HEADER ||
        len > file_size - MLC_SAFETENSORS_PREFIX_LEN ||
        memcmp(prefix, "PK\3\4", 4) == 0) {
        int r = refuse_foreign(prefix, ret_err);

        if (r < 0)
            return r;
    }
    if (len > MLC_SAFETENSORS_MAX_HEADER)
        return mlc_refuse(ret_err,
                          "not a safetensors file: a header of %" PRIu64
                          " bytes, more than %zu",
                          len, MLC_SAFETENSORS_MAX_HEADER);
    if (len > file_size - MLC_SAFETENSORS_PREFIX_LEN)
        return mlc_refuse(ret_err,
                          "a header of %" PRIu64 " bytes in a file of %" PRIu64,
                          len, file_size);
    *ret_len = (size_t)len;
    return 0;
}

/* --- the header ------------------------------------------------------- */

/* Room for one more element of 'size' bytes in *p.  What is counted is bounded
 * by the header's length. */
static int
grow(void *p, size_t *cap, size_t n, size_t size)
{
    size_t more = *cap ? *cap + *cap / 2 : 64;
    void *q;

    if (n < *cap)
        return 0;
    memcpy(&q, p, sizeof q);
    q = realloc(q, more * size);
    if (!q)
        return -ENOMEM;
    memcpy(p, &q, sizeof q);
    *cap = more;
    return 0;
}

struct parser {
    struct mlc_safetensors *f;
    struct mlc_scan scan;
    const char *name; /* of the tensor under way; NULL: none */
    bool has_metadata;
    char **ret_err;
};

/* What the scanner said, with the tensor that it was in. */
static int
scan_failed(const struct parser *p, int r)
{
    if (r != -EBADMSG)
        return r;
    if (p->name)
        return mlc_refuse(p->ret_err, "the header, at tensor '%.*s': %s",
                          MLC_SHOWN(p->name), p->scan.why);
    return mlc_refuse(p->ret_err, "the header: %s", p->scan.why);
}

static int
refuse_tensor(const struct parser *p, const char *why)
{
    return mlc_refuse(p->ret_err, "tensor '%.*s': %s", MLC_SHOWN(p->name), why);
}

static int
parse_dtype(struct parser *p, struct mlc_tensor *t)
{
    char *strings = p->scan.strings;
    const char *name = NULL;
    int i;
    int r = mlc_scan_string(&p->scan, &name);

    if (r < 0)
        return scan_failed(p, r);
    p->scan.strings = strings; /* not kept */
    for (i = 0; i < MLC_N_DTYPES; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            t->dtype = (enum mlc_dtype)i;
            return 0;
        }
    }
    return mlc_refuse(p->ret_err, "tensor '%.*s': unknown dtype '%.*s'",
                      MLC_SHOWN(p->name), MLC_SHOWN(name));
}

static int
parse_shape(struct parser *p, struct mlc_tensor *t)
{
    struct mlc_safetensors *f = p->f;
    bool first = true;
    int r = mlc_scan_expect(&p->scan, '[');

    if (r < 0)
        return scan_failed(p, r);
    while ((r = mlc_scan_next(&p->scan, ']', &first)) > 0) {
        uint64_t dim = 0;

        r = mlc_scan_u64(&p->scan, &dim);
        if (r < 0)
            return scan_failed(p, r);
        if (t->n_dims == MLC_SAFETENSORS_MAX_DIMS)
            return refuse_tensor(p, "too many dimensions");
        r = grow(&f->dims, &f->cap_dims, f->n_dims, sizeof *f->dims);
        if (r < 0)
            return r;
        f->dims[f->n_dims++] = dim;
        t->n_dims++;
    }
    return r < 0 ? scan_failed(p, r) : 0;
}

static int
parse_offsets(struct parser *p, struct mlc_tensor *t)
{
    struct mlc_scan *s = &p->scan;
    int r = mlc_scan_expect(s, '[');

    if (r == 0)
        r = mlc_scan_u64(s, &t->begin);
    if (r == 0)
        r = mlc_scan_expect(s, ',');
    if (r == 0)
        r = mlc_scan_u64(s, &t->end);
    if (r == 0)
        r = mlc_scan_expect(s, ']');
    return r < 0 ? scan_failed(p, r) : 0;
}

enum member {
    MEMBER_DTYPE = 1,
    MEMBER_SHAPE = 2,
    MEMBER_OFFSETS = 4,
    MEMBER_ALL = 7,
    MEMBER_OTHER = 0,
};

static enum member
which_member(const char *key)
{
    if (strcmp(key, "dtype") == 0)
        return MEMBER_DTYPE;
    if (strcmp(key, "shape") == 0)
        return MEMBER_SHAPE;
    if (strcmp(key, "data_offsets") == 0)
        return MEMBER_OFFSETS;
    return MEMBER_OTHER;
}

static int
parse_member(struct parser *p, struct mlc_tensor *t, unsigned *seen)
{
    char *strings = p->scan.strings;
    const char *key = NULL;
    enum member member;
    int r = mlc_scan_key(&p->scan, &key);

    if (r < 0)
        return scan_failed(p, r);
    p->scan.strings = strings;
    member = which_member(key);
    if (*seen & member)
        return refuse_tensor(p, "a member that occurs twice");
    *seen |= member;
    switch (member) {
    case MEMBER_DTYPE:
        return parse_dtype(p, t);
    case MEMBER_SHAPE:
        return parse_shape(p, t);
    case MEMBER_OFFSETS:
        return parse_offsets(p, t);
    case MEMBER_OTHER:
    case MEMBER_ALL:
        break;
    }
    r = mlc_scan_skip(&p->scan);
    return r < 0 ? scan_failed(p, r) : 0;
}

static bool
is_name(const char *name)
{
    size_t len;

    for (len = 0; name[len]; len++) {
        unsigned char c = (unsigned char)name[len];

        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return len <= MLC_SAFETENSORS_MAX_NAME;
}

/* Do the offsets span what dtype and shape need?  shape isn't set yet. */
static int
check_extent(const struct parser *p, const struct mlc_tensor *t)
{
    size_t first = p->f->n_dims - t->n_dims;
    uint64_t n = 1;
    unsigned i;

    if (t->end < t->begin)
        return refuse_tensor(p, "it ends before it begins");
    for (i = 0; i < t->n_dims; i++) {
        if (__builtin_mul_overflow(n, p->f->dims[first + i], &n))
            return refuse_tensor(p, "a shape beyond 64 bits");
    }
    if (__builtin_mul_overflow(n, dtypes[t->dtype].bits, &n))
        return refuse_tensor(p, "a shape beyond 64 bits");
    if (n % 8 != 0)
        return refuse_tensor(p, "no whole number of bytes");
    if (n / 8 != t->end - t->begin)
        return refuse_tensor(p, "its offsets don't fit its shape");
    return 0;
}

/* What follows a tensor's name. */
static int
parse_tensor(struct parser *p)
{
    struct mlc_safetensors *f = p->f;
    struct mlc_tensor t = {.name = p->name};
    unsigned seen = 0;
    bool first = true;
    int r;

    if (!is_name(p->name))
        return refuse_tensor(p, "too long a name, or control bytes in it");
    if (f->n_tensors == MLC_SAFETENSORS_MAX_TENSORS)
        return mlc_refuse(p->ret_err, "more than %zu tensors",
                          MLC_SAFETENSORS_MAX_TENSORS);
    r = mlc_scan_expect(&p->scan, '{');
    if (r < 0)
        return scan_failed(p, r);
    while ((r = mlc_scan_next(&p->scan, '}', &first)) > 0) {
        r = parse_member(p, &t, &seen);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return scan_failed(p, r);
    if (seen != MEMBER_ALL)
        return refuse_tensor(p, "it lacks dtype, shape or data_offsets");
    r = check_extent(p, &t);
    if (r < 0)
        return r;
    r = grow(&f->tensors, &f->cap_tensors, f->n_tensors, sizeof *f->tensors);
    if (r < 0)
        return r;
    f->tensors[f->n_tensors++] = t;
    return 0;
}

static int
parse_metadata_pair(struct parser *p)
{
    struct mlc_safetensors *f = p->f;
    struct metadata m = {.key = NULL};
    int r;

    if (f->n_metadata == MAX_METADATA)
        return mlc_refuse(p->ret_err, "more than %zu strings of metadata",
                          MAX_METADATA);
    r = mlc_scan_key(&p->scan, &m.key);
    if (r < 0)
        return scan_failed(p, r);
    r = mlc_scan_string(&p->scan, &m.value);
    if (r < 0)
        return scan_failed(p, r);
    r = grow(&f->metadata, &f->cap_metadata, f->n_metadata,
             sizeof *f->metadata);
    if (r < 0)
        return r;
    f->metadata[f->n_metadata++] = m;
    return 0;
}

static int
parse_metadata(struct parser *p)
{
    bool first = true;
    int r;

    if (p->has_metadata)
        return mlc_refuse(p->ret_err, "__metadata__ occurs twice");
    p->has_metadata = true;
    if (!mlc_scan_take(&p->scan, '{')) {
        /* null, which the reference takes too. */
        r = mlc_scan_expect(&p->scan, 'n');
        if (r == 0 && (p->scan.end - p->scan.at < 3 ||
                       memcmp(p->scan.at, "ull", 3) != 0)) {
            p->scan.why = "__metadata__ is no object";
            r = -EBADMSG;
        }
        if (r < 0)
            return scan_failed(p, r);
        p->scan.at += 3;
        return 0;
    }
    while ((r = mlc_scan_next(&p->scan, '}', &first)) > 0) {
        r = parse_metadata_pair(p);
        if (r < 0)
            return r;
    }
    return r < 0 ? scan_failed(p, r) : 0;
}

static int
parse_object(struct parser *p)
{
    bool first = true;
    int r = mlc_scan_expect(&p->scan, '{');

    if (r < 0)
        return scan_failed(p, r);
    while ((r = mlc_scan_next(&p->scan, '}', &first)) > 0) {
        const char *key = NULL;

        r = mlc_scan_key(&p->scan, &key);
        if (r < 0)
            return scan_failed(p, r);
        if (strcmp(key, "__metadata__") == 0) {
            r = parse_metadata(p);
        } else {
            p->name = key;
            r = parse_tensor(p);
            p->name = NULL;
        }
        if (r < 0)
            return r;
    }
    if (r == 0)
        r = mlc_scan_finish(&p->scan);
    return r < 0 ? scan_failed(p, r) : 0;
}

/* --- the whole -------------------------------------------------------- */

static int
by_extent(const void *a, const void *b)
{
    const struct mlc_tensor *x = a;
    const struct mlc_tensor *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int
by_name(const void *a, const void *b)
{
    const struct mlc_tensor *x = a;
    const struct mlc_tensor *y = b;

    return strcmp(x->name, y->name);
}

static int
metadata_by_key(const void *a, const void *b)
{
    const struct metadata *x = a;
    const struct metadata *y = b;

    return strcmp(x->key, y->key);
}

static void
sort(void *base, size_t n, size_t size,
     int (*compare)(const void *, const void *))
{
    if (n > 0) /* else base may be NULL */
        qsort(base, n, size, compare);
}

/* Tensors follow one another without holes, from the first byte of 'room' to
 * its last. */
static int
check_cover(struct mlc_safetensors *f, uint64_t room, char **ret_err)
{
    uint64_t at = 0;
    size_t i;

    sort(f->tensors, f->n_tensors, sizeof *f->tensors, by_extent);
    for (i = 0; i < f->n_tensors; i++) {
        const struct mlc_tensor *t = &f->tensors[i];

        if (t->begin != at)
            return mlc_refuse(ret_err, "tensor '%.*s': %s the tensor before it",
                              MLC_SHOWN(t->name),
                              t->begin > at ? "a hole after" : "it overlaps");
        at = t->end;
    }
    if (at != room)
        return mlc_refuse(ret_err,
                          "tensors of %" PRIu64 " bytes in a file that has "
                          "room for %" PRIu64,
                          at, room);
    return 0;
}

static int
check_unique(struct mlc_safetensors *f, char **ret_err)
{
    size_t i;

    sort(f->tensors, f->n_tensors, sizeof *f->tensors, by_name);
    for (i = 1; i < f->n_tensors; i++) {
        if (strcmp(f->tensors[i - 1].name, f->tensors[i].name) == 0)
            return mlc_refuse(ret_err, "tensor '%.*s' occurs twice",
                              MLC_SHOWN(f->tensors[i].name));
    }
    sort(f->metadata, f->n_metadata, sizeof *f->metadata, metadata_by_key);
    for (i = 1; i < f->n_metadata; i++) {
        if (strcmp(f->metadata[i - 1].key, f->metadata[i].key) == 0)
            return mlc_refuse(ret_err, "metadata '%.*s' occurs twice",
                              MLC_SHOWN(f->metadata[i].key));
    }
    return 0;
}

/* Shapes lie one after the other in the order of the header. */
static void
set_shapes(struct mlc_safetensors *f)
{
    const uint64_t *shape = f->dims;
    size_t i;

    for (i = 0; i < f->n_tensors; i++) {
        f->tensors[i].shape = shape;
        if (f->tensors[i].n_dims > 0)
            shape += f->tensors[i].n_dims;
    }
}

int
mlc_safetensors_parse(const char *header, size_t len, uint64_t file_size,
                      struct mlc_safetensors **ret, char **ret_err)
{
    __attribute__((
        cleanup(mlc_cleanup_safetensors))) struct mlc_safetensors *f =
        calloc(1, sizeof *f);
    struct parser p = {.f = f, .ret_err = ret_err};
    uint64_t start = (uint64_t)len + MLC_SAFETENSORS_PREFIX_LEN;
    size_t i;
    int r;

    if (!f)
        return -ENOMEM;
    if (len > MLC_SAFETENSORS_MAX_HEADER || start > file_size)
        return mlc_refuse(ret_err, "a header longer than its file");
    f->strings = malloc(len + 1);
    if (!f->strings)
        return -ENOMEM;
    r = mlc_scan_init(&p.scan, header, len, f->strings);
    if (r < 0)
        return scan_failed(&p, r);
    r = parse_object(&p);
    if (r < 0)
        return r;
    set_shapes(f);
    r = check_cover(f, file_size - start, ret_err);
    if (r < 0)
        return r;
    r = check_unique(f, ret_err);
    if (r < 0)
        return r;
    for (i = 0; i < f->n_tensors; i++) {
        f->tensors[i].begin += start;
        f->tensors[i].end += start;
    }
    *ret = mlc_steal(&f);
    return 0;
}

void
mlc_safetensors_free(struct mlc_safetensors *f)
{
    if (!f)
        return;
    free(f->tensors);
    free(f->dims);
    free(f->metadata);
    free(f->strings);
    free(f);
}

/* --- looking up ------------------------------------------------------- */

size_t
mlc_safetensors_n_tensors(const struct mlc_safetensors *f)
{
    return f->n_tensors;
}

const struct mlc_tensor *
mlc_safetensors_get(const struct mlc_safetensors *f, size_t i)
{
    return &f->tensors[i];
}

const struct mlc_tensor *
mlc_safetensors_find_prefix(const struct mlc_safetensors *f, const char *prefix)
{
    size_t low = 0;
    size_t high = f->n_tensors;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (strcmp(f->tensors[mid].name, prefix) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == f->n_tensors ||
        strncmp(f->tensors[low].name, prefix, strlen(prefix)) != 0)
        return NULL;
    return &f->tensors[low];
}

const struct mlc_tensor *
mlc_safetensors_find(const struct mlc_safetensors *f, const char *name)
{
    const struct mlc_tensor *t = mlc_safetensors_find_prefix(f, name);

    return t && strcmp(t->name, name) == 0 ? t : NULL;
}

const char *
mlc_safetensors_metadata(const struct mlc_safetensors *f, const char *key)
{
    struct metadata wanted = {.key = key};
    const struct metadata *found;

    if (f->n_metadata == 0)
        return NULL;
    found = bsearch(&wanted, f->metadata, f->n_metadata, sizeof *f->metadata,
                    metadata_by_key);
    return found ? found->value : NULL;
}
