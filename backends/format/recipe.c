/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/recipe.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/util/cleanup.h"

#define MAX_VARIANT 64
#define MAX_SHOWN   80 /* bytes of a key or value in a message */

struct parser {
    struct mlc_recipe *recipe;
    unsigned line;
    unsigned seen[8]; /* the line of each key of the table; 0: not yet */
    char **ret_err;
};

typedef int set_fn(struct parser *p, const char *key, char *value);

static int refuse(struct parser *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
refuse(struct parser *p, const char *fmt, ...)
{
    mlc_autofree char *what = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&what, fmt, ap);
    va_end(ap);
    if (n < 0) {
        what = NULL;
        return -EBADMSG;
    }
    if (p->line == 0)
        *p->ret_err = mlc_steal(&what);
    else if (asprintf(p->ret_err, "line %u: %s", p->line, what) < 0)
        *p->ret_err = NULL;
    return -EBADMSG;
}

/* --- values -------------------------------------------------------------- */

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Without the blanks around it; cuts the end off in place. */
static char *
trim(char *text)
{
    size_t len;

    while (is_blank(*text))
        text++;
    len = strlen(text);
    while (len > 0 && is_blank(text[len - 1]))
        text[--len] = '\0';
    return text;
}

/* A plain decimal number, all of text; else *ret stays. */
static bool
parse_number(const char *text, double *ret)
{
    double value;
    char *end;

    if (!*text || text[strspn(text, "+-.0123456789eE")])
        return false;
    value = strtod(text, &end);
    if (*end != '\0' || !isfinite(value))
        return false;
    *ret = value;
    return true;
}

static int
set_text(char **field, const char *value)
{
    *field = strdup(value);
    return *field ? 0 : -ENOMEM;
}

static int
set_checkpoint(struct parser *p, const char *key, char *value)
{
    return set_text(&p->recipe->checkpoint, value);
}

static int
set_vae(struct parser *p, const char *key, char *value)
{
    return set_text(&p->recipe->vae, value);
}

static int
set_config(struct parser *p, const char *key, char *value)
{
    return set_text(&p->recipe->config, value);
}

/* It becomes part of files' names, between dots. */
static int
set_variant(struct parser *p, const char *key, char *value)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (strlen(value) > MAX_VARIANT || value[strspn(value, allowed)])
        return refuse(p,
                      "variant '%.*s': letters, digits, '_' and '-' alone, "
                      "such as fp16",
                      MAX_SHOWN, value);
    return set_text(&p->recipe->variant, value);
}

static int
set_clip_names(struct parser *p, const char *key, char *value)
{
    if (strcmp(value, "flat") != 0 && strcmp(value, "prefixed") != 0)
        return refuse(p, "clip_names '%.*s': it is prefixed or flat", MAX_SHOWN,
                      value);
    p->recipe->has_flat_clip_names = strcmp(value, "flat") == 0;
    return 0;
}

static int
set_lora_scale(struct parser *p, const char *key, char *value)
{
    if (!parse_number(value, &p->recipe->lora_scale))
        return refuse(p, "lora_scale '%.*s': a number, such as 0.8", MAX_SHOWN,
                      value);
    return 0;
}

/* PATH [SCALE]: the last word, if it is a number. */
static int
add_lora(struct parser *p, const char *key, char *value)
{
    struct mlc_recipe *r = p->recipe;
    struct mlc_recipe_lora *grown;
    double scale = 1;
    char *last = value + strlen(value);

    if (r->n_loras == MLC_RECIPE_MAX_LORAS)
        return refuse(p, "more than %d LoRAs", MLC_RECIPE_MAX_LORAS);
    while (last > value && !is_blank(last[-1]))
        last--;
    if (last > value && parse_number(last, &scale)) {
        *last = '\0';
        trim(value);
    }
    grown = reallocarray(r->loras, r->n_loras + 1, sizeof(grown[0]));
    if (!grown)
        return -ENOMEM;
    r->loras = grown;
    r->loras[r->n_loras].scale = scale;
    r->loras[r->n_loras].path = strdup(value);
    if (!r->loras[r->n_loras].path)
        return -ENOMEM;
    r->n_loras++;
    return 0;
}

/* --- lines --------------------------------------------------------------- */

static const struct {
    const char *name;
    set_fn *set;
    bool is_repeatable;
} keys[] = {
    {"checkpoint", set_checkpoint, false}, {"lora", add_lora, true},
    {"lora_scale", set_lora_scale, false}, {"vae", set_vae, false},
    {"config", set_config, false},         {"variant", set_variant, false},
    {"clip_names", set_clip_names, false},
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))
_Static_assert(N_KEYS <= sizeof(((struct parser *)0)->seen) /
                             sizeof(((struct parser *)0)->seen[0]),
               "a line for each key");

static int
parse_line(struct parser *p, char *line)
{
    char *value, *key = trim(line);

    if (!*key || *key == '#')
        return 0;
    value = strchr(key, '=');
    if (!value)
        return refuse(p, "'%.*s': not of the form key = value", MAX_SHOWN, key);
    *value++ = '\0';
    key = trim(key);
    value = trim(value);
    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(key, keys[i].name) != 0)
            continue;
        if (!*value)
            return refuse(p, "%s has no value", key);
        if (p->seen[i] && !keys[i].is_repeatable)
            return refuse(p, "%s stands in line %u already", key, p->seen[i]);
        p->seen[i] = p->line;
        return keys[i].set(p, key, value);
    }
    return refuse(p,
                  "unknown key '%.*s': there are checkpoint, lora, lora_scale, "
                  "vae, config, variant, clip_names",
                  MAX_SHOWN, key);
}

static bool
has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') ||
            text[i] == 0x7f)
            return true;
    return false;
}

static int
parse_lines(struct parser *p, const char *text, size_t len)
{
    /* Some editors begin with a byte order mark. */
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    while (len > 0) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl ? (size_t)(nl - text) : len;
        size_t used = nl ? n + 1 : n;
        mlc_autofree char *line = NULL;
        int r;

        p->line++;
        if (n > 0 && text[n - 1] == '\r')
            n--;
        if (has_control(text, n))
            return refuse(p, "holds control bytes: is this a text file?");
        line = strndup(text, n);
        if (!line)
            return -ENOMEM;
        r = parse_line(p, line);
        if (r < 0)
            return r;
        text += used;
        len -= used;
    }
    p->line = 0;
    if (!p->recipe->checkpoint)
        return refuse(p, "no checkpoint is given: write a line "
                         "\"checkpoint = PATH\"");
    return 0;
}

int
mlc_recipe_parse(const char *text, size_t len, struct mlc_recipe *ret,
                 char **ret_err)
{
    struct parser p = {.recipe = ret, .ret_err = ret_err};
    int r;

    *ret = (struct mlc_recipe){.lora_scale = 1};
    *ret_err = NULL;
    if (len > MLC_RECIPE_MAX)
        r = refuse(&p, "longer than %zu bytes", MLC_RECIPE_MAX);
    else
        r = parse_lines(&p, text, len);
    if (r < 0)
        mlc_recipe_done(ret);
    return r;
}

void
mlc_recipe_done(struct mlc_recipe *r)
{
    for (size_t i = 0; i < r->n_loras; i++)
        free(r->loras[i].path);
    free(r->loras);
    free(r->checkpoint);
    free(r->vae);
    free(r->config);
    free(r->variant);
    *r = (struct mlc_recipe){0};
}
