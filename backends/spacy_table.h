/* SPDX-License-Identifier: MIT */
/* The table of released models: which versions there are for which spaCy.
 *
 * Rows come from the snapshot that ships with us, from spaCy's
 * compatibility.json, and from what dgenerate left in the store; all are
 * joined, and a row that was there stays.  Names and versions become parts of
 * paths and URLs: what is not fit for that is left out (facts: spacy 1).
 * Lifetime: immutable once made, reference-counted.
 */
#ifndef MLC_SPACY_TABLE_H
#define MLC_SPACY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLC_SPACY_NAME_MAX 64 /* bytes of a name or version */
/* Longer than this no table is taken from anywhere (bytes). */
#define MLC_SPACY_TABLE_MAX ((size_t)4 << 20)

struct mlc_spacy_table;

struct mlc_spacy_model {
    const char *name;
    const char **versions; /* newest first, each once */
    size_t n_versions;     /* >= 1 */
    /* The first of its versions in the row that is shown (borrowed from
     * versions); NULL: it is not in that row. */
    const char *shown;
};

/* [A-Za-z0-9_]+, at most MLC_SPACY_NAME_MAX bytes. */
bool mlc_spacy_is_name(const char *name);
/* [0-9][A-Za-z0-9.]*, likewise. */
bool mlc_spacy_is_version(const char *version);
/* Could that be a model that we have not heard of (all names so far look like
 * it): ll_word_word_(sm|md|lg|trf)? */
bool mlc_spacy_is_likely_name(const char *name);

/* base (NULL: the snapshot alone), joined with text, which comes first where
 * both have a list.  text: what spaCy publishes ({"spacy": {...}}) or the inner
 * object alone (as dgenerate keeps it); NULL: nothing.  minor: whose models are
 * shown ("3.7"); NULL: the newest.
 * 0; -EBADMSG: not such a table, *ret_why (may be NULL) says why; -ENOMEM. */
int mlc_spacy_table_new(const struct mlc_spacy_table *base, const char *text,
                        size_t len, const char *minor,
                        struct mlc_spacy_table **ret, const char **ret_why);
struct mlc_spacy_table *mlc_spacy_table_ref(struct mlc_spacy_table *t);
void mlc_spacy_table_unref(struct mlc_spacy_table *t); /* takes NULL */

/* The inner object, as dgenerate keeps it; borrowed. */
const char *mlc_spacy_table_text(const struct mlc_spacy_table *t,
                                 size_t *ret_len);
/* Sorted by name. */
size_t mlc_spacy_table_count(const struct mlc_spacy_table *t);
const struct mlc_spacy_model *
mlc_spacy_table_at(const struct mlc_spacy_table *t, size_t i);
/* NULL: there is none. */
const struct mlc_spacy_model *
mlc_spacy_table_find(const struct mlc_spacy_table *t, const char *name);
bool mlc_spacy_model_has(const struct mlc_spacy_model *m, const char *version);

#endif
