/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/option.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/util/cleanup.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"
#include "backends/util/refuse.h"

#define MAX_COUNT 1024
/* (uid_t)-1 means "leave as it is" to chown. */
#define MAX_ID (UINT32_MAX - 1)

/* One row's value. */
struct entry {
    const struct mlc_option *row; /* borrowed */
    char *text;                   /* NULL: unset */
    bool is_given;                /* on the command line */
    bool flag;
    int64_t time_ms;
    uint64_t number; /* SIZE, COUNT, OCTAL, ID */
};

struct mlc_options {
    struct entry *entries; /* in the order of the tables */
    size_t n_entries;
};

struct mlc_options *
mlc_options_new(void)
{
    return calloc(1, sizeof(struct mlc_options));
}

void
mlc_options_free(struct mlc_options *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->n_entries; i++)
        free(o->entries[i].text);
    free(o->entries);
    free(o);
}

static struct entry *
find_in(struct entry *entries, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(entries[i].row->name, name) == 0)
            return &entries[i];
    return NULL;
}

static const struct entry *
find(const struct mlc_options *o, const char *name)
{
    return find_in(o->entries, o->n_entries, name);
}

int
mlc_options_add_table(struct mlc_options *o, const struct mlc_option *t)
{
    struct entry *entries;
    size_t n = 0, n_old = o->n_entries;

    while (t[n].name)
        n++;
    if (n == 0)
        return 0;
    entries = reallocarray(o->entries, n_old + n, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    o->entries = entries;
    for (size_t i = 0; i < n; i++) {
        if (find_in(entries, n_old + i, t[i].name))
            return -EEXIST;
        entries[n_old + i] = (struct entry){.row = &t[i]};
    }
    o->n_entries = n_old + n;
    return 0;
}

static bool
is_url(const char *s)
{
    size_t scheme_len;

    if (strncasecmp(s, "http://", 7) == 0)
        scheme_len = 7;
    else if (strncasecmp(s, "https://", 8) == 0)
        scheme_len = 8;
    else
        return false;
    if (strcspn(s + scheme_len, "/?#") == 0)
        return false;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c <= 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

static bool
is_choice(const char *choices, const char *word)
{
    size_t word_len = strlen(word);

    while (choices) {
        size_t len = strcspn(choices, "|");

        if (len == word_len && memcmp(choices, word, len) == 0)
            return true;
        choices = choices[len] ? choices + len + 1 : NULL;
    }
    return false;
}

static bool
parse_octal(const char *s, uint64_t *ret)
{
    uint64_t value = 0;

    if (*s == '\0')
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '7')
            return false;
        value = value * 8 + (uint64_t)(*s - '0');
        if (value > 07777)
            return false;
    }
    *ret = value;
    return true;
}

/* What a type wants, for messages; SIZE and TIME tell themselves. */
static const char *
expectation(enum mlc_option_type type)
{
    switch (type) {
    case MLC_OPT_FLAG:
        return "no value";
    case MLC_OPT_STRING:
        return "a text";
    case MLC_OPT_URL:
        return "a URL that begins with http:// or https://";
    case MLC_OPT_TIME:
        return "a time such as hours=12, or forever";
    case MLC_OPT_SIZE:
        return "a size such as 512M (k, M, G, T)";
    case MLC_OPT_COUNT:
        return "a whole number from 1 to 1024";
    case MLC_OPT_OCTAL:
        return "an octal number such as 022";
    case MLC_OPT_ID:
        return "a numeric id";
    case MLC_OPT_CHOICE:
        return "one of";
    }
    return "";
}

/* "name=value: expected ..."; origin: "" or " (from ...)". */
static int
refuse_value(const struct mlc_option *row, const char *value,
             const char *origin, char **ret_err)
{
    bool is_choice_row = row->type == MLC_OPT_CHOICE;

    return mlc_refuse_as(-EINVAL, ret_err, "%s=%s%s: expected %s%s%s",
                         row->name, value, origin, expectation(row->type),
                         is_choice_row ? " " : "",
                         is_choice_row && row->arg ? row->arg : "");
}

