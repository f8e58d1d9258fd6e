"""What `dagsverk transcribe` understands. Light: other commands wait for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast, get_args

from dagsverk.speech.languages import Language, language_or_auto
from dagsverk.speech.subtitles.formats import Format

FORMATS: tuple[Format, ...] = get_args(Format)
DESCRIPTION = """Write down what is said in recordings: sound files, and films.

The text goes to the terminal; with --srt, --format or --out into files beside each recording, or in --out. A
file that is there already is left alone, so the same command goes on where it was stopped. The model is the
one in use for the language in the store (DAGSVERK_STORE), or --model: a folder with a Whisper, or its name on
the Hugging Face Hub, and then no store is needed.

Exit status 1 if a recording could not be written down; the last lines say which, and why."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command understands."""
    command.add_argument("recordings", metavar="FILE", nargs="+", type=Path, help="sound or film, any length")
    command.add_argument(
        "--language", type=_language, help="that is spoken: it, or italian; default: told from each recording"
    )
    command.add_argument("--model", help="a folder or hub name; default: the language's model in use")
    command.add_argument(
        "--task", choices=("transcribe", "translate"), default="transcribe", help="translate: into English"
    )
    command.add_argument("--srt", action="store_true", help="the same as --format srt")
    command.add_argument(
        "--format", type=_formats, default=(), metavar="LIST", help=f"of {','.join(FORMATS)}: one or several"
    )
    command.add_argument(
        "--words", action="store_true", help="on the terminal, a word a line, with its times"
    )
    command.add_argument("--out", type=Path, metavar="FOLDER", help="for the files; made if it is absent")
    command.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _language(name: str) -> Language | None:
    try:
        return language_or_auto(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _formats(names: str) -> tuple[Format, ...]:
    asked = tuple(name.strip().lower().lstrip(".") for name in names.split(",") if name.strip())
    if not asked or set(asked) - set(FORMATS):
        raise argparse.ArgumentTypeError(f"want one or several of {','.join(FORMATS)}, got {names!r}")
    return cast("tuple[Format, ...]", asked)
