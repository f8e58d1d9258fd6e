"""What was said beside what was heard, word by word, as the error rate counts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from dagsverk.speech.evaluation.normaliser import normalise
from ui import parts
from ui.parts import Html

# (kind, word of the reference, word of the hypothesis)
Step: TypeAlias = tuple[Literal["same", "instead", "missing", "added"], str, str]


def aligned(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Step]:
    """The fewest edits from what was said to what was heard (Levenshtein), in order."""
    rows, columns = len(reference) + 1, len(hypothesis) + 1
    cost = [[i + j if not i * j else 0 for j in range(columns)] for i in range(rows)]
    for i in range(1, rows):
        for j in range(1, columns):
            replaced = cost[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1])
            cost[i][j] = min(replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1)
    return list(_back(reference, hypothesis, cost))[::-1]


def _back(
    reference: Sequence[str], hypothesis: Sequence[str], cost: Sequence[Sequence[int]]
) -> Iterator[Step]:
    """The steps from the last to the first."""
    i, j = len(reference), len(hypothesis)
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            yield ("same" if reference[i] == hypothesis[j] else "instead", reference[i], hypothesis[j])
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            yield ("missing", reference[i], "")
        else:
            j -= 1
            yield ("added", "", hypothesis[j])


def marked(reference: str, hypothesis: str, language: str) -> Html:
    """The normalised words of both: struck out what was not heard, underlined what was not said."""
    steps = aligned(normalise(reference, language).split(), normalise(hypothesis, language).split())
    words = " ".join(_mark(*step) for step in steps)
    return Html(f'<p class="dv-diff" lang="{parts.text(language)}">{words or "–"}</p>')


def _mark(kind: str, reference: str, hypothesis: str) -> str:
    if kind == "same":
        return parts.text(reference)
    gone = f'<del><span class="sr-only" lang="en">not heard: </span>{parts.text(reference)}</del>'
    new = f'<ins><span class="sr-only" lang="en">heard: </span>{parts.text(hypothesis)}</ins>'
    return " ".join(mark for mark, word in ((gone, reference), (new, hypothesis)) if word)
