/* SPDX-License-Identifier: MIT */
/* What the name of a tensor in a LoRA's file says (facts: checkpoints 5.1,
 * 5.8). */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/lora_i.h"
#include "backends/util/refuse.h"

#define N_OF(array) (sizeof(array) / sizeof *(array))

/* ------------------------------------------------------------------------
 * What is no plain LoRA */

/* Parts of names, by which other kinds are known. */
static const struct {
    const char *begin;
    bool is_whole; /* the part, or else how it begins */
    const char *what;
} others[] = {
    {"dora_scale", false, "a DoRA"},
    {"lora_magnitude_vector", false, "a DoRA"},
    {"hada_", false, "a LoHa"},
    {"lokr_", false, "a LoKr"},
    {"lora_mid", false, "a LoCon with a core tensor (Tucker or CP)"},
    {"oft_", false, "an OFT"},
    {"boft", false, "a BOFT"},
    {"a1", true, "a GLoRA"},
    {"a2", true, "a GLoRA"},
    {"b1", true, "a GLoRA"},
    {"b2", true, "a GLoRA"},
    {"on_input", true, "an IA3"},
    {"ia3_", false, "an IA3"},
    {"diff", true, "differences of whole weights"},
    {"diff_b", true, "differences of whole weights"},
    {"w_norm", true, "differences of norms"},
    {"b_norm", true, "differences of norms"},
    {"set_weight", true, "replaced weights"},
    {"reshape_weight", true, "reshaped weights"},
    {"lora_embedding_A", false, "a LoRA of an embedding"},
    {"lora_embedding_B", false, "a LoRA of an embedding"},
};

/* len bytes between two dots. */
static const char *
kind_of(const char *part, size_t len)
{
    size_t i, n;

    for (i = 0; i < N_OF(others); i++) {
        n = strlen(others[i].begin);
        if (len >= n && memcmp(part, others[i].begin, n) == 0 &&
            (len == n || !others[i].is_whole))
            return others[i].what;
    }
    return NULL;
}

int
mlc_lora_key_check(const char *name, char **ret_err)
{
    const char *part = strchr(name, '.'), *kind;
    size_t len;

    /* The first part is kohya's name of the module, or a component. */
    while (part) {
        part++;
        len = strcspn(part, ".");
        kind = kind_of(part, len);
        if (kind)
            return mlc_refuse(ret_err,
                              "it holds %s (%.*s), and plain LoRAs alone can "
                              "be merged",
                              kind, MLC_SHOWN(name));
        part = part[len] ? part + len : NULL;
    }
    return 0;
}

/* ------------------------------------------------------------------------
 * Prefixes and suffixes */

struct prefix {
    const char *text;
    enum mlc_part part;
};

static const struct prefix kohya_prefixes[] = {
    {"lora_unet_", MLC_PART_UNET},
    {"lora_te_", MLC_PART_TEXT_ENCODER},
    {"lora_te1_", MLC_PART_TEXT_ENCODER},
    {"lora_te2_", MLC_PART_TEXT_ENCODER_2},
};

static const struct prefix diffusers_prefixes[] = {
    {"unet.", MLC_PART_UNET},
    {"text_encoder.", MLC_PART_TEXT_ENCODER},
    {"text_encoder_2.", MLC_PART_TEXT_ENCODER_2},
};

struct suffix {
    const char *text;
    enum mlc_lora_role role;
    bool is_short; /* of an attention processor, which shortens names */
};

static const struct suffix kohya_suffixes[] = {
    {".lora_down.weight", MLC_LORA_A, false},
    {".lora_up.weight", MLC_LORA_B, false},
    {".alpha", MLC_LORA_ALPHA, false},
};

