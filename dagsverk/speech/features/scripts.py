"""In which letters a language is written, and how many of them a second of speech can hold. Light.

Bounds are wide on purpose: what lies outside nobody speaks. Fast speech has 8 to 9 syllables a second in
languages with short ones (Japanese, Spanish), 5 to 6 in those with long ones (Mandarin, Thai); a syllable
takes 2 to 3 letters of an alphabet.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter

_OF = {
    "CYRILLIC": "ru uk bg mk be kk mn tg tt ba sr ky",
    "GREEK": "el",
    "ARABIC": "ar fa ur ps sd",
    "HEBREW": "he yi",
    "DEVANAGARI": "hi mr ne sa",
    "BENGALI": "bn as",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "MYANMAR": "my",
    "KHMER": "km",
    "TIBETAN": "bo",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "HANGUL": "ko",
    "CJK": "zh yue ja",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
}
_ALSO = {  # scripts of languages that are written in two
    "LATIN": "sr az uz tk mn kk tg tt sd bs ha",
    "CYRILLIC": "az uz tk bs ro",
    "ARABIC": "pa ha ms kk",
    "DEVANAGARI": "sd",
    "MONGOLIAN": "mn",
    "JAVANESE": "jw",
    "SUNDANESE": "su",
    "CJK": "ko",
}
_ALIKE = {"LATIN", "CYRILLIC", "GREEK"}  # whose letters look alike
_WORD = re.compile(r"[^\W\d_]{3,}")

ALPHABET = (1.5, 30.0)  # least and most letters a second
SYLLABLES = (0.6, 13.0)  # Hangul, kana, Ethiopic: a letter is a syllable
IDEOGRAPHS = (0.4, 11.0)
_DIGIT_LETTERS = 3.5  # of the word for a digit
_RATES = {"CJK": IDEOGRAPHS, **dict.fromkeys(("HANGUL", "HIRAGANA", "KATAKANA", "ETHIOPIC"), SYLLABLES)}


@functools.lru_cache(maxsize=4096)
def script(letter: str) -> str:
    """The first word of a letter's name in Unicode, which is its script: LATIN, CYRILLIC, CJK."""
    name = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return name.partition(" ")[0].partition("-")[0]


@functools.cache
def written_in(code: str) -> frozenset[str]:
    """The scripts of a language, by Whisper's code; Latin where nothing else is stated."""
    own = {name for name, codes in _OF.items() if code in codes.split()}
    also = {name for name, codes in _ALSO.items() if code in codes.split()}
    return frozenset((own or {"LATIN"}) | also)


def is_other(text: str, code: str) -> bool:
    """Whether most letters of a text are of a script in which its language is not written."""
    scripts = Counter(script(c) for c in text if c.isalpha())
    other = sum(n for name, n in scripts.items() if name not in written_in(code))
    return 2 * other > sum(scripts.values())


def mixes(text: str) -> bool:
    """Whether a word has letters of two scripts that look alike: an a of the Cyrillic alphabet in "pаpa"."""
    if text.isascii():
        return False
    return any(len({script(c) for c in word} & _ALIKE) > 1 for word in _WORD.findall(text))


def letters_per_s(text: str) -> tuple[float, float]:
    """The least and the most letters a second, by the script of most of the text's letters."""
    scripts = Counter(script(c) for c in text if c.isalpha())
    commonest = scripts.most_common(1)[0][0] if scripts else ""
    return _RATES.get(commonest, ALPHABET)


def spoken_letters(text: str) -> float:
    """How many letters are said: a digit counts as the word that it is."""
    ideographs = letters_per_s(text) == IDEOGRAPHS
    of_digit = 1.0 if ideographs else _DIGIT_LETTERS
    return sum(of_digit if c.isdigit() else 1.0 for c in text if c.isalnum())
