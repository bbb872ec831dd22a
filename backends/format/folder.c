/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/layout.h"
#include "backends/format/pretty.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/json.h"
#include "backends/util/refuse.h"

/* All files that a folder may have but its weights. */
static const struct row {
    const char *component; /* "": of the folder itself */
    const char *path;
    enum mlc_file_kind kind;
    bool is_required;
} rows[] = {
    {"", "model_index.json", MLC_FILE_TEXT, true},
    {"unet", "unet/config.json", MLC_FILE_TEXT, true},
    {"vae", "vae/config.json", MLC_FILE_TEXT, true},
    {"text_encoder", "text_encoder/config.json", MLC_FILE_TEXT, true},
    {"text_encoder_2", "text_encoder_2/config.json", MLC_FILE_TEXT, true},
    {"scheduler", "scheduler/scheduler_config.json", MLC_FILE_TEXT, true},
    {"feature_extractor", "feature_extractor/preprocessor_config.json",
     MLC_FILE_TEXT, true},
    {"tokenizer", "tokenizer/tokenizer_config.json", MLC_FILE_TEXT, false},
    {"tokenizer", "tokenizer/special_tokens_map.json", MLC_FILE_TEXT, false},
    {"tokenizer", "tokenizer/added_tokens.json", MLC_FILE_TEXT, false},
    {"tokenizer", "tokenizer/tokenizer.json", MLC_FILE_PASSED, false},
    {"tokenizer", "tokenizer/vocab.json", MLC_FILE_PASSED, false},
    {"tokenizer", "tokenizer/merges.txt", MLC_FILE_PASSED, false},
    {"tokenizer_2", "tokenizer_2/tokenizer_config.json", MLC_FILE_TEXT, false},
    {"tokenizer_2", "tokenizer_2/special_tokens_map.json", MLC_FILE_TEXT,
     false},
    {"tokenizer_2", "tokenizer_2/added_tokens.json", MLC_FILE_TEXT, false},
    {"tokenizer_2", "tokenizer_2/tokenizer.json", MLC_FILE_PASSED, false},
    {"tokenizer_2", "tokenizer_2/vocab.json", MLC_FILE_PASSED, false},
    {"tokenizer_2", "tokenizer_2/merges.txt", MLC_FILE_PASSED, false},
};

#define N_ROWS (sizeof rows / sizeof *rows)
#define INDEX  0 /* model_index.json's row */

struct mlc_folder {
    struct {
        bool is_there;
        /* Of texts: */
        char *text;
        size_t len;
        json_t *json;
    } files[N_ROWS];
};

int
mlc_folder_new(struct mlc_folder **ret)
{
    struct mlc_folder *f = calloc(1, sizeof *f);

    if (!f)
        return -ENOMEM;
    *ret = f;
    return 0;
}

void
mlc_folder_free(struct mlc_folder *f)
{
    size_t i;

    if (!f)
        return;
    for (i = 0; i < N_ROWS; i++) {
        free(f->files[i].text);
        json_decref(f->files[i].json);
    }
    free(f);
}

/* --- adding ----------------------------------------------------------- */

/* N_ROWS: none. */
static size_t
row_of(const char *path)
{
    size_t i;

    for (i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].path, path) == 0)
            break;
    }
    return i;
}

