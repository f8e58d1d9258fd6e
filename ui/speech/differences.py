"""What was said beside what was heard, word by word, as the error rate counts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from dagsverk.speech.evaluation.normaliser import normalise
from ui import parts
from ui.parts import Html

# (kind, said, heard)
Step: TypeAlias = tuple[Literal["same", "instead", "missing", "added"], str, str]


def aligned(said: Sequence[str], heard: Sequence[str]) -> list[Step]:
    """The fewest edits from what was said to what was heard (Levenshtein), in order."""
    rows, columns = len(said) + 1, len(heard) + 1
    cost = [[i + j if not i * j else 0 for j in range(columns)] for i in range(rows)]
    for i in range(1, rows):
        for j in range(1, columns):
            replaced = cost[i - 1][j - 1] + (said[i - 1] != heard[j - 1])
            cost[i][j] = min(replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1)
    return list(_back(said, heard, cost))[::-1]


def _back(said: Sequence[str], heard: Sequence[str], cost: Sequence[Sequence[int]]) -> Iterator[Step]:
    """The steps from the last to the first."""
    i, j = len(said), len(heard)
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (said[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            yield ("same" if said[i] == heard[j] else "instead", said[i], heard[j])
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            yield ("missing", said[i], "")
        else:
            j -= 1
            yield ("added", "", heard[j])


def marked(said: str, heard: str, language: str) -> Html:
    """The normalised words of both: struck out what was not heard, underlined what was not said."""
    steps = aligned(normalise(said, language).split(), normalise(heard, language).split())
    words = " ".join(_mark(*step) for step in steps)
    return Html(f'<p class="dv-diff" lang="{parts.text(language)}">{words or "–"}</p>')


def _mark(kind: str, said: str, heard: str) -> str:
    gone = f'<del><span class="sr-only" lang="en">not heard: </span>{parts.text(said)}</del>' if said else ""
    new = f'<ins><span class="sr-only" lang="en">heard: </span>{parts.text(heard)}</ins>' if heard else ""
    return parts.text(said) if kind == "same" else f"{gone} {new}".strip()
