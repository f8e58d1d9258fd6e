"""What comparisons of two models come to, as types, and where they are kept. Light: no learning library.

Layout, below the artefact folder speech/<language name>/comparisons/:
    answers/<contender>/<clip>.json   what a contender wrote of a recording; never asked twice
    clips/<digest>.parquet            the clips of a comparison
    rows/<digest>.parquet             a contender's texts of them with counts of errors
    audio/<clip>.wav                  clips that differ much, to be heard
    reports/<comparison>.json         the comparison, written when all else is there
    newest.json                       which was made last
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from dagsverk import comparisons
from dagsverk.speech.evaluation.report import GroupChange, Interval
from dagsverk.speech.languages import Language
from dagsverk.store import Store
from dagsverk.words import counted, difference, percent_interval, voices

ALPHA = 0.05


def folder(language: Language) -> str:
    """The artefact folder of a language's comparisons."""
    return f"speech/{language.name}/comparisons"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a contender wrote of one recording, or why it wrote nothing."""

    text: str = ""
    refused: str = ""  # a short reason; "": it answered
    detail: str = ""
    audio_s: float = 0.0
    took_s: float = 0.0
    warm: bool = True  # not the first of its process
    at_once: int = 1
    machine: str = ""  # where it was asked
    at: str = ""  # ISO 8601, UTC


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What it takes to write down an hour of audio, clip by clip."""

    audio_s: float  # of warm clips
    took_s: float
    clips: int
    machine: str
    at_once: int = 1
    memory_bytes: int | None = None  # the most that a process with it alone takes; None: not known here
    price_per_audio_hour: float | None = None  # in the currency of the prices that were given

    @property
    def seconds_per_hour(self) -> float | None:
        """Of audio."""
        return 3600 * self.took_s / self.audio_s if self.audio_s else None


@dataclass(frozen=True, kw_only=True)
class Side:
    """A contender and how it did."""

    name: str  # for people
    detail: str  # how it was asked
    key: str  # its answers are kept under it
    rows: str  # the artefact
    wer: Interval
    cer: Interval
    empty: int  # texts without a word, where something is said
    loops: int
    refused: Mapping[str, int]  # reason -> clips
    cost: Cost
    asked: tuple[str, str] = ("", "")  # when the first and the last clip was written down
    version: int | None = None  # of the store


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of clips, and whether the difference in it is beyond chance, all groups considered."""

    change: GroupChange
    p_adjusted: float | None  # Holm's, over all groups; None: no interval

    @property
    def differs(self) -> bool:
        return self.p_adjusted is not None and self.p_adjusted < ALPHA


@dataclass(frozen=True, kw_only=True)
class Example:
    """A clip of which one wrote much more wrong than the other."""

    clip: str
    speaker: str
    duration_s: float
    text: str
    first: str
    second: str
    words: int
    first_errors: int
    second_errors: int
    sound: str | None = None  # the artefact


@dataclass(frozen=True, kw_only=True)
class Paired:
    """First minus second, of the same clips: below 0 the first is better."""

    clips: int
    speakers: int  # known ones
    words: int
    audio_s: float
    by: str  # what was drawn for the intervals: voices or clips
    wer: Interval
    cer: Interval
    only_first: int  # clips with a wrong word that the second has all right
    only_second: int
    groups: tuple[Group, ...]
    examples: tuple[Example, ...]
    flip_p: float | None = None  # two-sided, by flipping signs; None: no clip differs

    @property
    def outcome(self) -> int:
        """-1: the first is better beyond chance, 1: the second is, 0: neither."""
        low, high = self.wer.low, self.wer.high
        if low is None or high is None or self.wer.value in (None, 0.0):
            return 0
        if self.flip_p is None or self.flip_p >= ALPHA:
            return 0
        return -1 if high < 0 else 1 if low > 0 else 0


@dataclass(frozen=True, kw_only=True)
class CompareReport(Paired):
    """Two contenders on the same clips."""

    key: str
    at: str  # ISO 8601, UTC
    language: str  # Whisper's code
    of: str  # which clips, in words
    clips_key: str  # the same for comparisons of the same clips
    first: Side
    second: Side
    set_aside: Mapping[str, int]  # reason -> clips that are counted for neither
    notes: tuple[str, ...]
    took_s: float  # of the models, in all

    @property
    def verdict(self) -> str:
        """In a sentence or two."""
        return verdict(self, self.first.name, self.second.name, self.first.wer, self.second.wer)


def verdict(paired: Paired, first: str, second: str, one: Interval, other: Interval) -> str:
    """Who is better, by how much, on what."""
    value, low, high = paired.wer.value, paired.wer.low, paired.wer.high
    on = f"on {counted(paired.clips, 'clip')} of {voices(paired.speakers)}"
    if value is None:
        return f"Nothing to compare: no word is said {on}."
    rates = (
        f"{first} {percent_interval(one.value, one.low, one.high)}, "
        f"{second} {percent_interval(other.value, other.low, other.high)}"
    )
    by = f"word error rate {difference(value, low, high)}, first minus second, {on}"
    if paired.outcome:
        better, worse = (first, second) if paired.outcome < 0 else (second, first)
        return f"{better} is better than {worse}: {by}. {rates}."
    if value == 0 and not (paired.only_first or paired.only_second):
        return f"Both get the same words wrong: {by}. {rates}."
    holds = (
        "The interval holds 0" if (low or 0) <= 0 <= (high or 0) else "Signs flipped at random differ as much"
    )
    return f"No difference was shown between {first} and {second}: {by}. {holds}. {rates}."


def reports(store: Store, language: Language) -> list[CompareReport]:
    """All comparisons of a language, newest first."""
    return comparisons.reports(store, folder(language), CompareReport)


def keep(store: Store, language: Language, report: CompareReport) -> None:
    """Replace what was kept of the same comparison before."""
    comparisons.keep(store, folder(language), report)


def version(store: Store, language: Language) -> str:
    """Another one when a comparison was made, or made again. Cheap: one small file."""
    return comparisons.version(store, folder(language))


def rows_of(store: Store, path: str) -> pd.DataFrame:
    """A contender's texts of the clips, and counts of errors. Raises NotFound."""
    return pd.read_parquet(io.BytesIO(store.get(path)))
