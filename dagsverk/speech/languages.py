"""The languages that Whisper knows, by its codes. Light: loads no learning library.

Source: openai/whisper, `tokenizer.py` (the order is that of the tokens; "yue" came with large-v3).
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Language:
    """A language: Whisper's code, and its English name, also that of its deployments and models."""

    code: str
    name: str

    @property
    def title(self) -> str:
        return self.name.replace("_", " ").title()

    @property
    def model_name(self) -> str:
        """Its name in the model registry."""
        return f"whisper_{self.name}"


LANGUAGES = {code: Language(code, name) for code, name in zip(_NAMES[::2], _NAMES[1::2], strict=True)}


def language(code: str) -> Language:
    """The language of a Whisper code ("sv") or English name ("swedish"). Raises ValueError for any other."""
    wanted = code.strip().lower().replace(" ", "_")
    by_name = {each.name: each for each in LANGUAGES.values()}
    match = LANGUAGES.get(wanted) or by_name.get(wanted)
    if match is None:
        raise ValueError(
            f"Whisper knows no language {code!r}; want one of its {len(LANGUAGES)} codes, sv or it say: "
            f"{', '.join(sorted(LANGUAGES))}"
        )
    return match


def known_language(code: str) -> str:
    """The code, if Whisper knows it. Raises ValueError."""
    return language(code).code
