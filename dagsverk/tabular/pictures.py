"""A picture for each outcome: the system's own SVG, or a plain one drawn from the words."""

from __future__ import annotations

import hashlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dagsverk.tabular.system import System

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent / "systems" / "pictures"
CELL, LEFT, TOP = 92, 150, 96  # px of the confusion matrix


def picture(system: System, outcome: str) -> str:
    """SVG of the outcome, with a label for those who do not see it."""
    if outcome not in system.classes:
        raise ValueError(f"{system.name} has no outcome {outcome!r}; known: {', '.join(system.classes)}")
    file = FOLDER / f"{system.name}_{outcome}.svg"
    return file.read_text(encoding="utf-8") if file.is_file() else _drawn(system, outcome)


def _drawn(system: System, outcome: str) -> str:
    """The outcome's initial on a colour of its own, for systems that bring no pictures."""
    hue = int(hashlib.sha256(f"{system.name}/{outcome}".encode()).hexdigest()[:4], 16) % 360
    words = escape(system.label.words(outcome))
    return (
        f'<svg viewBox="0 0 320 200" role="img" aria-label="{words}" xmlns="http://www.w3.org/2000/svg">\n'
        f'<rect width="320" height="200" rx="14" fill="hsl({hue} 45% 32%)"/>\n'
        f'<circle cx="160" cy="84" r="54" fill="hsl({hue} 50% 46%)"/>\n'
        f'<text x="160" y="106" font-size="60" font-family="sans-serif" text-anchor="middle" fill="#fff">'
        f"{words[:1].upper()}</text>\n"
        f'<text x="160" y="176" font-size="22" font-family="sans-serif" text-anchor="middle" fill="#fff">'
        f"{words}</text>\n</svg>\n"
    )


def confusion_picture(confusion: pd.DataFrame) -> str:
    """The confusion matrix as SVG: rows are what happened, columns what was predicted, darker is more.

    Args: confusion: counts, shape (classes, classes), both indexed by class.
    """
    classes, counts = [str(name) for name in confusion.columns], confusion.to_numpy()
    most = max(1, int(counts.max()))
    parts = []
    for i, name in enumerate(classes):
        parts.append(_text(LEFT - 12, TOP + i * CELL + CELL / 2, name, "end"))
        parts.append(_text(LEFT + i * CELL + CELL / 2, TOP - 12, name, "middle"))
        parts += [_cell(i, j, int(counts[i, j]), most) for j in range(len(classes))]
    width, height = LEFT + len(classes) * CELL + 20, TOP + len(classes) * CELL + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="Confusion matrix">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f"{_text(LEFT, 36, 'predicted →', 'start')}{_text(16, TOP - 12, 'actual ↓', 'start')}"
        f"{''.join(parts)}</svg>"
    )


def _cell(i: int, j: int, count: int, most: int) -> str:
    x, y, share = LEFT + j * CELL, TOP + i * CELL, count / most
    hue = 152 if i == j else 12  # right: green; wrong: red; the place says the same to those who see neither
    ink = "#fff" if share > 0.6 else "#1f2937"
    return (
        f'<rect x="{x}" y="{y}" width="{CELL - 4}" height="{CELL - 4}" rx="8" '
        f'fill="hsl({hue} 45% {96 - 60 * share:.0f}%)"/>'
        f"{_text(x + CELL / 2 - 2, y + CELL / 2 + 7, str(count), 'middle', ink, 22)}"
    )


def _text(x: float, y: float, words: str, anchor: str, ink: str = "#1f2937", size: int = 15) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-family="sans-serif" font-size="{size}" '
        f'fill="{ink}">{escape(words)}</text>'
    )
