"""`dagsverk lineage`: where a thing comes from, and what was made of it, in the terminal."""

from __future__ import annotations

import argparse
import sys

DESCRIPTION = """Where a thing of the store comes from, and what was made of it.

NAME is a row's id, a version ("titanic 3"), a commit's number, a run, a set, a clip, an evaluation, a
recording that was written down, or the beginning of one; or exactly one of these, as the pages name it:
row:titanic:titanic-17. Only reads the store (DAGSVERK_STORE)."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help='titanic-17, "titanic 3", sv-0123456789abcdef')
    command.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0; 1 where the name means nothing, or several things, or there is no store."""
    from dagsverk.lineage import said, tracing
    from dagsverk.lineage.cards import NotTraced
    from dagsverk.records import to_bytes
    from dagsverk.store import StoreError, open_store

    try:
        store = open_store(create=False)
        refs = tracing.search(store, arguments.name)
        if len(refs) != 1:
            lines = said.choices(refs) if refs else [f"dagsverk: nothing in {store.url} is of that name"]
            sys.stderr.write("".join(f"{_shown(line)}\n" for line in lines))
            return 1
        trace = tracing.trace(store, refs[0])
    except (NotTraced, StoreError, OSError) as error:
        sys.stderr.write(f"dagsverk: {error}\n")
        return 1
    if arguments.json:
        sys.stdout.write(to_bytes(said.as_json(trace)).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{_shown(line)}\n" for line in said.as_text(trace)))
    return 0


def _shown(line: str) -> str:
    """Without what would move a terminal's cursor: names come from the data."""
    return "".join(letter if letter.isprintable() else "�" for letter in line)
