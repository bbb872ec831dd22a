/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "backends/util/cleanup.h"
#include "backends/util/parse.h"

struct mlc_digest_state {
    enum mlc_digest_kind kind;
    EVP_MD_CTX *ctx; /* NULL for MLC_DIGEST_NONE */
};

MLC_DEFINE_CLEANUP(digest, struct mlc_digest_state *, mlc_digest_free);

size_t
mlc_digest_size(enum mlc_digest_kind kind)
{
    switch (kind) {
    case MLC_DIGEST_NONE:
        return 0;
    case MLC_DIGEST_SHA256:
        return 32;
    case MLC_DIGEST_GIT:
        return 20;
    }
    return 0;
}

int
mlc_digest_parse(const char *hex, struct mlc_digest *ret)
{
    struct mlc_digest d = {.kind = MLC_DIGEST_NONE};
    size_t len = strlen(hex);
    int r;

    if (len == 64)
        d.kind = MLC_DIGEST_SHA256;
    else if (len == 40)
        d.kind = MLC_DIGEST_GIT;
    else
        return -EINVAL;
    if (!mlc_is_hex(hex, len))
        return -EINVAL;
    r = mlc_parse_hex(hex, d.bytes, len / 2);
    if (r < 0)
        return r;
    *ret = d;
    return 0;
}

int
mlc_digest_new(enum mlc_digest_kind kind, uint64_t size,
               struct mlc_digest_state **ret)
{
    __attribute__((cleanup(mlc_cleanup_digest))) struct mlc_digest_state *s =
        NULL;
    const EVP_MD *md = NULL;
    char head[40];
    int n;

    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->kind = kind;
    switch (kind) {
    case MLC_DIGEST_NONE:
        *ret = mlc_steal(&s);
        return 0;
    case MLC_DIGEST_SHA256:
        md = EVP_sha256();
        break;
    case MLC_DIGEST_GIT:
        md = EVP_sha1();
        break;
    }
    s->ctx = EVP_MD_CTX_new();
    if (!s->ctx || EVP_DigestInit_ex(s->ctx, md, NULL) != 1)
        return -ENOMEM;
    if (kind == MLC_DIGEST_GIT) {
        n = snprintf(head, sizeof(head), "blob %llu", (unsigned long long)size);
        /* With its NUL: that ends the header. */
        if (EVP_DigestUpdate(s->ctx, head, (size_t)n + 1) != 1)
            return -EIO;
    }
    *ret = mlc_steal(&s);
    return 0;
}

void
mlc_digest_free(struct mlc_digest_state *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    free(s);
}

int
mlc_digest_update(struct mlc_digest_state *s, const void *p, size_t len)
{
    if (s->ctx && len > 0 && EVP_DigestUpdate(s->ctx, p, len) != 1)
        return -EIO;
    return 0;
}

int
mlc_digest_finish(struct mlc_digest_state *s, struct mlc_digest *ret)
{
    uint8_t out[EVP_MAX_MD_SIZE];
    struct mlc_digest d = {.kind = s->kind};
    unsigned n = 0;

    if (s->ctx) {
        if (EVP_DigestFinal_ex(s->ctx, out, &n) != 1 ||
            n != mlc_digest_size(s->kind))
            return -EIO;
        memcpy(d.bytes, out, n);
    }
    *ret = d;
    return 0;
}

bool
mlc_digest_equal(const struct mlc_digest *a, const struct mlc_digest *b)
{
    return a->kind == b->kind &&
           memcmp(a->bytes, b->bytes, mlc_digest_size(a->kind)) == 0;
}

int
mlc_digest_fd(int fd, enum mlc_digest_kind kind, uint64_t size,
              const atomic_bool *stop, struct mlc_digest *ret)
{
    __attribute__((cleanup(mlc_cleanup_digest))) struct mlc_digest_state *s =
        NULL;
    uint8_t chunk[32 * 1024];
    uint64_t off = 0;
    int r;

    r = mlc_digest_new(kind, size, &s);
    if (r < 0)
        return r;
    while (off < size) {
        size_t want =
            size - off < sizeof(chunk) ? (size_t)(size - off) : sizeof(chunk);
        ssize_t n;

        if (stop && atomic_load(stop))
            return -ECANCELED;
        n = pread(fd, chunk, want, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EBADMSG;
        r = mlc_digest_update(s, chunk, (size_t)n);
        if (r < 0)
            return r;
        off += (uint64_t)n;
    }
    return mlc_digest_finish(s, ret);
}
