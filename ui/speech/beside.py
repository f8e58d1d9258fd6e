"""The model before training beside the one in use, on the same recording: which words differ, line by line.

The answer offers it; the work is a job of its own (`dagsverk.speech.serving.comparing`): a reload finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

from fastapi import FastAPI
from pydantic import BaseModel, Field

from dagsverk.speech.corpora.recordings import MAX_LETTERS
from dagsverk.speech.evaluation.normaliser import UNSPACED
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, total, word_errors
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
from ui.speech.corrections import Second
from ui.speech.desk import SpeechDesk
from ui.speech.differences import Compared, compared
from ui.speech.parts import clock, seconds

SCRIPT = (FOLDER / "scripts" / "beside.js").read_text(encoding="utf-8")
ROUTE = "/api/jobs/{id}/before-training"
OFFER = "Compare with the model before training"
NAMES = "before training", "now"
MOST_CORRECTED = 2000  # lines of an answer
HELP = (
    "Marked words stand on one side only; case and punctuation are not compared. Nobody has checked either "
    "text: play a line to hear which is right."
)
JUST_S = (
    0.3  # that a line may reach into the next one: where a window was parted, words have times of their own
)


class Corrected(BaseModel, extra="forbid"):
    """A line of the answer as it was corrected by hand."""

    start_s: Second
    end_s: Second
    text: Annotated[str, Field(max_length=4 * MAX_LETTERS["text"])]


class Asked(BaseModel, extra="forbid"):
    """What the page asks with."""

    corrected: Annotated[list[Corrected], Field(max_length=MOST_CORRECTED)] = Field(default_factory=list)


def add_beside_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """Beside a job's answer: the same recording by the model before training."""

    @app.post(ROUTE, status_code=202, summary="Queue a job's recording for the model before training")
    def begin(id: str) -> dict[str, Any]:
        return compare(speech.jobs, id).to_dict()

    @app.post(f"{ROUTE}/shown", include_in_schema=False)
    def look(id: str, asked: Asked) -> dict[str, Any]:
        """What the page shows of it."""
        beside = speech.jobs.beside(id)
        return {"state": "none"} if beside is None else shown(speech, id, beside, asked.corrected)


def offer(both: Both) -> Html | str:
    """The button below an answer, where there is something to compare it with."""
    if not (both.job and was_tuned(both.original.model)):
        return ""
    stop = '<button type="button" data-stop hidden>Stop comparing</button>'
    return Html(
        f'<div class="dv-beside" aria-live="off" data-job="{parts.text(both.job)}"><div class="dv-ways">'
        f'<button type="button" data-compare>{OFFER}</button>{stop}</div>'
        '<div class="dv-note dv-working" hidden><span><span role="status"></span> '
        '<span data-at aria-hidden="true"></span></span>'
        '<progress aria-label="Progress of the comparison"></progress></div>'
        "<div data-result hidden></div></div>"
    )


def shown(speech: SpeechDesk, id: str, beside: View, corrected: Sequence[Corrected] = ()) -> dict[str, Any]:
    """Of a comparison: its job, what is being done and how far it is; at the end words, and the HTML."""
    if beside.state == "failed":
        bad = parts.note("They could not be compared:", f"{beside.error}.", bad=True)
        return {"job": beside.id, "state": "failed", "words": "", "at": "", "html": bad}
    if beside.state == "done":
        after, before = speech.jobs.view(id).result, speech.jobs.view(beside.id).result
        if after is None or before is None:
            raise NoJob("the answer is no longer kept")
        words, html = comparison(after.original, before.original, corrected)
        return {"job": beside.id, "state": "done", "words": words, "at": "", "html": html}
    return {"job": beside.id, "state": beside.state, **_progress(beside)}


