"""What the transcribe page says of the model that listens: which it is, how it did, how to get one."""

from __future__ import annotations

from dagsverk.speech.languages import Language, language_or_auto
from dagsverk.speech.serving.champions import (
    DEPLOYED,
    NoSpeechModel,
    adopt_command,
    in_use,
    refuse_without,
    speech_command,
    stock,
    writer_of,
)
from dagsverk.store import Model, StoreError
from dagsverk.words import last_part
from ui import parts
from ui.parts import Html
from ui.speech import sentences
from ui.speech.desk import FIRST, SpeechDesk, named_language

HOW = "Record something or give a file, then press Transcribe. The text is shown here."


def welcome(speech: SpeechDesk, code: str) -> str:
    """Which model listens, or how to get one."""
    language = language_or_auto(code)
    try:
        if language is None:
            return parts.page(parts.empty("Ready for any of these", _any_language(speech)))
        model = writer_of(speech.store, language).model
    except NoSpeechModel:
        return parts.page(no_model(language))
    except (StoreError, OSError) as error:
        return parts.page(parts.note("No model could be asked.", parts.short(error, 300), bad=True))
    return parts.page(parts.empty(f"Ready for {language.title}", HOW), promise(speech, language, model))


def _any_language(speech: SpeechDesk) -> str:
    """Between which languages is chosen. Raises NoSpeechModel."""
    refuse_without(speech.store, None)
    names = ", ".join(one.language.title for one in in_use(speech.store))
    other = stock(speech.store)
    base = last_part(str(other.model.info["base_model"])) if other else ""
    more = f" What is in another language is written down by {base} as published." if other else ""
    return f"The language is told from the recording: {names}.{more} {HOW}"


def no_model(language: Language | None) -> Html:
    first = language or named_language(FIRST[0])
    title = f"No {language.title} model has been trained yet" if language else "No model is in use yet"
    if first.code not in DEPLOYED:
        words = "A published Whisper listens at once, as it is, after this command:"
        train = "To fine-tune one, see “Another language” in docs/how-to/speech.md.", ""
        return parts.empty(title, words, adopt_command(first), train)
    words = (
        f"A day of {first.title} fine-tunes Whisper, and the best model listens here. Start one in the "
        "Prefect UI, or with this command:"
    )
    untrained = "Or have a published Whisper listen at once, as it is:", adopt_command(first)
    return parts.empty(title, words, speech_command(first), untrained)


def promise(speech: SpeechDesk, language: Language, model: Model) -> Html:
    """Which version listens, and how it did in its test."""
    if model.name != language.model_name:
        command_for = speech_command if language.code in DEPLOYED else adopt_command
        command = parts.element("code", command_for(language))
        return parts.element(
            "p", parts.join(sentences.borrowed_model(language, model), command), "soft small"
        )
    words = sentences.promise(language, model, *speech.tests_of(language, model))
    more = parts.link("How it does", f"speech-monitor?language={language.code}")
    return parts.element("p", parts.join(words, more), "soft small")
