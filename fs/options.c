/* SPDX-License-Identifier: MIT */
/* The command line. Tables are in option.h's form; this file has the core's
 * own and turns argv into settings. */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"

#define HELP_COLUMN 24
#define HELP_WIDTH  79

const struct mlc_option mlc_core_options[] = {
    {"store", MLC_OPT_STRING, "DIR", NULL, NULL, NULL},
    {"fetch", MLC_OPT_CHOICE, "whole|demand", NULL, "whole",
     "complete an opened file in the background, or fetch only what is read"},
    {"connections", MLC_OPT_COUNT, "N", NULL, "16",
     "parallel connections for one file at the most"},
    {"max_size", MLC_OPT_SIZE, "SIZE", NULL, NULL,
     "bytes that fetched files may take; the least recently opened go first"},
    {"offline", MLC_OPT_FLAG, NULL, NULL, NULL,
     "never use the network: what is not cached does not exist"},
    {"only", MLC_OPT_STRING, "DOMAIN", NULL, NULL,
     "mount that one domain as the root"},
    {"timeout", MLC_OPT_TIME, "TIME", NULL, "seconds=60",
     "give up on a file after so long without a byte"},
    {"memory", MLC_OPT_SIZE, "SIZE", NULL, "256M",
     "memory for the buffers of all transfers"},
    {"ro", MLC_OPT_FLAG, NULL, NULL, NULL, "read-only"},
    {"allow_other", MLC_OPT_FLAG, NULL, NULL, NULL,
     "let other users in (files that they create are theirs where the daemon "
     "is root)"},
    {"uid", MLC_OPT_ID, "N", NULL, NULL, "show all files as owned by user N"},
    {"gid", MLC_OPT_ID, "N", NULL, NULL, "show all files as owned by group N"},
    {"umask", MLC_OPT_OCTAL, "M", NULL, NULL,
     "show all files with the permissions that M leaves"},
    /* For tests. */
    {"ready_fd", MLC_OPT_ID, "N", NULL, NULL, NULL},
    {"clock_file", MLC_OPT_STRING, "FILE", NULL, NULL, NULL},
    {NULL, MLC_OPT_FLAG, NULL, NULL, NULL, NULL},
};

/* Generic mount options that mount(8) and fstab pass on and that mean nothing
 * to a FUSE file system; libfuse would refuse some of them. */
static const char *const ignored[] = {
    "auto",       "noauto",   "defaults",   "user",       "users",
    "nouser",     "owner",    "group",      "nofail",     "_netdev",
    "nolock",     "rw",       "relatime",   "norelatime", "strictatime",
    "diratime",   "lazytime", "nodiratime", "nolazytime", "nostrictatime",
    "iversion",   "mand",     "noiversion", "nomand",     "silent",
    "nobootwait", "loud",     NULL};

/* Those that libfuse and the kernel understand. */
static const char *const passed_on[] = {
    "suid",    "nosuid",       "dev",        "nodev", "exec",
    "noexec",  "atime",        "noatime",    "sync",  "async",
    "dirsync", "auto_unmount", "allow_root", NULL};

static const char *const passed_on_with_value[] = {
    "fsname=",     "subtype=",     "context=", "fscontext=",
    "defcontext=", "rootcontext=", NULL};

