/* SPDX-License-Identifier: MIT */
/* The small files of a diffusers model folder: model_index.json and each
 * component's configuration, built in for each kind of checkpoint or taken from
 * a user's `config` (facts: checkpoints 2.5, 2.6, 4.5).  They say which
 * components there are, and what tensors those have (layout.h).
 *
 *   built in:  mlc_folder_new_builtin()
 *   a user's:  mlc_folder_new(), mlc_folder_add("model_index.json", ...); then
 *              add each file of mlc_folder_wanted() that is there
 *   either:    mlc_layout_new(), then mlc_folder_finish(), then
 *              mlc_folder_get() gives what the folder shows
 *
 * Paths are relative to the folder: "unet/config.json".  Errors as in
 * safetensors.h.  Not thread-safe while files are added; immutable after
 * finish. */
#ifndef MLC_FORMAT_FOLDER_H
#define MLC_FORMAT_FOLDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "backends/format/checkpoint.h"

struct mlc_folder;
struct mlc_layout;

#define MLC_FOLDER_MAX_TEXT ((size_t)1 << 20) /* bytes, of one file */

/* How a file of the folder comes about. */
enum mlc_file_kind {
    MLC_FILE_TEXT,   /* a configuration: mlc_folder_add() */
    MLC_FILE_PASSED, /* shown as it is in the `config`: mlc_folder_pass() */
};

struct mlc_wanted {
    const char *path; /* borrowed from the folder */
    enum mlc_file_kind kind;
    bool is_required; /* without it mlc_folder_finish() refuses the folder.  It
                         also does where a tokenizer has neither tokenizer.json
                         nor both of vocab.json and merges.txt */
};

int mlc_folder_new(struct mlc_folder **ret);
/* The built-in one.  Complete but for vocab.json and merges.txt of each
 * tokenizer. */
int mlc_folder_new_builtin(const struct mlc_checkpoint_kind *kind,
                           struct mlc_folder **ret);
void mlc_folder_free(struct mlc_folder *f); /* takes NULL */

/* text: the file's content, copied.  JSON that is none, or of another form than
 * needed, is refused here or in mlc_layout_new(). */
int mlc_folder_add(struct mlc_folder *f, const char *path, const char *text,
                   size_t len, char **ret_err);
/* A file that is not read here is there: vocab.json, merges.txt... */
void mlc_folder_pass(struct mlc_folder *f, const char *path);
/* What model_index.json asks for (that one is there): i = 0, 1, ...  False:
 * there are no more.  Weight files are not among them. */
bool mlc_folder_wanted(const struct mlc_folder *f, size_t i,
                       struct mlc_wanted *ret);
/* A tokenizer's folder, i = 0, 1, ...: "tokenizer", "tokenizer_2".  NULL: no
 * more.  vocab.json and merges.txt are the same in all of the built-in ones
 * (openai/clip-vit-large-patch14 has them). */
const char *mlc_folder_tokenizer(const struct mlc_folder *f, size_t i);

/* Makes the files what they are to be: model_index.json without a safety
 * checker, text encoders with the dtype that the layout has. */
int mlc_folder_finish(struct mlc_folder *f, const struct mlc_layout *layout,
                      char **ret_err);
/* The texts, i = 0, 1, ...: path, content and its length, borrowed.  NULL: no
 * more. */
const char *mlc_folder_get(const struct mlc_folder *f, size_t i,
                           const char **ret_text, size_t *ret_len);
/* A component's class in model_index.json, borrowed; NULL: it has none, or no
 * such component. */
const char *mlc_folder_class(const struct mlc_folder *f, const char *component);
/* A text as JSON (an object), borrowed; NULL: there is no such file. */
const json_t *mlc_folder_json(const struct mlc_folder *f, const char *path);

#endif
