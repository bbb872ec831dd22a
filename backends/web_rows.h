/* SPDX-License-Identifier: MIT */
/* The rows of dgenerate's web/cache.db, from the bytes of that file.
 *
 * It is a SQLite database with store(key TEXT, value TEXT, creation_date): the
 * key is a URL as it was given (of civitai.com's download API with a token, so
 * keys are shown to nobody), the value JSON that names the file and its type,
 * the date local time without a zone.  Other keys (of pointers to downloads)
 * are skipped, and so is every row that is not of this form.
 */
#ifndef MLC_WEB_ROWS_H
#define MLC_WEB_ROWS_H

#include <stddef.h>
#include <stdint.h>

#define MLC_WEB_MAX_DB ((size_t)16 << 20) /* bytes of the file */
#define MLC_WEB_MAX_ROWS                                                       \
    ((size_t)8 << 20) /* bytes that rows take in memory                        \
                       */

struct mlc_web_row {
    char *url;       /* as mlc_web_same_url() writes it */
    char *name;      /* of the file in web/: one component */
    char *type;      /* its Content-Type; NULL: not told */
    int64_t date_us; /* real time at which dgenerate had it whole */
};

struct mlc_web_rows {
    struct mlc_web_row *items; /* sorted by url, one each: the latest */
    size_t n;
};

/* data: changed while it is read.  0; -EBADMSG: no such database; -EFBIG: more
 * than MLC_WEB_MAX_DB or MLC_WEB_MAX_ROWS; -ENOMEM.  *ret is empty unless 0. */
int mlc_web_rows_read(unsigned char *data, size_t len,
                      struct mlc_web_rows *ret);
void mlc_web_rows_done(struct mlc_web_rows *rows);
void mlc_web_row_done(struct mlc_web_row *row);
/* The first row whose url is not before 'url'. */
size_t mlc_web_rows_bound(const struct mlc_web_rows *rows, const char *url);
/* "YYYY-MM-DD HH:MM:SS[.ffffff]", local time; of the two moments that it may
 * mean when clocks are set back, the earlier one.  0 or -EINVAL. */
int mlc_web_parse_date(const char *text, int64_t *ret_us);

#endif
