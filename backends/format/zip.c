/* SPDX-License-Identifier: MIT */
/* The central directory: read, checked, kept in the order of names. */
#include "config.h"

#include "backends/format/zip.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/format/zip_i.h"
#include "backends/util/cleanup.h"
#include "backends/util/parse.h"

#define FLAGS_KNOWN   0x080eu /* how it was deflated, descriptor, UTF-8 */
#define DOS_DIRECTORY 0x10u
/* What a deflated byte can become at most (zlib's technical notes). */
#define MAX_RATIO    1032u
#define MAX_NAME_LEN 255u

/* More than a name has; enough to find it in the archive. */
#define SHOWN "%.80s"

const struct mlc_zip_limits mlc_zip_default_limits = {
    .max_directory = (uint64_t)16 << 20,
    .max_entries = 20000,
    .max_member = (uint64_t)4 << 30,
    .max_total = (uint64_t)8 << 30,
};

struct mlc_zip {
    size_t n;
    struct mlc_zip_member *members; /* owned; by name */
    char *names;                    /* owned; one after the other */
};

/* The directory while it is read. */
struct cursor {
    const uint8_t *p;
    size_t left;
    char *name; /* where the next name goes */
    const struct mlc_zip_limits *limits;
    uint64_t total; /* bytes of all members so far, unpacked */
    char *why;
};

/* --- names --------------------------------------------------------------- */

/* Control bytes, and what means something to other systems. */
static bool
has_odd_byte(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c < 0x20 || c == 0x7f || c == '\\' || c == ':')
            return true;
        /* U+0080 to U+009F, control characters too. */
        if (c == 0xc2 && i + 1 < len && (unsigned char)name[i + 1] < 0xa0)
            return true;
    }
    return false;
}

static bool
is_ascii(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)name[i] >= 0x80)
            return false;
    }
    return true;
}

static const char *
find_part_fault(const char *part, size_t len)
{
    if (len == 0)
        return "an empty component";
    if (len > MAX_NAME_LEN)
        return "a component that is too long";
    if (part[0] == '.' && (len == 1 || (len == 2 && part[1] == '.')))
        return "a component . or ..";
    return NULL;
}

/* NULL, or what is wrong with a name, which may hold any bytes. */
static const char *
find_name_fault(const char *name, size_t len, bool is_utf8)
{
    size_t depth = 0, left = len;

    if (len == 0)
        return "no name";
    if (len > MLC_ZIP_MAX_PATH)
        return "a name that is too long";
    if (has_odd_byte(name, len))
        return "a name with a control byte, backslash or colon";
    if (!is_ascii(name, len) && (!is_utf8 || !mlc_is_utf8(name, len)))
        return "a name that is not UTF-8, or not marked as it";
    while (left > 0) {
        const char *slash = memchr(name, '/', left);
        size_t part = slash ? (size_t)(slash - name) : left;
        const char *fault = find_part_fault(name, part);

        if (fault)
            return fault;
        if (++depth > MLC_ZIP_MAX_DEPTH)
            return "too many directories";
        part += slash ? 1 : 0;
        name += part;
        left -= part;
    }
    return NULL;
}

/* --- one entry ----------------------------------------------------------- */

/* A regular file, or a directory: by its name, and no word against that. */
static const char *
find_type_fault(const struct mlc_zip_member *m, uint32_t attributes)
{
    uint32_t type = attributes >> 16 & S_IFMT;

    if (type != 0 && type != (m->is_dir ? S_IFDIR : S_IFREG))
        return m->is_dir ? "a directory that is something else"
                         : "not a regular file";
    if (!m->is_dir && (attributes & DOS_DIRECTORY))
        return "a directory without a slash";
    if (m->is_dir && (m->usize != 0 || m->csize != 0))
        return "a directory with data";
    return NULL;
}

static const char *
find_size_fault(const struct mlc_zip_member *m)
{
    /* Overflow: csize lies within the archive, but that is checked later. */
    if (m->csize > INT64_MAX / MAX_RATIO)
        return "a size that can't be";
    if (m->method == MLC_ZIP_STORED && m->csize != m->usize)
        return "stored, with two sizes";
    if (m->usize > m->csize * MAX_RATIO + MAX_RATIO)
        return "more data than deflate can hold";
    return NULL;
}

static const char *
find_entry_fault(const struct mlc_zip_member *m, uint32_t attributes)
{
    const char *fault;

    if (m->flags & ~FLAGS_KNOWN)
        return "encrypted, or with flags that we don't know";
    if (m->method != MLC_ZIP_STORED && m->method != MLC_ZIP_DEFLATED)
        return "neither stored nor deflated";
    fault = find_type_fault(m, attributes);
    return fault ? fault : find_size_fault(m);
}

