#!/usr/bin/env bash
# Writes constraints.txt anew: the newest versions that fit pyproject.toml with all its extras. Called by `make pins`.
set -euo pipefail
TORCH=2.13.0 # newer ones are not tested; the CPU build and the CUDA build of one version are one pin

.venv/bin/python -c 'import sys; assert sys.version_info[:2] == (3, 11)' \
    || { echo "pins: they are made with the oldest Python, 3.11: make clean setup PYTHON=python3.11" >&2; exit 1; }
lines="$(printf 'pip\nuv\ntorch==%s\n' "$TORCH" \
    | .venv/bin/uv pip compile --quiet --upgrade --no-header --no-annotate --all-extras pyproject.toml - \
    | sed -E 's/^(torch==[^+]*)\+.*/\1/')"
{
    echo "# Versions that were tested together, with the Hopsworks SDK. Made by \`make pins\`; ranges are in pyproject.toml."
    echo "$lines"
} > constraints.txt
