/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/spacy_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backends/spacy_models.h"
#include "backends/util/cleanup.h"
#include "backends/util/json.h"

/* A table with more than that is none of spaCy's. */
#define MAX_KEYS     512
#define MAX_VERSIONS 64
#define MAX_PAIRS    ((size_t)20000)

struct mlc_spacy_table {
    atomic_uint refs;
    json_t *rows; /* {"3.8": {"NAME": ["3.8.0"]}} */
    char *text;   /* the same, as text */
    size_t len;
    struct mlc_spacy_model *models; /* strings are those of rows */
    size_t n_models;
};

MLC_DEFINE_CLEANUP(table, struct mlc_spacy_table *, mlc_spacy_table_unref);
MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

#define autojson __attribute__((cleanup(mlc_cleanup_json)))

/* --- what may stand in it ------------------------------------------------ */

static bool
is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

bool
mlc_spacy_is_name(const char *name)
{
    size_t len = 0;

    while (is_alnum(name[len]) || name[len] == '_')
        len++;
    return len > 0 && len <= MLC_SPACY_NAME_MAX && name[len] == '\0';
}

bool
mlc_spacy_is_version(const char *version)
{
    size_t len = 0;

    while (is_alnum(version[len]) || version[len] == '.')
        len++;
    return len > 0 && len <= MLC_SPACY_NAME_MAX && version[len] == '\0' &&
           version[0] >= '0' && version[0] <= '9';
}

bool
mlc_spacy_is_likely_name(const char *name)
{
    static const char *const sizes[] = {"sm", "md", "lg", "trf"};
    const char *word[4];
    size_t n = 0;

    if (strlen(name) > MLC_SPACY_NAME_MAX)
        return false;
    word[n++] = name;
    for (const char *p = name; *p; p++) {
        if (*p != '_') {
            if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9'))
                return false;
            continue;
        }
        if (n == 4 || p == word[n - 1])
            return false;
        word[n++] = p + 1;
    }
    if (n != 4 || word[1] != name + 3)
        return false;
    for (size_t i = 0; i < 4; i++)
        if (strcmp(word[3], sizes[i]) == 0)
            return true;
    return false;
}

/* A spaCy version that has wheels: 3 or later. */
static bool
is_key(const char *key)
{
    return mlc_spacy_is_version(key) && strtoul(key, NULL, 10) >= 3;
}

/* Is it "X.Y"? */
static bool
is_minor(const char *key)
{
    size_t n = strspn(key, "0123456789");

    return n > 0 && key[n] == '.' && key[n + 1] &&
           key[n + 1 + strspn(key + n + 1, "0123456789")] == '\0';
}

/* By their numbers; what is not one (a prerelease) is less than any. */
static int
compare_versions(const char *a, const char *b)
{
    while (*a || *b) {
        unsigned long x, y;
        char *end;

        if (!isdigit((unsigned char)*a) || !isdigit((unsigned char)*b)) {
            bool is_a = isalpha((unsigned char)*a);
            bool is_b = isalpha((unsigned char)*b);

            if (is_a != is_b)
                return is_a ? -1 : 1;
            if (*a != *b)
                return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
            a++;
            b++;
            continue;
        }
        x = strtoul(a, &end, 10);
        a = end;
        y = strtoul(b, &end, 10);
        b = end;
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

/* --- rows ---------------------------------------------------------------- */

/* The object or array at key, made when it is missing; borrowed. */
static json_t *
get_or_add(json_t *obj, const char *key, json_t *(*make)(void))
{
    json_t *v = json_object_get(obj, key);

    if (v)
        return v;
    v = make();
    if (!v || json_object_set_new(obj, key, v) < 0)
        return NULL;
    return v;
}

static bool
has_string(const json_t *list, const char *s)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), s) == 0)
            return true;
    return false;
}

/* Behind what is there, unless it is. */
static int
add_pair(json_t *rows, const char *key, const char *name, const char *version)
{
    json_t *row = get_or_add(rows, key, json_object);
    json_t *list = row ? get_or_add(row, name, json_array) : NULL;

    if (!list)
        return -ENOMEM;
    if (has_string(list, version) || json_array_size(list) >= MAX_VERSIONS)
        return 0;
    return json_array_append_new(list, json_string(version)) < 0 ? -ENOMEM : 0;
}

/* What is fit of one list, in its order. */
static int
add_list(json_t *rows, const char *key, const char *name, const json_t *list)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const char *v = json_string_value(json_array_get(list, i));

        if (v && mlc_spacy_is_version(v))
            r = add_pair(rows, key, name, v);
    }
    return r;
}

/* How many pairs a table has that somebody else made. */
static size_t
count_pairs(json_t *from)
{
    size_t n = 0;
    const char *key, *name;
    json_t *row, *list;

    json_object_foreach(from, key, row) json_object_foreach(row, name, list)
        n += 1 + json_array_size(list);
    return n;
}

