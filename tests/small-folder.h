/* SPDX-License-Identifier: MIT */
/* A folder of diffusers' form with narrow models, and a checkpoint that has all
 * that it wants. */
#ifndef TESTS_SMALL_FOLDER_H
#define TESTS_SMALL_FOLDER_H

#include <stddef.h>

struct mlc_folder;
struct mlc_safetensors;

#define SMALL_FOLDER_FILES 7

struct small_file {
    const char *path, *text;
};
extern const struct small_file small_folder[SMALL_FOLDER_FILES];

/* One tensor that is left out, or has another dtype or first dimension. */
struct small_change {
    const char *tensor;
    enum { WITHOUT, AS_U8, LONGER } how;
};

enum small_form {
    SMALL_SD1,           /* CLIPTextModel by the transformers library's names */
    SMALL_SD2,           /* by OpenCLIP's */
    SMALL_VAE,           /* the VAE alone */
    SMALL_VAE_DIFFUSERS, /* the same, by diffusers' names */
};

/* What the folder's configurations want of a file of that form.  change may be
 * NULL.  The caller frees it; NULL: they are refused, or there is no such
 * file. */
struct mlc_safetensors *small_checkpoint(const struct mlc_folder *folder,
                                         enum small_form form,
                                         const struct small_change *change);

#endif
