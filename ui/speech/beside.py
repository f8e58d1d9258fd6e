"""The model before training beside the one in use, on the same recording: which words differ, line by line.

The answer offers it; the work is a job of its own (`dagsverk.speech.serving.comparing`): a reload finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI

from dagsverk.speech.serving.before_training import name_before, was_tuned
from dagsverk.speech.serving.comparing import compare
from dagsverk.speech.serving.job_files import NoJob
from dagsverk.speech.serving.jobs import View
from dagsverk.speech.serving.service import Answer, Both, Decoding, Loading, Transcribing
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.words import counted, number
from ui import parts
from ui.look import FOLDER
from ui.parts import Html
from ui.speech import player
from ui.speech.desk import SpeechDesk
from ui.speech.differences import Compared, compared
from ui.speech.parts import clock, seconds

SCRIPT = (FOLDER / "scripts" / "beside.js").read_text(encoding="utf-8")
ROUTE = "/api/jobs/{id}/before-training"
OFFER = "Compare with the model before training"
NAMES = "before training", "now"
HELP = (
    "Marked words stand on one side only; case and punctuation are not compared. Nobody has checked either "
    "text: play a line to hear which is right."
)
JUST_S = 0.01  # that windows may overlap for the rounding of their ends


def add_beside_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """Beside a job's answer: the same recording by the model before training."""

    @app.post(ROUTE, status_code=202, summary="Queue a job's recording for the model before training")
    def begin(id: str) -> dict[str, Any]:
        return compare(speech.jobs, id).to_dict()

    @app.get(ROUTE, include_in_schema=False)
    def look(id: str) -> dict[str, Any]:
        """What the page shows of it."""
        beside = speech.jobs.beside(id)
        return {"state": "none"} if beside is None else shown(speech, id, beside)


def offer(both: Both) -> Html | str:
    """The button below an answer, where there is something to compare it with."""
    if not (both.job and was_tuned(both.original.model)):
        return ""
    stop = '<button type="button" data-stop hidden>Stop comparing</button>'
    return Html(
        f'<div class="dv-beside" data-job="{parts.text(both.job)}"><div class="dv-ways">'
        f'<button type="button" data-compare>{OFFER}</button>{stop}</div>'
        '<div class="dv-note dv-working" hidden><span role="status"></span>'
        '<progress aria-label="Progress of the comparison"></progress></div>'
        '<div data-result aria-live="off" hidden></div></div>'
    )


def shown(speech: SpeechDesk, id: str, beside: View) -> dict[str, Any]:
    """Of a comparison: its job, what is being done and how far it is; at the end words, and the HTML."""
    if beside.state == "failed":
        bad = parts.note("They could not be compared:", f"{beside.error}.", bad=True)
        return {"job": beside.id, "state": "failed", "words": "", "html": bad}
    if beside.state == "done":
        after, before = speech.jobs.view(id).result, speech.jobs.view(beside.id).result
        if after is None or before is None:
            raise NoJob("the answer is no longer kept")
        words, html = comparison(after.original, before.original)
        return {"job": beside.id, "state": "done", "words": words, "html": html}
    words, share = _progress(beside)
    return {"job": beside.id, "state": beside.state, "words": words, "share": share}


def _progress(beside: View) -> tuple[str, float | None]:
    stage = beside.stage
    if isinstance(stage, Decoding):
        return "Reading the recording …", None
    if isinstance(stage, Loading):
        return "Loading the model before training …", None
    if isinstance(stage, Transcribing):
        share = stage.done_s / stage.total_s if stage.total_s else 0.0
        done = f"{clock(stage.done_s)} of {clock(stage.total_s)}"
        return f"The model before training writes it down: {done}", share
    return "Waiting for its turn …", None


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, and what each model wrote of it."""

    start_s: float
    end_s: float
    before: str
    after: str


def stretches(before: Sequence[Segment], after: Sequence[Segment]) -> list[Stretch]:
    """Segments of both in time; those that overlap are one stretch."""
    groups: list[tuple[list[Segment], list[Segment]]] = []
    end_s = 0.0
    everything = [(segment, 0) for segment in before] + [(segment, 1) for segment in after]
    for segment, side in sorted(everything, key=lambda pair: pair[0].start_s):
        if not groups or segment.start_s >= end_s - JUST_S:
            groups.append(([], []))
            end_s = segment.end_s
        groups[-1][side].append(segment)
        end_s = max(end_s, segment.end_s)
    return [_stretch(*group) for group in groups]


def _stretch(before: Sequence[Segment], after: Sequence[Segment]) -> Stretch:
    own = [*before, *after]
    texts = (" ".join(one.text for one in some) for some in (before, after))
    return Stretch(min(one.start_s for one in own), max(one.end_s for one in own), *texts)


def comparison(after: Answer, before: Answer) -> tuple[str, Html]:
    """(what came out, in a sentence; the lines that differ, and the text before training to take along)"""
    code = "en" if after.transcript.task == "translate" else after.language.code
    lines = stretches(before.transcript.segments, after.transcript.segments)
    pairs = [(line, compared(line.before, line.after, code, NAMES)) for line in lines]
    differing = [pair for pair in pairs if not pair[1].same]
    help = HELP if differing else ""
    took = f"{name_before(after.model)} took {seconds(before.took_s)} for its text. {help}"
    pieces = [
        parts.element("h3", "Before training and now"),
        parts.element("p", took, "soft small"),
        _table(after, differing, code) if differing else "",
        _ways(before.transcript.text, code) if before.transcript.text else "",
    ]
    return _outcome([texts for _, texts in pairs]), parts.join(*pieces)


def _outcome(lines: Sequence[Compared]) -> str:
    differing = [line for line in lines if not line.same]
    if not lines:
        return "Neither model heard words in it."
    if not differing:
        return f"Both wrote the same words, in {counted(len(lines), 'line')}."
    edits, of = sum(line.edits for line in lines), sum(line.words for line in lines)
    rest = len(lines) - len(differing)
    alike = f" In {counted(rest, 'other line')} both wrote the same words." if rest else ""
    differ = "differs" if edits == 1 else "differ"
    return f"{number(edits)} of {counted(of, 'word')} {differ}, in {counted(len(differing), 'line')}.{alike}"


def _table(after: Answer, lines: Sequence[tuple[Stretch, Compared]], code: str) -> Html:
    names = f"Before training: {name_before(after.model)}", f"Now: version {after.model.version}"
    heads = parts.join(*(parts.element("span", words) for words in ("Time", *names)))
    items = [parts.element("li", heads, "heads")]
    for line, texts in lines:
        at = parts.element("div", player.line_button(line.start_s, line.end_s), "dv-at")
        sides = [
            parts.element("div", parts.join(_whose(name), _text(text, code)))
            for name, text in zip(names, (texts.first, texts.second), strict=True)
        ]
        items.append(parts.element("li", parts.join(at, *sides)))
    return Html(f'<ul class="dv-transcript both dv-compared">{parts.join(*items)}</ul>')


def _text(text: Html, code: str) -> Html:
    return Html(f'<p lang="{code}">{text or "–"}</p>')


def _whose(name: str) -> Html:
    return parts.element("span", name, "dv-whose")


def _ways(text: str, code: str) -> Html:
    address = f"data:text/plain;charset=utf-8,{quote(text + chr(10))}"
    return Html(
        f'<div class="dv-ways"><a download="before-training-{code}.txt" href="{address}">'
        "Text before training</a></div>"
    )
