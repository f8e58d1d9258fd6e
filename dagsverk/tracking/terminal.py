"""`dagsverk export-runs`: trainings for other tools."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagsverk.store import Store
    from dagsverk.tracking.exporting import Exported

DESCRIPTION = """Write every training of the store for another tool: settings, curves, scores.

Made from the store (DAGSVERK_STORE), after the fact; trainings know nothing of it. Given again it adds what
is new. TOOL and PLACE are

  tensorboard FOLDER  with the extra of that name; then look: tensorboard --logdir FOLDER
  trackio FOLDER      with the extra of that name; then look: TRACKIO_DIR=FOLDER trackio show
  mlflow ADDRESS      of a server, such as http://127.0.0.1:5000; nothing of MLflow is needed here"""
TOOLS = ("tensorboard", "trackio", "mlflow")


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("tool", metavar="TOOL", choices=TOOLS, help=", ".join(TOOLS))
    command.add_argument(
        "place", metavar="PLACE", help="a folder, made if it is absent; of mlflow an address"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0; 1 where there is no store, tool or place, or a training could not be read."""
    from dagsverk.store import StoreError, open_store
    from dagsverk.words import counted

    try:
        done = _export(arguments.tool, open_store(create=False), arguments.place)
    except (StoreError, OSError) as error:
        sys.stderr.write(f"dagsverk: {error}\n")
        return 1
    for sentence in done.unreadable:
        sys.stderr.write(f"dagsverk: not exported: {sentence}\n")
    news = f"{counted(done.points, 'point')} of {counted(done.new, 'training')} written"
    news = news if done.new else "nothing new"
    sys.stdout.write(f"{counted(done.trainings, 'training')} in {arguments.place}: {news}\n")
    return int(bool(done.unreadable))


def _export(tool: str, store: Store, place: str) -> Exported:
    from dagsverk.tracking import event_files, mlflow_runs, trackio_runs

    if tool == "mlflow":
        return mlflow_runs.export(store, place)
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    return event_files.export(store, folder) if tool == "tensorboard" else trackio_runs.export(store, folder)
