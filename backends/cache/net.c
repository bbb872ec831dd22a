/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/net.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The type checks are macros that trip over -Wconversion; set_*() below are
 * typed instead. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/parse.h"
#include "backends/util/path.h"

#define MAX_REDIRECTS      10
#define MAX_REDIRECT_BODY  ((size_t)64 * 1024)
#define MAX_HEADERS        ((size_t)256 * 1024)
#define MAX_CONNS_KEPT     32L
#define MAX_SPARE          8
#define BODY_BUFFER        (512L * 1024)
#define DEFAULT_CONNECT_MS 10000
#define IDLE_MS            ((int64_t)600 * 1000)

/* What a connection may have under way that we have not taken.  It is lost
 * when an answer is cut because somebody else brings the rest, and when the
 * daemon is killed; the kernel's own limit is 6 to 32 MiB.  Enough for 10 MB/s
 * at 100 ms; who is farther away gets more connections. */
#define SOCKET_BUFFER (1024 * 1024)

enum { CMD_START = 1, CMD_CANCEL = 2, CMD_RESUME = 4 };

struct mlc_net_transfer {
    struct mlc_net *net;               /* immutable */
    struct mlc_net_request *q;         /* immutable */
    struct mlc_net_transfer *cmd_next; /* net.lock */
    unsigned cmds;                     /* net.lock; not 0: queued */
    /* The rest belongs to the network thread. */
    struct mlc_net_transfer *prev, *next;
    CURL *easy;
    bool is_added;            /* to the multi */
    struct curl_slist *lines; /* request headers of this hop */
    char *url;                /* of this hop */
    char *location;           /* where the redirect being swallowed leads */
    unsigned n_hops;
    bool is_foreign;     /* has left the first URL's origin, for good */
    struct mlc_buf head; /* "Name: value" lines, each with its NUL */
    bool is_head_done;
    size_t n_swallowed;
    bool is_connected; /* this hop's request is being sent */
    bool is_paused;
    int64_t start_ms;
    int64_t byte_ms; /* when the last byte came, or a pause ended */
    int result;      /* why a callback of ours stopped curl */
    CURLcode opt;    /* the first setopt that failed */
};

struct mlc_net {
    pthread_mutex_t lock;                /* leaf */
    struct mlc_net_transfer *cmds, *end; /* lock; the command queue */
    bool is_resume_all;                  /* lock */
    bool is_stopping;                    /* lock */
    bool is_joined;                      /* the stopping thread's */
    bool has_thread;                     /* immutable once built */
    pthread_t thread;
    char *ca_file;        /* immutable */
    bool is_buffer_small; /* immutable; see is_buffer_allowed() */
    CURLM *multi;         /* network thread; curl_multi_wakeup() by all */
    struct mlc_net_transfer *active; /* network thread */
    CURL *spare[MAX_SPARE];          /* network thread */
    size_t n_spare;                  /* network thread */
};

/* --- headers -------------------------------------------------------------- */

const char *
mlc_net_header(struct mlc_net_request *q, const char *name)
{
    return mlc_headers_find(q->transfer->head.data, name);
}

char *
mlc_net_take_headers(struct mlc_net_request *q)
{
    struct mlc_buf *head = &q->transfer->head;
    size_t len;

    return head->len > 0 ? mlc_buf_take(head, &len) : NULL;
}

const char *
mlc_net_url(const struct mlc_net_request *q)
{
    return q->transfer->url ? q->transfer->url : q->url;
}

static void
describe_head(struct mlc_net_transfer *t, int status, struct mlc_net_head *h)
{
    const char *block = t->head.data;
    const char *length = mlc_headers_find(block, "Content-Length");
    const char *range = mlc_headers_find(block, "Content-Range");
    bool is_coded =
        mlc_headers_find(block, "Transfer-Encoding") ||
        (mlc_headers_find(block, "Content-Encoding") && !t->q->is_body);

    *h = (struct mlc_net_head){
        .status = status,
        .content_length = UINT64_MAX,
        .url = t->url,
        .is_redirected = t->n_hops > 0,
        .retry_after_ms = mlc_headers_retry_after(block),
    };
    if (length && !is_coded &&
        mlc_parse_u64(length, 0, UINT64_MAX - 1, &h->content_length) < 0)
        h->content_length = UINT64_MAX;
    h->has_range =
        range && mlc_parse_content_range(range, &h->range_from, &h->range_last,
                                         &h->range_total) == 0;
}

