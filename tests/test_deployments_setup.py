"""`make setup` where Python is missing, too old or without venv: one sentence and the next move."""

import os
import re
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


@pytest.fixture
def checkout(tmp_path):
    """What `make` looks at, and a virtual environment that only looks like one."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-hopsworks.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    return tmp_path


def make(folder: Path, *arguments: str) -> str:
    """The commands that `make` would run."""
    return subprocess.run(
        ["make", "-n", *arguments], check=True, cwd=folder, capture_output=True, text=True
    ).stdout


def test_a_set_up_that_is_up_to_date_does_nothing(checkout):
    (checkout / ".venv" / ".dagsverk-ready").touch()
    assert "setup.sh" not in make(checkout, "setup")


@pytest.mark.parametrize(
    "asked, installed",
    [
        (["demo"], "run"),
        (["up"], "run"),
        (["hopsworks"], "hopsworks"),
        (["demo", "STORE=s3"], "dev"),  # the servers of tests are needed
        (["test"], "dev"),
        (["lint"], "dev"),
    ],
)
def test_only_what_the_command_needs_is_installed(checkout, asked, installed):
    assert re.findall(r"setup\.sh (\w+)", make(checkout, *asked)) == [installed]


@pytest.mark.parametrize("held, installed", [("hopsworks", "hopsworks"), ("dev", "dev")])
def test_an_environment_that_holds_more_keeps_it_when_it_is_brought_up_to_date(checkout, held, installed):
    for name in ("ready", held):
        marker = checkout / ".venv" / f".dagsverk-{name}"
        marker.touch()
        os.utime(marker, (0, 0))
    assert re.findall(r"setup\.sh (\w+)", make(checkout, "up")) == [installed]


def test_an_unknown_set_of_packages_is_refused(tmp_path):
    done = subprocess.run(
        ["bash", str(ROOT / "deployments" / "setup.sh"), "all"],
        check=False, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "set-up: wanted run, hopsworks or dev, got all\n")


def test_every_package_has_one_version_in_each_list_and_torch_has_no_build():
    for name in ("constraints.txt", "constraints-hopsworks.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
        assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
        assert len({line.partition("==")[0] for line in lines}) == len(lines)
