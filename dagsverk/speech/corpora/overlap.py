"""Sentences that are read in dev or test and in train as well: counted, because they flatter scores."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping

from dagsverk.speech.corpora.corpus import Clip, Split
from dagsverk.speech.corpora.text import MARKS

HELD_OUT: tuple[Split, ...] = ("dev", "test")


def sentence_key(text: str) -> int:
    """The same number for the same words, whatever case, signs, marks and spaces: 64 bits of a digest."""
    plain = unicodedata.normalize("NFKC", MARKS.sub(" ", text)).casefold()
    kept = (c if unicodedata.category(c)[0] in "LNM" else " " for c in plain)
    words = " ".join("".join(kept).split())
    return int.from_bytes(hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def shared_sentences(clips: Iterable[Clip]) -> dict[str, tuple[int, int]]:
    """Of dev and of test: how many of how many clips say a sentence of train."""
    keys: dict[str, list[int]] = {split: [] for split in ("train", *HELD_OUT)}
    for clip in clips:
        keys[clip.split].append(sentence_key(clip.text))
    train = set(keys["train"])
    return {one: (sum(key in train for key in keys[one]), len(keys[one])) for one in HELD_OUT}


def shared_notes(shared: Mapping[str, tuple[int, int]]) -> list[str]:
    """What a reader of scores has to know of it."""
    return [
        f"{count:,} of {clips:,} clips of {split} ({count / clips:.0%}) say a sentence of train, too: "
        "scores on these flatter the model"
        for split, (count, clips) in shared.items()
        if count
    ]
