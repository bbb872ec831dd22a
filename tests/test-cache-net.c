/* SPDX-License-Identifier: MIT */
/* Transfers against a scripted server: what a mount cannot show exactly. */
#include "config.h"

#include "backends/cache/net.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/util/buf.h"
#include "backends/util/clock.h"
#include "tests/http-server.h"

#define TOKEN       "Authorization: Bearer hf_secret"
#define MIB         ((size_t)1024 * 1024)
#define TOO_LONG_MS 30000

struct fixture {
    struct mlc_net *net;
    struct http_server *a, *b;
    pthread_mutex_t lock;
    unsigned n_with_token;     /* lock; answered by b */
    unsigned n_landed_without; /* lock; "/landing" on a, without token */
    unsigned n_landed_with;    /* lock */
    unsigned char *pattern;    /* MIB bytes */
};

/* --- a resolver that can be silent ---------------------------------------- */

static pthread_mutex_t dns_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t dns_cond = PTHREAD_COND_INITIALIZER;
static bool dns_is_released;  /* dns_lock */
static unsigned dns_n_inside; /* dns_lock */

/* Interposes libc's for libcurl's resolver thread. */
int
getaddrinfo(const char *restrict node, const char *restrict service,
            const struct addrinfo *restrict hints,
            struct addrinfo **restrict res)
{
    int (*real)(const char *, const char *, const struct addrinfo *,
                struct addrinfo **);
    void *p = dlsym(RTLD_NEXT, "getaddrinfo");

    if (node && !strcmp(node, "silent.test")) {
        pthread_mutex_lock(&dns_lock);
        dns_n_inside++;
        pthread_cond_broadcast(&dns_cond);
        while (!dns_is_released)
            pthread_cond_wait(&dns_cond, &dns_lock);
        dns_n_inside--;
        pthread_cond_broadcast(&dns_cond);
        pthread_mutex_unlock(&dns_lock);
        return EAI_NONAME;
    }
    if (node && !strcmp(node, "unknown.test"))
        return EAI_NONAME;
    memcpy(&real, &p, sizeof(real));
    return real(node, service, hints, res);
}

/* Whoever asks for silent.test is told, and gone. */
static void
release_dns(void)
{
    pthread_mutex_lock(&dns_lock);
    dns_is_released = true;
    pthread_cond_broadcast(&dns_cond);
    while (dns_n_inside > 0)
        pthread_cond_wait(&dns_cond, &dns_lock);
    dns_is_released = false;
    pthread_mutex_unlock(&dns_lock);
}

/* --- a request and its result --------------------------------------------- */

struct req {
    struct mlc_net_request q;
    struct mlc_net *net;
    char url[256];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_done;       /* lock */
    int r;              /* lock */
    unsigned n_heads;   /* the rest: network thread, then the test */
    unsigned n_refused; /* lock */
    struct mlc_net_head head;
    char head_url[256];
    char seen[128];
    const char *look_for;
    struct mlc_buf body;
    int head_result;
    enum { TAKE, PAUSE_ONCE, PAUSE_RACING } mode;
    bool is_flip;
};

static int
req_head(struct mlc_net_request *q, const struct mlc_net_head *h)
{
    struct req *t = (struct req *)(void *)q;

    t->n_heads++;
    t->head = *h;
    snprintf(t->head_url, sizeof(t->head_url), "%s", h->url);
    return t->head_result;
}

static int
req_body(struct mlc_net_request *q, const void *data, size_t len)
{
    struct req *t = (struct req *)(void *)q;

    t->is_flip = !t->is_flip;
    if (t->mode == PAUSE_RACING && t->is_flip) {
        mlc_net_resume(t->net, q); /* earlier than the pause */
        return -EAGAIN;
    }
    if (t->mode == PAUSE_ONCE && t->n_refused == 0) {
        pthread_mutex_lock(&t->lock);
        t->n_refused++;
        pthread_cond_broadcast(&t->cond);
        pthread_mutex_unlock(&t->lock);
        return -EAGAIN;
    }
    return mlc_buf_append(&t->body, data, len);
}