def _progress(beside: View) -> dict[str, Any]:
    """Words to be announced, how far it is for the eye alone, and as a share; None: nobody knows."""
    stage = beside.stage
    if isinstance(stage, Decoding):
        return {"words": "Reading the recording …", "at": "", "share": None}
    if isinstance(stage, Loading):
        return {"words": "Loading the model before training …", "at": "", "share": None}
    if isinstance(stage, Transcribing):
        share = stage.done_s / stage.total_s if stage.total_s else 0.0
        at = f"{clock(stage.done_s)} of {clock(stage.total_s)}"
        return {"words": "The model before training writes it down:", "at": at, "share": share}
    return {"words": "Waiting for its turn …", "at": "", "share": None}


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, and what each model wrote of it."""

    start_s: float
    end_s: float
    before: str
    after: str
    corrected: str = ""  # by hand; "" unless all of it is


def stretches(
    before: Sequence[Segment], after: Sequence[Segment], corrected: Sequence[Corrected] = ()
) -> list[Stretch]:
    """Segments of both in time; those that overlap are one stretch."""
    by_hand = {_hundredths(one.start_s, one.end_s): one.text for one in corrected}
    groups: list[tuple[list[Segment], list[Segment]]] = []
    end_s = 0.0
    everything = [(segment, 0) for segment in before] + [(segment, 1) for segment in after]
    for segment, side in sorted(everything, key=lambda pair: pair[0].start_s):
        if not groups or end_s - segment.start_s <= min(JUST_S, (segment.end_s - segment.start_s) / 2):
            groups.append(([], []))
            end_s = segment.end_s
        groups[-1][side].append(segment)
        end_s = max(end_s, segment.end_s)
    return [_stretch(*group, by_hand) for group in groups]


_Place: TypeAlias = tuple[int, int]


def _hundredths(start_s: float, end_s: float) -> _Place:
    """By which a line is known again: the page is given its times so."""
    return round(100 * round(start_s, 2)), round(100 * round(end_s, 2))


def _stretch(before: Sequence[Segment], after: Sequence[Segment], by_hand: Mapping[_Place, str]) -> Stretch:
    own = [*before, *after]
    wrote, writes = (" ".join(one.text for one in some) for some in (before, after))
    corrected = [by_hand.get(_hundredths(one.start_s, one.end_s), "") for one in after]
    whole = " ".join(corrected) if all(corrected) else ""
    return Stretch(min(one.start_s for one in own), max(one.end_s for one in own), wrote, writes, whole)


def comparison(after: Answer, before: Answer, corrected: Sequence[Corrected] = ()) -> tuple[str, Html]:
    """(what came out, in a sentence; the lines that differ, and the text before training to take along)

    Lines that were corrected are shown, too, and say how many words of each model were wrong there.
    """
    code = "en" if after.transcript.task == "translate" else after.language.code
    lines = stretches(before.transcript.segments, after.transcript.segments, corrected)
    pairs = [(line, compared(line.before, line.after, code, NAMES)) for line in lines]
    differing = [pair for pair in pairs if not pair[1].same or pair[0].corrected]
    help = HELP if differing else ""
    took = f"{name_before(after.model)} took {seconds(before.took_s)} for its text. {help}"
    pieces = [
        parts.element("h3", "Before training and now"),
        parts.element("p", took, "soft small"),
        _against_corrections([line for line in lines if line.corrected], code),
        _table(after, differing, code) if differing else "",
        _ways(before.transcript.text, code) if before.transcript.text else "",
    ]
    unit = "character" if code in UNSPACED else "word"
    return _outcome([texts for _, texts in pairs], unit), parts.join(*pieces)


def _outcome(lines: Sequence[Compared], unit: str) -> str:
    differing = [line for line in lines if not line.same]
    if not lines:
        return "Neither model heard words in it."
    if not differing:
        return f"Both wrote the same {unit}s, in {counted(len(lines), 'line')}."
    edits, of = sum(line.edits for line in lines), sum(line.words for line in lines)
    rest = len(lines) - len(differing)
    alike = f" In {counted(rest, 'other line')} both wrote the same {unit}s." if rest else ""
    differ = "differs" if edits == 1 else "differ"
    return f"{number(edits)} of {counted(of, unit)} {differ}, in {counted(len(differing), 'line')}.{alike}"


def _against_corrections(lines: Sequence[Stretch], code: str) -> Html | str:
    """How many words of each model were wrong, where somebody wrote down what is right."""
    references = [line.corrected for line in lines]
    rates = []
    for texts in ([line.before for line in lines], [line.after for line in lines]):
        counts = count_errors(references, texts, code, forms=(NORMALISED,))
        rates.append((int(word_errors(counts).sum()), total(counts).words))
    (before, words), (after, _) = rates
    if not words:
        return ""
    unit = "character" if code in UNSPACED else "word"
    return parts.element(
        "p",
        f"By what was corrected, in {counted(len(lines), 'line')} with {counted(words, unit)}: "
        f"before training {number(before)} wrong, now {number(after)}.",
        "dv-fixed",
    )


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
        right = _corrected(line.corrected, code) if line.corrected else ""
        items.append(parts.element("li", parts.join(at, *sides, right)))
    return Html(f'<ul class="dv-transcript both dv-compared">{parts.join(*items)}</ul>')


def _text(text: Html, code: str) -> Html:
    return Html(f'<p lang="{code}">{text or "–"}</p>')


def _corrected(text: str, code: str) -> Html:
    return Html(f'<p class="dv-fixed">Corrected: <span lang="{code}">{parts.text(text)}</span></p>')


def _whose(name: str) -> Html:
    return parts.element("span", name, "dv-whose")


def _ways(text: str, code: str) -> Html:
    address = f"data:text/plain;charset=utf-8,{quote(text + chr(10))}"
    return Html(
        f'<div class="dv-ways"><a download="before-training-{code}.txt" href="{address}">'
        "Text before training</a></div>"
    )
