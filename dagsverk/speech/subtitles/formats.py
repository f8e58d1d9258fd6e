"""Subtitles and transcripts as files: SRT, WebVTT, plain text, JSON, TSV, LRC. Light.

Times are rounded to what a format can hold; cues are two frames apart, so rounding never makes them touch.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal, TypeAlias

from dagsverk.speech.subtitles.cues import Cue

Format: TypeAlias = Literal["srt", "vtt", "txt", "json", "tsv", "lrc"]


def srt(cues: Sequence[Cue]) -> str:
    """SubRip: numbered, with a comma before the milliseconds."""
    blocks = (
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n" + _lines(cue)
        for number, cue in enumerate(cues, 1)
    )
    return "\n".join(f"{block}\n" for block in blocks)


def vtt(cues: Sequence[Cue]) -> str:
    """WebVTT, as browsers read it; &, < and > are written as entities."""
    blocks = (
        f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{_escaped(_lines(cue))}\n" for cue in cues
    )
    return "\n".join(["WEBVTT\n", *blocks])


def txt(cues: Sequence[Cue]) -> str:
    """A cue a line, no times."""
    return "".join(f"{' '.join(cue.lines)}\n" for cue in cues)


def json_text(cues: Sequence[Cue]) -> str:
    """A list of {start_s, end_s, lines}."""
    shown = [{**asdict(cue), "start_s": round(cue.start_s, 3), "end_s": round(cue.end_s, 3)} for cue in cues]
    return json.dumps(shown, ensure_ascii=False, indent=1) + "\n"


def tsv(cues: Sequence[Cue]) -> str:
    """start, end (milliseconds) and text, as Whisper's own command writes it."""
    rows = (f"{round(1000 * cue.start_s)}\t{round(1000 * cue.end_s)}\t{' '.join(cue.lines)}" for cue in cues)
    return "\n".join(["start\tend\ttext", *rows]) + "\n"


def lrc(cues: Sequence[Cue]) -> str:
    """Lyrics, as players show them: each line from a moment on; an empty line ends what has a pause after."""
    written: list[str] = []
    for cue, after in itertools.zip_longest(cues, cues[1:]):
        written.append(f"[{_minutes(cue.start_s)}]{' '.join(cue.lines)}")
        if after is None or after.start_s - cue.end_s > 1:
            written.append(f"[{_minutes(cue.end_s)}]")
    return "".join(f"{line}\n" for line in written)


WRITERS: Mapping[Format, Callable[[Sequence[Cue]], str]] = {
    "srt": srt,
    "vtt": vtt,
    "txt": txt,
    "json": json_text,
    "tsv": tsv,
    "lrc": lrc,
}

MEDIA_TYPES: Mapping[Format, str] = {
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "txt": "text/plain",
    "json": "application/json",
    "tsv": "text/tab-separated-values",
    "lrc": "text/plain",
}


def _lines(cue: Cue) -> str:
    """A cue's lines. An arrow would be read as a time, a line without ink as the cue's end."""
    return "\n".join(line.replace("-->", "→") for line in cue.lines)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    """Hours have two digits, or as many as it takes."""
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{milliseconds:03d}"


def _minutes(seconds: float) -> str:
    """mm:ss.xx; LRC has no hours, so minutes go on."""
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