static void
req_done(struct mlc_net_request *q, int r)
{
    struct req *t = (struct req *)(void *)q;
    const char *v = t->look_for ? mlc_net_header(q, t->look_for) : NULL;

    snprintf(t->seen, sizeof(t->seen), "%s", v ? v : "");
    pthread_mutex_lock(&t->lock);
    t->is_done = true;
    t->r = r;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

static void
req_init(struct req *t, struct fixture *f, const char *base, const char *path)
{
    pthread_condattr_t attr;

    memset(t, 0, sizeof(*t));
    snprintf(t->url, sizeof(t->url), "%s%s", base, path);
    t->q.url = t->url;
    t->q.on_head = req_head;
    t->q.on_body = req_body;
    t->q.on_done = req_done;
    t->net = f->net;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->cond, &attr);
    pthread_condattr_destroy(&attr);
    mlc_buf_init(&t->body, 4 * MIB);
}

static int
req_wait(struct req *t)
{
    struct timespec ts = mlc_mono_after(TOO_LONG_MS);
    int r;

    pthread_mutex_lock(&t->lock);
    while (!t->is_done) {
        if (pthread_cond_timedwait(&t->cond, &t->lock, &ts) != 0)
            break;
    }
    assert_true(t->is_done);
    r = t->r;
    pthread_mutex_unlock(&t->lock);
    return r;
}

