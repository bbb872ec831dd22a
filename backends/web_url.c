/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/web_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define MAX_URL      ((size_t)64 * 1024)
#define MAX_HOST     253
#define MAX_EXT      8
#define CIVITAI      "https://civitai.com/api/download"
#define CIVITAI_HTTP "http://civitai.com/api/download"
#define IS_DIGIT(c)  ((c) >= '0' && (c) <= '9')
#define IS_LETTER(c) (((c) | 32) >= 'a' && ((c) | 32) <= 'z')

/* --- bytes ----------------------------------------------------------- */

static int
hex_value(char c)
{
    if (IS_DIGIT(c))
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that %XX at p stands for; -1: it is no such thing. */
static int
escaped(const char *p)
{
    if (p[0] != '%' || hex_value(p[1]) < 0 || hex_value(p[2]) < 0)
        return -1;
    return hex_value(p[1]) * 16 + hex_value(p[2]);
}

static bool
is_url_byte(char c, bool is_query)
{
    if (IS_DIGIT(c) || IS_LETTER(c))
        return true;
    return c && (strchr("-._~!$&'()*+,;=:@/", c) || (is_query && c == '?'));
}

/* --- hosts ----------------------------------------------------------- */

static bool
is_port(const char *p, size_t len)
{
    mlc_autofree char *text = strndup(p, len);
    uint64_t port;

    return text && mlc_parse_u64(text, 1, 65535, &port) == 0;
}

static bool
is_ipv6(const char *p, size_t len)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in6_addr addr;

    if (len >= sizeof(text))
        return false;
    memcpy(text, p, len);
    text[len] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1;
}

static bool
is_dns_name(const char *p, size_t len)
{
    size_t label = 0;

    if (len == 0 || len > MAX_HOST)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (IS_DIGIT(c) || IS_LETTER(c) || c == '-' || c == '_' ||
                   c >= 0x80) {
            label++;
        } else {
            return false;
        }
    }
    return true;
}

/* HOST[:PORT], no user and no password: these are for ~/.netrc. */
static bool
is_host(const char *p, size_t len)
{
    const char *end;

    if (len > 0 && p[0] == '[') {
        end = memchr(p, ']', len);
        if (!end || !is_ipv6(p + 1, (size_t)(end - p) - 1))
            return false;
        end++;
    } else {
        end = memchr(p, ':', len);
        if (!end)
            end = p + len;
        if (!is_dns_name(p, (size_t)(end - p)))
            return false;
    }
    len -= (size_t)(end - p);
    return len == 0 || (*end == ':' && is_port(end + 1, len - 1));
}

/* --- paths ----------------------------------------------------------- */

/* A segment that some server may take for "." or "..", or that ends a string
 * for it, is not sent. */
static bool
is_segment_safe(const char *p, size_t len)
{
    size_t n_dots = 0, n_others = 0;

    for (size_t i = 0; i < len; i++) {
        int c = p[i];

        if (c == '%' && i + 2 < len) {
            int e = escaped(p + i);

            if (e >= 0) {
                c = e;
                i += 2;
            }
        }
        if (c == 0)
            return false;
        if (c == '/' || c == '\\') {
            if (n_others == 0 && (n_dots == 1 || n_dots == 2))
                return false;
            n_dots = n_others = 0;
        } else if (c == '.') {
            n_dots++;
        } else {
            n_others++;
        }
    }
    return n_others > 0 || (n_dots != 1 && n_dots != 2);
}

static bool
is_path_safe(const char *p, size_t len)
{
    const char *end = p + len;

    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));

        if (!slash)
            slash = end;
        if (!is_segment_safe(p, (size_t)(slash - p)))
            return false;
        p = slash + 1;
    }
    return true;
}

static bool
has_ext(const char *p, size_t len)
{
    size_t n = 0;

    while (n < len && (IS_DIGIT(p[len - 1 - n]) || IS_LETTER(p[len - 1 - n])))
        n++;
    return n >= 1 && n <= MAX_EXT && n < len && p[len - 1 - n] == '.' &&
           IS_LETTER(p[len - n]);
}

static bool
is_gz(const char *p, size_t len)
{
    static const char *const exts[] = {".gz", ".tgz", ".svgz"};

    for (size_t i = 0; i < sizeof(exts) / sizeof(*exts); i++) {
        size_t n = strlen(exts[i]);

        if (len > n && strncasecmp(p + len - n, exts[i], n) == 0)
            return true;
    }
    return false;
}

/* Puts [p, p+len) behind what is there, as it may be sent. */
static int
append_encoded(struct mlc_buf *b, const char *p, size_t len, bool is_query)
{
    int r = 0;

    for (size_t i = 0; i < len && r == 0; i++) {
        if (is_url_byte(p[i], is_query) || (i + 2 < len && escaped(p + i) >= 0))
            r = mlc_buf_append(b, p + i, 1);
        else
            r = mlc_buf_printf(b, "%%%02X", (unsigned char)p[i]);
    }
    return r;
}

