"""Symbols that are read aloud, as words: "5 %" is "5 procent" in Swedish, "$5" is "5 dollars". Light.

So whoever writes the symbol and whoever writes the word are scored alike, and nobody who leaves it out is.
A language that is not listed has the English words: there the symbol is only never lost.
"""

from __future__ import annotations

import re

_SYMBOLS = "%‰€$£&+=<>"
_WORDS = {
    "en": "percent|permille|euros|dollars|pounds|and|plus|equals|less than|greater than",
    "sv": "procent|promille|euro|dollar|pund|och|plus|lika med|mindre än|större än",
    "it": "per cento|per mille|euro|dollari|sterline|e|più|uguale|minore di|maggiore di",
    "de": "prozent|promille|euro|dollar|pfund|und|plus|gleich|kleiner als|größer als",
    "fr": "pour cent|pour mille|euros|dollars|livres|et|plus|égale|inférieur à|supérieur à",
    "es": "por ciento|por mil|euros|dólares|libras|y|más|igual a|menor que|mayor que",
    "ru": "процентов|промилле|евро|долларов|фунтов|и|плюс|равно|меньше|больше",
}
SPOKEN = {code: dict(zip(_SYMBOLS, words.split("|"), strict=True)) for code, words in _WORDS.items()}
SAME = {  # language -> spellings of one word
    "en": {"per cent": "percent"},
    "it": {"percento": "per cento"},
    "fr": {"pourcent": "pour cent"},
    "es": {"porciento": "por ciento"},
}
_MONEY_FIRST = re.compile(r"([€$£])\s?(\d+(?:[.,\s]\d+)*)")
_BRACKETS = re.compile(r"<([^\s<>](?:[^<>]*[^\s<>])?)>")  # close around what they hold: <Maria>
_SINGLE = re.compile(
    r"[%‰€$£]"
    r"|(?<=\w)&(?=\w)|(?<=\s)&(?=\s)"
    r"|(?<![^\w\s)])[+=](?=\s?[\w(])"
    r"|(?<=\s)[<>](?=\s)|(?<=\d)[<>](?=\d)"
)


def with_words(text: str, language: str) -> str:
    """The text with words for symbols that are read aloud; in lower case, in NFKC.

    A + or = counts where something follows it, a < or > between spaces or digits, an & between words or
    letters; arrows, rules and pairs of brackets are no words.
    """
    if not _SINGLE.search(text):
        return text
    text = _MONEY_FIRST.sub(r"\2 \1 ", _BRACKETS.sub(r" \1 ", text))
    words = SPOKEN.get(language, SPOKEN["en"])
    return _SINGLE.sub(lambda symbol: f" {words[symbol[0]]} ", text)


def with_one_spelling(text: str, language: str) -> str:
    """Words of which SAME knows two spellings in one of them; "10 000" as "10000"."""
    for spelt, usual in SAME.get(language, {}).items():
        text = re.sub(rf"\b{spelt}\b", usual, text)
    return _THOUSANDS.sub(lambda number: number[0].replace(" ", ""), text)


_THOUSANDS = re.compile(r"(?<!\S)[1-9]\d{0,2}(?: \d{3})+(?!\S)")
