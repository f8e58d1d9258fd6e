"""A language's last day in a few lines. Light: loads no learning library."""

from __future__ import annotations

from dagsverk.speech.corpora.limited import UNKNOWN_VOICES
from dagsverk.speech.evaluation.modes import NAMES, OTHER
from dagsverk.speech.evaluation.report import Interval, TwoModes
from dagsverk.speech.languages import Language
from dagsverk.speech.mixtures import MixedSet
from dagsverk.speech.steps import (
    Finetuned,
    ModelScores,
    Prepared,
    Registered,
    last_steps,
    near_words,
    suspicious_words,
)
from dagsverk.store import Store
from dagsverk.words import interval

_MARGIN = 18


def speech_summary(store: Store, language: Language) -> str:
    """Clips in, fine-tuning, test rates of all models with intervals, champion and why, in plain text."""
    steps = last_steps(store, language)
    lines = [
        *(_preparation(steps.preparation) if steps.preparation else ()),
        *(_training(steps.training) if steps.training else ()),
        *(_evaluation(steps.evaluation) if steps.evaluation else ()),
    ]
    return "\n".join(lines) or f"{language.name}: no step has run yet"


def _preparation(step: Prepared) -> list[str]:
    aside = sum(step.set_aside.values())
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(step.set_aside.items()))
    in_training = step.heard_test_speakers
    voices = {None: "", 0: "; test voices unheard in training"}
    words = (
        f"{step.clips} from {step.corpus} ({step.audio_s / 3600:.1f} h, "
        f"{step.speakers} speakers), {aside} set aside{f' ({reasons})' if reasons else ''}"
        f"{voices.get(in_training, f'; {in_training} TEST VOICES WERE HEARD IN TRAINING')}"
    )
    news = [] if step.new else [_line("", "nothing new: this set was prepared before")]
    notes = [_line("", note) for note in step.notes]
    drawn = "" if UNKNOWN_VOICES in step.notes else ", drawn by speaker"
    cuts = [
        _line("", f"{split} cut to {kept} of {of} clips{drawn}") for split, (kept, of) in step.cut.items()
    ]
    doubts = [_line("", doubt)] if (doubt := suspicious_words(step)) else []
    return [_line("clips in", words), *_copies(step), *_twice(step), *notes, *cuts, *doubts, *news]


def _twice(step: Prepared) -> list[str]:
    """Recordings that train has twice, and texts that the set nearly has twice."""
    words = (
        "1 clip of train is another one again, by its sound: it counts twice"
        if step.same_in_train == 1
        else f"{step.same_in_train} clips of train are others again, by their sound: they count twice"
    )
    near = near_words(step)
    return [*([_line("", words)] if step.same_in_train else []), *([_line("", near)] if near else [])]


def _copies(step: Prepared) -> list[str]:
    """Changed copies, if there are any."""
    if not (step.copies or step.copies_left_out):
        return []
    left = ", ".join(f"{count} {reason}" for reason, count in step.copies_left_out.items())
    aside = f"; left out: {left}" if left else ""
    return [_line("", f"and {step.copies} changed copies of train's clips{aside}")]


def _training(step: Finetuned) -> list[str]:
    speed = f", {step.clips_per_s:.1f} clips/s" if step.clips_per_s else ""
    dev = f"dev WER {step.dev_wer:.3f}" if step.dev_wer is not None else "dev not looked at"
    chosen = "" if step.step == step.steps else f" at step {step.step}"
    again = "" if step.new else " (nothing new: this run was finished before)"
    words = f"{step.model}, {step.steps} steps{speed}, {dev}{chosen}{again}"
    return [_line("fine-tuned", words), *(_line("", _mixed(one, step)) for one in step.mixed)]


def _mixed(mixed: MixedSet, step: Finetuned) -> str:
    """What was drawn from another set of the language."""
    own, of = step.seen.get(step.set, 0), step.seen.get(mixed.set, 0)
    aside = ", ".join(f"{count} {reason}" for reason, count in mixed.left_out.items())
    return (
        f"of {mixed.set} ({mixed.corpus}): {of:,} clips beside {own:,} of its own, from {mixed.clips:,}"
        f"{f'; left out: {aside}' if aside else ''}"
    )


def _evaluation(step: Registered) -> list[str]:
    two = step.modes if step.modes and not step.modes.left_out else None
    rows = [("", step.base, "before fine-tuning")]
    if step.champion_row:
        rows.append(("", step.champion_row, "champion until then"))
    lines = [
        _line("test", f"{_rates(step.candidate)}  {NAMES[two.served] if two else ''}".rstrip()),
        *(_other_mode(two) if two else ()),
        *(_line(name, f"{_rates(row)}  {note}") for name, row, note in rows),
    ]
    if step.cut:
        lines.append(_line("", f"on a CUT of test: {step.cut.clips} of {step.cut.of} clips"))
    failed = [f"{check.name}: {check.detail}" for check in step.checks if not check.passed]
    version = f"version {step.champion}" if step.champion else "none yet"
    pushed = [_line("pushed", step.pushed)] if step.pushed else []
    return [
        *lines,
        _line("champion", f"{version}: {step.reason}"),
        *(_line("CHECK FAILED", words) for words in failed),
        *pushed,
    ]


def _other_mode(modes: TwoModes) -> list[str]:
    """How it does in the mode that it is not served in."""
    mode = OTHER[modes.served]
    score = modes.scores[mode]
    words = f"WER {_interval(score.wer)}  CER {_interval(score.cer)}  {NAMES[mode]}"
    words += f", on a CUT of test: {score.cut.clips} of {score.cut.of} clips" if score.cut else ""
    return [_line("", f"{words}: REFUSED, {score.refused}" if score.refused else words)]


def _rates(row: ModelScores) -> str:
    """All rates that are known of a model."""
    words = f"WER {_interval(row.wer)}  CER {_interval(row.cer)}"
    words += f"  by Whisper's rules WER {_interval(row.whisper_wer)}" if row.whisper_wer else ""
    return words + (f"  new sentences WER {_interval(row.unseen_wer)}" if row.unseen_wer else "")


def _interval(rate: Interval) -> str:
    return interval(rate.value, rate.low, rate.high)


def _line(name: str, words: str) -> str:
    return f"  {name:<{_MARGIN - 2}} {words}"