/* Takes the name, and leaves the cursor behind the entry. */
static void
take_name(struct cursor *c, struct mlc_zip_member *m, size_t name_len,
          size_t rest)
{
    memcpy(c->name, c->p + MLC_ZIP_CENTRAL_SIZE, name_len);
    c->name[name_len] = '\0';
    m->name = c->name;
    m->is_dir = name_len > 0 && c->name[name_len - 1] == '/';
    c->name += name_len + 1;
    c->p += MLC_ZIP_CENTRAL_SIZE + name_len + rest;
    c->left -= MLC_ZIP_CENTRAL_SIZE + name_len + rest;
}

static int
check_caps(struct cursor *c, const struct mlc_zip_member *m)
{
    if (m->usize > c->limits->max_member)
        return mlc_zip_refuse(-EFBIG, c->why, SHOWN ": %" PRIu64 " bytes",
                              m->name, m->usize);
    if (__builtin_add_overflow(c->total, m->usize, &c->total) ||
        c->total > c->limits->max_total)
        return mlc_zip_refuse(-EFBIG, c->why, "too many bytes in all");
    return 0;
}

static int
read_entry(struct cursor *c, struct mlc_zip_member *m)
{
    const uint8_t *p = c->p;
    size_t name_len, extra_len, comment_len;
    struct mlc_zip_sizes sizes;
    const char *fault;

    if (c->left < MLC_ZIP_CENTRAL_SIZE ||
        mlc_zip_le32(p) != MLC_ZIP_SIG_CENTRAL)
        return mlc_zip_refuse(-EBADMSG, c->why, "fewer members than it says");
    name_len = mlc_zip_le16(p + 28);
    extra_len = mlc_zip_le16(p + 30);
    comment_len = mlc_zip_le16(p + 32);
    if (name_len + extra_len + comment_len > c->left - MLC_ZIP_CENTRAL_SIZE)
        return mlc_zip_refuse(-EBADMSG, c->why,
                              "an entry beyond its directory");

    m->flags = mlc_zip_le16(p + 8);
    m->method = mlc_zip_le16(p + 10);
    m->crc = mlc_zip_le32(p + 16);
    sizes.csize = mlc_zip_le32(p + 20);
    sizes.usize = mlc_zip_le32(p + 24);
    sizes.disk = mlc_zip_le16(p + 34);
    sizes.offset = mlc_zip_le32(p + 42);
    take_name(c, m, name_len, extra_len + comment_len);
    fault = find_name_fault(m->name, name_len, m->flags & MLC_ZIP_FLAG_UTF8);
    if (!fault)
        fault = mlc_zip_resolve(p + MLC_ZIP_CENTRAL_SIZE + name_len, extra_len,
                                &sizes);
    if (!fault && sizes.disk != 0)
        fault = "more than one disk";
    m->csize = sizes.csize;
    m->usize = sizes.usize;
    m->offset = sizes.offset;
    if (!fault)
        fault = find_entry_fault(m, mlc_zip_le32(p + 38));
    if (fault)
        return mlc_zip_refuse(-EBADMSG, c->why, SHOWN ": %s", m->name, fault);
    return check_caps(c, m);
}

/* --- all of them --------------------------------------------------------- */

