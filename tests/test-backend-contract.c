/* SPDX-License-Identifier: MIT */
/* What backends/backend.h promises of each backend in the list.  Built with
 * the toys (tests/toy), and offline: no question may wait. */
#include "config.h"

#include "backends/backend.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/cache/cache.h"
#include "backends/cache/object.h"
#include "backends/util/clock.h"
#include "backends/util/path.h"
#include "fs/fs.h"

#define N_PATHS  4000
#define MAX_TIME 5000 /* of one call; ms */
#define SHA      "0123456789abcdef0123456789abcdef01234567"
#define SHA256                                                                 \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* --- the tables ---------------------------------------------------------- */

static void
names_are_unique_and_well_formed(void **state)
{
    for (size_t i = 0; mlc_backends[i]; i++) {
        const char *name = mlc_backends[i]->name;

        assert_non_null(name);
        assert_true(name[0] != '\0' && strlen(name) <= 64);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
                         strlen(name));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(name, mlc_backends[j]->name);
    }
}

static void
assert_line(const char *text)
{
    assert_non_null(text);
    assert_true(text[0] != '\0');
    assert_null(strpbrk(text, "\r\n\t"));
}

static void
summaries_are_one_line(void **state)
{
    for (size_t i = 0; mlc_backends[i]; i++)
        assert_line(mlc_backends[i]->summary);
}

static void
check_row(const struct mlc_option *row, void *arg)
{
    size_t *n = arg;

    (*n)++;
    assert_true(row->name[0] != '\0');
    assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
                     strlen(row->name));
    if (row->help)
        assert_line(row->help);
    if (row->type == MLC_OPT_CHOICE)
        assert_non_null(row->arg);
    if (row->type == MLC_OPT_FLAG)
        assert_null(row->arg);
    else if (row->help)
        assert_non_null(row->arg);
}

/* That no name stands twice is what mlc_options_add_table() refuses. */
static struct mlc_options *
all_options(void)
{
    struct mlc_options *o = mlc_options_new();

    assert_non_null(o);
    assert_int_equal(mlc_options_add_table(o, mlc_core_options), 0);
    for (size_t i = 0; mlc_backends[i]; i++)
        if (mlc_backends[i]->options)
            assert_int_equal(mlc_options_add_table(o, mlc_backends[i]->options),
                             0);
    return o;
}

static void
options_are_unique_and_explained(void **state)
{
    struct mlc_options *o = all_options();
    char *err = NULL;
    size_t n = 0;

    mlc_options_each(o, check_row, &n);
    assert_true(n > 0);
    /* Defaults are checked as what a user gives is. */
    assert_int_equal(mlc_options_finish(o, &err), 0);
    mlc_options_free(o);
}

static void
functions_come_in_sets(void **state)
{
    for (size_t i = 0; mlc_backends[i]; i++) {
        const struct mlc_backend *b = mlc_backends[i];

        if (b->list || b->locate || b->describe)
            assert_non_null(b->lookup);
        if (b->open && b->priv_size)
            assert_non_null(b->close);
        assert_int_equal(
            b->flags & ~(MLC_BACKEND_CONCURRENT | MLC_BACKEND_LONG_NAMES), 0);
    }
}

/* --- a domain in a temporary directory ----------------------------------- */

struct place {
    char dir[64];
    char store[80];
    int storefd, privfd;
    int listener; /* where all URLs point to: nobody may come */
    int watch;    /* of what lies outside */
    struct mlc_options *options;
    struct mlc_cache *cache;
    struct mlc_store *objects;
    struct mlc_domain d;
    uint64_t random;
};

static void
write_at(int dirfd, const char *path, const char *text)
{
    assert_int_equal(mlc_mkdir_parents_at(dirfd, path), 0);
    assert_int_equal(mlc_write_file_at(dirfd, path, text, strlen(text), 0644),
                     0);
}

static void
listen_somewhere(struct place *p, char url[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    p->listener =
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(p->listener >= 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &len), 0);
    snprintf(url, 64, "http://127.0.0.1:%d", ntohs(a.sin_port));
}

struct set_urls {
    struct mlc_options *o;
    const char *url;
};