static void
req_wait_refused(struct req *t)
{
    pthread_mutex_lock(&t->lock);
    while (t->n_refused == 0)
        pthread_cond_wait(&t->cond, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static int
req_run(struct req *t)
{
    assert_int_equal(mlc_net_start(t->net, &t->q), 0);
    return req_wait(t);
}

static void
req_fini(struct req *t)
{
    mlc_buf_done(&t->body);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->cond);
}

/* --- the servers ---------------------------------------------------------- */

static bool
answer_redirect(struct http_call *c, const char *base, const char *path)
{
    char head[512];

    snprintf(head, sizeof(head), "Location: %s%s\r\n", base, path);
    http_answer(c, 302, head, "you are being redirected");
    return true;
}

static bool
answer_b(struct http_call *c)
{
    struct fixture *f = c->arg;

    pthread_mutex_lock(&f->lock);
    f->n_with_token += http_has_header(c, "Authorization");
    pthread_mutex_unlock(&f->lock);
    if (!strcmp(c->path, "/back"))
        return answer_redirect(c, http_server_url(f->a), "/landing");
    http_answer(c, 200, "", "on b");
    return true;
}

static bool
answer_a(struct http_call *c)
{
    struct fixture *f = c->arg;
    const char *p = c->path;

    if (!strcmp(p, "/plain")) {
        http_answer(c, 200, "X-One: first\r\nx-one:  last \r\n", "hello");
    } else if (!strcmp(p, "/interim")) {
        http_send(c, "HTTP/1.1 103 Early\r\nX-One: early\r\n\r\n");
        http_answer(c, 200, "", "hello");
    } else if (!strcmp(p, "/to-b")) {
        return answer_redirect(c, http_server_url(f->b), "/landing");
    } else if (!strcmp(p, "/to-b-and-back")) {
        return answer_redirect(c, http_server_url(f->b), "/back");
    } else if (!strcmp(p, "/dir/relative")) {
        return answer_redirect(c, "../landing", "");
    } else if (!strcmp(p, "/landing")) {
        pthread_mutex_lock(&f->lock);
        if (http_has_line(c, TOKEN))
            f->n_landed_with++;
        else
            f->n_landed_without++;
        pthread_mutex_unlock(&f->lock);
        http_answer(c, 200, "", "landed");
    } else if (!strcmp(p, "/loop")) {
        return answer_redirect(c, "/loop", "");
    } else if (!strcmp(p, "/file")) {
        return answer_redirect(c, "file:///etc/passwd", "");
    } else if (!strcmp(p, "/nowhere")) {
        http_answer(c, 302, "", "no location");
    } else if (!strcmp(p, "/unchanged")) {
        http_send(c, "HTTP/1.1 304 X\r\nLocation: /loop\r\n\r\n");
    } else if (!strcmp(p, "/wordy")) {
        http_send(c,
                  "HTTP/1.1 302 X\r\nLocation: /landing\r\n"
                  "Content-Length: %zu\r\n\r\n",
                  MIB);
        http_send_bytes(c, f->pattern, MIB);
    } else if (!strcmp(p, "/short")) {
        http_send(c, "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhello");
        return false;
    } else if (!strcmp(p, "/chunk-short")) {
        http_send(c, "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\nhello\r\n");
        return false;
    } else if (!strcmp(p, "/stall")) {
        http_send(c, "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhello");
        http_wait_gone(c);
        return false;
    } else if (!strcmp(p, "/silent")) {
        http_wait_gone(c);
        return false;
    } else if (!strcmp(p, "/big")) {
        http_send(c, "HTTP/1.1 200 X\r\nContent-Length: %zu\r\n\r\n", MIB);
        http_send_bytes(c, f->pattern, MIB);
    } else if (!strcmp(p, "/range")) {
        http_answer(c, 206, "Content-Range: bytes 10-19/1000\r\n",
                    http_has_line(c, "Range: bytes=10-19") ? "0123456789" : "");
    } else if (!strcmp(p, "/open-range")) {
        http_answer(c, 206, "Content-Range: bytes 990-999/*\r\n",
                    http_has_line(c, "Range: bytes=990-") ? "0123456789" : "");
    } else if (!strcmp(p, "/encoding")) {
        http_answer(c, 200, "",
                    http_has_line(c, "Accept-Encoding: identity") ? "identity"
                    : http_has_line(c, "Accept-Encoding: gzip")   ? "gzip"
                                                                  : "neither");
    } else if (!strcmp(p, "/agent")) {
        http_answer(c, 200, "",
                    http_has_line(c, "User-Agent: mlcachefs/" PACKAGE_VERSION)
                        ? "yes"
                        : "no");
    } else if (!strcmp(p, "/busy")) {
        http_answer(c, 429, "Retry-After: 7\r\n", "");
    } else if (!strcmp(p, "/busy-date")) {
        http_answer(c, 503,
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n",
                    "");
    } else if (!strcmp(p, "/busy-limit")) {
        http_answer(c, 429, "RateLimit: \"api\";r=0;t=163\r\n", "");
    } else if (!strcmp(p, "/garbage")) {
        http_send(c, "this is not HTTP\r\n\r\n");
        return false;
    } else {
        http_answer(c, 404, "", "no such thing");
    }
    return true;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    pthread_mutex_init(&f->lock, NULL);
    f->pattern = malloc(MIB);
    assert_non_null(f->pattern);
    for (size_t i = 0; i < MIB; i++)
        f->pattern[i] = (unsigned char)(i * 2654435761u >> 13);
    f->a = http_server_new(answer_a, f);
    f->b = http_server_new(answer_b, f);
    assert_int_equal(mlc_net_new(&f->net), 0);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_net_stop(f->net);
    mlc_net_free(f->net);
    http_server_free(f->a);
    http_server_free(f->b);
    pthread_mutex_destroy(&f->lock);
    free(f->pattern);
    free(f);
    return 0;
}

/* One request to a, with the token; results stay in t until req_fini(). */
static int
get_a(struct fixture *f, struct req *t, const char *path)
{
    req_init(t, f, http_server_url(f->a), path);
    t->q.bearer = "hf_secret";
    t->look_for = "X-One";
    return req_run(t);
}

#define assert_body(t, text) assert_string_equal((t)->body.data, text)

/* --- answers -------------------------------------------------------------- */

static void
answer_comes_whole(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/plain"), 0);
    assert_body(&t, "hello");
    assert_int_equal(t.n_heads, 1);
    assert_int_equal(t.head.status, 200);
    assert_int_equal(t.head.content_length, 5);
    assert_false(t.head.has_range);
    assert_false(t.head.is_redirected);
    assert_int_equal(t.head.retry_after_ms, -1);
    assert_string_equal(t.head_url, t.url);
    assert_string_equal(t.seen, "last");
    req_fini(&t);
}

static void
interim_answers_are_skipped(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/interim"), 0);
    assert_int_equal(t.n_heads, 1);
    assert_int_equal(t.head.status, 200);
    assert_string_equal(t.seen, "");
    req_fini(&t);
}

static void
error_status_is_an_answer(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/none"), 0);
    assert_int_equal(t.head.status, 404);
    assert_body(&t, "no such thing");
    req_fini(&t);
}

static void
ranges_are_asked_and_read(void **state)
{
    struct fixture *f = *state;
    struct req t;

    req_init(&t, f, http_server_url(f->a), "/range");
    t.q.has_range = true;
    t.q.range_from = 10;
    t.q.range_to = 20;
    assert_int_equal(req_run(&t), 0);
    assert_body(&t, "0123456789");
    assert_true(t.head.has_range);
    assert_int_equal(t.head.range_from, 10);
    assert_int_equal(t.head.range_last, 19);
    assert_int_equal(t.head.range_total, 1000);
    req_fini(&t);

    req_init(&t, f, http_server_url(f->a), "/open-range");
    t.q.has_range = true;
    t.q.range_from = 990;
    t.q.range_to = MLC_NET_TO_END;
    assert_int_equal(req_run(&t), 0);
    assert_body(&t, "0123456789");
    assert_true(t.head.range_total == UINT64_MAX);
    req_fini(&t);

    req_init(&t, f, http_server_url(f->a), "/range");
    t.q.has_range = true;
    assert_int_equal(req_run(&t), -EINVAL);
    req_fini(&t);
}

static void
bodies_are_asked_for_uncompressed(void **state)
{
    struct fixture *f = *state;
    struct req t;

    req_init(&t, f, http_server_url(f->a), "/encoding");
    t.q.is_body = true;
    assert_int_equal(req_run(&t), 0);
    assert_body(&t, "identity");
    req_fini(&t);

    assert_int_equal(get_a(f, &t, "/encoding"), 0);
    assert_body(&t, "gzip");
    req_fini(&t);

    assert_int_equal(get_a(f, &t, "/agent"), 0);
    assert_body(&t, "yes");
    req_fini(&t);
}

static void
retry_after_is_understood(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/busy"), 0);
    assert_int_equal(t.head.status, 429);
    assert_int_equal(t.head.retry_after_ms, 7000);
    req_fini(&t);
    assert_int_equal(get_a(*state, &t, "/busy-date"), 0);
    assert_int_equal(t.head.retry_after_ms, 10000);
    req_fini(&t);
    assert_int_equal(get_a(*state, &t, "/busy-limit"), 0);
    assert_int_equal(t.head.retry_after_ms, 164000);
    req_fini(&t);
}

/* --- redirects and tokens ------------------------------------------------- */

static void
token_stays_on_its_origin(void **state)
{
    struct fixture *f = *state;
    struct req t;

    assert_int_equal(get_a(f, &t, "/dir/relative"), 0);
    assert_body(&t, "landed");
    assert_true(t.head.is_redirected);
    assert_int_equal(f->n_landed_with, 1);
    req_fini(&t);
}

static void
token_does_not_go_elsewhere(void **state)
{
    struct fixture *f = *state;
    static const char *const lines[] = {"Cookie: x=y", "X-Mine: 1",
                                        "Authorization: Basic eDp5", NULL};
    struct req t;

    assert_int_equal(get_a(f, &t, "/to-b"), 0);
    assert_body(&t, "on b");
    req_fini(&t);
    req_init(&t, f, http_server_url(f->a), "/to-b");
    t.q.headers = lines;
    assert_int_equal(req_run(&t), 0);
    assert_body(&t, "on b");
    assert_int_equal(f->n_with_token, 0);
    req_fini(&t);
}

static void
token_does_not_come_back(void **state)
{
    struct fixture *f = *state;
    struct req t;

    assert_int_equal(get_a(f, &t, "/to-b-and-back"), 0);
    assert_body(&t, "landed");
    assert_int_equal(f->n_with_token, 0);
    assert_int_equal(f->n_landed_with, 0);
    assert_int_equal(f->n_landed_without, 1);
    req_fini(&t);
}

static void
line_breaks_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const lines[] = {"X: y\r\nZ: 1", NULL};
    struct req t;

    req_init(&t, f, http_server_url(f->a), "/plain");
    t.q.bearer = "hf\nsecret";
    assert_int_equal(req_run(&t), -EINVAL);
    req_fini(&t);
    req_init(&t, f, http_server_url(f->a), "/plain");
    t.q.headers = lines;
    assert_int_equal(req_run(&t), -EINVAL);
    req_fini(&t);
    req_init(&t, f, "file:///etc", "/passwd");
    assert_int_equal(req_run(&t), -EINVAL);
    req_fini(&t);
    assert_int_equal(http_server_count(f->a), 0);
}