/* --- curl's callbacks (network thread) ------------------------------------ */

static bool
is_final_slash(const struct mlc_net_transfer *t, const char *location)
{
    mlc_autofree char *url = NULL;

    return t->q->is_slash_final &&
           mlc_url_resolve(t->url, location, &url) == 0 &&
           mlc_url_is_slashed(url, t->q->url);
}

/* The head is there.  Returns 0, or -errno to stop the transfer. */
static int
take_head(struct mlc_net_transfer *t)
{
    struct mlc_net_request *q = t->q;
    struct mlc_net_head h;
    const char *location;
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) {
        mlc_buf_done(&t->head);
        mlc_buf_init(&t->head, MAX_HEADERS);
        return 0;
    }
    t->is_head_done = true;
    location = mlc_headers_find(t->head.data, "Location");
    if (status >= 300 && status < 400 && status != 304 && location &&
        *location && !is_final_slash(t, location)) {
        t->location = strdup(location);
        return t->location ? 0 : -ENOMEM;
    }
    if (!q->on_head)
        return 0;
    describe_head(t, (int)status, &h);
    return q->on_head(q, &h);
}

static size_t
on_header(char *data, size_t size, size_t n, void *arg)
{
    struct mlc_net_transfer *t = arg;
    size_t total = size * n;
    size_t len = total;
    int r;

    t->byte_ms = mlc_mono_ms();
    if (t->is_head_done) /* trailers */
        return total;
    while (len > 0 && isspace((unsigned char)data[len - 1]))
        len--;
    if (len == 0) {
        r = take_head(t);
    } else if (isspace((unsigned char)data[0])) {
        return total; /* folded lines: of nothing that is read here */
    } else {
        /* A stray NUL would end the block early: cut there. */
        len = strnlen(data, len);
        r = len == 0 ? 0 : mlc_buf_append(&t->head, data, len);
        if (r == 0 && len > 0)
            r = mlc_buf_append(&t->head, "", 1);
        if (r == -EFBIG)
            r = -EPROTO;
    }
    if (r < 0) {
        t->result = r;
        return total + 1;
    }
    return total;
}

static size_t
on_data(char *data, size_t size, size_t n, void *arg)
{
    struct mlc_net_transfer *t = arg;
    size_t len = size * n;
    int r;

    if (len == 0)
        return 0;
    t->byte_ms = mlc_mono_ms();
    if (t->location) {
        /* Enough: follow at once and let the connection go. */
        t->n_swallowed += len;
        return t->n_swallowed > MAX_REDIRECT_BODY ? 0 : len;
    }
    if (!t->is_head_done) {
        t->result = -EPROTO;
        return 0;
    }
    if (!t->q->on_body)
        return len;
    r = t->q->on_body(t->q, data, len);
    if (r == -EAGAIN) {
        t->is_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (r < 0) {
        t->result = r;
        return 0;
    }
    return len;
}

static int
on_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct mlc_net_transfer *t = arg;

    t->is_connected = true;
    t->byte_ms = mlc_mono_ms();
    return CURL_PREREQFUNC_OK;
}

/* A limit of ours ends the kernel's tuning, so it must not be cut down to what
 * an unprivileged process may have (208 KiB where it was not raised). */
static bool
is_buffer_allowed(void)
{
    mlc_autoclose int fd =
        open("/proc/sys/net/core/rmem_max", O_RDONLY | O_CLOEXEC);
    char text[32];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    return strtol(text, NULL, 10) >= SOCKET_BUFFER;
}

static int
on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    const int size = SOCKET_BUFFER;
    struct mlc_net *n = arg;

    if (purpose == CURLSOCKTYPE_IPCXN && n->is_buffer_small)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    return CURL_SOCKOPT_OK;
}

/* --- one hop -------------------------------------------------------------- */

static void
set_opt(struct mlc_net_transfer *t, CURLcode c)
{
    if (c != CURLE_OK && t->opt == CURLE_OK)
        t->opt = c;
}

static void
set_long(struct mlc_net_transfer *t, CURLoption o, long v)
{
    set_opt(t, curl_easy_setopt(t->easy, o, v));
}

static void
set_str(struct mlc_net_transfer *t, CURLoption o, const char *v)
{
    set_opt(t, curl_easy_setopt(t->easy, o, v));
}

