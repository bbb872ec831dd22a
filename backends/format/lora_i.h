/* SPDX-License-Identifier: MIT */
/* Inside of lora.c: what a tensor's name says (lora_key.c), which module of the
 * model that is (lora_names.c), and what PEFT wrote beside it
 * (lora_config.c).
 *
 * A flat name is a module's path with "_" for each "."; that of a text encoder
 * without its leading "text_model.". */
#ifndef MLC_FORMAT_LORA_I_H
#define MLC_FORMAT_LORA_I_H

#include "backends/format/lora.h"

/* ------------------------------------------------------------------------
 * Keys */

enum mlc_lora_role {
    MLC_LORA_A,    /* "down" */
    MLC_LORA_B,    /* "up" */
    MLC_LORA_BIAS, /* of B */
    MLC_LORA_ALPHA,
    MLC_LORA_N_ROLES,
};

struct mlc_lora_key {
    enum mlc_part part; /* MLC_N_PARTS: of none that we know */
    enum mlc_lora_role role;
    char *flat; /* owned */
};

/* Refuses all but plain LoRAs, by the parts of a tensor's name. */
int mlc_lora_key_check(const char *name, char **ret_err);
/* Whether the name has a prefix of kohya's. */
bool mlc_lora_key_is_kohya(const char *name);
/* 1; 0: it is of no part of a model that LoRAs have, and ret_key is not set; or
 * -EBADMSG, -ENOMEM. */
int mlc_lora_key_parse(const char *name, bool is_kohya,
                       struct mlc_lora_key *ret_key, char **ret_err);

/* ------------------------------------------------------------------------
 * Names */

#define MLC_LORA_NO_TARGET SIZE_MAX

struct mlc_lora_module {
    enum mlc_part part;
    const char *name; /* of the weight, without "text_model." */
    size_t name_len;  /* without ".weight" */
    struct mlc_lora_target weight;
    size_t target; /* the weight's index among those given */
    size_t bias;   /* the bias's; MLC_LORA_NO_TARGET: none */
};

/* NULL: none has that name. */
const struct mlc_lora_module *
mlc_lora_names_find(const struct mlc_lora_names *names, enum mlc_part part,
                    const char *flat);

/* ------------------------------------------------------------------------
 * PEFT's metadata */

struct mlc_lora_config;

/* text: "lora_adapter_metadata", or NULL, then there is nothing in it. */
int mlc_lora_config_new(const char *text, struct mlc_lora_config **ret_config,
                        char **ret_err);
void mlc_lora_config_free(struct mlc_lora_config *config); /* takes NULL */
/* Overrides *alpha and *divisor by what it says of a module. */
int mlc_lora_config_apply(const struct mlc_lora_config *config,
                          const struct mlc_lora_module *module, uint32_t rank,
                          double *alpha, double *divisor, char **ret_err);

#endif
