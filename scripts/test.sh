#!/usr/bin/env bash
# Lint and test everything: bash scripts/test.sh [arguments of pytest]
set -eo pipefail
source "$(dirname "$0")/setup.sh" requirements-test.txt
export OMP_NUM_THREADS=1  # threads of several small programs wait for each other
ruff check .
ruff format --check .
mypy
# -n 0: one after the other
python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder "$@"
