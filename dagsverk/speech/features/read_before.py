"""Texts of a set that are nearly those of another split, or others of train: counted, and never called new.

Light: numpy, pandas.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dagsverk.speech.corpora.near_texts import Near
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.speech.features.plans import Text
from dagsverk.speech.features.shards import Example, NearTexts, Rejections

EXAMPLES = 5  # of each kind
AGAINST = (("test", "train"), ("dev", "train"), ("test", "dev"))  # which split's texts, among which


def look(texts: Iterable[Text], without: Collection[str] = ()) -> NearTexts:
    """Compare the texts of all clips, but for those named in `without`, which are not used."""
    of_split: dict[str, list[tuple[str, str]]] = {"train": [], "dev": [], "test": []}
    for clip, split, text in texts:
        if clip not in without:
            of_split[split].append((clip, text))
    train, dev = (_Texts(of_split[split]) for split in ("train", "dev"))
    kinds: dict[str, Rejections] = {}
    in_train: list[str] = []
    for split, other in AGAINST:
        seen = (train if other == "train" else dev).near(of_split[split])
        in_train += [one.clip for one in seen] if other == "train" else []
        _count(kinds, f"of {split}, nearly one of {other}", seen)
    _count(kinds, "of train, nearly another of it", train.inside())
    return NearTexts(clips=sum(map(len, of_split.values())), in_train=tuple(sorted(in_train)), kinds=kinds)


class _Texts:
    """The texts of a split, each once."""

    def __init__(self, clips: Iterable[tuple[str, str]]) -> None:
        self._clips = list(clips)
        first: dict[int, int] = {}
        self._place: list[int] = []  # of each clip's text among those that are each there once
        texts: list[str] = []
        for _, text in self._clips:
            key = sentence_key(text)
            if key not in first:
                first[key] = len(texts)
                texts.append(text)
            self._place.append(first[key])
        self._keys, self._texts, self._near = first, texts, Near(texts)

    def near(self, clips: Iterable[tuple[str, str]]) -> list[Example]:
        """Those clips whose text is nearly, and not wholly, one of these."""
        others = [(clip, text) for clip, text in clips if sentence_key(text) not in self._keys]
        places = self._near.of([text for _, text in others])
        return [
            _example(clip, text, self._texts[place])
            for (clip, text), place in zip(others, places, strict=True)
            if place is not None
        ]

    def inside(self) -> list[Example]:
        """Its own clips whose text is nearly one that comes earlier."""
        earlier = self._near.before()
        return [
            _example(clip, text, self._texts[before])
            for (clip, text), place in zip(self._clips, self._place, strict=True)
            if (before := earlier[place]) is not None
        ]


def _example(clip: str, text: str, other: str) -> Example:
    return Example(clip=clip, detail=f"“{text[:120]}” as “{other[:120]}”")


def _count(kinds: dict[str, Rejections], kind: str, examples: list[Example]) -> None:
    if examples:
        kinds[kind] = Rejections(clips=len(examples), examples=tuple(examples[:EXAMPLES]))
