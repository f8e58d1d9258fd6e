"""What is said in a clip, as it is taught: without markup and without characters that nobody hears."""

from __future__ import annotations

import html
import re
import unicodedata

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
TAG = re.compile(r"<!--.*?-->|<\|[^<>]*\|>|</?([A-Za-z][A-Za-z0-9_]*)(?:\s[^<>]*=[^<>]*)?\s*/?>", re.DOTALL)
PARTS_WORDS = {"br", "p", "div", "li", "ul", "ol", "tr", "td", "th", "hr", "h1", "h2", "h3", "h4", "h5", "h6"}
UNHEARD = {"Cc", "Cf", "Co", "Cs"}  # control, format (bidi, zero width, BOM), private, half of a pair
JOINERS = "\u200c\u200d"  # part of the spelling in Persian, Hindi and others: kept between caseless letters
CASELESS = {"Lo", "Mn", "Mc"}


def clean_text(text: str) -> str:
    """The text as one line in NFC; "" when nothing that can be said is left (the clip has an "empty text").

    HTML entities are decoded, tags and special tokens (`<|sv|>`) removed, control, bidi and zero-width
    characters removed, and white space of any kind made one space. A lone < or & stays. Cleaning what is
    clean changes nothing.
    """
    before = None
    while text != before:  # what is removed may join what becomes markup
        before = text
        text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
        text = TAG.sub(_in_place_of_tag, text)
        text = unicodedata.normalize("NFC", " ".join(text.split()))
        text = text if text.isascii() and text.isprintable() else _audible(text)
    return text if any(unicodedata.category(c)[0] in "LN" for c in text) else ""


def _in_place_of_tag(tag: re.Match[str]) -> str:
    return " " if (tag[1] or "").lower() in PARTS_WORDS else ""


def _audible(text: str) -> str:
    kinds = [unicodedata.category(character) for character in text]
    kept = [
        character
        for i, (character, kind) in enumerate(zip(text, kinds, strict=True))
        if kind not in UNHEARD or (character in JOINERS and _joins(kinds, i))
    ]
    return "".join(kept)


def _joins(kinds: list[str], at: int) -> bool:
    return 0 < at < len(kinds) - 1 and kinds[at - 1] in CASELESS and kinds[at + 1] in CASELESS
