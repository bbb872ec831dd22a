/* SPDX-License-Identifier: MIT */
/* JSON as Python's json.dumps(indent=2, sort_keys=True) and a newline, which is
 * how diffusers and transformers write their configurations: what they wrote
 * stays the same, byte for byte, but for the members that were changed. */
#ifndef MLC_FORMAT_PRETTY_H
#define MLC_FORMAT_PRETTY_H

#include <jansson.h>

struct mlc_buf;

/* Appends.  Recurses as deep as the value is.  0, -EFBIG or -ENOMEM. */
int mlc_pretty(struct mlc_buf *b, const json_t *value);

#endif
