"""A learning curve as a picture: points with intervals, the law with its band, up to four times the data.

Lines are SVG that stretches, words stand beside it as HTML that does not; colours are the style sheet's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dagsverk.learning_curve import CurveFit, LawPoint
from dagsverk.report.figures import ticks
from ui import parts
from ui.parts import Html

WIDTH, HEIGHT = 1000, 320
LOOKS = ("sea", "sun")  # of the first curve and a second one: told apart by the shape of their points, too
LEAST_APART = 0.2  # of the width, between two sizes that are written below

Say = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A curve of a chart."""

    name: str
    fit: CurveFit


@dataclass(frozen=True)
class _Axes:
    left: float  # logarithms of sizes
    right: float
    below: float
    above: float

    def x(self, size: float) -> float:
        return WIDTH * (math.log(size) - self.left) / (self.right - self.left)

    def y(self, error: float) -> float:
        return HEIGHT * (1 - (error - self.below) / (self.above - self.below))


def chart(curves: Sequence[Drawn], *, x_title: str, y_title: str, say_size: Say, say_error: Say) -> Html:
    """Args: curves: one or two, of the same units."""
    axes, marks = _axes(curves)
    grid = "".join(f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
                   for y in (axes.y(mark) for mark in marks))  # fmt: skip
    now = axes.x(curves[0].fit.size_now)
    line = f'<line class="now" x1="{now:.1f}" x2="{now:.1f}" y1="0" y2="{HEIGHT}"/>'
    layers = "".join(_curve(one.fit, axes, look) for one, look in zip(curves, LOOKS, strict=False))
    dots = "".join(_dots(one, axes, look, say_error) for one, look in zip(curves, LOOKS, strict=False))
    beside = "".join(_mark("top", axes.y(mark) / HEIGHT, say_error(mark)) for mark in marks)
    under = "".join(
        _mark("left", axes.x(size) / WIDTH, say_size(size)) for size in _sizes(curves[0].fit, axes)
    )
    legend = "".join(
        f'<li class="{look}">{parts.text(one.name)}</li>' for one, look in zip(curves, LOOKS, strict=False)
    )
    words = parts.text("; ".join(_in_words(one, say_size, say_error) for one in curves))
    return Html(
        f'<figure class="dv-curve"><figcaption class="small soft">{parts.text(y_title)}</figcaption>'
        f'<div class="plot"><div class="y" aria-hidden="true">{beside}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{words}">'
        f'{grid}{line}{layers}</svg><div class="dots" aria-hidden="true">{dots}</div>'
        f'<div class="x" aria-hidden="true">{under}</div></div>'
        f'<p class="small soft">{parts.text(x_title)}; the dashed upright is all that there is now</p>'
        f'<ul class="legend">{legend}</ul></figure>'
    )


def _axes(curves: Sequence[Drawn]) -> tuple[_Axes, list[float]]:
    sizes, errors = [], []
    for one in curves:
        fit = one.fit
        sizes += [point.size for point in fit.points] + [fit.size_now] + [at.size for at in _law(fit)]
        errors += [end for point in fit.points for end in (point.low, point.high, point.error)]
        errors += [end for at in _law(fit) for end in (at.low, at.high, at.error)]
    marks = ticks(max(0.0, min(errors)), max(errors))
    left, right = math.log(min(sizes)), math.log(max(sizes))
    right = right if right > left else left + 1
    room = 0.02 * (right - left)
    return _Axes(left - room, right + room, marks[0], marks[-1]), marks


def _law(fit: CurveFit) -> Sequence[LawPoint]:
    """What is drawn of the law: nothing where it is not to be trusted."""
    return fit.law if fit.foretells else ()


def _sizes(fit: CurveFit, axes: _Axes) -> list[float]:
    """Sizes that are written below: those of the points and what is foretold, while there is room."""
    listed = [point.size for point in fit.points]
    listed += [forecast.size for forecast in fit.forecasts if _law(fit)]
    kept: list[float] = []
    for size in listed[::-1]:
        if not kept or axes.x(kept[-1]) - axes.x(size) > WIDTH * LEAST_APART:
            kept.append(size)
    return kept


def _curve(fit: CurveFit, axes: _Axes, look: str) -> str:
    law = _law(fit)
    if not law:
        return ""
    above = [(axes.x(at.size), axes.y(at.high)) for at in law]
    below = [(axes.x(at.size), axes.y(at.low)) for at in law]
    middle = [(axes.x(at.size), axes.y(at.error)) for at in law]
    inside = [place for place, at in zip(middle, law, strict=True) if at.size <= fit.size_now]
    beyond = [place for place, at in zip(middle, law, strict=True) if at.size >= fit.size_now]
    return (
        f'<polygon class="band {look}" points="{_places([*above, *below[::-1]])}"/>'
        f'<polyline class="{look}" points="{_places(inside)}"/>'
        f'<polyline class="{look} beyond" points="{_places([*inside[-1:], *beyond])}"/>'
    )


def _places(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _dots(one: Drawn, axes: _Axes, look: str, say: Say) -> str:
    """A dot and a whisker for each point, as HTML: they keep their shape when the picture is stretched."""
    pieces = []
    for point in one.fit.points:
        left = 100 * axes.x(point.size) / WIDTH
        top, high, low = (100 * axes.y(v) / HEIGHT for v in (point.error, point.high, point.low))
        pieces.append(
            f'<i class="reach {look}" style="left:{left:.2f}%;top:{high:.2f}%;height:{low - high:.2f}%"></i>'
            f'<i class="dot {look}" style="left:{left:.2f}%;top:{top:.2f}%" title="{say(point.error)}"></i>'
        )
    return "".join(pieces)


def _mark(side: str, share: float, words: str) -> str:
    edge = " first" if share < 0.03 else " last" if share > 0.97 else ""
    return f'<span class="mark{edge}" style="{side}:{100 * share:.2f}%">{parts.text(words)}</span>'


def _in_words(one: Drawn, say_size: Say, say_error: Say) -> str:
    points = one.fit.points
    way = ", ".join(f"{say_error(point.error)} with {say_size(point.size)}" for point in points)
    return f"{one.name}: {way}"
