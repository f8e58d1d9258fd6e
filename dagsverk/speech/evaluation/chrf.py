"""chrF: how alike two texts are, by the runs of characters that they share. For translations.

Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", with the choices of sacrebleu's
`chrF2` (runs of 1 to 6 characters, spaces left out, recall counted twice), so that figures compare. Own, as
its counts are needed clip by clip: over clips they are summed, so an interval can be had by resampling.

Light: loads no learning library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LONGEST = 6  # characters of a run
RECALL_WEIGHT = 2.0  # beta
COLUMNS = 3 * LONGEST  # of each length: runs of the text, runs of the reference, runs that they share

Floats = npt.NDArray[np.float64]


def chrf_counts(texts: Sequence[str], references: Sequence[str]) -> Floats:
    """(clips, COLUMNS): what `chrf` needs of each text and its reference. Case counts, spaces do not."""
    if len(texts) != len(references):
        raise ValueError(f"{len(texts)} texts and {len(references)} references: want a pair per clip")
    pairs = zip(texts, references, strict=True)
    return np.array([_counts(*pair) for pair in pairs], dtype=np.float64).reshape(-1, COLUMNS)


def chrf(sums: Floats) -> Floats:
    """The score in [0, 1] of summed counts, shape (..., COLUMNS); NaN where the references are empty."""
    written, wanted, shared = (sums[..., place::3] for place in range(3))
    counted = (written > 0) & (wanted > 0)
    orders = np.maximum(1, counted.sum(-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counted, shared / written, 0.0).sum(-1) / orders
        recall = np.where(counted, shared / wanted, 0.0).sum(-1) / orders
        weight = RECALL_WEIGHT**2
        score = (1 + weight) * precision * recall / (weight * precision + recall)
    nothing_shared = np.where(precision + recall > 0, score, 0.0)
    return np.where(wanted[..., 0] > 0, nothing_shared, np.nan)


def _counts(text: str, reference: str) -> list[int]:
    counts: list[int] = []
    for length in range(1, LONGEST + 1):
        written, wanted = _runs(text, length), _runs(reference, length)
        # as sacrebleu: where the reference is too short to have such runs, the text's do not count either
        counts += [written.total() if wanted else 0, wanted.total(), (written & wanted).total()]
    return counts


def _runs(text: str, length: int) -> Counter[str]:
    letters = "".join(text.split())
    return Counter(letters[start : start + length] for start in range(len(letters) - length + 1))
