"""Texts that cannot be what is said in their clips: found, counted and shown, never dropped. Light.

Each kind is one of KINDS, with a name that people read. Whether a text is right, only people can tell: a
kind is a question, and its examples are what to look at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from html.entities import html5

from ftfy import fix_encoding
from ftfy.badness import is_bad

from dagsverk.speech.corpora.accents import SURE, WORDS_THEMSELVES, typed_accents
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.speech.corpora.text import MARKS, TAG
from dagsverk.speech.features import scripts
from dagsverk.speech.features.plans import Text
from dagsverk.speech.features.shards import Example, Rejections, ShardRecord, Suspicion

EXAMPLES = 5  # of each kind
SHOWN = 160  # characters of a text
PAUSES_S = 2.0  # before, within and after what is said, at least: of them no letters are expected
SLOW_FROM_S = 4.0  # shorter clips may hold a word and pauses
EXTRA_LETTERS = 6  # a clip that is cut close may begin and end within a letter
REPEATED = 20  # times one sentence of REPEATED_LETTERS or more, and so at least in the share below of all
REPEATED_LETTERS = 15
REPEATED_SHARE = 0.01
REPEATED_OF_FEW, REPEATED_SHARE_OF_FEW = 5, 0.3  # or so many in a small set: all rows got the same text

DIRECTION = re.compile(
    r"[\[【［][^\]】］]*[\]】］]|[(（][^)）]*[)）]|\{[^}]*\}|<[^<>\s][^<>]*>|(?<!\w)\*[^*\s][^*]*\*(?!\w)"
)
QUESTION = re.compile(r"\w\?\w|(?<!\S)\?+(?=\s+[^\W\d_A-ZÀ-Þ])|(?<![\w?!])\?(?=[^\W\d_])|\w¿|¿(?=\s)")
# So end Italian words only where an accented vowel is lost, citt? and perch?; but: Swedish hatt, German noch.
ITALIAN_END = re.compile(r"([bcdfgpqtvz])\1\?|[^\W\d_](?:gh|ch|qu)\?", re.IGNORECASE)
IN_A_SENTENCE = re.compile(r"[^\W\d_]\?\s+(?=[a-zß-öø-ÿ])")  # where capitals begin sentences
UNQUOTED = frozenset({"sv", "no", "nn", "da"})  # where speech is written without quotes: Var är du? sa hon.
STEMS = re.compile(  # of Italian words that end in an accent: pu?, pi?, citt?
    rf"\b(?:{'|'.join(sorted(word[:-1] for word in SURE - WORDS_THEMSELVES if len(word) > 2))})\?",
    re.IGNORECASE,
)
REPLACED = re.compile("[\ufffd\ufffc\u2400-\u243f\u25a1\u25af]")
MOJIBAKE_END = re.compile(r"[a-zà-ÿ]Ã(?!\w)")  # of "cittÃ ", whose last character counts as a space
IN_NO_WORDS = re.compile("[\u0180-\u019f\u01b1-\u0217\u021c-\u024f]")  # what »Är« would be as Mac Roman
_PLACEHOLDERS = """
todo tbd tba fixme unknown none null nil nan na undefined test prova placeholder empty missing inaudible
unintelligible untranscribed noise silence transcript transcription sentence text dummy sample asdf qwerty
"""
PLACEHOLDERS = frozenset(_PLACEHOLDERS.split())
PLACEHOLDER = re.compile(
    r"lorem ipsum|no transcript|not transcribed|_{2,}|\bx{3,}\b|(\w)\1{4,}", re.IGNORECASE
)
FROM_A_FILE = re.compile(
    r"https?://|\bwww\.|\S+@\S+\.\w{2,}|\.(?:wav|mp3|flac|ogg|opus|m4a|mp4|txt)\b|-->|\d\d:\d\d:\d\d[.,]\d"
)
LABEL = re.compile(
    r"^\s*(?:>>|(?:speaker|spk|interviewer|moderator|talare)\s*\w{0,3}\s*:|[A-Z]\d?\s*:)", re.I
)
LEFTOVER = re.compile(
    r"</|/>|&#\d{2,5}\b|&([a-zA-Z]{2,6})\b"
    r"|\\['\"nrt]|\\[ux][0-9a-fA-F]{2}|%[0-9A-F]{2}%[0-9A-F]{2}|=[0-9A-F]{2}=[0-9A-F]{2}"
)
EMOJI = re.compile("[\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff]")


def _placeholder(text: str, _: str) -> bool:
    bare = "".join(c for c in text.casefold() if c.isalpha())
    return bare in PLACEHOLDERS or bool(PLACEHOLDER.search(text))


def _questioned(text: str, code: str) -> bool:
    if QUESTION.search(text) or (code == "it" and (STEMS.search(text) or ITALIAN_END.search(text))):
        return True
    return code not in UNQUOTED and text != text.lower() and bool(IN_A_SENTENCE.search(text))


def _misread(text: str, _: str) -> bool:
    """Whether bytes were read in a wrong encoding: perchÃ©, lâ€™acqua."""
    if not is_bad(text):
        return bool(MOJIBAKE_END.search(text))
    mended = fix_encoding(text)
    return mended != text and not IN_NO_WORDS.search(mended)


def _left_over(text: str, _: str) -> bool:
    """Tags that are none, and entities without their ; such as &amp or &eacute."""
    if TAG.search(MARKS.sub("", text)):
        return True
    return any(name in html5 or not name for name in LEFTOVER.findall(text))


KINDS: Mapping[str, Callable[[str, str], object]] = {  # of (text, Whisper's code)
    "a direction in brackets": lambda text, _: DIRECTION.search(MARKS.sub("", text)),
    "a mark where a word is missing": lambda text, _: MARKS.search(text),
    "a ? where a letter was": _questioned,
    "characters that were lost": lambda text, _: REPLACED.search(text),
    "letters of a wrong encoding": _misread,
    "left over from markup": _left_over,
    "an address, a file or a time stamp": lambda text, _: FROM_A_FILE.search(text),
    "a label of who speaks": lambda text, _: LABEL.search(text),
    "emoji and pictures": lambda text, _: EMOJI.search(text),
    "a placeholder": _placeholder,
    "digits alone": lambda text, _: not any(c.isalpha() for c in text),
    "another script than the language's": scripts.is_other,
    "two scripts in a word": lambda text, _: scripts.mixes(text),
    "accents typed as apostrophes": lambda text, code: code == "it" and typed_accents(text),
}
TOO_FAST, TOO_SLOW = "more than anybody speaks in that time", "less than anybody speaks in that time"
OFTEN = "one sentence many times"


def find(text: str, duration_s: float, code: str) -> tuple[str, ...]:
    """The kinds that a clip's text is of, mostly none.

    Args: text: cleaned, with its MARKS. duration_s: of the sound. code: Whisper's, of the language.
    """
    kinds = tuple(kind for kind, shows in KINDS.items() if shows(text, code))
    least, most = scripts.letters_per_s(text)
    letters = scripts.spoken_letters(text)
    if letters > most * duration_s + EXTRA_LETTERS:
        kinds += (TOO_FAST,)
    if duration_s > SLOW_FROM_S and letters < least * (duration_s - PAUSES_S):
        kinds += (TOO_SLOW,)
    return kinds


def example(clip: str, text: str, duration_s: float) -> Example:
    """A clip to look at: its text, and how long it sounds."""
    shown = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    return Example(clip=clip, detail=f"{shown} ({duration_s:.1f} s)")


def count(clips: Iterable[tuple[str, str, float, str]]) -> dict[str, Rejections]:
    """How many clips are of each kind, and the first few. Args: clips: (id, text, duration_s, code)."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[Example]] = {}
    for name, text, duration_s, code in clips:
        for kind in find(text, duration_s, code):
            counts[kind] += 1
            if counts[kind] <= EXAMPLES:
                examples.setdefault(kind, []).append(example(name, text, duration_s))
    return {kind: Rejections(clips=n, examples=tuple(examples[kind])) for kind, n in counts.items()}


