/* SPDX-License-Identifier: MIT */
/* The diffusers_converted backend's own: what its sources share.
 *
 * A recipe is read, with everything that it names, into a model: the list of
 * the folder's files and what each is made of.  Models are immutable, but for
 * when their inputs were last found unchanged, and kept for as long as they
 * are; headers of checkpoints are kept by the content that they are of.
 * Locks: dc.lock (level 2), lists and counters. */
#ifndef MLC_DIFFUSERS_I_H
#define MLC_DIFFUSERS_I_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/backend.h"
#include "backends/cache/pool.h"
#include "backends/cache/view.h"
#include "backends/diffusers_ref.h"
#include "backends/format/layout.h"
#include "backends/format/lora.h"
#include "backends/format/safetensors.h"

#define MLC_DC_MAX_HEADS  16
#define MLC_DC_MAX_MODELS 32
/* Of the headers that are kept, in all: what they take parsed is a small
 * multiple. */
#define MLC_DC_MAX_KEPT ((size_t)32 << 20)
/* A header that is longer is no model's. */
#define MLC_DC_MAX_HEADER ((size_t)16 << 20)
/* Of all files of one recipe: they are in memory at once while it is built.  A
 * LoRA of every layer of SDXL has half a MiB. */
#define MLC_DC_MAX_HEADERS ((size_t)64 << 20)
/* Of all headers in memory, whoever has them.  One build alone always finds
 * room; of several at once, one goes on and the others wait for it. */
#define MLC_DC_MAX_LIVE (MLC_DC_MAX_HEADERS + MLC_DC_MAX_HEADER)
/* Of models that are kept, about: the last one is, however long. */
#define MLC_DC_MAX_MODELS_LEN ((size_t)64 << 20)

struct mlc_blocks;
struct mlc_kept;
struct mlc_source;

/* A safetensors file's header, or why it is none. */
struct mlc_dc_head {
    atomic_uint refs;
    struct mlc_dc *dc; /* immutable, as all up to used */
    uint64_t identity;
    size_t len; /* bytes of the header; counted in dc.heads_len */
    struct mlc_safetensors *file;
    char *err;
    uint64_t used; /* dc.lock; of dc.tick */
    /* dc.lock; the file, open from the time that more of it is waited for until
     * it is read, or not asked for any more: what was fetched of an object need
     * not be checked again.  A reference, or NULL. */
    struct mlc_source *source;
    int64_t asked_ms; /* dc.lock; when it was last opened, monotonic */
};

/* A file that the recipe names, or needs. */
struct mlc_dc_input {
    char *spelled;
    struct mlc_found found;
};

/* A file of the folder. */
struct mlc_dc_file {
    char *path;
    char *text; /* its bytes; NULL: it is a view */
    size_t len;
    struct mlc_view_plan *plan; /* a reference */
    unsigned *inputs;           /* what the plan's sources are */
    unsigned n_inputs;
    uint64_t content;
};

struct mlc_dc_model {
    atomic_uint refs;
    size_t len; /* immutable, as all up to checked_ms; bytes, about */
    char *name;
    struct stat stamp; /* the recipe's file */
    bool is_failed;    /* error.txt alone */
    struct mlc_dc_input *inputs;
    size_t n_inputs;
    struct mlc_dc_file *files; /* by path */
    size_t n_files;
    atomic_int_fast64_t checked_ms; /* monotonic */
    uint64_t used;                  /* dc.lock */
};

struct mlc_dc {
    struct mlc_domain *d;      /* immutable */
    struct mlc_blocks *blocks; /* immutable */
    struct mlc_kept *kept;     /* immutable; NULL: nothing is kept on disk */
    bool is_open;              /* immutable */
    pthread_mutex_t lock;      /* level 2; all below */
    uint64_t tick;
    struct mlc_dc_head *heads[MLC_DC_MAX_HEADS]; /* a reference each */
    size_t n_heads;
    size_t heads_len;         /* bytes, of all that are in memory */
    unsigned n_builds;        /* under way */
    struct mlc_waitlist room; /* for the end of any of them */
    struct mlc_timer closer;  /* of the heads' sources */
    bool is_closer_armed;
    struct mlc_dc_model *models[MLC_DC_MAX_MODELS]; /* a reference each */
    size_t n_models;
};

