/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/pretty.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"

static int put_value(struct mlc_buf *b, const json_t *value, int depth);

static int
put_line(struct mlc_buf *b, int depth)
{
    return mlc_buf_printf(b, "\n%*s", 2 * depth, "");
}

/* --- strings: ASCII --------------------------------------------------- */

/* The character at *p, which is valid UTF-8; *p moves on. */
static uint32_t
next_character(const char **p)
{
    const unsigned char *s = (const unsigned char *)*p;
    unsigned n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c = n == 1 ? s[0] : s[0] & (0xffU >> (n + 1));
    unsigned i;

    for (i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3fU);
    *p += n;
    return c;
}

static int
put_character(struct mlc_buf *b, uint32_t c)
{
    static const char letters[] = "\"\\bfnrt";
    static const char meant[] = "\"\\\b\f\n\r\t";
    const char *special =
        c < 0x80 ? memchr(meant, (int)c, sizeof meant - 1) : NULL;

    if (special)
        return mlc_buf_printf(b, "\\%c", letters[special - meant]);
    if (c >= 0x20 && c < 0x7f)
        return mlc_buf_printf(b, "%c", (char)c);
    if (c < 0x10000)
        return mlc_buf_printf(b, "\\u%04x", c);
    c -= 0x10000;
    return mlc_buf_printf(b, "\\u%04x\\u%04x", 0xd800 + (c >> 10),
                          0xdc00 + (c & 0x3ff));
}

static int
put_string(struct mlc_buf *b, const char *text)
{
    int r = mlc_buf_puts(b, "\"");

    while (r == 0 && *text)
        r = put_character(b, next_character(&text));
    return r < 0 ? r : mlc_buf_puts(b, "\"");
}

/* --- numbers ---------------------------------------------------------- */

/* As repr() does: the fewest digits that give the number back. */
static int
put_real(struct mlc_buf *b, double value)
{
    char text[40];
    int n_digits, exponent, decimals;

    for (n_digits = 1; n_digits < 17; n_digits++) {
        snprintf(text, sizeof text, "%.*e", n_digits - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    snprintf(text, sizeof text, "%.*e", n_digits - 1, value);
    exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16)
        return mlc_buf_puts(b, text);
    decimals = n_digits - 1 - exponent;
    return mlc_buf_printf(b, "%.*f", decimals < 1 ? 1 : decimals, value);
}

/* --- what holds others ------------------------------------------------ */

static int
put_array(struct mlc_buf *b, const json_t *array, int depth)
{
    size_t n = json_array_size(array);
    size_t i;
    int r = mlc_buf_puts(b, "[");

    for (i = 0; r == 0 && i < n; i++) {
        if (i > 0)
            r = mlc_buf_puts(b, ",");
        if (r == 0)
            r = put_line(b, depth + 1);
        if (r == 0)
            r = put_value(b, json_array_get(array, i), depth + 1);
    }
    if (r == 0 && n > 0)
        r = put_line(b, depth);
    return r < 0 ? r : mlc_buf_puts(b, "]");
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys in order; NULL: no memory. */
static const char **
sorted_keys(const json_t *object, size_t n)
{
    const char **keys = calloc(n + 1, sizeof *keys);
    json_t *all = NULL;
    void *iter;
    size_t i = 0;

    if (!keys)
        return NULL;
    memcpy(&all, &object, sizeof all); /* iterating doesn't change it */
    for (iter = json_object_iter(all); iter;
         iter = json_object_iter_next(all, iter))
        keys[i++] = json_object_iter_key(iter);
    qsort(keys, n, sizeof *keys, by_text);
    return keys;
}

static int
put_object(struct mlc_buf *b, const json_t *object, int depth)
{
    size_t n = json_object_size(object);
    mlc_autofree const char **keys = sorted_keys(object, n);
    size_t i;
    int r = mlc_buf_puts(b, "{");

    if (!keys)
        return -ENOMEM;
    for (i = 0; r == 0 && i < n; i++) {
        if (i > 0)
            r = mlc_buf_puts(b, ",");
        if (r == 0)
            r = put_line(b, depth + 1);
        if (r == 0)
            r = put_string(b, keys[i]);
        if (r == 0)
            r = mlc_buf_puts(b, ": ");
        if (r == 0)
            r = put_value(b, json_object_get(object, keys[i]), depth + 1);
    }
    if (r == 0 && n > 0)
        r = put_line(b, depth);
    return r < 0 ? r : mlc_buf_puts(b, "}");
}

static int
put_value(struct mlc_buf *b, const json_t *value, int depth)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return put_object(b, value, depth);
    case JSON_ARRAY:
        return put_array(b, value, depth);
    case JSON_STRING:
        return put_string(b, json_string_value(value));
    case JSON_INTEGER:
        return mlc_buf_printf(b, "%" JSON_INTEGER_FORMAT,
                              json_integer_value(value));
    case JSON_REAL:
        return put_real(b, json_real_value(value));
    case JSON_TRUE:
        return mlc_buf_puts(b, "true");
    case JSON_FALSE:
        return mlc_buf_puts(b, "false");
    case JSON_NULL:
        break;
    }
    return mlc_buf_puts(b, "null");
}

int
mlc_pretty(struct mlc_buf *b, const json_t *value)
{
    int r = put_value(b, value, 0);

    return r < 0 ? r : mlc_buf_puts(b, "\n");
}
