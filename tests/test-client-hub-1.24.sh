#!/usr/bin/env bash
# huggingface_hub 1.24 finds every file of the mount already cached.
# timeout: 900
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_venv hub-1.24
# shellcheck source=tests/clients/hub-matrix.sh
. "$srcdir/tests/clients/hub-matrix.sh"

hub_matrix
