/* SPDX-License-Identifier: MIT */
/* SQLite is given the bytes in memory, so that it neither locks nor opens nor
 * rolls back anything; what it may do with bytes that mean harm is limited in
 * time, and to tables alone. */
#include "config.h"

#include "backends/web_rows.h"

#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/json.h"
#include "backends/util/path.h"
#include "backends/web_url.h"

#define HEADER_BYTES 100 /* of a database; without them there is none */
#define MAX_TEXT     (64 * 1024)
#define MAX_TYPE     1024
#define MAX_MS       1000
#define OPS_A_LOOK   10000
/* What lies in web/ under these names is no file of the web. */
#define DB_NAME "cache.db"

MLC_DEFINE_CLEANUP(db, sqlite3 *, sqlite3_close);
MLC_DEFINE_CLEANUP(stmt, sqlite3_stmt *, sqlite3_finalize);
MLC_DEFINE_CLEANUP(json, json_t *, json_decref);

#define autodb   __attribute__((cleanup(mlc_cleanup_db)))
#define autostmt __attribute__((cleanup(mlc_cleanup_stmt)))
#define autojson __attribute__((cleanup(mlc_cleanup_json)))

void
mlc_web_row_done(struct mlc_web_row *row)
{
    free(row->url);
    free(row->name);
    free(row->type);
    memset(row, 0, sizeof(*row));
}

void
mlc_web_rows_done(struct mlc_web_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        mlc_web_row_done(&rows->items[i]);
    free(rows->items);
    memset(rows, 0, sizeof(*rows));
}

