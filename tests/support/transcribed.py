"""Rows of clips that a made-up model transcribed, without sound and without a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation.description import describe, score_clips
from dagsverk.speech.evaluation.report import DecodingSpeed, EvaluationReport, ScoredModel

WORDS = ["hon", "går", "hem", "nu", "med", "en", "röd", "bil", "och", "lite", "mat"]


CONFIG = EvaluationConfig(resamples=300, min_group_clips=20, worst=5)


def transcribed_clips(
    error_share: float,
    *,
    seed: int = 0,
    speakers: int = 8,
    clips: int = 12,
    worse: str = "",
    language: str = "sv",
) -> pd.DataFrame:
    """Per-clip rows of a model that gets `error_share` of the words wrong.

    References depend on nothing but the numbers of speakers and clips, so that models can be compared; the
    errors depend on `seed`. Odd speakers are women; of `worse` twice as many words are wrong.
    """
    spoken, errors = np.random.default_rng(0), np.random.default_rng(seed)
    rows = [
        _clip(f"{speaker:02}-{clip:03}", speaker, spoken, errors, error_share, worse)
        for speaker in range(speakers)
        for clip in range(clips)
    ]
    return score_clips(pd.DataFrame(rows), language)


def _clip(
    name: str,
    speaker: int,
    spoken: np.random.Generator,
    errors: np.random.Generator,
    share: float,
    worse: str,
) -> dict[str, Any]:
    gender = "female" if speaker % 2 else "male"
    words = list(spoken.choice(WORDS, size=spoken.integers(3, 9)))
    wrong = errors.random(len(words)) < share * (2 if gender == worse else 1)
    return {
        "clip_id": name,
        "audio": f"{name}.wav",
        "speaker": f"voice {speaker}",
        "gender": gender,
        "age": "",
        "accent": "",
        "duration_s": len(words) / spoken.uniform(1.0, 4.0),
        "text": " ".join(words).capitalize() + ".",
        "hypothesis": " ".join("fel" if bad else word for word, bad in zip(words, wrong, strict=True)),
        "finished": True,
    }


def made_up_report(rows: pd.DataFrame, key: str, **changes: Any) -> EvaluationReport:
    """A report as `evaluation.evaluate` makes it, of such rows."""
    report = EvaluationReport(
        key=key,
        at="2026-01-01T00:00:00+00:00",
        language="sv",
        model=ScoredModel(fingerprint=key * 8, name="nano"),
        set="sv-0123456789abcdef",
        split="test",
        cut=None,
        config=CONFIG,
        normaliser=1,
        decoding=DecodingSpeed(seconds=1.0, clips_per_s=1.0, audio_s_per_s=1.0, device="cpu", beams=1),
        rows=f"speech/swedish/evaluations/{key}/clips-0.parquet",
        **vars(describe(rows, CONFIG)),
    )
    return replace(report, **changes)
