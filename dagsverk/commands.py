"""The command `dagsverk`. Only what a command needs is imported, and when it runs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

INTERRUPTED = 130  # as shells report Ctrl-C
COPY = """Copy a whole store: tables with their history, model versions, promotions and artefacts.

FROM and TO are a folder, s3://bucket/prefix or hopsworks://host/project. FROM is only read. TO must be empty,
or what an earlier copy of FROM left: then only what is missing is copied. So a copy can be stopped, and goes
on when the same command is given again."""

DOCTOR = """Look at this installation: versions, settings, state folder, disks, clock, store, Prefect, runs.
A line for each thing (fine, warn, wrong), and what to do about it.

Works with nothing running. Changes nothing, but for a probe in the store, which it removes. Exit status 1 if
something is wrong."""


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
    copy = commands.add_parser(
        "copy",
        help="copy a whole store",
        description=COPY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    copy.add_argument("source", metavar="FROM", help="the store to copy; it is only read")
    copy.add_argument("target", metavar="TO", help="where to: empty, or an earlier copy of FROM")
    copy.add_argument(
        "--read-back",
        action="store_true",
        help="read artefacts and model files from TO again; tables always are",
    )
    copy.set_defaults(run=_copy)
    doctor = groups.add_parser(
        "doctor",
        help="what is wrong with this installation, and what to do",
        description=DOCTOR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--state", metavar="DIR", help="state folder (default: .dagsverk of the checkout)")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(run=_doctor)
    _add_transcribe(groups)
    _add_report(groups)
    _add_lineage(groups)
    _add_export_runs(groups)
    return command


def _add_transcribe(groups: Any) -> None:
    from dagsverk.speech.transcription import arguments

    transcribe = groups.add_parser(
        "transcribe",
        help="recordings -> texts and subtitles",
        description=arguments.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_arguments(transcribe)
    transcribe.set_defaults(run=_transcribe)


def _transcribe(arguments: argparse.Namespace) -> int:
    from dagsverk.speech.transcription import terminal

    return terminal.run(arguments)


def _add_report(groups: Any) -> None:
    from dagsverk.report import terminal

    report = groups.add_parser(
        "report",
        help="a model's version -> one HTML file that says all of it",
        description=terminal.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    terminal.add_arguments(report)
    report.set_defaults(run=terminal.run)


def _add_lineage(groups: Any) -> None:
    from dagsverk.lineage import terminal

    lineage = groups.add_parser(
        "lineage",
        help="where a prediction, text or model comes from; what was made of a row or clip",
        description=terminal.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    terminal.add_arguments(lineage)
    lineage.set_defaults(run=terminal.run)


def _add_export_runs(groups: Any) -> None:
    from dagsverk.tracking import terminal

    export = groups.add_parser(
        "export-runs",
        help="trainings -> TensorBoard",
        description=terminal.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    terminal.add_arguments(export)
    export.set_defaults(run=terminal.run)


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
