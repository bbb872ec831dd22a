/* SPDX-License-Identifier: MIT */
/* A commit's files: names, sizes and hashes, from the Hub's tree listing or a
 * client's trees/COMMIT.json, kept sorted in few bytes (40 a file, 32 more for
 * an LFS file, and its path).
 *
 * A listing is hostile input: one bad entry refuses the whole of it.
 * Lifetime: reference-counted; immutable once made, but for the cursor.
 */
#ifndef MLC_HF_TREE_H
#define MLC_HF_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"

struct mlc_buf;
struct mlc_hf_tree;
struct mlc_hf_tree_builder;

#define MLC_HF_TREE_MAX_FILES ((size_t)1000000)
#define MLC_HF_TREE_MAX_TEXT  ((size_t)256 << 20)
#define MLC_HF_MAX_PATH       ((size_t)4000)
#define MLC_HF_ETAG_LEN       64

struct mlc_hf_file {
    const char *path;               /* borrowed from the tree */
    uint64_t size;                  /* bytes, of the real file */
    char etag[MLC_HF_ETAG_LEN + 1]; /* its name in blobs/ */
};

/* What the pages of one listing add up to. */
int mlc_hf_tree_builder_new(struct mlc_hf_tree_builder **ret);
void mlc_hf_tree_builder_free(struct mlc_hf_tree_builder *b);
/* One page: a JSON array.  0; -EBADMSG (then *ret_err, the caller's to free,
 * says why) or -ENOMEM: the builder is of no use any more. */
int mlc_hf_tree_add_page(struct mlc_hf_tree_builder *b, const char *text,
                         size_t len, char **ret_err);
/* Sorts, drops duplicates (the first wins) and files that are directories
 * too.  b is left empty.  0 or -ENOMEM. */
int mlc_hf_tree_finish(struct mlc_hf_tree_builder *b, struct mlc_hf_tree **ret);

/* trees/COMMIT.json as huggingface_hub keeps it.  parse: 0, -EBADMSG,
 * -ENOMEM.  format: appends; without xet_hash, on purpose (facts: hub 3.10,
 * item 12). */
int mlc_hf_tree_parse(const char *text, size_t len, struct mlc_hf_tree **ret);
int mlc_hf_tree_format(const struct mlc_hf_tree *t, struct mlc_buf *out);

struct mlc_hf_tree *mlc_hf_tree_ref(struct mlc_hf_tree *t);
void mlc_hf_tree_unref(struct mlc_hf_tree *t); /* takes NULL */

size_t mlc_hf_tree_n_files(const struct mlc_hf_tree *t);
/* i < n_files; in the order of paths. */
void mlc_hf_tree_get(const struct mlc_hf_tree *t, size_t i,
                     struct mlc_hf_file *ret);
/* 0: a file, *ret_i; -EISDIR: a directory ("" is one); -ENOENT. */
int mlc_hf_tree_find(const struct mlc_hf_tree *t, const char *path,
                     size_t *ret_i);
/* Emits what lies directly in dir.  0, -ENOENT, or what emit returned. */
int mlc_hf_tree_list(const struct mlc_hf_tree *t, const char *dir,
                     mlc_list_fn *emit, void *arg);
/* How many files have that content; the k-th of them. */
size_t mlc_hf_tree_find_etag(const struct mlc_hf_tree *t, const char *etag,
                             size_t *ret_first);
size_t mlc_hf_tree_by_etag(const struct mlc_hf_tree *t, size_t k);
/* For a caller that checks the files one after the other: where it is. */
atomic_size_t *mlc_hf_tree_cursor(struct mlc_hf_tree *t);

#endif
