/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/hf_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/util/parse.h"

#define MAX_PART 96 /* bytes of a namespace or a name */

static const struct {
    const char *name;
    const char *prefix;
    bool needs_owner; /* the Hub has no legacy names without one here */
} types[] = {
    [MLC_HF_MODEL] = {"models", "", false},
    [MLC_HF_DATASET] = {"datasets", "datasets/", false},
    [MLC_HF_SPACE] = {"spaces", "spaces/", true},
    [MLC_HF_KERNEL] = {"kernels", "kernels/", true},
};

#define N_TYPES (sizeof types / sizeof *types)

const char *
mlc_hf_type_name(enum mlc_hf_type type)
{
    return types[type].name;
}

const char *
mlc_hf_type_prefix(enum mlc_hf_type type)
{
    return types[type].prefix;
}

static bool
part_is_valid(const char *s, size_t len)
{
    if (len < 1 || len > MAX_PART)
        return false;
    if (s[0] == '-' || s[0] == '.' || s[len - 1] == '-' || s[len - 1] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'))
            return false;
        if (i && c == s[i - 1] && (c == '-' || c == '.'))
            return false;
    }
    return true;
}

bool
mlc_hf_id_is_valid(const char *id)
{
    const char *slash = strchr(id, '/');
    const char *name = slash ? slash + 1 : id;
    size_t len = strlen(name);

    if (slash && !part_is_valid(id, (size_t)(slash - id)))
        return false;
    if (!part_is_valid(name, len))
        return false;
    return len < 4 || strcmp(name + len - 4, ".git") != 0;
}

/* Splits "models--org--name" of 'len' bytes into type and id. */
static bool
parse_folder(const char *s, size_t len, struct mlc_hf_path *ret)
{
    if (len >= sizeof ret->folder)
        return false;
    memcpy(ret->folder, s, len);
    ret->folder[len] = '\0';

    for (size_t t = 0; t < N_TYPES; t++) {
        size_t n = strlen(types[t].name);
        const char *rest = ret->folder + n + 2;
        const char *sep;

        if (strncmp(ret->folder, types[t].name, n) != 0 ||
            strncmp(ret->folder + n, "--", 2) != 0)
            continue;
        ret->type = (enum mlc_hf_type)t;
        sep = strstr(rest, "--");
        if (!sep) {
            if (types[t].needs_owner)
                return false;
            snprintf(ret->id, sizeof ret->id, "%s", rest);
        } else {
            snprintf(ret->id, sizeof ret->id, "%.*s/%s", (int)(sep - rest),
                     rest, sep + 2);
        }
        return mlc_hf_id_is_valid(ret->id);
    }
    return false;
}

bool
mlc_hf_rev_is_valid(const char *rev)
{
    const char *part = rev;
    size_t len = strlen(rev);

    if (len == 0 || len > 1024 || rev[len - 1] == '.' ||
        strcmp(rev, "@") == 0 || mlc_is_hex(rev, MLC_HF_SHA_LEN))
        return false;
    if (strstr(rev, "..") || strstr(rev, "@{"))
        return false;
    for (const char *p = rev;; p++) {
        unsigned char c = (unsigned char)*p;
        size_t n;

        if (c != '\0' && c != '/') {
            if (c <= ' ' || c == 0x7f || strchr("~^:?*[\\", c))
                return false;
            continue;
        }
        n = (size_t)(p - part);
        if (n == 0 || *part == '.')
            return false;
        if (n >= 5 && memcmp(p - 5, ".lock", 5) == 0)
            return false;
        if (c == '\0')
            return true;
        part = p + 1;
    }
}

/* Clients write "main.1a2b3c4d.tmp" and rename it over "main". */
static bool
is_temporary(const char *rev)
{
    size_t len = strlen(rev);
    char infix[9];

    if (len < 14 || strcmp(rev + len - 4, ".tmp") != 0 || rev[len - 13] != '.')
        return false;
    memcpy(infix, rev + len - 12, 8);
    infix[8] = '\0';
    return mlc_is_hex(infix, 8);
}

