"""What a corpus is: recordings, what is said in them, and by whom. Light: loads no learning library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dagsverk.speech.errors import CorpusError

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording and what is said in it: a row of the manifest."""

    id: str  # unique in its corpus
    audio: str  # address within the corpus: a path, a member of an archive, a row
    text: str
    language: str  # Whisper's code
    split: Split
    speaker: str = ""  # empty: not known, here and below
    gender: str = ""
    age: str = ""
    accent: str = ""
    licence: str = ""
    duration_s: float | None = None  # as the corpus states it; None until decoded
    translation: str = ""  # in English, where the corpus has it


@dataclass(frozen=True, kw_only=True)
class RejectedClip:
    """A clip that cannot be used, and why. `reason` is a short name under which such clips are counted."""

    clip: str
    reason: str
    detail: str = ""


@dataclass
class Tally:
    """What became of the rows of a corpus so far. A reader counts each row once, when it meets it."""

    rows: int = 0
    rejected: list[RejectedClip] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # rows that are not asked for, by reason
    notes: list[str] = field(default_factory=list)  # what was understood, and might have been meant otherwise

    def reject(self, clip: str, reason: str, detail: str) -> None:
        self.rejected.append(RejectedClip(clip=clip, reason=reason, detail=detail))


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All clips of a corpus, those rejected while listing, and a digest of content (not of place).

    Every row that was read is a clip, is rejected, or is left out for a reason that is counted.
    Raises: CorpusError if the sum is another one: rows were lost, or counted twice.
    """

    clips: Sequence[Clip]
    rejected: Sequence[RejectedClip]
    fingerprint: str
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    rows: int = -1  # as counted where they were read; -1: nobody counted, and it is the sum
    notes: Sequence[str] = ()  # what was understood, and might have been meant otherwise

    def __post_init__(self) -> None:
        became = len(self.clips) + len(self.rejected) + sum(self.left_out.values())
        if self.rows == -1:
            object.__setattr__(self, "rows", became)
        elif self.rows != became:
            raise CorpusError(
                f"{self.rows:,} rows were read, {became:,} are accounted for ({len(self.clips):,} clips, "
                f"{len(self.rejected):,} rejected, {sum(self.left_out.values()):,} left out): a fault of "
                "dagsverk, and nothing is made of the corpus; report it with the table"
            )


class Corpus(Protocol):
    """A source of clips. Made by `dagsverk.speech.corpora.opening.open_corpus`."""

    @property
    def name(self) -> str:
        """For people: "spoken", "Common Voice cv-corpus-21.0", "google/fleurs sv_se", a folder's name."""

    @property
    def sequential(self) -> bool:
        """Whether whoever reads one clip reads all before it (a compressed archive)."""

    def listing(self) -> Listing:
        """All rows, in the order in which reading is cheapest. Raises CorpusError."""

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        """Each clip with its encoded audio (any container), or why it has none; in the corpus's order."""
