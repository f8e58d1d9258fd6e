"""The page that watches one system: how right its predictions are, what came in, which model answers."""

from __future__ import annotations

from typing import Any

import gradio as gr

from dagsverk.store import StoreError
from dagsverk.tabular.system import System
from ui import frame, parts
from ui.tabular import charts, sections
from ui.tabular.desk import TabularDesk, Version, View

UNREADABLE: Version = (-1,)  # what a page remembers after the store did not answer
OUTPUTS = 9


def build(demo: gr.Blocks, system: System, desk: TabularDesk, refresh_s: float) -> None:
    """The page of one system, inside its route; it looks for news every `refresh_s` seconds."""
    words = f"How the predictions for {system.title} turn out. This page follows the store by itself."
    frame.head(desk.systems, frame.monitor_path(system), f"{system.title} monitor", words)
    seen = gr.State(None)
    trouble = frame.block()
    top = frame.block(parts.page(parts.loading(f"Reading how {system.title} does …")), min_height_px=320)
    with gr.Column(elem_classes="dv-block", visible=False) as over_time:
        heading = frame.block()
        plot = gr.Plot(show_label=False, container=False)
    rest = frame.block()
    with gr.Accordion("The champion's card", open=False, elem_classes="dv-block", visible=False) as below:
        card = gr.Markdown(container=False)
    frame.foot()

    def refresh(version: Version | None) -> list[Any]:
        return look(system, desk, version)

    gr.on(
        [demo.load, gr.Timer(refresh_s).tick],
        refresh,
        seen,
        [seen, trouble, top, over_time, heading, plot, rest, below, card],
        api_visibility="private",
        show_progress="hidden",
        concurrency_limit=4,
        concurrency_id="refresh",
        trigger_mode="once",
    )


def look(system: System, desk: TabularDesk, version: Version | None) -> list[Any]:
    """Updates for the page that shows `version`; none at all when there is no news.

    While the store does not answer, what was read last stays, below a line that says so.
    """
    try:
        if version is not None and desk.version(system) == version:
            return [gr.skip()] * OUTPUTS
        view = desk.view(system)
    except (StoreError, OSError) as error:
        if version == UNREADABLE:
            return [gr.skip()] * OUTPUTS
        trouble = parts.page(sections.trouble(error, version is not None))
        top = "" if version is None else gr.skip()  # nothing is being read any more
        return [UNREADABLE, trouble, top, *[gr.skip()] * (OUTPUTS - 3)]
    return [view.version, "", *_drawn(view)]


def _drawn(view: View) -> list[Any]:
    """Everything below the line of trouble; before a system's first day that is little."""
    report = view.report
    chart = gr.Plot(visible=False)
    if len(report.series):
        figure = charts.accuracy_over_time(report.series, report.accuracy.promised, report.window_rows)
        chart = gr.Plot(figure, visible=True)
    elif len(report.invented.series):
        chart = gr.Plot(charts.agreement_over_time(report.invented.series, report.window_rows), visible=True)
    return [
        parts.page(sections.overview(view)),
        gr.Column(visible=not view.blank),
        parts.page(sections.accuracy(view)),
        chart,
        parts.page(sections.details(view)),
        gr.Accordion(visible=bool(view.card)),
        view.card,
    ]
