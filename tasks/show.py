"""What a step leaves in the Prefect UI: artefacts under fixed keys, and events. Outside a run: nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import TaskRunContext
from prefect.events import emit_event

from dagsverk.store import Commit, Table
from dagsverk.tabular.pictures import confusion_picture

if TYPE_CHECKING:
    from dagsverk.tabular.monitoring import Report

METRICS = ("accuracy", "auc", "log_loss", "brier", "ece")
MAX_REJECTS = 50  # shown; all are in the table


def in_a_run() -> bool:
    """False when a task's function is called as a plain function."""
    return TaskRunContext.get() is not None


def ingested(system: str, facts: Mapping[str, Any], rejects: pd.DataFrame) -> None:
    counts = f"{facts['rows_in']} rows in from {facts['source']}, {facts['rows_set_aside']} set aside"
    columns = ["line", "column", "check", "value"]
    table(f"{system}-set-aside", rejects[columns].head(MAX_REJECTS), f"{counts}; first {MAX_REJECTS} reasons")


def trained(system: str, facts: Mapping[str, Any]) -> None:
    """All classes compared, and the gate's decision in words."""
    rows = [
        {"model": row["model_class"], **{name: _interval(row[name]) for name in METRICS}}
        for row in facts["compared"]
    ]
    table(f"{system}-models", pd.DataFrame(rows), "Cross-validated on real rows, means with 95 % intervals")
    verdict = "Promoted" if facts["promoted"] else "Not promoted"
    warnings = "".join(f"\n- Warning: {warning}" for warning in facts["warnings"])
    news = "" if facts["new"] else "\n\nNothing new to learn since: the rows and settings are the same."
    text = f"**{verdict}.** {facts['decision']}{news}\n\nRule: {facts['rule']}\n{warnings}"
    markdown(f"{system}-decision", text, f"Version {facts['version']}: the gate's decision")


def synthesised(system: str, facts: Mapping[str, Any]) -> None:
    row = {name: facts[name] for name in ("date", "method", "seed", "count", "inserted")}
    quality = {f"quality: {name}": value for name, value in facts["quality"].items()}
    table(
        f"{system}-new-rows", pd.DataFrame([{**row, **quality}]), "The day's synthetic rows and their quality"
    )


def monitored(system: str, report: Report) -> None:
    """The confusion matrix as a picture; alerts as a list, and as one event each."""
    picture(
        f"{system}-confusion", confusion_picture(report.confusion), "Unseen rows with an outcome, all history"
    )
    lines = [f"- {alert.message}" for alert in report.alerts] or ["No alert."]
    markdown(f"{system}-alerts", "\n".join(lines), f"Alerts at {report.made_at:%Y-%m-%d %H:%M} UTC")
    for alert in report.alerts:
        event(f"dagsverk.alert.{alert.kind}", f"dagsverk.system.{system}", {"message": alert.message})


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


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
