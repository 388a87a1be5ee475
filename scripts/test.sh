#!/usr/bin/env bash
# Lint and test everything: bash scripts/test.sh [arguments of pytest]
set -eo pipefail
source "$(dirname "$0")/setup.sh" requirements-test.txt
ruff check .
ruff format --check .
mypy
python -m pytest "$@"
