/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/members.h"
#include "backends/util/refuse.h"

#include <string.h>

void
mlc_members_fail(struct mlc_members *m, const char *key, const char *what)
{
    if (m->r == 0)
        m->r = mlc_refuse(m->ret_err, "%s: %s: %s", m->path, key, what);
}

/* NULL: absent or null. */
static const json_t *
get(const struct mlc_members *m, const char *key)
{
    const json_t *value = json_object_get(m->object, key);

    return json_is_null(value) ? NULL : value;
}

static uint64_t
count(struct mlc_members *m, const char *key, const json_t *value)
{
    json_int_t n = json_integer_value(value);

    if (!json_is_integer(value) || n < 1 || (uint64_t)n > MLC_MAX_COUNT) {
        mlc_members_fail(m, key, "not a number from 1 to 1048576");
        return 1;
    }
    return (uint64_t)n;
}

uint64_t
mlc_members_count(struct mlc_members *m, const char *key, uint64_t absent)
{
    const json_t *value = get(m, key);

    return value ? count(m, key, value) : absent;
}

bool
mlc_members_flag(struct mlc_members *m, const char *key, bool absent)
{
    const json_t *value = get(m, key);

    if (!value)
        return absent;
    if (!json_is_boolean(value))
        mlc_members_fail(m, key, "neither true nor false");
    return json_is_true(value);
}

size_t
mlc_members_counts(struct mlc_members *m, const char *key, size_t n_absent,
                   uint64_t absent, uint64_t ret[MLC_MAX_LEVELS])
{
    const json_t *value = get(m, key);
    size_t n = json_is_array(value) ? json_array_size(value) : n_absent;
    size_t i;

    if (n < 1 || n > MLC_MAX_LEVELS) {
        mlc_members_fail(m, key, "not a list of 1 to 16 numbers");
        n = 1;
    }
    for (i = 0; i < n; i++) {
        if (json_is_array(value))
            ret[i] = count(m, key, json_array_get(value, i));
        else
            ret[i] = value ? count(m, key, value) : absent;
    }
    return n;
}

void
mlc_members_choices(struct mlc_members *m, const char *key, size_t n,
                    const char *first, const char *second,
                    bool ret[MLC_MAX_LEVELS])
{
    const json_t *list = get(m, key);
    size_t i;

    if (json_array_size(list) != n) {
        mlc_members_fail(m, key, "not a list as long as block_out_channels");
        return;
    }
    for (i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        ret[i] = text && strcmp(text, first) == 0;
        if (!ret[i] && (!text || strcmp(text, second) != 0))
            mlc_members_fail(m, key, "a type of block that isn't known");
    }
}

const char *
mlc_members_string(struct mlc_members *m, const char *key, const char *absent)
{
    const json_t *value = get(m, key);

    if (!value)
        return absent;
    if (!json_is_string(value)) {
        mlc_members_fail(m, key, "not a string");
        return absent;
    }
    return json_string_value(value);
}

void
mlc_members_only(struct mlc_members *m, const char *key, const char *string)
{
    const json_t *value = get(m, key);

    if (!value || json_is_false(value))
        return;
    if (string && json_is_string(value) &&
        strcmp(json_string_value(value), string) == 0)
        return;
    mlc_members_fail(m, key, "a value that isn't known here");
}
