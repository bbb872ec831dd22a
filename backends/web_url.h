/* SPDX-License-Identifier: MIT */
/* Names in web/ and the URLs that they stand for.
 *
 *   https:/HOST[:PORT]/PATH[?QUERY]   a pasted URL, whose "//" the kernel folds
 *   https%3A%2F%2FHOST%2FPATH...      a whole URL, percent-encoded, as one name
 *
 * http likewise.  Names are the URL's own bytes: what a URL may not hold is
 * percent-encoded when it is sent, %XX is left as it is, and what follows a '#'
 * is not sent.  All other first components are plain local names (what
 * dgenerate keeps in its web/ among them).
 */
#ifndef MLC_WEB_URL_H
#define MLC_WEB_URL_H

#include <stdbool.h>

enum mlc_web_where {
    MLC_WEB_ROOT,
    MLC_WEB_LOCAL,  /* not of the web */
    MLC_WEB_BAD,    /* looks like a URL and can't be one */
    MLC_WEB_SCHEME, /* "http:", "https:" */
    MLC_WEB_HOST,   /* and a host below */
    MLC_WEB_URL,
};

struct mlc_web_name {
    enum mlc_web_where where;
    /* URL: */
    char *url;      /* fit for the wire */
    bool is_single; /* one percent-encoded name: always a file */
    bool has_ext;   /* a dot, a letter, up to 7 letters or digits at the end of
                       the path */
    bool is_gz;     /* named as a compressed file */
};

/* 0 or -ENOMEM. */
int mlc_web_name_parse(const char *path, struct mlc_web_name *ret);
void mlc_web_name_done(struct mlc_web_name *name);
/* The URL with CivitAI's token, as dgenerate builds it (facts: spacy 9.1), if
 * it is of civitai.com's download API; else a copy.  Caller frees; NULL: no
 * memory. */
char *mlc_web_add_token(const char *url, const char *token);
/* How a URL is written here so that others may write it otherwise and mean the
 * same: fit for the wire, its host in lower case and without the scheme's own
 * port; of civitai.com's download API parameters are encoded alike, and those
 * without a value and any token are left out.  0, -EINVAL for what is no http
 * or https URL, -ENOMEM.  Caller frees *ret. */
int mlc_web_same_url(const char *url, char **ret);

#endif
