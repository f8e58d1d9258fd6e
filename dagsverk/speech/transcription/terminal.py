"""`dagsverk transcribe`: recordings -> texts, on the terminal or as files. One bad file ends no other."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dagsverk.speech.audio.sandbox import Sandbox
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.subtitles.cues import words_in
from dagsverk.speech.subtitles.formats import Format
from dagsverk.speech.transcription.files import content, left_out, shown, targets, write_whole
from dagsverk.speech.transcription.progress import Progress, progress
from dagsverk.store import StoreError

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Transcript
    from dagsverk.speech.transcription.models import Choose, Loaded

MAX_S = 24 * 3600.0  # of a recording; its samples lie in the temporary folder meanwhile, 230 MB an hour


@dataclass
class Tally:
    """What became of the recordings."""

    done: int = 0
    kept: int = 0  # its files were there
    audio_s: float = 0.0
    failed: list[tuple[Path, str]] = field(default_factory=list)

    def fail(self, recording: Path, why: str) -> None:
        self.failed.append((recording, why))
        tell(f"{shown(recording)}: {why}", error=True)


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0, or 1 if something went wrong."""
    formats = _asked_formats(arguments)
    if arguments.out:
        try:
            arguments.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            tell(f"dagsverk: cannot make the folder {shown(arguments.out)}: {error.strerror}", error=True)
            return 1
    tally, work = Tally(), targets(arguments.recordings, formats, arguments.out)
    waiting = list(_waiting(work, tally, overwrite=arguments.overwrite))
    try:
        choose = _chosen(arguments.model, arguments.language, arguments.task) if waiting else None
    except (SpeechError, StoreError, ValueError) as error:
        tell(f"dagsverk: {error}", error=True)
        return 1
    if choose is not None:
        _transcribe_all(waiting, choose, arguments, tally)
    return _end(tally)


def _transcribe_all(
    waiting: Sequence[tuple[Path, list[Path]]], choose: Choose, arguments: argparse.Namespace, tally: Tally
) -> None:
    with closing(Sandbox(1, reuse=False)) as decoders:
        for number, (recording, files) in enumerate(waiting, 1):
            label = f"[{number}/{len(waiting)}] {shown(recording)}"
            try:
                with progress(label) as bar:
                    loaded, transcript, notes = _transcript(recording, choose, arguments, decoders, bar)
                _give(recording, transcript, files, loaded, arguments, alone=len(waiting) == 1)
            except (SpeechError, OSError) as error:
                tally.fail(recording, _why(error))
                continue
            for note in notes:
                tell(f"{shown(recording)}: {note}", error=True)
            tally.done, tally.audio_s = tally.done + 1, tally.audio_s + transcript.duration_s


def _transcript(
    recording: Path, choose: Choose, arguments: argparse.Namespace, decoders: Sandbox, bar: Progress
) -> tuple[Loaded, Transcript, Sequence[str]]:
    started = time.monotonic()
    bar.stage("reading")
    code = arguments.language.code if arguments.language else ""
    with closing(decoders.open(recording, max_s=MAX_S, language=code)) as samples:
        loaded, why = choose(samples)
        if arguments.task == "translate" and not loaded.transcriber.can_translate:
            raise ModelError(f"{loaded.name} was not taught to translate; take another --model, or adopt one")
        exact = arguments.words or bool(_asked_formats(arguments))  # times of words: for files only
        transcript = loaded.transcriber.transcribe(samples, arguments.task, bar.done, words=exact)
        notes = (*samples.notes, *why, *left_out(transcript))
    bar.end(transcript.duration_s, time.monotonic() - started)
    return loaded, transcript, notes


def _give(
    recording: Path,
    transcript: Transcript,
    files: Sequence[Path],
    loaded: Loaded,
    arguments: argparse.Namespace,
    *,
    alone: bool,
) -> None:
    if not files:
        if not alone:
            tell(f"{shown(recording)}:")
        tell(_timed(transcript) if arguments.words else transcript.text)
        return
    for path in files:
        text = content(transcript, cast(Format, path.suffix[1:]), loaded.called)
        write_whole(path, text, overwrite=arguments.overwrite)
    tell(f"{shown(recording)} -> {', '.join(shown(path) for path in files)}")


def _timed(transcript: Transcript) -> str:
    """A line for each word: from and to, in seconds, and the word."""
    words = words_in(transcript.segments)
    return "\n".join(f"{word.start_s:.2f}\t{word.end_s:.2f}\t{word.text}" for word in words)


def _waiting(
    work: Mapping[Path, list[Path] | str], tally: Tally, *, overwrite: bool
) -> Iterator[tuple[Path, list[Path]]]:
    """The recordings that are worth the work, each with its files that are to be written; of the others it is
    told before the first one is begun why not."""
    for recording, files in work.items():
        missing = files if overwrite or isinstance(files, str) else [one for one in files if not one.exists()]
        if isinstance(missing, str):
            tally.fail(recording, missing)
        elif recording.is_dir():
            tally.fail(recording, "is a folder: give its files, or a folder to the flow speech-transcription")
        elif files and not missing:
            tally.kept += 1
            tell(f"{shown(recording)}: {shown(files[0])} is there and left alone; --overwrite replaces it")
        elif missing and not os.access(missing[0].parent, os.W_OK):
            tally.fail(recording, f"{shown(missing[0].parent)} cannot be written to; give a folder as --out")
        else:
            yield recording, missing


def _end(tally: Tally) -> int:
    failed = tally.failed
    if tally.done + tally.kept + len(failed) > 1:
        parts = [f"{tally.done} written down ({tally.audio_s / 60:.1f} min)"]
        parts += [f"{tally.kept} were there"] if tally.kept else []
        parts += [f"{len(failed)} not"] if failed else []
        tell(f"dagsverk: {', '.join(parts)}", error=True)
        for recording, why in failed:
            tell(f"  {shown(recording)}: {why}", error=True)
    return 1 if failed else 0


def _chosen(model: str | None, language: Language | None, task: Task) -> Choose:
    from dagsverk.speech.transcription import models
    from dagsverk.store import open_store

    if model is not None:
        return models.chosen_by_name(model, language)
    try:
        return models.chosen(open_store(create=False), language, task)
    except StoreError as error:
        hint = "; or name a model, for which no store is needed: --model openai/whisper-small"
        raise StoreError(f"{error}{hint}") from error


def _asked_formats(arguments: argparse.Namespace) -> tuple[Format, ...]:
    asked = (*(("srt",) if arguments.srt else ()), *arguments.format)
    return tuple(dict.fromkeys(asked)) or (("txt",) if arguments.out else ())


def _why(error: SpeechError | OSError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"cannot be written: {shown(error.filename or '')} {error.strerror or error}"


def tell(line: str, *, error: bool = False) -> None:
    """A line on the terminal; letters that it cannot show are written as escapes, none is left out."""
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