static void
set_ptr(struct mlc_net_transfer *t, CURLoption o, void *v)
{
    set_opt(t, curl_easy_setopt(t->easy, o, v));
}

static void
set_callbacks(struct mlc_net_transfer *t)
{
    CURL *e = t->easy;

    set_opt(t, curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header));
    set_opt(t, curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data));
    set_opt(t, curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_request));
    set_opt(t, curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket));
    set_ptr(t, CURLOPT_SOCKOPTDATA, t->net);
    set_ptr(t, CURLOPT_HEADERDATA, t);
    set_ptr(t, CURLOPT_WRITEDATA, t);
    set_ptr(t, CURLOPT_PREREQDATA, t);
    set_ptr(t, CURLOPT_PRIVATE, t);
}

static int
add_line(struct mlc_net_transfer *t, const char *line)
{
    struct curl_slist *l;

    if (strpbrk(line, "\r\n"))
        return -EINVAL;
    l = curl_slist_append(t->lines, line);
    if (!l)
        return -ENOMEM;
    t->lines = l;
    return 0;
}

static bool
is_secret(const char *line)
{
    return !strncasecmp(line, "Authorization:", 14) ||
           !strncasecmp(line, "Proxy-Authorization:", 20) ||
           !strncasecmp(line, "Cookie:", 7);
}

static int
set_lines(struct mlc_net_transfer *t)
{
    const struct mlc_net_request *q = t->q;
    int r = 0;

    curl_slist_free_all(t->lines);
    t->lines = NULL;
    for (size_t i = 0; q->headers && q->headers[i] && r == 0; i++) {
        if (!t->is_foreign || !is_secret(q->headers[i]))
            r = add_line(t, q->headers[i]);
    }
    if (r == 0 && q->bearer && !t->is_foreign) {
        mlc_autofree char *line = NULL;

        if (asprintf(&line, "Authorization: Bearer %s", q->bearer) < 0) {
            line = NULL;
            return -ENOMEM;
        }
        r = add_line(t, line);
        explicit_bzero(line, strlen(line));
    }
    /* Ranges of a compressed answer would be of the compressed bytes. */
    if (r == 0 && (q->is_body || q->has_range))
        r = add_line(t, "Accept-Encoding: identity");
    if (r == 0)
        set_ptr(t, CURLOPT_HTTPHEADER, t->lines);
    return r;
}

static void
set_range(struct mlc_net_transfer *t)
{
    const struct mlc_net_request *q = t->q;
    char text[64];

    if (!q->has_range)
        return;
    if (q->range_to == MLC_NET_TO_END)
        snprintf(text, sizeof(text), "%llu-",
                 (unsigned long long)q->range_from);
    else
        snprintf(text, sizeof(text), "%llu-%llu",
                 (unsigned long long)q->range_from,
                 (unsigned long long)q->range_to - 1);
    set_str(t, CURLOPT_RANGE, text);
}

