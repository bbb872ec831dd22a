/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/spacy_path.h"

#include <stdio.h>
#include <string.h>

/* The component that path begins with; its remainder, or NULL: that is all. */
static size_t
first_part(const char *path, const char **ret_rest)
{
    const char *slash = strchr(path, '/');

    *ret_rest = slash ? slash + 1 : NULL;
    return slash ? (size_t)(slash - path) : strlen(path);
}

/* text, of len bytes, into a field for a name or version. */
static bool
take(const char *text, size_t len, char ret[MLC_SPACY_NAME_MAX + 1])
{
    if (len > MLC_SPACY_NAME_MAX)
        return false;
    memcpy(ret, text, len);
    ret[len] = '\0';
    return true;
}

/* NAME-VERSION of len bytes. */
static bool
take_stem(const char *text, size_t len, struct mlc_spacy_path *ret)
{
    const char *dash = memchr(text, '-', len);
    size_t name_len = dash ? (size_t)(dash - text) : 0;

    return dash && take(text, name_len, ret->name) &&
           take(dash + 1, len - name_len - 1, ret->version) &&
           mlc_spacy_is_name(ret->name) && mlc_spacy_is_version(ret->version);
}

static void
parse_info(const char *path, size_t len, const char *rest,
           struct mlc_spacy_path *ret)
{
    const size_t suffix_len = strlen(MLC_SPACY_INFO_SUFFIX);

    if (len <= suffix_len ||
        strncmp(path + len - suffix_len, MLC_SPACY_INFO_SUFFIX, suffix_len) !=
            0 ||
        !take_stem(path, len - suffix_len, ret) || (rest && strchr(rest, '/')))
        return;
    ret->where = rest ? MLC_SPACY_INFO_FILE : MLC_SPACY_INFO;
    ret->rest = rest ? rest : "";
}

void
mlc_spacy_path_parse(const char *path, struct mlc_spacy_path *ret)
{
    struct mlc_spacy_path inner;
    const char *rest, *below;
    size_t len = first_part(path, &rest);

    memset(ret, 0, sizeof(*ret));
    ret->where = MLC_SPACY_LOCAL;
    ret->rest = "";
    if (!*path) {
        ret->where = MLC_SPACY_ROOT;
        return;
    }
    if (strcmp(path, "compatibility.json") == 0) {
        ret->where = MLC_SPACY_TABLE;
        return;
    }
    if (!take(path, len, ret->name) || !mlc_spacy_is_name(ret->name)) {
        parse_info(path, len, rest, ret);
        return;
    }
    if (!rest) {
        ret->where = MLC_SPACY_MODEL;
        return;
    }
    len = first_part(rest, &below);
    if (take_stem(rest, len, &inner) && strcmp(inner.name, ret->name) == 0) {
        ret->where = MLC_SPACY_DATA;
        strcpy(ret->version, inner.version);
        ret->rest = below ? below : "";
    } else if (!below) {
        ret->where = MLC_SPACY_TOP;
        ret->rest = rest;
    }
}

void
mlc_spacy_stem(const char *name, const char *version,
               char ret[MLC_SPACY_STEM_SIZE])
{
    snprintf(ret, MLC_SPACY_STEM_SIZE, "%s-%s", name, version);
}
