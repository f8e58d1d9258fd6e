"""The charts of the pages, each with its baseline."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ui.look import GREY, SEA, SEA_WASH, SUN, chart_layout, date_axis

HEIGHT_PX = 320


def accuracy_over_time(series: pd.DataFrame, promised: float | None, window_rows: int) -> go.Figure:
    """Rolling accuracy with its Wilson band, each day's own accuracy, and the accuracy promised at training.

    Args:
        series: columns of `monitoring.accuracy_series`, a row per day.
        promised: share of 1; None: no line.
        window_rows: how many rows the rolling accuracy looks back on.
    """
    figure = go.Figure(layout=chart_layout(HEIGHT_PX))
    days, axis = series["date"].dt.strftime("%Y-%m-%d"), date_axis(series["date"])
    _add_interval(figure, days, series)
    figure.add_scatter(
        x=days, y=series["accuracy"], mode="markers", name="that day alone",
        marker={"color": GREY, "size": 6, "opacity": 0.6}, customdata=series["n"],
        hovertemplate="%{y:.0%} of %{customdata} rows",
    )  # fmt: skip
    figure.add_scatter(
        x=days, y=series["rolling_accuracy"], mode="lines+markers" if len(series) < 3 else "lines",
        name=f"last {window_rows} rows", line={"color": SEA, "width": 3}, hovertemplate="%{y:.1%}",
    )  # fmt: skip
    if promised is not None:
        whole = [axis["range"][0], *days, axis["range"][1]]
        figure.add_scatter(
            x=whole, y=[promised] * len(whole), mode="lines",
            name=f"promised {promised:.1%}", line={"color": SUN, "width": 2, "dash": "dash"},
            hovertemplate="%{y:.1%}",
        )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", range=_range(series, promised), title_text="right predictions")
    figure.update_xaxes(axis)
    return figure


def agreement_over_time(series: pd.DataFrame, window_rows: int) -> go.Figure:
    """How often invented rows were predicted as the generator labelled them; grey, for it is no accuracy.

    Args: series, window_rows: as for `accuracy_over_time`.
    """
    figure = go.Figure(layout=chart_layout(HEIGHT_PX))
    days, axis = series["date"].dt.strftime("%Y-%m-%d"), date_axis(series["date"])
    figure.add_scatter(
        x=days, y=series["rolling_accuracy"], mode="lines+markers" if len(series) < 3 else "lines",
        name=f"last {window_rows} invented rows", line={"color": GREY, "width": 2, "dash": "dot"},
        hovertemplate="%{y:.1%}",
    )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", range=[0, 1.03], title_text="as the generator labelled")
    figure.update_xaxes(axis)
    return figure


def _add_interval(figure: go.Figure, days: pd.Series, series: pd.DataFrame) -> None:
    """A band; of a single day, which has no width, a whisker."""
    if len(series) == 1:
        only = series.iloc[0]
        figure.add_scatter(
            x=days, y=[only["rolling_accuracy"]], mode="markers", name="95% interval", hoverinfo="skip",
            marker={"color": SEA, "size": 9},
            error_y={
                "array": [only["rolling_high"] - only["rolling_accuracy"]],
                "arrayminus": [only["rolling_accuracy"] - only["rolling_low"]],
                "color": SEA, "thickness": 2, "width": 8,
            },
        )  # fmt: skip
        return
    figure.add_scatter(
        x=pd.concat([days, days[::-1]]), y=pd.concat([series["rolling_high"], series["rolling_low"][::-1]]),
        fill="toself", fillcolor=SEA_WASH, mode="none", name="95% interval", hoverinfo="skip",
    )  # fmt: skip


def _range(series: pd.DataFrame, promised: float | None) -> list[float]:
    """From a round tenth below everything drawn to just above 100 %."""
    lowest = min(series["rolling_low"].min(), series["accuracy"].min(), 1.0 if promised is None else promised)
    return [max(0.0, (lowest * 10 // 1) / 10 - 0.02), 1.03]
