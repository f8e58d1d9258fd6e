"""Symbols that are read aloud, as words: "5 %" is "5 procent" in Swedish, "$5" is "5 dollars". Light.

So whoever writes the symbol and whoever writes the word are scored alike, and nobody who leaves it out is.
A language that is not listed has the English words: there the symbol is only never lost.
"""

from __future__ import annotations

import re

_SYMBOLS = "%‰€$£&+−=<>°"
_WORDS = {
    "en": "percent|permille|euros|dollars|pounds|and|plus|minus|equals|less than|greater than|degrees",
    "sv": "procent|promille|euro|dollar|pund|och|plus|minus|lika med|mindre än|större än|grader",
    "it": "per cento|per mille|euro|dollari|sterline|e|più|meno|uguale|minore di|maggiore di|gradi",
    "de": "prozent|promille|euro|dollar|pfund|und|plus|minus|gleich|kleiner als|größer als|grad",
    "fr": "pour cent|pour mille|euros|dollars|livres|et|plus|moins|égale|inférieur à|supérieur à|degrés",
    "es": "por ciento|por mil|euros|dólares|libras|y|más|menos|igual a|menor que|mayor que|grados",
    "ru": "процентов|промилле|евро|долларов|фунтов|и|плюс|минус|равно|меньше|больше|градусов",
}
SPOKEN = {code: dict(zip(_SYMBOLS, words.split("|"), strict=True)) for code, words in _WORDS.items()}
SAME = {  # language -> spellings of one word
    "en": {"per cent": "percent"},
    "it": {"percento": "per cento"},
    "fr": {"pourcent": "pour cent"},
    "es": {"porciento": "por ciento"},
}
_MONEY_FIRST = re.compile(r"(?<!\d)(?<!\d\s)([€$£])\s?(\d+(?:[.,]\d+)*(?:\s\d{3}(?!\d))*)")
_MINUS = re.compile(r"(?<![\w.,)%])[-−](?=\d)")  # no hyphen, and no range of numbers
_UNIT = re.compile(r"(?<!\S)(\d+)(km|cm|mm|m|kg|mg|g|dl|cl|ml|l|kr|h|min|s|kw|w|v|gb|mb|tb|k?hz|mhz)(?!\S)")
_BRACKETS = re.compile(r"<([^\s<>](?:[^<>]*[^\s<>])?)>")  # close around what they hold: <Maria>
_SINGLE = re.compile(
    r"[%‰€$£]"
    r"|(?<=\w)&(?=\w)|(?<=\s)&(?=\s)"
    r"|(?<![^\w\s)])[+=](?=\s?[\w(])"
    r"|(?<=\s)[<>](?=\s)|(?<=\d)[<>](?=\d)"
    r"|(?<=\d)−(?=\d)|(?<=\s)−(?=\s?\d)|(?<=\d)\s?°(?=\s?[cf]\b)"
)


def with_words(text: str, language: str) -> str:
    """The text with words for symbols that are read aloud; in lower case, in NFKC.

    A + or = counts where something follows it, a < or > between spaces or digits, an & between words or
    letters, a - before a number that begins with it, a ° before C or F; arrows, rules, ranges and pairs of
    brackets are no words.
    """
    text = _MINUS.sub(" − ", text)
    if not _SINGLE.search(text):
        return text
    text = _MONEY_FIRST.sub(r"\2 \1 ", _BRACKETS.sub(r" \1 ", text))
    words = SPOKEN.get(language, SPOKEN["en"])
    return _SINGLE.sub(lambda symbol: f" {words[symbol[0].strip()]} ", text)


def with_one_spelling(text: str, language: str) -> str:
    """Words of which SAME knows two spellings in one of them; "10 000" as "10000", "5kg" as "5 kg"."""
    text = _UNIT.sub(r"\1 \2", text)
    for spelt, usual in SAME.get(language, {}).items():
        text = re.sub(rf"\b{spelt}\b", usual, text)
    return _THOUSANDS.sub(lambda number: number[0].replace(" ", ""), text)


_THOUSANDS = re.compile(r"(?<!\S)[1-9]\d{0,2}(?: \d{3})+(?!\S)")
