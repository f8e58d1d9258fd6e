"""`make setup` where Python is missing, too old or without venv: one sentence and the next move."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OLD = 'case "$1" in -V) echo "Python 3.9.1";; *) exit 1;; esac'
WITHOUT_VENV = 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac'


def set_up(folder: Path, python: str) -> subprocess.CompletedProcess:
    """Run the set-up in an empty folder with the given interpreter."""
    return subprocess.run(
        ["bash", str(ROOT / "deployments" / "setup.sh")],
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHON": python},
        capture_output=True,
        text=True,
    )


def interpreter(folder: Path, script: str) -> str:
    """A stand-in for a Python that answers as the script says."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "script, message",
    [
        (OLD, "Python 3.11 or newer is needed"),
        (OLD, "is Python 3.9.1. Name a newer one: make setup PYTHON=python3.12"),
        (WITHOUT_VENV, "has no venv module. Install it (Debian: apt-get install python3-venv)"),
    ],
)
def test_an_unfit_python_is_named_with_the_next_move(tmp_path, script, message):
    done = set_up(tmp_path, interpreter(tmp_path, script))
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_missing_python_is_named_with_the_next_move(tmp_path):
    done = set_up(tmp_path, "no-such-python")
    assert done.returncode == 1
    assert "no no-such-python found. Install Python 3.11 or newer" in done.stderr


def test_a_set_up_that_is_up_to_date_does_nothing(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".dagsverk-ready").touch()
    done = subprocess.run(["make", "setup"], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert "set-up:" not in done.stdout
