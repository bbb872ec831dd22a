/* SPDX-License-Identifier: MIT */
/* Every allocation fails once, in turn: each call says -ENOMEM, frees what it
 * had (AddressSanitizer looks), and works when it is asked again.
 *
 * Allocation functions are replaced at link time (--wrap, see Makefile.am) in
 * our own objects, and in jansson through its own hook; what libcurl and
 * OpenSSL allocate is left alone, and so are other threads. */
#include "config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/cache/cache.h"
#include "backends/cache/digest.h"
#include "backends/cache/doc.h"
#include "backends/cache/object.h"
#include "backends/cache/pool.h"
#include "backends/format/folder.h"
#include "backends/format/layout.h"
#include "backends/format/wants.h"
#include "backends/format/wheel.h"
#include "backends/hf_tree.h"
#include "backends/util/buf.h"
#include "backends/util/clock.h"
#include "backends/util/json.h"
#include "backends/util/option.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"
#include "tests/object-reader.h"
#include "tests/zip-writer.h"

#define SHA "0123456789abcdef0123456789abcdef01234567"
#define SHA256                                                                 \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define MAX_ALLOCATIONS 10000

/* --- the wrapped functions ----------------------------------------------- */

static _Thread_local unsigned long n_left; /* 0: none fails */
static _Thread_local bool has_failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **ret, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int __wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));
int __wrap___asprintf_chk(char **ret, int flag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static bool
fails_now(void)
{
    if (!n_left || --n_left)
        return false;
    has_failed = true;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    return fails_now() ? NULL : __real_realloc(p, size);
}

char *
__wrap_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = __wrap_malloc(len + 1);

    if (copy) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

char *
__wrap_strdup(const char *s)
{
    return __wrap_strndup(s, PTRDIFF_MAX);
}

int
__wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
    va_list again;
    int len;

    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    /* On failure glibc leaves no promise about *ret: nor do we. */
    *ret = (char *)(uintptr_t)1;
    if (len < 0)
        return -1;
    *ret = __wrap_malloc((size_t)len + 1);
    if (!*ret) {
        *ret = (char *)(uintptr_t)1;
        return -1;
    }
    return vsnprintf(*ret, (size_t)len + 1, fmt, ap);
}

int
__wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap)
{
    return __wrap_vasprintf(ret, fmt, ap);
}

int
__wrap_asprintf(char **ret, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = __wrap_vasprintf(ret, fmt, ap);
    va_end(ap);
    return r;
}

int
__wrap___asprintf_chk(char **ret, int flag, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = __wrap_vasprintf(ret, fmt, ap);
    va_end(ap);
    return r;
}

/* --- the loop ------------------------------------------------------------ */

/* Runs fn with its first, second... allocation failing, until none is left to
 * fail; fn frees whatever it made.  'wanted' is what it returns when all is
 * well, 'other' what it may say beside -ENOMEM.  How many there were. */
static unsigned
exhaust_or(int (*fn)(void *arg), void *arg, int wanted, int other)
{
    for (unsigned long n = 1; n < MAX_ALLOCATIONS; n++) {
        int r;

        n_left = n;
        has_failed = false;
        r = fn(arg);
        n_left = 0;
        if (!has_failed) {
            assert_int_equal(r, wanted);
            return (unsigned)n - 1;
        }
        if (r != -ENOMEM && r != other)
            fail_msg("allocation %lu failed, and it returned %d", n, r);
    }
    fail_msg("no end of allocations");
    return 0;
}

static void
exhaust(int (*fn)(void *arg), void *arg)
{
    assert_true(exhaust_or(fn, arg, 0, -ENOMEM) > 0);
}

/* --- util/ ---------------------------------------------------------------- */

static int
say(const char *s)
{
    return s ? 0 : -ENOMEM;
}