static int
set_options(struct mlc_net_transfer *t)
{
    const struct mlc_net_request *q = t->q;
    int64_t connect = q->connect_ms > 0 ? q->connect_ms : DEFAULT_CONNECT_MS;

    t->opt = CURLE_OK;
    curl_easy_reset(t->easy);
    set_callbacks(t);
    set_str(t, CURLOPT_URL, t->url);
    if (t->q->form)
        set_str(t, CURLOPT_POSTFIELDS, t->q->form); /* not copied */
    set_str(t, CURLOPT_PROTOCOLS_STR, "http,https");
    set_str(t, CURLOPT_USERAGENT, "mlcachefs/" PACKAGE_VERSION);
    set_long(t, CURLOPT_FOLLOWLOCATION, 0);
    set_long(t, CURLOPT_NETRC,
             q->netrc ? CURL_NETRC_OPTIONAL : CURL_NETRC_IGNORED);
    if (q->netrc)
        set_str(t, CURLOPT_NETRC_FILE, q->netrc);
    set_long(t, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
    set_long(t, CURLOPT_HEADEROPT, CURLHEADER_SEPARATE);
    set_long(t, CURLOPT_NOSIGNAL, 1);
    set_long(t, CURLOPT_NOPROGRESS, 1);
    set_long(t, CURLOPT_QUICK_EXIT, 1);
    set_long(t, CURLOPT_TCP_NODELAY, 1);
    set_long(t, CURLOPT_TCP_KEEPALIVE, 1);
    set_long(t, CURLOPT_CONNECTTIMEOUT_MS,
             (long)(connect < IDLE_MS ? connect : IDLE_MS));
    if (t->net->ca_file)
        set_str(t, CURLOPT_CAINFO, t->net->ca_file);
    if (q->is_body) {
        set_long(t, CURLOPT_BUFFERSIZE, BODY_BUFFER);
        set_long(t, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    } else {
        set_long(t, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
        if (!q->has_range)
            set_str(t, CURLOPT_ACCEPT_ENCODING, "gzip");
    }
    set_range(t);
    if (t->opt != CURLE_OK)
        return t->opt == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EPROTO;
    return set_lines(t);
}

/* Asks t->url. */
static int
begin_hop(struct mlc_net_transfer *t)
{
    struct mlc_net *n = t->net;
    int r;

    if (!t->easy)
        t->easy = n->n_spare > 0 ? n->spare[--n->n_spare] : curl_easy_init();
    if (!t->easy)
        return -ENOMEM;
    r = set_options(t);
    if (r < 0)
        return r;
    free(t->location);
    t->location = NULL;
    mlc_buf_done(&t->head);
    mlc_buf_init(&t->head, MAX_HEADERS);
    t->is_head_done = t->is_connected = t->is_paused = false;
    t->n_swallowed = 0;
    if (curl_multi_add_handle(n->multi, t->easy) != CURLM_OK)
        return -ENOMEM;
    t->is_added = true;
    return 0;
}

static void
end_hop(struct mlc_net_transfer *t)
{
    if (t->is_added)
        curl_multi_remove_handle(t->net->multi, t->easy);
    t->is_added = false;
}

/* --- transfers ------------------------------------------------------------ */

static void
transfer_free(struct mlc_net_transfer *t)
{
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->lines);
    free(t->url);
    free(t->location);
    mlc_buf_done(&t->head);
    free(t);
}

static void
log_end(const struct mlc_net_transfer *t, int r)
{
    mlc_autofree char *url = NULL;
    long status = 0;

    if (!mlc_log_is_debug())
        return;
    if (t->easy)
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    url = mlc_url_redact(t->url ? t->url : t->q->url);
    mlc_debug("net", "%s: status %ld, result %d, %u redirects, %lld ms",
              url ? url : "?", status, r, t->n_hops,
              (long long)(mlc_mono_ms() - t->start_ms));
}

static void
drop_commands_locked(struct mlc_net *n, struct mlc_net_transfer *t)
{
    struct mlc_net_transfer *before = NULL;

    if (t->cmds == 0)
        return;
    for (struct mlc_net_transfer *i = n->cmds; i != t; i = i->cmd_next)
        before = i;
    if (before)
        before->cmd_next = t->cmd_next;
    else
        n->cmds = t->cmd_next;
    if (n->end == t)
        n->end = before;
    t->cmds = 0;
}

static void
finish(struct mlc_net_transfer *t, int r)
{
    struct mlc_net *n = t->net;

    end_hop(t);
    if (t->prev)
        t->prev->next = t->next;
    else
        n->active = t->next;
    if (t->next)
        t->next->prev = t->prev;
    log_end(t, r);
    /* One that never connected keeps its receive buffer, and refuses to set
     * another size ever after (libcurl 7.88). */
    if (r == 0 && t->easy && n->n_spare < MAX_SPARE) {
        /* Now, so that nothing in it points to what goes. */
        curl_easy_reset(t->easy);
        n->spare[n->n_spare++] = mlc_steal(&t->easy);
    }

    t->q->on_done(t->q, r); /* may free the request */

    pthread_mutex_lock(&n->lock);
    drop_commands_locked(n, t);
    pthread_mutex_unlock(&n->lock);
    transfer_free(t);
}

static int
start_transfer(struct mlc_net_transfer *t)
{
    struct mlc_net *n = t->net;
    const struct mlc_net_request *q = t->q;
    mlc_autofree char *origin = NULL;

    t->prev = NULL;
    t->next = n->active;
    if (t->next)
        t->next->prev = t;
    n->active = t;

    if (q->has_range && q->range_to <= q->range_from)
        return -EINVAL;
    /* Not "host/path", which curl would guess a scheme for. */
    origin = mlc_url_origin(q->url);
    if (!origin)
        return -EINVAL;
    t->url = strdup(q->url);
    if (!t->url)
        return -ENOMEM;
    return begin_hop(t);
}

static int
follow_redirect(struct mlc_net_transfer *t)
{
    char *url = NULL;
    int r;

    end_hop(t);
    if (t->n_hops >= MAX_REDIRECTS)
        return -ELOOP;
    r = mlc_url_resolve(t->url, t->location, &url);
    if (r < 0)
        return r;
    t->n_hops++;
    free(t->url);
    t->url = url;
    if (!mlc_url_same_origin(t->q->url, url))
        t->is_foreign = true;
    return begin_hop(t);
}

static int
curl_errno(CURL *easy, CURLcode c)
{
    long os = 0;

    switch ((int)c) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os);
        if (os == EHOSTUNREACH || os == ENETUNREACH || os == EADDRNOTAVAIL ||
            os == EAFNOSUPPORT)
            return -EHOSTUNREACH;
        return os == ETIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2_STREAM:
        return -ECONNRESET;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default: /* a hundred codes, growing */
        return -EPROTO;
    }
}

