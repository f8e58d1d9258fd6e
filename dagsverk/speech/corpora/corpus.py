"""What a corpus is: recordings, what is said in them, and by whom. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

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


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All clips of a corpus, those rejected while listing, and a digest of content (not of place)."""

    clips: Sequence[Clip]
    rejected: Sequence[RejectedClip]
    fingerprint: str


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
