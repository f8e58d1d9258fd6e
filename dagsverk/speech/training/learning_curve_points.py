"""The points of a language's learning curve: trainings on parts of the clips, scored on the same test."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dagsverk.learning_curve import CurveFit, Floats, fit_curve
from dagsverk.records import read, remembered
from dagsverk.speech import runs
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.bootstrap import bootstrap
from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, word_errors
from dagsverk.speech.evaluation.transcripts import Listening, transcripts
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import Language
from dagsverk.speech.learning_curve import (
    LEAST_SPEAKERS,
    Part,
    SpeakersAgainstMinutes,
    SpeechCurve,
    SpeechCurveConfig,
    SpeechCurvePlan,
    SpeechPoint,
    Way,
)
from dagsverk.speech.runs import CheckpointRef, ValidationPoint
from dagsverk.speech.training.fit import fit, load_checkpoint
from dagsverk.speech.training.progress import Progress, quiet
from dagsverk.speech.training.subset import part_of
from dagsverk.store import Store

RESAMPLES = 2000
LEAST_STEPS = 4


def plan(store: Store, set_id: str, config: SpeechCurveConfig) -> SpeechCurvePlan:
    """What is trained. Raises SpeechError where train or test is empty."""
    about = manifest(store, set_id)
    train, test = about.splits.get("train"), about.splits.get("test")
    if train is None or test is None or not train.clips or not test.clips:
        raise SpeechError(
            f"a learning curve wants clips to train on and clips to test on; {set_id} has "
            f"{train.clips if train else 0} and {test.clips if test else 0}: prepare a larger set"
        )
    ways, notes = list(config.ways), []
    if "speakers" in ways and train.speakers < LEAST_SPEAKERS:
        ways.remove("speakers")
        notes.append(
            f"speakers against minutes cannot be measured: train has {train.speakers} named speakers, and "
            f"that wants {LEAST_SPEAKERS}"
        )
    if not ways:
        raise SpeechError(f"{'; '.join(notes)}; ask for ways: clips, or bring recordings of more speakers")
    smaller = [share for share in config.shares if share < 1]
    seeds = range(config.seeds)
    return SpeechCurvePlan(
        set_id=set_id,
        whole=tuple(Part(share=1.0, way="clips", seed=seed) for seed in seeds),
        parts=tuple(
            Part(share=share, way=way, seed=seed) for way in ways for share in smaller for seed in seeds
        ),
        notes=tuple(notes),
    )


def point_path(language: Language, run: str) -> str:
    """The artefact of a point: a run's name is made of all that it depends on."""
    return f"speech/{language.name}/learning_curve/{run}.json"


def measure(
    store: Store,
    language: Language,
    set_id: str,
    config: SpeechCurveConfig,
    part: Part,
    cache: Path,
    whole: SpeechPoint | None = None,
    progress: Progress = quiet,
) -> SpeechPoint:
    """Train on the part, or find that training; score it on test, once. Goes on exactly where it was stopped.

    Its checkpoints are removed once it is scored, but for those of a training on all clips: that is an
    ordinary run, which others may use.
    Args: whole: of the training on all clips, whose steps count; None: this is one.
    """
    started = time.monotonic()
    chosen = fit(store, set_id, language.code, finetune_of(config, part, whole), progress)
    path = point_path(language, chosen.run)

    def scored() -> SpeechPoint:
        return _scored(store, language, set_id, part, chosen, cache, started)

    point = remembered(store, path, SpeechPoint, scored)
    if part.share < 1:
        store.remove(f"{runs.run_folder(chosen.run)}/checkpoints")
    return point


def finetune_of(config: SpeechCurveConfig, part: Part, whole: SpeechPoint | None) -> FinetuneConfig:
    """The settings of one training."""
    base = replace(config.finetune, seed=config.finetune.seed + part.seed)
    if part.share >= 1 or whole is None:
        return base
    steps = whole.steps
    if config.held == "epochs":
        steps = max(LEAST_STEPS, math.ceil(steps * part.share))
    return replace(base, train_share=part.share, train_by=part.way, steps=steps)


