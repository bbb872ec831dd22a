/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/parse.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/refuse.h"

/* Sums of microseconds: 999999999 days need 87 bits. */
__extension__ typedef __int128 wide;

/* More digits than any number needs; what strtod sees. */
#define MAX_FLOAT_LEN 400

static const struct time_unit {
    const char *name;
    int64_t us;
} time_units[] = {
    {"weeks", INT64_C(604800000000)}, {"days", INT64_C(86400000000)},
    {"hours", INT64_C(3600000000)},   {"minutes", INT64_C(60000000)},
    {"seconds", INT64_C(1000000)},    {"milliseconds", INT64_C(1000)},
    {"microseconds", INT64_C(1)},
};

#define N_TIME_UNITS  (sizeof(time_units) / sizeof(time_units[0]))
#define US_PER_DAY    INT64_C(86400000000)
#define MAX_DELTA_DAY 999999999

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* str.strip()'s, of ASCII's; not isspace(), which follows the locale. */
static bool
is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void
strip_blanks(const char **s, size_t *len)
{
    while (*len > 0 && is_blank(**s)) {
        (*s)++;
        (*len)--;
    }
    while (*len > 0 && is_blank((*s)[*len - 1]))
        (*len)--;
}

/* Copies digits, with single underscores between them left out as Python does,
 * from s[*i] on.  How many digits; 0 also for a misplaced underscore. */
static size_t
copy_digits(const char *s, size_t len, size_t *i, char *out, size_t *n_out)
{
    size_t n = 0;

    while (*i < len) {
        if (is_digit(s[*i])) {
            out[(*n_out)++] = s[(*i)++];
            n++;
        } else if (s[*i] == '_' && n > 0 && s[*i - 1] != '_' && *i + 1 < len &&
                   is_digit(s[*i + 1])) {
            (*i)++;
        } else {
            break;
        }
    }
    return n;
}

/* A Python float literal that is finite. -EINVAL, or -ERANGE when it is not
 * finite as a double. */
static int
parse_float(const char *s, size_t len, double *ret)
{
    char text[MAX_FLOAT_LEN + 1];
    locale_t c_locale;
    size_t i = 0, n = 0, n_digits;
    double value;

    if (len > MAX_FLOAT_LEN)
        return -EINVAL;
    if (i < len && (s[i] == '+' || s[i] == '-'))
        text[n++] = s[i++];
    n_digits = copy_digits(s, len, &i, text, &n);
    if (i < len && s[i] == '.') {
        text[n++] = s[i++];
        n_digits += copy_digits(s, len, &i, text, &n);
    }
    if (n_digits == 0)
        return -EINVAL;
    if (i < len && (s[i] == 'e' || s[i] == 'E')) {
        text[n++] = s[i++];
        if (i < len && (s[i] == '+' || s[i] == '-'))
            text[n++] = s[i++];
        if (copy_digits(s, len, &i, text, &n) == 0)
            return -EINVAL;
    }
    if (i != len)
        return -EINVAL;
    text[n] = '\0';

    /* The decimal point is a point, whatever the process's locale. */
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        return -ENOMEM;
    value = strtod_l(text, NULL, c_locale);
    freelocale(c_locale);
    if (!isfinite(value))
        return -ERANGE;
    *ret = value;
    return 0;
}

static const struct time_unit *
find_time_unit(const char *name, size_t len)
{
    for (size_t i = 0; i < N_TIME_UNITS; i++)
        if (strlen(time_units[i].name) == len &&
            memcmp(time_units[i].name, name, len) == 0)
            return &time_units[i];
    return NULL;
}

struct time_sum {
    wide us;
    double rest;   /* fractions of microseconds, summed apart as Python does */
    unsigned seen; /* bit per unit */
};