int
mlc_folder_add(struct mlc_folder *f, const char *path, const char *text,
               size_t len, char **ret_err)
{
    mlc_autofree char *why = NULL;
    json_t *json = NULL;
    size_t i = row_of(path);
    char *copy;
    int r;

    if (i == N_ROWS || rows[i].kind != MLC_FILE_TEXT || f->files[i].is_there)
        return -EINVAL;
    if (len > MLC_FOLDER_MAX_TEXT)
        return mlc_refuse(ret_err, "%s: longer than %zu bytes", path,
                          MLC_FOLDER_MAX_TEXT);
    r = mlc_json_parse(text, len, &json, &why);
    if (r == -EBADMSG)
        return mlc_refuse(ret_err, "%s: %s", path, why ? why : "not JSON");
    if (r < 0)
        return r;
    if (!json_is_object(json)) {
        json_decref(json);
        return mlc_refuse(ret_err, "%s: no JSON object", path);
    }
    copy = malloc(len + 1);
    if (!copy) {
        json_decref(json);
        return -ENOMEM;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    f->files[i].is_there = true;
    f->files[i].text = copy;
    f->files[i].len = len;
    f->files[i].json = json;
    return 0;
}

void
mlc_folder_pass(struct mlc_folder *f, const char *path)
{
    size_t i = row_of(path);

    if (i < N_ROWS && rows[i].kind == MLC_FILE_PASSED)
        f->files[i].is_there = true;
}

/* --- asking ----------------------------------------------------------- */

const json_t *
mlc_folder_json(const struct mlc_folder *f, const char *path)
{
    size_t i = row_of(path);

    return i < N_ROWS ? f->files[i].json : NULL;
}

/* ["diffusers", "UNet2DConditionModel"] */
const char *
mlc_folder_class(const struct mlc_folder *f, const char *component)
{
    const json_t *entry = json_object_get(f->files[INDEX].json, component);

    if (json_array_size(entry) != 2)
        return NULL;
    return json_string_value(json_array_get(entry, 1));
}

static bool
is_wanted(const struct mlc_folder *f, size_t row)
{
    return row != INDEX && mlc_folder_class(f, rows[row].component);
}

bool
mlc_folder_wanted(const struct mlc_folder *f, size_t i, struct mlc_wanted *ret)
{
    size_t row;

    for (row = 0; row < N_ROWS; row++) {
        if (is_wanted(f, row) && i-- == 0) {
            ret->path = rows[row].path;
            ret->kind = rows[row].kind;
            ret->is_required = rows[row].is_required;
            return true;
        }
    }
    return false;
}

static const char *const tokenizers[] = {"tokenizer", "tokenizer_2"};

#define N_TOKENIZERS (sizeof tokenizers / sizeof *tokenizers)

const char *
mlc_folder_tokenizer(const struct mlc_folder *f, size_t i)
{
    size_t t;

    for (t = 0; t < N_TOKENIZERS; t++) {
        if (mlc_folder_class(f, tokenizers[t]) && i-- == 0)
            return tokenizers[t];
    }
    return NULL;
}

const char *
mlc_folder_get(const struct mlc_folder *f, size_t i, const char **ret_text,
               size_t *ret_len)
{
    size_t row;

    for (row = 0; row < N_ROWS; row++) {
        if (f->files[row].text && i-- == 0) {
            *ret_text = f->files[row].text;
            *ret_len = f->files[row].len;
            return rows[row].path;
        }
    }
    return NULL;
}

/* --- finishing -------------------------------------------------------- */

static bool
has(const struct mlc_folder *f, const char *component, const char *name)
{
    size_t len = strlen(component);
    size_t i;

    for (i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].component, component) == 0 &&
            strcmp(rows[i].path + len + 1, name) == 0)
            return f->files[i].is_there;
    }
    return false;
}

static int
check_whole(const struct mlc_folder *f, char **ret_err)
{
    const char *tokenizer;
    size_t i;

    if (!mlc_folder_class(f, "scheduler"))
        return mlc_refuse(ret_err, "the `config` names no scheduler in its "
                                   "model_index.json");
    for (i = 0; i < N_ROWS; i++) {
        if (rows[i].is_required && is_wanted(f, i) && !f->files[i].is_there)
            return mlc_refuse(ret_err, "the `config` has no %s", rows[i].path);
    }
    for (i = 0; (tokenizer = mlc_folder_tokenizer(f, i)); i++) {
        if (!has(f, tokenizer, "tokenizer.json") &&
            !(has(f, tokenizer, "vocab.json") &&
              has(f, tokenizer, "merges.txt")))
            return mlc_refuse(ret_err,
                              "%s has neither vocab.json and merges.txt nor "
                              "tokenizer.json",
                              tokenizer);
    }
    return 0;
}