static int
add_rows(json_t *rows, json_t *from)
{
    const char *key, *name;
    json_t *row, *list;
    int r = 0;

    json_object_foreach(from, key, row)
    {
        if (!is_key(key))
            continue;
        json_object_foreach(row, name, list)
        {
            if (r == 0 && mlc_spacy_is_name(name))
                r = add_list(rows, key, name, list);
        }
    }
    return r;
}

/* --- the snapshot --------------------------------------------------------- */

/* One entry of a line: names that begin with the same, with these versions,
 * for all keys.  The texts are cut in place. */
static int
add_entry(json_t *rows, char *keys, char *versions, const char *stem,
          char *sizes)
{
    char name[2 * MLC_SPACY_NAME_MAX];
    char *s = NULL, *k = NULL, *v = NULL;
    int r = 0;

    for (char *size = strtok_r(sizes, ",", &s); size && r == 0;
         size = strtok_r(NULL, ",", &s)) {
        mlc_autofree char *all_keys = strdup(keys);

        if (!all_keys)
            return -ENOMEM;
        if (strlen(stem) + strlen(size) + 2 > sizeof(name))
            return -EBADMSG;
        strcpy(name, stem);
        strcat(name, "_");
        strcat(name, size);
        for (char *key = strtok_r(all_keys, ",", &k); key;
             key = strtok_r(NULL, ",", &k)) {
            mlc_autofree char *all = strdup(versions);

            if (!all)
                return -ENOMEM;
            for (char *one = strtok_r(all, ",", &v); one && r == 0;
                 one = strtok_r(NULL, ",", &v))
                r = add_pair(rows, key, name, one);
        }
    }
    return r;
}

/* "KEYS VERSIONS STEM:SIZES ...;VERSIONS STEM:SIZES ..." */
static int
add_line(json_t *rows, const char *line)
{
    mlc_autofree char *text = strdup(line);
    char *g = NULL, *w = NULL;
    char *groups;
    int r = 0;

    groups = text ? strchr(text, ' ') : NULL;
    if (!groups)
        return -ENOMEM;
    *groups++ = '\0';
    for (char *group = strtok_r(groups, ";", &g); group && r == 0;
         group = strtok_r(NULL, ";", &g)) {
        char *versions = strtok_r(group, " ", &w);
        char *word;

        while (r == 0 && (word = strtok_r(NULL, " ", &w)) != NULL) {
            char *sizes = strchr(word, ':');

            if (sizes) {
                *sizes++ = '\0';
                r = add_entry(rows, text, versions, word, sizes);
            }
        }
    }
    return r;
}

static int
add_snapshot(json_t *rows)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(snapshot) / sizeof(snapshot[0]);
         i++)
        r = add_line(rows, snapshot[i]);
    return r;
}

/* --- what is asked of it ------------------------------------------------- */

