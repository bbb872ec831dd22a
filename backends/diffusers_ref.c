/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/diffusers_ref.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include <linux/openat2.h>

#include "backends/cache/cache.h"
#include "backends/cache/ledger.h"
#include "backends/cache/object.h"
#include "backends/cache/source.h"
#include "backends/hf_path.h"
#include "backends/util/cleanup.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define MAX_LINKS  40
#define MAX_PATH   ((size_t)64 * 1024)
#define MAX_REF    ((size_t)4096)
#define MAX_MOUNTS ((size_t)4 << 20) /* bytes of mountinfo */

/* --- names --------------------------------------------------------------- */

static bool
is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 ||
           strncmp(text, "https://", 8) == 0;
}

char *
mlc_ref_label(const char *spelled)
{
    const char *url = strncmp(spelled, "web/", 4) == 0 ? spelled + 4 : spelled;

    return is_url(url) ? mlc_url_redact(url) : strdup(spelled);
}

const char *
mlc_ref_why(int r)
{
    switch (-r) {
    case ENOENT:
        return "there is no such file";
    case EACCES:
    case EPERM:
        return "it may not be read (is a token needed?)";
    case EISDIR:
        return "it is a directory";
    case EINVAL:
        return "it is no regular file";
    case ELOOP:
        return "too many symbolic links";
    case EHOSTUNREACH:
        return "its server is not found";
    case ETIMEDOUT:
        return "its server does not answer";
    case EFBIG:
        return "it is too large";
    default:
        break;
    }
    return strerrordesc_np(-r) ? strerrordesc_np(-r) : "it can't be read";
}

/* dir "/" tail with single slashes, "." dropped and ".." followed: a path that
 * has no links in it.  -EINVAL: it leads out above the root. */
static int
normalise(const char *dir, const char *tail, char **ret)
{
    mlc_autofree char *joined = NULL;
    size_t n = 0;
    char *in;

    if (asprintf(&joined, "%s/%s", dir, tail) < 0) {
        joined = NULL;
        return -ENOMEM;
    }
    /* In place: what is written never passes what is read. */
    for (in = joined; *in;) {
        size_t len = strcspn(in, "/");
        bool is_up = len == 2 && in[0] == '.' && in[1] == '.';

        if (is_up && n == 0)
            return -EINVAL;
        if (is_up) {
            while (n > 0 && joined[n - 1] != '/')
                n--;
            if (n > 0)
                n--;
        } else if (len > 0 && !(len == 1 && in[0] == '.')) {
            if (n > 0)
                joined[n++] = '/';
            memmove(joined + n, in, len);
            n += len;
        }
        in += len + (in[len] == '/');
    }
    joined[n] = '\0';
    *ret = mlc_steal(&joined);
    return 0;
}

/* The name below the mount's root of a URL: as it would be typed, unless the
 * kernel's ways with paths would change it. */
static int
name_of_url(const char *url, char **ret)
{
    mlc_autofree char *encoded = NULL;
    const char *path = strstr(url, "://") + 3;
    size_t len = strlen(url), scheme = strcspn(url, ":");
    bool is_odd =
        strstr(path, "//") || url[len - 1] == '/' || !strchr(path, '/');

    for (const char *p = path; (p = strchr(p, '/'));) {
        size_t n = strcspn(++p, "/");

        if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            is_odd = true;
    }
    if (!is_odd)
        return asprintf(ret, "web/%.*s:/%s", (int)scheme, url, path) < 0
                   ? -ENOMEM
                   : 0;
    encoded = mlc_url_encode(url, false);
    return !encoded || asprintf(ret, "web/%s", encoded) < 0 ? -ENOMEM : 0;
}

static int
refuse(char **ret_err, const char *why)
{
    *ret_err = strdup(why);
    return -EBADMSG;
}

static const char bad_hf[] =
    "not of the form hf://ORG/NAME/PATH or hf://ORG/NAME@REVISION/PATH";

/* The parts of "hf://ORG/NAME[@REV]/PATH". */
struct hub_name {
    char *id;
    char *rev; /* "main" */
    char *path;
};

