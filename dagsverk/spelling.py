"""What is written, apart from how: characters that nobody sees, and words for nothing. For both families."""

from __future__ import annotations

import re
import unicodedata

UNSEEN = {"Cc", "Cf", "Co", "Cs"}  # control, zero width and direction, private, half of a pair
UNSEEN_MARKS = "\u034f\ufe0e\ufe0f\u3164\u115f\u1160\u2800"  # joiner, variants, fillers, a blank of braille
NOT_A_LETTER = re.compile(r"[\W_]+")
LONGEST = 12  # letters and signs of a word for nothing
WORDS = {"na", "nan", "none", "null", "nil", "missing"}  # N/A, n.a., <NA> and (na) are one
SIGNS = {"", "?", "??", "???", "-", "--", "---", "–", "—", ".", "..", "...", "…"}
SIGNS |= {"\\n", "#value!", "#ref!", "#div/0!", "#name?", "#num!"}  # of data bases and spreadsheets


def without_unseen(text: str) -> str:
    """The text in NFC without characters that nobody sees; white space of every kind stays as it is."""
    if text.isascii() and text.isprintable():
        return text
    seen = (c for c in unicodedata.normalize("NFC", text) if c.isspace() or not _is_unseen(c))
    return unicodedata.normalize("NFC", "".join(seen))


def says_nothing(text: str) -> bool:
    """Whether programs and people write this where there is nothing; of a text without what is not seen."""
    return text.casefold() in SIGNS or (len(text) <= LONGEST and letters(text) in WORDS)


def letters(text: str) -> str:
    """Its letters and digits alone, in one case."""
    return NOT_A_LETTER.sub("", text.casefold())


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in UNSEEN or character in UNSEEN_MARKS
