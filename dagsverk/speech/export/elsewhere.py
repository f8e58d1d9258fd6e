"""How an exported version is run elsewhere: the README in its archive. Light."""

from __future__ import annotations

from dagsverk.speech.exports import Exported
from dagsverk.speech.languages import Language, token_code
from dagsverk.store import Model

_PROGRAM = """from faster_whisper import WhisperModel
model = WhisperModel("<folder>", compute_type="<type>")
segments, _ = model.transcribe("recording.wav", language="<code>", beam_size=1)
for segment in segments:
    print(f"{segment.start:7.2f} {segment.end:7.2f} {segment.text}")
"""


def archive_name(model: Model, form: str) -> str:
    """Of the folder in a version's archive."""
    return f"{model.name}-{model.version}-{form}"


def program(model: Model, language: Language, form: str) -> str:
    """What transcribes a recording with the unpacked archive and `faster-whisper`."""
    filled = {
        "<folder>": archive_name(model, form),
        "<type>": "int8" if form == "int8" else "auto",
        "<code>": token_code(language.code),
    }
    text = _PROGRAM
    for place, value in filled.items():
        text = text.replace(place, value)
    return text


def how_to_run(language: Language, model: Model, exported: Exported) -> str:
    """The README of an archive."""
    rates = "\n".join(
        f"- {'at true length' if one.windows == 'true_length' else 'in 30 s windows'}: "
        f"{100 * one.agreement:.2f} % of {one.tokens} tokens the same ({one.near_ties} of {one.clips} clips "
        f"part at a near tie and are not counted), {one.word_errors} of {one.words} words wrong, of the "
        f"weights {one.word_errors_of_weights}"
        for one in exported.parity
    )
    modes = {one.windows for one in exported.parity}
    warning = (
        ""
        if "full" in modes
        else "\n**This model is not served in 30 s windows**, which is how the program below hears: it was "
        "not scored so, or was worse.\n"
    )
    return f"""# {language.title}: {model.name} version {model.version}, {exported.form}

Weights for CTranslate2, compared with those they were made of:

{rates}
{warning}
Unpack the archive, `pip install faster-whisper`, and:

```python
{program(model, language, exported.form)}```
"""
