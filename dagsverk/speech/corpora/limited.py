"""A corpus of which some clips are used: a cut drawn at random by speaker, and stated."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagsverk.speech.corpora.corpus import Clip, Corpus, Listing, RejectedClip, Split
from dagsverk.speech.corpora.overlap import shared_notes, shared_sentences
from dagsverk.speech.errors import CorpusError

UNKNOWN_VOICES = "speakers are not known, or too few: voices of dev and test may be heard in training"

BEYOND = "beyond the number of clips asked for"


@dataclass
class Limited:
    """Another corpus, with at most so many clips of a split. Listing it fills `cut` and `notes`."""

    corpus: Corpus
    limits: Mapping[Split, int] = field(default_factory=dict)
    seed: int = 0
    cut: dict[Split, tuple[int, int]] = field(default_factory=dict)  # split -> clips kept, of how many
    notes: list[str] = field(default_factory=list)  # what a reader of its scores has to know
    _listing: Listing | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.corpus.name

    @property
    def sequential(self) -> bool:
        return self.corpus.sequential

    def listing(self) -> Listing:
        """The clips left. Raises CorpusError, also if there is none at all."""
        if self._listing is None:
            whole = self.corpus.listing()
            if not whole.clips:
                raise CorpusError(f"{self.name} has no clip that can be used; {_reasons(whole)}")
            self._listing = self._cut(whole)
            splits = {clip.split for clip in self._listing.clips}
            unnamed = any(
                not clip.speaker for clip in self._listing.clips
            )  # may be one who is named elsewhere
            self.notes = [UNKNOWN_VOICES] if unnamed and len(splits) > 1 else []
            self.notes += [*shared_notes(shared_sentences(self._listing.clips)), *whole.notes]
        return self._listing

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        return self.corpus.read(clips)

    def _cut(self, whole: Listing) -> Listing:
        dropped: set[str] = set()
        for split, limit in self.limits.items():
            clips = [clip for clip in whole.clips if clip.split == split]
            if len(clips) > limit:
                kept = draw_by_speaker(clips, limit, self.seed)
                dropped |= {clip.id for clip in clips} - kept
                self.cut[split] = (limit, len(clips))
        if not self.cut:
            return whole
        drawn = json.dumps([whole.fingerprint, sorted(self.cut.items()), self.seed])
        return replace(
            whole,
            clips=[clip for clip in whole.clips if clip.id not in dropped],
            left_out={**whole.left_out, BEYOND: len(dropped)},
            fingerprint=hashlib.sha256(drawn.encode()).hexdigest(),
        )


def draw_by_speaker(clips: Sequence[Clip], limit: int, seed: int) -> set[str]:
    """Ids of `limit` clips: whole speakers in random order, and of the last one as many as are wanted.

    A clip without a speaker counts as one of its own. The order in which clips are given changes nothing.
    """
    speakers: dict[tuple[str, str], list[str]] = {}
    for clip in clips:
        speakers.setdefault((clip.speaker, "" if clip.speaker else clip.id), []).append(clip.id)
    order = sorted(speakers)
    chance = random.Random(seed)
    chance.shuffle(order)
    kept: list[str] = []
    for speaker in order:
        ids = sorted(speakers[speaker])
        chance.shuffle(ids)
        kept += ids[: limit - len(kept)]
        if len(kept) == limit:
            break
    return set(kept)


def _reasons(listing: Listing) -> str:
    aside = Counter(fault.reason for fault in listing.rejected)
    parts = []
    if aside:
        counted = ", ".join(f"{count:,} {reason}" for reason, count in aside.items())
        first = listing.rejected[0]
        parts = [f"set aside: {counted}; the first: {first.clip}: {first.detail}"]
    if listing.left_out:
        counted = ", ".join(f"{count:,} {reason}" for reason, count in listing.left_out.items())
        parts.append(f"left out: {counted}")
    return "; ".join(parts) or "it is empty"