static void
redirect_loops_end(void **state)
{
    struct fixture *f = *state;
    struct req t;

    assert_int_equal(get_a(f, &t, "/loop"), -ELOOP);
    assert_int_equal(t.n_heads, 0);
    assert_int_equal(http_server_count(f->a), 11);
    req_fini(&t);
}

static void
redirect_to_a_file_is_refused(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/file"), -EPROTO);
    assert_int_equal(t.body.len, 0);
    req_fini(&t);
}

static void
redirect_without_location_is_final(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/nowhere"), 0);
    assert_int_equal(t.head.status, 302);
    assert_body(&t, "no location");
    req_fini(&t);
    assert_int_equal(get_a(*state, &t, "/unchanged"), 0);
    assert_int_equal(t.head.status, 304);
    req_fini(&t);
}

static void
redirect_body_is_bounded(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/wordy"), 0);
    assert_body(&t, "landed");
    req_fini(&t);
}

static void
origins_are_compared(void **state)
{
    assert_true(mlc_url_same_origin("http://h/a", "http://H:80/b?c"));
    assert_true(mlc_url_same_origin("https://h:443/a", "HTTPS://u:p@h"));
    assert_false(mlc_url_same_origin("http://h/", "https://h/"));
    assert_false(mlc_url_same_origin("http://h/", "http://h:81/"));
    assert_false(mlc_url_same_origin("http://h/", "http://h.evil/"));
    assert_false(mlc_url_same_origin("http://h/", "http://h@evil/"));
    assert_false(mlc_url_same_origin("nonsense", "nonsense"));
    assert_false(mlc_url_same_origin("file:///a", "file:///a"));
}

