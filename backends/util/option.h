/* SPDX-License-Identifier: MIT */
/* Options as tables: one row gives an option's name, type, default,
 * environment variable and help.  The command line, --help and the manual's
 * drift test all read the same rows. */
#ifndef MLC_UTIL_OPTION_H
#define MLC_UTIL_OPTION_H

#include <stdbool.h>
#include <stdint.h>

enum mlc_option_type {
    MLC_OPT_FLAG,   /* no value (env, deflt: parse.h, mlc_parse_truthy) */
    MLC_OPT_STRING, /* any text */
    MLC_OPT_URL,    /* http:// or https:// */
    MLC_OPT_TIME,   /* parse.h, mlc_parse_time */
    MLC_OPT_SIZE,   /* parse.h, mlc_parse_size */
    MLC_OPT_COUNT,  /* a whole number from 1 to 1024 */
    MLC_OPT_OCTAL,  /* a file mode mask, octal, up to 7777 */
    MLC_OPT_ID,     /* a numeric user or group id */
    MLC_OPT_CHOICE, /* one of the words in 'arg', separated by '|' */
};

struct mlc_option {
    const char *name; /* NULL ends a table */
    enum mlc_option_type type;
    const char *arg;   /* shown after '=' in --help; the choices */
    const char *env;   /* variable that gives the default; NULL: none */
    const char *deflt; /* default as text; NULL: unset */
    const char *help;  /* one line; NULL: not shown (test-only) */
};

struct mlc_options; /* the values: immutable once parsed */

struct mlc_options *mlc_options_new(void);
void mlc_options_free(struct mlc_options *o);
/* Adds a table (borrowed for the life of o), all of it or, on failure, nothing.
 * -EEXIST: a name stands twice.  Or -ENOMEM. */
int mlc_options_add_table(struct mlc_options *o, const struct mlc_option *t);
/* Sets name to value as the user gave it (value NULL for a flag).  -ENOENT:
 * no such option; -EINVAL: *ret_err says why (caller frees; NULL if memory ran
 * out), and what was set before stays.  Or -ENOMEM.  Set twice: the last one
 * wins. */
int mlc_options_set(struct mlc_options *o, const char *name, const char *value,
                    char **ret_err);
/* Applies environment and defaults to what was not set, and checks them too.
 * Call once, after all mlc_options_set().  A variable counts when it is set and
 * not empty; for TIME, where empty means never, when it is set.  Errors as
 * above. */
int mlc_options_finish(struct mlc_options *o, char **ret_err);

/* Was it set on the command line? */
bool mlc_opt_is_given(const struct mlc_options *o, const char *name);
/* The value's text ("" for a flag that is on); NULL when unset, or when there
 * is no such option.  Borrowed. */
const char *mlc_opt_str(const struct mlc_options *o, const char *name);
/* Of the matching type; 0/false when unset or of another type.  number: COUNT,
 * OCTAL, ID. */
bool mlc_opt_flag(const struct mlc_options *o, const char *name);
int64_t mlc_opt_time_ms(const struct mlc_options *o, const char *name);
uint64_t mlc_opt_size(const struct mlc_options *o, const char *name);
uint64_t mlc_opt_number(const struct mlc_options *o, const char *name);
/* Calls fn for every row of every table, in order. */
void mlc_options_each(const struct mlc_options *o,
                      void (*fn)(const struct mlc_option *row, void *arg),
                      void *arg);

#endif
