"""What each step of a speech day says of its last run: kept as JSON, read by pages and summaries.

Light: loads no learning library.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import AliasChoices, Field

from dagsverk.promotion import Registration
from dagsverk.records import keep_report, last_report
from dagsverk.speech import runs
from dagsverk.speech.corpora.limited import UNKNOWN_VOICES
from dagsverk.speech.evaluation.report import Checks, Cut, EvaluationReport, Interval, TwoModes
from dagsverk.speech.features.shards import ByHand, Manifest, Rejections, Suspicion
from dagsverk.speech.languages import Language
from dagsverk.speech.mixtures import MixedSet
from dagsverk.speech.runs import CheckpointRef, TrainingPoint, ValidationPoint
from dagsverk.store import Store


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """What a split holds."""

    clips: int
    audio_s: Annotated[float, Field(validation_alias=AliasChoices("audio_s", "seconds"))]  # seconds: of old
    speakers: int  # known ones


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The set of clips that features were made of."""

    set: str
    corpus: str
    new: bool  # not the set of the last report
    clips: int
    audio_s: float
    speakers: int
    splits: Mapping[str, SplitCounts]
    set_aside: Mapping[str, int]  # reason -> clips
    cut: Mapping[str, tuple[int, int]]  # split -> clips kept of how many
    notes: tuple[str, ...]
    heard_test_speakers: int | None  # test speakers who are in training, too; None: nobody knows
    bytes: int
    suspicious: Mapping[str, Suspicion] | None = None  # texts, by kind; None: not looked at
    same_in_train: int | None = None  # clips that train has twice, by their sound; None: not looked for
    near_texts: Mapping[str, Rejections] | None = None  # nearly the same, by where; None: not looked for
    copies: int = 0  # changed ones of train's clips; they are no clips of the set
    copies_left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> copies
    by_hand: ByHand | None = None  # what people decided of its clips; None: as it was prepared
    at: str = field(default_factory=_now)  # ISO 8601, UTC


@dataclass(frozen=True, kw_only=True)
class Finetuned:
    """The run, the step chosen on dev, and its rates there."""

    run: str
    step: int
    steps: int
    model: str
    set: str
    dev_wer: float | None
    dev_cer: float | None
    clips_per_s: float | None  # median
    set_aside: Mapping[str, int]  # reason -> clips
    new: bool  # not the run of the last report
    mixed: tuple[MixedSet, ...] = ()  # what was drawn from other sets of the language
    seen: Mapping[str, int] = field(default_factory=dict)  # set -> clips trained on, as often as each was
    at: str = field(default_factory=_now)


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """A model's normalised rates on the test clips."""

    key: str  # of its report
    name: str
    wer: Interval
    cer: Interval
    substitutions: int
    deletions: int
    insertions: int
    words: int
    whisper_wer: Interval | None = None  # by Whisper's own normaliser
    unseen_wer: Interval | None = None  # of clips whose sentence is not read in train; None: of none


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A version's scores beside those of its base and of the champion until then; kept with the version."""

    candidate: ModelScores
    base: ModelScores
    champion_row: ModelScores | None
    checks: Checks
    clips: int  # of the test set
    speakers: int
    cut: Cut | None
    modes: TwoModes | None = None  # None: of a version that was scored in one mode


@dataclass(frozen=True, kw_only=True)
class Registered(Outcome, Registration):
    """The version that a checkpoint came to, and the gate's decision."""

    pushed: str  # the repository's address; empty: not pushed
    at: str = field(default_factory=_now)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What the steps of a language did last; None before the first run of one."""

    preparation: Prepared | None
    training: Finetuned | None
    evaluation: Registered | None


_NAMES: dict[type, str] = {Prepared: "preparation", Finetuned: "training", Registered: "evaluation"}
Step = TypeVar("Step", Prepared, Finetuned, Registered)


def keep(store: Store, language: Language, step: Prepared | Finetuned | Registered) -> None:
    """Replace what was kept of the step's run before."""
    keep_report(store, language.name, _NAMES[type(step)], step)


