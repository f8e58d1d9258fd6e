"""Clips that are parts of long recordings: where each begins and ends, written behind its recording's path.

    calls/monday.wav#t=12.500,15.250     from 12.5 s to 15.25 s, as in Media Fragments of the W3C
    calls/monday.wav#t=12.500,           to its end

So a part is an address like any other in plans, shards and reports, and a clip that is a whole file stays
what it was. The recording is decoded, and cut, where clips are prepared (`features.cutting`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dagsverk.speech.corpora.corpus import Clip, Split, Tally

HELD_OUT_FIRST: tuple[Split, ...] = ("test", "dev", "train")  # which split keeps sound that several have
ADDRESS = re.compile(r"(.+)#t=(\d+\.\d{3}),(\d+\.\d{3}|)")
CLOCK = re.compile(r"[\d\s:.,hms]*:[\d\s:.,hms]*")  # 00:01:12.5
LONGEST_S = 1_000_000.0  # beyond, a number is no place in a recording
NO_END = "-1"  # in Kaldi's segments


@dataclass(frozen=True)
class Part:
    """[start_s, end_s) of the recording at `path`; infinity: to its end."""

    path: str
    start_s: float
    end_s: float

    def __str__(self) -> str:
        end = "" if math.isinf(self.end_s) else f"{self.end_s:.3f}"
        return f"{self.path}#t={self.start_s:.3f},{end}"


def part_of(address: str) -> Part | None:
    """The part that a clip's address names; None for a whole file."""
    match = ADDRESS.fullmatch(address)
    return match and Part(match[1], float(match[2]), float(match[3]) if match[3] else math.inf)


def path_of(address: str) -> str:
    """The file that it is in."""
    part = part_of(address)
    return part.path if part else address


def read_span(start: str, end: str, duration: str) -> tuple[float, float] | None:
    """Where a row says that it begins and ends, in seconds; None where it says nothing of a beginning.

    Raises: ValueError, which says what is wrong, for a place in a recording that there cannot be.
    """
    try:
        start_s = float(start) if start else None
    except ValueError:
        if CLOCK.fullmatch(start):
            raise ValueError(f"it begins at {start!r}; want seconds, such as 72.5") from None
        return None  # a column of dates, or of words
    if start_s is None:
        return None
    try:
        end_s = float(end) if end and end != NO_END else start_s + float(duration) if duration else math.inf
    except ValueError:
        raise ValueError(f"it ends at {end or duration!r}; want seconds, such as 75.25") from None
    if not 0 <= start_s <= LONGEST_S or not start_s < end_s or LONGEST_S < end_s < math.inf:
        raise ValueError(f"it is from {start_s:g} s to {end_s:g} s; want an end behind its beginning")
    return start_s, end_s


def part_overlaps(clips: Sequence[Clip], sounds: Mapping[str, str], tally: Tally) -> list[Clip]:
    """The clips without those whose sound is heard, in part, in a split that is held out before theirs.

    Within one split, parts may overlap as they like.

    Args: sounds: file -> what is the same for files of the same bytes; a file that is absent has its own.
    """
    recordings: dict[str, list[tuple[Part, Clip]]] = {}
    for clip in clips:
        part = part_of(clip.audio) or Part(clip.audio, 0.0, math.inf)
        recordings.setdefault(sounds.get(part.path, part.path), []).append((part, clip))
    gone: set[str] = set()
    for parts in recordings.values():
        if any(part_of(clip.audio) for _, clip in parts) and len({clip.split for _, clip in parts}) > 1:
            gone |= _give_way(sorted(parts, key=lambda one: (one[0].start_s, one[0].end_s)), tally)
    return [clip for clip in clips if clip.id not in gone]


def _give_way(parts: Sequence[tuple[Part, Clip]], tally: Tally) -> set[str]:
    """Args: parts: of one recording, by their beginnings."""
    gone: set[str] = set()
    for split in HELD_OUT_FIRST[1:]:
        before = HELD_OUT_FIRST[: HELD_OUT_FIRST.index(split)]
        kept = [one for one in parts if one[1].split in before and one[1].id not in gone]
        for part, clip in parts:
            other = clip.split == split and _first_overlap(part, kept)
            if other:
                detail = f"in {clip.split}, and in part in {other.split} as {other.id}"
                tally.reject(clip.id, "recording in another split", detail)
                gone.add(clip.id)
    return gone


def _first_overlap(part: Part, kept: Iterable[tuple[Part, Clip]]) -> Clip | None:
    for other, clip in kept:
        if other.start_s >= part.end_s:  # and so are all that follow
            return None
        if part.start_s < other.end_s:
            return clip
    return None


def same_sounds(same: Mapping[str, str], clips: Iterable[Clip]) -> dict[str, str]:
    """`sameness.same_bytes` of files -> of clips: a part is the same as that part of the same bytes."""
    sounds = dict(same)
    for clip in clips:
        if (part := part_of(clip.audio)) and part.path in same:
            sounds[clip.audio] = str(replace(part, path=same[part.path]))
    return sounds
