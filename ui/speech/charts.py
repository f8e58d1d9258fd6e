"""The charts of the speech monitor: models with their intervals, a run's loss and error rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.runs import Curve
from ui.look import GREY, SEA, SUN, chart_layout

CURVES_PX = 420
ROW_PX, ROOM_PX = 46, 84  # a model's row, and what axis and legend need


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A model on the chart: its name, what it is, its word error rate."""

    name: str
    role: str  # a key of ROLES
    wer: Interval


# colour, symbol: told apart without colour too
ROLES = {
    "before fine-tuning": (GREY, "circle-open"),
    "in use": (SEA, "circle"),
    "the other mode": (SEA, "circle-open"),
    "candidate": (SUN, "diamond"),
}


def error_rates(dots: Sequence[Dot]) -> go.Figure:
    """A row per model: its word error rate, with the 95 % interval as whiskers."""
    figure = go.Figure(layout=chart_layout(ROW_PX * len(dots) + ROOM_PX))
    for role, (colour, symbol) in ROLES.items():
        those = [dot for dot in dots if dot.role == role and dot.wer.value is not None]
        if not those:
            continue
        figure.add_scatter(
            x=[dot.wer.value for dot in those],
            y=[dot.name for dot in those],
            error_x={
                "array": [_reach(dot.wer, dot.wer.high) for dot in those],
                "arrayminus": [_reach(dot.wer, dot.wer.low) for dot in those],
                "color": colour, "thickness": 2, "width": 6,
            },
            mode="markers", name=role,
            marker={"color": colour, "symbol": symbol, "size": 13, "line": {"width": 2, "color": colour}},
            customdata=[[_end(dot.wer.low), _end(dot.wer.high)] for dot in those],
            hovertemplate="%{x:.1%} (95% interval %{customdata[0]} to %{customdata[1]})",
        )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(
        categoryorder="array", categoryarray=[dot.name for dot in dots][::-1], range=[-0.6, len(dots) - 0.4]
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", title_text="word error rate")
    return figure


def _reach(wer: Interval, end: float | None) -> float:
    """From the value to an end of its interval; 0 where it has none."""
    return 0.0 if end is None or wer.value is None else abs(end - wer.value)


def _end(end: float | None) -> str:
    return "unknown" if end is None else f"{end:.1%}"


def learning_curves(curve: Curve, earlier: Sequence[Curve]) -> go.Figure:
    """Above the loss, below the error rates on dev; of earlier runs their word error rate alone.

    Args: curve: of the newest run. earlier: of runs before it.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    layout = chart_layout(CURVES_PX)
    figure.update_layout({name: value for name, value in layout.items() if name not in ("xaxis", "yaxis")})
    _line(figure, 1, curve, "loss", "training loss", GREY, "solid")
    _line(figure, 1, curve, "dev_loss", "dev loss", SUN, "solid")
    for i, other in enumerate(earlier):
        _line(
            figure, 2, other, "dev_wer", "WER of earlier runs", "rgba(128,128,128,.5)", "solid", legend=not i
        )
    _line(figure, 2, curve, "dev_wer", "dev WER", SEA, "solid")
    _line(figure, 2, curve, "dev_cer", "dev CER", SEA, "dot")
    figure.update_xaxes(layout["xaxis"])
    figure.update_yaxes(layout["yaxis"])
    figure.update_xaxes(title_text="steps", tickformat=",d", rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title_text="loss", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="error rate", tickformat=".0%", rangemode="tozero", row=2, col=1)
    return figure


def _line(
    figure: go.Figure,
    row: int,
    curve: Curve,
    key: str,
    name: str,
    colour: str,
    dash: str,
    *,
    legend: bool = True,
) -> None:
    points = [(point.step, value) for point in curve if (value := getattr(point, key, None)) is not None]
    if not points:
        return
    figure.add_scatter(
        x=[step for step, _ in points], y=[value for _, value in points], row=row, col=1, name=name,
        mode="lines+markers" if len(points) < 12 else "lines", showlegend=legend,
        line={"color": colour, "width": 2.5, "dash": dash}, marker={"size": 6},
        hovertemplate="%{y:.3f}" if row == 1 else "%{y:.1%}",
    )  # fmt: skip