/* --- diffusers_head.c ------------------------------------------------ */

/* Before anything else of these. */
void mlc_dc_heads_init(struct mlc_dc *dc);
/* A reference to the file's header.  0, also when it is none (err is set);
 * -EAGAIN, with *ret_is_crowded where builds have no room for it and nothing
 * was registered; or what reading failed with. */
int mlc_dc_head_get(struct mlc_dc *dc, const struct mlc_found *f,
                    struct mlc_ask *ask, bool *ret_is_crowded,
                    struct mlc_dc_head **ret);
void mlc_dc_head_unref(struct mlc_dc_head *h); /* takes NULL */
/* A reference to the file that it is of, which stays open until
 * mlc_dc_head_close(), or until nobody has asked for it for as long as anybody
 * would wait.  0 or what mlc_found_open() says. */
int mlc_dc_head_open(struct mlc_dc *dc, struct mlc_dc_head *h,
                     const struct mlc_found *f, struct mlc_ask *ask,
                     struct mlc_source **ret);
void mlc_dc_head_close(struct mlc_dc *dc, struct mlc_dc_head *h);

/* --- diffusers_model.c ----------------------------------------------- */

/* The folder of NAME.recipe, whose lstat is 'stamp'; one that can't be made is
 * a model too (is_failed).  A reference.  0, -EAGAIN, -ENOMEM. */
int mlc_dc_model_build(struct mlc_dc *dc, const char *name,
                       const struct stat *stamp, struct mlc_ask *ask,
                       struct mlc_dc_model **ret);
void mlc_dc_model_unref(struct mlc_dc_model *m); /* takes NULL */
/* NULL: there is no such file. */
const struct mlc_dc_file *mlc_dc_model_find(const struct mlc_dc_model *m,
                                            const char *path);
/* Who asks for what the recipe with that stamp names. */
struct mlc_ref mlc_dc_ref(struct mlc_dc *dc, const struct stat *stamp,
                          struct mlc_ask *ask);

/* --- diffusers_weights.c ---------------------------------------------- */

/* A LoRA of the recipe: where it is among the model's inputs. */
struct mlc_dc_lora {
    unsigned input;
    double scale;
    struct mlc_dc_head *head; /* borrowed */
};

struct mlc_dc_weights_spec {
    struct mlc_layout *layout; /* taken over */
    const struct mlc_dc_input *inputs;
    unsigned checkpoint, vae; /* among them */
    const struct mlc_dc_lora *loras;
    size_t n_loras;
    double lora_scale;
    struct mlc_dc *dc;
    struct mlc_ask *ask;
};

/* One weights file's bytes. */
struct mlc_dc_part {
    const struct mlc_component *component; /* borrowed from the layout */
    struct mlc_view_plan *plan;            /* a reference, the caller's */
    unsigned *inputs; /* what its sources are; the caller's to free */
    unsigned n_inputs;
    uint64_t content;
};

struct mlc_dc_weights;

/* 0; -EAGAIN; -EBADMSG: refused, *ret_err is a sentence (the caller's); or what
 * reading failed with, and *ret_err may name the LoRA. */
int mlc_dc_weights_new(const struct mlc_dc_weights_spec *spec,
                       struct mlc_dc_weights **ret, char **ret_err);
/* Plans that refer to it keep what they need. */
void mlc_dc_weights_unref(struct mlc_dc_weights *w);
/* Bytes of memory that it takes with the plans of all of its parts, about. */
size_t mlc_dc_weights_len(const struct mlc_dc_weights *w);
/* i < the layout's n_components. */
int mlc_dc_weights_part(struct mlc_dc_weights *w, size_t i,
                        struct mlc_dc_part *ret);

#endif
