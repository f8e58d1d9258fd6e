"""A system's last day in a few lines, from what the last run of each step kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagsverk.records import kept_report
from dagsverk.store import Store

STEPS = ("features", "training", "synthesis", "inference", "monitoring")


def day_summary(store: Store, system: str) -> str:
    """The system's last day in plain text: rows, models with intervals, champion and why, accuracy so far."""
    steps = {step: kept_report(store, system, step) for step in STEPS}
    told = [_WORDS[step](facts) for step, facts in steps.items() if facts]
    return "\n".join(line for lines in told for line in lines) or f"{system}: no step has run yet"


def _features(facts: Mapping[str, Any]) -> list[str]:
    news = _news(facts["inserted"], facts["updated"], "rows")
    gone = f"; {facts['rows_gone']} known rows are not in this source (kept)" if facts["rows_gone"] else ""
    aside = f"{facts['rows_set_aside']} set aside"
    return [f"  rows in          {facts['rows_in']} from {facts['source']}, {aside}; {news}{gone}"]


def _training(facts: Mapping[str, Any]) -> list[str]:
    width = max(len(row["model_class"]) for row in facts["compared"])
    lines = [
        f"  {'' if i else 'models':<16} {row['model_class']:<{width}}  "
        f"log-loss {_interval(row, 'log_loss')}  accuracy {_interval(row, 'accuracy')}"
        for i, row in enumerate(facts["compared"])
    ]
    version = f"version {facts['champion']}" if facts["champion"] else "none yet"
    return [*lines, f"  {'champion':<16} {version}: {facts['reason']}"]


def _interval(row: Mapping[str, Any], metric: str) -> str:
    found = row[metric]
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _synthesis(facts: Mapping[str, Any]) -> list[str]:
    quality = facts.get("quality") or {}
    judged = f"; real-or-synthetic AUC {quality['c2st_auc']:.2f} (0.5: alike)" if quality else ""
    news = _news(facts["inserted"], 0, "rows")
    return [f"  rows synthesised {facts['count']} for {facts['date']} by {facts['method']}: {news}{judged}"]


def _inference(facts: Mapping[str, Any]) -> list[str]:
    n = facts["predicted"]
    unseen = f", {facts['unseen']} of them unseen in training" if n else ""
    return [
        f"  rows predicted   {n} by version {facts['model_version']}{unseen}" if n else _NOTHING_TO_PREDICT
    ]


_NOTHING_TO_PREDICT = "  rows predicted   0: the champion has predicted every row already"


def _monitoring(facts: Mapping[str, Any]) -> list[str]:
    line = "  accuracy so far  no unseen row with an outcome yet"
    if facts["outcomes"]:
        line = (
            f"  accuracy so far  {facts['accuracy']:.3f} [{facts['low']:.3f}, {facts['high']:.3f}] "
            f"on {facts['outcomes']} unseen rows"
        )
    return [line, *(f"  ALERT            {message}" for message in facts["alerts"])]


def _news(inserted: int, updated: int, what: str) -> str:
    if not inserted and not updated:
        return "nothing new"
    return ", ".join(f"{n} {what} {verb}" for n, verb in ((inserted, "new"), (updated, "changed")) if n)


_WORDS = {
    "features": _features,
    "training": _training,
    "synthesis": _synthesis,
    "inference": _inference,
    "monitoring": _monitoring,
}
