"""What is said in a clip, as it is taught: without markup and without characters that nobody hears.

What counts as markup is decided here and nowhere else: the normaliser of scores asks `without_markup`, so
that what is taught is scored. `x < y`, `3 > 2`, `<3` and `AT&T` are no markup.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
NOTES = re.compile(r"<!--.*?-->|<!DOCTYPE\b[^<>]*>|<\?[A-Za-z][^<>]*\?>|<!\[CDATA\[|\]\]>", re.DOTALL | re.I)
TOKEN = re.compile(r"<\|[^<>]*\|>")  # Whisper's own, such as <|sv|>
TAG = re.compile(
    r"<(?P<closes>/?)(?P<name>[A-Za-z][A-Za-z0-9_:.-]*)"
    r"""(?P<settings>(?:\s+[A-Za-z_:][\w:.-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+))*)\s*(?P<alone>/?)>"""
)
PARTS_WORDS = {"br", "p", "div", "li", "ul", "ol", "tr", "td", "th", "hr", "h1", "h2", "h3", "h4", "h5", "h6"}
_NAMES = (
    "a abbr acronym address article aside audio b bdi bdo big blockquote body button center cite code data "
    "dd del details dfn dl dt em font footer form head header html i iframe img input ins kbd label link "
    "main mark meta nav nobr option pre q rb rp rt ruby s samp script section select small source span "
    "strike strong style sub summary sup table tbody textarea tfoot thead time title tt u var video wbr "
    "speak voice prosody emphasis break"  # the last line is of SSML
)
HTML_NAMES = PARTS_WORDS | set(_NAMES.split())
MARKS = re.compile(  # of transcribers and tools, for what is no word or was not understood
    r"<(?:unk|unknown|oov|sil|silence|spn|nsn|spoken[_-]noise|noise|laugh|laughs|laughter|breath|cough|hes|"
    r"hesitation|inaudible|unintelligible|music|eps|pad|sp|s|/s|bos|eos|blank)>",
    re.IGNORECASE,
)
UNHEARD = {"Cc", "Cf", "Cs"}  # control, format (bidi, zero width, BOM), half of a pair
# Letters of another encoding, or of a font: they become U+FFFD, so that what was lost is seen.
LOST = re.compile("[\x1a\x80-\x84\x86-\x9f\ue000-\uf8ff\U000f0000-\U0010fffd]")
JOINERS = "\u200c\u200d"  # part of the spelling in Persian, Hindi and others: kept between caseless letters
CASELESS = {"Lo", "Mn", "Mc"}


def clean_text(text: str, *, keep_marks: bool = False) -> str:
    """The text as one line in NFC; "" when nothing that can be said is left (the clip has an "empty text").

    HTML entities are decoded, markup removed (see `without_markup`), control, bidi and zero-width characters
    removed, and white space of any kind made one space. Cleaning what is clean changes nothing.

    Args: keep_marks: leave MARKS such as <unk>, which tell that a word is missing, for those who count them.
    """
    before = None
    while text != before:  # what is removed may join what becomes markup
        before = text
        text = _once_without_markup(text, keep_marks=keep_marks)
        text = unicodedata.normalize("NFC", " ".join(text.split()))
        text = text if text.isascii() and text.isprintable() else _audible(text)
    spoken = MARKS.sub("", text) if keep_marks else text
    return text if any(unicodedata.category(c)[0] in "LN" for c in spoken) else ""


def without_markup(text: str) -> str:
    """The text with entities decoded, and without what is markup: all else stays, a lone < or & too.

    Markup are comments; Whisper's tokens (`<|sv|>`); MARKS; and tags: those with an HTML name, those with
    settings (`<a href="x">`), those that close (`</x>`, `<x/>`), and those that are closed in this text.
    """
    before = None
    while text != before:
        before, text = text, _once_without_markup(text)
    return text


def _once_without_markup(text: str, *, keep_marks: bool = False) -> str:
    if "&" in text:
        text = ENTITY.sub(_decoded, text)
    if "<" not in text and "]]>" not in text:
        return text
    text = TOKEN.sub("", NOTES.sub("", text))
    kept = MARKS.findall(text) if keep_marks else []
    text = text if kept else MARKS.sub(" ", text)
    closed = {tag["name"].lower() for tag in TAG.finditer(text) if tag["closes"]}
    return TAG.sub(lambda tag: tag[0] if tag[0] in kept else _in_place_of_tag(tag, closed), text)


def _decoded(entity: re.Match[str]) -> str:
    """Only what is an entity to its end: `&notes;` is none, though some decoders read &not in it."""
    named = not entity[0].startswith("&#")
    return entity[0] if named and entity[0][1:] not in html5 else html.unescape(entity[0])


def _in_place_of_tag(tag: re.Match[str], closed: set[str]) -> str:
    name = tag["name"].lower()
    if name in HTML_NAMES or tag["settings"] or tag["closes"] or tag["alone"] or name in closed:
        return " " if name in PARTS_WORDS else ""
    return tag[0]


def _audible(text: str) -> str:
    text = LOST.sub("\ufffd", text)
    kinds = [unicodedata.category(character) for character in text]
    kept = [
        character
        for i, (character, kind) in enumerate(zip(text, kinds, strict=True))
        if kind not in UNHEARD or (character in JOINERS and _joins(kinds, i))
    ]
    return "".join(kept)


def _joins(kinds: list[str], at: int) -> bool:
    return 0 < at < len(kinds) - 1 and kinds[at - 1] in CASELESS and kinds[at + 1] in CASELESS
