/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/hf_i.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/option.h"
#include "backends/util/path.h"

bool
mlc_hf_is_inside(const struct mlc_domain *d, const char *path,
                 const char **ret_rest)
{
    return d->is_inside && d->is_inside(d, path, ret_rest);
}

char *
mlc_hf_expand(const char *path)
{
    const char *home = getenv("HOME");
    mlc_autofree char *cwd = NULL;

    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home)
        return mlc_path_join(home, path[1] ? path + 2 : "");
    if (path[0] == '/')
        return strdup(path);
    cwd = getcwd(NULL, 0);
    return cwd ? mlc_path_join(cwd, path) : NULL;
}

static const char *
env(const char *name)
{
    const char *s = getenv(name);

    return s && *s ? s : NULL;
}

char *
mlc_hf_env_home(void)
{
    const char *s = env("HF_HOME");
    mlc_autofree char *cache = NULL;

    if (s)
        return mlc_hf_expand(s);
    s = env("XDG_CACHE_HOME");
    cache = s             ? mlc_hf_expand(s)
            : env("HOME") ? mlc_path_join(env("HOME"), ".cache")
                          : NULL;
    return cache ? mlc_path_join(cache, "huggingface") : NULL;
}

static int
mkdir_all(const char *path)
{
    mlc_autofree char *s = strdup(path);

    if (!s)
        return -ENOMEM;
    for (char *p = s + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            if (mkdir(s, 0777) < 0 && errno != EEXIST && errno != EROFS &&
                errno != EACCES)
                return -errno;
            *p = '/';
        }
    return mkdir(s, 0777) < 0 && errno != EEXIST ? -errno : 0;
}

static int
add_base(struct mlc_domain *d, const char *prefix, const char *path)
{
    struct mlc_base *b = &d->bases[d->n_bases];
    mlc_autoclose int fd = -1;
    char *s;
    int r;

    if (!d->is_read_only) {
        r = mkdir_all(path);
        if (r < 0) {
            errno = -r;
            return mlc_log_err(r, "hf: cannot make %s: %m", path);
        }
    }
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        r = -errno;
        return mlc_log_err(r, "hf: cannot open %s: %m", path);
    }
    s = realpath(path, NULL);
    if (!s)
        return -errno;
    b->prefix = prefix;
    b->fd = mlc_steal_fd(&fd);
    b->path = s;
    d->n_bases++;
    return 0;
}

/* A default that points into the mount was exported for the mount's clients:
 * not meant for us. */
static bool
is_usable(const struct mlc_domain *d, const char *what, const char *path)
{
    const char *rest;

    if (!path || !mlc_hf_is_inside(d, path, &rest))
        return path != NULL;
    mlc_info("hf: %s (%s) points into the mount: not used", what, path);
    return false;
}

static char *
find_home(const struct mlc_domain *d, const char *store)
{
    const char *xdg = env("XDG_CACHE_HOME");
    mlc_autofree char *path = NULL;
    mlc_autofree char *cache = NULL;

    if (mlc_opt_is_given(d->options, "store"))
        return mlc_path_join(store, "hf");
    if (env("HF_HOME")) {
        path = mlc_hf_expand(env("HF_HOME"));
        if (is_usable(d, "HF_HOME", path))
            return mlc_steal(&path);
        free(mlc_steal(&path));
    }
    if (xdg) {
        cache = mlc_hf_expand(xdg);
        path = cache ? mlc_path_join(cache, "huggingface") : NULL;
        if (is_usable(d, "XDG_CACHE_HOME", path))
            return mlc_steal(&path);
        free(mlc_steal(&path));
    }
    return mlc_hf_expand("~/.cache/huggingface");
}

/* A hub/ that was moved to a larger disk and linked to is followed: clients on
 * the mount would follow the link out of it. */
static int
place_linked_hub(struct mlc_domain *d)
{
    mlc_autofree char *path = mlc_path_join(d->bases[0].path, "hub");
    mlc_autofree char *real = NULL;
    struct stat st;

    if (!path)
        return -ENOMEM;
    if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode))
        return 0;
    real = realpath(path, NULL);
    if (!real || stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
        mlc_info("hf: %s is a link that leads to no directory", path);
        return 0;
    }
    return is_usable(d, path, real) ? add_base(d, "hub", real) : 0;
}

/* $HF_HUB_CACHE takes the place of hub/, unless it is there anyway. */
static int
place_hub(struct mlc_domain *d)
{
    const char *s = env("HF_HUB_CACHE");
    mlc_autofree char *path = NULL;
    mlc_autofree char *real = NULL;

    if (!s)
        s = env("HUGGINGFACE_HUB_CACHE");
    if (!s || mlc_opt_is_given(d->options, "store"))
        return place_linked_hub(d);
    path = mlc_hf_expand(s);
    if (!path)
        return -ENOMEM;
    if (!is_usable(d, "HF_HUB_CACHE", path))
        return place_linked_hub(d);
    real = realpath(path, NULL);
    if (mlc_path_is_under(real ? real : path, d->bases[0].path))
        return place_linked_hub(d);
    return add_base(d, "hub", path);
}

int
mlc_hf_place(struct mlc_domain *d, const char *store)
{
    const char *given = mlc_opt_str(d->options, "hf_home");
    const char *rest;
    mlc_autofree char *home =
        given ? mlc_hf_expand(given) : find_home(d, store);
    int r;

    if (!home)
        return mlc_log_err(-ENOMEM, "hf: no place for the cache");
    if (mlc_hf_is_inside(d, home, &rest))
        return mlc_log_err(-EINVAL,
                           "hf_home=%s lies in the mount itself: give another "
                           "directory",
                           home);
    r = add_base(d, "", home);
    if (r < 0)
        return r;
    return place_hub(d);
}

static char *__attribute__((format(printf, 2, 0)))
below(const char *dir, const char *fmt, va_list ap)
{
    mlc_autofree char *rel = NULL;

    if (vasprintf(&rel, fmt, ap) < 0) {
        rel = NULL;
        return NULL;
    }
    return *rel ? mlc_path_join(dir, rel) : strdup(dir);
}

char *
mlc_hf_on_disk(struct mlc_hf *hf, int *ret_fd, const char *folder,
               const char *fmt, ...)
{
    char dir[MLC_HF_FOLDER_MAX + 8];
    const struct mlc_base *base;
    const char *rel;
    va_list ap;
    char *s;

    snprintf(dir, sizeof dir, "hub/%s", folder);
    base = mlc_domain_base(hf->d, dir, &rel);
    *ret_fd = base->fd;
    va_start(ap, fmt);
    s = below(rel, fmt, ap);
    va_end(ap);
    return s;
}

char *
mlc_hf_private(struct mlc_hf *hf, const char *folder, const char *fmt, ...)
{
    char dir[MLC_HF_FOLDER_MAX + sizeof hf->dir + 2];
    va_list ap;
    char *s;

    snprintf(dir, sizeof dir, "%s/%s", hf->dir, folder);
    va_start(ap, fmt);
    s = below(dir, fmt, ap);
    va_end(ap);
    return s;
}
