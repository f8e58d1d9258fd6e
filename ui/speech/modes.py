"""The two modes of the shown model on the speech monitor: how it does in either, and which one is served."""

from __future__ import annotations

from dagsverk.speech.config import Windows
from dagsverk.speech.evaluation.modes import FULL, NAMES, OTHER, TRUE_LENGTH
from dagsverk.speech.evaluation.report import EvaluationReport, ModeScore, TwoModes
from dagsverk.store import Model
from dagsverk.words import counted, number
from ui import parts
from ui.parts import Head, Html
from ui.speech.desk import SpeechView
from ui.speech.parts import gap, rate, unbroken

TITLE = "True length and 30 s windows"
SHORT = {TRUE_LENGTH: "true length", FULL: "30 s windows"}
PADDED = (
    "Other programs (transformers’ pipeline, faster-whisper) pad every clip to 30 s: expect of them what is "
    "said here of 30 s windows."
)


def shown_modes(view: SpeechView) -> TwoModes | None:
    """Of the model whose report is shown; None where it was scored in one mode by a version of before."""
    if view.shown is None:
        return None
    key = view.shown.key
    return next((one.modes for one in reversed(view.verdicts) if one.candidate == key and one.modes), None)


def other_reports(view: SpeechView) -> set[str]:
    """Reports of candidates in a mode that they are not served in."""
    both = [one.modes for one in view.verdicts if one.modes]
    keys = {score.report for modes in both for mode, score in modes.scores.items() if mode != modes.served}
    return keys - {one.candidate for one in view.verdicts}


def other_report(view: SpeechView) -> tuple[str, EvaluationReport] | None:
    """The shown model in the mode that it is not served in: the mode's name, and its report there."""
    modes = shown_modes(view)
    score = modes.scores.get(OTHER[modes.served]) if modes else None
    report = view.reports.get(score.report) if score else None
    return (SHORT[OTHER[modes.served]], report) if modes and report else None


def card(view: SpeechView) -> Html:
    """Rates in both modes, and which one is served."""
    modes = shown_modes(view)
    if modes is None:
        words = "They are compared when a checkpoint is scored."
        return parts.card(TITLE, "", parts.empty("Not compared yet", words))
    note = f"{modes.reason[:1].upper()}{modes.reason[1:]}. "
    return parts.card(TITLE, note if modes.left_out else note + PADDED, _table(modes))


def _table(modes: TwoModes) -> Html:
    heads = [Head(title="Clips are heard"), Head(title="WER", numeric=True), Head(title="CER", numeric=True)]
    heads += [Head(title="WER against before", numeric=True), Head(title="Clips", numeric=True)]
    heads += [Head(title="Audio a second", numeric=True), Head(title="Verdict")]
    rows = [_row(mode, score, modes) for mode, score in modes.scores.items()]
    counts = sorted({score.clips for score in modes.scores.values()})
    cut = f"; of one mode {counted(counts[0], 'clip')}, a cut" if len(counts) > 1 else ""
    return parts.table(f"Test set, with 95% intervals{cut}", heads, rows)


def _row(mode: Windows, score: ModeScore, modes: TwoModes) -> list[object]:
    if score.refused:
        verdict = parts.chip("refused ✗", "bad")
    elif mode == modes.served:
        verdict = parts.chip("served ✓", "good")
    else:
        verdict = parts.chip("allowed")
    name, decoding = NAMES[mode], score.decoding
    speed = f"{decoding.audio_s_per_s:,.1f} s ({decoding.device})"
    rates = [unbroken(rate(one)) for one in (score.wer, score.cer)]
    cells = [f"{name[:1].upper()}{name[1:]}", *rates, gap(score.against_base)]
    return [*cells, number(score.clips), speed, verdict]


def listens(model: Model) -> str:
    """In which mode a version is served, and which it is refused for; "" where it does not say."""
    served, modes = model.info.get("windows"), model.info.get("modes") or {}
    for windows in (TRUE_LENGTH, FULL):
        if windows == served:
            other = modes.get(OTHER[windows])
            refused = f"; refused {NAMES[OTHER[windows]]}" if other and not other.get("allowed", True) else ""
            return f"{NAMES[windows]}{refused}"
    return ""