/* --- failures ------------------------------------------------------------- */

static void
truncated_body_is_a_reset(void **state)
{
    struct req t;

    assert_int_equal(get_a(*state, &t, "/short"), -ECONNRESET);
    assert_body(&t, "hello");
    req_fini(&t);
    assert_int_equal(get_a(*state, &t, "/chunk-short"), -ECONNRESET);
    req_fini(&t);
}

static void
stalls_time_out(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/stall", "/silent"};
    struct req t;

    for (size_t i = 0; i < 2; i++) {
        req_init(&t, f, http_server_url(f->a), paths[i]);
        t.q.stall_ms = 100;
        assert_int_equal(req_run(&t), -ETIMEDOUT);
        req_fini(&t);
        req_init(&t, f, http_server_url(f->a), paths[i]);
        t.q.total_ms = 100;
        assert_int_equal(req_run(&t), -ETIMEDOUT);
        req_fini(&t);
    }
}

static void
unknown_hosts_and_refusals_differ(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    char base[64];
    struct req t;
    int fd;

    req_init(&t, f, "http://unknown.test", "/");
    assert_int_equal(req_run(&t), -EHOSTUNREACH);
    req_fini(&t);

    /* Bound, not listening: refuses, and nobody else gets the port. */
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    snprintf(base, sizeof(base), "http://127.0.0.1:%u",
             (unsigned)ntohs(sa.sin_port));
    req_init(&t, f, base, "/");
    assert_int_equal(req_run(&t), -ECONNREFUSED);
    req_fini(&t);
    close(fd);

    req_init(&t, f, http_server_url(f->a), "/garbage");
    assert_int_equal(req_run(&t), -EPROTO);
    req_fini(&t);
}