/* rest: HOST[/PATH][?QUERY][#FRAGMENT]. */
static int
parse_rest(const char *scheme, const char *rest, struct mlc_web_name *ret)
{
    size_t host_len = strcspn(rest, "/?#");
    const char *path = rest + host_len;
    size_t path_len = strcspn(path, "?#");
    const char *query = path + path_len;
    size_t query_len = strcspn(query, "#");
    const char *fragment = query + query_len;
    const char *last = path + path_len;
    struct mlc_buf b;
    int r;

    ret->where = MLC_WEB_BAD;
    if (!is_host(rest, host_len) || !is_path_safe(path, path_len))
        return 0;
    /* Nothing lies below a fragment. */
    if (!ret->is_single && strchr(fragment, '/'))
        return 0;
    while (last > path && last[-1] != '/')
        last--;
    mlc_buf_init(&b, MAX_URL);
    r = mlc_buf_puts(&b, scheme);
    if (r == 0)
        r = mlc_buf_append(&b, rest, host_len);
    if (r == 0 && path_len == 0)
        r = mlc_buf_puts(&b, "/");
    if (r == 0)
        r = append_encoded(&b, path, path_len, false);
    if (r == 0)
        r = append_encoded(&b, query, query_len, true);
    if (r == 0) {
        ret->url = mlc_buf_take(&b, NULL);
        ret->has_ext = has_ext(last, (size_t)(path + path_len - last));
        ret->is_gz = is_gz(last, (size_t)(path + path_len - last));
        ret->where = MLC_WEB_URL;
    }
    mlc_buf_done(&b);
    return r == -ENOMEM ? r : 0;
}

/* --- names ----------------------------------------------------------- */

/* Does p begin with what 'text' says, percent-encoded or not, in any case?
 * Then what follows it, else NULL. */
static const char *
skip_encoded(const char *p, const char *text)
{
    for (; *text; text++) {
        int c = escaped(p);

        if ((c >= 0 ? c : tolower((unsigned char)*p)) != *text)
            return NULL;
        p += c >= 0 ? 3 : 1;
    }
    return p;
}

/* NULL: no memory, or (*ret_bad) no text. */
static char *
decode(const char *p, bool *ret_bad)
{
    char *text = malloc(strlen(p) + 1);
    size_t n = 0;

    *ret_bad = false;
    if (!text)
        return NULL;
    while (*p) {
        int c = escaped(p);

        text[n++] = c >= 0 ? (char)c : *p;
        *ret_bad |= c == 0;
        p += c >= 0 ? 3 : 1;
    }
    text[n] = '\0';
    return text;
}

static int
parse_single(const char *scheme, const char *rest, struct mlc_web_name *ret)
{
    mlc_autofree char *text = NULL;
    bool is_bad;

    ret->where = MLC_WEB_BAD;
    if (strchr(rest, '/')) /* it is a file */
        return 0;
    text = decode(rest, &is_bad);
    if (!text)
        return -ENOMEM;
    ret->is_single = true;
    return is_bad ? 0 : parse_rest(scheme, text, ret);
}

int
mlc_web_name_parse(const char *path, struct mlc_web_name *ret)
{
    static const char *const schemes[] = {"http://", "https://"};

    memset(ret, 0, sizeof(*ret));
    ret->where = MLC_WEB_LOCAL;
    if (!*path) {
        ret->where = MLC_WEB_ROOT;
        return 0;
    }
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]) - 2; /* with its colon */
        const char *rest;

        if (strncmp(path, schemes[i], len) == 0 && !path[len]) {
            ret->where = MLC_WEB_SCHEME;
            return 0;
        }
        if (strncmp(path, schemes[i], len + 1) == 0) {
            rest = path + len + 1;
            if (strchr(rest, '/'))
                return parse_rest(schemes[i], rest, ret);
            ret->where =
                is_host(rest, strlen(rest)) ? MLC_WEB_HOST : MLC_WEB_BAD;
            return 0;
        }
        rest = skip_encoded(path, schemes[i]);
        if (rest)
            return parse_single(schemes[i], rest, ret);
    }
    return 0;
}

void
mlc_web_name_done(struct mlc_web_name *name)
{
    free(name->url);
    memset(name, 0, sizeof(*name));
}

/* --- what is sent ---------------------------------------------------- */

