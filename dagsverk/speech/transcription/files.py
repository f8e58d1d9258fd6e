"""Texts and subtitles of a recording as files: whole or not there. Light."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING

from dagsverk import records
from dagsverk.speech.subtitles.cues import cues, words_in
from dagsverk.speech.subtitles.formats import WRITERS, Format

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Transcript


def content(transcript: Transcript, format: Format, model: str = "") -> str:
    """A transcript as a file of this format; of txt and json all that there is, else its subtitles.

    Args: model: its name, kept in json.
    """
    if format == "txt":
        return f"{transcript.text}\n" if transcript.text else ""
    if format == "json":
        return (
            records.encode({"text": transcript.text, "model": model, **records.plain(transcript)}).decode()
            + "\n"
        )
    return WRITERS[format](cues(words_in(transcript.segments)))


def left_out(transcript: Transcript) -> list[str]:
    """What the model wrote and nobody said, in words: a line for each kind."""
    return [
        f"{count} {'window' if count == 1 else 'windows'} of the recording left out: {why}"
        for why, count in transcript.left_out.items()
    ]


def targets(
    recordings: Iterable[Path], formats: Sequence[Format], folder: Path | None
) -> dict[Path, list[Path] | str]:
    """Where the files of each recording go: beside it, or into `folder`; or why they cannot.

    `talk.mp3` becomes `talk.srt`. Where two recordings would become the same file, both keep their endings:
    `talk.mp3.srt` and `talk.wav.srt`; if they are still the same, neither is written.
    """
    listed = list({one.absolute(): one for one in recordings}.values())
    short = {one: _named(one, folder, one.stem) for one in listed}
    full = {one: _named(one, folder, one.name) for one in listed}
    twice = _more_than_once(short.values())
    chosen = {one: full[one] if short[one] in twice else short[one] for one in listed}
    clashing = _more_than_once(chosen.values())
    return {
        one: f"another recording becomes {shown(base)}, too: give them one at a time"
        if base in clashing
        else [base.with_name(f"{base.name}.{format}") for format in formats]
        for one, base in chosen.items()
    }


def _named(recording: Path, folder: Path | None, name: str) -> Path:
    return (folder or recording.parent) / name


def _more_than_once(paths: Iterable[Path]) -> set[Path]:
    return {path for path, times in Counter(paths).items() if times > 1}


def write_whole(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a file at once: who is killed meanwhile leaves what was there, or nothing.

    Raises: FileExistsError if it is there and not `overwrite`; OSError.
    """
    handle, name = mkstemp(prefix=".dagsverk-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())  # as any other new file; the one made here is for its user alone
        _put(Path(name), path, overwrite=overwrite)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _put(made: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        made.replace(path)
        return
    try:
        path.hardlink_to(made)  # unlike a renaming it fails if somebody has put a file there meanwhile
    except FileExistsError:
        raise
    except OSError:  # a disk that has no links
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        made.replace(path)
    else:
        made.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def shown(name: str | os.PathLike[str]) -> str:
    """A file's name as a terminal and a log can show it: nothing in it moves the cursor or ends the line."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
