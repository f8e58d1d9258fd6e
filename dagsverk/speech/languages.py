"""The languages that Whisper knows, by its codes. Light: loads no learning library.

Source: openai/whisper, `tokenizer.py` (the order is that of the tokens; "yue" came with large-v3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LISTED = """
en english zh chinese de german es spanish ru russian ko korean fr french ja japanese pt portuguese tr turkish
pl polish ca catalan nl dutch ar arabic sv swedish it italian id indonesian hi hindi fi finnish vi vietnamese
he hebrew uk ukrainian el greek ms malay cs czech ro romanian da danish hu hungarian ta tamil no norwegian
th thai ur urdu hr croatian bg bulgarian lt lithuanian la latin mi maori ml malayalam cy welsh sk slovak
te telugu fa persian lv latvian bn bengali sr serbian az azerbaijani sl slovenian kn kannada et estonian
mk macedonian br breton eu basque is icelandic hy armenian ne nepali mn mongolian bs bosnian kk kazakh
sq albanian sw swahili gl galician mr marathi pa punjabi si sinhala km khmer sn shona yo yoruba so somali
af afrikaans oc occitan ka georgian be belarusian tg tajik sd sindhi gu gujarati am amharic yi yiddish lo lao
uz uzbek fo faroese ht haitian_creole ps pashto tk turkmen nn nynorsk mt maltese sa sanskrit
lb luxembourgish my myanmar bo tibetan tl tagalog mg malagasy as assamese tt tatar haw hawaiian ln lingala
ha hausa ba bashkir jw javanese su sundanese yue cantonese
"""
_NAMES = _LISTED.split()


AUTO = "auto"  # instead of a code: the language is told from the recording
UNDER = "_as_"
OWN = re.compile(r"[a-z]{2,20}")  # what a language that Whisper lacks may be called: its code, or a word
BORROWED = f"^{OWN.pattern}{UNDER}[a-z_]{{2,20}}$"  # for forms; `language` says what is wrong with one


@dataclass(frozen=True)
class Language:
    """A language: Whisper's code, and its English name, also that of its deployments and models.

    One that Whisper lacks has the code and name `rm_as_it`: Romansh, taught under the token of Italian. So
    the choice is part of every name of what is made of it, and no step can take another token.
    """

    code: str
    name: str

    @property
    def spoken(self) -> str:
        """The code of what is spoken, as corpora tell it: rm of rm_as_it."""
        return self.code.partition(UNDER)[0]

    @property
    def token(self) -> str:
        """The code of the token that Whisper is prompted with: it of rm_as_it."""
        return token_code(self.code)

    @property
    def is_borrowed(self) -> bool:
        """Whether Whisper lacks it, and its token is that of another language."""
        return UNDER in self.code

    @property
    def title(self) -> str:
        if self.is_borrowed:
            return f"{self.spoken.title()} (as {LANGUAGES[self.token].title})"
        return self.name.replace("_", " ").title()

    @property
    def model_name(self) -> str:
        """Its name in the model registry."""
        return f"whisper_{self.name}"


LANGUAGES = {code: Language(code, name) for code, name in zip(_NAMES[::2], _NAMES[1::2], strict=True)}


def language(code: str) -> Language:
    """The language of a Whisper code ("sv") or English name ("swedish"), or one under the token of another
    ("rm_as_it"). Raises ValueError for any other."""
    wanted = code.strip().lower().replace(" ", "_")
    if UNDER in wanted:
        return _under_token(wanted)
    match = LANGUAGES.get(wanted) or _by_name().get(wanted)
    if match is None:
        raise ValueError(
            f"Whisper knows no language {code!r}; want one of its {len(LANGUAGES)} codes, sv or it say: "
            f"{', '.join(sorted(LANGUAGES))}; or teach it under the token of one of them: "
            f"{wanted if OWN.fullmatch(wanted) else 'rm'}{UNDER}it"
        )
    return match


def language_or_auto(code: str) -> Language | None:
    """As `language`; None of "auto"."""
    return None if code.strip().lower() == AUTO else language(code)


def _by_name() -> dict[str, Language]:
    return {each.name: each for each in LANGUAGES.values()}


def _under_token(wanted: str) -> Language:
    """The language of `rm_as_it` or `rm_as_italian`. Raises ValueError."""
    own, _, other = wanted.partition(UNDER)
    if own in LANGUAGES or own in _by_name():
        raise ValueError(f"Whisper has a token for {own!r}: leave out {UNDER}{other}")
    if not OWN.fullmatch(own):
        raise ValueError(
            f"a language under the token of another is called by 2 to 20 small letters a–z, {UNDER} and "
            f"Whisper's code, such as rm{UNDER}it; got {wanted!r}"
        )
    if UNDER in other:
        raise ValueError(f"{wanted!r} names more than one token; want one, such as rm{UNDER}it")
    code = f"{own}{UNDER}{language(other).code}"
    return Language(code, code)


def token_code(code: str) -> str:
    """The code in the token that Whisper is prompted with, of a language's code: sv of sv, it of rm_as_it."""
    return code.rpartition(UNDER)[2]


def known_language(code: str) -> str:
    """The code, if Whisper knows it. Raises ValueError."""
    return language(code).code
