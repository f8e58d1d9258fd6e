"""`dagsverk report`: a version's report, written to a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DESCRIPTION = """Write the report of a model's version: one HTML file that opens without a server or network.
What it is, scores with intervals, groups, curves, cost, the decision, the way from the data to what is
served. MODEL is a system (titanic), a language (swedish, sv) or a model's name.

Without VERSION it is the one in use, else the newest. Drawn from the store (DAGSVERK_STORE), so versions
made long ago have one, too; a file that is there already is replaced."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="titanic, swedish, whisper_swedish")
    command.add_argument("version", metavar="VERSION", nargs="?", default="", help="a number")
    command.add_argument(
        "--out", metavar="FILE", help="where to (default: MODEL-VERSION.html here; -: to the terminal)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0; 1 where there is no such version, or no store, or no place to write to."""
    from dagsverk.report.making import NoReport, make_report
    from dagsverk.store import StoreError, open_store

    try:
        made = make_report(open_store(), arguments.model, arguments.version)
        if arguments.out == "-":
            sys.stdout.buffer.write(made.html.encode())
            sys.stdout.buffer.flush()
            return 0
        target = Path(arguments.out or made.file_name)
        _write_whole(target, made.html)
    except (NoReport, StoreError, OSError) as error:
        sys.stderr.write(f"dagsverk: {error}\n")
        return 1
    sys.stdout.write(f"{made.name} version {made.version}: {target}\n")
    return 0


def _write_whole(target: Path, html: str) -> None:
    """Whole or not at all: a file that is there stays until the new one is written."""
    if target.is_dir():
        raise IsADirectoryError(f"want a file to write to, found the folder {target}; name a file in it")
    if target.exists() and not target.is_file():  # a pipe, say: it must stay what it is
        target.write_text(html, encoding="utf-8")
        return
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(html, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