static bool
is_in(const char *const *list, const char *name)
{
    for (size_t i = 0; list[i]; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

static bool
begins_with_one(const char *const *list, const char *item)
{
    for (size_t i = 0; list[i]; i++)
        if (strncmp(item, list[i], strlen(list[i])) == 0)
            return true;
    return false;
}

static int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int
complain(const char *fmt, ...)
{
    va_list ap;

    fputs("mlcachefs: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\n", stderr);
    return -EINVAL;
}

static int
set_one(struct mlc_options *options, char *item, struct mlc_buf *fuse_opts)
{
    mlc_autofree char *err = NULL;
    char *value = strchr(item, '=');
    int r;

    if (!item[0])
        return 0;
    if (is_in(ignored, item) || strncmp(item, "x-", 2) == 0 ||
        strncmp(item, "comment=", 8) == 0)
        return 0;
    if (is_in(passed_on, item) || begins_with_one(passed_on_with_value, item)) {
        r = fuse_opts->len ? mlc_buf_puts(fuse_opts, ",") : 0;
        for (const char *p = item; r == 0 && *p; p++)
            r = mlc_buf_printf(fuse_opts, "%s%c", strchr(",\\", *p) ? "\\" : "",
                               *p);
        return r < 0 ? complain("out of memory, or too many options") : 0;
    }
    if (value)
        *value++ = '\0';
    r = strcmp(item, "store") == 0
            ? -ENOENT
            : mlc_options_set(options, item, value, &err);
    if (r == -ENOENT)
        return complain("unknown option '%s' (mlcachefs --help lists them)",
                        item);
    if (r < 0)
        return complain("%s", err ? err : "out of memory");
    return 0;
}

/* "a,b=c;d": a backslash keeps a comma, as in mount(8). */
static int
set_list(struct mlc_options *options, const char *list,
         struct mlc_buf *fuse_opts)
{
    mlc_autofree char *item = malloc(strlen(list) + 1);
    size_t len = 0;

    if (!item)
        return complain("out of memory");
    for (const char *p = list;; p++) {
        if (p[0] == '\\' && p[1]) {
            item[len++] = *++p;
        } else if (p[0] == ',' || p[0] == '\0') {
            int r;

            item[len] = '\0';
            r = set_one(options, item, fuse_opts);
            if (r < 0)
                return r;
            len = 0;
            if (!p[0])
                return 0;
        } else {
            item[len++] = p[0];
        }
    }
}

static char *
make_absolute(const char *path)
{
    mlc_autofree char *cwd = NULL;
    char *abs = NULL;

    if (path[0] == '/')
        return strdup(path);
    cwd = getcwd(NULL, 0);
    if (!cwd || asprintf(&abs, "%s/%s", cwd, path) < 0)
        return NULL;
    return abs;
}

static int
set_positional(struct mlc_options *options, char *const *args, int n,
               struct mlc_args *ret)
{
    mlc_autofree char *store = NULL, *err = NULL;

    if (n == 0)
        return complain("no MOUNTPOINT given; usage: mlcachefs [STORE] "
                        "MOUNTPOINT [-o OPTION,...]");
    if (n > 2)
        return complain("too many arguments: '%s'", args[2]);
    if (n == 2) {
        if (!args[0][0])
            return complain("STORE is empty");
        store = make_absolute(args[0]);
        if (!store || mlc_options_set(options, "store", store, &err) < 0)
            return complain("%s", err ? err : "out of memory");
    }
    if (!args[n - 1][0])
        return complain("MOUNTPOINT is empty");
    ret->mountpoint = make_absolute(args[n - 1]);
    return ret->mountpoint ? 0 : complain("out of memory");
}

/* What a row's type alone does not tell. */
static int
check_values(const struct mlc_options *o)
{
    const char *only = mlc_opt_str(o, "only");
    size_t i = 0;

    if (mlc_opt_time_ms(o, "timeout") < MLC_MIN_TIMEOUT_MS)
        return complain("timeout=%s: expected a second at least",
                        mlc_opt_str(o, "timeout"));
    if (mlc_opt_size(o, "memory") < MLC_MIN_MEMORY)
        return complain("memory=%s: expected 8M at least",
                        mlc_opt_str(o, "memory"));
    while (only && mlc_backends[i] && strcmp(mlc_backends[i]->name, only) != 0)
        i++;
    if (only && !mlc_backends[i])
        return complain("only=%s: no such domain (mlcachefs --help lists them)",
                        only);
    return 0;
}

int
mlc_args_parse(int argc, char **argv, struct mlc_options *options,
               struct mlc_args *ret)
{
    mlc_autofree char *err = NULL;
    struct mlc_buf fuse_opts;
    char *positional[3] = {0};
    bool no_more_options = false;
    int n = 0, r = 0;

    memset(ret, 0, sizeof(*ret));
    mlc_buf_init(&fuse_opts, 4096);
    /* Options may stand before, between or after the arguments, as mount(8)
     * puts them last. */
    for (int i = 1; i < argc && r == 0; i++) {
        const char *a = argv[i];

        if (no_more_options || a[0] != '-' || !a[1]) {
            if (n < 3)
                positional[n] = argv[i];
            n++;
        } else if (strcmp(a, "--") == 0) {
            no_more_options = true;
        } else if (strcmp(a, "-f") == 0) {
            ret->is_foreground = true;
        } else if (strcmp(a, "-d") == 0) {
            ret->is_foreground = ret->is_debug = true;
        } else if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) {
            ret->is_help = true;
        } else if (strcmp(a, "-V") == 0 || strcmp(a, "--version") == 0) {
            ret->is_version = true;
        } else if (strncmp(a, "-o", 2) == 0) {
            const char *list = a[2] ? a + 2 : i + 1 < argc ? argv[++i] : NULL;

            r = list ? set_list(options, list, &fuse_opts)
                     : complain("-o needs a list of options");
        } else {
            r = complain("unknown option '%s' (mlcachefs --help lists them)",
                         a);
        }
    }
    if (r == 0 && !ret->is_help && !ret->is_version)
        r = set_positional(options, positional, n > 3 ? 3 : n, ret);
    if (r == 0 && !ret->is_help && !ret->is_version) {
        if (mlc_options_finish(options, &err) < 0)
            r = complain("%s", err ? err : "out of memory");
        else
            r = check_values(options);
    }
    if (r == 0 && fuse_opts.len)
        ret->fuse_opts = mlc_buf_take(&fuse_opts, NULL);
    mlc_buf_done(&fuse_opts);
    return r;
}

void
mlc_args_done(struct mlc_args *a)
{
    free(a->mountpoint);
    free(a->fuse_opts);
}

/* One entry of a list: text in a column of its own, broken between words so
 * that no line is wider than a terminal. */
static void
print_entry(const char *left, const char *text)
{
    int col = printf("  %-*s", HELP_COLUMN - 3, left);

    while (*text) {
        int n = (int)strcspn(text, " ");

        if (col >= HELP_COLUMN && col + 1 + n > HELP_WIDTH) {
            printf("\n");
            col = 0;
        }
        col += printf("%*s%.*s", col ? 1 : HELP_COLUMN, "", n, text);
        text += n;
        text += strspn(text, " ");
    }
    printf("\n");
}

static void
print_row(const struct mlc_option *row, void *arg)
{
    mlc_autofree char *text = NULL;
    char left[64];
    int n;

    if (!row->help)
        return;
    snprintf(left, sizeof(left), "%s%s%s", row->name, row->arg ? "=" : "",
             row->arg ? row->arg : "");
    if (row->env)
        n = asprintf(&text, "%s (default: $%s%s%s)", row->help, row->env,
                     row->deflt ? ", else " : "", row->deflt ? row->deflt : "");
    else if (row->deflt)
        n = asprintf(&text, "%s (default: %s)", row->help, row->deflt);
    else
        n = asprintf(&text, "%s", row->help);
    if (n < 0)
        text = NULL;
    print_entry(left, text ? text : row->help);
}

void
mlc_print_help(const struct mlc_options *options)
{
    printf("usage: mlcachefs [STORE] MOUNTPOINT [-f] [-d] [-h] [-V] "
           "[-o OPTION,...]\n\n"
           "Shows the caches in STORE, and everything that could be in them, "
           "below\n"
           "MOUNTPOINT.  STORE defaults to $DGENERATE_CACHE, else "
           "~/.cache/dgenerate.\n\n");
    print_entry("-f", "stay in the foreground");
    print_entry("-d", "debug output (implies -f)");
    print_entry("-h, --help", "this help");
    print_entry("-V, --version", "version");
    printf("\ndomains:\n");
    for (size_t i = 0; mlc_backends[i]; i++)
        print_entry(mlc_backends[i]->name, mlc_backends[i]->summary);
    printf("\noptions:\n");
    mlc_options_each(options, print_row, NULL);
    printf("\nTIME is weeks=, days=, hours=, minutes=, seconds=, "
           "milliseconds=,\n"
           "microseconds= separated by semicolons, or forever.  SIZE takes k, "
           "M, G, T.\n");
}