/* "COMMIT" or "COMMIT/PATH". */
static bool
parse_commit(const char *s, struct mlc_hf_path *ret)
{
    size_t len = strcspn(s, "/");

    if (len != MLC_HF_SHA_LEN)
        return false;
    memcpy(ret->commit, s, len);
    ret->commit[len] = '\0';
    if (!mlc_is_hex(ret->commit, len))
        return false;
    ret->rest = s[len] == '/' ? s + len + 1 : s + len;
    return true;
}

static bool
parse_tree_name(const char *s, struct mlc_hf_path *ret)
{
    if (strlen(s) != MLC_HF_SHA_LEN + 5 ||
        strcmp(s + MLC_HF_SHA_LEN, ".json") != 0)
        return false;
    memcpy(ret->commit, s, MLC_HF_SHA_LEN);
    ret->commit[MLC_HF_SHA_LEN] = '\0';
    return mlc_is_hex(ret->commit, MLC_HF_SHA_LEN);
}

/* What stands below the repo's folder; 'area' is the first part of 'len'
 * bytes, rest what follows it ("" if nothing). */
static enum mlc_hf_where
parse_area(const char *area, size_t len, const char *rest,
           struct mlc_hf_path *ret)
{
    static const struct {
        const char *name;
        enum mlc_hf_where where;
    } areas[] = {
        {"blobs", MLC_HF_BLOBS},         {"refs", MLC_HF_REFS},
        {"snapshots", MLC_HF_SNAPSHOTS}, {"trees", MLC_HF_TREES},
        {".no_exist", MLC_HF_NO_EXIST},
    };
    enum mlc_hf_where where = MLC_HF_LOCAL;

    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++)
        if (strlen(areas[i].name) == len &&
            memcmp(areas[i].name, area, len) == 0)
            where = areas[i].where;
    if (*rest == '\0')
        return where;

    ret->rest = rest;
    if (where == MLC_HF_BLOBS)
        return mlc_is_hex(rest, 40) || mlc_is_hex(rest, 64) ? MLC_HF_BLOB
                                                            : MLC_HF_LOCAL;
    if (where == MLC_HF_REFS)
        return mlc_hf_rev_is_valid(rest) && !is_temporary(rest) ? MLC_HF_REF
                                                                : MLC_HF_LOCAL;
    if (where == MLC_HF_SNAPSHOTS)
        return parse_commit(rest, ret) ? MLC_HF_SNAPSHOT : MLC_HF_LOCAL;
    if (where == MLC_HF_TREES)
        return parse_tree_name(rest, ret) ? MLC_HF_TREE : MLC_HF_LOCAL;
    if (where == MLC_HF_NO_EXIST)
        return parse_commit(rest, ret) ? MLC_HF_ABSENT : MLC_HF_LOCAL;
    return MLC_HF_LOCAL;
}

void
mlc_hf_path_parse(const char *path, struct mlc_hf_path *ret)
{
    const char *name = path + 4; /* only used after "hub/" was seen */
    const char *area;
    size_t len;

    memset(ret, 0, sizeof *ret);
    ret->rest = "";
    ret->where = MLC_HF_LOCAL;
    if (*path == '\0')
        ret->where = MLC_HF_ROOT;
    else if (strcmp(path, "hub") == 0)
        ret->where = MLC_HF_HUB;
    else if (strcmp(path, "hub/CACHEDIR.TAG") == 0)
        ret->where = MLC_HF_TAG;
    else if (strcmp(path, "hub/blobs") == 0)
        ret->where = MLC_HF_SHARED;
    if (ret->where != MLC_HF_LOCAL || strncmp(path, "hub/", 4) != 0)
        return;

    len = strcspn(name, "/");
    if (!parse_folder(name, len, ret))
        return;
    if (name[len] == '\0') {
        ret->where = MLC_HF_REPO;
        return;
    }
    area = name + len + 1;
    len = strcspn(area, "/");
    ret->where =
        parse_area(area, len, area[len] ? area + len + 1 : area + len, ret);
}

