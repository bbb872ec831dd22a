/* SPDX-License-Identifier: MIT */
/* Writes what a view of a checkpoint shows, for tests that compare it:
 *
 *   format-convert [OPTION...] CHECKPOINT FOLDER
 *   format-convert [OPTION...] CHECKPOINT
 *
 * --config DIR, --vae FILE, --flat: as in a recipe; --hollow: weights files are
 * a header and a hole, and tokenizers lack their words.
 * The second form prints a line for each weights file instead: component,
 * dtype, tensors, length of the header, size, start of the header's SHA-256. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/format/folder.h"
#include "backends/format/layout.h"
#include "backends/util/path.h"

struct input {
    int fd;
    struct mlc_safetensors *header;
};

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static void
check(int r, const char *what, char *const *err)
{
    if (r < 0)
        die("%s: %s", what, err && *err ? *err : strerror(-r));
}

static void
read_at(int fd, void *to, size_t len, uint64_t offset)
{
    char *p = to;

    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)offset);

        if (n <= 0)
            die("reading: %s", n < 0 ? strerror(errno) : "end of file");
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
}

static void
open_input(struct input *in, const char *path)
{
    uint8_t prefix[MLC_SAFETENSORS_PREFIX_LEN] = {0};
    struct stat st;
    char *err = NULL;
    char *text;
    size_t len = 0;
    uint64_t size;

    in->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0 || fstat(in->fd, &st) < 0)
        die("%s: %s", path, strerror(errno));
    size = (uint64_t)st.st_size;
    read_at(in->fd, prefix, size < sizeof prefix ? size : sizeof prefix, 0);
    check(mlc_safetensors_header_len(prefix, size, &len, &err), path, &err);
    text = malloc(len + 1);
    if (!text)
        die("no memory");
    read_at(in->fd, text, len, sizeof prefix);
    check(mlc_safetensors_parse(text, len, size, &in->header, &err), path,
          &err);
    free(text);
}

static char *
slurp(int dir, const char *path, size_t *ret_len)
{
    char *text = NULL;
    int r = mlc_read_file_at(dir, path, (size_t)64 << 20, &text, ret_len);

    if (r < 0 && r != -ENOENT)
        die("%s: %s", path, strerror(-r));
    return text;
}

/* A user's configurations. */
static struct mlc_folder *
read_config(int dir)
{
    struct mlc_folder *folder = NULL;
    struct mlc_wanted wanted;
    const char *path = "model_index.json";
    size_t i = 0;

    check(mlc_folder_new(&folder), "config", NULL);
    wanted.kind = MLC_FILE_TEXT;
    do {
        char *err = NULL;
        size_t len = 0;
        char *text = slurp(dir, path, &len);

        if (text && wanted.kind == MLC_FILE_TEXT)
            check(mlc_folder_add(folder, path, text, len, &err), "config",
                  &err);
        else if (text)
            mlc_folder_pass(folder, path);
        free(text);
    } while (mlc_folder_wanted(folder, i++, &wanted) && (path = wanted.path));
    return folder;
}

static struct mlc_folder *
make_config(const struct mlc_safetensors *checkpoint, const char *path)
{
    struct mlc_folder *folder = NULL;
    struct mlc_checkpoint_kind kind;
    char *err = NULL;

    check(mlc_checkpoint_detect(checkpoint, &kind, &err), path, &err);
    check(mlc_folder_new_builtin(&kind, &folder), path, NULL);
    return folder;
}

static void
write_file(int out, const char *path, const void *data, size_t len)
{
    int r = mlc_mkdir_parents_at(out, path);

    if (r == 0)
        r = mlc_write_file_at(out, path, data, len, 0644);
    check(r, path, NULL);
}

static void
transpose(const struct mlc_target *t, const char *from, char *to)
{
    size_t width = mlc_dtype_bits(t->tensor.dtype) / 8;
    size_t rows = t->dims[0];
    size_t columns = t->dims[1];
    size_t r, c;

    for (r = 0; r < rows; r++) {
        for (c = 0; c < columns; c++)
            memcpy(to + (r * columns + c) * width,
                   from + (c * rows + r) * width, width);
    }
}

/* A test's files fit into memory. */
static void
write_hollow(int out, const struct mlc_component *c, const char *path)
{
    int fd;

    write_file(out, path, c->header, c->header_len);
    fd = openat(out, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)c->size) < 0)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

static char *
component_path(const struct mlc_component *c)
{
    char *name = mlc_component_file(c, NULL);
    char *path = name ? mlc_path_join(c->folder, name) : NULL;

    if (!path)
        die("no memory");
    free(name);
    return path;
}