static int
compare_offsets(const void *a, const void *b)
{
    const struct mlc_zip_member *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int
compare_names(const void *a, const void *b)
{
    const struct mlc_zip_member *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* Each ends before the next begins, the last before the directory.  What the
 * local header's extra fields take is seen at extraction only. */
static int
set_windows(struct mlc_zip *z, uint64_t dir_offset, char *why)
{
    qsort(z->members, z->n, sizeof(*z->members), compare_offsets);
    for (size_t i = 0; i < z->n; i++) {
        struct mlc_zip_member *m = &z->members[i];
        uint64_t least = MLC_ZIP_LOCAL_SIZE + strlen(m->name) + m->csize;

        m->end = i + 1 < z->n ? z->members[i + 1].offset : dir_offset;
        if (m->offset > m->end || least > m->end - m->offset)
            return mlc_zip_refuse(-EBADMSG, why,
                                  SHOWN ": overlaps what comes after", m->name);
    }
    return 0;
}

/* The first member whose name is not less than path and, if is_dir, a slash. */
static size_t
lower_bound(const struct mlc_zip *z, const char *path, bool is_dir)
{
    size_t len = strlen(path), low = 0, high = z->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const char *name = z->members[mid].name;
        int order = strncmp(name, path, len);

        if (order == 0 && is_dir && (unsigned char)name[len] < '/')
            order = -1;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Is dir's the beginning of member i's name?  dir without its slash. */
static bool
is_below(const struct mlc_zip *z, size_t i, const char *dir)
{
    size_t len = strlen(dir);

    return i < z->n && strncmp(z->members[i].name, dir, len) == 0 &&
           z->members[i].name[len] == '/';
}

/* By name from here on: no name twice, and no file that is a directory too. */
static int
check_names(struct mlc_zip *z, char *why)
{
    qsort(z->members, z->n, sizeof(*z->members), compare_names);
    for (size_t i = 0; i < z->n; i++) {
        const struct mlc_zip_member *m = &z->members[i];

        if (i + 1 < z->n && strcmp(m->name, m[1].name) == 0)
            return mlc_zip_refuse(-EBADMSG, why, SHOWN ": there twice",
                                  m->name);
        if (!m->is_dir && is_below(z, lower_bound(z, m->name, true), m->name))
            return mlc_zip_refuse(
                -EBADMSG, why, SHOWN ": both a file and a directory", m->name);
    }
    return 0;
}

static int
read_directory(struct mlc_zip *z, struct cursor *c,
               const struct mlc_zip_directory *d)
{
    int r;

    if (d->n > d->size / MLC_ZIP_CENTRAL_SIZE)
        return mlc_zip_refuse(-EBADMSG, c->why, "fewer members than it says");
    z->members = calloc((size_t)d->n + 1, sizeof(*z->members));
    /* A name is followed by a NUL here, and preceded by a header there. */
    z->names = malloc((size_t)d->size + 1);
    if (!z->members || !z->names)
        return -ENOMEM;
    c->name = z->names;
    for (; z->n < d->n; z->n++) {
        r = read_entry(c, &z->members[z->n]);
        if (r < 0)
            return r;
    }
    if (c->left > 0)
        return mlc_zip_refuse(-EBADMSG, c->why, "more members than it says");
    r = set_windows(z, d->offset, c->why);
    return r < 0 ? r : check_names(z, c->why);
}

int
mlc_zip_parse(uint64_t size, const void *tail, size_t len,
              const struct mlc_zip_limits *limits, struct mlc_zip **ret_zip,
              uint64_t *ret_from, char *ret_why)
{
    __attribute__((cleanup(mlc_cleanup_zip))) struct mlc_zip *z = NULL;
    struct mlc_zip_directory d = {0};
    struct cursor c = {.limits = limits, .why = ret_why};
    int r;

    mlc_zip_no_reason(ret_why);
    if (len > size)
        return -EINVAL;
    r = mlc_zip_find_directory(size, tail, len, limits, &d, ret_from, ret_why);
    if (r != 0)
        return r;
    z = calloc(1, sizeof(*z));
    if (!z)
        return -ENOMEM;
    /* Both are within the tail. */
    c.p = (const uint8_t *)tail + (size_t)(d.offset - (size - len));
    c.left = (size_t)d.size;
    r = read_directory(z, &c, &d);
    if (r < 0)
        return r;
    *ret_zip = mlc_steal(&z);
    return 0;
}

void
mlc_zip_free(struct mlc_zip *z)
{
    if (!z)
        return;
    free(z->members);
    free(z->names);
    free(z);
}

/* --- looking things up --------------------------------------------------- */

size_t
mlc_zip_n_members(const struct mlc_zip *z)
{
    return z->n;
}

const struct mlc_zip_member *
mlc_zip_member(const struct mlc_zip *z, size_t i)
{
    return &z->members[i];
}

int
mlc_zip_find(const struct mlc_zip *z, const char *path,
             const struct mlc_zip_member **ret_member)
{
    size_t i = lower_bound(z, path, false);

    if (*path == '\0')
        return -EISDIR;
    if (i < z->n && !z->members[i].is_dir &&
        strcmp(z->members[i].name, path) == 0) {
        if (ret_member)
            *ret_member = &z->members[i];
        return 0;
    }
    return is_below(z, lower_bound(z, path, true), path) ? -EISDIR : -ENOENT;
}

/* Emits what member i says lies in the directory whose name and slash take up
 * skip bytes.  *ret_next: the first member that says something else. */
static int
emit_one(const struct mlc_zip *z, size_t i, size_t skip, size_t *ret_next,
         mlc_zip_emit_fn *emit, void *arg)
{
    const char *path = z->members[i].name, *rest = path + skip;
    size_t len = strcspn(rest, "/"), next = i + 1;
    char name[MAX_NAME_LEN + 1];

    if (rest[len] == '/') {
        while (next < z->n &&
               strncmp(z->members[next].name, path, skip + len + 1) == 0)
            next++;
    }
    *ret_next = next;
    if (len == 0) /* the entry of the directory itself */
        return 0;
    memcpy(name, rest, len); /* each part was checked */
    name[len] = '\0';
    return emit(arg, name, rest[len] == '/' ? NULL : &z->members[i]);
}

int
mlc_zip_list(const struct mlc_zip *z, const char *dir, mlc_zip_emit_fn *emit,
             void *arg)
{
    size_t i = 0, skip = 0;
    int r;

    if (*dir != '\0') {
        r = mlc_zip_find(z, dir, NULL);
        if (r != -EISDIR)
            return r == 0 ? -ENOTDIR : r;
        i = lower_bound(z, dir, true);
        skip = strlen(dir) + 1;
    }
    while (i < z->n && (*dir == '\0' || is_below(z, i, dir))) {
        r = emit_one(z, i, skip, &i, emit, arg);
        if (r != 0)
            return r;
    }
    return 0;
}
