/* SPDX-License-Identifier: MIT */
/* The input is a digit, which file of a small folder it is, and that file. */
/* seeds: test-format-checkpoint */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/folder.h"
#include "backends/format/layout.h"
#include "tests/small-folder.h"

#define check(x)                                                               \
    do {                                                                       \
        if (!(x))                                                              \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 0: as it is to be; all else is a refusal, with a reason. */
static int
judge(int r, char *err)
{
    check(r == 0 || r == -EBADMSG);
    check((r < 0) == (err != NULL));
    free(err);
    return r;
}

/* Nothing that is asked for leaves the folder. */
static void
look_at_wanted(const struct mlc_folder *folder)
{
    struct mlc_wanted w;

    for (size_t i = 0; mlc_folder_wanted(folder, i, &w); i++) {
        check(*w.path && *w.path != '/' && !strstr(w.path, ".."));
        check(w.kind == MLC_FILE_TEXT || w.kind == MLC_FILE_PASSED);
    }
    for (size_t i = 0; mlc_folder_tokenizer(folder, i); i++)
        check(!strchr(mlc_folder_tokenizer(folder, i), '/'));
}

/* Every byte of each file has one place, in the checkpoint. */
static void
look_at_layout(const struct mlc_layout *layout, const struct mlc_safetensors *f)
{
    uint64_t last = 0;

    for (size_t i = 0; i < mlc_safetensors_n_tensors(f); i++)
        if (mlc_safetensors_get(f, i)->end > last)
            last = mlc_safetensors_get(f, i)->end;
    for (size_t i = 0; i < layout->n_components; i++) {
        const struct mlc_component *c = &layout->components[i];
        uint64_t at = c->header_len;

        for (size_t k = 0; k < c->n_targets; k++) {
            const struct mlc_target *t = &c->targets[k];
            uint64_t len = t->tensor.end - t->tensor.begin;

            check(t->tensor.begin == at && t->tensor.end >= at);
            check(len <= last && t->source_begin <= last - len);
            at = t->tensor.end;
        }
        check(at == c->size);
    }
}

static void
look_at_texts(const struct mlc_folder *folder)
{
    const char *text;
    size_t len;

    for (size_t i = 0; mlc_folder_get(folder, i, &text, &len); i++)
        check(text && strlen(text) == len);
}

static void
lay_out(struct mlc_folder *folder)
{
    const struct mlc_layout_options options = {.flat_clip_names = true};
    struct mlc_safetensors *f = small_checkpoint(folder, NULL);
    struct mlc_layout *layout = NULL;
    char *err = NULL;

    if (!f)
        check(mlc_safetensors_parse("{}", 2, 10, &f, NULL) == 0);
    if (judge(mlc_layout_new(folder, f, NULL, &options, &layout, &err), err) ==
        0) {
        look_at_layout(layout, f);
        err = NULL;
        if (judge(mlc_folder_finish(folder, layout, &err), err) == 0)
            look_at_texts(folder);
    }
    mlc_layout_free(layout);
    mlc_safetensors_free(f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mlc_folder *folder = NULL;
    int r = 0;

    if (size == 0)
        return 0;
    check(mlc_folder_new(&folder) == 0);
    for (size_t i = 0; r == 0 && i < SMALL_FOLDER_FILES; i++) {
        const char *text = small_folder[i].text;
        size_t len = strlen(text);
        char *err = NULL;

        if (data[0] == '0' + i) {
            text = (const char *)data + 1;
            len = size - 1;
        }
        r = judge(mlc_folder_add(folder, small_folder[i].path, text, len, &err),
                  err);
    }
    mlc_folder_pass(folder, "tokenizer_2/vocab.json");
    mlc_folder_pass(folder, "tokenizer_2/merges.txt");
    look_at_wanted(folder);
    if (r == 0)
        lay_out(folder);
    mlc_folder_free(folder);
    return 0;
}
