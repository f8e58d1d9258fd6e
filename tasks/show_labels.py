"""What a search for wrong labels leaves in the Prefect UI, under fixed keys."""

from __future__ import annotations

import pandas as pd

from dagsverk.label_report import SuspectLabels
from tasks.show import markdown, table

SHOWN = 30


def suspected(report: SuspectLabels) -> None:
    """The most suspicious labels, and how well faults are seen."""
    what = "texts" if report.family == "speech" else "outcomes"
    rows = [
        {
            "suspicion": f"{one.suspicion:.2f}",
            "name": one.name,
            "split": one.split,
            "label": one.label[:160],
            "model": one.other[:160],
            "why": "; ".join(one.why),
        }
        for one in report.suspects[:SHOWN]
    ]
    about = f"The {len(rows)} most suspicious {what}; decide about them on the page /labels"
    table(f"{report.name.replace('_', '-')}-labels", pd.DataFrame(rows), about)
    lines = [f"- {kind}: {one.seen} of {one.planted}" for kind, one in report.kinds.items()]
    words = "\n".join([report.words, "", "Seen of faults put in on purpose:", "", *lines, "", *report.notes])
    markdown(f"{report.name.replace('_', '-')}-labels-seen", words, f"How well wrong {what} are seen")