char *
mlc_web_add_token(const char *url, const char *token)
{
    const char *query = strchr(url, '?');
    bool has_token = false;
    bool is_first = true;
    struct mlc_buf b;
    char *text;
    int r;

    if (!token || !*token || strncasecmp(url, CIVITAI, strlen(CIVITAI)) != 0 ||
        !strchr("/?", url[strlen(CIVITAI)]))
        return strdup(url);
    mlc_buf_init(&b, MAX_URL);
    r = mlc_buf_append(&b, url, query ? (size_t)(query - url) : strlen(url));
    for (const char *p = query ? query + 1 : ""; *p && r == 0;) {
        size_t len = strcspn(p, "&");
        const char *eq = memchr(p, '=', len);

        /* Parameters without a value go, as in dgenerate. */
        if (eq && eq + 1 < p + len) {
            has_token |= strncmp(p, "token=", 6) == 0;
            r = mlc_buf_puts(&b, is_first ? "?" : "&");
            if (r == 0)
                r = mlc_buf_append(&b, p, len);
            is_first = false;
        }
        p += len + (p[len] == '&');
    }
    if (r == 0 && !has_token) {
        r = mlc_buf_puts(&b, is_first ? "?token=" : "&token=");
        for (const char *p = token; *p && r == 0; p++)
            r = IS_DIGIT(*p) || IS_LETTER(*p) || strchr("-._~", *p)
                    ? mlc_buf_append(&b, p, 1)
                    : mlc_buf_printf(&b, "%%%02X", (unsigned char)*p);
    }
    text = r == 0 ? mlc_buf_take(&b, NULL) : NULL;
    mlc_buf_done(&b);
    return text;
}

/* --- who writes it otherwise ----------------------------------------- */

/* A parameter's name or value in one of the ways in which it may be encoded. */
static int
append_parameter(struct mlc_buf *b, const char *p, size_t len)
{
    mlc_autofree char *text = strndup(p, len);
    mlc_autofree char *plain = NULL;
    mlc_autofree char *encoded = NULL;
    bool is_bad;

    if (!text)
        return -ENOMEM;
    for (char *c = text; *c; c++)
        if (*c == '+')
            *c = ' ';
    plain = decode(text, &is_bad);
    if (plain && is_bad)
        return mlc_buf_append(b, p, len);
    encoded = plain ? mlc_url_encode(plain, false) : NULL;
    return encoded ? mlc_buf_puts(b, encoded) : -ENOMEM;
}

static int
append_civitai_query(struct mlc_buf *b, const char *query)
{
    char mark = '?';
    int r = 0;

    for (const char *p = query; *p && r == 0;) {
        size_t len = strcspn(p, "&");
        const char *eq = memchr(p, '=', len);

        if (eq && eq + 1 < p + len && strncmp(p, "token=", 6) != 0) {
            r = mlc_buf_append(b, &mark, 1);
            if (r == 0)
                r = append_parameter(b, p, (size_t)(eq - p));
            if (r == 0)
                r = mlc_buf_puts(b, "=");
            if (r == 0)
                r = append_parameter(b, eq + 1, (size_t)(p + len - eq - 1));
            mark = '&';
        }
        p += len + (p[len] == '&');
    }
    return r;
}

/* HOST[:PORT] in [p, p + len), of the scheme before it. */
static int
append_host(struct mlc_buf *b, const char *p, size_t len, bool is_https)
{
    const char *own = is_https ? ":443" : ":80";
    size_t own_len = strlen(own);
    int r = 0;

    if (len > own_len && memcmp(p + len - own_len, own, own_len) == 0)
        len -= own_len;
    for (size_t i = 0; i < len && r == 0; i++) {
        char c = (char)tolower((unsigned char)p[i]);

        r = mlc_buf_append(b, &c, 1);
    }
    return r;
}

/* Where dgenerate adds its token: not only to what is the API's. */
static bool
is_civitai(const char *url)
{
    static const char *const starts[] = {CIVITAI, CIVITAI_HTTP};

    for (size_t i = 0; i < 2; i++) {
        if (strncmp(url, starts[i], strlen(starts[i])) == 0)
            return true;
    }
    return false;
}

int
mlc_web_same_url(const char *url, char **ret)
{
    struct mlc_web_name name = {.is_single = true};
    bool is_https = strncmp(url, "https://", 8) == 0;
    const char *scheme = is_https ? "https://" : "http://";
    const char *host, *query;
    struct mlc_buf b;
    size_t host_len;
    int r;

    if (strncmp(url, scheme, strlen(scheme)) != 0)
        return -EINVAL;
    r = parse_rest(scheme, url + strlen(scheme), &name);
    if (r < 0 || !name.url)
        return r < 0 ? r : -EINVAL;
    host = name.url + strlen(scheme);
    host_len = strcspn(host, "/?");
    mlc_buf_init(&b, MAX_URL);
    r = mlc_buf_puts(&b, scheme);
    if (r == 0)
        r = append_host(&b, host, host_len, is_https);
    if (r == 0)
        r = mlc_buf_puts(&b, host + host_len);
    query = r == 0 && is_civitai(b.data) ? strchr(b.data, '?') : NULL;
    if (query) {
        mlc_autofree char *text = strdup(query + 1);

        b.len = (size_t)(query - b.data);
        b.data[b.len] = '\0';
        r = text ? append_civitai_query(&b, text) : -ENOMEM;
        if (text)
            explicit_bzero(text, strlen(text));
    }
    if (r == 0)
        *ret = mlc_buf_take(&b, NULL);
    mlc_buf_done(&b);
    mlc_web_name_done(&name);
    return r == -EFBIG ? -EINVAL : r;
}
