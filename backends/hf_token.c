/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/hf_i.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/doc.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/option.h"
#include "backends/util/path.h"

#define MAX_TOKEN  16384  /* bytes of a token file */
#define REFUSED_MS 300000 /* how long a refusal of the token is believed */

/* Without blanks around it and line ends in it, which would end the header
 * early.  NULL if nothing is left. */
static char *
clean(const char *text)
{
    char *s = strdup(text);
    size_t n = 0;
    size_t skip;

    if (!s)
        return NULL;
    for (const char *p = text; *p; p++)
        if (*p != '\r' && *p != '\n')
            s[n++] = *p;
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        n--;
    s[n] = '\0';
    skip = strspn(s, " \t");
    memmove(s, s + skip, n - skip + 1);
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            s[0] = '\0';
    if (!*s) {
        free(s);
        return NULL;
    }
    return s;
}

static int
add_file(struct mlc_hf *hf, const char *path)
{
    struct mlc_hf_tokens *t = &hf->tokens;
    const struct mlc_domain *d = hf->d;
    const char *only = mlc_opt_str(d->options, "only");
    struct mlc_hf_token_file *f = &t->files[t->n_files];
    const char *rest = NULL;

    f->dirfd = AT_FDCWD;
    if (mlc_hf_is_inside(d, path, &rest)) {
        /* Through our own mount we would wait for ourselves. */
        if (!only || strcmp(only, d->backend->name) != 0) {
            size_t n = strlen(d->backend->name);

            if (strncmp(rest, d->backend->name, n) != 0 || rest[n] != '/')
                return 0;
            rest += n + 1;
        }
        f->dirfd = mlc_domain_base(d, rest, &path)->fd;
    }
    f->path = strdup(path);
    if (!f->path)
        return -ENOMEM;
    t->n_files++;
    return 0;
}

int
mlc_hf_tokens_init(struct mlc_hf *hf)
{
    struct mlc_hf_tokens *t = &hf->tokens;
    const char *s = getenv("HF_TOKEN");
    mlc_autofree char *home = mlc_hf_env_home();
    mlc_autofree char *path = NULL;
    int r = 0;

    pthread_mutex_init(&t->lock, NULL);
    t->checked_ms = -1;
    t->fixed = s ? clean(s) : NULL;
    if (!t->fixed) {
        s = getenv("HUGGING_FACE_HUB_TOKEN");
        t->fixed = s ? clean(s) : NULL;
    }
    s = getenv("HF_TOKEN_PATH");
    if (s && *s) {
        path = mlc_hf_expand(s);
        r = path ? add_file(hf, path) : -ENOMEM;
        free(mlc_steal(&path));
    }
    if (r == 0 && home) {
        path = mlc_path_join(home, "token");
        r = path ? add_file(hf, path) : -ENOMEM;
    }
    if (r == 0) {
        struct mlc_hf_token_file *f = &t->files[t->n_files];

        f->dirfd = hf->d->bases[0].fd;
        f->path = strdup("token");
        if (!f->path)
            return -ENOMEM;
        t->n_files++;
    }
    return r;
}

void
mlc_hf_tokens_done(struct mlc_hf *hf)
{
    struct mlc_hf_tokens *t = &hf->tokens;

    free(t->fixed);
    free(t->refused);
    for (unsigned i = 0; i < t->n_files; i++) {
        free(t->files[i].path);
        free(t->files[i].value);
    }
    pthread_mutex_destroy(&t->lock);
}

/* Reads f again if it is another file than last time. true: another token. */
static bool
reread(struct mlc_hf_token_file *f)
{
    mlc_autofree char *old = NULL;
    mlc_autofree char *text = NULL;
    mlc_autoclose int fd = -1;
    struct stat st;
    ssize_t n;

    fd = openat(f->dirfd, f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        old = mlc_steal(&f->value);
        f->ino = 0;
        return old != NULL;
    }
    if (f->ino == st.st_ino && f->size == st.st_size &&
        f->mtime.tv_sec == st.st_mtim.tv_sec &&
        f->mtime.tv_nsec == st.st_mtim.tv_nsec)
        return false;
    text = calloc(1, MAX_TOKEN + 1);
    if (!text)
        return false;
    n = read(fd, text, MAX_TOKEN);
    if (n < 0)
        return false;
    f->ino = st.st_ino;
    f->size = st.st_size;
    f->mtime = st.st_mtim;
    old = mlc_steal(&f->value);
    f->value = clean(text);
    return !old != !f->value || (old && strcmp(old, f->value) != 0);
}

char *
mlc_hf_token(struct mlc_hf *hf)
{
    struct mlc_hf_tokens *t = &hf->tokens;
    int64_t now = mlc_mono_ms();
    bool is_new = false;
    bool is_first;
    char *s = NULL;

    pthread_mutex_lock(&t->lock);
    is_first = t->checked_ms < 0;
    if (!t->fixed && (is_first || now - t->checked_ms >= 1000)) {
        for (unsigned i = 0; i < t->n_files; i++)
            is_new |= reread(&t->files[i]);
        t->checked_ms = now;
    }
    if (t->fixed)
        s = strdup(t->fixed);
    for (unsigned i = 0; i < t->n_files && !t->fixed && !s; i++)
        if (t->files[i].value)
            s = strdup(t->files[i].value);
    if (s && t->refused && strcmp(s, t->refused) == 0 &&
        now - t->refused_ms < REFUSED_MS) {
        free(s);
        s = NULL;
    }
    pthread_mutex_unlock(&t->lock);
    if (is_new && !is_first && hf->d->cache)
        mlc_doc_forget(hf->d->cache->docs, "hf/");
    return s;
}

void
mlc_hf_token_refused(struct mlc_hf *hf, const char *token)
{
    struct mlc_hf_tokens *t = &hf->tokens;

    MLC_LOCK_SCOPE(&t->lock);
    if (!t->refused || strcmp(t->refused, token) != 0) {
        mlc_warn("hf: the Hub does not know the token: asking without it");
        free(t->refused);
        t->refused = strdup(token);
    }
    t->refused_ms = mlc_mono_ms();
}

void
mlc_hf_token_changed(struct mlc_hf *hf)
{
    struct mlc_hf_tokens *t = &hf->tokens;

    pthread_mutex_lock(&t->lock);
    if (t->checked_ms > 0)
        t->checked_ms = 0;
    /* Whoever logs in again means it. */
    free(t->refused);
    t->refused = NULL;
    pthread_mutex_unlock(&t->lock);
    mlc_doc_forget(hf->d->cache->docs, "hf/");
}