static void
callbacks_end_a_request(void **state)
{
    struct fixture *f = *state;
    struct req t;

    req_init(&t, f, http_server_url(f->a), "/plain");
    t.head_result = -ESTALE;
    assert_int_equal(req_run(&t), -ESTALE);
    assert_int_equal(t.body.len, 0);
    req_fini(&t);
    req_init(&t, f, http_server_url(f->a), "/big");
    mlc_buf_init(&t.body, 1000);
    assert_int_equal(req_run(&t), -EFBIG);
    req_fini(&t);
}

/* --- pausing, cancelling, stopping ---------------------------------------- */

static void
paused_transfer_goes_on(void **state)
{
    struct fixture *f = *state;
    struct req t;

    req_init(&t, f, http_server_url(f->a), "/big");
    t.q.is_body = true;
    t.q.stall_ms = 5000;
    t.mode = PAUSE_ONCE;
    assert_int_equal(mlc_net_start(f->net, &t.q), 0);
    req_wait_refused(&t);
    mlc_net_resume(f->net, &t.q);
    assert_int_equal(req_wait(&t), 0);
    assert_int_equal(t.body.len, MIB);
    assert_memory_equal(t.body.data, f->pattern, MIB);
    req_fini(&t);

    req_init(&t, f, http_server_url(f->a), "/big");
    t.mode = PAUSE_ONCE;
    assert_int_equal(mlc_net_start(f->net, &t.q), 0);
    req_wait_refused(&t);
    mlc_net_resume_all(f->net);
    assert_int_equal(req_wait(&t), 0);
    assert_int_equal(t.body.len, MIB);
    req_fini(&t);
}

static void
early_resume_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct req t;

    req_init(&t, f, http_server_url(f->a), "/big");
    t.q.is_body = true;
    t.mode = PAUSE_RACING;
    assert_int_equal(req_run(&t), 0);
    assert_int_equal(t.body.len, MIB);
    assert_memory_equal(t.body.data, f->pattern, MIB);
    req_fini(&t);
}

static void
pauses_are_not_stalls(void **state)
{
    struct fixture *f = *state;
    struct req t, clock;

    req_init(&t, f, http_server_url(f->a), "/big");
    t.q.stall_ms = 100;
    t.mode = PAUSE_ONCE;
    assert_int_equal(mlc_net_start(f->net, &t.q), 0);
    req_wait_refused(&t);
    /* Another one, begun later with a longer limit, is the clock. */
    req_init(&clock, f, http_server_url(f->a), "/silent");
    clock.q.stall_ms = 300;
    assert_int_equal(req_run(&clock), -ETIMEDOUT);
    mlc_net_resume(f->net, &t.q);
    assert_int_equal(req_wait(&t), 0);
    assert_int_equal(t.body.len, MIB);
    req_fini(&t);
    req_fini(&clock);
}

static void
cancel_ends_a_request(void **state)
{
    struct fixture *f = *state;
    struct req t;

    req_init(&t, f, http_server_url(f->a), "/stall");
    t.mode = PAUSE_ONCE;
    assert_int_equal(mlc_net_start(f->net, &t.q), 0);
    req_wait_refused(&t);
    mlc_net_cancel(f->net, &t.q);
    assert_int_equal(req_wait(&t), -ECANCELED);
    req_fini(&t);

    /* At once: before it has begun, or just after. */
    for (int i = 0; i < 50; i++) {
        req_init(&t, f, http_server_url(f->a), "/silent");
        assert_int_equal(mlc_net_start(f->net, &t.q), 0);
        mlc_net_cancel(f->net, &t.q);
        assert_int_equal(req_wait(&t), -ECANCELED);
        req_fini(&t);
    }
}

/* A listening socket whose queue is full: connecting to it hangs. */
static void
make_deaf(int *fds, size_t n, char *base, size_t len)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t sa_len = sizeof(sa);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    getsockname(fds[0], (struct sockaddr *)&sa, &sa_len);
    for (size_t i = 1; i < n; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(fds[i], (struct sockaddr *)&sa, sizeof(sa));
    }
    snprintf(base, len, "http://127.0.0.1:%u", (unsigned)ntohs(sa.sin_port));
}

