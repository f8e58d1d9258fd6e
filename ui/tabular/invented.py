"""What a page shows of synthetic rows: apart from real ones, and never as accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagsverk.tabular.monitoring import Report
from dagsverk.tabular.summary import agreement
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import SYNTHETIC
from ui import parts
from ui.parts import Head, Html, percent

MOST_LISTED = 5
VERDICTS = {True: "as labelled", False: "not as labelled", None: "–"}
WHY = "Their labels were drawn by the generator: to agree with them is not to be right."


def is_invented(row: Mapping[Any, Any]) -> bool:
    """Whether a row of the history is a synthetic one."""
    return row.get("origin") == SYNTHETIC


def badge() -> Html:
    return parts.chip("invented")


def sentence(report: Report) -> str:
    """What is to be said where only invented rows have labels; empty where there are none."""
    agreed = agreement(report.invented.correct, report.invented.outcomes)
    return f"Invented rows: {agreed}." if agreed else ""


def card(report: Report, system: System) -> Html:
    """The newest invented rows, and how the predictions of all of them agree with the generator."""
    tally = report.invented
    if not tally.predictions:
        return Html("")
    heads = [Head(title=system.row_name.capitalize()), Head(title="Day"), Head(title="Predicted")]
    heads += [Head(title="Probability", numeric=True), Head(title="Generator's label"), Head(title="Agrees")]
    rows = [_row(system, row) for row in tally.last.head(MOST_LISTED).to_dict("records")]
    caption = f"The newest {len(rows)} of {tally.predictions:,} invented rows predicted, newest first"
    note = f"{sentence(report)} {WHY}".strip()
    links = "" if report.predictions else downloads(system)
    return parts.card("Invented rows", note, parts.table(caption, heads, rows), links)


def downloads(system: System) -> Html:
    """Links to all predictions as files, those of invented rows marked as such."""
    csv, parquet = (
        parts.link(words, f"api/predictions/{system.name}.{words.lower()}") for words in ("CSV", "Parquet")
    )
    words = parts.join("All predictions with inputs and probabilities: ", csv, ", ", parquet)
    return parts.element("p", words, "soft small")


def _row(system: System, row: Mapping[Any, Any]) -> list[object]:
    label = row["outcome"]
    return [
        parts.short(row["row_id"]),
        f"{row['event_time']:%Y-%m-%d}",
        system.label.words(row["prediction"]),
        percent(row["probability"]),
        "–" if parts.is_missing(label) else system.label.words(label),
        verdict(row["correct"]),
    ]


def verdict(agrees: Any) -> Html:
    """Without the colours of right and wrong."""
    return parts.chip(VERDICTS[None if parts.is_missing(agrees) else bool(agrees)])