static int
compare_models(const void *a, const void *b)
{
    const struct mlc_spacy_model *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static int
compare_newest_first(const void *a, const void *b)
{
    return compare_versions(*(const char *const *)b, *(const char *const *)a);
}

static const struct mlc_spacy_model *
find(const struct mlc_spacy_model *models, size_t n, const char *name)
{
    struct mlc_spacy_model key = {.name = name};

    return n == 0 ? NULL
                  : bsearch(&key, models, n, sizeof(models[0]), compare_models);
}

/* Room for a model of each name, and for all of its versions. */
static int
make_models(struct mlc_spacy_table *t)
{
    json_t *names = json_object();
    const char *key, *name;
    json_t *row, *list;
    size_t n = 0;
    int r = 0;

    if (!names)
        return -ENOMEM;
    json_object_foreach(t->rows, key, row) json_object_foreach(
        row, name,
        list) if (r == 0 && json_object_set_new(names, name, json_null()) < 0)
        r = -ENOMEM;
    if (r == 0)
        t->models = calloc(json_object_size(names) + 1, sizeof(t->models[0]));
    if (t->models)
        json_object_foreach(names, name, list) t->models[n++].name = name;
    /* The keys of rows live as long as the table. */
    for (size_t i = 0; i < n; i++) {
        json_object_foreach(t->rows, key, row)
        {
            list = json_object_get(row, t->models[i].name);
            if (list)
                t->models[i].name = json_object_iter_key(
                    json_object_iter_at(row, t->models[i].name));
            if (list)
                break;
        }
    }
    json_decref(names);
    t->n_models = n;
    return t->models ? r : -ENOMEM;
}

static int
add_version(struct mlc_spacy_model *m, const char *version)
{
    const char **grown;

    if (mlc_spacy_model_has(m, version))
        return 0;
    grown = realloc(m->versions, (m->n_versions + 1) * sizeof(grown[0]));
    if (!grown)
        return -ENOMEM;
    m->versions = grown;
    grown[m->n_versions++] = version;
    return 0;
}

static const char *
newest_minor(json_t *rows)
{
    const char *best = NULL, *key;
    json_t *row;

    json_object_foreach(rows, key,
                        row) if (is_minor(key) &&
                                 (!best || compare_versions(key, best) > 0))
        best = key;
    return best;
}

static int
fill_models(struct mlc_spacy_table *t, const char *minor)
{
    json_t *row, *list, *shown;
    const char *key, *name;
    int r;

    r = make_models(t);
    if (r < 0)
        return r;
    qsort(t->models, t->n_models, sizeof(t->models[0]), compare_models);
    if (!minor)
        minor = newest_minor(t->rows);
    shown = minor ? json_object_get(t->rows, minor) : NULL;
    json_object_foreach(t->rows, key, row)
    {
        json_object_foreach(row, name, list)
        {
            size_t i = (size_t)(find(t->models, t->n_models, name) - t->models);

            for (size_t k = 0; r == 0 && k < json_array_size(list); k++)
                r = add_version(&t->models[i],
                                json_string_value(json_array_get(list, k)));
        }
    }
    for (size_t i = 0; r == 0 && i < t->n_models; i++) {
        struct mlc_spacy_model *m = &t->models[i];

        qsort(m->versions, m->n_versions, sizeof(m->versions[0]),
              compare_newest_first);
        list = shown ? json_object_get(shown, m->name) : NULL;
        m->shown = list ? json_string_value(json_array_get(list, 0)) : NULL;
    }
    return r;
}

/* --- making -------------------------------------------------------------- */

/* Lists that are empty would be a model without a version. */
static void
drop_empty(json_t *rows)
{
    const char *key, *name;
    json_t *row, *list;
    void *next, *next_row;

    json_object_foreach_safe(rows, next_row, key, row)
    {
        json_object_foreach_safe(row, next, name,
                                 list) if (json_array_size(list) == 0)
            json_object_del(row, name);
        if (json_object_size(row) == 0)
            json_object_del(rows, key);
    }
}

static int
refuse(const char **ret_why, const char *why)
{
    if (ret_why)
        *ret_why = why;
    return -EBADMSG;
}

/* What somebody published, into rows. */
static int
add_text(json_t *rows, const char *text, size_t len, const char **ret_why)
{
    autojson json_t *root = NULL;
    json_t *from;
    int r;

    if (len > MLC_SPACY_TABLE_MAX)
        return refuse(ret_why, "too long");
    r = mlc_json_parse(text, len, &root, NULL);
    if (r < 0)
        return r == -EBADMSG ? refuse(ret_why, "not JSON") : r;
    from = json_object_get(root, "spacy");
    if (!from)
        from = root;
    if (!json_is_object(from))
        return refuse(ret_why, "not an object");
    if (json_object_size(from) > MAX_KEYS || count_pairs(from) > MAX_PAIRS)
        return refuse(ret_why, "too many rows");
    r = add_rows(rows, from);
    drop_empty(rows);
    if (r == 0 && json_object_size(rows) == 0)
        return refuse(ret_why, "not one row for spaCy 3");
    return r;
}

int
mlc_spacy_table_new(const struct mlc_spacy_table *base, const char *text,
                    size_t len, const char *minor, struct mlc_spacy_table **ret,
                    const char **ret_why)
{
    __attribute__((cleanup(mlc_cleanup_table))) struct mlc_spacy_table *t =
        calloc(1, sizeof(*t));
    int r = 0;

    if (!t)
        return -ENOMEM;
    atomic_init(&t->refs, 1);
    t->rows = json_object();
    if (!t->rows)
        return -ENOMEM;
    if (text)
        r = add_text(t->rows, text, len, ret_why);
    if (r == 0)
        r = base ? add_rows(t->rows, base->rows) : add_snapshot(t->rows);
    if (r == 0)
        r = fill_models(t, minor);
    if (r < 0)
        return r;
    /* Sorted, so that the same rows are the same text. */
    t->text = json_dumps(t->rows, JSON_COMPACT | JSON_SORT_KEYS);
    if (!t->text)
        return -ENOMEM;
    t->len = strlen(t->text);
    *ret = mlc_steal(&t);
    return 0;
}

struct mlc_spacy_table *
mlc_spacy_table_ref(struct mlc_spacy_table *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void
mlc_spacy_table_unref(struct mlc_spacy_table *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t i = 0; i < t->n_models; i++)
        free(t->models[i].versions);
    free(t->models);
    free(t->text);
    json_decref(t->rows);
    free(t);
}

const char *
mlc_spacy_table_text(const struct mlc_spacy_table *t, size_t *ret_len)
{
    *ret_len = t->len;
    return t->text;
}

size_t
mlc_spacy_table_count(const struct mlc_spacy_table *t)
{
    return t->n_models;
}

const struct mlc_spacy_model *
mlc_spacy_table_at(const struct mlc_spacy_table *t, size_t i)
{
    return &t->models[i];
}

const struct mlc_spacy_model *
mlc_spacy_table_find(const struct mlc_spacy_table *t, const char *name)
{
    return find(t->models, t->n_models, name);
}

bool
mlc_spacy_model_has(const struct mlc_spacy_model *m, const char *version)
{
    for (size_t i = 0; i < m->n_versions; i++)
        if (strcmp(m->versions[i], version) == 0)
            return true;
    return false;
}