static void
hub_name_done(struct hub_name *n)
{
    free(n->id);
    free(n->rev);
    free(n->path);
}

/* "%2F" is how the Hub's clients write a revision's '/'. */
static char *
decode_rev(const char *text, size_t len)
{
    char *rev = strndup(text, len), *p = rev;

    while (p && (p = strcasestr(p, "%2F"))) {
        *p++ = '/';
        memmove(p, p + 2, strlen(p + 2) + 1);
    }
    return rev;
}

static int
parse_hub_name(const char *text, struct hub_name *ret, char **ret_err)
{
    const char *p = text + strlen("hf://"), *slash = strchr(p, '/'), *end, *at;

    end = slash ? strchr(slash + 1, '/') : NULL;
    if (!end || !end[1])
        return refuse(ret_err, bad_hf);
    at = memchr(slash, '@', (size_t)(end - slash));
    ret->id = strndup(p, (size_t)((at ? at : end) - p));
    ret->rev = at ? decode_rev(at + 1, (size_t)(end - at - 1)) : strdup("main");
    ret->path = strdup(end + 1);
    if (!ret->id || !ret->rev || !ret->path)
        return -ENOMEM;
    if (!mlc_hf_id_is_valid(ret->id) ||
        (!mlc_is_hex(ret->rev, MLC_HF_SHA_LEN) &&
         !mlc_hf_rev_is_valid(ret->rev)))
        return refuse(ret_err, bad_hf);
    return 0;
}

/* --- in the mount -------------------------------------------------------- */

struct walk {
    const struct mlc_ref *ref;
    unsigned n_links;
    char *inside;  /* where we are, below the mount's root; NULL: outside */
    char *outside; /* absolute, or NULL */
    char **ret_err;
};

/* From now on at 'inside', which is taken over. */
static void
go_inside(struct walk *w, char *inside)
{
    free(w->inside);
    free(w->outside);
    w->inside = inside;
    w->outside = NULL;
}

/* To an absolute path, in the mount or not. */
static int
go_absolute(struct walk *w, const char *path)
{
    const struct mlc_domain *d = w->ref->d;
    const char *rest;
    char *next;
    int r;

    if (d->is_inside(d, path, &rest)) {
        r = normalise("", rest, &next);
        if (r == 0)
            go_inside(w, next);
        return r;
    }
    if (!w->ref->may_leave)
        return refuse(w->ret_err,
                      "it lies outside of the mount, and only recipes that "
                      "belong to who runs mlcachefs may name such files");
    next = strdup(path);
    if (!next)
        return -ENOMEM;
    go_inside(w, NULL);
    w->outside = next;
    return 0;
}

/* Follows a link whose name is w->inside[0..len), to target and then the rest.
 */
static int
follow(struct walk *w, size_t len, const char *target)
{
    mlc_autofree char *joined = NULL, *dir = NULL;
    const char *rest = w->inside + len;
    char *next;
    int r;

    if (++w->n_links > MAX_LINKS)
        return -ELOOP;
    if (asprintf(&joined, "%s%s", target, rest) < 0) {
        joined = NULL;
        return -ENOMEM;
    }
    if (strlen(joined) > MAX_PATH)
        return -ENAMETOOLONG;
    if (joined[0] == '/')
        return go_absolute(w, joined);
    while (len > 0 && w->inside[len - 1] != '/')
        len--;
    dir = strndup(w->inside, len);
    if (!dir)
        return -ENOMEM;
    r = normalise(dir, joined, &next);
    if (r == 0)
        go_inside(w, next);
    return r;
}

static int
read_link_at(int dirfd, const char *name, char **ret)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

    if (n < 0)
        return -errno;
    target[n] = '\0';
    *ret = strdup(target);
    return *ret ? 0 : -ENOMEM;
}

/* May who asks read the file, or pass the directory, as the mount shows it?
 * Not by its group: that of a recipe may be its folder's. */
