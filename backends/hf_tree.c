/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/hf_tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/json.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"
#include "backends/util/refuse.h"

#define MAX_SIZE ((uint64_t)1 << 53) /* what a JSON number holds exactly */
#define NO_LFS   UINT32_MAX
#define JSON_MAX ((size_t)64 << 20)

struct file {
    uint64_t size;
    uint32_t path; /* offset in text */
    uint32_t lfs;  /* index in lfs, or NO_LFS */
    uint8_t oid[20];
};

struct lfs {
    uint8_t sha256[32];
};

struct mlc_hf_tree {
    atomic_uint refs;
    atomic_size_t cursor;
    struct file *files; /* immutable from here on; sorted by path */
    size_t n_files;
    struct lfs *lfs;
    uint32_t *by_etag; /* indexes of files, sorted by etag */
    char *text;        /* NUL-terminated paths */
};

struct mlc_hf_tree_builder {
    struct file *files;
    size_t n_files, cap_files;
    struct lfs *lfs;
    size_t n_lfs, cap_lfs;
    char *text;
    size_t n_text, cap_text;
};

MLC_DEFINE_CLEANUP(tree, struct mlc_hf_tree *, mlc_hf_tree_unref);
MLC_DEFINE_CLEANUP(builder, struct mlc_hf_tree_builder *,
                   mlc_hf_tree_builder_free);
MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

/* --- building ------------------------------------------------------- */

int
mlc_hf_tree_builder_new(struct mlc_hf_tree_builder **ret)
{
    struct mlc_hf_tree_builder *b = calloc(1, sizeof *b);

    if (!b)
        return -ENOMEM;
    *ret = b;
    return 0;
}

void
mlc_hf_tree_builder_free(struct mlc_hf_tree_builder *b)
{
    if (!b)
        return;
    free(b->files);
    free(b->lfs);
    free(b->text);
    free(b);
}

/* Room for 'need' elements of 'size' bytes in *p; need is bounded by the
 * maxima above, so nothing overflows. */
static int
grow(void *p, size_t *cap, size_t need, size_t size)
{
    size_t n = *cap ? *cap : 64;
    void *q;

    if (need <= *cap)
        return 0;
    while (n < need)
        n += n / 2;
    memcpy(&q, p, sizeof q);
    q = realloc(q, n * size);
    if (!q)
        return -ENOMEM;
    memcpy(p, &q, sizeof q);
    *cap = n;
    return 0;
}

/* The one way in for a file, wherever it comes from. */
static int
add_file(struct mlc_hf_tree_builder *b, const char *path, uint64_t size,
         const char *oid, const char *sha256, char **ret_err)
{
    size_t len = strlen(path) + 1;
    struct file *f;
    int r;

    if (size > MAX_SIZE)
        return mlc_refuse(ret_err, "a file of an impossible size");
    if (!mlc_is_hex(oid, 40))
        return mlc_refuse(ret_err, "an object id that is none");
    if (sha256 && !mlc_is_hex(sha256, 64))
        return mlc_refuse(ret_err, "an LFS object id that is none");
    if (b->n_files >= MLC_HF_TREE_MAX_FILES)
        return mlc_refuse(ret_err, "more than %zu files",
                          MLC_HF_TREE_MAX_FILES);
    if (len > MLC_HF_TREE_MAX_TEXT - b->n_text)
        return mlc_refuse(ret_err, "more than %zu bytes of paths",
                          MLC_HF_TREE_MAX_TEXT);

    r = grow(&b->files, &b->cap_files, b->n_files + 1, sizeof *b->files);
    if (r < 0)
        return r;
    r = grow(&b->lfs, &b->cap_lfs, b->n_lfs + 1, sizeof *b->lfs);
    if (r < 0)
        return r;
    r = grow(&b->text, &b->cap_text, b->n_text + len, 1);
    if (r < 0)
        return r;

    f = &b->files[b->n_files];
    memset(f, 0, sizeof *f);
    f->size = size;
    f->path = (uint32_t)b->n_text;
    f->lfs = NO_LFS;
    if (mlc_parse_hex(oid, f->oid, sizeof f->oid) < 0)
        return mlc_refuse(ret_err, "an object id that is none");
    if (sha256) {
        if (mlc_parse_hex(sha256, b->lfs[b->n_lfs].sha256, 32) < 0)
            return mlc_refuse(ret_err, "an LFS object id that is none");
        f->lfs = (uint32_t)b->n_lfs++;
    }
    memcpy(b->text + b->n_text, path, len);
    b->n_text += len;
    b->n_files++;
    return 0;
}

