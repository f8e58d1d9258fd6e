"""The languages in which we have sentences of our own: to be spoken by a synthesiser, or read aloud."""

from __future__ import annotations

from collections.abc import Mapping

from dagsverk.speech.corpora import italian, swedish
from dagsverk.speech.corpora.sentences import Grammar

GRAMMARS: Mapping[str, Grammar] = {  # by Whisper's code
    grammar.language: grammar for grammar in (swedish.GRAMMAR, italian.GRAMMAR)
}