size_t
mlc_web_rows_bound(const struct mlc_web_rows *rows, const char *url)
{
    size_t from = 0, to = rows->n;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (strcmp(rows->items[mid].url, url) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

/* --- dates ----------------------------------------------------------- */

/* 'n' digits at *p, which moves behind them; -1. */
static int
take_digits(const char **p, unsigned n)
{
    int value = 0;

    for (; n > 0; n--, (*p)++) {
        if (!isdigit((unsigned char)**p))
            return -1;
        value = value * 10 + (**p - '0');
    }
    return value;
}

static bool
take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* Has the clock on the wall shown the same at that moment? */
static bool
is_same_wall(const struct tm *tm, time_t t)
{
    struct tm other;

    return localtime_r(&t, &other) && other.tm_sec == tm->tm_sec &&
           other.tm_min == tm->tm_min && other.tm_hour == tm->tm_hour &&
           other.tm_mday == tm->tm_mday && other.tm_mon == tm->tm_mon &&
           other.tm_year == tm->tm_year;
}

int
mlc_web_parse_date(const char *text, int64_t *ret_us)
{
    const char *p = text;
    int year, month, day, hour, min, sec;
    struct tm tm = {0};
    int fraction = 0;
    time_t t;

    year = take_digits(&p, 4);
    month = take_char(&p, '-') ? take_digits(&p, 2) : -1;
    day = month > 0 && take_char(&p, '-') ? take_digits(&p, 2) : -1;
    hour = day > 0 && take_char(&p, ' ') ? take_digits(&p, 2) : -1;
    min = hour >= 0 && take_char(&p, ':') ? take_digits(&p, 2) : -1;
    sec = min >= 0 && take_char(&p, ':') ? take_digits(&p, 2) : -1;
    if (sec >= 0 && take_char(&p, '.'))
        fraction = take_digits(&p, 6);
    if (year < 1 || month > 12 || day > 31 || hour > 23 || min > 59 ||
        sec < 0 || sec > 59 || fraction < 0 || *p)
        return -EINVAL;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    tm.tm_hour = hour;
    tm.tm_min = min;
    tm.tm_sec = sec;
    tm.tm_isdst = -1;
    t = mktime(&tm);
    if (is_same_wall(&tm, t - 3600))
        t -= 3600;
    *ret_us = (int64_t)t * 1000000 + fraction;
    return 0;
}

/* --- rows ------------------------------------------------------------ */

/* NULL: not a text, or one that is too long or holds a NUL. */
static const char *
text_column(sqlite3_stmt *stmt, int i)
{
    const char *text;
    int len;

    if (sqlite3_column_type(stmt, i) != SQLITE_TEXT)
        return NULL;
    text = (const char *)sqlite3_column_text(stmt, i);
    len = sqlite3_column_bytes(stmt, i);
    return text && len <= MAX_TEXT && strlen(text) == (size_t)len ? text : NULL;
}

/* Paths are spelled as DGENERATE_CACHE was: only the name counts. */
static bool
is_file_name(const char *name)
{
    return mlc_name_is_safe(name) && name[0] != '.' &&
           strncmp(name, DB_NAME, strlen(DB_NAME)) != 0;
}

/* -EINVAL: no row of ours. */
static int
read_value(const char *value, struct mlc_web_row *ret)
{
    autojson json_t *root = NULL;
    const char *path, *type;
    int r;

    r = mlc_json_parse(value, strlen(value), &root, NULL);
    if (r < 0)
        return r == -ENOMEM ? r : -EINVAL;
    if (mlc_json_str(root, "path", &path) < 0 ||
        !is_file_name(mlc_path_base(path)))
        return -EINVAL;
    ret->name = strdup(mlc_path_base(path));
    if (!ret->name)
        return -ENOMEM;
    if (mlc_json_str(json_object_get(root, "metadata"), "mime-type", &type) <
            0 ||
        strcmp(type, "unknown") == 0 || !*type || strlen(type) > MAX_TYPE ||
        strpbrk(type, "\r\n"))
        return 0;
    ret->type = strdup(type);
    return ret->type ? 0 : -ENOMEM;
}

static int
read_row(sqlite3_stmt *stmt, struct mlc_web_row *ret)
{
    const char *key = text_column(stmt, 0);
    const char *value = text_column(stmt, 1);
    const char *date = text_column(stmt, 2);
    int r;

    memset(ret, 0, sizeof(*ret));
    if (!key || !value || !date)
        return -EINVAL;
    r = mlc_web_parse_date(date, &ret->date_us);
    if (r == 0)
        r = mlc_web_same_url(key, &ret->url);
    if (r == 0)
        r = read_value(value, ret);
    if (r < 0)
        mlc_web_row_done(ret);
    return r;
}

static size_t
bytes_of(const struct mlc_web_row *row)
{
    return sizeof(*row) + strlen(row->url) + strlen(row->name) +
           (row->type ? strlen(row->type) : 0);
}

/* By URL, the latest of one first. */
static int
compare_rows(const void *a, const void *b)
{
    const struct mlc_web_row *x = a, *y = b;
    int r = strcmp(x->url, y->url);

    return r ? r : (x->date_us < y->date_us) - (x->date_us > y->date_us);
}

static void
sort_rows(struct mlc_web_rows *rows)
{
    size_t n = 0;

    if (rows->n == 0)
        return;
    qsort(rows->items, rows->n, sizeof(*rows->items), compare_rows);
    for (size_t i = 0; i < rows->n; i++) {
        if (n > 0 && strcmp(rows->items[n - 1].url, rows->items[i].url) == 0)
            mlc_web_row_done(&rows->items[i]);
        else
            rows->items[n++] = rows->items[i];
    }
    rows->n = n;
}

static int
add_row(struct mlc_web_rows *rows, size_t *cap, struct mlc_web_row *row)
{
    if (rows->n == *cap) {
        size_t grown = *cap ? *cap * 2 : 64;
        struct mlc_web_row *items =
            reallocarray(rows->items, grown, sizeof(*items));

        if (!items)
            return -ENOMEM;
        rows->items = items;
        *cap = grown;
    }
    rows->items[rows->n++] = *row;
    return 0;
}

static int
errno_of(int code)
{
    return code == SQLITE_NOMEM ? -ENOMEM : -EBADMSG;
}

static int
read_rows(sqlite3_stmt *stmt, struct mlc_web_rows *ret)
{
    size_t cap = 0, bytes = 0;
    struct mlc_web_row row;
    int code, r = 0;

    while (r == 0 && (code = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (code != SQLITE_ROW)
            return errno_of(code);
        r = read_row(stmt, &row);
        if (r == -EINVAL) {
            r = 0;
            continue;
        }
        if (r < 0)
            break;
        bytes += bytes_of(&row);
        r = bytes > MLC_WEB_MAX_ROWS ? -EFBIG : add_row(ret, &cap, &row);
        if (r < 0)
            mlc_web_row_done(&row);
    }
    return r;
}

/* --- the database ---------------------------------------------------- */

static int
is_late(void *arg)
{
    const int64_t *until = arg;

    return mlc_mono_ms() > *until;
}

static void
limit(sqlite3 *db, int64_t *until)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, (int)MLC_WEB_MAX_DB);
    sqlite3_progress_handler(db, OPS_A_LOOK, is_late, until);
}

int
mlc_web_rows_read(unsigned char *data, size_t len, struct mlc_web_rows *ret)
{
    int64_t until = mlc_mono_ms() + MAX_MS;
    autodb sqlite3 *db = NULL;
    autostmt sqlite3_stmt *stmt = NULL;
    int r;

    memset(ret, 0, sizeof(*ret));
    if (len < HEADER_BYTES)
        return -EBADMSG;
    if (len > MLC_WEB_MAX_DB)
        return -EFBIG;
    r = sqlite3_open_v2(":memory:", &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (r != SQLITE_OK)
        return errno_of(r);
    limit(db, &until);
    r = sqlite3_deserialize(db, "main", data, (sqlite3_int64)len,
                            (sqlite3_int64)len, SQLITE_DESERIALIZE_READONLY);
    if (r == SQLITE_OK)
        r = sqlite3_prepare_v2(db,
                               "SELECT key, value, creation_date FROM store "
                               "WHERE key >= 'http' AND key < 'httq'",
                               -1, &stmt, NULL);
    if (r != SQLITE_OK)
        return errno_of(r);
    r = read_rows(stmt, ret);
    if (r < 0)
        mlc_web_rows_done(ret);
    else
        sort_rows(ret);
    return r;
}
