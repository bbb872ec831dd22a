/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/http.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

#include "backends/util/cleanup.h"
#include "backends/util/parse.h"

#define MAX_RETRY_AFTER_MS ((int64_t)24 * 3600 * 1000)

/* --- URLs ----------------------------------------------------------------- */

static CURLU *
url_parse(const char *url)
{
    CURLU *u = curl_url();

    if (u && curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK) {
        curl_url_cleanup(u);
        return NULL;
    }
    return u;
}

/* CURLU lower-cases schemes, not hosts.  0, -EPROTO, -ENOMEM. */
static int
url_origin(CURLU *u, char **ret)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    int r = -EPROTO;

    if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) ==
            CURLUE_OK &&
        (!strcmp(scheme, "http") || !strcmp(scheme, "https"))) {
        for (char *c = host; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        r = 0;
        if (asprintf(ret, "%s://%s:%s", scheme, host, port) < 0) {
            *ret = NULL;
            r = -ENOMEM;
        }
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return r;
}

char *
mlc_url_origin(const char *url)
{
    CURLU *u = url_parse(url);
    char *origin = NULL;

    if (u && url_origin(u, &origin) < 0)
        origin = NULL;
    curl_url_cleanup(u);
    return origin;
}

bool
mlc_url_same_origin(const char *a, const char *b)
{
    mlc_autofree char *oa = mlc_url_origin(a);
    mlc_autofree char *ob = mlc_url_origin(b);

    return oa && ob && !strcmp(oa, ob);
}

/* The path of an absolute URL. */
static const char *
url_path(const char *url, size_t *ret_len)
{
    const char *p = strstr(url, "://");

    p = p ? p + 3 : url;
    p += strcspn(p, "/?#");
    *ret_len = strcspn(p, "?#");
    return p;
}

bool
mlc_url_is_slashed(const char *url, const char *of)
{
    size_t len, of_len;
    const char *path = url_path(url, &len);
    const char *of_path = url_path(of, &of_len);

    return len == of_len + 1 && path[of_len] == '/' &&
           memcmp(path, of_path, of_len) == 0;
}

int
mlc_url_resolve(const char *base, const char *location, char **ret)
{
    CURLU *u = url_parse(base);
    mlc_autofree char *origin = NULL;
    char *url = NULL;
    int r = -EPROTO;

    if (u && curl_url_set(u, CURLUPART_URL, location, CURLU_URLENCODE) ==
                 CURLUE_OK) {
        r = url_origin(u, &origin);
        if (r == 0 && curl_url_get(u, CURLUPART_URL, &url, 0) != CURLUE_OK)
            r = -EPROTO;
        if (r == 0) {
            char *copy = strdup(url);

            r = copy ? 0 : -ENOMEM;
            if (copy)
                *ret = copy;
        }
    }
    curl_free(url);
    curl_url_cleanup(u);
    return r;
}

/* --- headers -------------------------------------------------------------- */

const char *
mlc_headers_find(const char *block, const char *name)
{
    const char *found = NULL;
    size_t len = strlen(name);

    for (const char *p = block; p && *p; p += strlen(p) + 1) {
        if (strncasecmp(p, name, len) != 0 || p[len] != ':')
            continue;
        found = p + len + 1;
        found += strspn(found, " \t");
    }
    return found;
}

int64_t
mlc_headers_retry_after(const char *head)
{
    const char *limit = mlc_headers_find(head, "RateLimit");
    const char *after = mlc_headers_find(head, "Retry-After");
    const char *date = mlc_headers_find(head, "Date");
    const char *r = limit ? strstr(limit, ";r=") : NULL;
    const char *t = limit ? strstr(limit, ";t=") : NULL;
    uint64_t seconds;
    time_t then, now;
    int64_t ms = -1;

    if (r && t && !strncmp(r, ";r=0", 4) && !isdigit((unsigned char)r[4]) &&
        isdigit((unsigned char)t[3])) {
        long long n = strtoll(t + 3, NULL, 10);

        if (n < MAX_RETRY_AFTER_MS)
            ms = (n + 1) * 1000;
    } else if (after && mlc_parse_u64(after, 0, (uint64_t)MAX_RETRY_AFTER_MS,
                                      &seconds) == 0) {
        ms = (int64_t)seconds * 1000;
    } else if (after && (then = curl_getdate(after, NULL)) != (time_t)-1) {
        now = date ? curl_getdate(date, NULL) : (time_t)-1;
        if (now == (time_t)-1)
            now = time(NULL);
        ms = then > now ? ((int64_t)then - (int64_t)now) * 1000 : 0;
    }
    return ms < MAX_RETRY_AFTER_MS ? ms : MAX_RETRY_AFTER_MS;
}