static void
connecting_times_out(void **state)
{
    struct fixture *f = *state;
    int fds[4];
    char base[64];
    struct req t;

    make_deaf(fds, 4, base, sizeof(base));
    req_init(&t, f, base, "/");
    t.q.connect_ms = 100;
    assert_int_equal(req_run(&t), -ETIMEDOUT);
    req_fini(&t);
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
}

/* libcurl keeps the receive buffer of what ended before it was connected, and
 * then refuses to set another size. */
static void
what_never_connected_spoils_nothing(void **state)
{
    struct fixture *f = *state;
    const char *bases[3] = {"http://unknown.test", "http://silent.test"};
    int fds[4];
    char base[64];
    struct req t;

    make_deaf(fds, 4, base, sizeof(base));
    bases[2] = base;
    for (size_t i = 0; i < 3; i++) {
        req_init(&t, f, bases[i], "/");
        t.q.total_ms = 100;
        assert_true(req_run(&t) < 0);
        req_fini(&t);
        req_init(&t, f, http_server_url(f->a), "/plain");
        t.q.is_body = true;
        assert_int_equal(req_run(&t), 0);
        req_fini(&t);
    }
    release_dns();
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
}

static void
stop_does_not_wait(void **state)
{
    struct fixture *f = *state;
    struct req t[6];
    int fds[4];
    char base[64];
    int64_t begin;

    make_deaf(fds, 4, base, sizeof(base));
    req_init(&t[0], f, http_server_url(f->a), "/stall");
    req_init(&t[1], f, http_server_url(f->a), "/silent");
    req_init(&t[2], f, base, "/");
    req_init(&t[3], f, "http://silent.test", "/");
    req_init(&t[4], f, http_server_url(f->a), "/big");
    t[4].mode = PAUSE_ONCE;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(mlc_net_start(f->net, &t[i].q), 0);
    req_wait_refused(&t[4]);
    pthread_mutex_lock(&dns_lock);
    while (dns_n_inside == 0)
        pthread_cond_wait(&dns_cond, &dns_lock);
    pthread_mutex_unlock(&dns_lock);

    begin = mlc_mono_ms();
    mlc_net_stop(f->net);
    assert_true(mlc_mono_ms() - begin < 1000);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(req_wait(&t[i]), -ECANCELED);
        req_fini(&t[i]);
    }
    req_init(&t[5], f, http_server_url(f->a), "/plain");
    assert_int_equal(req_run(&t[5]), -ECANCELED);
    req_fini(&t[5]);

    release_dns();
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
}

static void
many_at_once(void **state)
{
    struct fixture *f = *state;
    enum { N = 64 };
    struct req *t = calloc(N, sizeof(*t));

    assert_non_null(t);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++) {
            req_init(&t[i], f, http_server_url(f->a), "/plain");
            assert_int_equal(mlc_net_start(f->net, &t[i].q), 0);
        }
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(req_wait(&t[i]), 0);
            assert_body(&t[i], "hello");
            req_fini(&t[i]);
        }
    }
    free(t);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answer_comes_whole),
        TEST(interim_answers_are_skipped),
        TEST(error_status_is_an_answer),
        TEST(ranges_are_asked_and_read),
        TEST(bodies_are_asked_for_uncompressed),
        TEST(retry_after_is_understood),
        TEST(token_stays_on_its_origin),
        TEST(token_does_not_go_elsewhere),
        TEST(token_does_not_come_back),
        TEST(line_breaks_are_refused),
        TEST(redirect_loops_end),
        TEST(redirect_to_a_file_is_refused),
        TEST(redirect_without_location_is_final),
        TEST(redirect_body_is_bounded),
        TEST(origins_are_compared),
        TEST(truncated_body_is_a_reset),
        TEST(stalls_time_out),
        TEST(unknown_hosts_and_refusals_differ),
        TEST(callbacks_end_a_request),
        TEST(paused_transfer_goes_on),
        TEST(early_resume_is_not_lost),
        TEST(pauses_are_not_stalls),
        TEST(cancel_ends_a_request),
        TEST(connecting_times_out),
        TEST(what_never_connected_spoils_nothing),
        TEST(stop_does_not_wait),
        TEST(many_at_once),
    };

    /* The environment's proxies are not what is tested. */
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
