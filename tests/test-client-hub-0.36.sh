#!/usr/bin/env bash
# huggingface_hub 0.36 finds every file of the mount already cached.
# timeout: 900
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_venv hub-0.36
# shellcheck source=tests/clients/hub-matrix.sh
. "$srcdir/tests/clients/hub-matrix.sh"

hub_matrix
