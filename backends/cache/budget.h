/* SPDX-License-Identifier: MIT */
/* The daemon's one memory budget (memory=): every buffer that holds bytes of
 * a transfer is taken from it, and a transfer that gets none is paused. */
#ifndef MLC_CACHE_BUDGET_H
#define MLC_CACHE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mlc_budget;

int mlc_budget_new(uint64_t bytes, struct mlc_budget **ret);
void mlc_budget_free(struct mlc_budget *b);
/* What is transferred and written at a time. */
#define MLC_BUFFER ((size_t)256 * 1024)
/* A buffer of MLC_BUFFER bytes, or NULL: the budget is used up (or memory is).
 * A few free buffers are kept for reuse, the rest is returned to the system. */
void *mlc_budget_take_buffer(struct mlc_budget *b);
void mlc_budget_give_buffer(struct mlc_budget *b, void *buffer);
/* Plain accounting for buffers of other sizes. */
bool mlc_budget_take(struct mlc_budget *b, uint64_t bytes);
void mlc_budget_give(struct mlc_budget *b, uint64_t bytes);
uint64_t mlc_budget_used(const struct mlc_budget *b);
/* fn(arg) is called (any thread, once per give after a refusal) when budget
 * was refused and has become free again; set once, before use. */
void mlc_budget_on_free(struct mlc_budget *b, void (*fn)(void *arg), void *arg);

#endif