char *
mlc_hf_pointer_text(const char *path, const char *etag)
{
    size_t n_up = 2;
    size_t len;
    char *text;

    for (const char *p = path; *p; p++)
        n_up += *p == '/';
    len = n_up * 3 + strlen("blobs/") + strlen(etag) + 1;
    text = malloc(len);
    if (!text)
        return NULL;
    for (size_t i = 0; i < n_up; i++)
        memcpy(text + i * 3, "../", 3);
    snprintf(text + n_up * 3, len - n_up * 3, "blobs/%s", etag);
    return text;
}

/* Is word one of a relation's blank-separated types?  Their case is free. */
static bool
has_type(const char *list, size_t len, const char *word)
{
    size_t n_word = strlen(word);

    for (size_t i = 0, n; i < len; i += n + 1) {
        for (n = 0; i + n < len && !strchr(" \t", list[i + n]);)
            n++;
        if (n == n_word && strncasecmp(list + i, word, n) == 0)
            return true;
    }
    return false;
}

/* Reads the parameters behind a link's '>', of which the first rel counts;
 * commas, semicolons and brackets in quotes are text (RFC 8288, section 3).
 * Returns where they end: at a ',' or at the end of the header. */
static const char *
skip_params(const char *p, bool *ret_is_next)
{
    bool has_rel = false;

    *ret_is_next = false;
    while (*p && *p != ',') {
        const char *name, *value;
        size_t n_name, n_value;

        p += strspn(p, "; \t");
        name = p;
        n_name = strcspn(p, "=;, \t");
        p += n_name;
        p += strspn(p, " \t");
        if (*p != '=')
            continue;
        p++;
        p += strspn(p, " \t");
        if (*p == '"') {
            value = ++p;
            while (*p && *p != '"')
                p += *p == '\\' && p[1] ? 2 : 1;
            n_value = (size_t)(p - value);
            if (*p)
                p++;
        } else {
            value = p;
            n_value = strcspn(p, ";, \t");
            p += n_value;
        }
        if (has_rel || n_name != 3 || strncasecmp(name, "rel", 3) != 0)
            continue;
        has_rel = true;
        *ret_is_next = has_type(value, n_value, "next");
    }
    return p;
}

int
mlc_hf_next_url(const char *link, const char *endpoint, char **ret)
{
    size_t base = strlen(endpoint);

    for (const char *p = link; p && (p = strchr(p, '<'));) {
        const char *url = p + 1;
        const char *end = strchr(url, '>');
        size_t len;
        const char *api;
        bool is_next;
        char *s;

        if (!end)
            return -EBADMSG;
        p = skip_params(end + 1, &is_next);
        if (!is_next)
            continue;

        len = (size_t)(end - url);
        if (len > base && strncmp(url, endpoint, base) == 0 &&
            url[base] == '/') {
            s = strndup(url, len);
        } else {
            /* A mirror hands on what the Hub says of itself: the path and
             * query count, the host is ours. */
            api = strstr(url, "/api/");
            if (!api || api > end)
                return -EBADMSG;
            s = malloc(base + (size_t)(end - api) + 1);
            if (s)
                sprintf(s, "%s%.*s", endpoint, (int)(end - api), api);
        }
        if (!s)
            return -ENOMEM;
        for (const char *c = s; *c; c++)
            if ((unsigned char)*c <= ' ' || *c == 0x7f) {
                free(s);
                return -EBADMSG;
            }
        *ret = s;
        return 0;
    }
    *ret = NULL;
    return 0;
}

bool
mlc_hf_rev_is_below(const char *rev, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(rev, dir, len) == 0 && rev[len] == '/';
}
