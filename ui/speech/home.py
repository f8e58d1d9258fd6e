"""The first page's cards for speech: a language each, and what those without a model need."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from dagsverk.speech.serving.champions import speech_command
from ui import parts
from ui.parts import Html
from ui.speech import sentences
from ui.speech.desk import SpeechDesk, SpeechView
from ui.speech.parts import rate
from ui.speech.runs import best_wer, reached
from ui.speech.sections import base_key


def versions(speech: SpeechDesk) -> tuple[Hashable, ...]:
    """Different whenever a card would be."""
    return tuple(speech.version(language) for language in speech.languages())


def cards(speech: SpeechDesk) -> Iterator[Html]:
    """A card per language."""
    for language in speech.languages():
        yield card(speech.view(language))


def card(view: SpeechView) -> Html:
    """One language in short, with the ways on."""
    language = view.language
    content = parts.join(
        parts.element("div", _waves(), "dv-picture dv-waves"),
        parts.element(
            "div",
            parts.join(
                parts.element("h2", f"{language.title} speech"),
                parts.element("p", f"Whisper, fine-tuned to write down what is said in {language.title}."),
            ),
        ),
        parts.facts(_facts(view)),
        _ways(view),
    )
    return Html(f'<section class="dv-card dv-system w6">{content}</section>')


def _facts(view: SpeechView) -> Iterator[tuple[object, object]]:
    if view.champion is None:
        command = parts.element("code", speech_command(view.language))
        yield "Champion", parts.join("none yet; start a day: ", command)
    else:
        yield "Champion", f"version {view.champion.version}"
    if view.champion and view.shown:
        cut = " (a cut test set)" if view.shown.cut else ""
        scored = f"{sentences.clips_and_voices(view.shown)}{cut}"
        yield "Word error rate", f"{rate(view.shown.scores.normalised.wer)} on {scored}"
        base = view.reports.get(base_key(view) or "")
        if base:
            yield "Before fine-tuning", rate(base.scores.normalised.wer)
    if view.runs:
        best = best_wer(view.runs[-1].curve)
        on_dev = f", dev WER {best[1]:.1%}" if best else ""
        yield "Newest run", f"{reached(view.runs[-1])}{on_dev}"


def _ways(view: SpeechView) -> Html:
    code = view.language.code
    name = parts.element("span", f" {view.language.title}", "sr-only")
    transcribe = parts.link(parts.join("Transcribe", name), f"transcribe?language={code}", "first")
    watched = parts.link(parts.join("Speech monitor", name), f"speech-monitor?language={code}")
    return parts.element("div", parts.join(transcribe, watched), "go")


def _waves() -> Html:
    """A quiet drawing: a voice."""
    heights = (6, 14, 30, 52, 34, 18, 42, 70, 88, 60, 36, 22, 48, 76, 54, 28, 12, 24, 44, 66, 40, 20, 10, 5)
    bars = "".join(
        f'<rect x="{20 + 15 * i}" y="{60 - h / 2:g}" width="6" height="{h}" rx="3" '
        f'fill="var(--{"sun" if i in (7, 8, 13) else "sea"})"/>'
        for i, h in enumerate(heights)
    )
    return Html(f'<svg viewBox="0 0 392 120" aria-hidden="true">{bars}</svg>')
