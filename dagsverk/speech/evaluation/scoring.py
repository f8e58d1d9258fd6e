"""Word and character error rates, as counts per clip: any rate of any clips is a ratio of their sums.

A rate is edits / reference length, so it can exceed 1. Edits are found by jiwer (least edits of words, or of
characters with spaces among them). A clip of which our normalising leaves no reference is not scored, in no
form, so that all rates are of the same clips; it is counted. Of a clip that Whisper's normaliser leaves no
reference of (all its words stand in brackets), that rate alone is not scored.

Light: loads no learning library, but for Whisper's normaliser, which is asked when models are compared and
not while one is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jiwer
import numpy as np
import pandas as pd

from dagsverk.speech.evaluation.normaliser import UNSPACED, normalise
from dagsverk.speech.evaluation.report import Counts
from dagsverk.speech.evaluation.whisper_normaliser import whisper_normalise

COUNTS = tuple(count.name for count in fields(Counts))
NORMALISED, RAW, WHISPER = "", "raw_", "whisper_"  # before a count's name: of which form of the texts
FORMS = (NORMALISED, RAW, WHISPER)


@dataclass(frozen=True, kw_only=True)
class Rates(Counts):
    """Error rates of a set of clips. NaN where there is nothing to score."""

    wer: float
    cer: float


def count_errors(
    references: Sequence[str], hypotheses: Sequence[str], language: str, forms: Sequence[str] = FORMS
) -> pd.DataFrame:
    """One row per clip: `scored`, and COUNTS of each form of the texts, behind its prefix.

    Counts of a clip that is not scored are 0.
    Args: language: Whisper's code; its rules normalise. forms: of FORMS.
    Raises ValueError when there are not as many references as hypotheses.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses: want a pair per clip"
        )
    normalised = [normalise(text, language) for text in references]
    scored = np.array([bool(text) for text in normalised], dtype=bool)
    columns: dict[str, Any] = {"scored": scored}
    for prefix in forms:
        made = normalised if prefix == NORMALISED else _in_form(references, prefix, language)
        texts = made, _in_form(hypotheses, prefix, language)
        counted = scored & np.array([bool(text.strip()) for text in made], dtype=bool)
        table = _counts(*(_only(of_all, counted) for of_all in texts), joined=language in UNSPACED)
        for name, values in zip(COUNTS, table.T, strict=True):
            columns[prefix + name] = np.zeros(len(scored), dtype=np.int64)
            columns[prefix + name][counted] = values
    return pd.DataFrame(columns)


def _in_form(texts: Sequence[str], form: str, language: str) -> list[str]:
    if form == RAW:
        return list(texts)
    rules = whisper_normalise if form == WHISPER else normalise
    return [rules(text, language) for text in texts]


def total(counts: pd.DataFrame, form: str = NORMALISED) -> Rates:
    """The rates of all clips together, from `count_errors`."""
    sums = {name: int(counts[form + name].sum()) for name in COUNTS}
    edits = sums["substitutions"] + sums["deletions"] + sums["insertions"]
    return Rates(
        wer=_ratio(edits, sums["words"]), cer=_ratio(sums["character_errors"], sums["characters"]), **sums
    )


def word_errors(counts: pd.DataFrame, form: str = NORMALISED) -> pd.Series[int]:
    """Edits of words per clip."""
    return counts[form + "substitutions"] + counts[form + "deletions"] + counts[form + "insertions"]


def _ratio(errors: int, length: int) -> float:
    return errors / length if length else float("nan")


def _only(texts: list[str], scored: np.ndarray) -> list[str]:
    return [text for text, kept in zip(texts, scored, strict=True) if kept]


def _counts(references: list[str], hypotheses: list[str], *, joined: bool) -> np.ndarray:
    """(clips, COUNTS) from two passes of jiwer. `joined`: spaces between words are not written."""
    if not references:
        return np.zeros((0, len(COUNTS)), dtype=np.int64)
    words = _edits(jiwer.process_words, references, hypotheses)
    if joined:
        references, hypotheses = ([text.replace(" ", "") for text in t] for t in (references, hypotheses))
    characters = _edits(jiwer.process_characters, references, hypotheses)
    spoken = words[:, 0] + words[:, 1] + words[:, 2]
    written = characters[:, 0] + characters[:, 1] + characters[:, 2]
    return np.column_stack([spoken, words, written, characters[:, 1:].sum(axis=1)])


_COLUMN = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}


def _edits(process: Callable[..., Any], references: list[str], hypotheses: list[str]) -> np.ndarray:
    """(clips, 4): hits, substitutions, deletions, insertions."""
    edits = np.zeros((len(references), 4), dtype=np.int64)
    for row, alignment in zip(edits, process(references, hypotheses).alignments, strict=True):
        for chunk in alignment:
            length = (
                chunk.hyp_end_idx - chunk.hyp_start_idx
                if chunk.type == "insert"
                else chunk.ref_end_idx - chunk.ref_start_idx
            )
            row[_COLUMN[chunk.type]] += length
    return edits
