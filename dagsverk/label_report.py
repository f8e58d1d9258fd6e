"""Labels that may be wrong, as a search for them left them; of clips and of rows. Light."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from dagsverk.label_decisions import Family
from dagsverk.records import last_report
from dagsverk.store import Store
from dagsverk.words import counted

STEP = "labels"  # the report's name in the store
CUT = 0.3  # suspicion from which a label is counted as suspicious
LEAST_LISTED, MOST_LISTED = 30, 300


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A label that may be wrong."""

    key: str  # of the clip or row, see `label_decisions`; of the label as the source has it
    name: str  # of the clip or row
    label: str  # as it is now: a text, or a class
    source_label: str  # as the source has it
    other: str  # what the model says instead: what it hears, or the likelier class
    suspicion: float  # in [0, 1]
    why: tuple[str, ...]  # sentences
    about: Mapping[str, str] = field(default_factory=dict)  # what else is known, in words
    split: str = ""  # of a clip
    sound: str = ""  # artefact of its recording
    why_silent: str = ""  # why there is none


@dataclass(frozen=True, kw_only=True)
class PlantedKind:
    """Faults of a kind that were put in on purpose to measure with."""

    planted: int
    seen: int  # of them, whose suspicion reaches the cut


@dataclass(frozen=True, kw_only=True)
class SuspectLabels:
    """What a search for wrong labels came to."""

    family: Family
    name: str  # of the language or system
    of: str  # the set, or the table's commit, that was looked at
    decisions: str = ""  # what had been decided by then, by its digest
    model: str  # who suspects
    model_version: int
    labels: int  # looked at
    suspicious: int  # of them, from `cut` on
    suspicious_test: int = 0  # of these, of the test split
    cut: float
    share: float  # of labels that are taken to be wrong before one has looked
    precision: float | None  # expected of the suspicious ones: their mean suspicion
    precision_low: float | None
    precision_high: float | None
    kinds: Mapping[str, PlantedKind]
    suspects: tuple[Suspect, ...]  # the most suspicious first, at most MOST_LISTED
    audio_s: float = 0.0
    seconds: float = 0.0  # that it took
    notes: tuple[str, ...] = ()
    at: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))

    @property
    def recall(self) -> float | None:
        """Share of the planted faults that reach the cut, all kinds alike."""
        shares = [one.seen / one.planted for one in self.kinds.values() if one.planted]
        return sum(shares) / len(shares) if shares else None

    @property
    def words(self) -> str:
        """In two sentences."""
        what = "text" if self.family == "speech" else "label"
        first = f"{self.suspicious} of {counted(self.labels, what)} are suspicious"
        if self.precision is None or self.recall is None:
            return f"{first}."
        return (
            f"{first}; about {100 * self.precision:.0f} % of these are expected to be wrong "
            f"({100 * (self.precision_low or 0):.0f} to {100 * (self.precision_high or 0):.0f}). Of faults "
            f"put in on purpose {100 * self.recall:.0f} % were seen."
        )


def suspect_labels(store: Store, name: str) -> SuspectLabels | None:
    """What the last search came to; None before the first."""
    return last_report(store, name, STEP, SuspectLabels)