static int
use_buf(void *arg)
{
    struct mlc_buf b;
    int r;

    mlc_buf_init(&b, 1 << 20);
    r = mlc_buf_puts(&b, "text");
    for (unsigned i = 0; r == 0 && i < 100; i++)
        r = mlc_buf_printf(&b, "%u: %s\n", i, "more of it");
    if (r < 0) {
        /* Emptied, and of use. */
        assert_int_equal(b.len, 0);
        assert_int_equal(mlc_buf_puts(&b, "again"), 0);
    }
    mlc_buf_done(&b);
    return r;
}

static int
use_paths(void *arg)
{
    char *s;
    int r;

    s = mlc_path_join("a", "b");
    r = say(s);
    free(s);
    if (r < 0)
        return r;
    s = mlc_url_encode("a b/\xff", true);
    r = say(s);
    free(s);
    if (r < 0)
        return r;
    s = mlc_url_redact("http://user:secret@host/path?token=secret\x01");
    r = say(s);
    free(s);
    return r;
}

static int
use_urls(void *arg)
{
    char *s = mlc_url_origin("HTTP://Host/path");
    int r = say(s);

    free(s);
    if (r < 0)
        return r;
    s = NULL;
    r = mlc_url_resolve("http://host/a/b", "../c", &s);
    free(s);
    return r;
}

static int
use_json(void *arg)
{
    static const char text[] =
        "{\"a\": [1, 2.5, \"text\", {\"b\": null}], \"c\": true}";
    json_t *root = NULL;
    int r = mlc_json_parse(text, strlen(text), &root, NULL);

    if (r == 0)
        json_decref(root);
    return r;
}

static int
use_times(void *arg)
{
    char *err = NULL;
    int64_t ms;
    uint64_t bytes;
    int r = mlc_parse_time("days=5;hours=\"x\"", &ms, &err);

    /* The sentence is what may be missing. */
    free(err);
    if (r == -ENOMEM)
        return r;
    assert_int_equal(r, -EINVAL);
    err = NULL;
    r = mlc_parse_size("12X", &bytes, &err);
    free(err);
    return r;
}

static int
use_files(void *arg)
{
    const struct bench *b = arg;
    char *data = NULL;
    size_t len;
    int r = mlc_mkdir_parents_at(b->dirfd, "some/folder/file");

    if (r == 0)
        r = mlc_write_file_at(b->dirfd, "some/folder/file", "text", 4, 0644);
    if (r == 0)
        r = mlc_read_file_at(b->dirfd, "some/folder/file", 100, &data, &len);
    free(data);
    return r;
}

static const struct mlc_option table[] = {
    {"offline", MLC_OPT_FLAG, NULL, NULL, NULL, "no network"},
    {"only", MLC_OPT_STRING, "DOMAIN", NULL, NULL, "one domain"},
    {"endpoint", MLC_OPT_URL, "URL", "MLC_T_URL", "https://hub", "the Hub"},
    {"expiry", MLC_OPT_TIME, "TIME", NULL, "hours=12", "expiry"},
    {"memory", MLC_OPT_SIZE, "SIZE", NULL, "256M", "memory"},
    {"stale", MLC_OPT_CHOICE, "never|on-error", NULL, "never", "stale"},
    {NULL, MLC_OPT_FLAG, NULL, NULL, NULL, NULL},
};

static int
use_options(void *arg)
{
    struct mlc_options *o = mlc_options_new();
    char *err = NULL;
    int r;

    if (!o)
        return -ENOMEM;
    r = mlc_options_add_table(o, table);
    if (r == 0)
        r = mlc_options_set(o, "offline", NULL, &err);
    if (r == 0)
        r = mlc_options_set(o, "expiry", "days=5", &err);
    if (r == 0)
        r = mlc_options_set(o, "memory", "1G", &err);
    if (r == 0)
        r = mlc_options_set(o, "only", "hf", &err);
    if (r == 0)
        r = mlc_options_finish(o, &err);
    free(err);
    mlc_options_free(o);
    return r;
}

/* A value that is refused stays so, if need be without the sentence. */
static int
refuse_option(void *arg)
{
    struct mlc_options *o = mlc_options_new();
    char *err = NULL;
    int r;

    if (!o)
        return -ENOMEM;
    r = mlc_options_add_table(o, table);
    if (r == 0)
        r = mlc_options_set(o, "stale", "sometimes", &err);
    free(err);
    mlc_options_free(o);
    return r;
}

