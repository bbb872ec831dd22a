/* SPDX-License-Identifier: MIT */
/* shelf/: the least that a domain can be, plain local storage. */
#include "config.h"

#include "backends/backend.h"

const struct mlc_backend mlc_backend_shelf = {
    .name = "shelf",
    .summary = "a domain that says nothing about its names",
};
