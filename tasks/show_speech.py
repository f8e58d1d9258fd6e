"""What a speech step leaves in the Prefect UI: progress, tables and decisions, under fixed keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast
from uuid import UUID

import pandas as pd
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from dagsverk.promotion import Registration
from dagsverk.speech.evaluation.modes import NAMES
from dagsverk.speech.evaluation.report import Interval, TwoModes
from dagsverk.speech.exports import Export
from dagsverk.speech.languages import Language
from dagsverk.speech.searched_words import searched_words
from dagsverk.speech.searching import SearchedSpeech
from dagsverk.speech.steps import Finetuned, Prepared, Registered
from dagsverk.speech.training.progress import Progress, Quiet, Several, TensorBoard, Throttled
from dagsverk.words import counted, interval, voices
from tasks.show import decided, in_a_run, markdown, table

UPDATE_S = 2.0  # least time between two updates of a progress artefact

BESIDE = ("set_aside", "mixed", "seen", "at")  # of a training: not in its row


def prepared(language: Language, step: Prepared) -> None:
    """Clips, seconds and speakers of each split; why clips were set aside."""
    rows = [{"split": name, **asdict(split)} for name, split in step.splits.items()]
    set_aside = [{"reason": reason, "clips": n} for reason, n in step.set_aside.items()]
    table(f"{language.name}-clips", pd.DataFrame(rows), f"Clips from {step.corpus}, set {step.set}")
    table(f"{language.name}-clips-set-aside", pd.DataFrame(set_aside), "Clips that are not used, and why")
    if step.copies or step.copies_left_out:
        copies = [{"copies": step.copies, "what": "used in training"}]
        copies += [{"copies": n, "what": f"left out: {why}"} for why, n in step.copies_left_out.items()]
        table(f"{language.name}-clips-copied", pd.DataFrame(copies), "Changed copies of train's clips")
    suspicious = [
        {"kind": kind, "clips": one.clips, "in test": one.test_clips, "such as": one.examples[0].detail}
        for kind, one in (step.suspicious or {}).items()
    ]
    near = [
        {"texts": kind, "clips": one.clips, "such as": one.examples[0].detail}
        for kind, one in (step.near_texts or {}).items()
    ]
    table(f"{language.name}-texts-nearly-the-same", pd.DataFrame(near), "But for spelling, numbers or a word")
    what = "Clips that are used, and whose text may not be what is said in them"
    table(f"{language.name}-clips-suspicious", pd.DataFrame(suspicious), what)


def finetuned(language: Language, step: Finetuned) -> None:
    row = {name: value for name, value in asdict(step).items() if name not in BESIDE}
    what = f"Run {step.run}: the checkpoint that is best on dev"
    table(f"{language.name}-training", pd.DataFrame([row]), what)
    if step.mixed:
        sets = [{"set": step.set, "corpus": "the run's own", "seen": step.seen.get(step.set)}]
        sets += [
            {"set": one.set, "corpus": one.corpus, "seen": step.seen.get(one.set), "of": one.clips}
            | {f"left out: {reason}": count for reason, count in one.left_out.items()}
            for one in step.mixed
        ]
        table(f"{language.name}-mixture", pd.DataFrame(sets), "Clips that were trained on, by set")


def registered(language: Language, step: Registered) -> None:
    """Candidate, base and champion on the same test clips; the gate's decision in words."""
    rows = [row for row in (step.candidate, step.champion_row, step.base) if row]
    scores = [
        {
            "model": row.name,
            "WER": _interval(row.wer),
            "CER": _interval(row.cer),
            "WER by Whisper's rules": _interval(row.whisper_wer) if row.whisper_wer else "",
            "WER, new sentences": _interval(row.unseen_wer) if row.unseen_wer else "",
        }
        for row in rows
    ]
    scores += _modes(step.candidate.name, step.modes) if step.modes else []
    cut = f"; the test set is a cut: {step.cut.clips} of {step.cut.of} clips" if step.cut else ""
    clips = f"{counted(step.clips, 'clip')} of {voices(step.speakers)}"
    what = f"Test: {clips}, 95 % intervals{cut}"
    table(f"{language.name}-scores", pd.DataFrame(scores), what)
    checks = "".join(
        f"\n- {'passed' if check.passed else 'FAILED'}: {check.name}, {check.detail}" for check in step.checks
    )
    decided(f"{language.name}-decision", language.model_name, step, step.reason, f"\n\nChecks:\n{checks}")