static void
util_survives(void **state)
{
    exhaust(use_buf, NULL);
    exhaust(use_paths, NULL);
    exhaust(use_urls, NULL);
    /* Jansson calls most of its own failures to allocate errors of syntax. */
    assert_true(exhaust_or(use_json, NULL, 0, -EBADMSG) > 0);
    exhaust_or(use_times, NULL, -EINVAL, -EINVAL);
    exhaust(use_files, *state);
}

static void
options_survive(void **state)
{
    exhaust(use_options, NULL);
    exhaust_or(refuse_option, NULL, -EINVAL, -EINVAL);
    setenv("MLC_T_URL", "ftp://host", 1);
    exhaust_or(use_options, NULL, -EINVAL, -EINVAL);
    unsetenv("MLC_T_URL");
}

/* --- trees --------------------------------------------------------------- */

static const char listing[] =
    "[{\"type\":\"file\",\"oid\":\"" SHA "\",\"size\":7,\"path\":\"a/b.txt\"},"
    "{\"type\":\"directory\",\"oid\":\"" SHA "\",\"size\":0,\"path\":\"a\"},"
    "{\"type\":\"file\",\"oid\":\"" SHA "\",\"size\":1000,\"path\":\"c.bin\","
    "\"lfs\":{\"oid\":\"" SHA256 "\",\"size\":1000,\"pointerSize\":120}}]";

static int
stop_at_nothing(void *arg, const char *name, unsigned char type)
{
    return 0;
}

static int
use_tree(void *arg)
{
    struct mlc_hf_tree_builder *b = NULL;
    struct mlc_hf_tree *t = NULL;
    struct mlc_buf text;
    char *err = NULL;
    size_t i;
    int r = mlc_hf_tree_builder_new(&b);

    mlc_buf_init(&text, 1 << 20);
    if (r == 0)
        r = mlc_hf_tree_add_page(b, listing, strlen(listing), &err);
    if (r == 0)
        r = mlc_hf_tree_finish(b, &t);
    if (r == 0)
        r = mlc_hf_tree_list(t, "", stop_at_nothing, NULL);
    if (r == 0)
        assert_int_equal(mlc_hf_tree_find(t, "a/b.txt", &i), 0);
    if (r == 0)
        r = mlc_hf_tree_format(t, &text);
    mlc_hf_tree_unref(t);
    t = NULL;
    if (r == 0)
        r = mlc_hf_tree_parse(text.data, text.len, &t);
    mlc_hf_tree_unref(t);
    mlc_hf_tree_builder_free(b);
    mlc_buf_done(&text);
    free(err);
    return r;
}

static int
refuse_page(void *arg)
{
    struct mlc_hf_tree_builder *b = NULL;
    char *err = NULL;
    int r = mlc_hf_tree_builder_new(&b);

    if (r == 0)
        r = mlc_hf_tree_add_page(b, "[{\"type\":\"file\"}]", 17, &err);
    free(err);
    mlc_hf_tree_builder_free(b);
    return r;
}

static void
trees_survive(void **state)
{
    assert_true(exhaust_or(use_tree, NULL, 0, -EBADMSG) > 0);
    exhaust_or(refuse_page, NULL, -EBADMSG, -EBADMSG);
}

/* --- cache/ -------------------------------------------------------------- */

struct engine {
    struct bench *bench;
    struct mlc_cache *cache;
    char url[64]; /* somebody listens there, and never answers */
    int listener;
    unsigned n_asked; /* each question has a key of its own */
    unsigned n_given, n_freed;
};