def _scored(
    store: Store,
    language: Language,
    set_id: str,
    part: Part,
    chosen: CheckpointRef,
    cache: Path,
    started: float,
) -> SpeechPoint:
    made = runs.run_config(store, chosen.run)
    model = load_checkpoint(store, chosen, cache)
    test = open_prepared(store, set_id, ("test",), cache)
    listening = Listening(
        model=model, language=language, config=EvaluationConfig(), full_windows=model.windows == "full",
        fingerprint=model.fingerprint(),
    )  # fmt: skip
    texts = transcripts(store, listening, test).texts
    about = test.rows[["id", "speaker", "text"]].merge(texts, left_on="id", right_on="clip_id")
    counts = count_errors(list(about["text"]), list(about["hypothesis"]), language.code, (NORMALISED,))
    kept = counts["scored"].to_numpy(dtype=bool)
    clips = part_of(open_prepared(store, set_id, ("train",), cache), made.finetune).rows
    curve = runs.curve(store, chosen.run)
    best = [one for one in curve if isinstance(one, ValidationPoint) and one.step == chosen.step]
    return SpeechPoint(
        part=part,
        run=chosen.run,
        step=chosen.step,
        steps=made.finetune.steps or chosen.step,
        clips=len(clips),
        audio_s=float(clips["duration_s"].sum()),
        speakers=_named(clips["speaker"]),
        dev_wer=best[0].dev_wer if best else None,
        test_clips=tuple(about["id"][kept].astype(str)),
        test_speakers=tuple(about["speaker"].fillna("")[kept].astype(str)),
        words=tuple(counts["words"][kept].astype(int).tolist()),
        errors=tuple(word_errors(counts)[kept].astype(int).tolist()),
        seconds=time.monotonic() - started,
    )


def _named(speakers: pd.Series[str]) -> int:
    return len(set(speakers.fillna("").astype(str)) - {""})


def read_points(store: Store, language: Language, names: Sequence[str]) -> list[SpeechPoint]:
    """The points of these runs."""
    return [read(store, point_path(language, name), SpeechPoint) for name in names]


def conclude(
    store: Store, plan: SpeechCurvePlan, config: SpeechCurveConfig, points: Sequence[SpeechPoint]
) -> SpeechCurve:
    """The curves through the points. Raises SpeechError where test has nothing to score."""
    first = next(point for point in points if point.part.share >= 1)
    if not sum(first.words):
        raise SpeechError(f"no test clip of {plan.set_id} has a word to score; bring texts")
    about, made = manifest(store, plan.set_id), runs.run_config(store, first.run)
    train = about.splits["train"]
    rates = _Rates(points)
    ways: list[Way] = sorted({point.part.way for point in points if point.part.share < 1})
    notes = list(plan.notes)
    if config.seeds < 2:
        notes.append("one training of each part: its chance is not in the intervals; ask for seeds 2")
    return SpeechCurve(
        set=plan.set_id,
        model=made.finetune.model,
        clips=train.clips,
        audio_s=train.seconds,
        speakers=train.speakers,
        test_clips=len(first.test_clips),
        test_speakers=len(set(first.test_speakers) - {""}),
        steps=first.steps,
        held=config.held,
        seeds=config.seeds,
        fits={way: rates.fit(way) for way in ways},
        against=tuple(rates.against(share) for share in config.shares if share < 1 and len(ways) > 1),
        notes=tuple(notes),
        runs=tuple(point.run for point in points),
        seconds=sum(point.seconds for point in points),
        config=config.to_dict(),
    )


