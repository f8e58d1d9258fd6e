"""The command `dagsverk`. Only what a command needs is imported, and when it runs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

Run: TypeAlias = Callable[[argparse.Namespace], int]
Add: TypeAlias = Callable[[argparse.ArgumentParser], None]
INTERRUPTED = 130  # as shells report Ctrl-C
COPY = """Copy a whole store: tables with their history, model versions, promotions and artefacts.

FROM and TO are a folder, s3://bucket/prefix or hopsworks://host/project. FROM is only read. TO must be empty,
or what an earlier copy of FROM left: then only what is missing is copied. So a copy can be stopped, and goes
on when the same command is given again."""

DOCTOR = """Look at this installation: versions, settings, state folder, disks, clock, store, Prefect, runs.
A line for each thing (fine, warn, wrong), and what to do about it.

Works with nothing running. Changes nothing, but for a probe in the store, which it removes. Exit status 1 if
something is wrong."""

TERMINALS = {  # name -> what it does, the module with its arguments (light), the module that runs it
    "transcribe": (
        "recordings -> texts and subtitles",
        "dagsverk.speech.transcription.arguments",
        "dagsverk.speech.transcription.terminal",
    ),
    "report": (
        "a model's version -> one HTML file that says all of it",
        "dagsverk.report.terminal",
        "dagsverk.report.terminal",
    ),
    "lineage": (
        "where a prediction, text or model comes from; what was made of a row or clip",
        "dagsverk.lineage.terminal",
        "dagsverk.lineage.terminal",
    ),
    "export-runs": (
        "trainings -> TensorBoard, Trackio, MLflow",
        "dagsverk.tracking.terminal",
        "dagsverk.tracking.terminal",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status: 0, 1 if something is wrong, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except KeyboardInterrupt:
        _tell("stopped; what has arrived stays, and the same command goes on from there", error=True)
        return INTERRUPTED
    return status


def parser() -> argparse.ArgumentParser:
    """What the command understands."""
    command = argparse.ArgumentParser(prog="dagsverk", description="Dagsverk's command.")
    groups = command.add_subparsers(required=True, metavar="GROUP")
    store = groups.add_parser("store", help="what is saved: tables, models, artefacts")
    commands = store.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "copy", _copy, _copy_arguments, help="copy a whole store", description=COPY)
    what = "what is wrong with this installation, and what to do"
    _add(groups, "doctor", _doctor, _doctor_arguments, help=what, description=DOCTOR)
    for name, (words, arguments, terminal) in TERMINALS.items():
        module = import_module(arguments)
        _add(groups, name, _by(terminal), module.add_arguments, help=words, description=module.DESCRIPTION)
    return command


def _add(groups: Any, name: str, run: Run, add_arguments: Add, **words: str) -> None:
    """One command; what `words` say is shown with the line breaks that it has."""
    command = groups.add_parser(name, formatter_class=argparse.RawDescriptionHelpFormatter, **words)
    add_arguments(command)
    command.set_defaults(run=run)


def _by(module: str) -> Run:
    def run(arguments: argparse.Namespace) -> int:
        status: int = import_module(module).run(arguments)
        return status

    return run


def _copy_arguments(copy: argparse.ArgumentParser) -> None:
    copy.add_argument("source", metavar="FROM", help="the store to copy; it is only read")
    copy.add_argument("target", metavar="TO", help="where to: empty, or an earlier copy of FROM")
    words = "read artefacts and model files from TO again; tables always are"
    copy.add_argument("--read-back", action="store_true", help=words)


def _doctor_arguments(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--state", metavar="DIR", help="state folder (default: .dagsverk of the checkout)")
    doctor.add_argument("--json", action="store_true", help="for programs")


def _doctor(arguments: argparse.Namespace) -> int:
    from dagsverk.doctor.checks import as_json, as_text, examine, fails, installation

    findings = examine(installation(arguments.state))
    for line in [as_json(findings)] if arguments.json else as_text(findings):
        _tell(line)
    return int(fails(findings))


def _copy(arguments: argparse.Namespace) -> int:
    from dagsverk.store import StoreError, open_store
    from dagsverk.store.moving.copying import copy
    from dagsverk.store.moving.places import open_existing, refuse_overlap

    started = time.monotonic()
    try:
        refuse_overlap(arguments.source, arguments.target)
        source = open_existing(arguments.source)
        target = open_store(arguments.target)
        _tell(f"copying {source.url} to {target.url}")
        counts = copy(source, target, _tell, read_back=arguments.read_back)
    except StoreError as error:
        _tell(f"dagsverk: {error}", error=True)
        return 1
    _tell(f"{_summary(counts)} in {time.monotonic() - started:.0f} s; {target.url} has all of {source.url}")
    return 0


def _summary(counts: Mapping[str, int]) -> str:
    from dagsverk.store.moving.progress import amount

    kinds = ("artefacts", "commits", "versions", "promotions")
    copied = [f"{counts[kind]} {kind}" for kind in kinds if counts.get(kind)]
    if not copied:
        return "nothing was missing: compared"
    return f"copied {', '.join(copied)} ({amount(counts.get('bytes', 0))})"


def _tell(line: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{line}\n")
    stream.flush()  # a log is read while it grows
