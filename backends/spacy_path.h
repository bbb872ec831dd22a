/* SPDX-License-Identifier: MIT */
/* What a path below spacy/ names. */
#ifndef MLC_SPACY_PATH_H
#define MLC_SPACY_PATH_H

#include "backends/spacy_table.h"

enum mlc_spacy_where {
    MLC_SPACY_LOCAL, /* no name of ours */
    MLC_SPACY_ROOT,
    MLC_SPACY_TABLE,     /* compatibility.json */
    MLC_SPACY_MODEL,     /* NAME, or what may be one */
    MLC_SPACY_TOP,       /* NAME/FILE */
    MLC_SPACY_DATA,      /* NAME/NAME-VERSION, and what lies below it */
    MLC_SPACY_INFO,      /* NAME-VERSION.dist-info */
    MLC_SPACY_INFO_FILE, /* a file in it */
};

struct mlc_spacy_path {
    enum mlc_spacy_where where;
    char name[MLC_SPACY_NAME_MAX + 1];
    char version[MLC_SPACY_NAME_MAX + 1]; /* DATA, INFO, INFO_FILE */
    /* TOP: FILE; INFO_FILE: its name; DATA: the path below the directory, ""
     * for itself.  Borrowed from the path. */
    const char *rest;
};

#define MLC_SPACY_INFO_SUFFIX ".dist-info"
/* NAME-VERSION and its NUL. */
#define MLC_SPACY_STEM_SIZE (2 * MLC_SPACY_NAME_MAX + 2)

/* By its form alone: whether there is such a model is the table's to say. */
void mlc_spacy_path_parse(const char *path, struct mlc_spacy_path *ret);
void mlc_spacy_stem(const char *name, const char *version,
                    char ret[MLC_SPACY_STEM_SIZE]);

#endif
