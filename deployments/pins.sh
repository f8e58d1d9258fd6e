#!/usr/bin/env bash
# Writes the two constraints files anew: the newest versions that fit pyproject.toml. Called by `make pins`.
# Two, because the Hopsworks SDK asks for an older pandas, fsspec, protobuf and SQLAlchemy than anything else here.
set -euo pipefail
TORCH=2.13.0 # the newest that is tested; its builds with and without CUDA are one pin

fail() { printf 'pins: %s\n' "$*" >&2; exit 1; }

.venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
    || fail "they are made with the oldest Python, 3.11: make clean, then make pins PYTHON=python3.11"

# pins FILE WHAT EXTRA...
pins() {
    local file="$1" what="$2" extra extras=()
    shift 2
    for extra in "$@"; do extras+=(--extra "$extra"); done
    lines="$(printf 'pip\nuv\ntorch==%s\n' "$TORCH" \
        | .venv/bin/uv pip compile --quiet --upgrade --no-header --no-annotate "${extras[@]}" pyproject.toml - \
        | sed -E 's/^(torch==[^+]*)\+.*/\1/')" || fail "nothing written to $file; uv's reason is above"
    printf '%s\n' "# Versions that were tested together, $what. Made by \`make pins\` from pyproject.toml." "$lines" > "$file"
}

pins constraints.txt "without the Hopsworks SDK" dev speech spoken
pins constraints-hopsworks.txt "with the Hopsworks SDK" dev speech spoken hopsworks