/* curl is done with this hop. */
static void
hop_done(struct mlc_net_transfer *t, CURLcode c)
{
    int r;

    if (t->result < 0) {
        r = t->result;
    } else if (t->location) {
        /* Whatever became of its body. */
        r = follow_redirect(t);
        if (r == 0)
            return;
    } else {
        r = curl_errno(t->easy, c);
        if (r == 0 && !t->is_head_done)
            r = -EPROTO;
    }
    finish(t, r);
}

static void
unpause(struct mlc_net_transfer *t)
{
    CURLcode c;

    if (!t->is_paused)
        return;
    t->is_paused = false;
    t->byte_ms = mlc_mono_ms();
    /* Calls on_data() with what it holds; what that returns is not always
     * acted upon by the multi. */
    c = curl_easy_pause(t->easy, CURLPAUSE_CONT);
    if (c != CURLE_OK || t->result < 0)
        finish(t, t->result < 0 ? t->result : curl_errno(t->easy, c));
}

/* --- the thread ----------------------------------------------------------- */

static void
run_command(struct mlc_net_transfer *t, unsigned cmds)
{
    if (cmds & CMD_START) {
        int r = start_transfer(t);

        if (r < 0) {
            finish(t, r);
            return;
        }
    }
    if (cmds & CMD_CANCEL)
        finish(t, -ECANCELED);
    else if (cmds & CMD_RESUME)
        unpause(t);
}

/* Returns false when the thread is to end: then nothing is queued and nothing
 * will be. */
static bool
run_commands(struct mlc_net *n)
{
    for (;;) {
        struct mlc_net_transfer *t, *next;
        unsigned cmds = 0;
        bool is_all, is_stopping;

        pthread_mutex_lock(&n->lock);
        is_stopping = n->is_stopping;
        is_all = n->is_resume_all;
        n->is_resume_all = false;
        t = n->cmds;
        if (t) {
            n->cmds = t->cmd_next;
            if (!n->cmds)
                n->end = NULL;
            cmds = t->cmds;
            t->cmds = 0;
        }
        pthread_mutex_unlock(&n->lock);

        if (t)
            run_command(t, is_stopping ? cmds | CMD_CANCEL : cmds);
        if (is_all && !is_stopping) {
            for (t = n->active; t; t = next) {
                next = t->next;
                unpause(t);
            }
        } else if (!t) {
            return !is_stopping;
        }
    }
}

static void
read_results(struct mlc_net *n)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(n->multi, &left))) {
        CURLcode c = m->data.result;
        char *priv = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &priv);
        hop_done((struct mlc_net_transfer *)(void *)priv, c);
    }
}

/* When t is to be given up: the nearer of the stall's and the total's. */
static int64_t
deadline_of(const struct mlc_net_transfer *t)
{
    const struct mlc_net_request *q = t->q;
    int64_t at = MLC_NEVER_MS;

    if (q->total_ms > 0 && q->total_ms < MLC_NEVER_MS - t->start_ms)
        at = t->start_ms + q->total_ms;
    if (q->stall_ms > 0 && t->is_connected && !t->is_paused &&
        q->stall_ms < at - t->byte_ms)
        at = t->byte_ms + q->stall_ms;
    return at;
}

