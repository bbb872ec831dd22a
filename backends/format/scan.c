/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/scan.h"

#include <errno.h>
#include <string.h>

#define MAX_DEPTH 64

static int
bad(struct mlc_scan *s, const char *why)
{
    s->why = why;
    return -EBADMSG;
}

/* --- UTF-8 ------------------------------------------------------------ */

static bool
is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Bytes of the character at p, of which 'left' are there; 0: it is none
 * (overlong forms, surrogates and what lies beyond U+10FFFF are not). */
static size_t
utf8_len(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < 2 || !is_continuation(p[1]))
        return 0;
    if (p[0] < 0xe0)
        return 2;
    if (left < 3 || !is_continuation(p[2]))
        return 0;
    if (p[0] < 0xf0) {
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    }
    if (left < 4 || !is_continuation(p[3]))
        return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return 4;
}

static bool
is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0;

    while (i < len) {
        size_t n = utf8_len(p + i, len - i);

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static char *
put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* --- tokens ------------------------------------------------------------- */

int
mlc_scan_init(struct mlc_scan *s, const char *text, size_t len, char *strings)
{
    *s = (struct mlc_scan){.at = text, .end = text + len, .strings = strings};
    if (!is_utf8(text, len))
        return bad(s, "not UTF-8");
    return 0;
}

static void
skip_blanks(struct mlc_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' ||
                              *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

bool
mlc_scan_take(struct mlc_scan *s, char c)
{
    skip_blanks(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

int
mlc_scan_expect(struct mlc_scan *s, char c)
{
    if (!mlc_scan_take(s, c))
        return bad(s, "not JSON of the expected form");
    return 0;
}

static int
hex4(struct mlc_scan *s, uint32_t *ret)
{
    uint32_t value = 0;
    int i;

    if (s->end - s->at < 4)
        return bad(s, "an escape that is none");
    for (i = 0; i < 4; i++) {
        char c = *s->at++;

        value <<= 4;
        if (c >= '0' && c <= '9')
            value |= (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value |= (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            value |= (uint32_t)(c - 'A' + 10);
        else
            return bad(s, "an escape that is none");
    }
    *ret = value;
    return 0;
}

/* What follows "\u": a character, or a pair of surrogates. */
static int
unicode_escape(struct mlc_scan *s, uint32_t *ret)
{
    uint32_t high = 0;
    uint32_t low = 0;
    int r = hex4(s, &high);

    if (r < 0)
        return r;
    if (high == 0)
        return bad(s, "a NUL in a string");
    if (high < 0xd800 || high > 0xdfff) {
        *ret = high;
        return 0;
    }
    if (high > 0xdbff || s->end - s->at < 2 || s->at[0] != '\\' ||
        s->at[1] != 'u')
        return bad(s, "half a character");
    s->at += 2;
    r = hex4(s, &low);
    if (r < 0)
        return r;
    if (low < 0xdc00 || low > 0xdfff)
        return bad(s, "half a character");
    *ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return 0;
}

/* What follows a backslash. */
static int
escape(struct mlc_scan *s, uint32_t *ret)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    const char *letter;

    if (s->at == s->end)
        return bad(s, "a string without an end");
    if (*s->at == 'u') {
        s->at++;
        return unicode_escape(s, ret);
    }
    letter = memchr(letters, *s->at, sizeof letters - 1);
    if (!letter)
        return bad(s, "an escape that is none");
    s->at++;
    *ret = (unsigned char)meant[letter - letters];
    return 0;
}

int
mlc_scan_string(struct mlc_scan *s, const char **ret)
{
    char *to = s->strings;

    if (!mlc_scan_take(s, '"'))
        return bad(s, "no string where one must be");
    /* What is written is never longer than what was read, and the NUL has the
     * room of a quote. */
    for (;;) {
        unsigned char c;

        if (s->at == s->end)
            return bad(s, "a string without an end");
        c = (unsigned char)*s->at++;
        if (c == '"')
            break;
        if (c < 0x20)
            return bad(s, "a control byte in a string");
        if (c == '\\') {
            uint32_t meant = 0;
            int r = escape(s, &meant);

            if (r < 0)
                return r;
            to = put_utf8(to, meant);
        } else {
            *to++ = (char)c;
        }
    }
    *to++ = '\0';
    *ret = s->strings;
    s->strings = to;
    return 0;
}

static bool
is_digit(const struct mlc_scan *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

int
mlc_scan_u64(struct mlc_scan *s, uint64_t *ret)
{
    uint64_t value = 0;
    const char *start;

    skip_blanks(s);
    start = s->at;
    while (is_digit(s)) {
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s->at - '0'), &value))
            return bad(s, "a number beyond 64 bits");
        s->at++;
    }
    /* 007 is none, and what a float goes on with follows no number. */
    if (s->at == start || (*start == '0' && s->at - start > 1) ||
        (s->at < s->end && (*s->at == '.' || *s->at == 'e' || *s->at == 'E')))
        return bad(s, "no whole number where one must be");
    *ret = value;
    return 0;
}

/* -12.5e+3 */
static int
skip_number(struct mlc_scan *s)
{
    if (*s->at == '-')
        s->at++;
    if (!is_digit(s))
        return bad(s, "a value that is none");
    if (*s->at == '0') {
        s->at++;
    } else {
        while (is_digit(s))
            s->at++;
    }
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!is_digit(s))
            return bad(s, "a number that is none");
        while (is_digit(s))
            s->at++;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (!is_digit(s))
            return bad(s, "a number that is none");
        while (is_digit(s))
            s->at++;
    }
    return 0;
}

static bool
skip_word(struct mlc_scan *s, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return false;
    s->at += len;
    return true;
}

static int
skip_scalar(struct mlc_scan *s)
{
    char *strings = s->strings;
    const char *text;
    int r;

    skip_blanks(s);
    if (s->at == s->end)
        return bad(s, "a value that is none");
    if (*s->at == '"') {
        r = mlc_scan_string(s, &text);
        s->strings = strings; /* not kept */
        return r;
    }
    if (skip_word(s, "true") || skip_word(s, "false") || skip_word(s, "null"))
        return 0;
    return skip_number(s);
}

int
mlc_scan_next(struct mlc_scan *s, char close, bool *first)
{
    bool is_first = *first;

    *first = false;
    if (mlc_scan_take(s, close))
        return 0;
    if (!is_first) {
        int r = mlc_scan_expect(s, ',');

        if (r < 0)
            return r;
        skip_blanks(s);
        if (s->at < s->end && *s->at == close)
            return bad(s, "a comma before the end");
    }
    return 1;
}

int
mlc_scan_key(struct mlc_scan *s, const char **ret)
{
    int r = mlc_scan_string(s, ret);

    if (r < 0)
        return r;
    return mlc_scan_expect(s, ':');
}

static int
skip_value(struct mlc_scan *s, int depth)
{
    bool first = true;
    bool is_object = mlc_scan_take(s, '{');
    int r;

    if (!is_object && !mlc_scan_take(s, '['))
        return skip_scalar(s);
    if (depth == MAX_DEPTH)
        return bad(s, "nested too deep");
    while ((r = mlc_scan_next(s, is_object ? '}' : ']', &first)) > 0) {
        if (is_object) {
            char *strings = s->strings;
            const char *key;

            r = mlc_scan_key(s, &key);
            s->strings = strings;
            if (r < 0)
                return r;
        }
        r = skip_value(s, depth + 1);
        if (r < 0)
            return r;
    }
    return r;
}

int
mlc_scan_skip(struct mlc_scan *s)
{
    return skip_value(s, 0);
}

int
mlc_scan_finish(struct mlc_scan *s)
{
    skip_blanks(s);
    if (s->at != s->end)
        return bad(s, "something after the object");
    return 0;
}