static void
set_url(const struct mlc_option *row, void *arg)
{
    struct set_urls *s = arg;

    if (row->type == MLC_OPT_URL)
        assert_int_equal(mlc_options_set(s->o, row->name, s->url, NULL), 0);
}

/* Beside the domain's own place: what must stay as it is. */
static void
make_outside(struct place *p, int dirfd)
{
    char path[128];

    write_at(dirfd, "outside/secret", SHA);
    write_at(dirfd, "outside/blobs/" SHA, "secret");
    write_at(dirfd, "outside/refs/main", SHA);
    p->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(p->watch >= 0);
    for (size_t i = 0; i < 3; i++) {
        static const char *const dirs[] = {"", "/blobs", "/refs"};

        snprintf(path, sizeof path, "%s/outside%s", p->dir, dirs[i]);
        assert_true(inotify_add_watch(p->watch, path,
                                      IN_MODIFY | IN_ATTRIB | IN_CREATE |
                                          IN_DELETE | IN_MOVE | IN_DELETE_SELF |
                                          IN_MOVE_SELF | IN_CLOSE_WRITE) >= 0);
    }
}

/* Ways out of it, as whoever can write there may lay them. */
static void
make_traps(struct place *p, int basefd)
{
    static const char *const traps[][2] = {
        {"escape", ""},
        {"token", "/secret"},
        {"hub/models--o--link", ""},
        {"hub/models--o--n/blobs", "/blobs"},
        {"hub/models--o--n/refs/main", "/secret"},
        {"hub/models--o--n/snapshots/" SHA, ""},
        {"hub/models--o--n/trees/" SHA ".json", "/secret"},
        {"hub/models--p--n/refs", "/refs"},
        {"made/remote.bin", "/secret"},
    };
    char text[128];

    for (size_t i = 0; i < sizeof traps / sizeof *traps; i++) {
        snprintf(text, sizeof text, "%s/outside%s", p->dir, traps[i][1]);
        assert_int_equal(mlc_mkdir_parents_at(basefd, traps[i][0]), 0);
        assert_int_equal(symlinkat(text, basefd, traps[i][0]), 0);
    }
    /* And something that is as it should be. */
    write_at(basefd, "hub/models--o--good/refs/main", SHA);
    write_at(basefd, "hub/models--o--good/blobs/" SHA, "");
    assert_int_equal(mlc_mkdir_parents_at(basefd,
                                          "hub/models--o--good/snapshots/" SHA
                                          "/config.json"),
                     0);
    assert_int_equal(symlinkat("../../blobs/" SHA, basefd,
                               "hub/models--o--good/snapshots/" SHA
                               "/config.json"),
                     0);
}

static bool
is_never_inside(const struct mlc_domain *d, const char *path,
                const char **ret_inside)
{
    return false;
}