static const struct suffix diffusers_suffixes[] = {
    {".lora_A.weight", MLC_LORA_A, false},
    {".lora_B.weight", MLC_LORA_B, false},
    {".lora_B.bias", MLC_LORA_BIAS, false},
    {".alpha", MLC_LORA_ALPHA, false},
    {".lora.down.weight", MLC_LORA_A, false},
    {".lora.up.weight", MLC_LORA_B, false},
    {".lora_linear_layer.down.weight", MLC_LORA_A, false},
    {".lora_linear_layer.up.weight", MLC_LORA_B, false},
    {"_lora.down.weight", MLC_LORA_A, true},
    {"_lora.up.weight", MLC_LORA_B, true},
};

static const struct prefix *
find_prefix(const char *name, const struct prefix *prefixes, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (strncmp(name, prefixes[i].text, strlen(prefixes[i].text)) == 0)
            return &prefixes[i];
    return NULL;
}

static const struct suffix *
find_suffix(const char *name, const struct suffix *suffixes, size_t n)
{
    size_t len = strlen(name), i, n_text;

    for (i = 0; i < n; i++) {
        n_text = strlen(suffixes[i].text);
        if (len > n_text && strcmp(name + len - n_text, suffixes[i].text) == 0)
            return &suffixes[i];
    }
    return NULL;
}

bool
mlc_lora_key_is_kohya(const char *name)
{
    return find_prefix(name, kohya_prefixes, N_OF(kohya_prefixes));
}

/* ------------------------------------------------------------------------
 * The module between them */

static void
cut(char *text, const char *what)
{
    char *at = strstr(text, what);

    if (at)
        memmove(at, at + strlen(what), strlen(at + strlen(what)) + 1);
}

/* "...attn1.to_out" of a processor means "...attn1.to_out.0", and in a text
 * encoder "to_q" means "q_proj".  module has room for both. */
static void
lengthen(char *module, enum mlc_part part)
{
    char *last = strrchr(module, '.');

    last = last ? last + 1 : module;
    if (part == MLC_PART_UNET) {
        if (strcmp(last, "to_out") == 0)
            strcat(last, ".0");
    } else if (strncmp(last, "to_", 3) == 0) {
        cut(last, "to_");
        strcat(last, "_proj");
    }
}

static void
flatten(char *module, enum mlc_part part)
{
    char *at;

    for (at = strchr(module, '.'); at; at = strchr(at, '.'))
        *at = '_';
    if (part != MLC_PART_UNET && strncmp(module, "text_model_", 11) == 0)
        cut(module, "text_model_");
}

static int
unknown(const char *name, char **ret_err)
{
    return mlc_refuse(ret_err,
                      "it holds something that is no part of a LoRA: "
                      "%.*s",
                      MLC_SHOWN(name));
}

int
mlc_lora_key_parse(const char *name, bool is_kohya,
                   struct mlc_lora_key *ret_key, char **ret_err)
{
    const struct prefix *prefix =
        is_kohya
            ? find_prefix(name, kohya_prefixes, N_OF(kohya_prefixes))
            : find_prefix(name, diffusers_prefixes, N_OF(diffusers_prefixes));
    const struct suffix *suffix;
    size_t len, room;
    char *module;

    if (!prefix)
        return 0;
    name += strlen(prefix->text);
    suffix = is_kohya ? find_suffix(name, kohya_suffixes, N_OF(kohya_suffixes))
                      : find_suffix(name, diffusers_suffixes,
                                    N_OF(diffusers_suffixes));
    if (!suffix)
        return unknown(name, ret_err);
    len = strlen(name) - strlen(suffix->text);
    room = len + sizeof "_proj";
    module = malloc(room);
    if (!module)
        return -ENOMEM;
    memcpy(module, name, len);
    module[len] = '\0';
    if (!is_kohya)
        cut(module, ".processor");
    if (suffix->is_short)
        lengthen(module, prefix->part);
    flatten(module, prefix->part);
    ret_key->part = prefix->part;
    ret_key->role = suffix->role;
    ret_key->flat = module;
    return 1;
}
