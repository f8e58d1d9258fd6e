"""What data call a language: codes, locales and names, as one code each.

Source: langcodes, which has the registry of BCP 47 (ISO 639-1, -2 and -3) and the names of CLDR. Its tables
are read when they are asked for.
"""

from __future__ import annotations

import re
from functools import lru_cache

from dagsverk.speech.languages import LANGUAGES

OF_WHISPER = {"nb": "no", "fil": "tl", "jv": "jw", "cmn": "zh"}  # what Whisper calls otherwise
OF_A_SYSTEM = re.compile(r"[.@].*$")  # .UTF-8 of sv_SE.UTF-8
PRIVATE = re.compile(r"x-|q[a-t][a-z]$|mis$")  # codes that everybody may give a meaning of their own
BRACKETS = re.compile(r"\s*[(\[].*$| language$| språket$")  # (Sweden) of Swedish (Sweden)


@lru_cache(maxsize=4096)
def spoken_language(stated: str) -> str | None:
    """Which language a code, a locale or a name in any language means: sv of swe, sv-SE, Swedish or svenska.

    Returns: Whisper's code where Whisper knows it, else that of ISO 639 (sc of sardo, gsw); "" for "und";
        None for what is no language.
    """
    wanted = OF_A_SYSTEM.sub("", stated.strip())
    name = wanted.lower().replace(" ", "_")
    for its_code, each in LANGUAGES.items():
        if name in (its_code, each.name):
            return its_code
    code = _by_tag(wanted.replace("_", "-"))
    return _by_name(wanted) if code is None else code


def _by_tag(tag: str) -> str | None:
    import langcodes

    try:
        if not langcodes.tag_is_valid(tag):
            return None
        code = langcodes.get(langcodes.standardize_tag(tag, macro=True)).language or "und"
    except ValueError:
        return None
    if PRIVATE.match(code):
        return None
    return "" if code == "und" else OF_WHISPER.get(code, code)


def _by_name(name: str) -> str | None:
    """By the whole name, and no other: langcodes takes "Swedish and Finnish" to be Swedish."""
    from language_data import names

    for spelling in (name, BRACKETS.sub("", name)):
        whole = names.normalize_name(spelling.replace("_", " "))
        code = names.name_to_code("language", whole)
        if code and whole in names.TRIES["und/name_to_language"]:
            return _by_tag(code)
    return None


def same_language(one: str, other: str) -> bool:
    """Whether two codes are of one language; Whisper's and those of ISO 639."""
    return one == other or spoken_language(one) == spoken_language(other) is not None


def title_of(code: str) -> str:
    """The English name of a language by its code, for people: also of one that Whisper does not know."""
    if code in LANGUAGES:
        return LANGUAGES[code].title
    import langcodes

    return langcodes.Language.get(code).display_name()