def together(made: Sequence[ShardRecord], texts: Callable[[], Iterable[Text]]) -> dict[str, Suspicion] | None:
    """Of all shards of a set, the commonest kind first; None where a shard's texts were not looked at.

    Args: texts: gives (clip, split, text) of all clips of the set, as often as it is asked.
    """
    if any(record.suspicious is None for record in made):
        return None
    parts = [
        (record.split == "test", kind, one)
        for record in made
        for kind, one in (record.suspicious or {}).items()
    ]
    parts += [(split == "test", OFTEN, one) for split, one in _often(texts)]
    kinds = {
        kind: _sum([(of_test, one) for of_test, name, one in parts if name == kind])
        for kind in dict.fromkeys(kind for _, kind, _ in parts)
    }
    return dict(sorted(kinds.items(), key=lambda item: (-item[1].clips, item[0])))


def _sum(parts: Sequence[tuple[bool, Rejections]]) -> Suspicion:
    test = [one for of_test, one in parts if of_test]
    return Suspicion(
        clips=sum(one.clips for _, one in parts),
        test_clips=sum(one.clips for one in test),
        examples=tuple(each for _, one in parts for each in one.examples)[:EXAMPLES],
        test_examples=tuple(each for one in test for each in one.examples)[:EXAMPLES],
    )


def _often(texts: Callable[[], Iterable[Text]]) -> Iterable[tuple[str, Rejections]]:
    """(split, clips whose sentence stands many times in the set, with an example of each sentence)"""
    times: Counter[int] = Counter(  # numbers, so that memory does not grow with the texts
        sentence_key(text) if scripts.spoken_letters(text) >= REPEATED_LETTERS else 0
        for _, _, text in texts()
    )
    least = max(REPEATED, REPEATED_SHARE * times.total())
    of_few = max(REPEATED_OF_FEW, REPEATED_SHARE_OF_FEW * times.total())
    often = {key for key, n in times.items() if n >= min(least, of_few) and key}
    clips: Counter[str] = Counter()
    examples: dict[str, dict[int, Example]] = {}
    for clip, split, text in texts() if often else ():
        key = sentence_key(text)
        if key in often:
            clips[split] += 1
            shown = examples.setdefault(split, {})
            if key not in shown and len(shown) < EXAMPLES:
                shown[key] = Example(clip=clip, detail=f"{text[:SHOWN]} ({times[key]} times)")
    for split, n in clips.items():
        yield split, Rejections(clips=n, examples=tuple(examples[split].values()))
