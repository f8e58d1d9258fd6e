"""How texts are made alike before they are compared. Light: loads no learning library.

What a listener cannot hear does not count: case, punctuation, the way an apostrophe or a number is typed. All
that can be heard stays: å is not a, è is not e. What is taught is scored: nothing goes that `clean_text`
leaves in a text and that has letters or digits. The rules, in this order:

1. Markup goes (`text.without_markup`: tags, entities, Whisper's tokens), as it goes from what is taught.
   Brackets of all kinds go, and what they hold stays: people put words that are said in them ("Il [suo]
   messaggio"), and remarks such as [music] are taught, too; they are shown as suspicious.
2. Apostrophes, however typed (’ ‘ ʼ ´ ` ′), are one character.
3. Unicode form NFKC: one code for one letter; lower case (Turkish and Azerbaijani with their own i).
   Decimal digits of every script are 0 to 9. Russian ё, which few people type, is е.
4. Italian accents typed as apostrophes are accents (E' is è, perche' is perché, po' stays: see `accents`),
   and the last vowel's accent is as it is spelt: perchè is perché, pò is po.
5. Symbols that are read aloud are words (5 % is "5 procent": see `symbols`).
6. An apostrophe ends a word in languages that elide: l'acqua is "l acqua", un'ora "un ora", two words each,
   since the article is a word. In all other languages it joins: "rock'n'roll" is "rocknroll", "п'ять" is
   "пять".
7. Punctuation and all other symbols, hyphens among them, become spaces: "e-post" is "e post".
8. Letters, digits and combining marks stay: the marks are vowels in many scripts (Whisper's own normaliser
   drops them, which makes Hindi words alike that are not).
9. Digits stay as written: "20" is not "tjugo". Thousands are joined: 10 000, 10.000 and 10,000 are 10000,
   and units stand apart: "5kg" is "5 kg".
10. In languages that are written without spaces each character is a word, as in the Whisper paper (appendix
   C); symbols are no words there.
"""

from __future__ import annotations

import unicodedata

from dagsverk.speech.corpora.accents import APOSTROPHES, with_accents, with_one_accent
from dagsverk.speech.corpora.text import without_markup
from dagsverk.speech.evaluation.symbols import with_one_spelling, with_words

VERSION = 2  # changes with any rule above: scores of two versions are not compared

ELIDING = frozenset({"it", "fr", "ca", "oc", "lb", "pt", "gl"})
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
_DOTLESS = frozenset({"tr", "az"})

_APOSTROPHE = "'"
_APOSTROPHES = str.maketrans(dict.fromkeys(APOSTROPHES, _APOSTROPHE))
_DOTLESS_CASE = str.maketrans({"I": "ı", "İ": "i"})
_INVISIBLE = {"\u200b": " "}  # zero width space: the word boundary of Khmer and Burmese


def normalise(text: str, language: str) -> str:
    """The text as it is compared: words with one space between them; "" if nothing can be heard of it.

    Normalising twice changes nothing. Args: language: Whisper's code, such as "sv".
    """
    typed = without_markup(unicodedata.normalize("NFC", text)).translate(_APOSTROPHES).replace("\\'", "'")
    folded = _fold(typed, language)
    if language == "it":
        folded = with_accents(folded)
    if language not in UNSPACED:
        folded = with_words(folded, language)
    apostrophe = " " if language in ELIDING else ""
    kept = "".join(_kept(character, apostrophe) for character in folded)
    words = [word for word in map(_without_stray_marks, kept.split()) if word]
    # removing what stood between a letter and its mark can bring them together: compose them
    composed = unicodedata.normalize("NFKC", " ".join(words))
    if language in UNSPACED:
        return " ".join(_characters(composed))
    if language == "it":
        composed = " ".join(map(with_one_accent, composed.split()))
    return with_one_spelling(composed, language)


def _fold(text: str, language: str) -> str:
    composed = unicodedata.normalize("NFKC", text)
    if language in _DOTLESS:
        composed = composed.translate(_DOTLESS_CASE)
    lowered = unicodedata.normalize("NFKC", composed.lower()).translate(_APOSTROPHES)
    return lowered.replace("ё", "е") if language == "ru" else lowered


def _kept(character: str, apostrophe: str) -> str:
    if character == _APOSTROPHE:
        return apostrophe
    group = unicodedata.category(character)
    if group[0] in "PSZ" or group == "Cc":  # punctuation, symbols, spaces, line ends
        return " "
    if group == "Nd":
        return str(unicodedata.decimal(character))
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
