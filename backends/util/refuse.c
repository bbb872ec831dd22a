/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/util/refuse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backends/util/parse.h"

int
mlc_refuse_as(int r, char **ret_err, const char *fmt, ...)
{
    va_list ap;

    if (!ret_err)
        return r;
    va_start(ap, fmt);
    if (vasprintf(ret_err, fmt, ap) < 0)
        *ret_err = NULL;
    va_end(ap);
    if (*ret_err)
        mlc_mask_control(*ret_err, strlen(*ret_err));
    return r;
}
