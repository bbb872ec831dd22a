/* SPDX-License-Identifier: MIT */
/* Recipes: what a folder in diffusers_converted/ is made of
 * (mlcachefs-recipe(5)).
 *
 * Lines "key = value"; blank lines, and those that begin with '#', say nothing.
 * What is not understood is refused: a key that is misspelt must not go
 * unnoticed. */
#ifndef MLC_FORMAT_RECIPE_H
#define MLC_FORMAT_RECIPE_H

#include <stdbool.h>
#include <stddef.h>

#define MLC_RECIPE_MAX       ((size_t)64 * 1024) /* bytes */
#define MLC_RECIPE_MAX_LORAS 64

struct mlc_recipe_lora {
    char *path;
    double scale;
};

/* Strings are owned; what was not given is NULL. */
struct mlc_recipe {
    char *checkpoint; /* never NULL */
    char *vae;
    char *config;
    char *variant; /* letters, digits, '_' and '-' */
    struct mlc_recipe_lora *loras;
    size_t n_loras;
    double lora_scale;
    bool has_flat_clip_names;
};

/* 0; -EBADMSG: *ret_err is a sentence with the line's number, the caller's to
 * free (NULL when memory ran out); -ENOMEM.  On failure *ret is empty. */
int mlc_recipe_parse(const char *text, size_t len, struct mlc_recipe *ret,
                     char **ret_err);
void mlc_recipe_done(struct mlc_recipe *r);

#endif