def kept(store: Store, language: Language, kind: type[Step]) -> Step | None:
    """What a step did last; None before its first run. Raises StoreError if it is damaged."""
    return last_report(store, language.name, _NAMES[kind], kind)


def last_steps(store: Store, language: Language) -> Steps:
    """What all steps did last."""
    return Steps(
        preparation=kept(store, language, Prepared),
        training=kept(store, language, Finetuned),
        evaluation=kept(store, language, Registered),
    )


def prepared(about: Manifest, *, new: bool) -> Prepared:
    """Clips, seconds, speakers, and why clips were set aside."""
    splits = {
        name: SplitCounts(clips=totals.clips, audio_s=totals.seconds, speakers=totals.speakers)
        for name, totals in about.splits.items()
    }
    copied = about.copies
    return Prepared(
        set=about.id,
        corpus=about.corpus,
        new=new,
        clips=sum(split.clips for split in splits.values()),
        audio_s=about.seconds,
        speakers=sum(split.speakers for split in splits.values()),  # no speaker is in two splits
        splits=splits,
        set_aside={reason: rejections.clips for reason, rejections in about.rejected.items()},
        cut=about.cut,
        notes=about.notes,
        # A set with a speaker in two splits is never made; who is not named may be anyone.
        heard_test_speakers=None if UNKNOWN_VOICES in about.notes else 0,
        bytes=sum(shard.bytes for shard in (*about.shards, *(copied.shards if copied else ()))),
        same_in_train=about.near_duplicates.inside_train if about.near_duplicates else None,
        near_texts=about.near_texts.kinds if about.near_texts else None,
        copies=copied.clips if copied else 0,
        copies_left_out=copied.left_out if copied else {},
        suspicious=about.suspicious,
        by_hand=about.by_hand,
    )


def suspicious_words(step: Prepared, kinds: int = 3) -> str:
    """ "suspicious texts, ...: 38 with a direction in brackets"; "" where none are, or nobody looked."""
    if not step.suspicious:
        return ""
    listed = [f"{one.clips} with {kind}" for kind, one in step.suspicious.items()]
    more = f" and {len(listed) - kinds} kinds more" if len(listed) > kinds else ""
    return f"suspicious texts, used all the same: {', '.join(listed[:kinds])}{more}"


def near_words(step: Prepared) -> str:
    """ "texts that are nearly the same: 3 of test, nearly one of train, ..."; "" where none is."""
    if not step.near_texts:
        return ""
    listed = "; ".join(f"{one.clips} {kind}" for kind, one in step.near_texts.items())
    return f"texts that are the same but for spelling, numbers or a word: {listed}"


def finetuned(store: Store, chosen: CheckpointRef, *, new: bool) -> Finetuned:
    """A finished run, from its settings and its curve."""
    made, curve = runs.run_config(store, chosen.run), runs.curve(store, chosen.run)
    validations = [point for point in curve if isinstance(point, ValidationPoint)]
    best = next((point for point in validations if point.step == chosen.step), None)
    training = [point for point in curve if isinstance(point, TrainingPoint)]
    speeds = sorted(point.clips_per_s for point in training if point.clips_per_s)
    return Finetuned(
        run=chosen.run,
        step=chosen.step,
        steps=made.finetune.steps or chosen.step,
        model=made.finetune.model,
        set=made.set_id,
        dev_wer=best.dev_wer if best else None,
        dev_cer=best.dev_cer if best else None,
        clips_per_s=speeds[len(speeds) // 2] if speeds else None,
        set_aside=made.set_aside,
        new=new,
        mixed=made.mixed,
        seen=runs.clips_seen(store, chosen.run),
    )


def model_scores(report: EvaluationReport) -> ModelScores:
    """A report in one row."""
    scores = report.scores.normalised
    return ModelScores(
        key=report.key,
        name=report.model.name,
        wer=scores.wer,
        cer=scores.cer,
        substitutions=scores.substitutions,
        deletions=scores.deletions,
        insertions=scores.insertions,
        words=scores.words,
        whisper_wer=report.scores.whisper.wer if report.scores.whisper else None,
        unseen_wer=report.unseen.wer if report.unseen else None,
    )
