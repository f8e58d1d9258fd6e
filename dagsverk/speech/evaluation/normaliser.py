"""How texts are made alike before they are compared. Light: loads no learning library.

What a listener cannot hear does not count: case, punctuation, symbols, the way an apostrophe is typed. All
that
can be heard stays: å is not a, è is not e. The rules, in this order:

1. Apostrophes, however typed (’ ‘ ʼ ´ ` ′), are one character.
2. Unicode form NFKC: one code for one letter; lower case (Turkish and Azerbaijani with their own i).
3. What stands in [ ] or < > goes, being a remark (such as [music]) and not speech; ( ) only lose the
   brackets.
4. An apostrophe ends a word in languages that elide: l'acqua is "l acqua", un'ora "un ora", two words each,
   since the article is a word. In all other languages it joins: "rock'n'roll" is "rocknroll", "п'ять" is
   "пять".
5. Punctuation and symbols, hyphens among them, become spaces: "e-post" is "e post", "5 %" is "5".
6. Letters, digits and combining marks stay: the marks are vowels in many scripts (Whisper's own normaliser
   drops them, which makes Hindi words alike that are not).
7. Digits stay as written: "20" is not "tjugo".
8. In languages that are written without spaces each character is a word, as in the Whisper paper (appendix
   C).
"""

from __future__ import annotations

import re
import unicodedata

VERSION = 1  # changes with any rule above: scores of two versions are not compared

ELIDING = frozenset({"it", "fr", "ca", "oc", "lb", "pt", "gl"})
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
_DOTLESS = frozenset({"tr", "az"})

_APOSTROPHE = "'"
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘‛ʼʻ´`′＇", _APOSTROPHE))
_DOTLESS_CASE = str.maketrans({"I": "ı", "İ": "i"})
_REMARK = re.compile(r"[<\[][^>\]]*[>\]]")
_INVISIBLE = {"\u200b": " "}  # zero width space: the word boundary of Khmer and Burmese


def normalise(text: str, language: str) -> str:
    """The text as it is compared: words with one space between them; "" if nothing can be heard of it.

    Normalising twice changes nothing. Args: language: Whisper's code, such as "sv".
    """
    folded = _REMARK.sub(" ", _fold(text.translate(_APOSTROPHES), language))
    apostrophe = " " if language in ELIDING else ""
    kept = "".join(_kept(character, apostrophe) for character in folded)
    words = [word for word in map(_without_stray_marks, kept.split()) if word]
    # removing what stood between a letter and its mark can bring them together: compose them
    composed = unicodedata.normalize("NFKC", " ".join(words))
    return " ".join(_characters(composed)) if language in UNSPACED else composed


def _fold(text: str, language: str) -> str:
    composed = unicodedata.normalize("NFKC", text)
    if language in _DOTLESS:
        composed = composed.translate(_DOTLESS_CASE)
    return unicodedata.normalize("NFKC", composed.lower()).translate(_APOSTROPHES)


def _kept(character: str, apostrophe: str) -> str:
    if character == _APOSTROPHE:
        return apostrophe
    group = unicodedata.category(character)
    if group[0] in "PSZ" or group == "Cc":  # punctuation, symbols, spaces, line ends
        return " "
    return _INVISIBLE.get(character, "") if group[0] == "C" else character  # soft hyphens and the like


def _without_stray_marks(word: str) -> str:
    """The word without combining marks at its start, which stand on nothing."""
    first = next((i for i, c in enumerate(word) if unicodedata.category(c)[0] != "M"), len(word))
    return word[first:]


def _characters(text: str) -> list[str]:
    """Letters with the marks on them, spaces left out."""
    letters: list[str] = []
    for character in text:
        if letters and unicodedata.category(character)[0] == "M":
            letters[-1] += character
        elif character != " ":
            letters.append(character)
    return letters
