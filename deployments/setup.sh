#!/usr/bin/env bash
# Makes .venv with exactly the versions that were tested together. Safe to repeat; called by `make`.
#   deployments/setup.sh [run|hopsworks|dev]
# run: what flows, workers and pages need. hopsworks: the SDK too. dev: all of it, with what tests need.
set -euo pipefail
python="${PYTHON:-python3}"

fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }

case "${1:-run}" in
    run) extras=speech,spoken constraints=constraints.txt ;;
    hopsworks) extras=speech,spoken,hopsworks constraints=constraints-hopsworks.txt ;;
    dev) extras=speech,spoken,hopsworks,dev constraints=constraints-hopsworks.txt ;;
    *) fail "wanted run, hopsworks or dev, got $1" ;;
esac

command -v "$python" > /dev/null \
    || fail "no $python found. Install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "Python 3.11 or newer is needed, $python is $("$python" -V 2>&1). Name a newer one: make setup PYTHON=python3.12"

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
    "$python" -c 'import ensurepip, venv' 2> /dev/null \
        || fail "$python has no venv module. Install it (Debian: apt-get install python3-venv) and try again."
    echo "set-up: making .venv with $("$python" -V)"
    "$python" -m venv --clear .venv
fi
.venv/bin/python -m pip --version > /dev/null 2>&1 || .venv/bin/python -m ensurepip --upgrade > /dev/null
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c "$constraints" uv
# Compiled now, once, on all cores: Prefect's first import takes 4 s without byte code, 1.5 s with it,
# and a worker whose environment forbids writing byte code would pay that at every run.
VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install --quiet --compile-bytecode --exact -c "$constraints" \
    -e ".[$extras]" pip uv
