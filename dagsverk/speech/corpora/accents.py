"""Italian accents typed as apostrophes: E' for È, perche' for perché, citta` for città. Light.

The rule, for an apostrophe (typed as any of APOSTROPHES) after a word that ends in a vowel:

1. Truncated words keep what they are: po', di', da', va', sta', fa', be', mo' (TRUNCATED). So do elisions,
   in which a word follows at once: l'acqua, un'altra, quest'anno. Where a space was forgotten after an
   accent that no word lacks (e'vero, perche'no: SURE), it is an accent all the same.
2. What closes a quotation in apostrophes is none: 'casa', 'va bene cosa'. One is opened by an apostrophe
   before a word ('sto, 'ndrangheta and their like apart), and closed by the next one after a word that may
   stand without an accent.
3. Every other one is an accent: a word that ends in a vowel and an apostrophe is nothing else in Italian.
   It is è, à, ì, ò, ù; é in -ché, -tré and a few more words (ACUTE), as they are spelt.
"""

from __future__ import annotations

import re
import unicodedata


def words(listed: str) -> frozenset[str]:
    """The words of a line or more."""
    return frozenset(listed.split())


APOSTROPHES = "'’‘‛ʼʻ´`′＇"
TRUNCATED = words(
    "po di da fa sta va be mo to ca de co que vo ve su a i o u pe so cu nu mi tu ho vi pa ma pro tie gua"
)
UNACCENTED = words(
    "po fa va sta sa so sto do qui qua fu ma su tre me no mi ti lo re tra fra da di ha ho a o i chi ci vi "
    "ce ve gli le tu noi voi poi mai hai sei lei lui cui"
)
APHAERESES = words("ndrangheta sto sta sti ste na no nu n l a o i u sera spetta")
SURE = words(
    "e piu puo gia giu cio si se ne la li che perche poiche affinche finche benche purche giacche sicche "
    "anziche cosicche nonche granche macche cosi pero percio cioe caffe citta eta meta liberta verita "
    "universita societa qualita quantita felicita novita realta volonta gioventu virtu tribu servitu "
    "lunedi martedi mercoledi giovedi venerdi laggiu quaggiu lassu quassu papa sara saro avra avro fara "
    "dara potra potro dovra dovro verra verro andra andro vorra vorro dira diro"
)
SURE_ENDINGS = ("bilita", "osita", "alita", "icita", "versita", "tivita", "cieta", "iberta", "olonta")
WORDS_THEMSELVES = words("e si se ne la li che di da meta papa sara faro")  # also without accent
ACUTE = words("ne se pote vicere fe merce scimpanze affe autodafe dove crede perde riceve teme")
_GRAVE = dict(zip("aeiou", "àèìòù", strict=True))
_BARE = str.maketrans("àáèéìíòóùú", "aaeeiioouu")
_AT = re.compile(f"[{APOSTROPHES}]")
_WORD = re.compile(r"[^\W\d_]*\Z")
_NEXT_WORD = re.compile(r"[^\W\d_]+")


def typed_accents(text: str) -> list[int]:
    """Where apostrophes stand for accents in an Italian text."""
    places, quoted = [], False
    for match in _AT.finditer(text):
        at = match.start()
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if not before.isalnum():
            follows = _NEXT_WORD.match(text, at + 1)
            if follows:
                quoted = quoted or follows[0].lower() not in APHAERESES
            elif not after.isalnum():
                quoted = False
            continue
        word = _word_before(text, at)
        if word[-1:] not in _GRAVE:
            quoted = quoted and after.isalnum()
        elif after.isalnum():
            places += [at] if _sure(word) and word not in APHAERESES else []
        elif _alone_in_quotes(text, at, word):
            quoted = False
        elif word in TRUNCATED:
            continue
        elif _sure(word) or not quoted:
            places.append(at)
        else:
            quoted = False
    return places


def with_accents(text: str) -> str:
    """The text with accents instead of the apostrophes that stand for them; in lower case or not."""
    characters = list(text)
    for at in typed_accents(text):
        letter, word = text[at - 1], _word_before(text, at)
        accented = _accented(word)
        characters[at - 1] = accented.upper() if letter.isupper() else accented
        characters[at] = "" if text[at + 1 : at + 2] in ("", " ") or not text[at + 1].isalnum() else " "
    return unicodedata.normalize("NFC", "".join(characters))


def with_one_accent(word: str) -> str:
    """A word in lower case with its last vowel's accent as it is spelt: perchè is perché, cosí is così.

    Words that have none lose it: pò, fà, quì (UNACCENTED), among them dà and dì, which are also da' and di'.
    """
    last = word[-1:]
    bare = last.translate(_BARE)
    if bare == last:
        return word
    stem = word[:-1] + bare
    return stem if stem in UNACCENTED else word[:-1] + _accented(stem)


def _accented(word: str) -> str:
    """The accented form of the word's last vowel."""
    acute = word in ACUTE or word.endswith("che") or (word.endswith("tre") and len(word) > 3)
    return "é" if acute else _GRAVE[word[-1]]


def _word_before(text: str, at: int) -> str:
    match = _WORD.search(text[max(0, at - 40) : at])
    return match[0].lower() if match else ""


def _sure(word: str) -> bool:
    return word in SURE or word.endswith(SURE_ENDINGS)


def _alone_in_quotes(text: str, at: int, word: str) -> bool:
    """Whether one word that needs no accent stands between two apostrophes: 'e', 'casa'."""
    start = at - len(word) - 1
    if start < 0 or text[start] not in APOSTROPHES or text[start - 1 : start].isalnum():
        return False
    if not _sure(word):
        return True
    following = _AT.search(text, at + 1)  # in 'e' vero' the quotation is closed later
    return word in WORDS_THEMSELVES and (not following or not text[following.start() - 1].isalnum())
