"""How an error falls as data grows: points, a power law through them, what twice and four times would bring.

    error = a * size ** -b + c,   c >= 0; a may be below 0, so that a flat curve may be seen to be flat

The law is fitted to many replicates of the points, which carry the chance of the test data and of the draws
and seeds. In each, b is drawn by how well it fits: four points hardly tell b from c, and the interval has
to say so. How often such intervals hold what comes out is measured in benchmarks/RESULTS.md; what they are
widened by is from there. Light: loads no learning library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

Floats: TypeAlias = npt.NDArray[np.float64]

TIMES = (2.0, 4.0)  # what is foretold: so many times the data
LEAST_POINTS = 4
EXPONENTS = np.geomspace(0.05, 2.0, 100)
CONFIDENCE = 0.95
BEYOND_CHANCE = 2.5  # standard errors by which a step up is more than chance, among the few that there are
MISFIT_P = 0.01
LAW_HOLDS = 0.005  # of the error: no curve follows the law more closely than so
WIDENING = 1.0  # of the distance from the middle to each end; see RESULTS


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The error with a part of the data."""

    share: float  # of the data
    size: float  # what was fitted on: rows, or seconds of audio
    error: float
    low: float  # 95 %
    high: float
    runs: int  # fits that it is the mean of


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What more data of the same kind would bring."""

    times: float  # so many times the data
    size: float
    error: float
    low: float
    high: float
    gain: float  # by how much the error falls; above 0 is better
    gain_low: float
    gain_high: float


@dataclass(frozen=True, kw_only=True)
class LawPoint:
    """The fitted law at a size, for a chart."""

    size: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class CurveFit:
    """A law through the points, and whether it is to be trusted."""

    points: tuple[CurvePoint, ...]  # by size
    size_now: float  # all the data
    error_now: float  # by the law
    forecasts: tuple[Forecast, ...] = ()  # empty where nothing can be told
    law: tuple[LawPoint, ...] = ()
    exponent: float | None = None  # b, the middle one
    floor: float | None = None  # c, the middle one
    doubts: tuple[str, ...] = ()  # why it is not to be trusted: sentences
    flat: bool = False  # no more falls from the least to the most data than chance explains

    @property
    def foretells(self) -> bool:
        """Whether a gain can be said: the curve is to be trusted, or flat and nothing else is wrong."""
        return bool(self.forecasts) and (not self.doubts or (self.flat and len(self.doubts) == 1))

    @property
    def trusted(self) -> bool:
        """Whether what is foretold rests on a curve that was seen to fall as a power law does."""
        return bool(self.forecasts) and not self.doubts


def fit_curve(
    shares: Sequence[float],
    sizes: Sequence[float],
    replicates: Floats,
    *,
    errors: Sequence[float],
    runs: Sequence[int],
    size_now: float,
    seed: int = 0,
) -> CurveFit:
    """Args:
    sizes: of the points, ascending, above 0.
    replicates: shape (replicates, points): the errors as they might have come out, paired.
    errors: as they came out.
    runs: fits that each point is the mean of.
    size_now: of all the data, that more is counted from.
    """
    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if not (len(x) == len(y) == replicates.shape[1] and np.all(np.diff(x) > 0) and np.all(x > 0)):
        raise ValueError(f"sizes must be ascending, above 0, one per point, got {list(sizes)}")
    low, high = np.quantile(replicates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    points = tuple(
        CurvePoint(share=share, size=size, error=error, low=float(lo), high=float(hi), runs=count)
        for share, size, error, lo, hi, count in zip(shares, map(float, x), map(float, y), low, high, runs,
                                                     strict=True)
    )  # fmt: skip
    flat = len(points) > 1 and not _falls(replicates)
    doubts = _doubts(points, replicates, flat=flat)
    if len(points) < LEAST_POINTS:
        return CurveFit(points=points, size_now=size_now, error_now=float(y[-1]) if len(y) else 0.0,
                        doubts=doubts, flat=flat)  # fmt: skip
    own = own_noise(replicates)
    law = _Law(x, replicates, own, np.random.default_rng(seed))
    if law.misfit_p(y) < MISFIT_P:
        doubts = (*doubts, "the points lie on no power law: something besides the amount of data changes")
    now = law.at(size_now)
    drawn = np.geomspace(x[0], size_now * max(TIMES), 40)
    return CurveFit(
        points=points,
        size_now=size_now,
        error_now=float(np.median(now)),
        forecasts=tuple(_forecast(law, now, size_now, times, flat=flat) for times in TIMES),
        law=tuple(
            LawPoint(size=float(size), **_interval("", law.at(size), least=0.0)) for size in drawn
        ),
        exponent=float(np.median(law.b)),
        floor=float(np.median(law.c)),
        doubts=doubts,
        flat=flat,
    )  # fmt: skip


def own_noise(replicates: Floats) -> Floats:
    """Standard error of each point that it does not share with the others, shape (points,).

    What all points share (the test data are the same) moves the whole curve, and bends it nowhere.
    """
    apart = replicates - replicates.mean(axis=1, keepdims=True)
    noise = apart.std(axis=0) * np.sqrt(replicates.shape[1] / max(1, replicates.shape[1] - 1))
    floor = LAW_HOLDS * max(float(np.abs(replicates).mean()), 1e-9)
    kept: Floats = np.maximum(noise, floor)
    return kept


class _Law:
    """The law fitted to every replicate: one b, a, c for each."""

    def __init__(self, sizes: Floats, replicates: Floats, noise: Floats, rng: np.random.Generator) -> None:
        self._sizes, self._weights, self._unit = sizes, 1 / noise**2, float(sizes[-1])
        fits = [self._given(replicates, b) for b in EXPONENTS]
        losses = np.stack([loss for _, _, loss in fits], axis=1)  # (replicates, exponents)
        chance = np.exp(-(losses - losses.min(axis=1, keepdims=True)) / 2)
        chance /= chance.sum(axis=1, keepdims=True)
        draws = (rng.random((len(replicates), 1)) > np.cumsum(chance, axis=1)).sum(axis=1)
        chosen, rows = np.minimum(draws, len(EXPONENTS) - 1), np.arange(len(replicates))
        self.b = EXPONENTS[chosen]
        self.a = np.stack([a for a, _, _ in fits], axis=1)[rows, chosen]
        self.c = np.stack([c for _, c, _ in fits], axis=1)[rows, chosen]

    def _given(self, replicates: Floats, b: float) -> tuple[Floats, Floats, Floats]:
        """a, c and the weighted squares, where b is known: linear least squares with c >= 0."""
        basis, weights = (self._sizes / self._unit) ** -b, self._weights
        total, wx, wxx = weights.sum(), (weights * basis).sum(), (weights * basis**2).sum()
        wy, wxy = replicates @ weights, replicates @ (weights * basis)
        a = (total * wxy - wx * wy) / (total * wxx - wx**2)
        c = (wy - a * wx) / total
        below = c < 0
        a, c = np.where(below, wxy / wxx, a), np.where(below, 0.0, c)
        losses = ((replicates - a[:, None] * basis - c[:, None]) ** 2) @ weights
        return a, c, losses

    def at(self, size: float) -> Floats:
        """The error at a size, in each replicate."""
        errors: Floats = self.a * (size / self._unit) ** -self.b + self.c
        return errors

    def misfit_p(self, errors: Floats) -> float:
        """Chance of points so far from the best law, were they on one."""
        least = min(float(self._given(errors[None], b)[2][0]) for b in EXPONENTS)
        return float(chdtrc(max(1, len(errors) - 3), least))


def _forecast(law: _Law, now: Floats, size_now: float, times: float, *, flat: bool) -> Forecast:
    then = law.at(size_now * times)
    gain = _interval("gain", now - then)
    if flat:  # points that do not fall beyond chance show no gain, whatever bends through them
        gain["gain_low"] = min(0.0, gain["gain_low"])
    return Forecast(times=times, size=size_now * times, **_interval("", then, least=0.0), **gain)


def _interval(name: str, values: Floats, *, least: float = -np.inf) -> dict[str, Any]:
    """The middle and the widened limits, under the fields' names."""
    low, middle, high = np.quantile(values, [(1 - CONFIDENCE) / 2, 0.5, (1 + CONFIDENCE) / 2])
    low, high = middle - WIDENING * (middle - low), middle + WIDENING * (high - middle)
    names = (name or "error", f"{name}_low" if name else "low", f"{name}_high" if name else "high")
    return dict(zip(names, (float(middle), float(max(least, low)), float(high)), strict=True))


def _falls(replicates: Floats) -> bool:
    """Whether the error falls from the least data to the most, beyond chance."""
    return bool(np.quantile(replicates[:, 0] - replicates[:, -1], (1 - CONFIDENCE) / 2) > 0)


def _doubts(points: Sequence[CurvePoint], replicates: Floats, *, flat: bool) -> tuple[str, ...]:
    sentences = []
    if len(points) < LEAST_POINTS:
        sentences.append(f"there are {len(points)} points, and a law with three numbers wants {LEAST_POINTS}")
    if flat:
        sentences.append("the error falls no more from the least data to the most than chance explains")
    steps = np.diff(replicates, axis=1)
    for i, step in enumerate(steps.T):
        if step.mean() > BEYOND_CHANCE * max(float(step.std()), 1e-12):
            less, more = points[i].share, points[i + 1].share
            sentences.append(f"the error rises from {less:.3g} of the data to {more:.3g}, beyond chance")
    return tuple(sentences)