static bool
may_read(const struct mlc_ref *ref, const struct mlc_entry *e,
         const struct stat *st)
{
    mode_t wanted = 0;

    if (ref->may_leave || (e->kind != MLC_KIND_LOCAL && e->mode == 0))
        return true;
    if (e->kind != MLC_KIND_LOCAL)
        return e->mode & S_IROTH;
    wanted = S_ISDIR(st->st_mode) ? S_IXOTH : S_IROTH;
    if (st->st_uid == ref->uid)
        wanted <<= 6;
    return st->st_mode & wanted;
}

/* The same of the directory at path[0..len), which is on disk. */
static int
check_dir(const struct mlc_ref *ref, struct mlc_domain *d, const char *path,
          size_t len, const struct stat *st)
{
    struct mlc_ask ask = {.only_known = true};
    mlc_autofree char *dir = NULL;
    struct mlc_entry e = {0};
    int r = 0;

    if (ref->may_leave || !S_ISDIR(st->st_mode))
        return 0;
    dir = strndup(path, len);
    if (!dir)
        return -ENOMEM;
    /* Our own look-up may be what asks.  What is not shown as it is on disk
     * may be passed. */
    if (d != ref->d)
        r = mlc_domain_lookup(d, dir, st, &ask, &e);
    r = r == 0 && !may_read(ref, &e, st) ? -EACCES : 0;
    mlc_entry_done(&e);
    return r;
}

/* What is on disk at the path.  1: the link at path[0..*ret_len) was read to
 * *ret_target; 0: *ret_st; -ENOENT: nothing. */
static int
stat_on_disk(const struct mlc_ref *ref, struct mlc_domain *d, const char *path,
             struct stat *ret_st, size_t *ret_len, char **ret_target)
{
    const char *rel, *name;
    const struct mlc_base *base = mlc_domain_base(d, path, &rel);
    mlc_autofree char *head = strdup(rel);
    int r;

