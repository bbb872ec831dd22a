/* SPDX-License-Identifier: MIT */
/* The frame of a spaCy model's wheel (facts: spacy 3, 6.4): what must be there,
 * and what must not.  ret_why: as in zip.h. */
#ifndef MLC_FORMAT_WHEEL_H
#define MLC_FORMAT_WHEEL_H

#include <stddef.h>

#include "backends/format/record.h"
#include "backends/format/zip.h"

/* Nothing at the top but NAME/ and NAME-VERSION.dist-info/; in them RECORD,
 * NAME/__init__.py, NAME/meta.json, and config.cfg and meta.json of
 * NAME/NAME-VERSION/.  name and version: checked by the caller to be fit for
 * paths.  0 or -EBADMSG. */
int mlc_wheel_check(const struct mlc_zip *z, const char *name,
                    const char *version, char *ret_why);
/* Reads and checks RECORD, of a wheel that passed mlc_wheel_check(): all files
 * are listed, nothing else, with the directory's sizes.  read, arg, stop and
 * errors: as for mlc_zip_extract_small(). */
int mlc_wheel_read_record(const struct mlc_zip *z, const char *name,
                          const char *version, mlc_zip_read_fn *read, void *arg,
                          const atomic_bool *stop,
                          struct mlc_record **ret_record, char *ret_why);
/* Is it the meta.json of that model: lang + "_" + name, and version?  0,
 * -EBADMSG or -ENOMEM. */
int mlc_wheel_check_meta(const char *text, size_t len, const char *name,
                         const char *version, char *ret_why);

#endif
