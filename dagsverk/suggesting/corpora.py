"""Where a command says its recordings are: pages name no folder of the machine that trains. Light."""

from __future__ import annotations

from dagsverk.speech.features import shards
from dagsverk.speech.languages import Language
from dagsverk.store import NotFound, Store

EMBEDDED = "spoken"  # the source of sets of the embedded voices, which need no folder
FROM_FOLDER = ' --param \'corpus={"source": "FOLDER"}\''  # FOLDER is to be replaced by who runs it


def read_again(store: Store, language: Language) -> str:
    """What a command adds so that the newest set's recordings are read again; "" for the embedded voices, and
    where no set was prepared."""
    try:
        about = shards.manifest(store, shards.newest(store, language.code))
    except (NotFound, ValueError):  # none, or one of another version: the flow says so itself
        return ""
    return "" if about.source == EMBEDDED else FROM_FOLDER