    if (!head)
        return -ENOMEM;
    if (mlc_path_is_under(rel, ".mlcachefs"))
        return -ENOENT;
    if (fstat(base->fd, ret_st) < 0)
        return -errno;
    if (!*rel)
        return 0;
    r = d->backend->lookup
            ? check_dir(ref, d, path, (size_t)(rel - path), ret_st)
            : 0;
    if (r < 0)
        return r;
    for (size_t len = 0;;) {
        mlc_autoclose int dirfd = -1;

        len += strcspn(rel + len, "/");
        memcpy(head, rel, len);
        head[len] = '\0';
        dirfd = mlc_open_parent(base->fd, head, &name);
        if (dirfd < 0)
            return dirfd == -ENOTDIR || dirfd == -ENAMETOOLONG ? -ENOENT
                                                               : dirfd;
        if (fstatat(dirfd, name, ret_st, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENAMETOOLONG ? -ENOENT : -errno;
        if (S_ISLNK(ret_st->st_mode)) {
            r = read_link_at(dirfd, name, ret_target);
            *ret_len = (size_t)(rel - path) + len;
            return r < 0 ? r : 1;
        }
        if (!rel[len])
            return 0;
        r = check_dir(ref, d, path, (size_t)(rel - path) + len, ret_st);
        if (r < 0)
            return r;
        len++;
    }
}

static uint64_t
mix(uint64_t a, uint64_t b)
{
    uint64_t key[2] = {a, b};

    return XXH3_64bits(key, sizeof(key)) | 1;
}

static uint64_t
identify(const struct mlc_domain *d, const char *path,
         const struct mlc_entry *e, const struct stat *st,
         const struct mlc_found *f)
{
    const char *name = d->backend->name;

    if (e->kind == MLC_KIND_INLINE)
        return XXH3_64bits(e->text, e->text_len) | 1;
    if (e->kind == MLC_KIND_LOCAL && !f->is_pinned)
        return mlc_file_identity(st);
    return mix(mix(XXH3_64bits(name, strlen(name)), e->content),
               mix(XXH3_64bits(path, strlen(path)), f->size));
}

/* The entry of a plain file in our own domain, whose look-up is not to be asked
 * from here: it may be what asks. */
static int
lookup_own(struct walk *w, const char *path, const struct stat *local,
           struct mlc_entry *ret)
{
    mlc_autofree char *recipe = NULL;
    size_t len = strcspn(path, "/");
    struct stat st;

    if (local) {
        ret->kind = MLC_KIND_LOCAL;
        return 0;
    }
    if (asprintf(&recipe, "%.*s.recipe", (int)len, path) < 0) {
        recipe = NULL;
        return -ENOMEM;
    }
    if (fstatat(w->ref->d->bases[0].fd, recipe, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return refuse(w->ret_err,
                      "it is itself made by a recipe: name the files that that "
                      "recipe names");
    return -ENOENT;
}

/* One step inside the mount. 1: found; 0: a link was followed. */
static int
step_inside(struct walk *w, struct mlc_found *ret)
{
    struct mlc_domain *own = w->ref->d, *d;
    mlc_autofree char *target = NULL;
    struct mlc_entry e = {0};
    struct stat st;
    const char *path;
    size_t len = 0;
    int r;

    d = own->find(own, w->inside, &path);
    if (!d)
        return -ENOENT;
    r = stat_on_disk(w->ref, d, path, &st, &len, &target);
    if (r > 0)
        return follow(w, (size_t)(path - w->inside) + len, target);
    if (r < 0 && r != -ENOENT)
        return r;
    if (d == own)
        r = lookup_own(w, path, r == 0 ? &st : NULL, &e);
    else
        r = mlc_domain_lookup(d, path, r == 0 ? &st : NULL, w->ref->ask, &e);
    if (r == 0 && e.kind == MLC_KIND_SYMLINK)
        r = follow(w, strlen(w->inside), e.text);
    else if (r == 0 && e.kind == MLC_KIND_VIEW)
        r = refuse(w->ret_err, "it is a view");
    else if (r == 0 && (e.kind == MLC_KIND_DIR ||
                        (e.kind == MLC_KIND_LOCAL && S_ISDIR(st.st_mode))))
        r = -EISDIR;
    else if (r == 0 && e.kind == MLC_KIND_LOCAL && !S_ISREG(st.st_mode))
        r = -EINVAL;
    else if (r == 0 && !may_read(w->ref, &e, &st))
        r = -EACCES;
    else if (r == 0) {
        ret->domain = d;
        ret->kind = e.kind;
        ret->is_pinned =
            e.kind == MLC_KIND_LOCAL && e.is_cached && e.content != 0;
        ret->size = e.kind == MLC_KIND_LOCAL    ? (uint64_t)st.st_size
                    : e.kind == MLC_KIND_INLINE ? e.text_len
                                                : e.size;
        ret->identity = identify(d, path, &e, &st, ret);
        ret->content = e.content;
        ret->text = mlc_steal(&e.text);
        ret->path = strdup(path);
        r = ret->path ? 1 : -ENOMEM;
    }
    mlc_entry_done(&e);
    return r;
}

/* --- outside ------------------------------------------------------------- */

/* Is the file that fd (O_PATH) has on a mount of this program?  Told by the
 * kernel's table, without a question to that mount: it might be our own, seen
 * from elsewhere. */
static bool
is_on_our_kind(int fd)
{
    mlc_autoclose int proc = open("/proc/self", O_PATH | O_CLOEXEC);
    mlc_autofree char *text = NULL;
    struct statx sx;
    char *save;

    if (proc < 0 ||
        statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) < 0 ||
        mlc_read_file_at(proc, "mountinfo", MAX_MOUNTS, &text, NULL) < 0)
        return true;
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        const char *type = strstr(line, " - ");
        unsigned major, minor;

        if (type && sscanf(line, "%*s %*s %u:%u", &major, &minor) == 2 &&
            major == sx.stx_dev_major && minor == sx.stx_dev_minor)
            return strncmp(type + 3, "fuse.mlcachefs ", 15) == 0;
    }
    return true;
}

/* Opens (O_PATH) 'name' in the directory dirfd, a link as a link. */
static int
open_component(int dirfd, const char *name, bool *ret_is_other)
{
    struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

    *ret_is_other = fd < 0 && errno == EXDEV;
    if (*ret_is_other)
        fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : (int)fd;
}

/* Walks w->outside.  1: *ret_fd is the file (O_PATH); 0: the path leads
 * elsewhere. */
static int
walk_outside(struct walk *w, int *ret_fd)
{
    mlc_autofree char *path = strdup(w->outside), *done = strdup("");
    mlc_autoclose int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const struct mlc_domain *d = w->ref->d;
    char *save = NULL;

    if (!path || !done)
        return -ENOMEM;
    if (fd < 0)
        return -errno;
    for (char *name = strtok_r(path, "/", &save); name;
         name = strtok_r(NULL, "/", &save)) {
        mlc_autofree char *at = NULL, *target = NULL, *next = NULL;
        mlc_autoclose int child = -1;
        const char *rest;
        bool is_other;
        struct stat st;
        int r;

        if (strcmp(name, ".") == 0)
            continue;
        r = strcmp(name, "..") == 0 ? normalise(done, "..", &at) : 0;
        if (r == 0 && !at && asprintf(&at, "%s/%s", done, name) < 0)
            at = NULL;
        if (!at)
            return r < 0 ? -ENOENT : -ENOMEM;
        if (strcmp(name, "..") == 0) {
            /* From the root again, along a path that has no links by now. */
            if (asprintf(&next, "/%s/%s", at, save ? save : "") < 0)
                next = NULL;
            return next ? go_absolute(w, next) : -ENOMEM;
        }
        if (d->is_inside(d, at, &rest)) {
            if (asprintf(&next, "%s/%s", at, save ? save : "") < 0)
                next = NULL;
            return next ? go_absolute(w, next) : -ENOMEM;
        }
        child = open_component(fd, name, &is_other);
        if (child < 0)
            return child == -ENOTDIR ? -ENOENT : child;
        if (is_other && is_on_our_kind(child))
            return refuse(w->ret_err, "it lies in another mlcachefs mount");
        if (fstat(child, &st) < 0)
            return -errno;
        if (S_ISLNK(st.st_mode)) {
            if (++w->n_links > MAX_LINKS)
                return -ELOOP;
            r = read_link_at(child, "", &target);
            if (r < 0)
                return r;
            if (asprintf(&next, "%s/%s/%s", target[0] == '/' ? "" : done,
                         target, save ? save : "") < 0)
                next = NULL;
            if (!next)
                return -ENOMEM;
            return strlen(next) > MAX_PATH ? -ENAMETOOLONG
                                           : go_absolute(w, next);
        }
        close(fd);
        fd = mlc_steal_fd(&child);
        free(done);
        done = mlc_steal(&at);
    }
    *ret_fd = mlc_steal_fd(&fd);
    return 1;
}

static int
step_outside(struct walk *w, struct mlc_found *ret)
{
    mlc_autoclose int fd = -1;
    struct stat st;
    int r = walk_outside(w, &fd);

    if (r <= 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    ret->domain = NULL;
    ret->kind = MLC_KIND_LOCAL;
    ret->size = (uint64_t)st.st_size;
    ret->identity = mlc_file_identity(&st);
    ret->path = strdup(w->outside);
    return ret->path ? 1 : -ENOMEM;
}

/* --- both ---------------------------------------------------------------- */

static int
find(struct walk *w, const char *inside, const char *outside,
     struct mlc_found *ret)
{
    int r;

    if (outside) {
        r = go_absolute(w, outside);
    } else {
        char *path;

        r = normalise("", inside, &path);
        if (r == 0)
            go_inside(w, path);
    }
    while (r == 0)
        r = w->inside ? step_inside(w, ret) : step_outside(w, ret);
    free(w->inside);
    free(w->outside);
    if (r > 0)
        return 0;
    mlc_found_done(ret);
    return r == -EBADMSG && !*w->ret_err ? -ENOMEM : r;
}

/* The commit that a branch or tag is at. */
static int
find_commit(const struct mlc_ref *ref, const struct hub_name *n,
            const char *folder, char ret_sha[MLC_HF_SHA_LEN + 1],
            char **ret_err)
{
    struct walk w = {.ref = ref, .ret_err = ret_err};
    mlc_autofree char *inside = NULL, *text = NULL;
    struct mlc_found f = {0};
    size_t len;
    int r;

    if (mlc_is_hex(n->rev, MLC_HF_SHA_LEN)) {
        memcpy(ret_sha, n->rev, MLC_HF_SHA_LEN + 1);
        return 0;
    }
    if (asprintf(&inside, "hf/hub/%s/refs/%s", folder, n->rev) < 0) {
        inside = NULL;
        return -ENOMEM;
    }
    r = find(&w, inside, NULL, &f);
    if (r == 0)
        r = mlc_found_read(&f, MAX_REF, ref->ask, &text, &len);
    mlc_found_done(&f);
    if (r < 0)
        return r;
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        text[--len] = '\0';
    if (!mlc_is_hex(text, MLC_HF_SHA_LEN))
        return -ENOENT;
    memcpy(ret_sha, text, MLC_HF_SHA_LEN + 1);
    return 0;
}

static int
find_on_hub(const struct mlc_ref *ref, const char *spelled,
            struct mlc_found *ret, char **ret_err)
{
    __attribute__((cleanup(hub_name_done))) struct hub_name n = {0};
    struct walk w = {.ref = ref, .ret_err = ret_err};
    mlc_autofree char *folder = NULL, *inside = NULL;
    char sha[MLC_HF_SHA_LEN + 1];
    const char *rest;
    int r;

    r = parse_hub_name(spelled, &n, ret_err);
    if (r < 0)
        return r;
    if (!ref->d->find(ref->d, "hf", &rest) ||
        strcmp(ref->d->find(ref->d, "hf", &rest)->backend->name, "hf") != 0)
        return refuse(ret_err, "hf/ is not part of this mount");
    if (asprintf(&folder, "models--%s", n.id) < 0) {
        folder = NULL;
        return -ENOMEM;
    }
    for (char *p = folder; (p = strchr(p, '/'));) {
        mlc_autofree char *head = strndup(folder, (size_t)(p - folder));
        char *joined = NULL;

        if (!head || asprintf(&joined, "%s--%s", head, p + 1) < 0)
            return -ENOMEM;
        free(folder);
        p = folder = joined;
    }
    r = find_commit(ref, &n, folder, sha, ret_err);
    if (r < 0)
        return r;
    if (asprintf(&inside, "hf/hub/%s/snapshots/%s/%s", folder, sha, n.path) <
        0) {
        inside = NULL;
        return -ENOMEM;
    }
    return find(&w, inside, NULL, ret);
}

int
mlc_ref_find(const struct mlc_ref *ref, const char *spelled,
             struct mlc_found *ret, char **ret_err)
{
    struct walk w = {.ref = ref, .ret_err = ret_err};
    mlc_autofree char *name = NULL;
    int r;

    *ret = (struct mlc_found){0};
    *ret_err = NULL;
    if (strncmp(spelled, "hf://", 5) == 0) {
        r = find_on_hub(ref, spelled, ret, ret_err);
        return r == -EBADMSG && !*ret_err ? -ENOMEM : r;
    }
    if (spelled[0] == '/')
        return find(&w, NULL, spelled, ret);
    if (!is_url(spelled))
        return find(&w, spelled, NULL, ret);
    r = name_of_url(spelled, &name);
    if (r < 0) {
        name = NULL;
        return r;
    }
    return find(&w, name, NULL, ret);
}

void
mlc_found_done(struct mlc_found *f)
{
    free(f->path);
    free(f->text);
    *f = (struct mlc_found){0};
}

/* --- bytes --------------------------------------------------------------- */

static int
open_in_domain(const struct mlc_found *f, int flags)
{
    const struct mlc_base *base;
    struct stat st;
    const char *rel;
    int fd;

    base = mlc_domain_base(f->domain, f->path, &rel);
    fd = f->kind == MLC_KIND_PRIVATE
             ? mlc_open_beneath(f->domain->privfd, f->text, flags, 0)
             : mlc_open_beneath(base->fd, rel, flags, 0);
    if (fd >= 0 && f->domain->store && fstat(fd, &st) == 0)
        mlc_ledger_opened(mlc_store_ledger(f->domain->store), &st);
    return fd;
}

static int
open_on_disk(const struct mlc_found *f)
{
    const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd;

    if (f->domain)
        return open_in_domain(f, flags);
    /* No link was met on the way when it was found, and none is followed now:
     * it could lead into the mount. */
    fd = (int)syscall(SYS_openat2, AT_FDCWD, f->path,
                      &(struct open_how){.flags = (uint64_t)flags,
                                         .resolve = RESOLVE_NO_SYMLINKS},
                      sizeof(struct open_how));
    return fd < 0 ? -errno : fd;
}

static bool
is_that_file(const struct mlc_found *f, const struct mlc_source *s)
{
    return f->kind == MLC_KIND_LOCAL && !f->is_pinned
               ? mlc_source_identity(s) == f->identity
               : mlc_source_size(s) == f->size;
}

int
mlc_found_open(const struct mlc_found *f, struct mlc_ask *ask,
               struct mlc_source **ret)
{
    struct mlc_source *s = NULL;
    struct mlc_object *obj;
    uint64_t content;
    int fd, r;

    if (f->kind == MLC_KIND_OBJECT) {
        r = mlc_domain_locate(f->domain, f->path, ask, &obj);
        if (r < 0)
            return r;
        content = mlc_object_content(obj);
        if (content && content != f->content) {
            mlc_object_unref(obj);
            return -ESTALE;
        }
        r = mlc_source_new_object(obj, &s);
    } else {
        fd = open_on_disk(f);
        if (fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR)
            return -ESTALE;
        if (fd < 0)
            return fd;
        r = mlc_source_new_file(fd, f->path, &s);
    }
    if (r < 0)
        return r;
    if (!is_that_file(f, s)) {
        mlc_source_unref(s);
        return -ESTALE;
    }
    *ret = s;
    return 0;
}

int
mlc_found_read(const struct mlc_found *f, size_t max, struct mlc_ask *ask,
               char **ret, size_t *ret_len)
{
    mlc_autofree char *text = NULL;
    struct mlc_source *s = NULL;
    int r = 0;

    if (f->size > max)
        return -EFBIG;
    text = calloc(1, (size_t)f->size + 1);
    if (!text)
        return -ENOMEM;
    if (f->kind == MLC_KIND_INLINE) {
        memcpy(text, f->text, (size_t)f->size);
    } else {
        r = mlc_found_open(f, ask, &s);
        if (r == 0)
            r = mlc_source_want(s, 0, f->size, ask);
        if (r == 0)
            r = mlc_source_read(s, 0, text, (size_t)f->size);
        mlc_source_unref(s);
    }
    if (r < 0)
        return r;
    *ret = mlc_steal(&text);
    *ret_len = (size_t)f->size;
    return 0;
}

/* --- config -------------------------------------------------------------- */

/* ORG/NAME[@REV], and no directory of the mount. */
static bool
is_hub_id(const struct mlc_domain *d, const char *config)
{
    mlc_autofree char *id = strndup(config, strcspn(config, "@"));
    mlc_autoclose int fd = -1;
    const struct mlc_domain *root;
    const struct mlc_base *base;
    const char *rest, *rel;

    if (!id || !strchr(id, '/') || !mlc_hf_id_is_valid(id))
        return false;
    root = d->find(d, id, &rest);
    if (!root || rest != id) /* in a domain */
        return false;
    base = mlc_domain_base(root, config, &rel);
    fd = mlc_open_beneath(base->fd, rel, O_PATH | O_DIRECTORY, 0);
    return fd < 0;
}

char *
mlc_ref_in_config(const struct mlc_domain *d, const char *config,
                  const char *path)
{
    const char *prefix = is_hub_id(d, config) ? "hf://" : "";
    char *joined;

    return asprintf(&joined, "%s%s/%s", prefix, config, path) < 0 ? NULL
                                                                  : joined;
}
