#!/usr/bin/env bash
# The newest huggingface_hub finds every file of the mount already cached.
# timeout: 900
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_venv hub-new
# shellcheck source=tests/clients/hub-matrix.sh
. "$srcdir/tests/clients/hub-matrix.sh"

hub_matrix