static void
listen_silently(struct engine *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(e->listener >= 0);
    assert_int_equal(bind(e->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(e->listener, 64), 0);
    assert_int_equal(getsockname(e->listener, (struct sockaddr *)&a, &len), 0);
    snprintf(e->url, sizeof e->url, "http://127.0.0.1:%d", ntohs(a.sin_port));
}

static void
never_finishes(void *arg, const struct mlc_doc_answer *a,
               struct mlc_doc_verdict *ret)
{
    ret->r = -EIO;
}

static void
count_freed(void *arg)
{
    struct engine *e = arg;

    __atomic_add_fetch(&e->n_freed, 1, __ATOMIC_SEQ_CST);
}

static int
ask_doc(void *arg)
{
    static const char *const headers[] = {"Accept: text/plain", NULL};
    struct engine *e = arg;
    struct mlc_ask ask = {.deadline_ms = mlc_mono_ms() + 1000};
    struct mlc_doc_spec spec = {.url = e->url,
                                .bearer = "token",
                                .headers = headers,
                                .max_bytes = 1000,
                                .finish = never_finishes,
                                .arg = e,
                                .free_arg = count_freed};
    char key[32];

    snprintf(key, sizeof key, "test/%u", e->n_asked++);
    spec.key = key;
    e->n_given++;
    return mlc_doc_ask(e->cache->docs, &ask, &spec);
}

static int
get_object(void *arg)
{
    struct engine *e = arg;
    struct mlc_fetch_spec fetch = {.url = e->url, .label = "label"};
    struct mlc_object_spec spec = {.label = "label",
                                   .size = 3 * MLC_BUFFER,
                                   .homefd = e->bench->dirfd,
                                   .home = "home/file",
                                   .mode = 0644,
                                   .feed_ops = &mlc_fetch_ops};
    struct mlc_object *obj = NULL;
    char key[32];
    int r;

    snprintf(key, sizeof key, "object/%u", e->n_asked++);
    spec.key = key;
    r = mlc_digest_parse(SHA256, &spec.digest);
    if (r == 0)
        r = mlc_fetch_new(&e->cache->fetch, &fetch, &spec.feed);
    if (r == 0)
        r = mlc_store_get(e->bench->store, &spec, &obj);
    mlc_object_unref(obj);
    return r;
}

static int
make_parts(void *arg)
{
    struct mlc_budget *budget = NULL;
    struct mlc_pool *pool = NULL;
    int r = mlc_budget_new(1 << 20, &budget);

    if (r == 0)
        r = mlc_pool_new(2, 1, &pool);
    if (pool)
        mlc_pool_stop(pool);
    mlc_pool_free(pool);
    mlc_budget_free(budget);
    return r;
}

static int
make_cache(void *arg)
{
    static const struct mlc_cache_conf conf = {.privfd = -1,
                                               .memory = 16 << 20,
                                               .timeout_ms = 1000,
                                               .lookup_ms = 1000,
                                               .max_connections = 4};
    struct mlc_cache *c = NULL;
    int r = mlc_cache_new(&conf, &c);

    if (r < 0)
        return r;
    mlc_cache_stop_network(c);
    mlc_cache_stop(c);
    mlc_cache_free(c);
    return 0;
}

static void
free_wait(struct mlc_wait *w)
{
}

static struct mlc_wait *
get_wait(struct mlc_ask *ask)
{
    return ask->arg;
}

static int
use_waitlist(void *arg)
{
    struct mlc_wait w = {.refs = 1, .free = free_wait, .wake = free_wait};
    struct mlc_ask ask = {.get_wait = get_wait, .arg = &w};
    struct mlc_waitlist l = {0};
    int r = mlc_waitlist_add(&l, &ask);

    mlc_waitlist_wake(&l);
    assert_int_equal(atomic_load(&w.refs), 1);
    return r;
}

static void
engine_survives(void **state)
{
    exhaust(make_parts, NULL);
    exhaust(make_cache, NULL);
    exhaust_or(use_waitlist, NULL, -EAGAIN, -EAGAIN);
}

static void
questions_survive(void **state)
{
    static const struct mlc_cache_conf conf = {.privfd = -1,
                                               .memory = 16 << 20,
                                               .timeout_ms = 1000,
                                               .lookup_ms = 60000,
                                               .max_connections = 4};
    struct engine e = {.bench = *state};

    listen_silently(&e);
    assert_int_equal(mlc_cache_new(&conf, &e.cache), 0);
    /* A request that can't be started ends as one that failed. */
    assert_true(exhaust_or(ask_doc, &e, -EAGAIN, -EAGAIN) > 0);
    exhaust(get_object, &e);
    bench_stop(e.bench);
    mlc_cache_stop_network(e.cache);
    mlc_cache_stop(e.cache);
    mlc_cache_free(e.cache);
    /* Taken over in every case. */
    assert_int_equal(e.n_freed, e.n_given);
    bench_start(e.bench);
    close(e.listener);
}

/* --- formats -------------------------------------------------------------- */

#define META "{\"lang\":\"m\",\"name\":\"m\",\"version\":\"1\"}"
#define HASH "sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"

static const struct zip_item wheel_items[] = {
    {.name = "m_m/__init__.py", .data = "abc", .how = ZIP_DEFLATE},
    {.name = "m_m/meta.json", .data = "abc", .how = ZIP_DEFLATE},
    {.name = "m_m/m_m-1/config.cfg", .data = "abc"},
    {.name = "m_m/m_m-1/meta.json", .data = "abc"},
    {.name = "m_m-1.dist-info/RECORD",
     .data = "m_m/__init__.py," HASH ",3\nm_m/meta.json," HASH ",3\n"
             "m_m/m_m-1/config.cfg," HASH ",3\nm_m/m_m-1/meta.json," HASH
             ",3\nm_m-1.dist-info/RECORD,,\n",
     .how = ZIP_DEFLATE},
};

static ssize_t
read_image(void *arg, uint64_t off, void *buf, size_t len)
{
    const struct zip_image *image = arg;

    memcpy(buf, image->bytes + off, len);
    return (ssize_t)len;
}

static int
use_wheel(void *arg)
{
    struct zip_image *image = arg;
    struct mlc_record *record = NULL;
    struct mlc_zip *z = NULL;
    uint64_t from;
    int r = mlc_zip_parse(image->len, image->bytes, image->len,
                          &mlc_zip_default_limits, &z, &from, NULL);

    if (r == 0)
        r = mlc_wheel_check(z, "m_m", "1", NULL);
    if (r == 0)
        r = mlc_wheel_read_record(z, "m_m", "1", read_image, image, NULL,
                                  &record, NULL);
    mlc_record_free(record);
    mlc_zip_free(z);
    return r;
}

static int
use_meta(void *arg)
{
    return mlc_wheel_check_meta(META, strlen(META), "m_m", "1", NULL);
}

/* A model of one level, without a text encoder. */
static const char *const small[][2] = {
    {"model_index.json", "{\"scheduler\":[\"diffusers\",\"PNDMScheduler\"],"
                         "\"unet\":[\"diffusers\",\"UNet2DConditionModel\"],"
                         "\"vae\":[\"diffusers\",\"AutoencoderKL\"]}"},
    {"unet/config.json", "{\"block_out_channels\":[4],\"layers_per_block\":1,"
                         "\"down_block_types\":[\"DownBlock2D\"],"
                         "\"up_block_types\":[\"UpBlock2D\"]}"},
    {"vae/config.json", "{\"block_out_channels\":[4],"
                        "\"down_block_types\":[\"DownEncoderBlock2D\"],"
                        "\"up_block_types\":[\"UpDecoderBlock2D\"]}"},
    {"scheduler/scheduler_config.json", "{}"},
};

static int
make_folder(struct mlc_folder **ret)
{
    size_t i;
    int r = mlc_folder_new(ret);

    for (i = 0; r == 0 && i < sizeof small / sizeof *small; i++)
        r = mlc_folder_add(*ret, small[i][0], small[i][1], strlen(small[i][1]),
                           NULL);
    return r;
}

struct header {
    char *bytes;
    size_t len;
    uint64_t file_size;
};

/* The source of what is wanted, and of nothing else. */
static void
add_tensors(struct mlc_wants *w, size_t from, const char *prefix)
{
    size_t i;

    for (i = from; i < w->n; i++) {
        struct mlc_want *want = &w->all[i];
        char *name = NULL;

        assert_true(asprintf(&name, "%s%s", prefix, want->source_name) > 0);
        free(want->source_name);
        want->source_name = name;
    }
}

static void
make_checkpoint(struct header *h)
{
    struct mlc_folder *folder = NULL;
    struct mlc_wants w = {.r = 0};
    struct mlc_tensor *tensors;
    size_t n, i;

    assert_int_equal(make_folder(&folder), 0);
    assert_int_equal(
        mlc_unet_wants(mlc_folder_json(folder, small[1][0]), "", &w, NULL), 0);
    n = w.n;
    add_tensors(&w, 0, "model.diffusion_model.");
    assert_int_equal(
        mlc_vae_wants(mlc_folder_json(folder, small[2][0]), "", &w, NULL), 0);
    add_tensors(&w, n, "first_stage_model.");
    tensors = calloc(w.n, sizeof *tensors);
    assert_non_null(tensors);
    for (i = 0; i < w.n; i++) {
        tensors[i].name = w.all[i].source_name;
        tensors[i].dtype = MLC_DTYPE_F16;
        tensors[i].n_dims = w.all[i].n_dims;
        tensors[i].shape = w.all[i].shape;
    }
    assert_int_equal(mlc_safetensors_format(tensors, w.n, &h->bytes, &h->len),
                     0);
    h->file_size = tensors[w.n - 1].end;
    free(tensors);
    mlc_wants_done(&w);
    mlc_folder_free(folder);
}

static int
use_checkpoint(void *arg)
{
    const struct mlc_layout_options options = {.flat_clip_names = false};
    const struct header *h = arg;
    struct mlc_safetensors *f = NULL;
    struct mlc_folder *folder = NULL;
    struct mlc_layout *layout = NULL;
    char *err = NULL;
    int r = make_folder(&folder);

    if (r == 0)
        r = mlc_safetensors_parse(h->bytes + 8, h->len - 8, h->file_size, &f,
                                  &err);
    if (r == 0)
        r = mlc_layout_new(folder, f, NULL, &options, &layout, &err);
    if (r == 0)
        r = mlc_folder_finish(folder, layout, &err);
    free(err);
    mlc_layout_free(layout);
    mlc_folder_free(folder);
    mlc_safetensors_free(f);
    return r;
}

static int
use_builtin(void *arg)
{
    static const struct mlc_checkpoint_kind kind = {MLC_FAMILY_SDXL,
                                                    MLC_TASK_INPAINT};
    struct mlc_folder *folder = NULL;
    int r = mlc_folder_new_builtin(&kind, &folder);

    mlc_folder_free(folder);
    return r;
}

static void
checkpoints_survive(void **state)
{
    struct header h = {.len = 0};

    /* Jansson 2.14 drops a character of a long string when it can't grow its
     * buffer, and says nothing: its own allocations don't fail here. */
    json_set_alloc_funcs(__real_malloc, free);
    make_checkpoint(&h);
    exhaust(use_checkpoint, &h);
    exhaust(use_builtin, NULL);
    free(h.bytes);
    json_set_alloc_funcs(__wrap_malloc, free);
}

static void
formats_survive(void **state)
{
    struct zip_image image = zip_write(
        wheel_items, sizeof(wheel_items) / sizeof(*wheel_items), 0, NULL, 0);

    exhaust(use_wheel, &image);
    /* As above. */
    exhaust_or(use_meta, NULL, 0, -EBADMSG);
    zip_image_done(&image);
}

static int
setup(void **state)
{
    static struct bench b;

    bench_init(&b, 16 << 20);
    *state = &b;
    return 0;
}

static int
teardown(void **state)
{
    bench_done(*state);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(util_survives, setup, teardown),
        cmocka_unit_test(options_survive),
        cmocka_unit_test(trees_survive),
        cmocka_unit_test(engine_survives),
        cmocka_unit_test(formats_survive),
        cmocka_unit_test(checkpoints_survive),
        cmocka_unit_test_setup_teardown(questions_survive, setup, teardown),
    };

    unsetenv("MLC_T_URL");
    json_set_alloc_funcs(__wrap_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
