"""Word and character error rates, as counts per clip: any rate of any clips is a ratio of their sums.

A rate is edits / reference length, so it can exceed 1. Edits are found by jiwer (least edits of words, or of
characters with spaces among them). A clip of which normalising leaves no reference is not scored, neither raw
nor normalised, so that both rates are of the same clips; it is counted. Light: loads no learning library.
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

COUNTS = tuple(count.name for count in fields(Counts))
RAW = "raw_"  # before a count's name: of the texts as they are written


@dataclass(frozen=True, kw_only=True)
class Rates(Counts):
    """Error rates of a set of clips. NaN where there is nothing to score."""

    wer: float
    cer: float


def count_errors(references: Sequence[str], hypotheses: Sequence[str], language: str) -> pd.DataFrame:
    """One row per clip: `scored`, COUNTS of the normalised texts, and COUNTS of the raw ones behind RAW.

    Counts of a clip that is not scored are 0. Args: language: Whisper's code; its rules normalise.
    Raises ValueError when there are not as many references as hypotheses.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses: want a pair per clip"
        )
    normalised = [normalise(text, language) for text in references]
    normalised_hypotheses = [normalise(text, language) for text in hypotheses]
    scored = np.array([bool(text) for text in normalised], dtype=bool)
    joined = language in UNSPACED
    columns: dict[str, Any] = {"scored": scored}
    forms = (("", normalised, normalised_hypotheses), (RAW, list(references), list(hypotheses)))
    for prefix, *texts in forms:
        table = _counts(*(_only(of_all, scored) for of_all in texts), joined=joined)
        for name, values in zip(COUNTS, table.T, strict=True):
            columns[prefix + name] = np.zeros(len(scored), dtype=np.int64)
            columns[prefix + name][scored] = values
    return pd.DataFrame(columns)


def total(counts: pd.DataFrame, *, raw: bool = False) -> Rates:
    """The rates of all clips together, from `count_errors`."""
    prefix = RAW if raw else ""
    sums = {name: int(counts[prefix + name].sum()) for name in COUNTS}
    edits = sums["substitutions"] + sums["deletions"] + sums["insertions"]
    return Rates(
        wer=_ratio(edits, sums["words"]), cer=_ratio(sums["character_errors"], sums["characters"]), **sums
    )


def word_errors(counts: pd.DataFrame, *, raw: bool = False) -> pd.Series[int]:
    """Edits of words per clip."""
    prefix = RAW if raw else ""
    return counts[prefix + "substitutions"] + counts[prefix + "deletions"] + counts[prefix + "insertions"]


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