static void
place_default(struct place *p)
{
    struct mlc_domain *d = &p->d;

    mkdirat(p->storefd, d->backend->name, 0755);
    assert_true(
        asprintf(&d->bases[0].path, "%s/%s", p->store, d->backend->name) > 0);
    d->bases[0].prefix = "";
    d->bases[0].fd =
        openat(p->storefd, d->backend->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(d->bases[0].fd >= 0);
    d->n_bases = 1;
}

static void
begin(struct place *p, const struct mlc_backend *b, bool is_read_only)
{
    struct mlc_cache_conf conf = {.memory = 16 << 20,
                                  .timeout_ms = 2000,
                                  .lookup_ms = 1000,
                                  .max_connections = 2,
                                  .is_offline = true};
    struct mlc_domain *d = &p->d;
    struct set_urls urls;
    char *err = NULL;
    char url[64];
    int dirfd;

    memset(p, 0, sizeof *p);
    p->random = 1;
    snprintf(p->dir, sizeof p->dir, "/tmp/mlc-contract.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->store, sizeof p->store, "%s/store", p->dir);
    dirfd = open(p->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(dirfd >= 0);
    assert_int_equal(mkdirat(dirfd, "store", 0755), 0);
    p->storefd = openat(dirfd, "store", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(p->storefd, ".mlcachefs", 0700), 0);
    p->privfd =
        openat(p->storefd, ".mlcachefs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->privfd >= 0);
    setenv("HOME", p->dir, 1);

    listen_somewhere(p, url);
    p->options = urls.o = all_options();
    urls.url = url;
    mlc_options_each(p->options, set_url, &urls);
    assert_int_equal(mlc_options_set(p->options, "store", p->store, NULL), 0);
    assert_int_equal(mlc_options_finish(p->options, &err), 0);
    assert_int_equal(mlc_cache_new(&conf, &p->cache), 0);
    assert_int_equal(mlc_store_open(p->privfd, p->cache->pool, p->cache->budget,
                                    p->cache->evictor, 2000, &p->objects),
                     0);

    d->backend = b;
    d->options = p->options;
    d->cache = p->cache;
    d->is_inside = is_never_inside;
    d->is_read_only = is_read_only;
    d->privfd = is_read_only ? -1 : p->privfd;
    d->store = is_read_only ? NULL : p->objects;
    for (unsigned i = 0; i < MLC_MAX_BASES; i++)
        d->bases[i].fd = -1;
    if (b->priv_size) {
        d->priv = calloc(1, b->priv_size);
        assert_non_null(d->priv);
    }
    if (is_read_only) { /* its places must be there already */
        mkdirat(p->storefd, b->name, 0755);
    }
    if (b->place)
        assert_int_equal(b->place(d, p->store), 0);
    else
        place_default(p);
    assert_true(d->n_bases >= 1 && d->n_bases <= MLC_MAX_BASES);
    assert_string_equal(d->bases[0].prefix, "");
    for (unsigned i = 0; i < d->n_bases; i++) {
        assert_true(d->bases[i].fd >= 0);
        assert_true(d->bases[i].path[0] == '/');
        /* Nothing of the user's own is touched by this test. */
        assert_int_equal(strncmp(d->bases[i].path, p->store, strlen(p->store)),
                         0);
    }
    make_outside(p, dirfd);
    make_traps(p, d->bases[0].fd);
    close(dirfd);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void
finish(struct place *p)
{
    char event[4096] __attribute__((aligned(8)));
    struct mlc_domain *d = &p->d;

    mlc_cache_stop_network(p->cache);
    mlc_store_stop(p->objects);
    mlc_cache_stop(p->cache);
    mlc_domain_close(d);
    mlc_domain_close(d); /* does nothing */
    free(d->priv);
    for (unsigned i = 0; i < d->n_bases; i++) {
        close(d->bases[i].fd);
        free(d->bases[i].path);
    }
    mlc_store_close(p->objects);
    mlc_cache_free(p->cache);
    mlc_options_free(p->options);

    assert_int_equal(accept(p->listener, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(read(p->watch, event, sizeof event), -1);
    assert_int_equal(errno, EAGAIN);
    close(p->listener);
    close(p->watch);
    close(p->privfd);
    close(p->storefd);
    nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- questions about odd paths ------------------------------------------- */

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const char *const parts[] = {
    "hub",
    "models--o--n",
    "models--o--link",
    "models--o--good",
    "models--p--n",
    "config.json",
    "models--n",
    "datasets--o--n",
    "spaces--o--n",
    "models--",
    "models----",
    "models--a--b--c",
    "models--..--..",
    "models--%2e%2e--n",
    "models--o--n\n",
    "refs",
    "blobs",
    "snapshots",
    "trees",
    ".no_exist",
    ".locks",
    "main",
    "refs%2Fpr%2F1",
    SHA,
    SHA256,
    SHA ".json",
    SHA ".incomplete",
    "0123456789ABCDEF0123456789abcdef01234567",
    "token",
    "made",
    "remote.bin",
    "hello.txt",
    "http:",
    "https:",
    "127.0.0.1",
    "127.0.0.1:1",
    "[::1]",
    "user:password@host",
    "cache.db",
    "compatibility.json",
    "en_core_web_sm",
    "en_core_web_sm-3.8.0",
    "dream.recipe",
    "error.txt",
    "...",
    "..%2f..%2fetc",
    "..;",
    "escape",
    " ",
    "~",
    "-rf",
    "*?[",
    "$(id)",
    "%s%n%d",
    "\\..\\..",
    "a?b=c#d",
    "\x01\x1b[31m\x7f",
    "\xff\xfe\x80",
    "\xc3\xa9",
    ".mlcachefs",
    ".mlc-tmp-0123456789abcdef",
    "CACHEDIR.TAG",
    X50 X50 X50 X50 X50 "xxxxx",
};

static unsigned
next_random(struct place *p, unsigned limit)
{
    /* xorshift64: the same paths each time. */
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return (unsigned)((p->random >> 11) % limit);
}

/* Half of the paths begin as real ones do. */
static void
make_path(struct place *p, char *path, size_t size)
{
    static const char *const begins[] = {
        "",
        "hub/",
        "hub/models--o--n/",
        "hub/models--o--n/snapshots/" SHA "/",
        "hub/models--o--n/refs/",
        "hub/models--o--n/blobs/",
        "hub/models--o--good/",
        "hub/models--o--good/snapshots/" SHA "/",
        "hub/models--p--n/refs/",
        "made/",
        "https:/127.0.0.1:1/",
    };
    unsigned n = 1 + next_random(p, 4);
    size_t len;

    snprintf(path, size, "%s",
             next_random(p, 2)
                 ? ""
                 : begins[next_random(p, sizeof begins / sizeof *begins)]);
    len = strlen(path);
    for (unsigned i = 0; i < n; i++)
        len += (size_t)snprintf(
            path + len, size - len, "%s%s", i ? "/" : "",
            parts[next_random(p, sizeof parts / sizeof *parts)]);
    assert_true(len < size);
}

struct emitted {
    size_t n, stop_at;
};

static int
emit(void *arg, const char *name, unsigned char type)
{
    struct emitted *e = arg;

    assert_true(mlc_name_is_safe(name));
    assert_true(type == DT_DIR || type == DT_REG || type == DT_LNK);
    return ++e->n == e->stop_at ? -ECANCELED : 0;
}

static void
assert_answer(int r, const char *what, const char *path)
{
    switch (r) {
    case 0:
    case -ENOENT:
    case -ENOTDIR:
    case -EISDIR:
    case -EACCES:
    case -EPERM:
    case -EIO:
    case -EROFS:
    case -EINVAL:
    case -EXDEV:
    case -EEXIST:
    case -ELOOP:
    case -ENAMETOOLONG:
    case -ESTALE:
        return;
    default: /* -EAGAIN, too: nothing comes while offline */
        fail_msg("%s of '%s': %s", what, path,
                 r < 0 ? strerrorname_np(-r) : "positive");
    }
}

static void
check_entry(const struct mlc_backend *b, const struct mlc_entry *e,
            const struct stat *local)
{
    switch (e->kind) {
    case MLC_KIND_LOCAL:
        assert_non_null(local);
        return;
    case MLC_KIND_DIR:
        return;
    case MLC_KIND_SYMLINK:
    case MLC_KIND_INLINE:
        assert_non_null(e->text);
        if (e->kind == MLC_KIND_SYMLINK)
            assert_true(e->text_len > 0 && strlen(e->text) == e->text_len);
        return;
    case MLC_KIND_PRIVATE:
        assert_non_null(e->text);
        assert_true(e->text[0] != '/');
        return;
    case MLC_KIND_OBJECT:
        assert_non_null(b->locate);
        assert_true(e->present <= e->size);
        return;
    case MLC_KIND_VIEW:
        assert_non_null(b->view);
        return;
    }
    fail_msg("no such kind: %d", (int)e->kind);
}

static void
look_up(struct mlc_domain *d, const char *path, const struct stat *local)
{
    struct mlc_ask ask = {.deadline_ms = mlc_mono_ms() + 1000};
    struct mlc_entry e;
    int r = mlc_domain_lookup(d, path, local, &ask, &e);

    assert_answer(r, "lookup", path);
    if (r == 0)
        check_entry(d->backend, &e, local);
    mlc_entry_done(&e);
}

static void
ask_everything(struct mlc_domain *d, const char *path)
{
    static const mode_t modes[] = {S_IFREG | 0644, S_IFDIR | 0755,
                                   S_IFLNK | 0777};
    struct mlc_ask ask = {.deadline_ms = mlc_mono_ms() + 1000};
    int64_t begin_ms = mlc_mono_ms();
    struct emitted all = {0}, some = {.stop_at = 1};
    struct mlc_object *obj = NULL;
    const struct mlc_base *base;
    struct mlc_info info;
    const char *rel;
    struct stat st;
    int r;

    base = mlc_domain_base(d, path, &rel);
    look_up(d, path, NULL);
    if (fstatat(base->fd, *rel ? rel : ".", &st, AT_SYMLINK_NOFOLLOW) == 0)
        look_up(d, path, &st);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct stat made_up = {.st_mode = modes[i], .st_size = 1, .st_ino = 7};

        look_up(d, path, &made_up);
        assert_answer(mlc_domain_may_create(d, path, modes[i]), "may_create",
                      path);
    }
    assert_answer(mlc_domain_list(d, path, &ask, emit, &all), "list", path);
    r = mlc_domain_list(d, path, &ask, emit, &some);
    if (all.n) /* what emit says comes back, at once */
        assert_true(r == -ECANCELED && some.n == 1);
    r = mlc_domain_locate(d, path, &ask, &obj);
    assert_answer(r, "locate", path);
    if (r == 0)
        mlc_object_unref(obj);
    assert_answer(mlc_domain_describe(d, path, &info), "describe", path);
    mlc_info_done(&info);
    mlc_domain_is_unlisted(d, path, "name");
    mlc_domain_is_unlisted(d, "", path);
    if (!d->is_read_only) {
        mlc_domain_changed(d, path);
        if (*path)
            mlc_domain_removed(d, path);
    }
    if (mlc_mono_ms() - begin_ms > MAX_TIME)
        fail_msg("'%s' took %lld ms", path,
                 (long long)(mlc_mono_ms() - begin_ms));
}

static void
answer_odd_paths(bool is_read_only)
{
    for (size_t i = 0; mlc_backends[i]; i++) {
        struct mlc_status status;
        struct place p;
        char path[4096];

        begin(&p, mlc_backends[i], is_read_only);
        assert_int_equal(mlc_domain_open(&p.d), 0);
        ask_everything(&p.d, "");
        for (size_t j = 0; j < sizeof parts / sizeof *parts; j++)
            ask_everything(&p.d, parts[j]);
        for (unsigned j = 0; j < N_PATHS; j++) {
            make_path(&p, path, sizeof path);
            ask_everything(&p.d, path);
        }
        /* As long and as deep as the kernel lets a path be. */
        memset(path, 'a', sizeof path - 1);
        for (size_t j = 1; j < sizeof path - 1; j += 2)
            path[j] = '/';
        path[sizeof path - 2] = 'a';
        path[sizeof path - 1] = '\0';
        ask_everything(&p.d, path);
        mlc_domain_get_status(&p.d, &status);
        finish(&p);
    }
}

static void
odd_paths_are_answered(void **state)
{
    answer_odd_paths(false);
}

static void
odd_paths_are_answered_read_only(void **state)
{
    answer_odd_paths(true);
}

static void
a_domain_that_was_not_opened_can_be_closed(void **state)
{
    for (size_t i = 0; mlc_backends[i]; i++) {
        struct place p;

        begin(&p, mlc_backends[i], false);
        /* What the core does after a failed open. */
        if (mlc_backends[i]->close)
            mlc_backends[i]->close(&p.d);
        finish(&p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique_and_well_formed),
        cmocka_unit_test(summaries_are_one_line),
        cmocka_unit_test(options_are_unique_and_explained),
        cmocka_unit_test(functions_come_in_sets),
        cmocka_unit_test(odd_paths_are_answered),
        cmocka_unit_test(odd_paths_are_answered_read_only),
        cmocka_unit_test(a_domain_that_was_not_opened_can_be_closed),
    };

    unsetenv("HF_HOME");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    unsetenv("XDG_CACHE_HOME");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