/* Parses value into e, which already holds its row, as its type demands. */
static int
parse_value(struct entry *e, const char *value, const char *origin,
            char **ret_err)
{
    const struct mlc_option *row = e->row;
    mlc_autofree char *why = NULL;
    mlc_autofree char *shown = NULL;
    bool ok = false;
    int r;

    switch (row->type) {
    case MLC_OPT_FLAG:
        e->flag = mlc_parse_truthy(value);
        return 0;
    case MLC_OPT_STRING:
        return 0;
    case MLC_OPT_URL:
        if (is_url(value))
            return 0;
        shown = mlc_url_redact(value); /* may hold a password */
        if (!shown)
            return -ENOMEM;
        return refuse_value(row, shown, origin, ret_err);
    case MLC_OPT_TIME:
        r = mlc_parse_time(value, &e->time_ms, &why);
        if (r == 0 || r == -ENOMEM)
            return r;
        return mlc_refuse_as(-EINVAL, ret_err, "%s=%s%s: %s", row->name, value,
                             origin, why ? why : "not a time");
    case MLC_OPT_SIZE:
        r = mlc_parse_size(value, &e->number, NULL);
        if (r == -ERANGE)
            return mlc_refuse_as(-EINVAL, ret_err, "%s=%s%s: too large a size",
                                 row->name, value, origin);
        ok = r == 0;
        break;
    case MLC_OPT_COUNT:
        ok = mlc_parse_u64(value, 1, MAX_COUNT, &e->number) == 0;
        break;
    case MLC_OPT_OCTAL:
        ok = parse_octal(value, &e->number);
        break;
    case MLC_OPT_ID:
        ok = mlc_parse_u64(value, 0, MAX_ID, &e->number) == 0;
        break;
    case MLC_OPT_CHOICE:
        ok = is_choice(row->arg, value);
        break;
    }
    return ok ? 0 : refuse_value(row, value, origin, ret_err);
}

/* Replaces e's value, or leaves it as it was. */
static int
assign(struct entry *e, const char *value, const char *origin, char **ret_err)
{
    struct entry next = {.row = e->row, .is_given = e->is_given};
    bool is_flag = e->row->type == MLC_OPT_FLAG;
    char *text = NULL;
    int r;

    r = parse_value(&next, value, origin, ret_err);
    if (r < 0)
        return r;
    if (!is_flag || next.flag) {
        text = strdup(is_flag ? "" : value);
        if (!text)
            return -ENOMEM;
    }
    free(e->text);
    *e = next;
    e->text = text;
    return 0;
}

int
mlc_options_set(struct mlc_options *o, const char *name, const char *value,
                char **ret_err)
{
    struct entry *e = find_in(o->entries, o->n_entries, name);
    int r;

    if (!e)
        return -ENOENT;
    if (e->row->type == MLC_OPT_FLAG) {
        if (value)
            return refuse_value(e->row, value, "", ret_err);
        value = "1";
    } else if (!value) {
        bool is_choice_row = e->row->type == MLC_OPT_CHOICE;

        return mlc_refuse_as(
            -EINVAL, ret_err, "%s: a value is missing: expected %s%s%s", name,
            expectation(e->row->type), is_choice_row ? " " : "",
            is_choice_row && e->row->arg ? e->row->arg : "");
    }
    r = assign(e, value, "", ret_err);
    if (r < 0)
        return r;
    e->is_given = true;
    return 0;
}

static int
finish_entry(struct entry *e, char **ret_err)
{
    const struct mlc_option *row = e->row;
    mlc_autofree char *origin = NULL;
    const char *value = row->env ? getenv(row->env) : NULL;

    if (value && (*value || row->type == MLC_OPT_TIME)) {
        if (asprintf(&origin, " (from $%s)", row->env) < 0) {
            origin = NULL;
            return -ENOMEM;
        }
        return assign(e, value, origin, ret_err);
    }
    if (row->deflt)
        return assign(e, row->deflt, " (the default)", ret_err);
    return 0;
}

int
mlc_options_finish(struct mlc_options *o, char **ret_err)
{
    for (size_t i = 0; i < o->n_entries; i++) {
        int r;

        if (o->entries[i].is_given)
            continue;
        r = finish_entry(&o->entries[i], ret_err);
        if (r < 0)
            return r;
    }
    return 0;
}

bool
mlc_opt_is_given(const struct mlc_options *o, const char *name)
{
    const struct entry *e = find(o, name);

    return e && e->is_given;
}

const char *
mlc_opt_str(const struct mlc_options *o, const char *name)
{
    const struct entry *e = find(o, name);

    return e ? e->text : NULL;
}

bool
mlc_opt_flag(const struct mlc_options *o, const char *name)
{
    const struct entry *e = find(o, name);

    return e && e->flag;
}

int64_t
mlc_opt_time_ms(const struct mlc_options *o, const char *name)
{
    const struct entry *e = find(o, name);

    return e ? e->time_ms : 0;
}

uint64_t
mlc_opt_size(const struct mlc_options *o, const char *name)
{
    const struct entry *e = find(o, name);

    return e && e->row->type == MLC_OPT_SIZE ? e->number : 0;
}

uint64_t
mlc_opt_number(const struct mlc_options *o, const char *name)
{
    const struct entry *e = find(o, name);

    return e && e->row->type != MLC_OPT_SIZE ? e->number : 0;
}

void
mlc_options_each(const struct mlc_options *o,
                 void (*fn)(const struct mlc_option *row, void *arg), void *arg)
{
    for (size_t i = 0; i < o->n_entries; i++)
        fn(o->entries[i].row, arg);
}
