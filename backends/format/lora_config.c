/* SPDX-License-Identifier: MIT */
/* "lora_adapter_metadata": PEFT's configuration of each component, members
 * prefixed by its name (facts: checkpoints 5.6). */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/lora_i.h"
#include "backends/util/cleanup.h"
#include "backends/util/json.h"
#include "backends/util/refuse.h"

/* PEFT's, where nothing is said. */
#define DEFAULT_ALPHA 8

struct mlc_lora_config {
    json_t *root; /* an object, or NULL */
};

/* Longest name of a member: "text_encoder_2.rank_pattern" is. */
#define KEY_LEN 64

static const char *
prefix_of(enum mlc_part part)
{
    switch (part) {
    case MLC_PART_UNET:
        return "unet";
    case MLC_PART_TEXT_ENCODER:
        return "text_encoder";
    case MLC_PART_TEXT_ENCODER_2:
        return "text_encoder_2";
    default:
        return "";
    }
}

static json_t *
get(const struct mlc_lora_config *config, enum mlc_part part, const char *what)
{
    json_t *value;
    char key[KEY_LEN];

    snprintf(key, sizeof key, "%s.%s", prefix_of(part), what);
    value = json_object_get(config->root, key);
    return value && !json_is_null(value) ? value : NULL;
}

/* Whether anything is said of a part. */
static bool
knows(const struct mlc_lora_config *config, enum mlc_part part)
{
    const char *prefix = prefix_of(part), *key;
    size_t len = strlen(prefix);
    json_t *value;

    json_object_foreach(config->root, key, value)
    {
        if (strncmp(key, prefix, len) == 0 && key[len] == '.')
            return true;
    }
    return false;
}

int
mlc_lora_config_new(const char *text, struct mlc_lora_config **ret_config,
                    char **ret_err)
{
    struct mlc_lora_config *config;
    mlc_autofree char *why = NULL;
    json_t *root = NULL;
    int r;

    if (text) {
        r = mlc_json_parse(text, strlen(text), &root, &why);
        if (r == -EBADMSG)
            return mlc_refuse(ret_err, "its lora_adapter_metadata: %s",
                              why ? why : "not JSON");
        if (r < 0)
            return r;
        if (!json_is_object(root)) {
            json_decref(root);
            return mlc_refuse(ret_err,
                              "its lora_adapter_metadata is no object");
        }
    }
    config = calloc(1, sizeof *config);
    if (!config) {
        json_decref(root);
        return -ENOMEM;
    }
    config->root = root;
    *ret_config = config;
    return 0;
}

void
mlc_lora_config_free(struct mlc_lora_config *config)
{
    if (!config)
        return;
    json_decref(config->root);
    free(config);
}

/* Whether an entry of a pattern matches a module.  It is a regular expression
 * that begins at the path's start (with "^", as diffusers writes it) or at any
 * part of it, and ends at the end; only names are read here.  -EBADMSG: it is
 * more. */
static int
matches(const char *entry, const struct mlc_lora_module *module, char **ret_err)
{
    bool is_anchored = entry[0] == '^';
    size_t len;

    entry += is_anchored;
    if (entry[strcspn(entry, "^$*+?()[]{}|\\")])
        return mlc_refuse(ret_err,
                          "its lora_adapter_metadata has a pattern that is "
                          "more than a name: %.*s",
                          MLC_SHOWN(entry));
    if (module->part != MLC_PART_UNET && strncmp(entry, "text_model.", 11) == 0)
        entry += 11;
    len = strlen(entry);
    if (len == 0 || len > module->name_len ||
        memcmp(module->name + module->name_len - len, entry, len) != 0)
        return 0;
    if (len == module->name_len)
        return 1;
    return !is_anchored && module->name[module->name_len - len - 1] == '.';
}

/* *ret: what the first entry of a pattern that matches, or else the plain
 * member, says of a module; untouched when neither does. */
static int
number_of(const struct mlc_lora_config *config,
          const struct mlc_lora_module *module, const char *pattern,
          const char *plain, double *ret, char **ret_err)
{
    json_t *value = get(config, module->part, plain), *of_entry;
    const char *entry;
    int r;

    json_object_foreach(get(config, module->part, pattern), entry, of_entry)
    {
        r = matches(entry, module, ret_err);
        if (r < 0)
            return r;
        if (r > 0) {
            value = of_entry;
            break;
        }
    }
    if (!value)
        return 0;
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return mlc_refuse(
            ret_err, "its lora_adapter_metadata has a %s that is no number",
            plain);
    *ret = json_number_value(value);
    return 0;
}

int
mlc_lora_config_apply(const struct mlc_lora_config *config,
                      const struct mlc_lora_module *module, uint32_t rank,
                      double *alpha, double *divisor, char **ret_err)
{
    double wanted_rank = rank;
    int r;

    if (!knows(config, module->part))
        return 0;
    *alpha = DEFAULT_ALPHA;
    r = number_of(config, module, "rank_pattern", "r", &wanted_rank, ret_err);
    if (r == 0)
        r = number_of(config, module, "alpha_pattern", "lora_alpha", alpha,
                      ret_err);
    if (r < 0)
        return r;
    if (wanted_rank != rank)
        return mlc_refuse(ret_err,
                          "its lora_adapter_metadata says rank %g of %.*s, "
                          "whose factors have %u",
                          wanted_rank, (int)module->name_len, module->name,
                          rank);
    if (json_is_true(get(config, module->part, "use_dora")))
        return mlc_refuse(ret_err, "its lora_adapter_metadata says that it is "
                                   "a DoRA");
    *divisor = json_is_true(get(config, module->part, "use_rslora"))
                   ? sqrt(rank)
                   : rank;
    return 0;
}
