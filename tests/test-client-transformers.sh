#!/usr/bin/env bash
# transformers loads a model from the mount and fetches no file itself.
# timeout: 900
# tap
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_venv models
# shellcheck source=tests/clients/models-matrix.sh
. "$srcdir/tests/clients/models-matrix.sh"

models_matrix transformers