class _Rates:
    """Error rates of all points, as they came out and as they might have: paired over the test speakers."""

    def __init__(self, points: Sequence[SpeechPoint]) -> None:
        self._points = points
        columns = np.column_stack([points[0].words, *(point.errors for point in points)]).astype(float)
        sums = bootstrap(columns, points[0].test_speakers, resamples=RESAMPLES, seed=0)
        self._observed: Floats = sums.observed[1:] / max(1.0, float(sums.observed[0]))
        rates = sums.resampled[:, 1:] / np.maximum(1.0, sums.resampled[:, :1])
        k, drawn = int(sums.speakers[0]), np.random.default_rng(1)
        # as in `bootstrap`: few speakers show a resample less than there is, and Student's t has longer ends
        wide = math.sqrt(k / (k - 1)) if k > 1 else 1.0
        heavy = np.sqrt((k - 1) / drawn.chisquare(k - 1, size=(RESAMPLES, 1))) if k > 1 else 1.0
        self._replicates: Floats = self._observed + (rates - self._observed) * wide * heavy
        self._chance = drawn

    def _of(self, share: float, way: Way) -> list[int]:
        return [
            i for i, point in enumerate(self._points)
            if point.part.share == share and (share >= 1 or point.part.way == way)
        ]  # fmt: skip

    def _spread(self) -> tuple[float, int]:
        """Of trainings that differ in seed and draw alone: their relative spread, and degrees of freedom."""
        groups: dict[tuple[float, Way], list[float]] = {}
        for point, rate in zip(self._points, self._observed, strict=True):
            groups.setdefault((point.part.share, point.part.way), []).append(float(rate))
        squares = [((r - np.mean(g)) / max(float(np.mean(g)), 1e-9)) ** 2 for g in groups.values() for r in g]
        freedom = sum(len(group) - 1 for group in groups.values())
        return (math.sqrt(sum(squares) / freedom), freedom) if freedom else (0.0, 0)

    def mean(self, share: float, way: Way) -> tuple[float, Floats]:
        """The mean rate of a part's trainings, and its replicates with the chance of the seeds."""
        places = self._of(share, way)
        rate, replicates = float(self._observed[places].mean()), self._replicates[:, places].mean(axis=1)
        spread, freedom = self._spread()
        if freedom:
            heavy = np.sqrt(freedom / self._chance.chisquare(freedom, size=RESAMPLES))
            own = self._chance.standard_normal(RESAMPLES) * heavy
            replicates = replicates + rate * spread / math.sqrt(len(places)) * own
        return rate, np.maximum(0.0, replicates)

    def size(self, share: float, way: Way) -> float:
        """Seconds of audio of a part: mean over its trainings."""
        return float(np.mean([self._points[i].audio_s for i in self._of(share, way)]))

    def fit(self, way: Way) -> CurveFit:
        """The law through one way's points, and all clips."""
        shares = sorted({p.part.share for p in self._points if p.part.share >= 1 or p.part.way == way})
        sizes = [self.size(share, way) for share in shares]
        kept = [i for i in range(len(sizes)) if i + 1 == len(sizes) or sizes[i] < min(sizes[i + 1 :])]
        pairs = [self.mean(shares[i], way) for i in kept]
        return fit_curve(
            [shares[i] for i in kept],
            [sizes[i] for i in kept],
            np.column_stack([replicates for _, replicates in pairs]),
            errors=[rate for rate, _ in pairs],
            runs=[len(self._of(shares[i], way)) for i in kept],
            size_now=sizes[-1],
        )

    def against(self, share: float) -> SpeakersAgainstMinutes:
        """At equal minutes, few speakers against many."""
        (few, few_times), (many, many_times) = self.mean(share, "speakers"), self.mean(share, "clips")
        low, high = np.quantile(few_times - many_times, [0.025, 0.975])

        def speakers(way: Way) -> float:
            return float(np.mean([self._points[i].speakers for i in self._of(share, way)]))

        return SpeakersAgainstMinutes(
            share=share,
            audio_s=(self.size(share, "speakers") + self.size(share, "clips")) / 2,
            speakers_few=speakers("speakers"),
            speakers_many=speakers("clips"),
            wer_few=few,
            wer_many=many,
            gain=Interval(few - many, float(low), float(high)),
        )
