"""A language's last day in a few lines. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagsverk.records import kept_report
from dagsverk.speech.languages import Language
from dagsverk.store import Store

STEPS = ("preparation", "training", "evaluation")
_MARGIN = 18


def speech_summary(store: Store, language: Language) -> str:
    """Clips in, fine-tuning, test rates of all models with intervals, champion and why, in plain text.

    Tells what `dagsverk.records.keep_report` kept under the language's name for STEPS.
    """
    words = {"preparation": _preparation, "training": _training, "evaluation": _evaluation}
    steps = {step: kept_report(store, language.name, step) for step in STEPS}
    told = [line for step, facts in steps.items() if facts for line in words[step](facts)]
    return "\n".join(told) or f"{language.name}: no step has run yet"


def _preparation(facts: Mapping[str, Any]) -> list[str]:
    aside = sum(facts["set_aside"].values())
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(facts["set_aside"].items()))
    heard = facts["heard_test_speakers"]
    voices = {None: "", 0: "; test voices unheard in training"}
    words = (
        f"{facts['clips']} from {facts['corpus']} ({facts['audio_s'] / 3600:.1f} h, "
        f"{facts['speakers']} speakers), {aside} set aside{f' ({reasons})' if reasons else ''}"
        f"{voices.get(heard, f'; {heard} TEST VOICES WERE HEARD IN TRAINING')}"
    )
    news = [] if facts["new"] else [_line("", "nothing new: this set was prepared before")]
    notes = [_line("", note) for note in facts["notes"]]
    cuts = [_line("", f"{split} cut to {cut}") for split, cut in _cuts(facts["cut"]).items()]
    return [_line("clips in", words), *notes, *cuts, *news]


def _cuts(cut: Mapping[str, Any]) -> dict[str, str]:
    return {split: f"{kept} of {of} clips, drawn by speaker" for split, (kept, of) in cut.items()}


def _training(facts: Mapping[str, Any]) -> list[str]:
    speed = f", {facts['clips_per_s']:.1f} clips/s" if facts.get("clips_per_s") else ""
    dev = f"dev WER {facts['dev_wer']:.3f}" if facts.get("dev_wer") is not None else "dev not looked at"
    chosen = "" if facts["step"] == facts["steps"] else f" at step {facts['step']}"
    again = "" if facts["new"] else " (nothing new: this run was finished before)"
    return [_line("fine-tuned", f"{facts['model']}, {facts['steps']} steps{speed}, {dev}{chosen}{again}")]


def _evaluation(facts: Mapping[str, Any]) -> list[str]:
    rows = [("test", facts["candidate"], "")]
    rows += [("", facts["base"], "before fine-tuning")]
    rows += [("", facts["champion_row"], "champion until then")] if facts["champion_row"] else []
    lines = [
        _line(name, f"WER {_interval(row['wer'])}  CER {_interval(row['cer'])}  {note}".rstrip())
        for name, row, note in rows
    ]
    if facts["cut"]:
        lines.append(_line("", f"on a CUT of test: {facts['cut']['clips']} of {facts['cut']['of']} clips"))
    failed = [f"{trap['name']}: {trap['detail']}" for trap in facts["traps"] if not trap["passed"]]
    version = f"version {facts['champion']}" if facts["champion"] else "none yet"
    pushed = [_line("pushed", facts["pushed"])] if facts["pushed"] else []
    return [
        *lines,
        _line("champion", f"{version}: {facts['reason']}"),
        *(_line("CHECK FAILED", words) for words in failed),
        *pushed,
    ]


def _interval(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "nothing to score"
    ends = "[no interval]" if found["low"] is None else f"[{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['value']:.3f} {ends}"


def _line(name: str, words: str) -> str:
    return f"  {name:<{_MARGIN - 2}} {words}"
