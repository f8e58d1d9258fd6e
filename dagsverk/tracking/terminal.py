"""`dagsverk export-runs`: trainings for other tools."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DESCRIPTION = """Write every training of the store for another tool: settings, curves, scores.

Made from the store (DAGSVERK_STORE), after the fact; trainings know nothing of it. Given again it adds what
is new. TOOL is tensorboard (needs the extra of that name); then look: tensorboard --logdir FOLDER"""
TOOLS = ("tensorboard",)


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("tool", metavar="TOOL", choices=TOOLS, help="tensorboard")
    command.add_argument("folder", metavar="FOLDER", type=Path, help="where to; made if it is absent")


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0; 1 where there is no store, tool or place, or a training could not be read."""
    from dagsverk.store import StoreError, open_store
    from dagsverk.tracking.event_files import export
    from dagsverk.words import counted

    try:
        store = open_store(create=False)
        arguments.folder.mkdir(parents=True, exist_ok=True)
        done = export(store, arguments.folder)
    except (StoreError, OSError) as error:
        sys.stderr.write(f"dagsverk: {error}\n")
        return 1
    for sentence in done.unreadable:
        sys.stderr.write(f"dagsverk: not exported: {sentence}\n")
    news = f"{counted(done.points, 'point')} of {counted(done.new, 'training')} written"
    news = news if done.new else "nothing new"
    sys.stdout.write(f"{counted(done.trainings, 'training')} in {arguments.folder}: {news}\n")
    return int(bool(done.unreadable))
