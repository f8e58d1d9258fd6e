"""A process that prepares a corpus of tones and may be killed: python shard_maker.py STORE SET SEQUENTIAL."""

from __future__ import annotations

import sys

from tone_corpus import ToneCorpus, clips

from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import Clip
from dagsverk.speech.features import preparation
from dagsverk.store import open_store

CONFIG = PrepareConfig(shard_clips=5)


def corpus(sequential: bool) -> ToneCorpus:
    return ToneCorpus(rows=clips(train=23, dev=7, test=7), sequential=sequential)


def tell(clip: Clip) -> None:
    print(clip.id, flush=True)


def main(url: str, set_id: str, sequential: bool) -> None:
    """Says each clip before it is read."""
    store, source = open_store(url), corpus(sequential)
    source.before = tell
    for numbers in preparation.portions(store, set_id, source):
        preparation.prepare_all(store, set_id, source, numbers)
    preparation.complete(store, set_id)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "True")
