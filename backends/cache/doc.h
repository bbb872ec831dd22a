/* SPDX-License-Identifier: MIT */
/* Documents: small answers (JSON, listings, heads) fetched whole into memory,
 * one request (or a chain of pages) per key whoever asks, for backends whose
 * look-ups need them.
 *
 * A backend that misses something calls mlc_doc_ask() and returns what it
 * returns.  -EAGAIN: under way, the asker is parked.  When the answer is
 * there, spec->finish runs once on a pool thread, stores what it learnt in
 * the backend's own state, and everybody who waits asks again; the backend
 * then finds its state and does not come here.  A failure is remembered under
 * the key for memo_ms, so that those who ask again get it at once.
 *
 * Retries: connection failures, 408, 429 and 5xx are tried again with backoff
 * (0.25, 0.5, 1, 2, 4 s; Retry-After honoured when it fits) within
 * lookup_ms per page, refused connections and unknown hosts fewer times.  A
 * host (scheme, host, port; after redirects the one that failed) on which that
 * failed is not asked again for 10 s: -EIO at once (or the errno that it
 * failed with).  The asker's deadline_ms does not shorten it: others may wait
 * for the same answer.
 * A token goes to the origin of spec->url only, with next_url too.
 * Memory: a body beyond its first 64 KiB is taken from the budget.
 * Locks: docs.lock (leaf; not held during finish).
 */
#ifndef MLC_CACHE_DOC_H
#define MLC_CACHE_DOC_H

#include <stddef.h>
#include <stdint.h>

#include "backends/cache/net.h"
#include "backends/cache/wait.h"

struct mlc_pool;
struct mlc_budget;
struct mlc_docs;

struct mlc_doc_answer {
    int r;            /* 0: an HTTP answer came; else the transport's -errno */
    int status;       /* HTTP status */
    const char *body; /* NUL-terminated */
    size_t len;
    const char *url; /* where the answer came from */
    bool is_redirected;
    /* A header of the answer, or NULL; borrowed until finish returns. */
    const char *(*header)(const struct mlc_doc_answer *a, const char *name);
    const void *priv;
};

/* What finish says. */
struct mlc_doc_verdict {
    int r;                   /* 0: the state is there, ask again; or a -errno */
    int64_t memo_ms;         /* how long r < 0 is believed; 0: 1 s */
    char *next_url;          /* r == -EINPROGRESS: fetch this page too (caller's
                                malloc, taken over), finish is called again;
                                who waits may look what is known by now */
    bool is_retry_anonymous; /* r == -EINPROGRESS: the same without bearer */
};

struct mlc_doc_spec {
    const char *key;            /* copied */
    const char *url;            /* copied */
    const char *bearer;         /* copied; NULL: none */
    const char *netrc;          /* as in net.h; borrowed for the docs' life */
    const char *const *headers; /* copied; NULL: none */
    const char *form;           /* copied; the body of a POST; NULL: a GET */
    size_t max_bytes;           /* of one body; beyond: -EFBIG to finish */
    /* A status says something of this URL, and nothing of its host: others of
     * it are asked all the same, and 5xx other than 502 to 504 are tried again
     * twice at the most. */
    bool is_status_of_url;
    bool is_slash_final; /* as in net.h */
    bool has_range;      /* likewise */
    uint64_t range_from, range_to;
    /* Pool thread, one at a time per key.  arg is the spec's; free_arg (or
     * NULL) is called once after the last finish, also at shutdown. */
    void (*finish)(void *arg, const struct mlc_doc_answer *a,
                   struct mlc_doc_verdict *ret);
    void *arg;
    void (*free_arg)(void *arg);
};

int mlc_docs_new(struct mlc_net *net, struct mlc_pool *pool,
                 struct mlc_budget *budget, int64_t lookup_ms,
                 struct mlc_docs **ret);
/* After mlc_net_stop(): every waiter is woken, later asks get -EIO. */
void mlc_docs_stop(struct mlc_docs *d);
void mlc_docs_free(struct mlc_docs *d);

/* -EAGAIN: under way (the asker was registered, or could not wait); 0: the
 * answer came between the caller's look and now (less than 0.25 s ago): look
 * at your state again; or the remembered failure.  arg is taken over in every
 * case.  With ask->only_known nothing is started: -EAGAIN. */
int mlc_doc_ask(struct mlc_docs *d, struct mlc_ask *ask,
                const struct mlc_doc_spec *spec);
/* The same for nobody: refresh in the background, unless under way, memoised
 * as failed, or its host is down. */
void mlc_doc_refresh(struct mlc_docs *d, const struct mlc_doc_spec *spec);
/* Forgets remembered failures whose key starts with prefix (the token
 * changed, a directory was created anew), also those of requests under way:
 * their waiters ask anew. */
void mlc_doc_forget(struct mlc_docs *d, const char *prefix);

#endif
