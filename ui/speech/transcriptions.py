"""Folders whose recordings are written down: how many, how fast, how well, and which are not."""

from __future__ import annotations

from dagsverk.speech.transcription.files import shown
from dagsverk.speech.transcription.results import Failure, Transcribed
from dagsverk.words import counted
from ui import parts
from ui.parts import Head, Html
from ui.speech.desk import SpeechView
from ui.speech.parts import rate

TITLE = "Folders written down"
OPEN = 5  # failures of a place that are shown at once


def places(view: SpeechView) -> Html:
    """A card for all places of the language; how to begin, where there is none."""
    if not view.transcriptions:
        words = "A folder or prefix of recordings is written down, each recording once, and told of here."
        run = f"prefect deployment run speech-transcription/{view.language.name}"
        command = f'{run} --param \'transcription={{"source": "FOLDER"}}\''
        return parts.card(TITLE, "", parts.empty("None yet", words, command))
    return parts.card(TITLE, "", *map(_place, view.transcriptions))


def _place(report: Transcribed) -> Html:
    name = parts.last_part(shown(report.source))
    english = ", into English" if report.task == "translate" else ""
    title = parts.element("strong", f"{name}{english}", "wrap")
    pairs = [
        ("Written down", f"{report.written:,} of {counted(report.recordings, 'recording')}"),
        ("By the last run", f"{report.new:,}, {report.at[:16].replace('T', ' ')} UTC"),
        ("Audio", f"{report.audio_s / 3600:.1f} h"),
        ("Word error rate", _rate(report)),
    ]
    pairs += [(f"By {parts.last_part(one.model)}", _speed(one.audio_s, one.took_s)) for one in report.models]
    notes = [parts.element("p", shown(note), "soft small wrap") for note in report.notes]
    return parts.join(title, parts.facts(pairs), *notes, _failures(report) if report.failed else "")


def _rate(report: Transcribed) -> str:
    if report.scored is None:
        return "no text lies beside a recording"
    return f"{rate(report.scored.wer)} on {counted(report.scored.recordings, 'recording')} with a text beside"


def _speed(audio_s: float, took_s: float) -> str:
    fast = f", {audio_s / took_s:.1f} times as fast as spoken" if took_s else ""
    return f"{audio_s / 3600:.1f} h{fast}"


def _failures(report: Transcribed) -> Html:
    heads = [
        Head(title="Not written down"),
        Head(title="Recordings", numeric=True),
        Head(title="Such as", wide=True),
    ]
    rows = [(reason, f"{count:,}", _examples(report, reason)) for reason, count in report.failed.items()]
    return parts.table("Why recordings have no text", heads, rows)


def _examples(report: Transcribed, reason: str) -> Html:
    named = [one for one in report.failures if one.reason == reason][:OPEN]
    return parts.join(*map(_example, named))


def _example(failure: Failure) -> Html:
    path = parts.element("span", parts.short(shown(failure.path), 60), "wrap")
    detail = parts.element("span", parts.short(failure.detail, 120), "soft small wrap")
    return Html(f"<div>{path} {detail}</div>")
