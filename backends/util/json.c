/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/json.h"

#include <errno.h>
#include <string.h>

#include "backends/util/refuse.h"

/* Jansson has a depth limit of its own, 2048 in its default build, but
 * distributions choose; its parser and json_decref() recurse. */
static bool
is_too_deep(const char *text, size_t len)
{
    size_t depth = 0, i;
    bool in_string = false;

    for (i = 0; i < len; i++) {
        char c = text[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MLC_JSON_MAX_DEPTH)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

int
mlc_json_parse(const char *text, size_t len, json_t **ret_root, char **ret_err)
{
    json_error_t err;
    json_t *root;

    if (len > MLC_JSON_MAX_LEN)
        return mlc_refuse(ret_err, "JSON longer than %zu bytes",
                          MLC_JSON_MAX_LEN);
    /* Jansson's scanner overlooks NUL bytes around a value. */
    if (memchr(text, '\0', len))
        return mlc_refuse(ret_err, "not JSON: a NUL byte");
    if (is_too_deep(text, len))
        return mlc_refuse(ret_err, "JSON nested deeper than %d levels",
                          MLC_JSON_MAX_DEPTH);

    root = json_loadb(text, len, JSON_DECODE_ANY, &err);
    if (!root) {
        if (json_error_code(&err) == json_error_out_of_memory)
            return -ENOMEM;
        return mlc_refuse(ret_err, "not JSON: line %d, column %d: %s", err.line,
                          err.column, err.text);
    }
    *ret_root = root;
    return 0;
}

static int
lookup(const json_t *obj, const char *key, const json_t **ret)
{
    const json_t *value;

    if (!obj)
        return -ENOENT;
    if (!json_is_object(obj))
        return -EBADMSG;
    value = json_object_get(obj, key);
    if (!value || json_is_null(value))
        return -ENOENT;
    *ret = value;
    return 0;
}

int
mlc_json_str(const json_t *obj, const char *key, const char **ret)
{
    const json_t *value = NULL;
    int r = lookup(obj, key, &value);

    if (r < 0)
        return r;
    if (!json_is_string(value))
        return -EBADMSG;
    *ret = json_string_value(value);
    return 0;
}

int
mlc_json_u64(const json_t *obj, const char *key, uint64_t *ret)
{
    const json_t *value = NULL;
    int r = lookup(obj, key, &value);

    if (r < 0)
        return r;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return -EBADMSG;
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

int
mlc_json_bool(const json_t *obj, const char *key, bool *ret)
{
    const json_t *value = NULL;
    int r = lookup(obj, key, &value);

    if (r < 0)
        return r;
    if (!json_is_boolean(value))
        return -EBADMSG;
    *ret = json_is_true(value);
    return 0;
}