def _modes(name: str, modes: TwoModes) -> list[dict[str, str]]:
    """A row per mode, and what became of it."""
    verdicts = {mode: "refused" if one.refused else "allowed" for mode, one in modes.scores.items()}
    verdicts[modes.served] = "served"
    return [
        {
            "model": f"{name}, {NAMES[mode]}: {verdicts[mode]}",
            "WER": _interval(score.wer),
            "CER": _interval(score.cer),
        }
        for mode, score in modes.scores.items()
    ]


def adopted(language: Language, registration: Registration) -> None:
    decided(f"{language.name}-decision", language.model_name, registration, registration.reason)


def searched(language: Language, report: SearchedSpeech) -> None:
    """Whether the search was worth it, what it would set, and what it cost."""
    what = "Search for better settings of fine-tuning: the default compared"
    markdown(f"{language.name}-search", searched_words(report), what)


def exported(language: Language, made: Export) -> None:
    """Each form beside the weights, in each mode; what was not published, and why."""
    rows = [
        {
            "form": one.form,
            "mode": NAMES[parity.windows],
            "same tokens": f"{100 * parity.agreement:.2f} % of {parity.tokens}",
            "clips at near ties": f"{parity.near_ties} of {parity.clips}",
            "wrong words": f"{parity.word_errors}, of the weights {parity.word_errors_of_weights}",
            "published": one.refused or f"{one.bytes / 1e6:.0f} MB",
        }
        for one in made.forms
        for parity in one.parity
    ]
    what = f"{made.model} version {made.version} in other forms, checked on {made.checked_on}"
    table(f"{language.name}-export", pd.DataFrame(rows), what)


def _interval(rate: Interval) -> str:
    return interval(rate.value, rate.low, rate.high)


class TrainingProgress(Quiet):
    """A bar in the Prefect UI, which a person watches while a model is fine-tuned. Outside a run: nothing."""

    def __init__(self, language: Language) -> None:
        self._key = f"{language.name}-progress"
        self._total = 1
        self._on_dev = ""
        self._artefact: UUID | None = None

    def started(self, run: str, total_steps: int, resumed_from: int) -> None:
        self._total = total_steps
        begun = f"run {run} of {total_steps} steps"
        self._show(resumed_from, f"{begun}, resumed after step {resumed_from}" if resumed_from else begun)

    def step(self, step: int, loss: float, learning_rate: float, clips_per_s: float) -> None:
        words = f"step {step} of {self._total}, loss {loss:.3f}, {clips_per_s:.0f} clips/s{self._on_dev}"
        self._show(step, f"{words}, learning rate {learning_rate:.2g}")

    def validated(self, step: int, dev_loss: float, dev_wer: float, dev_cer: float) -> None:
        self._on_dev = f"; at step {step} on dev: loss {dev_loss:.3f}, WER {dev_wer:.3f}, CER {dev_cer:.3f}"

    def finished(self, step: int) -> None:
        self._show(self._total, f"done; step {step} is best on dev{self._on_dev}")

    def _show(self, step: int, words: str) -> None:
        if not in_a_run():
            return
        done = 100.0 * step / self._total
        if self._artefact is None:
            made = create_progress_artifact(done, key=self._key, description=words)
            self._artefact = cast(UUID, made)  # in a task that is not async
        else:
            update_progress_artifact(self._artefact, progress=done, description=words)


def training_progress(language: Language) -> Progress:
    """What a training is told to: the Prefect UI every two seconds, and TensorBoard."""
    return Several(Throttled(TrainingProgress(language), UPDATE_S), TensorBoard())
