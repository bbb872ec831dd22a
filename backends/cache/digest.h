/* SPDX-License-Identifier: MIT */
/* Digests that prove a whole file: SHA-256, and git's blob SHA-1 (of the
 * header "blob SIZE\0" and the bytes: gitformat; facts: hub 2.3). */
#ifndef MLC_CACHE_DIGEST_H
#define MLC_CACHE_DIGEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mlc_digest_kind { MLC_DIGEST_NONE, MLC_DIGEST_SHA256, MLC_DIGEST_GIT };

struct mlc_digest {
    enum mlc_digest_kind kind;
    uint8_t bytes[32]; /* 32 for SHA-256, 20 for git */
};

struct mlc_digest_state;

size_t mlc_digest_size(enum mlc_digest_kind kind);
/* hex of 64 digits: SHA-256; 40: git; anything else: -EINVAL. */
int mlc_digest_parse(const char *hex, struct mlc_digest *ret);
/* size: of the whole file (git needs it first). */
int mlc_digest_new(enum mlc_digest_kind kind, uint64_t size,
                   struct mlc_digest_state **ret);
void mlc_digest_free(struct mlc_digest_state *s);
int mlc_digest_update(struct mlc_digest_state *s, const void *p, size_t len);
int mlc_digest_finish(struct mlc_digest_state *s, struct mlc_digest *ret);
bool mlc_digest_equal(const struct mlc_digest *a, const struct mlc_digest *b);
/* Of what fd holds from 0 to size; -EBADMSG if it is shorter.  Blocks on the
 * disk; -ECANCELED soon after *stop, if there is one, has become true. */
int mlc_digest_fd(int fd, enum mlc_digest_kind kind, uint64_t size,
                  const atomic_bool *stop, struct mlc_digest *ret);

#endif