/* One element of a listing.  Directories follow from the paths of files: git
 * has no empty ones. */
static int
add_entry(struct mlc_hf_tree_builder *b, const json_t *e, char **ret_err)
{
    const json_t *lfs = json_object_get(e, "lfs");
    const char *type = NULL;
    const char *path = NULL;
    const char *oid = NULL;
    const char *sha256 = NULL;
    uint64_t size = 0;

    if (!json_is_object(e) || mlc_json_str(e, "type", &type) < 0)
        return mlc_refuse(ret_err, "an entry without a type");
    if (mlc_json_str(e, "path", &path) < 0 ||
        !mlc_path_is_safe(path, MLC_HF_MAX_PATH))
        return mlc_refuse(ret_err, "an entry with an unsafe path");
    if (strcmp(type, "directory") == 0)
        return 0;
    if (strcmp(type, "unknown") == 0) {
        mlc_debug("hf", "%s: of an unknown type, left out", path);
        return 0;
    }
    if (strcmp(type, "file") != 0)
        return mlc_refuse(ret_err, "an entry of an unheard-of type");
    if (mlc_json_str(e, "oid", &oid) < 0)
        return mlc_refuse(ret_err, "a file without an object id");
    if (mlc_json_u64(e, "size", &size) < 0)
        return mlc_refuse(ret_err, "a file without a size");
    if (lfs && !json_is_null(lfs)) {
        uint64_t lfs_size = 0;
        int r;

        if (!json_is_object(lfs) || mlc_json_str(lfs, "oid", &sha256) < 0)
            return mlc_refuse(ret_err, "an LFS file without an object id");
        /* The size beside it may be that of the pointer (facts: hub 1.2). */
        r = mlc_json_u64(lfs, "size", &lfs_size);
        if (r == 0)
            size = lfs_size;
        else if (r != -ENOENT)
            return mlc_refuse(ret_err, "an LFS file of an impossible size");
    }
    return add_file(b, path, size, oid, sha256, ret_err);
}