static void
write_component(int out, const struct mlc_component *c, const char *path,
                const struct input *inputs)
{
    char *bytes = malloc(c->size);
    size_t i;

    if (!bytes)
        die("no memory");
    memcpy(bytes, c->header, c->header_len);
    for (i = 0; i < c->n_targets; i++) {
        const struct mlc_target *t = &c->targets[i];
        size_t len = t->tensor.end - t->tensor.begin;
        char *source = malloc(len + 1);

        if (!source)
            die("no memory");
        read_at(inputs[c->origin].fd, source, len, t->source_begin);
        if (t->transform == MLC_TRANSPOSE)
            transpose(t, source, bytes + t->tensor.begin);
        else
            memcpy(bytes + t->tensor.begin, source, len);
        free(source);
    }
    write_file(out, path, bytes, c->size);
    free(bytes);
}

/* The folder's other files: texts, and what is passed on. */
static void
write_rest(int out, const struct mlc_folder *folder, int config)
{
    struct mlc_wanted wanted;
    const char *path, *text;
    size_t len, i;

    for (i = 0; (path = mlc_folder_get(folder, i, &text, &len)); i++)
        write_file(out, path, text, len);
    for (i = 0; mlc_folder_wanted(folder, i, &wanted); i++) {
        char *data;

        if (wanted.kind != MLC_FILE_PASSED || config < 0)
            continue;
        data = slurp(config, wanted.path, &len);
        if (data)
            write_file(out, wanted.path, data, len);
        free(data);
    }
}

static void
print_component(const struct mlc_component *c)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    size_t i;

    SHA256((const unsigned char *)c->header, c->header_len, digest);
    printf("%s %s %zu %zu %" PRIu64 " ", c->folder, mlc_dtype_name(c->dtype),
           c->n_targets, c->header_len - MLC_SAFETENSORS_PREFIX_LEN, c->size);
    for (i = 0; i < 8; i++)
        printf("%02x", digest[i]);
    putchar('\n');
}

struct task {
    struct input inputs[2];
    int config; /* -1: the built-in one */
    bool is_hollow;
    struct mlc_layout_options options;
};

static int
parse_options(struct task *t, char **argv)
{
    int i;

    for (i = 1; argv[i] && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--flat") == 0)
            t->options.flat_clip_names = true;
        else if (strcmp(argv[i], "--hollow") == 0)
            t->is_hollow = true;
        else if (strcmp(argv[i], "--config") == 0 && argv[i + 1])
            t->config = open(argv[++i], O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        else if (strcmp(argv[i], "--vae") == 0 && argv[i + 1])
            open_input(&t->inputs[MLC_ORIGIN_VAE], argv[++i]);
        else
            die("what is %s?", argv[i]);
    }
    return i;
}

static void
pretend_words(struct mlc_folder *folder)
{
    struct mlc_wanted wanted;
    size_t i;

    for (i = 0; mlc_folder_wanted(folder, i, &wanted); i++)
        mlc_folder_pass(folder, wanted.path);
}

static void
write_all(const struct task *t, struct mlc_folder *folder,
          const struct mlc_layout *layout, const char *path)
{
    char *err = NULL;
    size_t i;
    int out;

    if (t->is_hollow)
        pretend_words(folder);
    check(mlc_folder_finish(folder, layout, &err), path, &err);
    if (mkdir(path, 0755) < 0)
        die("%s: %s", path, strerror(errno));
    out = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (out < 0)
        die("%s: %s", path, strerror(errno));
    for (i = 0; i < layout->n_components; i++) {
        const struct mlc_component *c = &layout->components[i];
        char *file = component_path(c);

        if (t->is_hollow)
            write_hollow(out, c, file);
        else
            write_component(out, c, file, t->inputs);
        free(file);
    }
    write_rest(out, folder, t->config);
    close(out);
}

int
main(int argc, char **argv)
{
    struct task t = {.config = -1};
    struct input *checkpoint = &t.inputs[MLC_ORIGIN_CHECKPOINT];
    struct mlc_folder *folder;
    struct mlc_layout *layout = NULL;
    char *err = NULL;
    size_t i;

    argv += parse_options(&t, argv);
    if (!argv[0])
        die("usage: see the source");
    open_input(checkpoint, argv[0]);
    folder = t.config >= 0 ? read_config(t.config)
                           : make_config(checkpoint->header, argv[0]);
    check(mlc_layout_new(folder, checkpoint->header,
                         t.inputs[MLC_ORIGIN_VAE].header, &t.options, &layout,
                         &err),
          argv[0], &err);
    if (argv[1]) {
        write_all(&t, folder, layout, argv[1]);
    } else {
        for (i = 0; i < layout->n_components; i++)
            print_component(&layout->components[i]);
    }
    mlc_layout_free(layout);
    mlc_folder_free(folder);
    mlc_safetensors_free(t.inputs[MLC_ORIGIN_CHECKPOINT].header);
    mlc_safetensors_free(t.inputs[MLC_ORIGIN_VAE].header);
    return 0;
}