static int
add_time_part(struct time_sum *sum, const char *part, size_t len,
              char **ret_err)
{
    const struct time_unit *unit;
    const char *eq = memchr(part, '=', len);
    const char *name = part, *number;
    size_t name_len, number_len;
    double value, whole, frac;
    unsigned bit;
    int r;

    strip_blanks(&part, &len);
    if (len == 0)
        return mlc_refuse_as(
            -EINVAL, ret_err,
            "expected NAME=NUMBER on each side of a semicolon");
    if (!eq)
        return mlc_refuse_as(-EINVAL, ret_err,
                             "\"%.*s\": expected NAME=NUMBER, such as hours=12",
                             (int)len, part);
    name = part;
    name_len = (size_t)(eq - name);
    number = eq + 1;
    number_len = len - name_len - 1;
    strip_blanks(&name, &name_len);
    strip_blanks(&number, &number_len);

    unit = find_time_unit(name, name_len);
    if (!unit)
        return mlc_refuse_as(-EINVAL, ret_err,
                             "\"%.*s\": expected weeks, days, hours, minutes, "
                             "seconds, milliseconds or microseconds",
                             (int)name_len, name);
    bit = 1U << (unit - time_units);
    if (sum->seen & bit)
        return mlc_refuse_as(-EINVAL, ret_err, "\"%s\" is given twice",
                             unit->name);
    sum->seen |= bit;

    r = parse_float(number, number_len, &value);
    if (r == -EINVAL)
        return mlc_refuse_as(r, ret_err,
                             "\"%.*s\": expected a number after %s=",
                             (int)number_len, number, unit->name);
    /* 1e24 weeks are 2^120 us: no sum of seven such overflows. */
    if (r == -ERANGE || (r == 0 && fabs(value) > 1e24))
        return mlc_refuse_as(-ERANGE, ret_err, "\"%.*s\": too large", (int)len,
                             part);
    if (r < 0)
        return r;

    frac = modf(value, &whole);
    sum->us += (wide)whole * unit->us;
    frac = modf(frac * (double)unit->us, &whole);
    sum->us += (wide)whole;
    sum->rest += frac;
    return 0;
}

int
mlc_parse_time(const char *text, int64_t *ret_ms, char **ret_err)
{
    struct time_sum sum = {0};
    const char *s = text;
    size_t len = strlen(text);
    wide ms;

    if (len > INT32_MAX)
        return mlc_refuse_as(-EINVAL, ret_err, "too long");
    while (len > 0 && (*s == '"' || *s == '\'')) {
        s++;
        len--;
    }
    while (len > 0 && (s[len - 1] == '"' || s[len - 1] == '\''))
        len--;
    strip_blanks(&s, &len);
    if (len == 0 || (len == 7 && strncasecmp(s, "forever", 7) == 0)) {
        *ret_ms = MLC_NEVER_MS;
        return 0;
    }

    for (;;) {
        const char *end = memchr(s, ';', len);
        size_t part_len = end ? (size_t)(end - s) : len;
        int r = add_time_part(&sum, s, part_len, ret_err);

        if (r < 0)
            return r;
        if (!end)
            break;
        s += part_len + 1;
        len -= part_len + 1;
    }

    sum.us += (wide)rint(sum.rest);
    if (sum.us < (wide)-MAX_DELTA_DAY * US_PER_DAY ||
        sum.us >= ((wide)MAX_DELTA_DAY + 1) * US_PER_DAY)
        return mlc_refuse_as(-ERANGE, ret_err, "\"%s\": more than %d days",
                             text, MAX_DELTA_DAY);
    ms = (sum.us + (sum.us < 0 ? -500 : 500)) / 1000;
    *ret_ms = (int64_t)ms;
    return 0;
}

/* The factor of what follows a size's digits; 0: nothing known. */
static uint64_t
size_factor(const char *s)
{
    static const char letters[] = "kmgt";
    const char *p;
    uint64_t factor = 1;

    if (*s == '\0' || strcasecmp(s, "B") == 0)
        return 1;
    for (p = letters; *p; p++) {
        factor *= 1024;
        if ((*s | 0x20) == *p)
            break;
    }
    if (!*p)
        return 0;
    s++;
    if (*s == '\0' || strcasecmp(s, "B") == 0 || strcasecmp(s, "iB") == 0)
        return factor;
    return 0;
}

