/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "tests/http-server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNS   1024
#define MAX_REQUEST 65536

struct conn {
    struct http_server *server;
    pthread_t thread;
    int fd;
};

struct http_server {
    http_handler *fn;
    void *arg;
    int fd;
    char url[64];
    pthread_t thread;
    pthread_mutex_t lock;
    struct conn conns[MAX_CONNS]; /* lock; fd -1: closed */
    size_t n_conns;               /* lock */
    unsigned n_calls;             /* lock */
    bool is_stopping;             /* lock */
};

/* Failing to make a server is failing the test, at once. */
#define MUST(x)                                                                \
    do {                                                                       \
        if (!(x)) {                                                            \
            perror("http-server: " #x);                                        \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* Reads one request's head (there are no bodies).  false: closed. */
static bool
read_head(int fd, char *buf)
{
    size_t len = 0;

    while (len < MAX_REQUEST - 1) {
        ssize_t n = recv(fd, buf + len, 1, 0);

        if (n <= 0)
            return false;
        len += (size_t)n;
        buf[len] = '\0';
        if (len >= 4 && !memcmp(buf + len - 4, "\r\n\r\n", 4))
            return true;
    }
    return false;
}

static bool
serve_one(struct conn *k, char *buf, char *path)
{
    struct http_server *s = k->server;
    struct http_call c = {
        .arg = s->arg, .raw = buf, .path = path, .fd = k->fd, .server = s};

    if (!read_head(k->fd, buf))
        return false;
    if (sscanf(buf, "%*s %4095s", path) != 1)
        return false;
    pthread_mutex_lock(&s->lock);
    c.n = s->n_calls++;
    pthread_mutex_unlock(&s->lock);
    return s->fn(&c);
}

static void *
conn_main(void *arg)
{
    struct conn *k = arg;
    char *buf = malloc(MAX_REQUEST);
    char *path = malloc(4096);

    MUST(buf && path);
    while (serve_one(k, buf, path))
        continue;
    free(buf);
    free(path);
    pthread_mutex_lock(&k->server->lock);
    close(k->fd);
    k->fd = -1;
    pthread_mutex_unlock(&k->server->lock);
    return NULL;
}

static void *
server_main(void *arg)
{
    struct http_server *s = arg;
    int one = 1;

    for (;;) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            return NULL;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        pthread_mutex_lock(&s->lock);
        if (s->is_stopping) {
            close(fd);
        } else {
            struct conn *k = &s->conns[s->n_conns];

            MUST(s->n_conns < MAX_CONNS);
            s->n_conns++;
            k->server = s;
            k->fd = fd;
            MUST(pthread_create(&k->thread, NULL, conn_main, k) == 0);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

struct http_server *
http_server_new(http_handler *fn, void *arg)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    struct http_server *s = calloc(1, sizeof(*s));

    MUST(s);
    s->fn = fn;
    s->arg = arg;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(s->fd >= 0);
    MUST(bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    MUST(listen(s->fd, 256) == 0);
    MUST(getsockname(s->fd, (struct sockaddr *)&sa, &len) == 0);
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u",
             (unsigned)ntohs(sa.sin_port));
    pthread_mutex_init(&s->lock, NULL);
    MUST(pthread_create(&s->thread, NULL, server_main, s) == 0);
    return s;
}

void
http_server_free(struct http_server *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_stopping = true;
    for (size_t i = 0; i < s->n_conns; i++) {
        if (s->conns[i].fd >= 0)
            shutdown(s->conns[i].fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&s->lock);
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->n_conns; i++)
        pthread_join(s->conns[i].thread, NULL);
    close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const char *
http_server_url(const struct http_server *s)
{
    return s->url;
}

unsigned
http_server_count(struct http_server *s)
{
    unsigned n;

    pthread_mutex_lock(&s->lock);
    n = s->n_calls;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void
http_send_bytes(struct http_call *c, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        p += n;
        len -= (size_t)n;
    }
}

void
http_send(struct http_call *c, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    MUST(n >= 0);
    http_send_bytes(c, text, (size_t)n);
    free(text);
}

void
http_answer(struct http_call *c, int status, const char *head, const char *body)
{
    http_send(c, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n%s", status,
              strlen(body), head, body);
}

bool
http_has_line(const struct http_call *c, const char *line)
{
    size_t len = strlen(line);

    for (const char *p = c->raw; (p = strstr(p, "\r\n")); p += 2) {
        if (!strncasecmp(p + 2, line, len) && !strncmp(p + 2 + len, "\r\n", 2))
            return true;
    }
    return false;
}

bool
http_has_header(const struct http_call *c, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = c->raw; (p = strstr(p, "\r\n")); p += 2) {
        if (!strncasecmp(p + 2, name, len) && p[2 + len] == ':')
            return true;
    }
    return false;
}

void
http_wait_gone(struct http_call *c)
{
    char byte;

    while (recv(c->fd, &byte, 1, 0) > 0)
        continue;
}
