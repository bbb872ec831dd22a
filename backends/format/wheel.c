/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/wheel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/format/zip_i.h"
#include "backends/util/cleanup.h"
#include "backends/util/json.h"
#include "backends/util/path.h"

#define SHOWN  "%.80s"
#define INFO   ".dist-info"
#define RECORD "RECORD"

/* NAME-VERSION, and what follows.  The caller frees; NULL: no memory. */
static char *
versioned(const char *name, const char *version, const char *end)
{
    char *text;

    return asprintf(&text, "%s-%s%s", name, version, end) < 0 ? NULL : text;
}

/* A file at the top is refused too: the two names there are directories. */
static int
check_top(const struct mlc_zip *z, const char *name, const char *info,
          char *why)
{
    for (size_t i = 0; i < mlc_zip_n_members(z); i++) {
        const char *path = mlc_zip_member(z, i)->name;

        if (strchr(path, '/') &&
            (mlc_path_is_under(path, name) || mlc_path_is_under(path, info)))
            continue;
        return mlc_zip_refuse(-EBADMSG, why,
                              SHOWN ": not in one of the wheel's directories",
                              path);
    }
    return 0;
}

static int
require(const struct mlc_zip *z, const char *dir, const char *base, char *why)
{
    mlc_autofree char *path = mlc_path_join(dir, base);

    if (!path)
        return -ENOMEM;
    if (mlc_zip_find(z, path, NULL) < 0)
        return mlc_zip_refuse(-EBADMSG, why, "no " SHOWN, path);
    return 0;
}

int
mlc_wheel_check(const struct mlc_zip *z, const char *name, const char *version,
                char *ret_why)
{
    mlc_autofree char *stem = versioned(name, version, "");
    mlc_autofree char *info = versioned(name, version, INFO);
    mlc_autofree char *data = stem ? mlc_path_join(name, stem) : NULL;
    const struct {
        const char *dir, *base;
    } required[] = {
        {name, "__init__.py"}, {name, "meta.json"}, {data, "config.cfg"},
        {data, "meta.json"},   {info, RECORD},
    };
    int r;

    mlc_zip_no_reason(ret_why);
    if (!info || !data)
        return -ENOMEM;
    r = check_top(z, name, info, ret_why);
    for (size_t i = 0; r == 0 && i < sizeof(required) / sizeof(*required); i++)
        r = require(z, required[i].dir, required[i].base, ret_why);
    return r;
}

int
mlc_wheel_read_record(const struct mlc_zip *z, const char *name,
                      const char *version, mlc_zip_read_fn *read, void *arg,
                      const atomic_bool *stop, struct mlc_record **ret_record,
                      char *ret_why)
{
    __attribute__((cleanup(mlc_cleanup_record))) struct mlc_record *record =
        NULL;
    mlc_autofree char *path = versioned(name, version, INFO "/" RECORD);
    mlc_autofree char *text = NULL;
    const struct mlc_zip_member *m = NULL;
    size_t len = 0;
    int r;

    mlc_zip_no_reason(ret_why);
    if (!path)
        return -ENOMEM;
    if (mlc_zip_find(z, path, &m) < 0)
        return mlc_zip_refuse(-EBADMSG, ret_why, "no " SHOWN, path);
    r = mlc_zip_extract_small(m, MLC_RECORD_MAX_LEN, read, arg, stop, &text,
                              &len, ret_why);
    if (r < 0)
        return r;
    r = mlc_record_parse(text, len, path, &record, ret_why);
    if (r < 0)
        return r;
    r = mlc_record_check(record, z, path, ret_why);
    if (r < 0)
        return r;
    *ret_record = mlc_steal(&record);
    return 0;
}

/* lang_name is the model's name. */
static bool
is_name(const char *lang, const char *rest, const char *name)
{
    size_t len = strlen(lang);

    return strncmp(name, lang, len) == 0 && name[len] == '_' &&
           strcmp(name + len + 1, rest) == 0;
}

int
mlc_wheel_check_meta(const char *text, size_t len, const char *name,
                     const char *version, char *ret_why)
{
    mlc_autofree char *err = NULL;
    const char *lang = NULL, *rest = NULL, *is = NULL;
    json_t *root = NULL;
    int r;

    mlc_zip_no_reason(ret_why);
    r = mlc_json_parse(text, len, &root, &err);
    if (r < 0)
        return r == -ENOMEM ? r
                            : mlc_zip_refuse(-EBADMSG, ret_why, "meta.json: %s",
                                             err ? err : "not JSON");
    if (mlc_json_str(root, "lang", &lang) < 0 ||
        mlc_json_str(root, "name", &rest) < 0 ||
        mlc_json_str(root, "version", &is) < 0)
        r = mlc_zip_refuse(-EBADMSG, ret_why,
                           "meta.json has no lang, name or version");
    else if (!is_name(lang, rest, name) || strcmp(is, version) != 0)
        r = mlc_zip_refuse(-EBADMSG, ret_why,
                           "meta.json is that of " SHOWN "_" SHOWN " " SHOWN,
                           lang, rest, is);
    json_decref(root);
    return r;
}