int
mlc_hf_tree_add_page(struct mlc_hf_tree_builder *b, const char *text,
                     size_t len, char **ret_err)
{
    __attribute__((cleanup(mlc_cleanup_json))) json_t *root = NULL;
    int r;

    r = mlc_json_parse(text, len, &root, ret_err);
    if (r < 0)
        return r;
    if (!json_is_array(root))
        return mlc_refuse(ret_err, "not a list");
    for (size_t i = 0; i < json_array_size(root); i++) {
        r = add_entry(b, json_array_get(root, i), ret_err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- order ---------------------------------------------------------- */

static const uint8_t *
etag_of(const struct mlc_hf_tree *t, const struct file *f, size_t *ret_len)
{
    *ret_len = f->lfs == NO_LFS ? 20 : 32;
    return f->lfs == NO_LFS ? f->oid : t->lfs[f->lfs].sha256;
}

static int
compare_paths(const void *a, const void *b, void *text)
{
    const struct file *x = a;
    const struct file *y = b;
    const char *s = text;
    int c = strcmp(s + x->path, s + y->path);

    /* What came first stays first: it is the one that is kept. */
    return c ? c : (x->path > y->path) - (x->path < y->path);
}

static int
compare_bytes(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    if (n_a != n_b)
        return n_a < n_b ? -1 : 1;
    return memcmp(a, b, n_a);
}

static int
compare_etags(const void *a, const void *b, void *tree)
{
    const struct mlc_hf_tree *t = tree;
    uint32_t i = *(const uint32_t *)a;
    uint32_t j = *(const uint32_t *)b;
    size_t n_x, n_y;
    const uint8_t *x = etag_of(t, &t->files[i], &n_x);
    const uint8_t *y = etag_of(t, &t->files[j], &n_y);
    int c = compare_bytes(x, n_x, y, n_y);

    return c ? c : (i > j) - (i < j);
}

/* The first file whose path is not less than the 'len' bytes of s. */
static size_t
lower_bound(const struct mlc_hf_tree *t, size_t from, const char *s, size_t len)
{
    size_t lo = from;
    size_t hi = t->n_files;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        /* A path that has s as its prefix compares equal: not less. */
        if (strncmp(t->text + t->files[mid].path, s, len) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The first file at or after 'from' that lies in the directory of 'len'
 * bytes; n_files if none. */
static size_t
first_below(const struct mlc_hf_tree *t, size_t from, const char *dir,
            size_t len)
{
    char key[MLC_HF_MAX_PATH + 2];
    size_t i;

    if (len == 0)
        return from;
    if (len > MLC_HF_MAX_PATH)
        return t->n_files;
    memcpy(key, dir, len);
    key[len] = '/';
    key[len + 1] = '\0';
    i = lower_bound(t, from, key, len + 1);
    if (i < t->n_files &&
        strncmp(t->text + t->files[i].path, key, len + 1) == 0)
        return i;
    return t->n_files;
}

/* The first file at or after 'from' behind everything in that directory. */
static size_t
first_behind(const struct mlc_hf_tree *t, size_t from, const char *dir,
             size_t len)
{
    char key[MLC_HF_MAX_PATH + 2];

    memcpy(key, dir, len);
    key[len] = '/' + 1;
    key[len + 1] = '\0';
    return lower_bound(t, from, key, len + 1);
}

int
mlc_hf_tree_finish(struct mlc_hf_tree_builder *b, struct mlc_hf_tree **ret)
{
    __attribute__((cleanup(mlc_cleanup_tree))) struct mlc_hf_tree *t =
        calloc(1, sizeof *t);
    size_t n = 0;

    if (!t)
        return -ENOMEM;
    atomic_init(&t->refs, 1);
    t->files = mlc_steal(&b->files);
    t->n_files = b->n_files;
    t->lfs = mlc_steal(&b->lfs);
    t->text = mlc_steal(&b->text);
    memset(b, 0, sizeof *b);
    if (t->n_files == 0) {
        *ret = mlc_steal(&t);
        return 0;
    }

    qsort_r(t->files, t->n_files, sizeof *t->files, compare_paths, t->text);
    for (size_t i = 0; i < t->n_files; i++)
        if (n == 0 || strcmp(t->text + t->files[n - 1].path,
                             t->text + t->files[i].path) != 0)
            t->files[n++] = t->files[i];
    t->n_files = n;

    /* Backwards in place would disturb the search, so mark, then squeeze. */
    for (size_t i = 0; i < t->n_files; i++) {
        const char *path = t->text + t->files[i].path;

        if (first_below(t, i, path, strlen(path)) < t->n_files)
            t->files[i].size = UINT64_MAX;
    }
    n = 0;
    for (size_t i = 0; i < t->n_files; i++)
        if (t->files[i].size != UINT64_MAX)
            t->files[n++] = t->files[i];
    t->n_files = n;

    t->by_etag = calloc(n ? n : 1, sizeof *t->by_etag);
    if (!t->by_etag)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        t->by_etag[i] = (uint32_t)i;
    qsort_r(t->by_etag, n, sizeof *t->by_etag, compare_etags, t);
    *ret = mlc_steal(&t);
    return 0;
}

/* --- the clients' file ---------------------------------------------- */

static int
add_stored(struct mlc_hf_tree_builder *b, const char *path, const json_t *e)
{
    const char *oid = NULL;
    const char *sha256 = NULL;
    const char *xet = NULL;
    uint64_t size = 0;
    uint64_t lfs_size = 0;
    int r;

    if (!json_is_object(e) || !mlc_path_is_safe(path, MLC_HF_MAX_PATH))
        return -EBADMSG;
    if (mlc_json_str(e, "blob_id", &oid) < 0 ||
        mlc_json_u64(e, "size", &size) < 0)
        return -EBADMSG;
    r = mlc_json_str(e, "lfs_sha256", &sha256);
    if (r < 0 && r != -ENOENT)
        return r;
    r = mlc_json_u64(e, "lfs_size", &lfs_size);
    if (r == 0 && sha256)
        size = lfs_size;
    else if (r < 0 && r != -ENOENT)
        return r;
    r = mlc_json_str(e, "xet_hash", &xet);
    if ((r < 0 && r != -ENOENT) || (xet && strlen(xet) != 64))
        return -EBADMSG;
    return add_file(b, path, size, oid, sha256, NULL);
}

int
mlc_hf_tree_parse(const char *text, size_t len, struct mlc_hf_tree **ret)
{
    __attribute__((
        cleanup(mlc_cleanup_builder))) struct mlc_hf_tree_builder *b = NULL;
    __attribute__((cleanup(mlc_cleanup_json))) json_t *root = NULL;
    json_t *files, *value;
    const char *path;
    uint64_t version = 0;
    int r;

    if (len > JSON_MAX) {
        /* Beyond what comes from the network; the caller bounds our own. */
        root = json_loadb(text, len, 0, NULL);
        if (!root)
            return -EBADMSG;
    } else {
        r = mlc_json_parse(text, len, &root, NULL);
        if (r < 0)
            return r;
    }
    if (!json_is_object(root) ||
        mlc_json_u64(root, "format_version", &version) < 0 || version != 1)
        return -EBADMSG;
    files = json_object_get(root, "files");
    if (!json_is_object(files))
        return -EBADMSG;
    r = mlc_hf_tree_builder_new(&b);
    if (r < 0)
        return r;
    json_object_foreach(files, path, value)
    {
        r = add_stored(b, path, value);
        if (r < 0)
            return r;
    }
    return mlc_hf_tree_finish(b, ret);
}

static int
format_string(struct mlc_buf *out, const char *s)
{
    int r = mlc_buf_puts(out, "\"");

    /* Control bytes and backslashes never get into a tree. */
    for (const char *q; r == 0 && (q = strchr(s, '"')); s = q + 1) {
        r = mlc_buf_append(out, s, (size_t)(q - s));
        if (r == 0)
            r = mlc_buf_puts(out, "\\\"");
    }
    if (r == 0)
        r = mlc_buf_puts(out, s);
    return r < 0 ? r : mlc_buf_puts(out, "\"");
}

int
mlc_hf_tree_format(const struct mlc_hf_tree *t, struct mlc_buf *out)
{
    int r = mlc_buf_puts(out, "{\n \"files\": {");

    for (size_t i = 0; r == 0 && i < t->n_files; i++) {
        const struct file *f = &t->files[i];
        char hex[65];

        r = mlc_buf_puts(out, i ? ",\n  " : "\n  ");
        if (r == 0)
            r = format_string(out, t->text + f->path);
        mlc_format_hex(f->oid, sizeof f->oid, hex);
        if (r == 0)
            r = mlc_buf_printf(out, ": {\n   \"blob_id\": \"%s\",\n", hex);
        if (r == 0 && f->lfs != NO_LFS) {
            mlc_format_hex(t->lfs[f->lfs].sha256, 32, hex);
            r = mlc_buf_printf(out,
                               "   \"lfs_sha256\": \"%s\",\n"
                               "   \"lfs_size\": %llu,\n",
                               hex, (unsigned long long)f->size);
        }
        if (r == 0)
            r = mlc_buf_printf(out, "   \"size\": %llu\n  }",
                               (unsigned long long)f->size);
    }
    if (r == 0)
        r = mlc_buf_printf(out, "%s},\n \"format_version\": 1\n}",
                           t->n_files ? "\n " : "");
    return r;
}

/* --- asking --------------------------------------------------------- */

struct mlc_hf_tree *
mlc_hf_tree_ref(struct mlc_hf_tree *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void
mlc_hf_tree_unref(struct mlc_hf_tree *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    free(t->files);
    free(t->lfs);
    free(t->by_etag);
    free(t->text);
    free(t);
}

size_t
mlc_hf_tree_n_files(const struct mlc_hf_tree *t)
{
    return t->n_files;
}

void
mlc_hf_tree_get(const struct mlc_hf_tree *t, size_t i, struct mlc_hf_file *ret)
{
    const struct file *f = &t->files[i];
    size_t len;
    const uint8_t *etag = etag_of(t, f, &len);

    ret->path = t->text + f->path;
    ret->size = f->size;
    mlc_format_hex(etag, len, ret->etag);
}

int
mlc_hf_tree_find(const struct mlc_hf_tree *t, const char *path, size_t *ret_i)
{
    size_t len = strlen(path);
    size_t i;

    if (len == 0)
        return -EISDIR;
    if (len > MLC_HF_MAX_PATH)
        return -ENOENT;
    i = lower_bound(t, 0, path, len + 1);
    if (i < t->n_files && strcmp(t->text + t->files[i].path, path) == 0) {
        *ret_i = i;
        return 0;
    }
    return first_below(t, i, path, len) < t->n_files ? -EISDIR : -ENOENT;
}

int
mlc_hf_tree_list(const struct mlc_hf_tree *t, const char *dir,
                 mlc_list_fn *emit, void *arg)
{
    size_t len = strlen(dir);
    size_t skip = len ? len + 1 : 0;
    size_t i = first_below(t, 0, dir, len);

    if (len && i == t->n_files)
        return -ENOENT;
    while (i < t->n_files) {
        const char *path = t->text + t->files[i].path;
        const char *slash;
        char name[256];
        size_t n;
        int r;

        if (len && (strncmp(path, dir, len) != 0 || path[len] != '/'))
            break;
        slash = strchr(path + skip, '/');
        if (!slash) {
            r = emit(arg, path + skip, DT_LNK);
            i++;
        } else {
            n = (size_t)(slash - path) - skip;
            memcpy(name, path + skip, n); /* <= 255: mlc_path_is_safe() */
            name[n] = '\0';
            r = emit(arg, name, DT_DIR);
            i = first_behind(t, i, path, (size_t)(slash - path));
        }
        if (r)
            return r;
    }
    return 0;
}

size_t
mlc_hf_tree_find_etag(const struct mlc_hf_tree *t, const char *etag,
                      size_t *ret_first)
{
    size_t want_len = strlen(etag) / 2;
    size_t lo = 0;
    size_t hi = t->n_files;
    size_t n = 0;
    uint8_t want[32];

    if ((want_len != 20 && want_len != 32) ||
        mlc_parse_hex(etag, want, want_len) < 0)
        return 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        size_t len;
        const uint8_t *got = etag_of(t, &t->files[t->by_etag[mid]], &len);

        if (compare_bytes(got, len, want, want_len) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    while (lo + n < t->n_files) {
        size_t len;
        const uint8_t *got = etag_of(t, &t->files[t->by_etag[lo + n]], &len);

        if (compare_bytes(got, len, want, want_len) != 0)
            break;
        n++;
    }
    *ret_first = lo;
    return n;
}

size_t
mlc_hf_tree_by_etag(const struct mlc_hf_tree *t, size_t k)
{
    return t->by_etag[k];
}

atomic_size_t *
mlc_hf_tree_cursor(struct mlc_hf_tree *t)
{
    return &t->cursor;
}
