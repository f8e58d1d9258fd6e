"""What a step leaves in the Prefect UI: artefacts under fixed keys, and events. Outside a run: nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import TaskRunContext
from prefect.events import emit_event

from dagsverk.promotion import Registration
from dagsverk.records import plain
from dagsverk.report.making import address, command
from dagsverk.store import Commit, Table
from dagsverk.tabular.measures import REPORTED
from dagsverk.tabular.pictures import confusion_picture
from dagsverk.tabular.reports import ComparedClass, Ingested, Synthesised, Trained
from dagsverk.tabular.searched_words import search_words
from dagsverk.tabular.searching import Searched
from dagsverk.words import interval

if TYPE_CHECKING:
    from dagsverk.tabular.monitoring import Report

MAX_REJECTS = 50  # shown; all are in the table


def in_a_run() -> bool:
    """False when a task's function is called as a plain function."""
    return TaskRunContext.get() is not None


def ingested(system: str, report: Ingested, rejects: pd.DataFrame) -> None:
    counts = f"{report.rows_in} rows in from {report.source}, {report.rows_set_aside} set aside"
    columns = ["line", "column", "check", "value"]
    table(f"{system}-set-aside", rejects[columns].head(MAX_REJECTS), f"{counts}; first {MAX_REJECTS} reasons")


def trained(system: str, report: Trained) -> None:
    """All classes compared, and the gate's decision in words."""
    rows = [{"model": compared.model_class, **_metrics(compared)} for compared in report.compared]
    table(f"{system}-models", pd.DataFrame(rows), "Cross-validated on real rows, means with 95 % intervals")
    news = "" if report.new else "\n\nNothing new to learn since: the rows and settings are the same."
    if report.twice and report.twice.rows:
        news = f"\n\n{report.twice.words}{news}"
    decided(f"{system}-decision", system, report, f"{report.decision}{news}")


def decided(key: str, model: str, registration: Registration, reason: str, more: str = "") -> None:
    """The gate's decision on a version, of whichever family; `more`: Markdown that follows its warnings."""
    verdict = "Promoted" if registration.promoted else "Not promoted"
    warnings = "".join(f"\n- Warning: {warning}" for warning in registration.warnings)
    report = _report(model, registration.version)
    text = f"**{verdict}.** {reason}\n\nRule: {registration.rule}\n{warnings}{more}{report}"
    markdown(key, text, f"Version {registration.version}: the gate's decision")


def _report(model: str, version: int) -> str:
    """Where all of the version is to be read: no address of the pages is known here."""
    below = address(model, version)
    return f"\n\nReport: `{command(model, version)}`; on the pages: `/{below}`"


def searched(system: str, report: Searched) -> None:
    """Whether the search was worth it, what it would set, and what it cost."""
    markdown(f"{system}-search", search_words(report), "Search for better settings: the defaults compared")


def synthesised(system: str, report: Synthesised) -> None:
    row = {name: getattr(report, name) for name in ("date", "method", "seed", "count", "inserted")}
    measured = plain(report.quality) if report.quality else {}
    quality = {f"quality: {name}": value for name, value in measured.items()}
    table(
        f"{system}-new-rows", pd.DataFrame([{**row, **quality}]), "The day's synthetic rows and their quality"
    )


def monitored(system: str, report: Report, standing: Sequence[str]) -> None:
    """The confusion matrix as a picture; alerts as a list, and an event when one begins and when it ends.

    Args: standing: keys of the alerts that the last look saw: no event is sent of those again.
    """
    drawn = "Unseen real rows with an outcome, all history"
    picture(f"{system}-confusion", confusion_picture(report.confusion), drawn)
    lines = [f"- {alert.message} {alert.advice}" for alert in report.alerts] or ["No alert."]
    markdown(f"{system}-alerts", "\n".join(lines), f"Alerts at {report.made_at:%Y-%m-%d %H:%M} UTC")
    resource, now = f"dagsverk.system.{system}", {alert.key for alert in report.alerts}
    for alert in report.alerts:
        if alert.key not in standing:
            facts = {"message": alert.message, "advice": alert.advice, "key": alert.key}
            event(f"dagsverk.alert.{alert.kind}", resource, facts)
    for key in standing:
        if key not in now:
            event("dagsverk.alert.ended", resource, {"key": key})


def committed(written: Table, commit: Commit, system: str) -> None:
    """An event that a deployment may be triggered by: rows of this table have changed."""
    if commit.inserted + commit.updated:
        facts = {"system": system, "inserted": commit.inserted, "updated": commit.updated}
        event("dagsverk.table.committed", f"dagsverk.table.{written.name}", facts)


def table(key: str, rows: pd.DataFrame, description: str) -> None:
    if in_a_run():
        cells = rows.astype(object).where(rows.notna(), "").astype(str)
        create_table_artifact(_records(cells), key=key, description=description)


def _records(cells: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in cells.to_dict("records")]


def markdown(key: str, text: str, description: str) -> None:
    if in_a_run():
        create_markdown_artifact(text, key=key, description=description)


def picture(key: str, svg: str, description: str) -> None:
    """The picture travels inside its address, so that the Prefect UI shows it with no other server.

    As Markdown: an image artefact would spell the address out below the picture.
    """
    address = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    markdown(key, f"![{description}]({address})", description)


def event(name: str, resource: str, payload: dict[str, Any]) -> None:
    if in_a_run():
        emit_event(name, {"prefect.resource.id": resource}, payload=payload)


def _metrics(compared: ComparedClass) -> dict[str, str]:
    return {
        name: interval(metric.mean, metric.low, metric.high)
        for name in REPORTED
        for metric in [getattr(compared, name)]
        if metric is not None
    }
