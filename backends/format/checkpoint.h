/* SPDX-License-Identifier: MIT */
/* What a single-file checkpoint is, told by the names and shapes of its tensors
 * (facts: checkpoints 2.3), for those that come without a `config`.
 *
 * Errors as in safetensors.h; the clause says what would help, too. */
#ifndef MLC_FORMAT_CHECKPOINT_H
#define MLC_FORMAT_CHECKPOINT_H

struct mlc_safetensors;

enum mlc_family {
    MLC_FAMILY_OTHER, /* only with a `config`: widths of no known model */
    MLC_FAMILY_SD1,
    MLC_FAMILY_SD2,
    MLC_FAMILY_SDXL,
    MLC_FAMILY_REFINER, /* SDXL's */
};

/* What the UNet is given beside the noise. */
enum mlc_task {
    MLC_TASK_TEXT,    /* 4 channels */
    MLC_TASK_INPAINT, /* 9 */
    MLC_TASK_EDIT,    /* 8: InstructPix2Pix */
    MLC_TASK_DEPTH,   /* 5 */
};

struct mlc_checkpoint_kind {
    enum mlc_family family;
    enum mlc_task task;
};

const char *mlc_family_name(enum mlc_family family); /* "SDXL" */

/* Other families, quantised files and parts of checkpoints are refused. */
int mlc_checkpoint_detect(const struct mlc_safetensors *f,
                          struct mlc_checkpoint_kind *ret, char **ret_err);
/* Refuses what no `config` helps with: quantised weights. */
int mlc_checkpoint_check(const struct mlc_safetensors *f, char **ret_err);

#endif