/* The file's text anew, after its JSON was changed. */
static int
write_anew(struct mlc_folder *f, size_t row)
{
    struct mlc_buf b;
    int r;

    /* Escapes and indentation make it longer, by a factor at most. */
    mlc_buf_init(&b, 256 * MLC_FOLDER_MAX_TEXT);
    r = mlc_pretty(&b, f->files[row].json);
    if (r < 0) {
        mlc_buf_done(&b);
        return r;
    }
    free(f->files[row].text);
    f->files[row].text = mlc_buf_take(&b, &f->files[row].len);
    return 0;
}

static bool
is_component(const char *name)
{
    size_t i;

    for (i = 0; i < N_ROWS; i++) {
        if (i != INDEX && strcmp(rows[i].component, name) == 0)
            return true;
    }
    return false;
}

/* [library, class], as a component has it; not two numbers. */
static bool
is_entry(const json_t *value)
{
    return json_array_size(value) == 2 &&
           (json_is_string(json_array_get(value, 0)) ||
            json_is_string(json_array_get(value, 1)));
}

/* model_index.json names what is in the folder, and no more: a safety checker's
 * weights are in no checkpoint, and without its folder loading fails (facts:
 * checkpoints 4.5). */
static int
edit_index(struct mlc_folder *f)
{
    json_t *index = f->files[INDEX].json;
    json_t *value;
    const char *key;

    json_object_foreach(index, key, value)
    {
        if (is_component(key) || !is_entry(value))
            continue;
        if (json_array_set_new(value, 0, json_null()) < 0 ||
            json_array_set_new(value, 1, json_null()) < 0)
            return -ENOMEM;
    }
    /* What transformers calls it depends on the packages beside it. */
    value = json_object_get(index, "feature_extractor");
    if (mlc_folder_class(f, "feature_extractor") &&
        json_array_set_new(value, 1, json_string("CLIPImageProcessor")) < 0)
        return -ENOMEM;
    json_object_del(index, "_name_or_path");
    return write_anew(f, INDEX);
}

/* NULL: none that a configuration could name. */
static const char *
torch_dtype(enum mlc_dtype dtype)
{
    if (dtype == MLC_DTYPE_F16)
        return "float16";
    if (dtype == MLC_DTYPE_BF16)
        return "bfloat16";
    if (dtype == MLC_DTYPE_F32)
        return "float32";
    if (dtype == MLC_DTYPE_F64)
        return "float64";
    return NULL;
}

/* A stale dtype would make transformers convert it (facts: checkpoints
 * 2.5). */
static int
edit_text_encoder(struct mlc_folder *f, const struct mlc_component *c)
{
    static const char *const members[] = {"dtype", "torch_dtype"};
    const char *dtype = torch_dtype(c->dtype);
    size_t row =
        row_of(c->part == MLC_PART_TEXT_ENCODER ? "text_encoder/config.json"
                                                : "text_encoder_2/config.json");
    json_t *config = f->files[row].json;
    size_t i;

    for (i = 0; i < sizeof members / sizeof *members; i++) {
        if (!dtype)
            json_object_del(config, members[i]);
        else if (json_object_set_new(config, members[i], json_string(dtype)) <
                 0)
            return -ENOMEM;
    }
    json_object_del(config, "_name_or_path");
    return write_anew(f, row);
}

int
mlc_folder_finish(struct mlc_folder *f, const struct mlc_layout *layout,
                  char **ret_err)
{
    size_t i;
    int r = check_whole(f, ret_err);

    if (r == 0)
        r = edit_index(f);
    for (i = 0; r == 0 && i < layout->n_components; i++) {
        const struct mlc_component *c = &layout->components[i];

        if (c->part == MLC_PART_TEXT_ENCODER ||
            c->part == MLC_PART_TEXT_ENCODER_2)
            r = edit_text_encoder(f, c);
    }
    return r;
}
