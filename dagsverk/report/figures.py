"""Charts without a script: lines as SVG that stretches, all words beside them as HTML that does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dagsverk import markup
from dagsverk.markup import Html

MOST_POINTS = 600  # of a line; what is longer is thinned, and each part keeps its least and greatest value
WIDTH, HEIGHT = 1000, 300  # of the drawing, in its own units: it is stretched to what there is

Say = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart: (x, y) by x, and a class of the style sheet: sea, sun, grey or dash."""

    name: str
    points: Sequence[tuple[float, float]]
    look: str = "sea"


@dataclass(frozen=True, kw_only=True)
class Whisker:
    """A row of a chart: a value with its limits."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    look: str = "sea"


def lines(drawn: Sequence[Line], *, x_title: str, y_title: str, say_x: Say, say_y: Say) -> Html:
    """A chart of lines from zero, or from the least value where that is below it; empty without a point."""
    kept = [
        (line, [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)]) for line in drawn
    ]
    kept = [(line, points) for line, points in kept if points]
    if not kept:
        return Html("")
    xs = [x for _, points in kept for x, _ in points]
    ys = [y for _, points in kept for _, y in points]
    x_ticks, y_ticks = ticks(min(0.0, *xs), max(xs)), ticks(min(0.0, *ys), max(ys))
    left, right, below, above = x_ticks[0], max(xs[0], *xs), y_ticks[0], y_ticks[-1]
    right = right if right > left else x_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return (x - left) / (right - left), 1 - (y - below) / (above - below)

    paths = markup.join(*(_path(line, [place(*point) for point in thinned(points)]) for line, points in kept))
    grid = "".join(_rule(place(left, y)[1]) for y in y_ticks)
    picture = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{markup.text(_told(kept, x_title, y_title, say_y))}">{grid}{paths}</svg>'
    )
    beside = "".join(_mark("top", place(left, y)[1], say_y(y)) for y in y_ticks)
    under = "".join(_mark("left", place(x, below)[0], say_x(x)) for x in x_ticks if x <= right)
    legend = "".join(f'<li class="{line.look}">{markup.text(line.name)}</li>' for line, _ in kept)
    return Html(
        f'<figure class="dv-chart"><figcaption class="small soft">{markup.text(y_title)}</figcaption>'
        f'<div class="plot"><div class="y" aria-hidden="true">{beside}</div>{picture}'
        f'<div class="x" aria-hidden="true">{under}</div></div>'
        f'<p class="x-title small soft">{markup.text(x_title)}</p><ul class="legend">{legend}</ul></figure>'
    )


def whiskers(rows: Sequence[Whisker], say: Say, title: str, *, from_zero: bool = True) -> Html:
    """A line for each row: its value as a dot, its interval as a bar; empty where nothing has a value."""
    rows = [row for row in rows if row.value is not None and math.isfinite(row.value)]
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    ends = [end for end in ends if math.isfinite(end)]
    if not ends:
        return Html("")
    marks = ticks(min(0.0, *ends) if from_zero else min(ends), max(ends))
    least, span = marks[0], marks[-1] - marks[0]
    drawn = markup.join(*(_whisker(row, least, span, say) for row in rows))
    under = "".join(_mark("left", (mark - least) / span, say(mark)) for mark in marks)
    return Html(
        f'<figure class="dv-whiskers"><figcaption class="small soft">{markup.text(title)}</figcaption>'
        f'{drawn}<div class="scale" aria-hidden="true"><div class="x">{under}</div></div></figure>'
    )


def _whisker(row: Whisker, least: float, span: float, say: Say) -> Html:
    at = 100 * ((row.value or 0.0) - least) / span
    bar, words = "", ""
    if row.low is not None and row.high is not None and math.isfinite(row.low + row.high):
        start, width = 100 * (row.low - least) / span, 100 * (row.high - row.low) / span
        bar = f'<i class="bar" style="left:{start:.2f}%;width:{width:.2f}%"></i>'
        words = f" ({say(row.low)} to {say(row.high)})"
    return Html(
        f'<div class="row {row.look}"><span class="name">{markup.text(row.name)} '
        f'<span class="soft">{markup.text(say(row.value or 0.0) + words)}</span></span>'
        f'<div class="track" aria-hidden="true">{bar}<i class="dot" style="left:{at:.2f}%"></i></div></div>'
    )


def _told(kept: Sequence[tuple[Line, list[tuple[float, float]]]], x: str, y: str, say: Say) -> str:
    ways = (f"{line.name} from {say(points[0][1])} to {say(points[-1][1])}" for line, points in kept)
    return f"{y} by {x}: {'; '.join(ways)}"


def _path(line: Line, points: Sequence[tuple[float, float]]) -> Html:
    if len(points) == 1:  # a line of one point is not seen
        points = [points[0], (min(1.0, points[0][0] + 0.006), points[0][1])]
    placed = " ".join(f"{WIDTH * x:.1f},{HEIGHT * y:.1f}" for x, y in points)
    return Html(f'<polyline class="{line.look}" points="{placed}"/>')


def _rule(share: float) -> str:
    y = HEIGHT * share
    return f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _mark(side: str, share: float, words: str) -> str:
    edge = " first" if share < 0.02 else " last" if share > 0.98 else ""
    return f'<span class="mark{edge}" style="{side}:{100 * share:.2f}%">{markup.text(words)}</span>'


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS, in order; of each part the least and the greatest, so that no peak is lost."""
    if len(points) <= MOST_POINTS:
        return list(points)
    parts, kept = MOST_POINTS // 2 - 1, [points[0]]
    for i in range(parts):
        part = points[i * len(points) // parts : (i + 1) * len(points) // parts]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, evenly spaced, the first at or below `low` and the last at or above `high`."""
    if not high > low:
        low, high = (low - 0.5, low + 0.5) if low else (0.0, 1.0)
    rough = (high - low) / (most - 1)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
