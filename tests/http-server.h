/* SPDX-License-Identifier: MIT */
/* A scripted HTTP server for unit tests: listens on a free loopback port and
 * lets a function write each answer, as raw as the test wants it.  One thread
 * per connection. */
#ifndef MLC_TESTS_HTTP_SERVER_H
#define MLC_TESTS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct http_server;

struct http_call {
    void *arg;        /* the handler's */
    const char *raw;  /* the request's head, as it came */
    const char *path; /* with query */
    unsigned n;       /* requests to this server before this one */
    int fd;
    struct http_server *server;
};

/* Writes the answer.  true: keep the connection for another request. */
typedef bool http_handler(struct http_call *c);

struct http_server *http_server_new(http_handler *fn, void *arg);
/* Closes everything (a handler in http_wait_gone() returns), joins. */
void http_server_free(struct http_server *s);
/* "http://127.0.0.1:PORT" */
const char *http_server_url(const struct http_server *s);
/* Requests so far. */
unsigned http_server_count(struct http_server *s);

void http_send(struct http_call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void http_send_bytes(struct http_call *c, const void *data, size_t len);
/* A whole answer with Content-Length; head: further lines with \r\n, or "". */
void http_answer(struct http_call *c, int status, const char *head,
                 const char *body);
/* Does the request have exactly this header line ("Name: value")? */
bool http_has_line(const struct http_call *c, const char *line);
/* Does it have this header at all? */
bool http_has_header(const struct http_call *c, const char *name);
/* Returns when the client closed the connection, or the server is freed. */
void http_wait_gone(struct http_call *c);

#endif