int
mlc_parse_size(const char *text, uint64_t *ret_bytes, char **ret_err)
{
    static const char expected[] = "expected a size such as 512M (k, M, G, T)";
    const char *s = text;
    uint64_t whole = 0, factor;
    double frac = 0, scale = 1;
    bool overflow = false, has_frac = false;

    if (!is_digit(*s))
        return mlc_refuse_as(-EINVAL, ret_err, "%s: %s", text, expected);
    for (; is_digit(*s); s++)
        overflow |= __builtin_mul_overflow(whole, 10U, &whole) ||
                    __builtin_add_overflow(whole, (unsigned)(*s - '0'), &whole);
    if (*s == '.') {
        s++;
        if (!is_digit(*s))
            return mlc_refuse_as(-EINVAL, ret_err, "%s: %s", text, expected);
        has_frac = true;
        for (; is_digit(*s); s++) {
            scale /= 10;
            frac += scale * (*s - '0');
        }
    }
    factor = size_factor(s);
    if (factor == 0 || (factor == 1 && has_frac))
        return mlc_refuse_as(-EINVAL, ret_err, "%s: %s", text, expected);
    overflow |= __builtin_mul_overflow(whole, factor, &whole) ||
                __builtin_add_overflow(
                    whole, (uint64_t)llround(frac * (double)factor), &whole);
    if (overflow)
        return mlc_refuse_as(-ERANGE, ret_err, "%s: too large a size", text);
    *ret_bytes = whole;
    return 0;
}

/* Digits from *s on, which moves past them. */
static int
scan_u64(const char **s, uint64_t *ret)
{
    uint64_t value = 0;
    bool overflow = false;

    if (!is_digit(**s))
        return -EINVAL;
    for (; is_digit(**s); (*s)++)
        overflow |=
            __builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (unsigned)(**s - '0'), &value);
    *ret = overflow ? UINT64_MAX : value;
    return overflow ? -ERANGE : 0;
}

int
mlc_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    uint64_t value;
    int r = scan_u64(&text, &value);

    if (r == -EINVAL || *text != '\0')
        return -EINVAL;
    if (r < 0 || value < min || value > max)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

bool
mlc_parse_truthy(const char *text)
{
    static const char *const words[] = {"1", "ON", "YES", "TRUE"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

int
mlc_parse_content_range(const char *text, uint64_t *ret_from,
                        uint64_t *ret_last, uint64_t *ret_total)
{
    const char *s = text;
    uint64_t from, last, total = UINT64_MAX;
    int r;

    while (is_blank(*s))
        s++;
    if (strncasecmp(s, "bytes", 5) != 0 || !is_blank(s[5]))
        return -EINVAL;
    s += 5;
    while (is_blank(*s))
        s++;
    r = scan_u64(&s, &from);
    if (r < 0)
        return r;
    if (*s++ != '-')
        return -EINVAL;
    r = scan_u64(&s, &last);
    if (r < 0)
        return r;
    if (*s++ != '/')
        return -EINVAL;
    if (*s == '*') {
        s++;
    } else {
        r = scan_u64(&s, &total);
        if (r < 0)
            return r;
        if (total > INT64_MAX)
            return -ERANGE;
    }
    while (is_blank(*s))
        s++;
    if (*s != '\0' || from > last || last >= total)
        return -EINVAL;
    if (last >= INT64_MAX)
        return -ERANGE;
    *ret_from = from;
    *ret_last = last;
    *ret_total = total;
    return 0;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool
mlc_is_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (hex_value(text[i]) < 0 || (text[i] >= 'A' && text[i] <= 'F'))
            return false;
    return text[len] == '\0';
}

int
mlc_parse_hex(const char *text, uint8_t *ret_bytes, size_t n)
{
    size_t i;

    for (i = 0; i < 2 * n; i++)
        if (hex_value(text[i]) < 0)
            return -EINVAL;
    if (text[i] != '\0')
        return -EINVAL;
    for (i = 0; i < n; i++)
        ret_bytes[i] =
            (uint8_t)(hex_value(text[2 * i]) * 16 + hex_value(text[2 * i + 1]));
    return 0;
}

void
mlc_format_hex(const uint8_t *bytes, size_t n, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * n] = '\0';
}

/* How long the sequence at p is, of which there are at most 'left' bytes; 0:
 * it is none. */
static size_t
utf8_len(const unsigned char *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len;
    uint32_t code;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc0 || p[0] >= 0xf8)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len > left)
        return 0;
    code = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    if (code < least[len] || code > 0x10ffff ||
        (code >= 0xd800 && code < 0xe000))
        return 0;
    return len;
}

bool
mlc_is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;

    while (len > 0) {
        size_t n = utf8_len(p, len);

        if (n == 0)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

void
mlc_mask_control(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7f) {
            text[i] = '?';
        } else if (c == 0xc2 && i + 1 < len) {
            unsigned char next = (unsigned char)text[i + 1];

            if (next >= 0x80 && next < 0xa0) { /* U+0080 to U+009F */
                text[i] = '?';
                text[++i] = '?';
            }
        }
    }
}