/* Ends what is late.  Returns how long poll may wait. */
static int
check_deadlines(struct mlc_net *n)
{
    int64_t now = mlc_mono_ms();
    int64_t wait = IDLE_MS;
    struct mlc_net_transfer *next;

    for (struct mlc_net_transfer *t = n->active; t; t = next) {
        int64_t left = deadline_of(t) - now;

        next = t->next;
        if (left <= 0)
            finish(t, -ETIMEDOUT);
        else if (left < wait)
            wait = left;
    }
    return (int)wait;
}

static void *
net_main(void *arg)
{
    struct mlc_net *n = arg;
    int n_running;

    while (run_commands(n)) {
        curl_multi_perform(n->multi, &n_running);
        read_results(n);
        curl_multi_poll(n->multi, NULL, 0, check_deadlines(n), NULL);
    }
    while (n->active)
        finish(n->active, -ECANCELED);
    return NULL;
}

int
mlc_net_new(struct mlc_net **ret)
{
    const char *ca_file = getenv("SSL_CERT_FILE");
    struct mlc_net *n;
    sigset_t all, old;
    int r;

    n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(n);
        return -ENOMEM;
    }
    r = -pthread_mutex_init(&n->lock, NULL);
    if (r < 0) {
        curl_global_cleanup();
        free(n);
        return r;
    }
    n->multi = curl_multi_init();
    n->is_buffer_small = is_buffer_allowed();
    if (ca_file && *ca_file)
        n->ca_file = strdup(ca_file);
    if (!n->multi || (ca_file && *ca_file && !n->ca_file)) {
        mlc_net_free(n);
        return -ENOMEM;
    }
    curl_multi_setopt(n->multi, CURLMOPT_MAXCONNECTS, MAX_CONNS_KEPT);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = -pthread_create(&n->thread, NULL, net_main, n);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r < 0) {
        mlc_net_free(n);
        return r;
    }
    n->has_thread = true;
    pthread_setname_np(n->thread, "mlc-net");
    *ret = n;
    return 0;
}

void
mlc_net_stop(struct mlc_net *n)
{
    if (!n || n->is_joined)
        return;
    {
        MLC_LOCK_SCOPE(&n->lock);
        n->is_stopping = true;
        if (n->has_thread)
            curl_multi_wakeup(n->multi);
    }
    if (n->has_thread)
        pthread_join(n->thread, NULL);
    n->is_joined = true;
}

void
mlc_net_free(struct mlc_net *n)
{
    if (!n)
        return;
    mlc_net_stop(n);
    free(n->ca_file);
    for (size_t i = 0; i < n->n_spare; i++)
        curl_easy_cleanup(n->spare[i]);
    curl_multi_cleanup(n->multi);
    pthread_mutex_destroy(&n->lock);
    free(n);
    curl_global_cleanup();
}

/* --- what others call ----------------------------------------------------- */

/* False: the thread is ending. */
static bool
send_command(struct mlc_net *n, struct mlc_net_transfer *t, unsigned cmd)
{
    MLC_LOCK_SCOPE(&n->lock);

    if (n->is_stopping)
        return false;
    if (t->cmds == 0) {
        t->cmd_next = NULL;
        if (n->end)
            n->end->cmd_next = t;
        else
            n->cmds = t;
        n->end = t;
    }
    t->cmds |= cmd;
    curl_multi_wakeup(n->multi);
    return true;
}

int
mlc_net_start(struct mlc_net *n, struct mlc_net_request *q)
{
    struct mlc_net_transfer *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->net = n;
    t->q = q;
    t->start_ms = mlc_mono_ms();
    mlc_buf_init(&t->head, MAX_HEADERS);
    q->transfer = t;
    if (!send_command(n, t, CMD_START)) {
        q->on_done(q, -ECANCELED);
        transfer_free(t);
    }
    return 0;
}

void
mlc_net_cancel(struct mlc_net *n, struct mlc_net_request *q)
{
    send_command(n, q->transfer, CMD_CANCEL);
}

void
mlc_net_resume(struct mlc_net *n, struct mlc_net_request *q)
{
    send_command(n, q->transfer, CMD_RESUME);
}

void
mlc_net_resume_all(struct mlc_net *n)
{
    MLC_LOCK_SCOPE(&n->lock);

    if (n->is_stopping)
        return;
    n->is_resume_all = true;
    curl_multi_wakeup(n->multi);
}
